//! OTLP JSON: export objects one a line, one document over many lines, or an array of them.
//!
//! A document is read resource by resource. Where a resource can't be read, its spans, records or metrics are tried
//! one by one, so that a single bad one costs nothing but itself.

use ::case::Signal;

use super::count::count;
use crate::import::batch::Batch;
use crate::import::cut::{ValueEnd, array_elements, lines_before, object_entries, skip_space};
use crate::import::recognise::OTLP_KEYS;
use crate::import::report::{Place, clip};
use crate::import::stream::Text;
use crate::import::{AtLine, ImportError, Stop};
use crate::otlp::json::json_to_protobuf;

/// How deep an export object may lie within others (an API answer wraps it once).
const WRAPPERS: usize = 4;

pub(in crate::import) fn import(
    text: &mut Text<'_>,
    head: &[u8],
    batch: &mut Batch<'_>,
) -> Result<(), Stop> {
    text.skip_mark().at_line(1)?;
    if one_a_line(head) {
        lines(text, batch)
    } else {
        values(text, batch)
    }
}

/// Whether each line is an object of its own. Telling this first keeps a cut line from swallowing those after it.
fn one_a_line(head: &[u8]) -> bool {
    const LOOK: usize = 50;
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let mut lines = text
        .split(|b| *b == b'\n')
        .filter(|line| skip_space(line, 0) < line.len())
        .take(LOOK)
        .peekable();
    if lines.peek().is_none_or(|first| first[0] != b'{') {
        return false;
    }
    lines.any(|line| {
        line[0] == b'{'
            && ValueEnd::default()
                .feed(line)
                .is_some_and(|end| skip_space(line, end) == line.len())
    })
}

fn lines(text: &mut Text<'_>, batch: &mut Batch<'_>) -> Result<(), Stop> {
    loop {
        let at = text.line_number();
        let Some(piece) = text.line().at_line(at)? else {
            return Ok(());
        };
        let line = piece.line;
        if piece.too_long {
            batch.report.records += 1;
            batch.bad(Place::Line(line), "the line is longer than 256 MiB")?;
            continue;
        }
        let start = skip_space(piece.bytes, 0);
        match piece.bytes.get(start) {
            None => {}
            Some(b'[') => match array_elements(piece.bytes) {
                Ok(elements) => {
                    for element in elements {
                        object(element, line, batch)?;
                    }
                }
                Err(reason) => {
                    batch.report.records += 1;
                    batch.bad(Place::Line(line), reason)?;
                }
            },
            Some(_) => object(&piece.bytes[start..], line, batch)?,
        }
    }
}

/// One whole export object, of any mix of signals.
pub(super) fn object(bytes: &[u8], line: u64, batch: &mut Batch<'_>) -> Result<(), ImportError> {
    batch.report.records += 1;
    let mut entries = match object_entries(bytes) {
        Ok(entries) => entries,
        Err(reason) => return batch.bad(Place::Line(line), reason),
    };
    // An answer of an API wraps it.
    let wrapped = entries
        .iter()
        .find(|(key, value)| *key == b"result" && value.first() == Some(&b'{'));
    if let Some(inner) = wrapped.and_then(|(_, value)| object_entries(value).ok()) {
        entries.extend(inner);
    }
    let mut known = false;
    for (key, value) in entries {
        let Some(signal) = signal_of(key) else {
            continue;
        };
        known = true;
        match array_elements(value) {
            Ok(elements) => {
                for element in elements {
                    resource(signal, element, line + lines_before(bytes, element), batch)?;
                }
            }
            Err(_) if value == b"null" => {}
            Err(reason) => batch.bad(
                Place::Line(line),
                format!("{}: {reason}", clip(&String::from_utf8_lossy(key))),
            )?,
        }
    }
    if !known {
        batch.bad(
            Place::Line(line),
            format!(
                "no export object: it has none of {}",
                OTLP_KEYS[0..6]
                    .iter()
                    .step_by(2)
                    .copied()
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        )?;
    }
    Ok(())
}

fn signal_of(key: &[u8]) -> Option<Signal> {
    let place = OTLP_KEYS.iter().position(|known| known.as_bytes() == key)?;
    Some([Signal::Traces, Signal::Logs, Signal::Metrics][place / 2])
}

/// The keys of a resource's scopes, and of a scope's items.
fn keys_of(signal: Signal) -> (&'static str, [&'static str; 2], [&'static str; 2]) {
    match signal {
        Signal::Logs => (
            "resourceLogs",
            ["scopeLogs", "scope_logs"],
            ["logRecords", "log_records"],
        ),
        Signal::Metrics => (
            "resourceMetrics",
            ["scopeMetrics", "scope_metrics"],
            ["metrics", "metrics"],
        ),
        _ => (
            "resourceSpans",
            ["scopeSpans", "scope_spans"],
            ["spans", "spans"],
        ),
    }
}

fn convert(signal: Signal, resource: &[u8]) -> Result<Vec<u8>, String> {
    let key = keys_of(signal).0;
    let mut wrapped = Vec::with_capacity(resource.len() + key.len() + 8);
    wrapped.extend_from_slice(b"{\"");
    wrapped.extend_from_slice(key.as_bytes());
    wrapped.extend_from_slice(b"\":[");
    wrapped.extend_from_slice(resource);
    wrapped.extend_from_slice(b"]}");
    // The position is one within the wrapping; the field says where to look.
    json_to_protobuf(signal, &wrapped).map_err(|error| match error.path.rsplit('.').next() {
        Some(field) if !field.is_empty() => format!("{} in {field}", error.reason),
        _ => error.reason,
    })
}

/// One element of `resourceSpans`, `resourceLogs` or `resourceMetrics`.
fn resource(
    signal: Signal,
    bytes: &[u8],
    line: u64,
    batch: &mut Batch<'_>,
) -> Result<(), ImportError> {
    let place = Place::Line(line);
    match convert(signal, bytes)
        .and_then(|payload| count(signal, &payload, batch).map(|items| (payload, items)))
    {
        Ok((payload, items)) => batch.request(signal, payload, items, place),
        Err(reason) => one_by_one(signal, bytes, line, &reason, batch),
    }
}

/// The items of a resource that can't be read as a whole, each with a copy of what stands around it.
fn one_by_one(
    signal: Signal,
    bytes: &[u8],
    line: u64,
    reason: &str,
    batch: &mut Batch<'_>,
) -> Result<(), ImportError> {
    let (_, scopes_keys, items_keys) = keys_of(signal);
    let line_of = |piece: &[u8]| line + lines_before(bytes, piece);
    let Some((around_scopes, scopes)) = split(bytes, scopes_keys) else {
        return batch.bad(Place::Line(line), reason);
    };
    let mut blamed = false;
    for scope in scopes {
        let Some((around_items, items)) = split(scope, items_keys) else {
            blamed = true;
            batch.bad(Place::Line(line_of(scope)), reason)?;
            continue;
        };
        for item in items {
            let mut alone =
                Vec::with_capacity(item.len() + around_scopes.len() + around_items.len() + 64);
            alone.extend_from_slice(b"{");
            alone.extend_from_slice(&around_scopes);
            alone.extend_from_slice(format!("\"{}\":[{{", scopes_keys[0]).as_bytes());
            alone.extend_from_slice(&around_items);
            alone.extend_from_slice(format!("\"{}\":[", items_keys[0]).as_bytes());
            alone.extend_from_slice(item);
            alone.extend_from_slice(b"]}]}");
            let place = Place::Line(line_of(item));
            match convert(signal, &alone)
                .and_then(|payload| count(signal, &payload, batch).map(|n| (payload, n)))
            {
                Ok((payload, items)) => batch.request(signal, payload, items, place)?,
                Err(reason) => {
                    blamed = true;
                    batch.bad(place, reason)?;
                }
            }
        }
    }
    // Every item can be read alone, yet not together: the fault lies between them.
    if blamed {
        Ok(())
    } else {
        batch.bad(Place::Line(line), reason)
    }
}

/// An object's other entries as text that can be continued, and the elements of the array under one of `keys`.
fn split<'a>(object: &'a [u8], keys: [&str; 2]) -> Option<(Vec<u8>, Vec<&'a [u8]>)> {
    let mut around = Vec::new();
    let mut elements = None;
    for (key, value) in object_entries(object).ok()? {
        if keys.iter().any(|known| known.as_bytes() == key) {
            elements = array_elements(value).ok();
        } else {
            around.push(b'"');
            around.extend_from_slice(key);
            around.extend_from_slice(b"\":");
            around.extend_from_slice(value);
            around.push(b',');
        }
    }
    Some((around, elements?))
}

/// Documents over many lines, one after another or in an array.
fn values(text: &mut Text<'_>, batch: &mut Batch<'_>) -> Result<(), Stop> {
    loop {
        let line = text.line_number();
        match text.peek().at_line(line)? {
            None => return Ok(()),
            Some(b'[' | b']' | b',') => text.bump(),
            Some(b'{') => {
                batch.report.records += 1;
                let begun = text.line_number();
                if let Err(stop) = document(text, batch, 0) {
                    let Broken { line, reason } = match stop {
                        Ended::Broken(broken) => broken,
                        Ended::Stop(stop) => return Err(stop),
                    };
                    let line = line.unwrap_or(begun);
                    batch.bad(Place::Line(line), reason)?;
                    let at = text.line_number();
                    text.resume_at(b"{[").at_line(at)?;
                }
            }
            Some(_) => {
                batch.report.records += 1;
                let line = text.line_number();
                batch.bad(Place::Line(line), "no JSON object begins here")?;
                text.resume_at(b"{[").at_line(line)?;
            }
        }
    }
}

struct Broken {
    line: Option<u64>,
    reason: String,
}

enum Ended {
    Broken(Broken),
    Stop(Stop),
}

impl From<Stop> for Ended {
    fn from(stop: Stop) -> Ended {
        Ended::Stop(stop)
    }
}

impl From<ImportError> for Ended {
    fn from(error: ImportError) -> Ended {
        Ended::Stop(Stop::Import(error))
    }
}

fn broken<T>(line: u64, reason: impl Into<String>) -> Result<T, Ended> {
    Err(Ended::Broken(Broken {
        line: Some(line),
        reason: reason.into(),
    }))
}

/// Reads an object entry by entry; the arrays of resources element by element.
fn document(text: &mut Text<'_>, batch: &mut Batch<'_>, depth: usize) -> Result<(), Ended> {
    let begun = text.line_number();
    text.bump();
    let mut known = false;
    loop {
        let line = text.line_number();
        match text.peek().at_line(line)? {
            Some(b',') => text.bump(),
            Some(b'}') => {
                text.bump();
                if !known && depth == 0 {
                    batch.bad(
                        Place::Line(begun),
                        "no export object: it has none of the keys of one",
                    )?;
                }
                return Ok(());
            }
            Some(b'"') => {
                let line = text.line_number();
                let key = match text.value().at_line(line)? {
                    Some(piece) if !piece.cut_short && !piece.too_long => {
                        piece.bytes[1..piece.bytes.len() - 1].to_vec()
                    }
                    _ => return broken(line, "the file ends in the middle of a key"),
                };
                let line = text.line_number();
                if text.peek().at_line(line)? != Some(b':') {
                    return broken(line, "a colon is missing after a key");
                }
                text.bump();
                let line = text.line_number();
                match (signal_of(&key), text.peek().at_line(line)?) {
                    (Some(signal), Some(b'[')) => {
                        known = true;
                        elements(text, signal, batch)?;
                    }
                    (None, Some(b'{')) if key == b"result" && depth < WRAPPERS => {
                        known = true;
                        document(text, batch, depth + 1)?;
                    }
                    (signal, _) => {
                        known |= signal.is_some();
                        let line = text.line_number();
                        match text.value().at_line(line)? {
                            Some(piece) if piece.cut_short => {
                                return broken(
                                    piece.line,
                                    "the file ends in the middle of a value",
                                );
                            }
                            Some(_) => {}
                            None => return broken(line, "a value is missing"),
                        }
                    }
                }
            }
            Some(_) => return broken(text.line_number(), "a key in quotes is expected"),
            None => {
                return broken(
                    text.line_number(),
                    "the file ends in the middle of an object",
                );
            }
        }
    }
}

fn elements(text: &mut Text<'_>, signal: Signal, batch: &mut Batch<'_>) -> Result<(), Ended> {
    text.bump();
    loop {
        let line = text.line_number();
        match text.peek().at_line(line)? {
            Some(b',') => text.bump(),
            Some(b']') => {
                text.bump();
                return Ok(());
            }
            None => return broken(line, "the file ends in the middle of an array"),
            Some(_) => {
                let line = text.line_number();
                match text.value().at_line(line)? {
                    Some(piece) if piece.cut_short => {
                        return broken(piece.line, "the file ends in the middle of a resource");
                    }
                    Some(piece) if piece.too_long => {
                        batch.bad(
                            Place::Line(piece.line),
                            "the resource is longer than 256 MiB",
                        )?;
                    }
                    Some(piece) => resource(signal, piece.bytes, piece.line, batch)?,
                    None => return broken(line, "an element is missing"),
                }
            }
        }
    }
}
