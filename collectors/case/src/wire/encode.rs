//! From rows back to OTLP protobuf: the inverse of the walk, for rows that go into a segment again.

use std::sync::Arc;

use crate::model::{Attributes, LogRecord, Origin, Resource, Scope, Span, Value};

/// An `ExportTraceServiceRequest`.
pub fn traces(spans: &[Span]) -> Vec<u8> {
    request(spans, |span| &span.origin, span)
}

/// An `ExportLogsServiceRequest`.
pub fn logs(records: &[LogRecord]) -> Vec<u8> {
    request(records, |record| &record.origin, log)
}

/// Items in their order, grouped where neighbours share resource and scope.
fn request<T>(
    items: &[T],
    origin: impl Fn(&T) -> &Origin,
    write: impl Fn(&T, &mut Message),
) -> Vec<u8> {
    let same = |a: &T, b: &T| {
        let (a, b) = (origin(a), origin(b));
        (Arc::ptr_eq(&a.resource, &b.resource) && Arc::ptr_eq(&a.scope, &b.scope)) || a == b
    };
    let mut request = Message::default();
    for group in items.chunk_by(same) {
        let Some(origin) = group.first().map(&origin) else {
            continue;
        };
        request.message(1, |out| {
            out.message(1, |out| resource(&origin.resource, out));
            out.message(2, |out| {
                out.message(1, |out| scope(&origin.scope, out));
                for item in group {
                    out.message(2, |out| write(item, out));
                }
                out.text(3, &origin.scope.schema_url);
            });
            out.text(3, &origin.resource.schema_url);
        });
    }
    request.0
}

fn resource(resource: &Resource, out: &mut Message) {
    out.attributes(1, &resource.attributes);
    out.number(2, resource.dropped_attributes.into());
}

fn scope(scope: &Scope, out: &mut Message) {
    out.text(1, &scope.name);
    out.text(2, &scope.version);
    out.attributes(3, &scope.attributes);
    out.number(4, scope.dropped_attributes.into());
}

fn span(span: &Span, out: &mut Message) {
    out.bytes(1, &span.trace_id.0);
    out.bytes(2, &span.span_id.0);
    out.text(3, &span.trace_state);
    if span.parent_span_id.is_some() {
        out.bytes(4, &span.parent_span_id.0);
    }
    out.text(5, &span.name);
    out.number(6, span.kind.number().into());
    out.fixed64(7, span.start.0);
    out.fixed64(8, span.end.0);
    out.attributes(9, &span.attributes);
    out.number(10, span.dropped_attributes.into());
    for event in &span.events {
        out.message(11, |out| {
            out.fixed64(1, event.at.0);
            out.text(2, &event.name);
            out.attributes(3, &event.attributes);
            out.number(4, event.dropped_attributes.into());
        });
    }
    out.number(12, span.dropped_events.into());
    for link in &span.links {
        out.message(13, |out| {
            if link.trace_id.is_some() {
                out.bytes(1, &link.trace_id.0);
            }
            if link.span_id.is_some() {
                out.bytes(2, &link.span_id.0);
            }
            out.text(3, &link.trace_state);
            out.attributes(4, &link.attributes);
            out.number(5, link.dropped_attributes.into());
            out.fixed32(6, link.flags);
        });
    }
    out.number(14, span.dropped_links.into());
    out.message(15, |out| {
        out.text(2, &span.status_message);
        out.number(3, span.status.number().into());
    });
    out.fixed32(16, span.flags);
}

fn log(record: &LogRecord, out: &mut Message) {
    out.fixed64(1, record.time.0);
    // A negative number takes ten bytes, as protobuf has it.
    out.number(2, i64::from(record.severity_number).cast_unsigned());
    out.text(3, &record.severity_text);
    if record.body != Value::Empty {
        out.message(5, |out| any(&record.body, out));
    }
    out.attributes(6, &record.attributes);
    out.number(7, record.dropped_attributes.into());
    out.fixed32(8, record.flags);
    if record.trace_id.is_some() {
        out.bytes(9, &record.trace_id.0);
    }
    if record.span_id.is_some() {
        out.bytes(10, &record.span_id.0);
    }
    out.fixed64(11, record.observed.0);
    out.text(12, &record.event_name);
}

/// The body of an `AnyValue`. Its fields are a choice, so that even what is zero is written.
fn any(value: &Value, out: &mut Message) {
    match value {
        Value::Empty => {}
        Value::Text(text) => out.bytes(1, text.as_bytes()),
        Value::Bool(value) => out.varint_field(2, u64::from(*value)),
        Value::Int(value) => out.varint_field(3, value.cast_unsigned()),
        Value::Double(value) => out.fixed64_field(4, value.to_bits()),
        Value::Array(values) => out.message(5, |out| {
            for value in values {
                out.message(1, |out| any(value, out));
            }
        }),
        Value::Map(pairs) => out.message(6, |out| out.attributes(1, pairs)),
        Value::Bytes(bytes) => out.bytes(7, bytes),
    }
}

/// A message being written. `text`, `number` and the fixed ones leave out what is zero, as proto3 does.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 128 {
            self.0.push((value & 127) as u8 | 128);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn tag(&mut self, field: u32, wire: u64) {
        self.varint(u64::from(field) << 3 | wire);
    }

    fn varint_field(&mut self, field: u32, value: u64) {
        self.tag(field, 0);
        self.varint(value);
    }

    fn fixed64_field(&mut self, field: u32, value: u64) {
        self.tag(field, 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.tag(field, 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn message(&mut self, field: u32, write: impl FnOnce(&mut Message)) {
        let mut inner = Message::default();
        write(&mut inner);
        self.bytes(field, &inner.0);
    }

    fn text(&mut self, field: u32, text: &str) {
        if !text.is_empty() {
            self.bytes(field, text.as_bytes());
        }
    }

    fn number(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.varint_field(field, value);
        }
    }

    fn fixed64(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.fixed64_field(field, value);
        }
    }

    fn fixed32(&mut self, field: u32, value: u32) {
        if value != 0 {
            self.tag(field, 5);
            self.0.extend_from_slice(&value.to_le_bytes());
        }
    }

    fn attributes(&mut self, field: u32, attributes: &Attributes) {
        for (key, value) in attributes.iter() {
            self.message(field, |out| {
                out.text(1, key);
                if *value != Value::Empty {
                    out.message(2, |out| any(value, out));
                }
            });
        }
    }
}
