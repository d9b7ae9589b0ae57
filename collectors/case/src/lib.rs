//! The case: the signals of one investigation on disk, and everything that reads them back.
//!
//! Owns the signal types, the write-ahead log, the Parquet segments, the manifest, time windows and filters.
//! Knows nothing of networks or terminals: collectors bring bytes, analyzers and the command line take rows.

pub mod error;
pub mod ids;
pub mod model;
pub mod receipt;
pub mod signal;
pub mod time;
pub mod wire;

pub use error::CaseError;
pub use ids::{SpanId, TraceId};
pub use receipt::{AppendError, Receipt};
pub use signal::Signal;
pub use time::{Nanos, Window};
