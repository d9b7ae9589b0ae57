//! Spans as a struct of arrays: what rebuilding millions of traces needs, some fifty bytes each.

use std::collections::HashMap;

use crate::ids::{SpanId, TraceId};
use crate::model::{Span, SpanKind, StatusCode};

/// All spans of a window. Row `i` of every vector belongs to the same span; rows of one trace need not be neighbours.
#[derive(Debug, Default)]
pub struct SpanTable {
    /// Index into [`SpanTable::traces`].
    pub trace: Vec<u32>,
    pub span_id: Vec<SpanId>,
    pub parent: Vec<SpanId>,
    pub start: Vec<u64>,
    pub duration: Vec<u64>,
    /// Number in [`SpanTable::services`].
    pub service: Vec<u32>,
    /// Number in [`SpanTable::names`].
    pub name: Vec<u32>,
    pub kind: Vec<u8>,
    pub status: Vec<u8>,
    pub traces: Vec<TraceId>,
    pub services: Names,
    pub names: Names,
    known: HashMap<TraceId, u32>,
    last: Option<(TraceId, u32)>,
}

impl SpanTable {
    pub fn len(&self) -> usize {
        self.trace.len()
    }

    pub fn is_empty(&self) -> bool {
        self.trace.is_empty()
    }

    pub fn kind(&self, row: usize) -> SpanKind {
        SpanKind::from_number(u64::from(self.kind[row]))
    }

    pub fn status(&self, row: usize) -> StatusCode {
        StatusCode::from_number(u64::from(self.status[row]))
    }

    /// Bytes held, for those who keep to a budget.
    pub fn bytes(&self) -> usize {
        self.trace.capacity() * 4
            + self.span_id.capacity() * 8
            + self.parent.capacity() * 8
            + self.start.capacity() * 8
            + self.duration.capacity() * 8
            + self.service.capacity() * 4
            + self.name.capacity() * 4
            + self.kind.capacity()
            + self.status.capacity()
            + self.traces.capacity() * 16
            + self.known.capacity() * 24
    }

    /// Adds a span that is already in memory.
    pub fn push(&mut self, span: &Span) {
        let trace = self.trace(span.trace_id);
        self.trace.push(trace);
        self.span_id.push(span.span_id);
        self.parent.push(span.parent_span_id);
        self.start.push(span.start.0);
        self.duration.push(span.duration());
        let service = self.services.intern(span.service().as_bytes());
        self.service.push(service);
        let name = self.names.intern(span.name.as_bytes());
        self.name.push(name);
        self.kind.push(span.kind.number());
        self.status.push(span.status.number());
    }

    pub(crate) fn reserve(&mut self, rows: usize) {
        self.trace.reserve(rows);
        self.span_id.reserve(rows);
        self.parent.reserve(rows);
        self.start.reserve(rows);
        self.duration.reserve(rows);
        self.service.reserve(rows);
        self.name.reserve(rows);
        self.kind.reserve(rows);
        self.status.reserve(rows);
    }

    /// The number of a trace.
    pub(crate) fn trace(&mut self, id: TraceId) -> u32 {
        if let Some((last, number)) = self.last
            && last == id
        {
            return number;
        }
        let next = self.traces.len() as u32;
        let number = *self.known.entry(id).or_insert(next);
        if number == next {
            self.traces.push(id);
        }
        self.last = Some((id, number));
        number
    }
}

/// Distinct texts, numbered in the order they came.
#[derive(Debug, Default)]
pub struct Names {
    texts: Vec<String>,
    numbers: HashMap<Vec<u8>, u32>,
}

impl Names {
    pub fn get(&self, number: u32) -> &str {
        self.texts.get(number as usize).map_or("", String::as_str)
    }

    pub fn find(&self, text: &str) -> Option<u32> {
        self.numbers.get(text.as_bytes()).copied()
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().map(String::as_str)
    }

    pub fn len(&self) -> usize {
        self.texts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    pub(crate) fn intern(&mut self, text: &[u8]) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.texts.len() as u32;
        self.texts.push(String::from_utf8_lossy(text).into_owned());
        self.numbers.insert(text.to_vec(), number);
        number
    }
}
