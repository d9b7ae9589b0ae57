//! What a registry must be able to tell to be watched. A Consul or Eureka source implements the same.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use case::signal::{RegistryEvent, RegistrySnapshot};

use crate::fetch::FetchError;

/// A future whose type is not named, so that sources can be chosen at run time.
pub type Answering<'a, T> = Pin<Box<dyn Future<Output = Result<T, SourceError>> + Send + 'a>>;

/// A registry that can be asked.
pub trait RegistrySource: Send + Sync + 'static {
    /// Where it is, as rows name it.
    fn url(&self) -> String;

    /// Everything it lists now.
    fn snapshot(&self) -> Answering<'_, RegistrySnapshot>;

    /// Whether it keeps a log of events. Without one, changes show between snapshots alone.
    fn has_events(&self) -> bool;

    /// Whether event numbers follow each other one by one, so that a missing number is a missing event.
    fn numbers_every_event(&self) -> bool;

    /// Events numbered above `since`, oldest first. Waits about `wait` for one if there is none yet, if it can.
    fn events(&self, since: u64, wait: Duration) -> Answering<'_, EventBatch>;
}

/// What an event log answered.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EventBatch {
    pub events: Vec<RegistryEvent>,
    /// Entries that could not be read, each with its reason; they are told, not kept.
    pub unreadable: Vec<String>,
}

/// Why a source gave no answer that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("{url} answered {status}{said}")]
    Status {
        url: String,
        status: u16,
        said: String,
    },
    #[error("{url} answered something unreadable: {reason}")]
    Unreadable { url: String, reason: String },
}

impl SourceError {
    /// One word for it, as probe results carry.
    pub fn kind(&self) -> String {
        match self {
            SourceError::Fetch(error) => error.kind().to_owned(),
            SourceError::Status { status, .. } => format!("answered {status}"),
            SourceError::Unreadable { .. } => "unreadable".to_owned(),
        }
    }

    pub fn status(&self) -> Option<u16> {
        match self {
            SourceError::Status { status, .. } => Some(*status),
            SourceError::Unreadable { .. } => Some(200),
            SourceError::Fetch(_) => None,
        }
    }
}
