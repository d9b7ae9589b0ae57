//! A list of traces.

use case::time::human_duration;

use super::{in_sight, rule};
use crate::output::{Column, Line, Table, Tone, count, thousands};
use crate::render::names;
use crate::tui::state::TracesView;

pub(super) fn body(view: &TracesView, columns: usize, room: usize) -> Vec<Line> {
    let mut title = Line::new().with(Tone::Strong, " traces");
    if !view.filter.is_empty() {
        title.push(Tone::Plain, " with a span ");
        title.push(Tone::Accent, &view.filter);
    }
    let mut out = vec![rule(columns), title];
    let Some(rows) = &view.rows else {
        out.push(Line::new().with(Tone::Dim, "   reading …"));
        return out;
    };
    if rows.is_empty() {
        out.push(Line::plain("   none"));
        return out;
    }
    let mut table = Table::new(vec![
        Column::left("  start"),
        Column::left("trace"),
        Column::left("service").shrinks_to(10),
        Column::left("operation").shrinks_to(10),
        Column::left(""),
        Column::right("duration"),
        Column::right("spans"),
        Column::right("errors"),
    ]);
    let sight = in_sight(
        view.selected,
        rows.len(),
        room.saturating_sub(out.len() + 2).max(1),
    );
    for (place, trace) in rows.iter().enumerate().take(sight.end).skip(sight.start) {
        let selected = place == view.selected;
        let start = Line::new()
            .with(Tone::Accent, if selected { "▸ " } else { "  " })
            .with(
                if selected { Tone::Accent } else { Tone::Dim },
                trace.start.clock(),
            );
        let errors = match trace.errors {
            0 => Line::new().with(Tone::Dim, "·"),
            errors => Line::new().with(Tone::Bad, thousands(errors as u64)),
        };
        table.row(vec![
            start,
            Line::new().with(Tone::Dim, names::short_trace(trace.id)),
            Line::plain(names::service(&trace.service)),
            Line::plain(&trace.name),
            Line::plain(trace.code.as_deref().unwrap_or("")),
            Line::plain(human_duration(trace.duration)),
            Line::plain(thousands(trace.spans as u64)),
            errors,
        ]);
    }
    out.extend(table.lines(columns));
    let hidden = (rows.len() - sight.len()) as u64 + view.left_out;
    if hidden > 0 {
        out.push(Line::new().with(
            Tone::Dim,
            format!("  … {}", count(hidden, "more trace", "more traces")),
        ));
    }
    out
}
