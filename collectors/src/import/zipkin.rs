//! Zipkin v2 JSON: an array of spans, or of traces.
//!
//! **Shared ids.** Zipkin lets client and server report one span id between them; here a span has an id of its own.
//! The client's half keeps the id. The server's half (`shared: true`), if a client's half is in the file too, gets an
//! id computed from trace and span id, the shared id as its parent, and keeps what was sent as `zipkin.span_id` and
//! `zipkin.parent_id`. Children that name the shared id as their parent go to the half of their own service: to the
//! client's if that is theirs, else to the server's. A shared span without a client's half stays as it was sent.
//!
//! Which ids are shared is only known once all spans are seen, so the file is read for that first; an input that can
//! be read only once is held in memory, up to a limit.

use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;

use ::case::model::{Attributes, Origin, Resource, Span, SpanEvent, SpanKind, StatusCode, Value};
use ::case::{Nanos, SpanId, TraceId};
use bytes::Bytes;
use serde::Deserialize;

use super::batch::Batch;
use super::report::Place;
use super::source::Input;
use super::stream::{Piece, Text};
use super::{AtLine, Stop, ids};

/// How much of an input that can't be read twice is held.
const HELD: usize = 256 << 20;
/// Resources remembered, so that rows of one service share one.
const REMEMBERED: usize = 4_096;

#[derive(Deserialize)]
struct SpanMessage {
    #[serde(rename = "traceId")]
    trace_id: String,
    id: String,
    #[serde(rename = "parentId", default)]
    parent_id: Option<String>,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    timestamp: Option<u64>,
    #[serde(default)]
    duration: Option<u64>,
    #[serde(rename = "localEndpoint", default)]
    local: Option<Endpoint>,
    #[serde(rename = "remoteEndpoint", default)]
    remote: Option<Endpoint>,
    #[serde(default)]
    annotations: Option<Vec<Annotation>>,
    #[serde(default)]
    tags: Option<serde_json::Map<String, serde_json::Value>>,
    #[serde(default)]
    shared: Option<bool>,
    #[serde(default)]
    debug: Option<bool>,
}

#[derive(Deserialize, Default)]
struct Endpoint {
    #[serde(rename = "serviceName", default)]
    service_name: Option<String>,
    #[serde(default)]
    ipv4: Option<String>,
    #[serde(default)]
    ipv6: Option<String>,
    #[serde(default)]
    port: Option<i64>,
}

#[derive(Deserialize)]
struct Annotation {
    timestamp: u64,
    value: String,
}

/// What the first reading looks at.
#[derive(Deserialize)]
struct Identity {
    #[serde(rename = "traceId")]
    trace_id: String,
    id: String,
    #[serde(rename = "localEndpoint", default)]
    local: Option<Endpoint>,
    #[serde(default)]
    shared: Option<bool>,
}

#[derive(Default)]
struct Halves {
    server: String,
    /// The service of the half that owns the id, once it is seen.
    client: Option<String>,
}

type Shared = HashMap<(TraceId, SpanId), Halves>;

pub(super) fn import(
    reader: Box<dyn Read>,
    input: &mut Input,
    batch: &mut Batch<'_>,
) -> Result<(), Stop> {
    let start = Place::Line(1);
    let failed = |source| Stop::Read {
        place: start,
        source,
    };
    let (shared, reader): (Shared, Box<dyn Read>) = if input.can_reopen() {
        let mut shared = Shared::new();
        find_shared(Text::new(reader), true, &mut shared)?;
        if !shared.is_empty() {
            find_shared(
                Text::new(input.open().map_err(failed)?.reader),
                false,
                &mut shared,
            )?;
        }
        let opened = input.open().map_err(failed)?;
        batch.follow(opened.taken);
        (shared, opened.reader)
    } else {
        let mut held = Vec::new();
        reader
            .take(HELD as u64 + 1)
            .read_to_end(&mut held)
            .map_err(failed)?;
        if held.len() > HELD {
            return Err(failed(std::io::Error::other(
                "Zipkin spans are read twice, and more than 256 MiB from a pipe are not held for that: save them to a file first",
            )));
        }
        let held = Bytes::from(held);
        let mut shared = Shared::new();
        find_shared(Text::new(Box::new(&held[..])), true, &mut shared)?;
        find_shared(Text::new(Box::new(&held[..])), false, &mut shared)?;
        (shared, Box::new(std::io::Cursor::new(held)))
    };
    let mut resources = HashMap::new();
    let mut failure = Ok(());
    let mut text = Text::new(reader);
    each_span(&mut text, &mut |piece| {
        let place = Place::Line(piece.line);
        batch.report.records += 1;
        let done = match problem(&piece) {
            Some(reason) => batch.bad(place, reason),
            None => match serde_json::from_slice::<SpanMessage>(piece.bytes)
                .map_err(|error| super::json_reason(&error))
                .and_then(|message| span(message, &shared, &mut resources))
            {
                Ok(span) => batch.span(span),
                Err(reason) => batch.bad(place, reason),
            },
        };
        if let Err(error) = done {
            failure = Err(Stop::Import(error));
        }
        failure.is_ok()
    })?;
    failure
}

fn problem(piece: &Piece<'_>) -> Option<&'static str> {
    if piece.too_long {
        Some("the span is longer than 256 MiB")
    } else if piece.cut_short {
        Some("the file ends in the middle of a span")
    } else if piece.bytes.first() != Some(&b'{') {
        Some("no JSON object begins here")
    } else {
        None
    }
}

/// Shows every element of the array or arrays, until `each` says no.
fn each_span(text: &mut Text<'_>, each: &mut dyn FnMut(Piece<'_>) -> bool) -> Result<(), Stop> {
    text.skip_mark().at_line(1)?;
    loop {
        let line = text.line_number();
        match text.peek().at_line(line)? {
            None => return Ok(()),
            Some(b'[' | b']' | b',' | b'}' | b':') => text.bump(),
            Some(_) => {
                let line = text.line_number();
                match text.value().at_line(line)? {
                    Some(piece) => {
                        if !each(piece) {
                            return Ok(());
                        }
                    }
                    None => text.bump(),
                }
            }
        }
    }
}

/// First finds the server's halves, then, with them known, the client's.
fn find_shared(mut text: Text<'_>, servers: bool, shared: &mut Shared) -> Result<(), Stop> {
    each_span(&mut text, &mut |piece| {
        // What can't be read here is met, and reported, in the reading that follows.
        let Ok(identity) = serde_json::from_slice::<Identity>(piece.bytes) else {
            return true;
        };
        let (Ok(trace), Ok(id)) = (
            ids::trace_id(&identity.trace_id),
            ids::span_id(&identity.id),
        ) else {
            return true;
        };
        let service = identity
            .local
            .and_then(|local| local.service_name)
            .unwrap_or_default();
        let is_server = identity.shared == Some(true);
        if is_server && servers {
            shared.entry((trace, id)).or_default().server = service;
        } else if !is_server
            && !servers
            && let Some(halves) = shared.get_mut(&(trace, id))
        {
            halves.client = Some(service);
        }
        true
    })
}

/// The id of a server's half: the same wherever and whenever it is computed (FNV-1a, 64 bit).
fn server_half(trace: TraceId, id: SpanId) -> SpanId {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for byte in trace.0.iter().chain(&id.0).chain(b"server") {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    SpanId(hash.max(1).to_be_bytes())
}

fn span(
    message: SpanMessage,
    shared: &Shared,
    resources: &mut HashMap<String, Arc<Resource>>,
) -> Result<Span, String> {
    let trace_id = ids::trace_id(&message.trace_id)?;
    let sent_id = ids::span_id(&message.id)?;
    let sent_parent = ids::parent_id(message.parent_id.as_deref().unwrap_or(""))?;
    let annotations = message.annotations.unwrap_or_default();
    let first_annotation = annotations
        .iter()
        .map(|annotation| annotation.timestamp)
        .min();
    let start = nanos(
        message
            .timestamp
            .or(first_annotation)
            .ok_or("it has no timestamp")?,
    )?;
    let duration = nanos(message.duration.unwrap_or(0))?;
    let local = message.local.unwrap_or_default();
    let service = local.service_name.clone().unwrap_or_default();
    let is_server_half = message.shared == Some(true);
    let with_client = |id: SpanId| {
        shared
            .get(&(trace_id, id))
            .filter(|halves| halves.client.is_some())
    };

    let mut attributes = Attributes::default();
    let mut span_id = sent_id;
    let mut parent_span_id = sent_parent;
    if is_server_half && with_client(sent_id).is_some() {
        span_id = server_half(trace_id, sent_id);
        parent_span_id = sent_id;
        attributes.push("zipkin.span_id", Value::Text(sent_id.to_string()));
        if sent_parent.is_some() {
            attributes.push("zipkin.parent_id", Value::Text(sent_parent.to_string()));
        }
    } else if let Some(halves) = with_client(sent_parent).filter(|_| sent_parent.is_some()) {
        let of_client =
            halves.client.as_deref() == Some(service.as_str()) && halves.server != service;
        if !of_client {
            parent_span_id = server_half(trace_id, sent_parent);
        }
    }
    if is_server_half {
        attributes.push("zipkin.shared", Value::Bool(true));
    }
    if message.debug == Some(true) {
        attributes.push("zipkin.debug", Value::Bool(true));
    }
    push_endpoint(&mut attributes, "network.local", &local);
    if let Some(remote) = &message.remote {
        if let Some(name) = remote.service_name.as_ref().filter(|name| !name.is_empty()) {
            attributes.push("service.peer.name", Value::Text(name.clone()));
        }
        push_endpoint(&mut attributes, "network.peer", remote);
    }
    let mut status = StatusCode::Unset;
    let mut status_message = String::new();
    for (key, value) in message.tags.unwrap_or_default() {
        match (key.as_str(), value.as_str()) {
            // In Zipkin the tag alone says that it failed, whatever its value.
            ("error", text) => {
                status = StatusCode::Error;
                if let Some(text) = text.filter(|text| !text.is_empty() && *text != "true") {
                    text.clone_into(&mut status_message);
                }
            }
            ("otel.status_code", Some("OK")) if status == StatusCode::Unset => {
                status = StatusCode::Ok
            }
            ("otel.status_code", Some("ERROR")) => status = StatusCode::Error,
            _ => {}
        }
        attributes.push(key, super::json_value(value));
    }
    if resources.len() >= REMEMBERED {
        resources.clear();
    }
    let resource = resources
        .entry(service)
        .or_insert_with_key(|service| {
            let mut attributes = Attributes::default();
            if !service.is_empty() {
                attributes.push("service.name", Value::Text(service.clone()));
            }
            Arc::new(Resource {
                attributes,
                ..Resource::default()
            })
        })
        .clone();
    let mut events = Vec::with_capacity(annotations.len());
    for annotation in annotations {
        events.push(SpanEvent {
            at: nanos(annotation.timestamp)?,
            name: annotation.value,
            ..SpanEvent::default()
        });
    }
    Ok(Span {
        origin: Origin {
            resource,
            ..Origin::default()
        },
        trace_id,
        span_id,
        parent_span_id,
        name: message.name.unwrap_or_default(),
        kind: kind(message.kind.as_deref())?,
        start,
        end: Nanos(
            start
                .0
                .checked_add(duration.0)
                .ok_or("timestamp and duration reach beyond the year 2554")?,
        ),
        status,
        status_message,
        attributes,
        events,
        ..Span::default()
    })
}

fn push_endpoint(attributes: &mut Attributes, side: &str, endpoint: &Endpoint) {
    if let Some(address) = endpoint.ipv4.as_ref().or(endpoint.ipv6.as_ref()) {
        attributes.push(format!("{side}.address"), Value::Text(address.clone()));
    }
    if let Some(port) = endpoint.port.filter(|port| *port != 0) {
        attributes.push(format!("{side}.port"), Value::Int(port));
    }
}

/// Without a kind a Zipkin span is a local one.
fn kind(text: Option<&str>) -> Result<SpanKind, String> {
    match text {
        None => Ok(SpanKind::Internal),
        Some("CLIENT") => Ok(SpanKind::Client),
        Some("SERVER") => Ok(SpanKind::Server),
        Some("PRODUCER") => Ok(SpanKind::Producer),
        Some("CONSUMER") => Ok(SpanKind::Consumer),
        Some(other) => Err(format!(
            "the kind {} is none of CLIENT, SERVER, PRODUCER, CONSUMER",
            super::report::clip(other)
        )),
    }
}

fn nanos(micros: u64) -> Result<Nanos, String> {
    micros
        .checked_mul(1_000)
        .map(Nanos)
        .ok_or_else(|| format!("{micros} microseconds reach beyond the year 2554"))
}
