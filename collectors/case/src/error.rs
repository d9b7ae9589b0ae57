//! What can go wrong with a case, said for the person who has to mend it.

use std::path::PathBuf;

/// A case could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    #[error("can't {action} {path}: {source}")]
    Io {
        action: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("no case at {0}")]
    NoCase(PathBuf),
    #[error("{path} has format version {found}; this casefile reads up to {known}")]
    NewerFormat {
        path: PathBuf,
        found: u32,
        known: u32,
    },
    #[error("{path} is damaged: {reason}")]
    Damaged { path: PathBuf, reason: String },
    #[error("{path} is being written by process {pid}{since}")]
    Held {
        path: PathBuf,
        pid: u32,
        since: String,
    },
    #[error("{0} is sealed and can't be written")]
    Sealed(PathBuf),
    #[error("{path} is closed, but not all of it was sealed: {reason}")]
    NotSealed { path: PathBuf, reason: String },
    #[error("given up")]
    Stopped,
    #[error("query: {0}")]
    Query(String),
}

impl CaseError {
    pub fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> CaseError {
        let path = path.into();
        move |source| CaseError::Io {
            action,
            path,
            source,
        }
    }

    pub fn damaged(path: impl Into<PathBuf>, reason: impl Into<String>) -> CaseError {
        CaseError::Damaged {
            path: path.into(),
            reason: reason.into(),
        }
    }

    /// What to do about it, where there is something to do.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            CaseError::NoCase(_) => Some(
                "make one with `casefile collect --case PATH` or `casefile import FILE --case PATH`",
            ),
            CaseError::NewerFormat { .. } => {
                Some("open it with the version that wrote it, or a newer one")
            }
            CaseError::Damaged { .. } => {
                Some("`casefile verify PATH` names what is damaged; the rest stays readable")
            }
            CaseError::Held { .. } => Some(
                "reading a live case is fine; to write, stop that process or choose another case",
            ),
            CaseError::NotSealed { .. } => Some(
                "nothing is lost: its logs become segments when the case is next written or sealed",
            ),
            CaseError::Sealed(_) => Some("import or collect into a new case"),
            _ => None,
        }
    }
}
