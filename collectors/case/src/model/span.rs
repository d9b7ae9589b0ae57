//! Spans with their events and links.

use serde::{Deserialize, Serialize};

use super::{Attributes, Origin};
use crate::ids::{SpanId, TraceId};
use crate::time::Nanos;

/// One span, raw times kept as sent.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Span {
    pub origin: Origin,
    pub trace_id: TraceId,
    pub span_id: SpanId,
    /// [`SpanId::NONE`] for a root.
    pub parent_span_id: SpanId,
    pub trace_state: String,
    pub flags: u32,
    pub name: String,
    pub kind: SpanKind,
    pub start: Nanos,
    /// As sent; may lie before `start`.
    pub end: Nanos,
    pub status: StatusCode,
    pub status_message: String,
    pub attributes: Attributes,
    pub dropped_attributes: u32,
    pub events: Vec<SpanEvent>,
    pub dropped_events: u32,
    pub links: Vec<SpanLink>,
    pub dropped_links: u32,
}

impl Span {
    /// End minus start, 0 if it ends before it begins.
    pub fn duration(&self) -> u64 {
        self.end.0.saturating_sub(self.start.0)
    }

    pub fn service(&self) -> &str {
        self.origin.resource.service()
    }
}

/// Something that happened during a span.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SpanEvent {
    pub at: Nanos,
    pub name: String,
    pub attributes: Attributes,
    pub dropped_attributes: u32,
}

/// A span this one has to do with, without being its child.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SpanLink {
    pub trace_id: TraceId,
    pub span_id: SpanId,
    pub trace_state: String,
    pub flags: u32,
    pub attributes: Attributes,
    pub dropped_attributes: u32,
}

/// OTLP span kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpanKind {
    #[default]
    Unspecified,
    Internal,
    Server,
    Client,
    Producer,
    Consumer,
}

impl SpanKind {
    pub const ALL: [SpanKind; 6] = [
        SpanKind::Unspecified,
        SpanKind::Internal,
        SpanKind::Server,
        SpanKind::Client,
        SpanKind::Producer,
        SpanKind::Consumer,
    ];

    /// The OTLP number; unknown numbers read as unspecified, as proto3 enums ask for.
    pub fn from_number(number: u64) -> SpanKind {
        usize::try_from(number)
            .ok()
            .and_then(|number| SpanKind::ALL.get(number).copied())
            .unwrap_or_default()
    }

    pub fn number(self) -> u8 {
        self as u8
    }

    /// The name the ClickHouse schema uses.
    pub fn name(self) -> &'static str {
        [
            "Unspecified",
            "Internal",
            "Server",
            "Client",
            "Producer",
            "Consumer",
        ][self as usize]
    }
}

/// OTLP span status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StatusCode {
    #[default]
    Unset,
    Ok,
    Error,
}

impl StatusCode {
    pub const ALL: [StatusCode; 3] = [StatusCode::Unset, StatusCode::Ok, StatusCode::Error];

    pub fn from_number(number: u64) -> StatusCode {
        usize::try_from(number)
            .ok()
            .and_then(|number| StatusCode::ALL.get(number).copied())
            .unwrap_or_default()
    }

    pub fn number(self) -> u8 {
        self as u8
    }

    /// The name the ClickHouse schema uses.
    pub fn name(self) -> &'static str {
        ["Unset", "Ok", "Error"][self as usize]
    }
}
