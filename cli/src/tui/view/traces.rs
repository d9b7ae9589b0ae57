//! A list of traces, with their durations over time above it.

use case::model::StatusCode;
use case::time::human_duration;

use super::body::Body;
use super::{in_sight, reading, rule, strip};
use crate::commands::traces::TraceSummary;
use crate::output::{Column, Line, Table, Tone, count, thousands, width};
use crate::render::names;
use crate::tui::state::{SLOTS, State, TracesView};

/// Lines of the scatter.
const SCATTER: usize = 7;
/// Bodies lower than this have no room for it.
const LOW: usize = 16;

pub(super) fn body(state: &State, view: &TracesView, columns: usize, room: usize) -> Body {
    let mut body = Body::default();
    let mut title = Line::new().with(Tone::Strong, " traces");
    if !view.filter.is_empty() {
        title.push(Tone::Plain, " with a span ");
        title.push(Tone::Accent, &view.filter);
    }
    if let Some(window) = view.window {
        title.push(
            Tone::Odd,
            format!(
                "  {} → {}",
                super::clock(window.from),
                super::clock(window.until)
            ),
        );
    }
    title.push(Tone::Dim, format!("  {}", view.sort.name()));
    body.line(rule(columns));
    body.line(title);
    let Some(rows) = &view.rows else {
        body.line(reading());
        return body;
    };
    if rows.is_empty() {
        body.line(Line::plain("   none"));
        return body;
    }
    if view.scatter && room >= LOW {
        scatter(&mut body, state, view, rows, columns);
    }
    list(&mut body, state, view, rows, columns, room);
    body
}

/// Durations over time: a point each, higher the longer (by powers), failed ones marked.
fn scatter(
    body: &mut Body,
    state: &State,
    view: &TracesView,
    rows: &[TraceSummary],
    columns: usize,
) {
    let Some(window) = view.strip else { return };
    let wide = strip::width(columns, 2);
    let length = window.until.0.saturating_sub(window.from.0).max(1);
    let logarithm = |nanos: u64| (nanos.max(1) as f64).ln();
    let least = rows.iter().map(|row| row.duration).min().unwrap_or(1);
    let most = rows
        .iter()
        .map(|row| row.duration)
        .max()
        .unwrap_or(1)
        .max(least + 1);
    let (low, high) = (logarithm(least), logarithm(most));
    let mut cells = vec![(0u32, 0u32); wide * SCATTER];
    let place = |row: &TraceSummary| {
        let since = u128::from(row.start.0.saturating_sub(window.from.0));
        let x = (since * wide as u128 / u128::from(length)) as usize;
        let share = (logarithm(row.duration) - low) / (high - low).max(f64::MIN_POSITIVE);
        let y = SCATTER - 1 - ((share * SCATTER as f64) as usize).min(SCATTER - 1);
        (x.min(wide - 1), y)
    };
    for row in rows {
        let (x, y) = place(row);
        let cell = &mut cells[y * wide + x];
        cell.0 += 1;
        cell.1 += u32::from(row.status == StatusCode::Error);
    }
    let here = view.selected_row().map(place);
    let top = body.len();
    for y in 0..SCATTER {
        let label = match y {
            0 => human_duration(most),
            y if y == SCATTER - 1 => human_duration(least),
            y if y == SCATTER / 2 => {
                let share = 1.0 - (y as f64 + 0.5) / SCATTER as f64;
                human_duration((low + share * (high - low)).exp() as u64)
            }
            _ => String::new(),
        };
        let mut line = Line::new().with(Tone::Dim, width::right(&label, strip::LABEL - 1));
        line.push(Tone::Dim, " ");
        for x in 0..wide {
            let slot = x * SLOTS / wide;
            let brushed = state
                .moment
                .brushed()
                .is_some_and(|(first, last)| (first..=last).contains(&slot));
            let (all, failed) = cells[y * wide + x];
            let (tone, mark) = match (all, failed) {
                _ if here == Some((x, y)) => (Tone::Accent, '◆'),
                (0, _) if brushed => (Tone::Accent, '·'),
                (0, _) => (Tone::Plain, ' '),
                (_, 1..) => (Tone::Bad, '✗'),
                (1, _) => (if brushed { Tone::Accent } else { Tone::Dim }, '∙'),
                (2..=4, _) => (if brushed { Tone::Accent } else { Tone::Plain }, '•'),
                _ => (if brushed { Tone::Accent } else { Tone::Strong }, '●'),
            };
            line.push(tone, mark.to_string());
        }
        body.line(line);
    }
    strip::axis(body, window, wide, &state.moment, top);
}

fn list(
    body: &mut Body,
    state: &State,
    view: &TracesView,
    rows: &[TraceSummary],
    columns: usize,
    room: usize,
) {
    let mut table = Table::new(vec![
        Column::left("start"),
        Column::left(""),
        Column::left("trace"),
        Column::left("service").shrinks_to(10),
        Column::left("operation").shrinks_to(10),
        Column::left(""),
        Column::right("duration"),
        Column::right("spans"),
        Column::right("errors"),
    ]);
    let sight = in_sight(view.selected, rows.len(), body.left(room, 2));
    for (place, trace) in rows.iter().enumerate().take(sight.end).skip(sight.start) {
        let tone = if place == view.selected {
            Tone::Accent
        } else {
            Tone::Dim
        };
        let errors = match trace.errors {
            0 => Line::new().with(Tone::Dim, "·"),
            errors => {
                let tone = if trace.status == StatusCode::Error {
                    Tone::Bad
                } else {
                    Tone::Odd
                };
                Line::new().with(tone, thousands(errors as u64))
            }
        };
        let mut marks = String::new();
        if state.pinned.contains(&trace.id) {
            marks.push('⚑');
        }
        if let Some(at) = state.marked.iter().position(|id| *id == trace.id) {
            marks.push(if at == 0 { 'A' } else { 'B' });
        }
        let failed = trace.status == StatusCode::Error;
        let mut code = trace.code.clone().unwrap_or_default();
        if failed {
            code.insert(0, '✗');
        }
        table.row(vec![
            Line::new().with(tone, trace.start.clock()),
            Line::new().with(Tone::Accent, marks),
            Line::new().with(Tone::Dim, names::short_trace(trace.id)),
            Line::plain(names::brief(names::service(&trace.service))),
            Line::plain(names::brief(&trace.name)),
            Line::new().with(if failed { Tone::Bad } else { Tone::Plain }, code),
            Line::plain(human_duration(trace.duration)),
            Line::plain(thousands(trace.spans as u64)),
            errors,
        ]);
    }
    let mut lines = table.lines(columns.saturating_sub(2)).into_iter();
    body.lines(lines.next().map(|line| Line::plain("  ").joined(line)));
    for (place, line) in sight.clone().zip(lines) {
        body.row(place, place == view.selected, line);
    }
    let hidden = (rows.len() - sight.len()) as u64 + view.left_out;
    if hidden > 0 {
        body.line(Line::new().with(
            Tone::Dim,
            format!("  … {}", count(hidden, "more trace", "more traces")),
        ));
    }
}
