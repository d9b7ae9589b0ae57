//! Ranking and repair measured on labelled sets of other systems, each by its own protocol. Any folder that is laid out
//! like one of the sets is taken.

pub mod nezha;
pub mod petshop;
mod ranked;
mod rebuilt;
mod table;
pub mod traceweaver;

use std::fmt::Display;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use ranked::{Listed, Ranked};

/// A file of a set that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("can't read {path}: {why}")]
pub struct ReadError {
    path: String,
    why: String,
}

impl ReadError {
    fn bad(path: &Path, why: impl Display) -> ReadError {
        ReadError {
            path: path.display().to_string(),
            why: why.to_string(),
        }
    }
}

/// A figure, and what is to be reached or was published.
#[derive(Debug, Serialize)]
pub struct SetFigure {
    pub name: String,
    pub value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beside: Option<&'static str>,
}

#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Figures(pub Vec<SetFigure>);

impl Figures {
    fn add(&mut self, name: impl Into<String>, value: f64, beside: Option<&'static str>) {
        self.0.push(SetFigure {
            name: name.into(),
            value,
            beside,
        });
    }
}

/// What came of one set.
#[derive(Debug, Serialize)]
pub struct Outcome {
    pub folder: String,
    pub protocol: &'static str,
    pub figures: Figures,
    pub cases: Vec<Ranked>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Minutes,
    Issues,
    Traces,
}

/// How deep sets are looked for.
const DEEPEST: usize = 5;
/// Files of traces that make a set.
const LEAST_TRACES: usize = 10;

/// Runs every set under a folder.
pub fn run(data: &Path, mut tell: impl FnMut(&Path)) -> Result<Vec<Outcome>, ReadError> {
    let mut sets = Vec::new();
    find(data, 0, &mut sets)?;
    if sets.is_empty() {
        return Err(ReadError::bad(data, "no labelled set lies under it"));
    }
    let mut out = Vec::new();
    for (folder, layout) in sets {
        tell(&folder);
        let mut figures = Figures::default();
        let (protocol, cases) = match layout {
            Layout::Minutes => {
                let set = nezha::Set::open(&folder)?;
                (
                    "a faulty minute against a fault-free one",
                    ranked::minutes(&set, &mut figures)?,
                )
            }
            Layout::Issues => {
                let set = petshop::Set::open(&folder)?;
                (
                    "node metrics and a graph, given what is to be explained",
                    ranked::issues(&set, &mut figures)?,
                )
            }
            Layout::Traces => {
                rebuilt::traces(&traceweaver::Set::open(&folder)?, &mut figures);
                (
                    "parent references taken away and looked for again",
                    Vec::new(),
                )
            }
        };
        out.push(Outcome {
            folder: folder
                .strip_prefix(data)
                .unwrap_or(&folder)
                .display()
                .to_string(),
            protocol,
            figures,
            cases,
        });
    }
    Ok(out)
}

fn find(folder: &Path, depth: usize, out: &mut Vec<(PathBuf, Layout)>) -> Result<(), ReadError> {
    let has = |name: &str| folder.join(name).exists();
    if has("cases.json") {
        out.push((folder.to_owned(), Layout::Minutes));
    } else if has("graph.csv") && has("noissue") {
        out.push((folder.to_owned(), Layout::Issues));
    } else {
        let jsons = table::files(folder, "json")?;
        let named = folder
            .file_name()
            .is_some_and(|name| name.to_string_lossy().contains("_load"));
        if named && jsons.len() >= LEAST_TRACES {
            out.push((folder.to_owned(), Layout::Traces));
        } else if depth < DEEPEST {
            for entry in table::entries(folder)?
                .into_iter()
                .filter(|entry| entry.is_dir())
            {
                find(&entry, depth + 1, out)?;
            }
        }
    }
    Ok(())
}
