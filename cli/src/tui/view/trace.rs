//! A trace: its waterfall above, the selected span or the logs below.

use case::model::{Span, Value};

use super::{in_sight, rule};
use crate::output::{Line, Tone};
use crate::render::names;
use crate::render::waterfall::{legend, log_line};
use crate::tui::state::{Loaded, TraceView};

/// Lines the lower part may take.
const LOWER: usize = 12;

pub(super) fn body(view: &TraceView, columns: usize, room: usize) -> Vec<Line> {
    let Some(loaded) = &view.loaded else {
        return vec![rule(columns), Line::new().with(Tone::Dim, "   reading …")];
    };
    let waterfall = &loaded.waterfall;
    if waterfall.placed().is_empty() {
        return vec![
            rule(columns),
            Line::plain("   the trace is no longer in the case"),
        ];
    }
    let lower = if view.show_logs {
        logs(loaded)
    } else {
        details(waterfall.span(waterfall.placed()[view.selected].span))
    };
    let lower_room = lower.len().min(LOWER).min(room / 2);
    // A column on the left is kept for the mark of the selection.
    let inside = columns.saturating_sub(2);
    let mut out = vec![
        rule(columns),
        Line::plain(" ").joined(waterfall.title(inside)),
    ];
    out.push(Line::plain("  ").joined(waterfall.header(inside)));
    let list = room.saturating_sub(out.len() + 2 + lower_room).max(1);
    let sight = in_sight(view.selected, waterfall.placed().len(), list);
    for (place, placed) in waterfall
        .placed()
        .iter()
        .enumerate()
        .take(sight.end)
        .skip(sight.start)
    {
        let mark = Line::new().with(
            Tone::Accent,
            if place == view.selected { "▸ " } else { "  " },
        );
        out.push(mark.joined(waterfall.row(*placed, inside)));
    }
    out.push(Line::plain("  ").joined(legend()));
    out.push(rule(columns));
    out.extend(lower.into_iter().take(lower_room));
    out
}

fn logs(loaded: &Loaded) -> Vec<Line> {
    if loaded.logs.is_empty() {
        return vec![Line::new().with(Tone::Dim, " no logs carry this trace's id")];
    }
    loaded
        .logs
        .iter()
        .map(|log| Line::plain(" ").joined(log_line(log, false)))
        .collect()
}

fn details(span: &Span) -> Vec<Line> {
    let mut out = vec![
        Line::plain(" ")
            .with(Tone::Strong, names::service(span.service()))
            .with(Tone::Plain, format!("  {}", span.name))
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
        out.push(Line::new().with(Tone::Bad, format!(" {}", span.status_message)));
    }
    let mut pair = |key: &str, value: &Value| {
        out.push(
            Line::new()
                .with(Tone::Dim, format!("   {key} = "))
                .with(Tone::Plain, value.to_string()),
        );
    };
    span.attributes
        .iter()
        .for_each(|(key, value)| pair(key, value));
    for event in &span.events {
        let mut line =
            Line::new().with(Tone::Odd, format!("   {} {}", event.at.clock(), event.name));
        for (key, value) in event.attributes.iter() {
            line.push(Tone::Dim, format!("  {key}="));
            line.push(Tone::Plain, value.to_string());
        }
        out.push(line);
    }
    out.extend(
        span.links
            .iter()
            .map(|link| Line::new().with(Tone::Dim, format!("   link to trace {}", link.trace_id))),
    );
    out
}
