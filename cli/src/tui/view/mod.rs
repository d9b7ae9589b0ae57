//! The state as lines: a head, a body for each screen, a bar of keys. Nothing is worked out here.

mod overview;
mod sheets;
mod trace;
mod traces;

use analyzers::engine::Report;
use case::Nanos;
use case::time::human_duration;

use super::input;
use super::state::{Screen, State};
use crate::output::{Line, Tone, thousands, width};
use crate::render::report;

/// The whole screen, at most `height` lines of at most `columns` columns.
pub fn lines(state: &State, columns: usize, height: usize) -> Vec<Line> {
    let mut out = vec![head(state)];
    out.extend(verdict(state.report.as_ref(), columns));
    let footer = footer(state);
    let room = height.saturating_sub(out.len() + footer.len());
    let mut body = if state.help {
        help()
    } else {
        match state.screen() {
            Screen::Overview { selected } => overview::body(state, *selected, columns, room),
            Screen::Traces(view) => traces::body(view, columns, room),
            Screen::Trace(view) => trace::body(view, columns, room),
            Screen::Sheet(view) => sheets::body(view, columns, room),
            Screen::Findings { scroll } => findings(state.report.as_ref(), *scroll, columns, room),
        }
    };
    body.truncate(room);
    body.resize(room, Line::new());
    out.extend(body);
    out.extend(footer);
    out.truncate(height);
    out.into_iter().map(|line| line.fit(columns)).collect()
}

/// The part of `rows` that is in sight when `selected` has to be, within `room` lines.
fn in_sight(selected: usize, rows: usize, room: usize) -> std::ops::Range<usize> {
    let from = if selected < room {
        0
    } else {
        selected + 1 - room
    };
    from..rows.min(from + room)
}

fn rule(columns: usize) -> Line {
    Line::new().with(Tone::Dim, "─".repeat(columns))
}

fn clock(at: Nanos) -> String {
    at.clock()[..8].to_owned()
}

fn head(state: &State) -> Line {
    let mut line = Line::new()
        .with(Tone::Strong, " casefile  ")
        .with(Tone::Accent, &state.name);
    if state.head.live {
        line.push(Tone::Accent, " ● live");
    } else if state.head.sealed {
        line.push(Tone::Dim, " sealed");
    }
    match state.head.window {
        Some(window) => {
            let length = human_duration(window.until.0.saturating_sub(window.from.0));
            line.push(
                Tone::Plain,
                format!(
                    "  {} → {} ({length})",
                    clock(window.from),
                    clock(window.until)
                ),
            );
            line.push(
                Tone::Dim,
                format!(
                    "   {} spans  {} logs",
                    thousands(state.head.spans),
                    thousands(state.head.logs)
                ),
            );
        }
        None if state.overview.is_some() => line.push(Tone::Odd, "  no signals yet"),
        None => line.push(Tone::Dim, "  reading …"),
    }
    line
}

fn verdict(report: Option<&Report>, columns: usize) -> Vec<Line> {
    let Some(report) = report else {
        return vec![Line::new()];
    };
    let mut out = vec![Line::plain(" ").joined(report::verdict_line(report))];
    if let Some(worst) = report.findings().first() {
        let more = report.findings().len() - 1;
        let more = if more > 0 {
            format!(" · {more} more")
        } else {
            String::new()
        };
        let text = format!(
            "({} · {}{more} · f opens)",
            worst.rule,
            worst.certainty.name()
        );
        out.push(Line::new().with(Tone::Dim, width::right(&text, columns.saturating_sub(1))));
    }
    out
}

fn footer(state: &State) -> Vec<Line> {
    if let Some(prompt) = &state.prompt {
        let line = Line::new()
            .with(Tone::Accent, " filter: ")
            .with(Tone::Plain, &prompt.text)
            .with(Tone::Accent, "▏");
        return vec![line];
    }
    if let Some(message) = &state.message {
        return vec![Line::new().with(Tone::Odd, format!(" {message}"))];
    }
    let mut line = Line::plain(" ");
    for (key, word) in input::bar(state.screen()) {
        line.push(Tone::Accent, key);
        line.push(Tone::Dim, format!(" {word}  "));
    }
    vec![line]
}

fn help() -> Vec<Line> {
    let mut out = vec![
        Line::new(),
        Line::new().with(Tone::Strong, "   keys"),
        Line::new(),
    ];
    for (keys, place, what) in input::help() {
        out.push(
            Line::new()
                .with(Tone::Accent, format!("   {}", width::left(&keys, 14)))
                .with(Tone::Dim, width::left(place, 10))
                .with(Tone::Plain, what),
        );
    }
    out.push(Line::new());
    out.push(Line::new().with(Tone::Strong, "   a filter"));
    out.push(Line::new());
    for example in [
        "service:payment status:error duration>500ms",
        "attr.http.route:/api/* -kind:client",
        "name~\"Place.*\" OR \"connection refused\"",
    ] {
        out.push(Line::plain(format!("   {example}")));
    }
    out
}

fn findings(report: Option<&Report>, scroll: usize, columns: usize, room: usize) -> Vec<Line> {
    let Some(report) = report else {
        return vec![Line::new().with(Tone::Dim, "   reading …")];
    };
    let lines = report::lines(&report::Shown::whole(report), columns.saturating_sub(2));
    let from = scroll.min(lines.len().saturating_sub(room));
    let mut out = vec![rule(columns)];
    // The sentence at the top is on every screen already.
    out.extend(lines.into_iter().skip(1 + from));
    out
}

#[cfg(test)]
mod tests;
