//! Jaeger JSON as its API answers it: traces with their processes, times in microseconds.
//!
//! Spans, their events and links have a place in it; times below a microsecond and the types of nested attributes
//! have none. What it has, the importer reads back, so that a second export is the same bytes.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::ops::ControlFlow;
use std::sync::Arc;

use ::case::model::{Attributes, Resource, Span, SpanEvent, SpanKind, SpanLink, StatusCode, Value};
use ::case::{Nanos, Signal, SpanId, TraceId, Window};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};

use super::source::Rows;
use super::{ExportError, Report, Selection};

/// Tag names and values with a meaning of their own, for both directions.
pub(crate) mod names {
    pub(crate) const KIND: &str = "span.kind";
    pub(crate) const ERROR: &str = "error";
    pub(crate) const STATUS_CODE: &str = "otel.status_code";
    pub(crate) const STATUS_DESCRIPTION: &str = "otel.status_description";
    pub(crate) const LIBRARY_NAME: &str = "otel.library.name";
    pub(crate) const LIBRARY_VERSION: &str = "otel.library.version";
    pub(crate) const SCOPE_NAME: &str = "otel.scope.name";
    pub(crate) const SCOPE_VERSION: &str = "otel.scope.version";
    pub(crate) const TRACE_STATE: &str = "w3c.tracestate";
    pub(crate) const EVENT: &str = "event";
    pub(crate) const WARNINGS: &str = "jaeger.warnings";
    pub(crate) const REF_TYPE: &str = "opentracing.ref_type";
    pub(crate) const CHILD_OF: &str = "CHILD_OF";
    pub(crate) const CHILD_OF_VALUE: &str = "child_of";
    pub(crate) const FOLLOWS_FROM: &str = "FOLLOWS_FROM";
    pub(crate) const FOLLOWS_FROM_VALUE: &str = "follows_from";
}

/// Spans of this many at a time are held, and at least one trace.
const HELD_SPANS: usize = 100_000;

#[derive(Serialize)]
struct TraceMessage {
    #[serde(rename = "traceID")]
    trace_id: TraceId,
    spans: Vec<SpanMessage>,
    #[serde(serialize_with = "processes")]
    processes: Vec<ProcessMessage>,
    warnings: Option<Vec<String>>,
}

#[derive(Serialize)]
struct SpanMessage {
    #[serde(rename = "traceID")]
    trace_id: TraceId,
    #[serde(rename = "spanID")]
    span_id: SpanId,
    #[serde(skip_serializing_if = "is_zero")]
    flags: u32,
    #[serde(rename = "operationName")]
    operation_name: String,
    references: Vec<ReferenceMessage>,
    #[serde(rename = "startTime")]
    start_time: u64,
    duration: u64,
    tags: Vec<TagMessage>,
    logs: Vec<LogMessage>,
    #[serde(rename = "processID")]
    process_id: String,
    warnings: Option<Vec<String>>,
}

#[derive(Serialize)]
struct ReferenceMessage {
    #[serde(rename = "refType")]
    ref_type: &'static str,
    #[serde(rename = "traceID")]
    trace_id: TraceId,
    #[serde(rename = "spanID")]
    span_id: SpanId,
}

#[derive(Serialize)]
struct TagMessage {
    key: String,
    #[serde(rename = "type")]
    kind: &'static str,
    value: serde_json::Value,
}

#[derive(Serialize)]
struct LogMessage {
    timestamp: u64,
    fields: Vec<TagMessage>,
}

#[derive(Serialize)]
struct ProcessMessage {
    #[serde(rename = "serviceName")]
    service_name: String,
    tags: Vec<TagMessage>,
}

fn is_zero(flags: &u32) -> bool {
    *flags == 0
}

fn processes<S: Serializer>(
    processes: &[ProcessMessage],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(
        processes
            .iter()
            .enumerate()
            .map(|(i, process)| (process_id(i), process)),
    )
}

fn process_id(place: usize) -> String {
    format!("p{}", place + 1)
}

/// First and last start of a trace's spans, and how many there are.
struct Extent {
    first: Nanos,
    last: Nanos,
    spans: usize,
}

pub(super) fn write(
    rows: &dyn Rows,
    selection: &Selection,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(u64),
) -> Result<Report, ExportError> {
    let mut report = Report::default();
    for (signal, what) in [(Signal::Logs, "logs"), (Signal::Metrics, "metrics")] {
        if selection.takes(signal) {
            report
                .left_out
                .push(format!("{what}: Jaeger JSON holds traces alone"));
        }
    }
    let window = selection.reach();
    let takes = |span: &Span| window.contains(span.start) && selection.has_trace(&span.trace_id);
    let mut extents: HashMap<TraceId, Extent> = HashMap::new();
    if selection.takes(Signal::Traces) {
        rows.spans(window, &mut |span| {
            if takes(&span) {
                let extent = extents.entry(span.trace_id).or_insert(Extent {
                    first: span.start,
                    last: span.start,
                    spans: 0,
                });
                extent.first = extent.first.min(span.start);
                extent.last = extent.last.max(span.start);
                extent.spans += 1;
            }
            ControlFlow::Continue(())
        })?;
    }
    let mut order: Vec<(TraceId, Extent)> = extents.into_iter().collect();
    // By what the format can tell apart: a second export of the same file must be in the same order.
    order.sort_unstable_by_key(|(id, extent)| (micros(extent.first), *id));
    out.write_all(b"{\"data\":[")?;
    let mut first = true;
    let mut rest = order.as_slice();
    while !rest.is_empty() {
        let mut taken = 0;
        let mut spans = 0;
        while taken < rest.len() && (taken == 0 || spans + rest[taken].1.spans <= HELD_SPANS) {
            spans += rest[taken].1.spans;
            taken += 1;
        }
        let (group, later) = rest.split_at(taken);
        rest = later;
        let mut traces = read_group(rows, group, &takes)?;
        for (id, _) in group {
            let spans = traces.remove(id).unwrap_or_default();
            report.spans += spans.len() as u64;
            out.write_all(if first { b"\n" } else { b",\n" })?;
            first = false;
            serde_json::to_writer(&mut *out, &trace_message(*id, spans))
                .map_err(std::io::Error::from)?;
        }
        progress(report.spans);
    }
    out.write_all(b"\n],\"total\":0,\"limit\":0,\"offset\":0,\"errors\":null}\n")?;
    Ok(report)
}

/// The spans of some traces, read in one go over the time they span.
fn read_group(
    rows: &dyn Rows,
    group: &[(TraceId, Extent)],
    takes: &dyn Fn(&Span) -> bool,
) -> Result<HashMap<TraceId, Vec<Span>>, ExportError> {
    let ids: HashSet<TraceId> = group.iter().map(|(id, _)| *id).collect();
    let from = group
        .iter()
        .map(|(_, extent)| extent.first)
        .min()
        .unwrap_or_default();
    let until = group
        .iter()
        .map(|(_, extent)| extent.last.saturating_add(1))
        .max()
        .unwrap_or_default();
    let mut traces: HashMap<TraceId, Vec<Span>> = HashMap::new();
    rows.spans(Window { from, until }, &mut |span| {
        if ids.contains(&span.trace_id) && takes(&span) {
            traces.entry(span.trace_id).or_default().push(span);
        }
        ControlFlow::Continue(())
    })?;
    Ok(traces)
}

fn micros(at: Nanos) -> u64 {
    at.0 / 1_000
}

fn trace_message(trace_id: TraceId, spans: Vec<Span>) -> TraceMessage {
    let mut messages: Vec<(String, Arc<Resource>, SpanMessage)> = spans
        .into_iter()
        .map(|span| {
            let resource = span.origin.resource.clone();
            let message = span_message(span);
            // Writing these into memory can't fail; an empty key would still be a stable one.
            (
                serde_json::to_string(&message).unwrap_or_default(),
                resource,
                message,
            )
        })
        .collect();
    messages.sort_by(|(a_text, a_resource, a), (b_text, b_resource, b)| {
        let ids = |message: &SpanMessage| (message.start_time, message.span_id);
        ids(a)
            .cmp(&ids(b))
            .then_with(|| a_text.cmp(b_text))
            .then_with(|| a_resource.service().cmp(b_resource.service()))
    });
    let mut known: Vec<(Arc<Resource>, String)> = Vec::new();
    let mut described = Vec::new();
    let spans = messages
        .into_iter()
        .map(|(_, resource, mut message)| {
            let place = known
                .iter()
                .position(|(one, _)| Arc::ptr_eq(one, &resource))
                .unwrap_or_else(|| {
                    let process = process_message(&resource);
                    let text = serde_json::to_string(&process).unwrap_or_default();
                    match known.iter().position(|(_, known)| *known == text) {
                        Some(place) => place,
                        None => {
                            known.push((resource, text));
                            described.push(process);
                            known.len() - 1
                        }
                    }
                });
            message.process_id = process_id(place);
            message
        })
        .collect();
    TraceMessage {
        trace_id,
        spans,
        processes: described,
        warnings: None,
    }
}

fn process_message(resource: &Resource) -> ProcessMessage {
    let mut named = false;
    let mut tags = Vec::new();
    for (key, value) in resource.attributes.iter() {
        if key == "service.name" && !named && value.as_text().is_some() {
            named = true;
            continue;
        }
        tags.push(tag(key, value));
    }
    ProcessMessage {
        service_name: resource.service().to_owned(),
        tags,
    }
}

fn span_message(span: Span) -> SpanMessage {
    let mut warnings = None;
    let mut parent_type = names::CHILD_OF;
    let mut tags = Vec::with_capacity(span.attributes.0.len() + 4);
    let scope = &span.origin.scope;
    text_tag(&mut tags, names::LIBRARY_NAME, &scope.name);
    text_tag(&mut tags, names::LIBRARY_VERSION, &scope.version);
    for (key, value) in span.attributes.iter() {
        match (key, value) {
            (names::WARNINGS, Value::Array(values)) if warnings.is_none() => {
                warnings = Some(values.iter().map(Value::to_string).collect());
            }
            (names::REF_TYPE, Value::Text(kind))
                if kind == names::FOLLOWS_FROM_VALUE && span.parent_span_id.is_some() =>
            {
                parent_type = names::FOLLOWS_FROM;
            }
            _ => tags.push(tag(key, value)),
        }
    }
    if span.kind != SpanKind::Unspecified {
        text_tag(
            &mut tags,
            names::KIND,
            &span.kind.name().to_ascii_lowercase(),
        );
    }
    match span.status {
        StatusCode::Unset => {}
        StatusCode::Ok => text_tag(&mut tags, names::STATUS_CODE, "OK"),
        StatusCode::Error => {
            tags.push(tag(names::ERROR, &Value::Bool(true)));
            text_tag(&mut tags, names::STATUS_CODE, "ERROR");
        }
    }
    text_tag(&mut tags, names::STATUS_DESCRIPTION, &span.status_message);
    text_tag(&mut tags, names::TRACE_STATE, &span.trace_state);
    let mut references = Vec::new();
    if span.parent_span_id.is_some() {
        references.push(ReferenceMessage {
            ref_type: parent_type,
            trace_id: span.trace_id,
            span_id: span.parent_span_id,
        });
    }
    references.extend(span.links.iter().map(reference));
    SpanMessage {
        trace_id: span.trace_id,
        span_id: span.span_id,
        flags: span.flags,
        operation_name: span.name.clone(),
        references,
        start_time: micros(span.start),
        duration: span.duration() / 1_000,
        tags,
        logs: span.events.iter().map(log).collect(),
        process_id: String::new(),
        warnings,
    }
}

fn reference(link: &SpanLink) -> ReferenceMessage {
    let child_of = link.attributes.text(names::REF_TYPE) == Some(names::CHILD_OF_VALUE);
    ReferenceMessage {
        ref_type: if child_of {
            names::CHILD_OF
        } else {
            names::FOLLOWS_FROM
        },
        trace_id: link.trace_id,
        span_id: link.span_id,
    }
}

fn log(event: &SpanEvent) -> LogMessage {
    let mut fields = Vec::with_capacity(event.attributes.0.len() + 1);
    text_tag(&mut fields, names::EVENT, &event.name);
    fields.extend(attributes(&event.attributes));
    LogMessage {
        timestamp: micros(event.at),
        fields,
    }
}

fn attributes(attributes: &Attributes) -> impl Iterator<Item = TagMessage> {
    attributes.iter().map(|(key, value)| tag(key, value))
}

/// A text tag, where there is a text.
fn text_tag(tags: &mut Vec<TagMessage>, key: &str, text: &str) {
    if !text.is_empty() {
        tags.push(tag(key, &Value::Text(text.to_owned())));
    }
}

fn tag(key: &str, value: &Value) -> TagMessage {
    use serde_json::Value as Json;
    let (kind, value) = match value {
        Value::Text(text) => ("string", Json::from(text.as_str())),
        Value::Bool(value) => ("bool", Json::from(*value)),
        Value::Int(value) => ("int64", Json::from(*value)),
        // JSON has no word for what is not finite.
        Value::Double(number) if number.is_finite() => ("float64", Json::from(*number)),
        Value::Bytes(bytes) => ("binary", Json::from(STANDARD.encode(bytes))),
        other => ("string", Json::from(other.to_string())),
    };
    TagMessage {
        key: key.to_owned(),
        kind,
        value,
    }
}
