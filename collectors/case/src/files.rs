//! Small steps with files that must survive a crash.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::CaseError;

/// Makes renames and new names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), CaseError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(CaseError::io("flush", folder))
}

/// Replaces `path` as one step: readers see the old bytes or the new, never a mixture.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), CaseError> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh).map_err(CaseError::io("create", &fresh))?;
    let replaced = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(CaseError::io("write", &fresh))
        .and_then(|()| std::fs::rename(&fresh, path).map_err(CaseError::io("replace", path)));
    if replaced.is_err() {
        let _ = std::fs::remove_file(&fresh);
    }
    replaced?;
    path.parent().map_or(Ok(()), sync_folder)
}
