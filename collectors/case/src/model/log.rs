//! Log records.

use super::{Attributes, Origin, Value};
use crate::ids::{SpanId, TraceId};
use crate::time::Nanos;

/// One log record.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LogRecord {
    pub origin: Origin,
    /// When it happened; 0 if the sender doesn't know.
    pub time: Nanos,
    /// When a collector first saw it; 0 if not said.
    pub observed: Nanos,
    pub severity_number: i32,
    pub severity_text: String,
    pub body: Value,
    pub trace_id: TraceId,
    pub span_id: SpanId,
    pub flags: u32,
    pub event_name: String,
    pub attributes: Attributes,
    pub dropped_attributes: u32,
}

impl LogRecord {
    /// The time to sort it by: its own, else when it was observed.
    pub fn at(&self) -> Nanos {
        if self.time.0 != 0 {
            self.time
        } else {
            self.observed
        }
    }
}
