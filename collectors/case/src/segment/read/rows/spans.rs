//! Whole spans.

use super::origin::{OriginCache, OriginCursor, OriginPage};
use crate::CaseError;
use crate::ids::{SpanId, TraceId};
use crate::model::{Span, SpanEvent, SpanKind, SpanLink, StatusCode};
use crate::segment::read::TextPage;
use crate::segment::read::columns::{
    ListCursor, ListPage, MapCursor, MapPage, NestedCursor, NestedPage,
};
use crate::segment::read::table::{Cursor, TableReader};
use crate::time::Nanos;

/// Cursors over every column of a traces file.
pub(crate) struct SpanRows<'a> {
    table: &'a TableReader,
    timestamp: Cursor<'a>,
    trace_id: Cursor<'a>,
    span_id: Cursor<'a>,
    parent: Cursor<'a>,
    trace_state: Cursor<'a>,
    name: Cursor<'a>,
    kind: Cursor<'a>,
    origin: OriginCursor<'a>,
    attributes: MapCursor<'a>,
    duration: Cursor<'a>,
    status: Cursor<'a>,
    status_message: Cursor<'a>,
    event_at: ListCursor<'a>,
    event_name: ListCursor<'a>,
    event_attributes: NestedCursor<'a>,
    event_dropped: ListCursor<'a>,
    link_trace: ListCursor<'a>,
    link_span: ListCursor<'a>,
    link_state: ListCursor<'a>,
    link_attributes: NestedCursor<'a>,
    link_flags: ListCursor<'a>,
    link_dropped: ListCursor<'a>,
    flags: Cursor<'a>,
    backwards: Cursor<'a>,
    dropped: [Cursor<'a>; 3],
    cache: OriginCache,
}

/// One page of every column.
struct SpanPage {
    timestamp: Vec<i64>,
    trace_id: TextPage,
    span_id: TextPage,
    parent: TextPage,
    trace_state: TextPage,
    name: TextPage,
    kind: TextPage,
    origin: OriginPage,
    attributes: MapPage,
    duration: Vec<i64>,
    status: TextPage,
    status_message: TextPage,
    event_at: ListPage,
    event_name: ListPage,
    event_attributes: NestedPage,
    event_dropped: ListPage,
    link_trace: ListPage,
    link_span: ListPage,
    link_state: ListPage,
    link_attributes: NestedPage,
    link_flags: ListPage,
    link_dropped: ListPage,
    flags: Vec<i32>,
    backwards: Vec<i64>,
    dropped: [Vec<i32>; 3],
}

impl<'a> SpanRows<'a> {
    pub(crate) fn open(table: &'a TableReader) -> Result<Self, CaseError> {
        let column = |name: &str| table.cursor(name, 0);
        Ok(SpanRows {
            table,
            timestamp: column("Timestamp")?,
            trace_id: column("TraceId")?,
            span_id: column("SpanId")?,
            parent: column("ParentSpanId")?,
            trace_state: column("TraceState")?,
            name: column("SpanName")?,
            kind: column("SpanKind")?,
            origin: OriginCursor::open(table)?,
            attributes: MapCursor::open(table, "SpanAttributes", Some("SpanAttributeTypes"))?,
            duration: column("Duration")?,
            status: column("StatusCode")?,
            status_message: column("StatusMessage")?,
            event_at: ListCursor::open(table, "Events.Timestamp")?,
            event_name: ListCursor::open(table, "Events.Name")?,
            event_attributes: NestedCursor::open(
                table,
                "Events.Attributes",
                "Events.AttributeTypes",
            )?,
            event_dropped: ListCursor::open(table, "Events.DroppedAttributesCount")?,
            link_trace: ListCursor::open(table, "Links.TraceId")?,
            link_span: ListCursor::open(table, "Links.SpanId")?,
            link_state: ListCursor::open(table, "Links.TraceState")?,
            link_attributes: NestedCursor::open(table, "Links.Attributes", "Links.AttributeTypes")?,
            link_flags: ListCursor::open(table, "Links.Flags")?,
            link_dropped: ListCursor::open(table, "Links.DroppedAttributesCount")?,
            flags: column("Flags")?,
            backwards: column("EndsBeforeStartBy")?,
            dropped: [
                column("DroppedAttributesCount")?,
                column("DroppedEventsCount")?,
                column("DroppedLinksCount")?,
            ],
            cache: OriginCache::default(),
        })
    }

    fn page(&mut self, page: usize) -> Result<SpanPage, CaseError> {
        let [attributes, events, links] = &mut self.dropped;
        let read = SpanPage {
            timestamp: self.timestamp.i64s(page)?,
            trace_id: self.trace_id.texts(page)?,
            span_id: self.span_id.texts(page)?,
            parent: self.parent.texts(page)?,
            trace_state: self.trace_state.texts(page)?,
            name: self.name.texts(page)?,
            kind: self.kind.texts(page)?,
            origin: self.origin.page(page)?,
            attributes: self.attributes.page(page)?,
            duration: self.duration.i64s(page)?,
            status: self.status.texts(page)?,
            status_message: self.status_message.texts(page)?,
            event_at: self.event_at.page(page)?,
            event_name: self.event_name.page(page)?,
            event_attributes: self.event_attributes.page(page)?,
            event_dropped: self.event_dropped.page(page)?,
            link_trace: self.link_trace.page(page)?,
            link_span: self.link_span.page(page)?,
            link_state: self.link_state.page(page)?,
            link_attributes: self.link_attributes.page(page)?,
            link_flags: self.link_flags.page(page)?,
            link_dropped: self.link_dropped.page(page)?,
            flags: self.flags.i32s(page)?,
            backwards: self.backwards.i64s(page)?,
            dropped: [
                attributes.i32s(page)?,
                events.i32s(page)?,
                links.i32s(page)?,
            ],
        };
        let rows = self.table.page_range(page).len();
        let lens = [
            read.timestamp.len(),
            read.duration.len(),
            read.flags.len(),
            read.backwards.len(),
            read.dropped[0].len(),
            read.dropped[1].len(),
            read.dropped[2].len(),
        ];
        if lens.iter().any(|len| *len != rows) {
            return Err(self.table.damaged("a page holds fewer rows than it should"));
        }
        Ok(read)
    }

    /// The spans of several traces, each standing together from its first row on; `starts` is sorted by row. A page that
    /// several traces share is read once.
    pub(crate) fn read_traces(
        &mut self,
        starts: &[(usize, TraceId)],
        mut each: impl FnMut(Span),
    ) -> Result<(), CaseError> {
        let mut held: Option<(usize, SpanPage)> = None;
        for (first, id) in starts {
            if *first >= self.table.rows() {
                return Err(self.table.damaged("its index names rows it does not have"));
            }
            'trace: for number in self.table.page_of(*first)..self.table.pages() {
                let page = match held.take() {
                    Some((of, page)) if of == number => page,
                    _ => self.page(number)?,
                };
                let (_, page) = held.insert((number, page));
                let rows = self.table.page_range(number);
                for row in first.saturating_sub(rows.start)..rows.len() {
                    let trace = TraceId::from_hex(page.trace_id.get(row)).unwrap_or_default();
                    // Another trace may fold alike: the index then names rows that are not this one's.
                    if trace != *id {
                        break 'trace;
                    }
                    each(page.span(row, trace, &mut self.cache));
                }
            }
        }
        Ok(())
    }

    /// Rows `range` of the file that `wanted` likes by trace and start time.
    pub(crate) fn read(
        &mut self,
        range: std::ops::Range<usize>,
        mut wanted: impl FnMut(TraceId, Nanos) -> bool,
        mut each: impl FnMut(Span) -> std::ops::ControlFlow<()>,
    ) -> Result<std::ops::ControlFlow<()>, CaseError> {
        if range.is_empty() {
            return Ok(std::ops::ControlFlow::Continue(()));
        }
        for page in self.table.page_of(range.start)..=self.table.page_of(range.end - 1) {
            let rows = self.table.page_range(page);
            let read = self.page(page)?;
            let from = range.start.saturating_sub(rows.start);
            let until = range.end.min(rows.end) - rows.start;
            for row in from..until {
                let trace = TraceId::from_hex(read.trace_id.get(row)).unwrap_or_default();
                let start = Nanos(read.timestamp[row].cast_unsigned());
                if wanted(trace, start) && each(read.span(row, trace, &mut self.cache)).is_break() {
                    return Ok(std::ops::ControlFlow::Break(()));
                }
            }
        }
        Ok(std::ops::ControlFlow::Continue(()))
    }
}

fn span_id(hex: &[u8]) -> SpanId {
    SpanId::from_hex(hex).unwrap_or_default()
}

pub(super) fn kind(name: &[u8]) -> SpanKind {
    SpanKind::ALL
        .into_iter()
        .find(|kind| kind.name().as_bytes() == name)
        .unwrap_or_default()
}

pub(super) fn status(name: &[u8]) -> StatusCode {
    StatusCode::ALL
        .into_iter()
        .find(|status| status.name().as_bytes() == name)
        .unwrap_or_default()
}

impl SpanPage {
    fn span(&self, row: usize, trace_id: TraceId, cache: &mut OriginCache) -> Span {
        let start = Nanos(self.timestamp[row].cast_unsigned());
        let duration = self.duration[row].cast_unsigned();
        let backwards = self.backwards[row].cast_unsigned();
        Span {
            origin: self.origin.origin(row, cache),
            trace_id,
            span_id: span_id(self.span_id.get(row)),
            parent_span_id: span_id(self.parent.get(row)),
            trace_state: self.trace_state.text(row).into_owned(),
            flags: self.flags[row].cast_unsigned(),
            name: self.name.text(row).into_owned(),
            kind: kind(self.kind.get(row)),
            start,
            end: start.saturating_add(duration).saturating_sub(backwards),
            status: status(self.status.get(row)),
            status_message: self.status_message.text(row).into_owned(),
            attributes: self.attributes.attributes(row),
            dropped_attributes: self.dropped[0][row].cast_unsigned(),
            events: self
                .event_at
                .range(row)
                .map(|at| SpanEvent {
                    at: Nanos(self.event_at.i64(at).cast_unsigned()),
                    name: self.event_name.text(at),
                    attributes: self.event_attributes.attributes(at),
                    dropped_attributes: self.event_dropped.i32(at).cast_unsigned(),
                })
                .collect(),
            dropped_events: self.dropped[1][row].cast_unsigned(),
            links: self
                .link_trace
                .range(row)
                .map(|at| SpanLink {
                    trace_id: TraceId::from_hex(self.link_trace.bytes(at)).unwrap_or_default(),
                    span_id: span_id(self.link_span.bytes(at)),
                    trace_state: self.link_state.text(at),
                    flags: self.link_flags.i32(at).cast_unsigned(),
                    attributes: self.link_attributes.attributes(at),
                    dropped_attributes: self.link_dropped.i32(at).cast_unsigned(),
                })
                .collect(),
            dropped_links: self.dropped[2][row].cast_unsigned(),
        }
    }
}
