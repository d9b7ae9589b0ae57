//! Jaeger JSON: an API answer or a download of the UI (`{"data": [trace, …]}`), one trace, or an array of traces.
//!
//! A trace names its processes once, often behind its spans, so a trace is held at a time; a span that can't be read
//! costs only itself. What becomes of Jaeger's conventions is undone by the exporter, tag for tag:
//! - `span.kind`, `error`, `otel.status_code`, `otel.status_description`, `otel.library.*` (or `otel.scope.*`) and
//!   `w3c.tracestate` become the fields they stand for;
//! - the first `CHILD_OF` within the trace is the parent, else the first `FOLLOWS_FROM` within it, marked with the
//!   attribute `opentracing.ref_type`; every other reference becomes a link;
//! - warnings stay as the attribute `jaeger.warnings`.

mod message;
mod span;

use std::collections::HashMap;
use std::sync::Arc;

use ::case::model::{Resource, Scope};

use super::batch::Batch;
use super::cut::{array_elements, lines_before, object_entries};
use super::report::{Place, clip};
use super::stream::Text;
use super::{AtLine, ImportError, Stop};
use message::{Process, SpanMessage};

/// Resources remembered between traces, so that rows of one process share one.
const REMEMBERED: usize = 4_096;

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
            .and_then(|message| span::span(message, &known, memory, batch));
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
    let resource = Arc::new(span::resource(message));
    if memory.resources.len() >= REMEMBERED {
        memory.resources.clear();
    }
    memory.resources.insert(process.to_vec(), resource.clone());
    Ok(resource)
}
