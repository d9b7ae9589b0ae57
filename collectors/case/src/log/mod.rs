//! The write-ahead log: what was acknowledged, in the order it came, until it is sealed into segments.
//!
//! Owns the frame format, appending with one flush for many requests, and reading back what a crash left. Knows
//! nothing of what requests mean: validation comes before, columns come after.

pub mod append;
pub mod frame;
pub mod mark;
mod pack;
pub mod read;
mod search;
pub mod shorten;
#[cfg(test)]
pub(crate) mod tests;

pub use append::LogAppender;
pub use frame::{Frame, FrameHead};
pub use mark::Mark;
pub use read::{LogReader, Torn, TornKind};
pub use shorten::{Follow, Parts, Shortener};

use std::path::{Path, PathBuf};

use crate::CaseError;

/// Where log number `id` lies in a case.
pub fn path(case: &Path, id: u64) -> PathBuf {
    case.join("log").join(format!("{id:010}.log"))
}

/// The numbers of all logs in a case, in order.
pub fn list(case: &Path) -> Result<Vec<u64>, CaseError> {
    let folder = case.join("log");
    let mut ids = Vec::new();
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(ids),
        Err(error) => return Err(CaseError::io("list", folder)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(CaseError::io("list", &folder))?;
        let name = entry.file_name();
        let id = name
            .to_str()
            .and_then(|name| name.strip_suffix(".log"))
            .and_then(|id| id.parse::<u64>().ok());
        ids.extend(id);
    }
    ids.sort_unstable();
    Ok(ids)
}
