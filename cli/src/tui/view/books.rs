//! Books, and a walk through one: each question with its answer and the evidence beside it, then what it came to.

use super::body::Body;
use super::{in_sight, reading, rule};
use crate::output::{Line, Tone, width};
use crate::render::{names, walk};
use crate::tui::state::{BooksView, State, Walk};

pub(super) fn body(state: &State, view: &BooksView, columns: usize, room: usize) -> Body {
    let mut body = Body::default();
    body.line(rule(columns));
    if let Some(walk) = &view.walk {
        walked(&mut body, walk, columns, room);
        return body;
    }
    body.line(Line::new().with(Tone::Strong, " books").with(
        Tone::Dim,
        "  ⏎ walks one: a question at a time, answered by the evidence",
    ));
    if view.lines.is_empty() || state.report.is_none() {
        body.line(reading());
        return body;
    }
    for place in in_sight(view.selected, view.lines.len(), body.left(room, 0)) {
        let book = &view.lines[place];
        let mut line = Line::new()
            .with(
                if book.because.is_some() {
                    Tone::Odd
                } else {
                    Tone::Plain
                },
                width::left(
                    &format!(
                        "{}{}",
                        if book.because.is_some() { "! " } else { "  " },
                        book.id
                    ),
                    28,
                ),
            )
            .with(Tone::Plain, &book.title);
        if let Some(because) = &book.because {
            line.push(
                Tone::Dim,
                format!("  for: {}", names::without_uuids(because)),
            );
        }
        body.row(
            place,
            place == view.selected,
            line.fit(columns.saturating_sub(2)),
        );
    }
    body
}

fn walked(body: &mut Body, view: &Walk, columns: usize, room: usize) {
    let Some(run) = &view.run else {
        body.line(Line::new().with(Tone::Dim, format!("   walking {} …", view.book)));
        return;
    };
    let inside = columns.saturating_sub(2);
    let mut lines = vec![
        Line::new()
            .with(Tone::Strong, &run.book)
            .with(Tone::Plain, format!("  {}", run.title)),
        Line::new(),
    ];
    for (number, taken) in (1..).zip(run.steps.iter().take(view.shown)) {
        lines.extend(walk::step_lines(taken, number, inside));
    }
    match run.steps.get(view.shown) {
        Some(next) => {
            lines.push(
                Line::plain(format!("{:>3} ", view.shown + 1))
                    .with(Tone::Accent, "? ")
                    .with(Tone::Strong, &next.ask),
            );
            if !next.expect.is_empty() {
                lines
                    .push(Line::new().with(Tone::Dim, format!("       expected  {}", next.expect)));
            }
            lines.push(Line::new().with(Tone::Dim, "       ⏎ what the evidence says"));
        }
        None if view.shown <= run.steps.len() => {
            lines.push(Line::new().with(Tone::Dim, "    ⏎ what it comes to"));
        }
        None => lines.extend(walk::ending_lines(run, inside)),
    }
    // The newest is at the bottom; scrolling goes back from there.
    let list = body.left(room, 0);
    let most = lines.len().saturating_sub(list);
    let from = most.saturating_sub(view.scrolled.min(most));
    body.lines(
        lines
            .into_iter()
            .skip(from)
            .take(list)
            .map(|line| Line::plain(" ").joined(line)),
    );
}
