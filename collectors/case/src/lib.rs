//! The case: the signals of one investigation on disk, and everything that reads them back.
//!
//! Owns the signal types, the write-ahead log, the Parquet segments, the manifest, time windows and filters.
//! Knows nothing of networks or terminals: collectors bring bytes, analyzers and the command line take rows.

pub mod error;
mod files;
pub mod filter;
pub mod ids;
mod lock;
pub mod log;
pub mod manifest;
pub mod model;
pub mod nearest;
pub mod pins;
pub mod reader;
pub mod receipt;
mod segment;
pub mod signal;
pub mod skeleton;
pub mod sql;
pub mod time;
pub mod wire;
pub mod writer;

pub use error::CaseError;
pub use ids::{SpanId, TraceId};
pub use reader::{Case, CaseInfo, CaseState, Follower, Progress};
pub use receipt::{AppendError, Receipt};
pub use signal::Signal;
pub use skeleton::SpanTable;
pub use time::{Nanos, Window};
pub use writer::{CaseWriter, Promise, SealMode, WriterOptions};
