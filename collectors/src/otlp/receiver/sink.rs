//! Where received requests go.

use bytes::Bytes;
use case::{AppendError, Receipt, Signal};

/// Called once, from any thread, when a payload is durable or refused.
pub type Done = Box<dyn FnOnce(Result<Receipt, AppendError>) + Send>;

/// Keeps what a receiver takes in. A request is answered when `done` is called, and with what it is told.
pub trait Sink: Send + Sync + 'static {
    /// Takes an OTLP request as protobuf. Must not wait for the disk: the thread serves other requests too.
    fn submit(&self, signal: Signal, payload: Bytes, done: Done);
}

impl Sink for case::CaseWriter {
    fn submit(&self, signal: Signal, payload: Bytes, done: Done) {
        case::CaseWriter::submit(self, signal, payload, done);
    }
}
