//! The traces file: spans as columns, traces together, in the order in which they began.

use std::collections::HashMap;
use std::path::Path;

use super::Written;
use super::attributes::{AttributeLists, AttributeTables, Numbered, list_levels};
use super::intern::Interner;
use super::origins::{Origins, RESOURCE_SCHEMA};
use super::parquet::{TableFile, Texts, Values};
use super::trace_index::{self, TraceStart};
use crate::ids::{TraceId, hex_into};
use crate::log::{Follow, Parts};
use crate::model::{SpanKind, StatusCode};
use crate::time::Nanos;
use crate::wire::spans::{self, Scratch, SpanView, SpanVisitor};
use crate::wire::{OriginView, WireError};
use crate::{CaseError, SpanId};

/// Spans gathered for one file.
#[derive(Default)]
pub(super) struct SpanTable {
    origins: Origins,
    traces: HashMap<TraceId, u32, std::hash::BuildHasherDefault<FoldHasher>>,
    trace_ids: Vec<TraceId>,
    /// When each trace's earliest span began.
    trace_starts: Vec<u64>,
    rows: Vec<Row>,
    texts: Interner,
    /// The number of the empty text.
    empty: Option<u32>,
    attributes: AttributeLists,
    attribute_tables: AttributeTables,
    events: Events,
    links: Links,
    nested_tables: AttributeTables,
    /// What the parts of the request being taken became.
    known: Vec<Numbered>,
}

/// One request on its way into the table.
struct Taking<'a, 'o> {
    request: &'a [u8],
    parts: Follow<'o>,
    table: &'o mut SpanTable,
}

impl<'a> SpanVisitor<'a> for Taking<'a, '_> {
    #[inline(always)]
    fn attribute(&mut self, body: &'a [u8], _: &mut Scratch<'a>) -> Result<(), WireError> {
        let end =
            (body.as_ptr() as usize + body.len()).wrapping_sub(self.request.as_ptr() as usize);
        let table = &mut *self.table;
        let known = self
            .parts
            .at(end)
            .and_then(|part| table.known.get_mut(part));
        table
            .attributes
            .add_body(body, known, &mut table.attribute_tables)
    }

    #[inline(always)]
    fn span(&mut self, origin: &OriginView<'a>, span: &SpanView<'a>, lists: &Scratch<'a>) {
        self.table.push(origin, span, lists);
    }

    fn refused(&mut self, _: &'static str) {
        self.table.attributes.drop_list();
    }
}

/// Trace ids are hashed by folding them: they are random, or at least distinct, already.
#[derive(Default)]
pub(super) struct FoldHasher(u64);

impl std::hash::Hasher for FoldHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 = (self.0.rotate_left(5) ^ u64::from_le_bytes(word))
                .wrapping_mul(0x517c_c1b7_2722_0a95);
        }
    }
}

#[derive(Clone, Copy)]
struct Row {
    trace: u32,
    origin: u32,
    span_id: SpanId,
    parent: SpanId,
    start: u64,
    end: u64,
    name: u32,
    trace_state: u32,
    status_message: u32,
    flags: u32,
    dropped: [u32; 3],
    kind: u8,
    status: u8,
}

#[derive(Default)]
struct Events {
    /// Where each span's events end.
    ends: Vec<u32>,
    at: Vec<i64>,
    name: Vec<u32>,
    dropped: Vec<i32>,
    attributes: AttributeLists,
}

#[derive(Default)]
struct Links {
    ends: Vec<u32>,
    trace_id: Vec<TraceId>,
    span_id: Vec<SpanId>,
    trace_state: Vec<u32>,
    flags: Vec<i32>,
    dropped: Vec<i32>,
    attributes: AttributeLists,
}

/// Spans of one file may be written under these columns; the first twenty-odd carry the names of the OpenTelemetry
/// ClickHouse schema, the others what that schema would lose.
const SCHEMA: &str = "message spans {
    required int64 Timestamp (TIMESTAMP(NANOS,true));
    required binary TraceId (STRING);
    required binary SpanId (STRING);
    required binary ParentSpanId (STRING);
    required binary TraceState (STRING);
    required binary SpanName (STRING);
    required binary SpanKind (STRING);
    {resource}
    required group SpanAttributes (MAP) { repeated group key_value { required binary key (STRING); required binary value (STRING); } }
    required binary SpanAttributeTypes (STRING);
    required int64 Duration (INTEGER(64,false));
    required binary StatusCode (STRING);
    required binary StatusMessage (STRING);
    required group Events.Timestamp (LIST) { repeated group list { required int64 element (TIMESTAMP(NANOS,true)); } }
    required group Events.Name (LIST) { repeated group list { required binary element (STRING); } }
    required group Events.Attributes (LIST) { repeated group list { required group element (MAP) { repeated group key_value { required binary key (STRING); required binary value (STRING); } } } }
    required group Events.AttributeTypes (LIST) { repeated group list { required binary element (STRING); } }
    required group Events.DroppedAttributesCount (LIST) { repeated group list { required int32 element (INTEGER(32,false)); } }
    required group Links.TraceId (LIST) { repeated group list { required binary element (STRING); } }
    required group Links.SpanId (LIST) { repeated group list { required binary element (STRING); } }
    required group Links.TraceState (LIST) { repeated group list { required binary element (STRING); } }
    required group Links.Attributes (LIST) { repeated group list { required group element (MAP) { repeated group key_value { required binary key (STRING); required binary value (STRING); } } } }
    required group Links.AttributeTypes (LIST) { repeated group list { required binary element (STRING); } }
    required group Links.Flags (LIST) { repeated group list { required int32 element (INTEGER(32,false)); } }
    required group Links.DroppedAttributesCount (LIST) { repeated group list { required int32 element (INTEGER(32,false)); } }
    required int32 Flags (INTEGER(32,false));
    required int64 EndsBeforeStartBy (INTEGER(64,false));
    required int32 DroppedAttributesCount (INTEGER(32,false));
    required int32 DroppedEventsCount (INTEGER(32,false));
    required int32 DroppedLinksCount (INTEGER(32,false));
}";

impl SpanTable {
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Takes the spans of one request. `parts` says which of its attributes are the same.
    pub(super) fn take(&mut self, request: &[u8], parts: &Parts) -> Result<(), WireError> {
        self.origins.next_request();
        self.known.clear();
        self.known.resize(parts.distinct(), None);
        let mut taking = Taking {
            request,
            parts: parts.follow(),
            table: self,
        };
        let walked = spans::visit(request, &mut taking);
        self.attributes.drop_list();
        walked
    }

    /// Adds a span whose attributes were added before.
    fn push(&mut self, origin: &OriginView<'_>, span: &SpanView<'_>, lists: &Scratch<'_>) {
        let next = self.trace_ids.len() as u32;
        let trace = *self.traces.entry(span.trace_id).or_insert(next);
        if trace == next {
            self.trace_ids.push(span.trace_id);
            self.trace_starts.push(span.start);
        } else {
            let first = &mut self.trace_starts[trace as usize];
            *first = span.start.min(*first);
        }
        let origin = self.origins.of(origin);
        let (trace_state, status_message) =
            (self.text(span.trace_state), self.text(span.status_message));
        self.rows.push(Row {
            trace,
            origin,
            span_id: span.span_id,
            parent: span.parent_span_id,
            start: span.start,
            end: span.end,
            name: self.texts.intern(span.name.as_bytes()),
            trace_state,
            status_message,
            flags: span.flags,
            dropped: [
                span.dropped_attributes,
                span.dropped_events,
                span.dropped_links,
            ],
            kind: SpanKind::from_number(span.kind).number(),
            status: StatusCode::from_number(span.status_code).number(),
        });
        self.attributes.end_list(&mut self.attribute_tables);
        for event in &lists.events {
            self.events.at.push(event.at.cast_signed());
            self.events
                .name
                .push(self.texts.intern(event.name.as_bytes()));
            self.events
                .dropped
                .push(event.dropped_attributes.cast_signed());
            let pairs = lists.attributes_of(event.attributes);
            self.events.attributes.push(pairs, &mut self.nested_tables);
        }
        self.events.ends.push(self.events.at.len() as u32);
        for link in &lists.links {
            self.links.trace_id.push(link.trace_id);
            self.links.span_id.push(link.span_id);
            self.links
                .trace_state
                .push(self.texts.intern(link.trace_state.as_bytes()));
            self.links.flags.push(link.flags.cast_signed());
            self.links
                .dropped
                .push(link.dropped_attributes.cast_signed());
            let pairs = lists.attributes_of(link.attributes);
            self.links.attributes.push(pairs, &mut self.nested_tables);
        }
        self.links.ends.push(self.links.trace_id.len() as u32);
    }

    /// The number of a text that mostly is empty.
    fn text(&mut self, text: &str) -> u32 {
        if !text.is_empty() {
            return self.texts.intern(text.as_bytes());
        }
        match self.empty {
            Some(number) => number,
            None => *self.empty.insert(self.texts.intern(b"")),
        }
    }

    /// Earliest start and latest end.
    pub(super) fn window(&self) -> (Nanos, Nanos) {
        let first = self.rows.iter().map(|row| row.start).min().unwrap_or(0);
        let last = self
            .rows
            .iter()
            .map(|row| row.end.max(row.start))
            .max()
            .unwrap_or(0);
        (Nanos(first), Nanos(last))
    }

    /// The order of rows in the file: whole traces by when they began, spans by when they did.
    fn order(&self) -> Vec<u32> {
        let mut traces: Vec<u32> = (0..self.trace_ids.len() as u32).collect();
        traces.sort_unstable_by_key(|trace| {
            let trace = *trace as usize;
            (self.trace_starts[trace], self.trace_ids[trace])
        });
        // Rows are dealt out to their traces; what is left to sort within one is little.
        let mut ends = vec![0u32; traces.len()];
        for row in &self.rows {
            ends[row.trace as usize] += 1;
        }
        let mut end = 0;
        for trace in &traces {
            end += ends[*trace as usize];
            ends[*trace as usize] = end;
        }
        let mut order = vec![0u32; self.rows.len()];
        let mut places = ends.clone();
        for (i, row) in self.rows.iter().enumerate().rev() {
            let place = &mut places[row.trace as usize];
            *place -= 1;
            order[*place as usize] = i as u32;
        }
        for (begin, end) in places.iter().zip(&ends) {
            order[*begin as usize..*end as usize].sort_unstable_by_key(|i| {
                let row = &self.rows[*i as usize];
                (row.start, row.span_id, *i)
            });
        }
        order
    }

    /// Writes the file and its index.
    pub(super) fn write(&self, path: &Path, index: &Path) -> Result<(Written, Written), CaseError> {
        let order = self.order();
        let rows = || order.iter().map(|i| &self.rows[*i as usize]);
        let mut file = TableFile::create(
            path,
            &SCHEMA.replace("{resource}", RESOURCE_SCHEMA),
            order.len(),
        )?;
        let texts = |numbers: Vec<u32>| {
            Values::Texts(Texts {
                table: &self.texts,
                numbers,
            })
        };
        file.plain(&Values::I64(
            rows().map(|row| row.start.cast_signed()).collect(),
        ))?;
        self.write_trace_ids(&order, &mut file)?;
        file.plain(&span_ids(rows().map(|row| row.span_id)))?;
        file.plain(&span_ids(rows().map(|row| row.parent)))?;
        file.plain(&texts(rows().map(|row| row.trace_state).collect()))?;
        file.plain(&texts(rows().map(|row| row.name).collect()))?;
        named(
            &SpanKind::ALL.map(SpanKind::name),
            rows().map(|row| row.kind),
            &mut file,
        )?;
        self.origins
            .write(rows().map(|row| row.origin), &mut file)?;
        let by_row = order.iter().map(|row| *row as usize);
        self.attributes
            .write(by_row.clone(), &self.attribute_tables, &mut file)?;
        file.plain(&Values::I64(
            rows()
                .map(|row| row.end.saturating_sub(row.start).cast_signed())
                .collect(),
        ))?;
        named(
            &StatusCode::ALL.map(StatusCode::name),
            rows().map(|row| row.status),
            &mut file,
        )?;
        file.plain(&texts(rows().map(|row| row.status_message).collect()))?;
        self.write_events(by_row.clone(), &mut file)?;
        self.write_links(by_row, &mut file)?;
        file.plain(&Values::I32(
            rows().map(|row| row.flags.cast_signed()).collect(),
        ))?;
        file.plain(&Values::I64(
            rows()
                .map(|row| row.start.saturating_sub(row.end).cast_signed())
                .collect(),
        ))?;
        for which in 0..3 {
            file.plain(&Values::I32(
                rows().map(|row| row.dropped[which].cast_signed()).collect(),
            ))?;
        }
        let written = file.finish()?;
        let index = trace_index::write(index, &self.starts(&order))?;
        Ok((written, index))
    }

    /// Ids repeat in long runs: a dictionary with one entry a trace.
    fn write_trace_ids(&self, order: &[u32], file: &mut TableFile) -> Result<(), CaseError> {
        let mut table = Interner::default();
        let mut numbers = vec![u32::MAX; self.trace_ids.len()];
        let column = order
            .iter()
            .map(|row| {
                let trace = self.rows[*row as usize].trace as usize;
                if numbers[trace] == u32::MAX {
                    let mut hex = [0; 32];
                    hex_into(&self.trace_ids[trace].0, &mut hex);
                    // Each comes once, in the order the column wants.
                    numbers[trace] = table.append(&hex);
                }
                numbers[trace]
            })
            .collect();
        file.plain(&Values::Texts(Texts {
            table: &table,
            numbers: column,
        }))
    }

    fn write_events(
        &self,
        rows: impl Iterator<Item = usize> + Clone,
        file: &mut TableFile,
    ) -> Result<(), CaseError> {
        let events = &self.events;
        let ranges = rows.map(|row| range(&events.ends, row));
        let levels = list_levels(ranges.clone().map(|range| range.len()));
        let flat = || ranges.clone().flatten();
        file.column(
            &Values::I64(flat().map(|i| events.at[i]).collect()),
            &levels,
        )?;
        let names = Values::Texts(Texts {
            table: &self.texts,
            numbers: flat().map(|i| events.name[i]).collect(),
        });
        file.column(&names, &levels)?;
        events
            .attributes
            .write_nested(ranges.clone(), &self.nested_tables, file)?;
        file.column(
            &Values::I32(flat().map(|i| events.dropped[i]).collect()),
            &levels,
        )
    }

    fn write_links(
        &self,
        rows: impl Iterator<Item = usize> + Clone,
        file: &mut TableFile,
    ) -> Result<(), CaseError> {
        let links = &self.links;
        let ranges = rows.map(|row| range(&links.ends, row));
        let levels = list_levels(ranges.clone().map(|range| range.len()));
        let flat = || ranges.clone().flatten();
        let ids = flat().map(|i| links.trace_id[i]).filter(TraceId::is_some);
        let mut bytes = vec![0; ids.clone().count() * 32];
        for (out, id) in bytes.chunks_exact_mut(32).zip(ids) {
            hex_into(&id.0, out);
        }
        let lengths = flat()
            .map(|i| if links.trace_id[i].is_some() { 32 } else { 0 })
            .collect();
        file.column(&Values::Unique { lengths, bytes }, &levels)?;
        file.column(&span_ids(flat().map(|i| links.span_id[i])), &levels)?;
        let states = Values::Texts(Texts {
            table: &self.texts,
            numbers: flat().map(|i| links.trace_state[i]).collect(),
        });
        file.column(&states, &levels)?;
        links
            .attributes
            .write_nested(ranges.clone(), &self.nested_tables, file)?;
        file.column(
            &Values::I32(flat().map(|i| links.flags[i]).collect()),
            &levels,
        )?;
        file.column(
            &Values::I32(flat().map(|i| links.dropped[i]).collect()),
            &levels,
        )
    }

    fn starts(&self, order: &[u32]) -> Vec<TraceStart> {
        let mut starts = Vec::with_capacity(self.trace_ids.len());
        let mut last = u32::MAX;
        for (place, row) in order.iter().enumerate() {
            let trace = self.rows[*row as usize].trace;
            if trace != last {
                starts.push(TraceStart {
                    fold: self.trace_ids[trace as usize].fold(),
                    first_row: place as u32,
                });
                last = trace;
            }
        }
        starts
    }
}

fn range(ends: &[u32], row: usize) -> std::ops::Range<usize> {
    let from = if row == 0 { 0 } else { ends[row - 1] as usize };
    from..ends[row] as usize
}

/// Span ids as hex; nothing for none.
pub(super) fn span_ids<'a>(ids: impl Iterator<Item = SpanId>) -> Values<'a> {
    let (mut lengths, mut bytes) = (Vec::new(), Vec::new());
    for id in ids {
        if !id.is_some() {
            lengths.push(0);
            continue;
        }
        let mut hex = [0; 16];
        hex_into(&id.0, &mut hex);
        bytes.extend_from_slice(&hex);
        lengths.push(16);
    }
    Values::Unique { lengths, bytes }
}

/// Small numbers by their names.
fn named(
    names: &[&'static str],
    numbers: impl Iterator<Item = u8>,
    file: &mut TableFile,
) -> Result<(), CaseError> {
    let mut table = Interner::default();
    for name in names {
        table.intern(name.as_bytes());
    }
    file.plain(&Values::Texts(Texts {
        table: &table,
        numbers: numbers.map(u32::from).collect(),
    }))
}
