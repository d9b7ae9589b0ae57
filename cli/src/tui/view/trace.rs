//! A trace: its waterfall above, with gaps, links and logs among the spans; the selected line's details below.

use std::collections::BTreeMap;

use case::model::{Span, Value};
use case::time::human_duration;

use super::body::Body;
use super::{in_sight, reading, rule, ruled};
use crate::output::{Line, Tone, count};
use crate::render::names;
use crate::render::trace::{clock_line, gap_line, waited_for};
use crate::render::waterfall::{Waterfall, legend};
use crate::tui::state::{Loaded, LogItem, LogMode, Row, State, TraceView};

/// Lines the lower part may take.
const LOWER: usize = 12;
/// Deeper lines are drawn at this depth.
const DEEPEST: usize = 12;

pub(super) fn body(state: &State, view: &TraceView, columns: usize, room: usize) -> Body {
    let mut body = Body::default();
    body.line(rule(columns));
    let Some(loaded) = &view.loaded else {
        body.line(reading());
        return body;
    };
    let waterfall = &loaded.waterfall;
    if waterfall.placed().is_empty() {
        body.line(Line::plain("   the trace is not in the case, or not yet"));
        return body;
    }
    // A column on the left is kept for the mark of the selection.
    let inside = columns.saturating_sub(2);
    let mut title = Line::new();
    if state.pinned.contains(&view.id) {
        title.push(Tone::Accent, "⚑ ");
    }
    if let Some(at) = state.marked.iter().position(|id| *id == view.id) {
        title.push(Tone::Accent, if at == 0 { "A " } else { "B " });
    }
    title.append(waterfall.title(usize::MAX));
    if let Some(settled) = view.near.as_ref().and_then(|near| near.settled) {
        title.push(Tone::Dim, format!(" · {}", settled.name()));
    }
    body.line(Line::plain(" ").joined(title.fit(inside)));
    let mut modes = Vec::new();
    if view.critical {
        modes.push("only the critical path".to_owned());
    }
    if view.skew {
        modes.push(match &loaded.clocks {
            Some(clocks) => match clocks.off().count() as u64 {
                0 => "on one clock: none is certainly off".to_owned(),
                off => format!("on one clock: {} off", count(off, "clock is", "clocks are")),
            },
            None => "on one clock".to_owned(),
        });
    }
    if !view.folded.is_empty() {
        modes.push(count(
            view.folded.len() as u64,
            "span folded",
            "spans folded",
        ));
    }
    let defects = waterfall.defects();
    let mut said = waited_for(waterfall).unwrap_or_default();
    if !modes.is_empty() {
        said = Line::new()
            .with(Tone::Odd, format!("{}   ", modes.join(" · ")))
            .joined(said);
    }
    body.line(Line::plain(" ").joined(said.fit(inside)));
    body.line(Line::plain("  ").joined(waterfall.header(inside)));
    let lower = lower(view, loaded, columns);
    let lower_room = lower.len().min(LOWER).min(room / 3);
    let kept = 2 + defects.len().min(2) + lower_room;
    let sight = in_sight(view.selected, view.rows.len(), body.left(room, kept));
    for place in sight {
        let line = line(view, loaded, view.rows[place], inside).fit(inside);
        body.row(place, place == view.selected, line);
    }
    body.line(Line::plain("  ").joined(legend()));
    body.lines(
        defects
            .into_iter()
            .take(2)
            .map(|line| Line::plain("  ").joined(line)),
    );
    let title = match view.logs {
        LogMode::Span => "logs of the span (l)",
        _ => "the span",
    };
    body.line(ruled(title, columns));
    // Scrolled past the end, it begins anew.
    let from = match lower.len().saturating_sub(lower_room) {
        0 => 0,
        most => view.detail % (most + 4),
    };
    body.lines(lower.into_iter().skip(from).take(lower_room));
    body
}

fn line(view: &TraceView, loaded: &Loaded, row: Row, width: usize) -> Line {
    let waterfall = &loaded.waterfall;
    let indent = |depth: usize| " ".repeat(depth.min(DEEPEST) + 2);
    match row {
        Row::Span(at) => {
            let placed = waterfall.placed()[at];
            let line = waterfall.row(placed, width);
            if view.folded.contains(&placed.span) {
                let hidden = waterfall.tree().beneath(placed.span).len() as u64;
                let text = format!(
                    "{}⋯ {} folded",
                    indent(placed.depth),
                    count(hidden, "span", "spans")
                );
                // What is folded stands in the place of the span's operation, its bar stays.
                return fold_into(line, &text);
            }
            match clock_line(waterfall, placed.span, loaded.clocks.as_ref(), "") {
                Some(mark) => Line::new()
                    .with(Tone::Odd, mark.text().chars().take(1).collect::<String>())
                    .joined(line),
                None => line,
            }
        }
        Row::Gap(at) => match view.near.as_ref().and_then(|near| near.gaps.get(at)) {
            Some(gap) => {
                let depth = depth_of(waterfall, gap.span);
                gap_line(gap, waterfall, &indent(depth))
            }
            None => Line::new(),
        },
        Row::Log(at, depth) => match view.near.as_ref().and_then(|near| near.logs.get(at)) {
            Some(log) => Line::new()
                .with(Tone::Dim, format!("{}≡ ", indent(depth)))
                .joined(LogItem::of(log).line),
            None => Line::new(),
        },
        Row::Link(at, link) => {
            let placed = waterfall.placed()[at];
            let link = &waterfall.span(placed.span).links[link];
            Line::new().with(
                Tone::Accent,
                format!(
                    "{}⇠ link to trace {} (⏎)",
                    indent(placed.depth),
                    link.trace_id
                ),
            )
        }
        Row::Linked(at) => {
            let Some(other) = view.linked.get(at) else {
                return Line::new();
            };
            let arrow = if other.came_of_this { "⇢" } else { "⇠" };
            let what = if other.name.is_empty() {
                "not in the case".to_owned()
            } else {
                format!("{}  {}", names::service(&other.service), other.name)
            };
            let sign = if other.later < 0 { "-" } else { "+" };
            Line::new()
                .with(Tone::Accent, format!("{arrow} {} ", other.kind))
                .with(
                    Tone::Plain,
                    format!("{}  {what}", names::short_trace(other.id)),
                )
                .with(
                    Tone::Dim,
                    format!("  {sign}{} (⏎)", human_duration(other.later.unsigned_abs())),
                )
        }
    }
}

fn depth_of(waterfall: &Waterfall, span: usize) -> usize {
    waterfall.tree().above(span).count()
}

/// A line with another text over its beginning.
fn fold_into(line: Line, text: &str) -> Line {
    line.with(Tone::Odd, text.trim_start())
}

fn lower(view: &TraceView, loaded: &Loaded, columns: usize) -> Vec<Line> {
    let Some(at) = view.selected_span() else {
        return Vec::new();
    };
    let waterfall = &loaded.waterfall;
    let span = waterfall.span(waterfall.placed()[at].span);
    if view.logs == LogMode::Span {
        return logs_of(view, span);
    }
    if let (Some(Row::Log(at, _)), Some(near)) = (view.rows.get(view.selected), &view.near)
        && let Some(log) = near.logs.get(*at)
    {
        return whole_log(log, columns);
    }
    let mut out = Vec::new();
    if let Some(clock) = clock_line(
        waterfall,
        waterfall.placed()[at].span,
        loaded.clocks.as_ref(),
        " ",
    ) {
        out.push(clock);
    }
    out.extend(details(span));
    out
}

fn logs_of(view: &TraceView, span: &Span) -> Vec<Line> {
    let Some(near) = &view.near else {
        return vec![reading()];
    };
    let own: Vec<Line> = near
        .logs
        .iter()
        .filter(|log| log.span_id == span.span_id)
        .map(|log| Line::plain(" ").joined(LogItem::of(log).line))
        .collect();
    if own.is_empty() {
        let rest = count(near.logs.len() as u64, "record", "records");
        return vec![Line::new().with(
            Tone::Dim,
            format!(" none of this span; the trace has {rest} (l)"),
        )];
    }
    own
}

fn whole_log(log: &case::model::LogRecord, columns: usize) -> Vec<Line> {
    let message = analyzers::patterns::message(log);
    let cut: String = message.chars().take(4_000).collect();
    let mut out: Vec<Line> = crate::render::report::broken(&cut, columns.saturating_sub(2))
        .into_iter()
        .map(|part| Line::plain(" ").with(Tone::Strong, part))
        .collect();
    out.extend(log.attributes.iter().map(|(key, value)| pair(key, value)));
    out
}

fn pair(key: &str, value: &Value) -> Line {
    let mut text = value.to_string();
    if text.len() > 2_000 {
        text = text.chars().take(500).collect::<String>() + "…";
    }
    Line::new()
        .with(Tone::Dim, format!("   {key} = "))
        .with(Tone::Plain, text)
}

fn details(span: &Span) -> Vec<Line> {
    let mut out = vec![
        Line::plain(" ")
            .with(Tone::Strong, names::brief(names::service(span.service())))
            .with(
                Tone::Dim,
                format!("  {}", names::instance(span.origin.resource.instance())),
            )
            .with(Tone::Plain, format!("  {}", names::brief(&span.name)))
            .with(
                Tone::Dim,
                format!(
                    "  {}  span {}",
                    span.kind.name().to_lowercase(),
                    span.span_id
                ),
            ),
    ];
    if !span.status_message.is_empty() {
        out.push(Line::new().with(
            Tone::Bad,
            format!(" {}", names::brief(&span.status_message)),
        ));
    }
    for event in &span.events {
        let mut line =
            Line::new().with(Tone::Odd, format!("   {} {}", event.at.clock(), event.name));
        for (key, value) in event.attributes.iter() {
            line.push(Tone::Dim, format!("  {key}="));
            line.push(Tone::Plain, value.to_string());
        }
        out.push(line);
    }
    let sorted: BTreeMap<&str, &Value> = span.attributes.iter().collect();
    out.extend(sorted.into_iter().map(|(key, value)| pair(key, value)));
    out
}
