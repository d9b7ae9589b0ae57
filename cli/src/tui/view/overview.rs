//! The overview: how the case went over time, every service with rate, errors and durations, and what is open.

use analyzers::red::{self, Overview, Service, Slot};
use case::time::human_duration;

use super::body::Body;
use super::{clock, findings, in_sight, reading, rule, ruled, strip};
use crate::output::{Line, Tone, width};
use crate::render::names;
use crate::render::spark::{resample, spark};
use crate::tui::state::{Baseline, State};

/// Columns of a service's small charts.
const SMALL: usize = 10;
/// Open findings listed.
const FINDINGS: usize = 4;

pub(super) fn body(state: &State, selected: usize, columns: usize, room: usize) -> Body {
    let mut body = Body::default();
    let Some(overview) = &state.overview else {
        body.line(reading());
        return body;
    };
    strips(&mut body, state, overview, columns);
    body.line(rule(columns));
    if overview.services.is_empty() {
        body.line(Line::plain("   no spans yet"));
        return body;
    }
    let name = overview
        .services
        .iter()
        .map(|service| width::columns(&service.name))
        .max()
        .unwrap_or(0)
        .clamp(8, if columns < 100 { 16 } else { 28 });
    let wide = columns >= 112;
    let charts = columns >= 92;
    let mut header = format!(
        "  {}  {}  {}{}  {} {} {}",
        width::left("service", name),
        width::right("rate/s", 7),
        if charts {
            " ".repeat(SMALL + 2)
        } else {
            String::new()
        },
        width::left("err%", if charts { 7 + SMALL } else { 6 }),
        width::right("p50", 8),
        width::right("p95", 8),
        width::right("p99", 8),
    );
    if wide && let Some(before) = &state.baseline {
        header.push_str(&format!(
            "  vs {}–{}",
            clock(before.window.from),
            clock(before.window.until)
        ));
    }
    body.line(Line::new().with(Tone::Dim, header));
    let open = findings::open(state, columns, FINDINGS);
    let kept = if open.is_empty() { 1 } else { open.len() + 2 };
    let list = body.left(room, kept);
    let sight = in_sight(selected, overview.services.len(), list);
    for place in sight.clone() {
        let service = &overview.services[place];
        let shape = Shape { name, charts, wide };
        let line = row(
            service,
            overview.seconds(),
            shape,
            place == selected,
            state.baseline.as_ref(),
        );
        body.row(place, place == selected, line);
    }
    let hidden = overview.services.len() - sight.len();
    if hidden > 0 {
        body.line(Line::new().with(Tone::Dim, format!("  … {hidden} more")));
    }
    if !open.is_empty() {
        body.line(ruled("open findings (f)", columns));
        body.lines(open);
    }
    body
}

/// What of a row there is room for.
#[derive(Clone, Copy)]
struct Shape {
    name: usize,
    charts: bool,
    wide: bool,
}

fn values(slots: &[Slot], of: impl Fn(&Slot) -> f64) -> Vec<f64> {
    slots.iter().map(of).collect()
}

fn shares(errors: &[f64], requests: &[f64]) -> Vec<f64> {
    errors
        .iter()
        .zip(requests)
        .map(|(errors, requests)| {
            if *requests > 0.0 {
                errors / requests
            } else {
                0.0
            }
        })
        .collect()
}

/// Errors and rate of what came in from outside, over the whole window.
fn strips(body: &mut Body, state: &State, overview: &Overview, columns: usize) {
    let requests: u64 = overview.entries.iter().map(|slot| slot.requests).sum();
    let errors: u64 = overview.entries.iter().map(|slot| slot.errors).sum();
    let share = if requests == 0 {
        0.0
    } else {
        errors as f64 * 100.0 / requests as f64
    };
    let seconds = overview.seconds();
    let per_second = |requests: u64, seconds: f64| {
        if seconds > 0.0 {
            requests as f64 / seconds
        } else {
            0.0
        }
    };
    let rate = per_second(requests, seconds);
    // The last slot is still filling; the one before tells what is arriving.
    let slots = overview.entries.len().max(1);
    let now = overview.entries.iter().rev().nth(1).map_or(0.0, |slot| {
        per_second(slot.requests, seconds / slots as f64)
    });
    let cells = strip::width(columns, 24);
    let over_time = resample(
        &values(&overview.entries, |slot| slot.requests as f64),
        cells,
    );
    let failed = resample(&values(&overview.entries, |slot| slot.errors as f64), cells);
    let tone = if errors > 0 { Tone::Bad } else { Tone::Dim };
    let top = body.len();
    let behind = Line::new().with(tone, format!("  {share:.1}% fail"));
    body.line(strip::chart(
        "errors",
        &strip::heat(&shares(&failed, &over_time)),
        tone,
        behind,
        &state.moment,
    ));
    let mut text = format!("  {rate:.1}/s");
    if state.head.live && state.moment.at.is_none() {
        text.push_str(&format!(" · now {now:.1}"));
    }
    let behind = Line::plain(text);
    body.line(strip::chart(
        "rate",
        &spark(&over_time, 0.0),
        Tone::Plain,
        behind,
        &state.moment,
    ));
    strip::axis(body, overview.window, cells, &state.moment, top);
}

fn row(
    service: &Service,
    seconds: f64,
    shape: Shape,
    selected: bool,
    baseline: Option<&Baseline>,
) -> Line {
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
    let rate = if seconds > 0.0 {
        service.requests as f64 / seconds
    } else {
        0.0
    };
    let figure = |nanos: u64| width::right(&human_duration(nanos), 8);
    let clean = crate::output::sanitise::clean(names::brief(names::service(&service.name)));
    let mut line = Line::new().with(
        if selected { Tone::Accent } else { Tone::Plain },
        width::left(&clean, shape.name),
    );
    line.push(
        Tone::Plain,
        format!("  {}  ", width::right(&format!("{rate:.1}"), 7)),
    );
    if shape.charts {
        line.push(Tone::Dim, spark(&rates, 0.0));
        line.push(Tone::Plain, "  ");
    }
    line.push(
        tone,
        format!("{} {mark}", width::right(&format!("{share:.1}"), 4)),
    );
    if shape.charts {
        line.push(tone, format!(" {}", spark(&shares(&errors, &rates), 0.1)));
    }
    line.push(
        Tone::Plain,
        format!(
            "  {} {} {}",
            figure(service.p50),
            figure(service.p95),
            figure(service.p99)
        ),
    );
    if shape.wide
        && let Some(before) = baseline
    {
        line.append(beside(service, before));
    }
    line
}

/// How a service compares with the better time: what stands out, or a dot.
fn beside(service: &Service, before: &Baseline) -> Line {
    let mut line = Line::plain("  ");
    let Some(against) = red::against(service, &before.services) else {
        return line.with(Tone::Odd, "new");
    };
    let mut said = false;
    if against.p95 >= 1.5 {
        let tone = if against.p95 >= 3.0 {
            Tone::Bad
        } else {
            Tone::Odd
        };
        line.push(tone, format!("p95 ×{:.1}  ", against.p95));
        said = true;
    } else if against.p99 >= 5.0 {
        line.push(Tone::Odd, format!("p99 ×{:.1}  ", against.p99));
        said = true;
    }
    if against.error_share >= 0.005 {
        line.push(
            Tone::Bad,
            format!("err +{:.1}", against.error_share * 100.0),
        );
        said = true;
    }
    if !said {
        line.push(Tone::Dim, "·");
    }
    line
}
