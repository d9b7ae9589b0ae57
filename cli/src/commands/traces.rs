//! `casefile traces`: as text a line for each trace with a span that is meant, newest first; as JSON those spans.

use std::collections::HashMap;
use std::ops::ControlFlow;

use case::filter::{Brief, SpanFilter};
use case::model::{Span, StatusCode};
use case::time::human_duration;
use case::{Nanos, SpanId, TraceId};
use clap::Args;

use super::filtering::SpanFilterArgs;
use super::newest::Newest;
use crate::args::{CaseArgs, WindowArgs};
use crate::error::CliError;
use crate::exit;
use crate::output::rows::SpanRow;
use crate::output::{Column, Console, Format, Line, Table, Tone, count, thousands};
use crate::reading::Reading;
use crate::render::names;

/// Traces shown as text unless asked otherwise.
const SHOWN: usize = 50;

#[derive(Debug, Args)]
pub struct TracesArgs {
    #[command(flatten)]
    case: CaseArgs,
    #[command(flatten)]
    window: WindowArgs,
    #[command(flatten)]
    filter: SpanFilterArgs,
    /// The newest so many; 0 for all [default: 50 traces as text, all spans as JSON].
    #[arg(long, short = 'n', value_name = "COUNT")]
    limit: Option<usize>,
    /// text: a line for each trace; json: an object for each span that is meant.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub fn run(args: &TracesArgs, console: &mut Console) -> Result<u8, CliError> {
    let filter = args.filter.filter()?;
    let reading = Reading::open(&args.case, &args.window, console)?;
    reading.check_services(&filter.services())?;
    match args.format {
        Format::Json => spans_as_json(
            &reading,
            &filter,
            args.limit.filter(|limit| *limit > 0),
            console,
        )?,
        Format::Text => {
            let limit = match args.limit {
                None => Some(SHOWN),
                Some(0) => None,
                limit => limit,
            };
            traces_as_text(&reading, &filter, limit, console)?;
        }
    }
    reading.tell_damage(console);
    Ok(exit::CLEAN)
}

fn spans_as_json(
    reading: &Reading,
    filter: &SpanFilter,
    limit: Option<usize>,
    console: &mut Console,
) -> Result<(), CliError> {
    if limit.is_some() {
        let mut newest = Newest::new(limit);
        reading.case.spans(reading.window, &mut |span| {
            if filter.matches(&span) {
                newest.offer((span.start, span.trace_id, span.span_id), span);
            }
            ControlFlow::Continue(())
        })?;
        return newest
            .into_rows()
            .iter()
            .try_for_each(|span| console.json(&SpanRow(span)));
    }
    let mut outcome = Ok(());
    reading.case.spans(reading.window, &mut |span| {
        if filter.matches(&span) {
            outcome = console.json(&SpanRow(&span));
        }
        if outcome.is_err() || console.is_closed() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    outcome
}

/// What a list says of a trace.
pub struct TraceSummary {
    pub id: TraceId,
    pub start: Nanos,
    pub duration: u64,
    pub service: String,
    pub name: String,
    pub code: Option<String>,
    pub spans: usize,
    pub errors: usize,
    /// How the trace as a whole ended: what its first span says.
    pub status: StatusCode,
    pub services: usize,
    /// Whether the root is among the spans.
    pub rooted: bool,
}

impl TraceSummary {
    /// Sums up the spans of one trace; `None` if there are none.
    pub fn of(spans: &[Span]) -> Option<TraceSummary> {
        let first = spans.iter().min_by_key(|span| {
            (
                span.parent_span_id != SpanId::NONE,
                span.start,
                std::cmp::Reverse(span.end),
                span.span_id,
            )
        })?;
        let start = spans.iter().map(|span| span.start).min()?;
        let end = spans.iter().map(|span| span.end.max(span.start)).max()?;
        let mut services: Vec<&str> = spans.iter().map(Span::service).collect();
        services.sort_unstable();
        services.dedup();
        Some(TraceSummary {
            id: first.trace_id,
            start,
            duration: end.0 - start.0,
            service: first.service().to_owned(),
            name: first.name.clone(),
            code: names::status_code(&first.attributes),
            spans: spans.len(),
            errors: spans
                .iter()
                .filter(|span| span.status == StatusCode::Error)
                .count(),
            status: first.status,
            services: services.len(),
            rooted: first.parent_span_id == SpanId::NONE,
        })
    }
}

/// Traces whose spans are held at the same time.
const AT_ONCE: usize = 512;

/// The traces with a span in the window that is meant, newest first, at most `limit`; and how many more there are.
pub fn newest_traces(
    reading: &Reading,
    filter: &SpanFilter,
    limit: Option<usize>,
) -> Result<(Vec<TraceSummary>, u64), CliError> {
    // The first span that is meant, for each trace.
    let mut firsts: HashMap<TraceId, Nanos> = HashMap::new();
    let mut note = |id: TraceId, start: Nanos| {
        firsts
            .entry(id)
            .and_modify(|first| *first = (*first).min(start))
            .or_insert(start);
    };
    if filter.is_brief() {
        let table = reading.case.skeleton(reading.window)?;
        for row in 0..table.len() {
            if filter.matches_brief(&Brief::of(&table, row)) {
                note(
                    table.traces[table.trace[row] as usize],
                    Nanos(table.start[row]),
                );
            }
        }
    } else {
        reading.case.spans(reading.window, &mut |span| {
            if filter.matches(&span) {
                note(span.trace_id, span.start);
            }
            ControlFlow::Continue(())
        })?;
    }
    let mut newest = Newest::new(limit);
    for (id, start) in firsts {
        // The id makes the order complete, whatever order the map has.
        newest.offer((start, id), id);
    }
    let left_out = newest.left_out();
    let mut ids = newest.into_rows();
    ids.reverse();
    let mut summaries = Vec::new();
    for together in ids.chunks(AT_ONCE) {
        for spans in reading.case.traces(together)? {
            summaries.extend(TraceSummary::of(&spans));
        }
    }
    Ok((summaries, left_out))
}

fn traces_as_text(
    reading: &Reading,
    filter: &SpanFilter,
    limit: Option<usize>,
    console: &mut Console,
) -> Result<(), CliError> {
    let (traces, left_out) = newest_traces(reading, filter, limit)?;
    if traces.is_empty() {
        let what = if filter.is_empty() {
            "no traces in the window"
        } else {
            "no trace has such a span"
        };
        console.remark(what);
        return Ok(());
    }
    let mut table = Table::new(vec![
        Column::left("start"),
        Column::left("trace"),
        Column::left("service").shrinks_to(12),
        Column::left("operation").shrinks_to(12),
        Column::left(""),
        Column::right("duration"),
        Column::right("spans"),
        Column::right("errors"),
        Column::right("services"),
    ]);
    for trace in &traces {
        let number = |number: usize| Line::plain(thousands(number as u64));
        let errors = if trace.errors > 0 {
            Line::new().with(Tone::Bad, thousands(trace.errors as u64))
        } else {
            Line::new().with(Tone::Dim, "·")
        };
        let mut operation = Line::plain(&trace.name);
        if !trace.rooted {
            operation.push(Tone::Odd, " (root missing)");
        }
        table.row(vec![
            Line::new().with(Tone::Dim, trace.start.clock()),
            Line::plain(trace.id.to_string()),
            Line::plain(names::service(&trace.service)),
            operation,
            Line::plain(trace.code.as_deref().unwrap_or("")),
            Line::plain(human_duration(trace.duration)),
            number(trace.spans),
            errors,
            number(trace.services),
        ]);
    }
    console.lines(&table.lines(console.list_width()))?;
    if left_out > 0 {
        let more = count(left_out, "earlier trace", "earlier traces");
        console.line(
            &Line::new().with(Tone::Dim, format!("{more} not shown (--limit 0 shows all)")),
        )?;
    }
    Ok(())
}
