//! Pinned traces: what retention must keep. They stand in a file of their own beside the manifest, so that whoever
//! looks at a case can pin while another process writes it.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::ids::TraceId;
use crate::{CaseError, files, manifest};

#[derive(Default, Serialize, Deserialize)]
struct Pins {
    traces: BTreeSet<TraceId>,
}

/// Held while pins are looked at and acted upon.
pub(crate) struct Hold {
    _file: File,
    path: PathBuf,
    pins: Pins,
}

fn path(case: &Path) -> PathBuf {
    case.join("pins.json")
}

/// Keeps a trace's spans and logs from retention. True if it was not pinned before.
pub fn pin(case: &Path, trace: TraceId) -> Result<bool, CaseError> {
    change(case, |traces| traces.insert(trace))
}

/// Lets a trace go again. True if it was pinned.
pub fn unpin(case: &Path, trace: TraceId) -> Result<bool, CaseError> {
    change(case, |traces| traces.remove(&trace))
}

/// All pinned traces.
pub fn list(case: &Path) -> Result<BTreeSet<TraceId>, CaseError> {
    read(case).map(|pins| pins.traces)
}

fn change(
    case: &Path,
    change: impl FnOnce(&mut BTreeSet<TraceId>) -> bool,
) -> Result<bool, CaseError> {
    if !manifest::path(case).exists() {
        return Err(CaseError::NoCase(case.to_owned()));
    }
    let mut hold = hold(case)?;
    let changed = change(&mut hold.pins.traces);
    if changed {
        let bytes = serde_json::to_vec_pretty(&hold.pins)
            .map_err(|error| CaseError::damaged(&hold.path, error.to_string()))?;
        files::replace(&hold.path, &bytes)?;
    }
    Ok(changed)
}

fn read(case: &Path) -> Result<Pins, CaseError> {
    let path = path(case);
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map_err(|error| CaseError::damaged(path, error.to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Pins::default()),
        Err(error) => Err(CaseError::io("read", path)(error)),
    }
}

/// Waits until nobody else changes pins, or acts upon them: what is pinned before retention looks is kept by it.
pub(crate) fn hold(case: &Path) -> Result<Hold, CaseError> {
    let lock = case.join("pins.lock");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&lock)
        .map_err(CaseError::io("open", &lock))?;
    file.lock().map_err(CaseError::io("lock", &lock))?;
    Ok(Hold {
        _file: file,
        path: path(case),
        pins: read(case)?,
    })
}

impl Hold {
    pub(crate) fn traces(&self) -> &BTreeSet<TraceId> {
        &self.pins.traces
    }
}
