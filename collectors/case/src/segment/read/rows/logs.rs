//! Whole log records.

use std::ops::ControlFlow;

use super::origin::{OriginCache, OriginCursor};
use crate::CaseError;
use crate::ids::{SpanId, TraceId};
use crate::model::LogRecord;
use crate::segment::read::columns::{MapCursor, value};
use crate::segment::read::table::{Cursor, TableReader};
use crate::time::{Nanos, Window};

/// Cursors over every column of a logs file.
pub(crate) struct LogRows<'a> {
    table: &'a TableReader,
    timestamp: Cursor<'a>,
    trace_id: Cursor<'a>,
    span_id: Cursor<'a>,
    flags: Cursor<'a>,
    severity_text: Cursor<'a>,
    severity_number: Cursor<'a>,
    body: Cursor<'a>,
    body_type: Cursor<'a>,
    origin: OriginCursor<'a>,
    attributes: MapCursor<'a>,
    event_name: Cursor<'a>,
    observed: Cursor<'a>,
    time: Cursor<'a>,
    dropped: Cursor<'a>,
}

impl<'a> LogRows<'a> {
    pub(crate) fn open(table: &'a TableReader) -> Result<Self, CaseError> {
        let column = |name: &str| table.cursor(name, 0);
        Ok(LogRows {
            table,
            timestamp: column("Timestamp")?,
            trace_id: column("TraceId")?,
            span_id: column("SpanId")?,
            flags: column("TraceFlags")?,
            severity_text: column("SeverityText")?,
            severity_number: column("SeverityNumber")?,
            body: column("Body")?,
            body_type: column("BodyType")?,
            origin: OriginCursor::open(table)?,
            attributes: MapCursor::open(table, "LogAttributes", Some("LogAttributeTypes"))?,
            event_name: column("EventName")?,
            observed: column("ObservedTimestamp")?,
            time: column("TimeUnixNano")?,
            dropped: column("DroppedAttributesCount")?,
        })
    }

    /// Records of the window, in the order of their times.
    pub(crate) fn read(
        &mut self,
        window: Window,
        mut each: impl FnMut(LogRecord) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, CaseError> {
        let mut cache = OriginCache::default();
        for page in 0..self.table.pages() {
            let timestamp = self.timestamp.i64s(page)?;
            if !timestamp
                .iter()
                .any(|at| window.contains(Nanos(at.cast_unsigned())))
            {
                continue;
            }
            let trace_id = self.trace_id.texts(page)?;
            let span_id = self.span_id.texts(page)?;
            let flags = self.flags.i32s(page)?;
            let severity_text = self.severity_text.texts(page)?;
            let severity_number = self.severity_number.i32s(page)?;
            let body = self.body.texts(page)?;
            let body_type = self.body_type.texts(page)?;
            let origin = self.origin.page(page)?;
            let attributes = self.attributes.page(page)?;
            let event_name = self.event_name.texts(page)?;
            let observed = self.observed.i64s(page)?;
            let time = self.time.i64s(page)?;
            let dropped = self.dropped.i32s(page)?;
            let rows = self.table.page_range(page).len();
            let lens = [
                timestamp.len(),
                flags.len(),
                severity_number.len(),
                observed.len(),
                time.len(),
                dropped.len(),
            ];
            if lens.iter().any(|len| *len != rows) {
                return Err(self.table.damaged("a page holds fewer rows than it should"));
            }
            for row in 0..rows {
                if !window.contains(Nanos(timestamp[row].cast_unsigned())) {
                    continue;
                }
                let letter = body_type.get(row).first().copied().unwrap_or(b'e');
                let record = LogRecord {
                    origin: origin.origin(row, &mut cache),
                    time: Nanos(time[row].cast_unsigned()),
                    observed: Nanos(observed[row].cast_unsigned()),
                    severity_number: severity_number[row],
                    severity_text: severity_text.text(row).into_owned(),
                    body: value(letter, &body.text(row)),
                    trace_id: TraceId::from_hex(trace_id.get(row)).unwrap_or_default(),
                    span_id: SpanId::from_hex(span_id.get(row)).unwrap_or_default(),
                    flags: flags[row].cast_unsigned(),
                    event_name: event_name.text(row).into_owned(),
                    attributes: attributes.attributes(row),
                    dropped_attributes: dropped[row].cast_unsigned(),
                };
                if each(record).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
