//! Log records in place.

use super::any::{AnyView, KeyValueView};
use super::origin::{OriginView, each_item};
use super::proto::{Fields, WireError};
use crate::ids::{SpanId, TraceId};

/// A log record that borrows from the request.
#[derive(Debug, Clone, Copy)]
pub struct LogView<'a> {
    pub time: u64,
    pub observed: u64,
    pub severity_number: i32,
    pub severity_text: &'a str,
    pub body: AnyView<'a>,
    pub dropped_attributes: u32,
    pub flags: u32,
    pub trace_id: TraceId,
    pub span_id: SpanId,
    pub event_name: &'a str,
}

/// Calls `each` with every record of an `ExportLogsServiceRequest` and its attributes.
pub fn walk<'a>(
    request: &'a [u8],
    mut each: impl FnMut(&OriginView<'a>, &LogView<'a>, &[KeyValueView<'a>]),
) -> Result<(), WireError> {
    let mut attributes = Vec::new();
    each_item(request, |origin, message| {
        attributes.clear();
        let record = read(message, &mut attributes)?;
        each(origin, &record, &attributes);
        Ok(())
    })
}

fn read<'a>(
    message: &'a [u8],
    attributes: &mut Vec<KeyValueView<'a>>,
) -> Result<LogView<'a>, WireError> {
    let mut record = LogView {
        time: 0,
        observed: 0,
        severity_number: 0,
        severity_text: "",
        body: AnyView::Empty,
        dropped_attributes: 0,
        flags: 0,
        trace_id: TraceId::NONE,
        span_id: SpanId::NONE,
        event_name: "",
    };
    let mut fields = Fields::new(message);
    while let Some((number, raw)) = fields.step()? {
        match number {
            1 => record.time = raw.fixed64(&fields)?,
            2 => record.severity_number = raw.uint32(&fields)?.cast_signed(),
            3 => record.severity_text = raw.text(&fields)?,
            5 => record.body = AnyView::read(raw.bytes(&fields)?)?,
            6 => attributes.push(KeyValueView::read(raw.bytes(&fields)?)?),
            7 => record.dropped_attributes = raw.uint32(&fields)?,
            8 => record.flags = raw.fixed32(&fields)?,
            // Ids of a wrong length belong to no trace; the record itself is worth keeping.
            9 => record.trace_id = TraceId::from_slice(raw.bytes(&fields)?).unwrap_or_default(),
            10 => record.span_id = SpanId::from_slice(raw.bytes(&fields)?).unwrap_or_default(),
            11 => record.observed = raw.fixed64(&fields)?,
            12 => record.event_name = raw.text(&fields)?,
            _ => {}
        }
    }
    Ok(record)
}
