//! Which incidents are meant, and what is written down for the process that stages one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use playbooks::incident::{self, Incident};
use serde::{Deserialize, Serialize};

use crate::error::CliError;

/// What the staging process is told, as a file beside the case.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Plan {
    pub id: String,
    /// The incident's own text, so that any file can be staged.
    pub incident: String,
    pub case: PathBuf,
    pub run_dir: PathBuf,
    pub seed: u64,
}

/// What the staging process tells when it is done, beside the case. Nothing that diagnoses reads it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Told {
    /// When the load began and when it was told to end, by the clock that signals are stamped with.
    pub began: u64,
    pub ended: u64,
    /// When the first fault was switched on; 0 if none was.
    pub struck: u64,
    /// Every id that an instance had in the run, with its name as faults have it: payment:1.
    pub instances: std::collections::BTreeMap<String, String>,
    pub requests: u64,
    pub failed: u64,
}

impl Plan {
    pub(super) fn told_path(&self) -> PathBuf {
        self.run_dir.with_extension("told.json")
    }
}

pub(super) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, CliError> {
    let text = std::fs::read(path)
        .map_err(|error| CliError::io(format!("read {}", path.display()), &error))?;
    serde_json::from_slice(&text)
        .map_err(|error| CliError::new(format!("{}: {error}", path.display())))
}

pub(super) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), CliError> {
    let text = crate::output::json::line(value)?;
    std::fs::write(path, text + "\n")
        .map_err(|error| CliError::io(format!("write {}", path.display()), &error))
}

/// An incident file of somebody's own.
pub(super) fn read(path: &Path) -> Result<Incident, CliError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| CliError::io(format!("read {}", path.display()), &error))?;
    let id = path
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default();
    Ok(Incident::parse(&id, &path.display().to_string(), &text)?)
}

/// The incidents that are meant, with their numbers. `wanted` are ids, whole or up to a `--`, numbers, or files.
pub(super) fn chosen(
    workflow: Option<&str>,
    wanted: &[String],
) -> Result<Vec<(usize, Incident)>, CliError> {
    let mut all: Vec<(usize, Incident)> = (1..).zip(incident::all()?).collect();
    if let Some(name) = workflow {
        let known: Vec<String> = all
            .iter()
            .map(|(_, incident)| incident.workflow().to_owned())
            .collect();
        all.retain(|(_, incident)| incident.workflow() == name);
        if all.is_empty() {
            return Err(unknown("workflow", name, known.iter().map(String::as_str)));
        }
    }
    if wanted.is_empty() {
        return Ok(all);
    }
    let mut out = Vec::new();
    for name in wanted {
        if name.ends_with(".toml") {
            out.push((0, read(Path::new(name))?));
            continue;
        }
        let before = out.len();
        out.extend(
            all.iter()
                .filter(|(number, incident)| {
                    incident.id == *name
                        || number.to_string() == *name
                        || incident
                            .id
                            .strip_prefix(name.as_str())
                            .is_some_and(|rest| rest.starts_with("--"))
                })
                .cloned(),
        );
        if out.len() == before {
            let known = all.iter().map(|(_, incident)| incident.id.as_str());
            return Err(unknown("incident", name, known));
        }
    }
    Ok(out)
}

/// For each rule the shortest of the incidents whose cause it can name, the first of equally short ones.
pub(super) fn slice(chosen: Vec<(usize, Incident)>) -> Vec<(usize, Incident)> {
    let mut kept: BTreeSet<usize> = BTreeSet::new();
    for rule in analyzers::rules::ALL.iter() {
        let causes = rule.about().causes;
        let shortest = chosen
            .iter()
            .enumerate()
            .filter(|(_, (_, incident))| {
                causes.iter().any(|cause| cause.id == incident.expect.cause)
            })
            .min_by_key(|(place, (_, incident))| (incident.watch, *place));
        kept.extend(shortest.map(|(place, _)| place));
    }
    chosen
        .into_iter()
        .enumerate()
        .filter(|(place, _)| kept.contains(place))
        .map(|(_, incident)| incident)
        .collect()
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> CliError {
    let error = CliError::new(format!("no {what} {name:?}"));
    match case::nearest::nearest(name, known) {
        Some(near) => error.hint(format!("did you mean {near}?")),
        None => error.hint("`casefile drill list --answers` lists them"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_slice_has_an_incident_for_every_rule() {
        let slice = slice(chosen(None, &[]).unwrap());
        for rule in analyzers::rules::ALL.iter() {
            let causes = rule.about().causes;
            let covered = slice
                .iter()
                .any(|(_, incident)| causes.iter().any(|cause| cause.id == incident.expect.cause));
            assert!(covered, "no incident for {}", rule.about().id);
        }
        assert!(slice.len() <= analyzers::rules::ALL.len());
    }
}
