//! Filters over skeletons: a filter that asks only for what a skeleton tells need not read whole spans.

use super::expr::{Number, Test, Tested};
use super::fields::Field;
use super::pattern::Glob;
use crate::ids::{SpanId, TraceId};
use crate::model::{Span, SpanKind, StatusCode};
use crate::skeleton::SpanTable;

/// What a skeleton knows of a span.
#[derive(Debug, Clone, Copy)]
pub struct Brief<'a> {
    pub service: &'a str,
    pub name: &'a str,
    pub kind: SpanKind,
    pub status: StatusCode,
    pub start: u64,
    pub duration: u64,
    pub trace_id: TraceId,
    pub span_id: SpanId,
    pub parent: SpanId,
}

impl Field {
    /// Whether a skeleton tells it.
    pub(super) fn is_brief(&self) -> bool {
        matches!(
            self,
            Field::Service
                | Field::Name
                | Field::SpanKind
                | Field::Status
                | Field::Duration
                | Field::Start
                | Field::Trace
                | Field::SpanId
                | Field::Parent
        )
    }
}

impl Brief<'_> {
    /// Whether `test` holds for a field that [`Field::is_brief`].
    pub(super) fn test(&self, field: &Field, test: &Test) -> bool {
        match field {
            Field::Service => test.text(self.service),
            Field::Name => test.text(self.name),
            Field::SpanKind => test.text(&self.kind.name().to_ascii_lowercase()),
            Field::Status => test.text(&self.status.name().to_ascii_lowercase()),
            Field::Duration => test.number(Number::Int(i128::from(self.duration))),
            Field::Start => test.number(Number::Int(i128::from(self.start))),
            Field::Trace => test.text(&self.trace_id.to_string()),
            Field::SpanId => test.text(&self.span_id.to_string()),
            Field::Parent if !self.parent.is_some() => test.text(""),
            Field::Parent => test.text(&self.parent.to_string()),
            _ => false,
        }
    }
}

impl<'a> From<&'a Span> for Brief<'a> {
    fn from(span: &'a Span) -> Brief<'a> {
        Brief {
            service: span.service(),
            name: &span.name,
            kind: span.kind,
            status: span.status,
            start: span.start.0,
            duration: span.duration(),
            trace_id: span.trace_id,
            span_id: span.span_id,
            parent: span.parent_span_id,
        }
    }
}

impl<'a> Brief<'a> {
    /// One row of a skeleton.
    pub fn of(table: &'a SpanTable, row: usize) -> Brief<'a> {
        Brief {
            service: table.services.get(table.service[row]),
            name: table.names.get(table.name[row]),
            kind: table.kind(row),
            status: table.status(row),
            start: table.start[row],
            duration: table.duration[row],
            trace_id: table.traces[table.trace[row] as usize],
            span_id: table.span_id[row],
            parent: table.parent[row],
        }
    }
}

impl Tested for Brief<'_> {
    fn test(&self, field: &Field, test: &Test) -> bool {
        Brief::test(self, field, test)
    }

    /// Words are looked for in attributes, too: a filter with words is never brief.
    fn says(&self, _: &Glob) -> bool {
        false
    }
}
