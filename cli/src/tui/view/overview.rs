//! The overview: how the case went over time, and every service with rate, errors and durations.

use analyzers::red::{Overview, Service, Slot};
use case::time::human_duration;

use super::{in_sight, rule};
use crate::output::{Line, Tone, width};
use crate::render::names;
use crate::render::spark::{resample, spark};
use crate::tui::state::State;

/// Columns of a service's small charts.
const SMALL: usize = 12;

pub(super) fn body(state: &State, selected: usize, columns: usize, room: usize) -> Vec<Line> {
    let Some(overview) = &state.overview else {
        return vec![Line::new().with(Tone::Dim, "   reading …")];
    };
    let mut out = strips(overview, columns);
    out.push(rule(columns));
    if overview.services.is_empty() {
        out.push(Line::plain("   no spans yet"));
        return out;
    }
    let name = overview
        .services
        .iter()
        .map(|service| width::columns(&service.name))
        .max()
        .unwrap_or(0)
        .clamp(8, 28);
    out.push(Line::new().with(
        Tone::Dim,
        format!(
            "  {}  {}  {}  {}  {} {} {}",
            width::left("service", name),
            width::right("rate/s", 8),
            " ".repeat(SMALL),
            width::left("err%", 7 + SMALL + 2),
            width::right("p50", 8),
            width::right("p95", 8),
            width::right("p99", 8),
        ),
    ));
    let list = room.saturating_sub(out.len() + 1).max(1);
    let sight = in_sight(selected, overview.services.len(), list);
    for (place, service) in overview
        .services
        .iter()
        .enumerate()
        .take(sight.end)
        .skip(sight.start)
    {
        out.push(row(service, overview.seconds(), name, place == selected));
    }
    let hidden = overview.services.len() - sight.len();
    if hidden > 0 {
        out.push(Line::new().with(Tone::Dim, format!("  … {hidden} more")));
    }
    out
}

fn values(slots: &[Slot], of: impl Fn(&Slot) -> f64) -> Vec<f64> {
    slots.iter().map(of).collect()
}

/// Errors and rate of what came in from outside, over the whole window.
fn strips(overview: &Overview, columns: usize) -> Vec<Line> {
    let requests: u64 = overview.entries.iter().map(|slot| slot.requests).sum();
    let errors: u64 = overview.entries.iter().map(|slot| slot.errors).sum();
    let share = if requests == 0 {
        0.0
    } else {
        errors as f64 * 100.0 / requests as f64
    };
    let seconds = overview.seconds();
    let rate = if seconds > 0.0 {
        requests as f64 / seconds
    } else {
        0.0
    };
    let cells = columns.saturating_sub(20).clamp(10, 120);
    let requests_over_time = resample(
        &values(&overview.entries, |slot| slot.requests as f64),
        cells,
    );
    let errors_over_time = resample(&values(&overview.entries, |slot| slot.errors as f64), cells);
    let shares: Vec<f64> = errors_over_time
        .iter()
        .zip(&requests_over_time)
        .map(|(errors, requests)| {
            if *requests > 0.0 {
                errors / requests
            } else {
                0.0
            }
        })
        .collect();
    let tone = if errors > 0 { Tone::Bad } else { Tone::Dim };
    vec![
        Line::new()
            .with(Tone::Dim, " errors ")
            .with(tone, spark(&shares, 0.1))
            .with(tone, format!("  {share:.1}%")),
        Line::new()
            .with(Tone::Dim, " rate   ")
            .with(Tone::Plain, spark(&requests_over_time, 0.0))
            .with(Tone::Plain, format!("  {rate:.1}/s")),
    ]
}

fn row(service: &Service, seconds: f64, name: usize, selected: bool) -> Line {
    let share = service.error_share() * 100.0;
    let (mark, tone) = match share {
        share if share >= 5.0 => ("✗", Tone::Bad),
        share if share > 0.0 => ("!", Tone::Odd),
        _ => ("·", Tone::Dim),
    };
    let rates = resample(
        &values(&service.over_time, |slot| slot.requests as f64),
        SMALL,
    );
    let errors = resample(
        &values(&service.over_time, |slot| slot.errors as f64),
        SMALL,
    );
    let shares: Vec<f64> = errors
        .iter()
        .zip(&rates)
        .map(|(e, r)| if *r > 0.0 { e / r } else { 0.0 })
        .collect();
    let rate = if seconds > 0.0 {
        service.requests as f64 / seconds
    } else {
        0.0
    };
    let figure = |nanos: u64| width::right(&human_duration(nanos), 8);
    let clean = crate::output::sanitise::clean(names::service(&service.name));
    let mut line = Line::new().with(Tone::Accent, if selected { "▸ " } else { "  " });
    line.push(
        if selected { Tone::Accent } else { Tone::Plain },
        width::left(&clean, name),
    );
    line.push(
        Tone::Plain,
        format!("  {}  ", width::right(&format!("{rate:.1}"), 8)),
    );
    line.push(Tone::Dim, spark(&rates, 0.0));
    line.push(
        tone,
        format!("  {} {mark} ", width::right(&format!("{share:.1}"), 4)),
    );
    line.push(tone, spark(&shares, 0.1));
    line.push(
        Tone::Plain,
        format!(
            "  {} {} {}",
            figure(service.p50),
            figure(service.p95),
            figure(service.p99)
        ),
    );
    line
}
