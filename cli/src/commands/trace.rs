//! `casefile trace ID`: one trace as a waterfall, with its logs, its gaps, what it waited for and what it is linked to.

use std::ops::ControlFlow;

use analyzers::gaps::Gap;
use analyzers::skew::{Clocks, Corrected};
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
use crate::render::trace::{self, Around};
use crate::render::waterfall::Waterfall;
use crate::views;

/// Logs around a trace may be a little earlier or later than its spans.
const LOG_MARGIN: u64 = 60_000_000_000;

#[derive(Debug, Args)]
pub struct TraceArgs {
    /// The trace's id, 32 hexadecimal digits, or enough of the first of them to tell it from the others.
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    case: CaseArgs,
    /// Draw times as they would read on one clock, and say whose clock is off.
    #[arg(long)]
    skew: bool,
    /// Where logs stand: under the whole trace, beneath their spans, or nowhere.
    #[arg(long, value_enum, value_name = "WHERE", default_value = "trace")]
    logs: LogPlace,
    /// List the critical path stretch by stretch.
    #[arg(long)]
    critical: bool,
    /// Name the traces this one is linked to, by messages, outboxes and recoveries, and those linked to them.
    #[arg(long)]
    follow: bool,
    /// Look for the parents of spans that lost theirs, here and in traces that may belong to this one. What is inferred
    /// is marked with ≈.
    #[arg(long)]
    repair: bool,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum LogPlace {
    Trace,
    Span,
    None,
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
    let repaired = match args.repair {
        true => views::repaired(&reading, spans)?,
        false => views::RepairedTrace {
            spans,
            ..views::RepairedTrace::default()
        },
    };
    let spans = repaired.spans.clone();
    let logs = match args.logs {
        LogPlace::None => Vec::new(),
        _ => logs_of(&reading.case, id, &spans)?,
    };
    let asked = views::AroundTrace {
        clocks: args.skew,
        links: args.follow,
    };
    let known = views::around_trace(&reading, &spans, asked)?;
    match args.format {
        Format::Text => {
            let around = Around {
                gaps: known.gaps,
                settled: Some(known.settled),
                clocks: known.clocks,
                linked: known.linked,
                logs_by_span: args.logs == LogPlace::Span,
                whole_path: args.critical,
            };
            let spans = match &around.clocks {
                Some(clocks) => on_one_clock(spans, clocks),
                None => spans,
            };
            let mut lines = trace::lines(
                &Waterfall::repaired(spans, &repaired.edges()),
                &logs,
                &around,
                console.drawing_width(),
            );
            if args.repair {
                lines.extend(trace::inferred_lines(&repaired));
            }
            console.lines(&lines)?;
        }
        Format::Json => console.json(&TraceObject {
            id,
            waterfall: &Waterfall::repaired(spans, &repaired.edges()),
            inferred: args.repair.then_some(&repaired.links),
            logs: &logs,
            known: &known,
        })?,
    }
    reading.tell_damage(console);
    Ok(exit::CLEAN)
}

/// Spans with the times they would have on the common clock.
pub fn on_one_clock(mut spans: Vec<Span>, clocks: &Clocks) -> Vec<Span> {
    for span in &mut spans {
        if let Some(corrected) = clocks.corrected(span) {
            span.start = corrected.start;
            span.end = corrected.end;
        }
    }
    spans
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
    inferred: Option<&'a Vec<views::InferredLink>>,
    logs: &'a [LogRecord],
    known: &'a views::KnownAround,
}

/// A span with its place in the trace.
#[derive(Serialize)]
struct PlacedSpan<'a> {
    depth: usize,
    self_nano: u64,
    critical_nano: u64,
    /// The parent it is drawn under and how sure that is, where it names none and one is inferred.
    #[serde(skip_serializing_if = "Option::is_none")]
    inferred_parent_span_id: Option<case::SpanId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inferred_confidence: Option<f64>,
    /// Its times on the common clock, where that was asked for and something is known of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    corrected: Option<Corrected>,
    #[serde(flatten)]
    span: SpanRow<'a>,
}

/// A gap with the id of the span that gives it away.
#[derive(Serialize)]
struct GapOfSpan<'a> {
    span_id: case::SpanId,
    #[serde(flatten)]
    gap: &'a Gap,
}

impl TraceObject<'_> {
    fn gaps(&self) -> Vec<GapOfSpan<'_>> {
        let of = |gap: &'_ Gap| self.waterfall.span(gap.span).span_id;
        self.known
            .gaps
            .iter()
            .map(|gap| GapOfSpan {
                span_id: of(gap),
                gap,
            })
            .collect()
    }
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
                inferred_parent_span_id: self
                    .waterfall
                    .inferred(placed.span)
                    .and_then(|_| self.waterfall.parent(placed.span))
                    .map(|parent| self.waterfall.span(parent).span_id),
                inferred_confidence: self.waterfall.inferred(placed.span),
                corrected: self
                    .known
                    .clocks
                    .as_ref()
                    .and_then(|clocks| clocks.corrected(self.waterfall.span(placed.span))),
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
        if let Some(inferred) = self.inferred {
            map.serialize_entry("inferred", inferred)?;
        }
        map.serialize_entry("settled", &self.known.settled)?;
        map.serialize_entry("gaps", &self.gaps())?;
        if let Some(clocks) = &self.known.clocks {
            map.serialize_entry("clocks", &clocks.clocks)?;
        }
        if let Some(links) = &self.known.links {
            map.serialize_entry("links", links)?;
        }
        map.end()
    }
}
