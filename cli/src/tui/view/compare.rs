//! Two traces side by side: what corresponds on one line, with both times and what became longer.

use case::time::human_duration;

use super::body::Body;
use super::{in_sight, reading, rule};
use crate::output::width::{fit, left, right};
use crate::output::{Line, Tone, sanitise};
use crate::render::names;
use crate::render::waterfall::Waterfall;
use crate::tui::state::CompareView;

/// Columns of a duration.
const FIGURE: usize = 8;

pub(super) fn body(view: &CompareView, columns: usize, room: usize) -> Body {
    let mut body = Body::default();
    body.line(rule(columns));
    let (Some(a), Some(b)) = (&view.left.loaded, &view.right.loaded) else {
        body.line(reading());
        return body;
    };
    let (a, b) = (&a.waterfall, &b.waterfall);
    for (side, waterfall, here) in [("A", a, !view.on_right), ("B", b, view.on_right)] {
        let tone = if here { Tone::Accent } else { Tone::Dim };
        let mark = if here { "▸" } else { " " };
        let line = Line::new()
            .with(tone, format!(" {mark}{side} "))
            .joined(waterfall.title(columns.saturating_sub(4)));
        body.line(line);
    }
    let inside = columns.saturating_sub(2);
    let bar = (inside / 5).clamp(6, 40);
    let fixed = 2 * (bar + 1 + FIGURE + 1) + FIGURE + 1;
    let name = inside.saturating_sub(fixed).max(10);
    body.line(Line::new().with(
        Tone::Dim,
        format!(
            "  {} {} {} {} {} {}",
            left("service operation", name),
            left("A", bar),
            right("", FIGURE),
            left("B", bar),
            right("", FIGURE),
            right("B − A", FIGURE)
        ),
    ));
    let sight = in_sight(view.selected, view.pairs.len(), body.left(room, 0));
    for place in sight {
        let pair = view.pairs[place];
        let (span, only) = match (pair.left, pair.right) {
            (Some(l), None) => (a.span(l), "−"),
            (None, Some(r)) => (b.span(r), "+"),
            (Some(l), _) => (a.span(l), " "),
            (None, None) => continue,
        };
        let text = format!(
            "{}{only}{} {}",
            " ".repeat(pair.depth.min(12)),
            names::service(span.service()),
            names::operation(&span.name, name / 2)
        );
        let text = left(&fit(&sanitise::clean(&text), name), name);
        let tone = match only {
            " " => Tone::Plain,
            _ => Tone::Odd,
        };
        let mut line = Line::new().with(tone, text);
        side(&mut line, a, pair.left, bar, a.duration().max(b.duration()));
        side(
            &mut line,
            b,
            pair.right,
            bar,
            a.duration().max(b.duration()),
        );
        line.push(Tone::Plain, " ");
        line.append(difference(
            pair.left.map(|span| a.span(span).duration()),
            pair.right.map(|span| b.span(span).duration()),
        ));
        body.row(place, place == view.selected, line);
    }
    body
}

fn side(line: &mut Line, waterfall: &Waterfall, span: Option<usize>, bar: usize, scale: u64) {
    let Some(number) = span else {
        line.push(
            Tone::Dim,
            format!(" {} {}", " ".repeat(bar), right("·", FIGURE)),
        );
        return;
    };
    let span = waterfall.span(number);
    let place = |nanos: u64| (nanos as f64 / scale.max(1) as f64 * bar as f64) as usize;
    let first = place(span.start.0.saturating_sub(waterfall.from().0)).min(bar - 1);
    let long = place(span.duration()).clamp(1, bar - first);
    let failed = span.status == case::model::StatusCode::Error;
    let tone = match (failed, waterfall.is_on_path(number)) {
        (true, _) => Tone::Bad,
        (_, true) => Tone::Plain,
        _ => Tone::Dim,
    };
    let cell = if failed { "✗" } else { "━" };
    let text = format!("{}{}", " ".repeat(first), cell.repeat(long));
    line.push(tone, format!(" {}", left(&text, bar)));
    line.push(
        Tone::Plain,
        format!(" {}", right(&human_duration(span.duration()), FIGURE)),
    );
}

fn difference(a: Option<u64>, b: Option<u64>) -> Line {
    let (Some(a), Some(b)) = (a, b) else {
        return Line::new().with(Tone::Dim, right("·", FIGURE));
    };
    let (sign, by) = if b >= a { ("+", b - a) } else { ("-", a - b) };
    // A tenth more or less is what comes and goes.
    let tone = match b as f64 / a.max(1) as f64 {
        share if share >= 2.0 => Tone::Bad,
        share if share >= 1.1 => Tone::Odd,
        _ => Tone::Dim,
    };
    Line::new().with(
        tone,
        right(&format!("{sign}{}", human_duration(by)), FIGURE),
    )
}
