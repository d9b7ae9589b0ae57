//! One Jaeger span as ours: conventions become fields, references a parent and links.

use std::collections::HashMap;
use std::sync::Arc;

use ::case::model::{
    Attributes, Origin, Resource, Scope, Span, SpanEvent, SpanKind, SpanLink, StatusCode, Value,
};
use ::case::{Nanos, SpanId, TraceId};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::message::{Log, Process, Reference, SpanMessage, Tag};
use super::{Memory, REMEMBERED};
use crate::export::jaeger::names;
use crate::import::batch::Batch;
use crate::import::{ids, json_value};

pub(super) fn resource(process: Process) -> Resource {
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

pub(super) fn span(
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
        (_, value) => json_value(value),
    }
}
