//! What a case answers when bytes are handed to it.

use std::time::Duration;

/// What became of one request, told only once it is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Receipt {
    /// Items (spans, log records, metric points, rows) kept.
    pub accepted: u64,
    /// Items refused because they can't be kept (a span without ids, say).
    pub rejected: u64,
    /// Why items were refused; for the sender.
    pub message: Option<String>,
    /// The very same bytes were already durable; nothing was written.
    pub duplicate: bool,
}

/// Why bytes were not taken. Nothing of the request was kept.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// Not a message of the announced signal. Sending it again won't help.
    #[error("undecodable {signal} request: {reason} at byte {offset}")]
    Malformed {
        signal: &'static str,
        reason: &'static str,
        offset: usize,
    },
    /// Too much is waiting for the disk. Send it again later.
    #[error("the case is busy: {waiting_bytes} bytes wait for the disk")]
    Busy {
        waiting_bytes: u64,
        retry_after: Duration,
    },
    /// The disk refused. Send it again later; somebody has to make room.
    #[error("the case can't be written: {reason}")]
    Storage {
        reason: String,
        retry_after: Duration,
    },
    /// The writer has been shut down or the case is sealed.
    #[error("the case is closed")]
    Closed,
}
