//! Jaeger JSON: an API answer or a download of the UI (`{"data": [trace, …]}`), one trace, or an array of traces.
//!
//! A trace names its processes once, often behind its spans, so a trace is held at a time; a span that can't be read
//! costs only itself. What becomes of Jaeger's conventions is undone by the exporter, tag for tag:
//! - `span.kind`, `error`, `otel.status_code`, `otel.status_description`, `otel.library.*` (or `otel.scope.*`) and
//!   `w3c.tracestate` become the fields they stand for;
//! - the first `CHILD_OF` within the trace is the parent, else the first `FOLLOWS_FROM` within it, marked with the
//!   attribute `opentracing.ref_type`; every other reference becomes a link;
//! - warnings stay as the attribute `jaeger.warnings`.

use std::collections::HashMap;
use std::sync::Arc;

use ::case::model::{
    Attributes, Origin, Resource, Scope, Span, SpanEvent, SpanKind, SpanLink, StatusCode, Value,
};
use ::case::{Nanos, SpanId, TraceId};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::batch::Batch;
use super::cut::{array_elements, lines_before, object_entries};
use super::ids;
use super::report::{Place, clip};
use super::stream::Text;
use super::{AtLine, ImportError, Stop};
use crate::export::jaeger::names;

/// Resources remembered between traces, so that rows of one process share one.
const REMEMBERED: usize = 4_096;

#[derive(Deserialize)]
struct SpanMessage {
    #[serde(rename = "traceID")]
    trace_id: String,
    #[serde(rename = "spanID")]
    span_id: String,
    #[serde(rename = "parentSpanID", default)]
    parent_span_id: Option<String>,
    #[serde(rename = "operationName", default)]
    operation_name: Option<String>,
    #[serde(default)]
    references: Option<Vec<Reference>>,
    #[serde(default)]
    flags: Option<u32>,
    #[serde(rename = "startTime")]
    start_time: u64,
    #[serde(default)]
    duration: u64,
    #[serde(default)]
    tags: Option<Vec<Tag>>,
    #[serde(default)]
    logs: Option<Vec<Log>>,
    #[serde(rename = "processID", default)]
    process_id: Option<String>,
    #[serde(default)]
    process: Option<Process>,
    #[serde(default)]
    warnings: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Reference {
    #[serde(rename = "refType", default)]
    ref_type: String,
    #[serde(rename = "traceID")]
    trace_id: String,
    #[serde(rename = "spanID")]
    span_id: String,
}

#[derive(Deserialize)]
struct Tag {
    key: String,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    value: serde_json::Value,
}

#[derive(Deserialize)]
struct Log {
    timestamp: u64,
    #[serde(default)]
    fields: Option<Vec<Tag>>,
}

#[derive(Deserialize)]
struct Process {
    #[serde(rename = "serviceName", default)]
    service_name: Option<String>,
    #[serde(default)]
    tags: Option<Vec<Tag>>,
}

#[derive(Default)]
struct Memory {
    /// By the text of the process.
    resources: HashMap<Vec<u8>, Arc<Resource>>,
    scopes: HashMap<(String, String), Arc<Scope>>,
}

pub(super) fn import(text: &mut Text<'_>, batch: &mut Batch<'_>) -> Result<(), Stop> {
    text.skip_mark().at_line(1)?;
    let mut memory = Memory::default();
    loop {
        let line = text.line_number();
        match text.peek().at_line(line)? {
            None => return Ok(()),
            Some(b'[' | b']' | b',') => text.bump(),
            Some(b'{') => object(text, &mut memory, batch)?,
            Some(_) => {
                let line = text.line_number();
                batch.bad(Place::Line(line), "no JSON object begins here")?;
                text.resume_at(b"{[").at_line(line)?;
            }
        }
    }
}

/// A copy of a part of the input with the line it began on.
struct Kept {
    line: u64,
    bytes: Vec<u8>,
}

/// An answer, whose `data` is read trace by trace, or a trace by itself.
fn object(text: &mut Text<'_>, memory: &mut Memory, batch: &mut Batch<'_>) -> Result<(), Stop> {
    let begun = text.line_number();
    text.bump();
    let mut spans = None;
    let mut processes = None;
    let mut data = false;
    let broken = loop {
        let line = text.line_number();
        match text.peek().at_line(line)? {
            Some(b',') => text.bump(),
            Some(b'}') => {
                text.bump();
                break None;
            }
            Some(b'"') => {
                let line = text.line_number();
                let key = match text.value().at_line(line)? {
                    Some(piece) if !piece.cut_short && !piece.too_long => {
                        piece.bytes[1..piece.bytes.len() - 1].to_vec()
                    }
                    _ => break Some((line, "the file ends in the middle of a key")),
                };
                let line = text.line_number();
                if text.peek().at_line(line)? != Some(b':') {
                    break Some((line, "a colon is missing after a key"));
                }
                text.bump();
                let line = text.line_number();
                let next = text.peek().at_line(line)?;
                if key == b"data" && next == Some(b'[') {
                    data = true;
                    if let Some(broken) = traces(text, memory, batch)? {
                        break Some(broken);
                    }
                    continue;
                }
                let line = text.line_number();
                match text.value().at_line(line)? {
                    Some(piece) if piece.cut_short => {
                        break Some((piece.line, "the file ends in the middle of a value"));
                    }
                    Some(piece) if piece.too_long => {
                        break Some((piece.line, "the trace is longer than 256 MiB"));
                    }
                    Some(piece) if key == b"spans" || key == b"processes" => {
                        let kept = Some(Kept {
                            line: piece.line,
                            bytes: piece.bytes.to_vec(),
                        });
                        if key == b"spans" {
                            spans = kept
                        } else {
                            processes = kept
                        }
                    }
                    Some(_) => {}
                    None => break Some((line, "a value is missing")),
                }
            }
            Some(_) => break Some((text.line_number(), "a key in quotes is expected")),
            None => {
                break Some((
                    text.line_number(),
                    "the file ends in the middle of an object",
                ));
            }
        }
    };
    if let Some(spans) = &spans {
        let processes = processes.as_ref().map(|kept| kept.bytes.as_slice());
        trace(&spans.bytes, spans.line, processes, memory, batch)?;
    } else if broken.is_none() && !data {
        batch.bad(
            Place::Line(begun),
            "no trace: it has neither spans nor data",
        )?;
    }
    if let Some((line, reason)) = broken {
        batch.bad(Place::Line(line), reason)?;
        let at = text.line_number();
        text.resume_at(b"{[").at_line(at)?;
    }
    Ok(())
}

/// The elements of `data`.
fn traces(
    text: &mut Text<'_>,
    memory: &mut Memory,
    batch: &mut Batch<'_>,
) -> Result<Option<(u64, &'static str)>, Stop> {
    text.bump();
    loop {
        let line = text.line_number();
        match text.peek().at_line(line)? {
            Some(b',') => text.bump(),
            Some(b']') => {
                text.bump();
                return Ok(None);
            }
            None => {
                return Ok(Some((
                    text.line_number(),
                    "the file ends in the middle of an array",
                )));
            }
            Some(_) => {
                let line = text.line_number();
                match text.value().at_line(line)? {
                    None => return Ok(Some((line, "a trace is missing"))),
                    Some(piece) if piece.too_long => {
                        batch.bad(Place::Line(piece.line), "the trace is longer than 256 MiB")?
                    }
                    Some(piece) if piece.cut_short => {
                        return Ok(Some((piece.line, "the file ends in the middle of a trace")));
                    }
                    Some(piece) => whole_trace(piece.bytes, piece.line, memory, batch)?,
                }
            }
        }
    }
}

fn whole_trace(
    bytes: &[u8],
    line: u64,
    memory: &mut Memory,
    batch: &mut Batch<'_>,
) -> Result<(), ImportError> {
    let entries = match object_entries(bytes) {
        Ok(entries) => entries,
        Err(reason) => {
            batch.report.records += 1;
            return batch.bad(Place::Line(line), format!("no trace: {reason}"));
        }
    };
    let value = |name: &[u8]| {
        entries
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| *value)
    };
    match value(b"spans") {
        Some(spans) => {
            let at = line + lines_before(bytes, spans);
            trace(spans, at, value(b"processes"), memory, batch)
        }
        None => {
            batch.report.records += 1;
            batch.bad(Place::Line(line), "no trace: it has no spans")
        }
    }
}

fn trace(
    spans: &[u8],
    line: u64,
    processes: Option<&[u8]>,
    memory: &mut Memory,
    batch: &mut Batch<'_>,
) -> Result<(), ImportError> {
    let mut known = HashMap::new();
    if let Some(processes) = processes.filter(|bytes| *bytes != b"null") {
        match object_entries(processes) {
            Ok(entries) => {
                for (name, process) in entries {
                    match resource_of(process, memory) {
                        Ok(resource) => {
                            drop(known.insert(String::from_utf8_lossy(name).into_owned(), resource))
                        }
                        Err(reason) => {
                            let at = line + lines_before(processes, process);
                            batch.bad(
                                Place::Line(at),
                                format!(
                                    "process {}: {reason}",
                                    clip(&String::from_utf8_lossy(name))
                                ),
                            )?;
                        }
                    }
                }
            }
            Err(reason) => batch.bad(Place::Line(line), format!("processes: {reason}"))?,
        }
    }
    let elements = match array_elements(spans) {
        Ok(elements) => elements,
        Err(reason) => return batch.bad(Place::Line(line), format!("spans: {reason}")),
    };
    for element in elements {
        batch.report.records += 1;
        let read = serde_json::from_slice::<SpanMessage>(element)
            .map_err(|error| super::json_reason(&error))
            .and_then(|message| span(message, &known, memory, batch));
        match read {
            Ok(span) => batch.span(span)?,
            Err(reason) => batch.bad(Place::Line(line + lines_before(spans, element)), reason)?,
        }
    }
    Ok(())
}

fn resource_of(process: &[u8], memory: &mut Memory) -> Result<Arc<Resource>, String> {
    if let Some(resource) = memory.resources.get(process) {
        return Ok(resource.clone());
    }
    let message: Process =
        serde_json::from_slice(process).map_err(|error| super::json_reason(&error))?;
    let resource = Arc::new(resource(message));
    if memory.resources.len() >= REMEMBERED {
        memory.resources.clear();
    }
    memory.resources.insert(process.to_vec(), resource.clone());
    Ok(resource)
}

fn resource(process: Process) -> Resource {
    let mut attributes = Attributes::default();
    if let Some(service) = process.service_name.filter(|name| !name.is_empty()) {
        attributes.push("service.name", Value::Text(service));
    }
    for tag in process.tags.unwrap_or_default() {
        let value = tag_value(tag.kind.as_str(), tag.value);
        attributes.push(tag.key, value);
    }
    Resource {
        attributes,
        ..Resource::default()
    }
}

fn span(
    message: SpanMessage,
    processes: &HashMap<String, Arc<Resource>>,
    memory: &mut Memory,
    batch: &mut Batch<'_>,
) -> Result<Span, String> {
    let trace_id = ids::trace_id(&message.trace_id)?;
    let span_id = ids::span_id(&message.span_id)?;
    let start = nanos(message.start_time)?;
    let end = Nanos(
        start
            .0
            .checked_add(nanos(message.duration)?.0)
            .ok_or("startTime and duration reach beyond the year 2554")?,
    );
    let mut span = Span {
        trace_id,
        span_id,
        flags: message.flags.unwrap_or(0),
        name: message.operation_name.unwrap_or_default(),
        start,
        end,
        ..Span::default()
    };
    let resource = match (message.process, &message.process_id) {
        (Some(process), _) => Arc::new(resource(process)),
        (None, Some(id)) => processes.get(id).cloned().unwrap_or_else(|| {
            batch.report.note(
                "spans name a process that their trace doesn't describe; kept without a service",
            );
            Arc::default()
        }),
        (None, None) => Arc::default(),
    };
    let mut scope = (String::new(), String::new());
    for tag in message.tags.unwrap_or_default() {
        take_tag(&mut span, &mut scope, tag);
    }
    span.origin = Origin {
        resource,
        scope: scope_of(scope, memory),
    };
    refer(
        &mut span,
        message.references.unwrap_or_default(),
        message.parent_span_id,
    )?;
    for log in message.logs.unwrap_or_default() {
        span.events.push(event(log)?);
    }
    let warnings = message.warnings.unwrap_or_default();
    if !warnings.is_empty() {
        let warnings = warnings.into_iter().map(Value::Text).collect();
        span.attributes
            .push(names::WARNINGS, Value::Array(warnings));
    }
    Ok(span)
}

fn scope_of((name, version): (String, String), memory: &mut Memory) -> Arc<Scope> {
    if memory.scopes.len() >= REMEMBERED {
        memory.scopes.clear();
    }
    memory
        .scopes
        .entry((name, version))
        .or_insert_with_key(|(name, version)| {
            Arc::new(Scope {
                name: name.clone(),
                version: version.clone(),
                ..Scope::default()
            })
        })
        .clone()
}

/// Jaeger's conventions become fields; everything else stays an attribute.
fn take_tag(span: &mut Span, scope: &mut (String, String), tag: Tag) {
    let value = tag_value(&tag.kind, tag.value);
    match (tag.key.as_str(), &value) {
        (names::KIND, Value::Text(text)) => {
            if let Some(kind) = SpanKind::ALL
                .into_iter()
                .find(|kind| kind.name().eq_ignore_ascii_case(text))
            {
                span.kind = kind;
                return;
            }
        }
        (names::ERROR, Value::Bool(true)) => {
            span.status = StatusCode::Error;
            return;
        }
        (names::ERROR, Value::Text(text)) if text == "true" => {
            span.status = StatusCode::Error;
            return;
        }
        (names::STATUS_CODE, Value::Text(text)) => {
            let known = [
                ("OK", StatusCode::Ok),
                ("ERROR", StatusCode::Error),
                ("UNSET", StatusCode::Unset),
            ];
            if let Some((_, code)) = known.into_iter().find(|(name, _)| name == text) {
                // `error` stands even where a status says less.
                if span.status == StatusCode::Unset {
                    span.status = code;
                }
                return;
            }
        }
        (names::STATUS_DESCRIPTION, Value::Text(text)) => {
            span.status_message.clone_from(text);
            return;
        }
        (names::LIBRARY_NAME | names::SCOPE_NAME, Value::Text(text)) => {
            scope.0.clone_from(text);
            return;
        }
        (names::LIBRARY_VERSION | names::SCOPE_VERSION, Value::Text(text)) => {
            scope.1.clone_from(text);
            return;
        }
        (names::TRACE_STATE, Value::Text(text)) => {
            span.trace_state.clone_from(text);
            return;
        }
        _ => {}
    }
    span.attributes.push(tag.key, value);
}

fn refer(
    span: &mut Span,
    references: Vec<Reference>,
    parent: Option<String>,
) -> Result<(), String> {
    let mut known: Vec<(String, TraceId, SpanId)> = Vec::with_capacity(references.len());
    for reference in references {
        let trace = ids::trace_id(&reference.trace_id)
            .map_err(|reason| format!("a reference: {reason}"))?;
        let id = ids::parent_id(&reference.span_id)
            .map_err(|reason| format!("a reference: {reason}"))?;
        if id.is_some() {
            known.push((reference.ref_type, trace, id));
        }
    }
    let within = |kind: &str| {
        known
            .iter()
            .position(|(k, trace, _)| k == kind && *trace == span.trace_id)
    };
    let child_of = within(names::CHILD_OF);
    let parent_at = child_of.or_else(|| within(names::FOLLOWS_FROM));
    match parent_at {
        Some(at) => {
            span.parent_span_id = known[at].2;
            if child_of.is_none() {
                span.attributes.push(
                    names::REF_TYPE,
                    Value::Text(names::FOLLOWS_FROM_VALUE.to_owned()),
                );
            }
        }
        None => {
            if let Some(parent) = parent {
                span.parent_span_id = ids::parent_id(&parent)?;
            }
        }
    }
    for (at, (kind, trace_id, span_id)) in known.into_iter().enumerate() {
        if Some(at) == parent_at {
            continue;
        }
        let mut attributes = Attributes::default();
        if kind == names::CHILD_OF {
            attributes.push(
                names::REF_TYPE,
                Value::Text(names::CHILD_OF_VALUE.to_owned()),
            );
        }
        span.links.push(SpanLink {
            trace_id,
            span_id,
            attributes,
            ..SpanLink::default()
        });
    }
    Ok(())
}

fn event(log: Log) -> Result<SpanEvent, String> {
    let mut event = SpanEvent {
        at: nanos(log.timestamp)?,
        ..SpanEvent::default()
    };
    for tag in log.fields.unwrap_or_default() {
        match tag_value(&tag.kind, tag.value) {
            Value::Text(name) if tag.key == names::EVENT && event.name.is_empty() => {
                event.name = name
            }
            value => event.attributes.push(tag.key, value),
        }
    }
    Ok(event)
}

fn nanos(micros: u64) -> Result<Nanos, String> {
    micros
        .checked_mul(1_000)
        .map(Nanos)
        .ok_or_else(|| format!("{micros} microseconds reach beyond the year 2554"))
}

/// The value as its type says; where the two don't fit, as JSON says.
fn tag_value(kind: &str, value: serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match (kind, value) {
        ("binary", Json::String(text)) => STANDARD
            .decode(&text)
            .map_or(Value::Text(text), Value::Bytes),
        ("int64", Json::String(text)) => text.parse().map_or(Value::Text(text), Value::Int),
        ("float64", Json::String(text)) => text.parse().map_or(Value::Text(text), Value::Double),
        ("bool", Json::String(text)) => text.parse().map_or(Value::Text(text), Value::Bool),
        ("float64", Json::Number(number)) => Value::Double(number.as_f64().unwrap_or(f64::NAN)),
        (_, value) => super::json_value(value),
    }
}
