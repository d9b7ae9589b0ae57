//! What the workbench writes down: the notebook, which lies in the case, and the place where one stood, which is the
//! person's own and lies in the state folder.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::CliError;
use crate::paths;
use crate::tui::state::{Notebook, Saved};

const NOTEBOOK: &str = "notebook.json";

/// Longest file of ours that is read.
const MOST_BYTES: u64 = 16 << 20;

fn read<T: DeserializeOwned + Default>(path: &Path) -> Result<T, CliError> {
    let failed = |error: &std::io::Error| CliError::io(format!("read {}", path.display()), error);
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(T::default()),
        Err(error) => return Err(failed(&error)),
        Ok(about) if about.len() > MOST_BYTES => {
            return Err(CliError::new(format!(
                "{} is too long to be ours",
                path.display()
            )));
        }
        Ok(_) => {}
    }
    let bytes = std::fs::read(path).map_err(|error| failed(&error))?;
    serde_json::from_slice(&bytes).map_err(|error| {
        CliError::new(format!("{} is damaged: {error}", path.display()))
            .hint("move it away; what it held is lost, the case is not touched")
    })
}

/// Writes beside and renames, so that nobody reads half of it.
fn write(path: &Path, what: &impl Serialize) -> Result<(), CliError> {
    let failed = |error: std::io::Error| CliError::io(format!("write {}", path.display()), &error);
    let text = serde_json::to_vec_pretty(what)
        .map_err(|error| CliError::new(format!("can't write {}: {error}", path.display())))?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    std::fs::write(&beside, text).map_err(failed)?;
    std::fs::rename(&beside, path).map_err(failed)
}

pub(super) fn load_notebook(case: &Path) -> Result<Notebook, CliError> {
    read(&case.join(NOTEBOOK))
}

pub(super) fn save_notebook(case: &Path, notebook: &Notebook) -> Result<(), CliError> {
    write(&case.join(NOTEBOOK), notebook)
}

/// Where the place in a case is written down.
#[derive(Debug, Clone)]
pub struct Place(PathBuf);

impl Place {
    pub fn of(case: &Path) -> Option<Place> {
        let whole = std::path::absolute(case).ok()?;
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        for byte in whole.as_os_str().as_encoded_bytes() {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        let folder = paths::state().ok()?.join("places");
        Some(Place(folder.join(format!("{hash:016x}.json"))))
    }
}

/// Where one stood when the case was last left. What can't be read is as good as nothing.
pub fn load_place(place: &Place) -> Saved {
    read(&place.0).unwrap_or_default()
}

/// Not being able to write it down is no reason to complain.
pub fn save_place(place: &Place, saved: &Saved) {
    if let Some(folder) = place.0.parent()
        && std::fs::create_dir_all(folder).is_ok()
    {
        drop(write(&place.0, saved));
    }
}
