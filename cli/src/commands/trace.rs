//! `casefile trace ID`: one trace as a waterfall, with its logs.

use std::ops::ControlFlow;

use case::model::{LogRecord, Span};
use case::{Case, TraceId, Window};
use clap::Args;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::args::{CaseArgs, WindowArgs};
use crate::error::CliError;
use crate::exit;
use crate::output::rows::{LogRow, SpanRow};
use crate::output::{Console, Format};
use crate::reading::Reading;
use crate::render::waterfall::Waterfall;

/// Logs around a trace may be a little earlier or later than its spans.
const LOG_MARGIN: u64 = 60_000_000_000;

#[derive(Debug, Args)]
pub struct TraceArgs {
    /// The trace's id, 32 hexadecimal digits, or enough of the first of them to tell it from the others.
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    case: CaseArgs,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub fn run(args: &TraceArgs, console: &mut Console) -> Result<u8, CliError> {
    let reading = Reading::open(&args.case, &WindowArgs::default(), console)?;
    let id = find(&reading.case, &args.id)?;
    let spans = reading.case.trace(id)?;
    if spans.is_empty() {
        return Err(
            CliError::new(format!("no trace {id} in {}", reading.path.display()))
                .hint("`casefile traces` lists what there is"),
        );
    }
    let logs = logs_of(&reading.case, id, &spans)?;
    match args.format {
        Format::Text => {
            let width = console.drawing_width();
            let lines = Waterfall::new(spans).lines(&logs, width);
            console.lines(&lines)?;
        }
        Format::Json => console.json(&TraceObject {
            id,
            waterfall: &Waterfall::new(spans),
            logs: &logs,
        })?,
    }
    reading.tell_damage(console);
    Ok(exit::CLEAN)
}

/// The trace meant by a whole id or the beginning of one.
pub(super) fn find(case: &Case, text: &str) -> Result<TraceId, CliError> {
    if text.len() == 32 {
        return text
            .parse()
            .map_err(|error: case::ids::IdError| CliError::new(error.to_string()));
    }
    let lower = text.to_ascii_lowercase();
    if lower.len() < 4 || lower.len() > 32 || !lower.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(CliError::new(format!(
            "a trace id is 32 hexadecimal digits, or at least the first 4 of them; got {text:?}"
        )));
    }
    let table = case.skeleton(Window::ALL)?;
    let mut found = table
        .traces
        .iter()
        .filter(|id| id.to_string().starts_with(&lower));
    match (found.next(), found.next()) {
        (Some(id), None) => Ok(*id),
        (None, _) => Err(CliError::new(format!("no trace begins with {lower}"))
            .hint("`casefile traces` lists what there is")),
        (Some(a), Some(b)) => Err(CliError::new(format!("several traces begin with {lower}"))
            .hint(format!("such as {a} and {b}"))),
    }
}

/// The log records of a trace, in order of time.
pub fn logs_of(case: &Case, id: TraceId, spans: &[Span]) -> Result<Vec<LogRecord>, CliError> {
    let from = spans
        .iter()
        .map(|span| span.start)
        .min()
        .unwrap_or_default();
    let until = spans
        .iter()
        .map(|span| span.end.max(span.start))
        .max()
        .unwrap_or_default();
    let window = Window {
        from: from.saturating_sub(LOG_MARGIN),
        until: until.saturating_add(LOG_MARGIN),
    };
    let mut logs = Vec::new();
    case.logs(window, &mut |log| {
        if log.trace_id == id {
            logs.push(log);
        }
        ControlFlow::Continue(())
    })?;
    logs.sort_by_key(LogRecord::at);
    Ok(logs)
}

struct TraceObject<'a> {
    id: TraceId,
    waterfall: &'a Waterfall,
    logs: &'a [LogRecord],
}

/// A span with its place in the trace.
#[derive(Serialize)]
struct PlacedSpan<'a> {
    depth: usize,
    self_nano: u64,
    critical_nano: u64,
    #[serde(flatten)]
    span: SpanRow<'a>,
}

impl Serialize for TraceObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let spans: Vec<PlacedSpan<'_>> = self
            .waterfall
            .placed()
            .iter()
            .map(|placed| PlacedSpan {
                depth: placed.depth,
                self_nano: self.waterfall.self_time(placed.span),
                critical_nano: self.waterfall.critical_time(placed.span),
                span: SpanRow(self.waterfall.span(placed.span)),
            })
            .collect();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("trace_id", &self.id)?;
        map.serialize_entry("duration_nano", &self.waterfall.duration())?;
        map.serialize_entry("span_count", &self.waterfall.placed().len())?;
        map.serialize_entry("service_count", &self.waterfall.services())?;
        map.serialize_entry("spans", &spans)?;
        map.serialize_entry("logs", &self.logs.iter().map(LogRow).collect::<Vec<_>>())?;
        let defects: Vec<String> = self
            .waterfall
            .defects()
            .iter()
            .map(|line| line.text())
            .collect();
        map.serialize_entry("defects", &defects)?;
        map.end()
    }
}
