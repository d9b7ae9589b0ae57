//! A comparison as lines: what differs, how surely, and what the bad have in common.

use analyzers::compare::attributes::Verdict;
use analyzers::compare::canary::{self, Action};
use analyzers::compare::certainty::Interval;
use analyzers::compare::{Change, Figures, Row};
use case::time::human_duration;

use crate::output::width::{left, right};
use crate::output::{Line, Tone, count};

/// Operations shown without a difference.
const UNCHANGED: usize = 10;

/// The whole comparison.
pub fn lines(rows: &[Row], common: &Verdict) -> Vec<Line> {
    let head = format!(
        "  {} {} {} {} {} {}",
        left("service and operation", 46),
        right("requests", 15),
        right("p95 of A", 10),
        right("p95 of B (range)", 26),
        right("failed A", 9),
        right("failed B (range)", 22)
    );
    let mut out = vec![Line::new().with(Tone::Dim, head)];
    let changed = |row: &&Row| {
        [row.latency, row.errors]
            .iter()
            .any(|c| matches!(c, Change::Better | Change::Worse))
    };
    let differ = rows.iter().filter(changed).count();
    for row in rows.iter().take(differ + UNCHANGED) {
        out.push(row_line(row));
    }
    if rows.len() > differ + UNCHANGED {
        let more = (rows.len() - differ - UNCHANGED) as u64;
        out.push(Line::new().with(
            Tone::Dim,
            format!("  and {} without a difference", count(more, "more", "more")),
        ));
    }
    if differ == 0 {
        out.push(Line::plain(
            "· no difference that these samples could tell from chance",
        ));
    }
    out.push(Line::new());
    let tried = format!(
        "  {} bad and {} other traces in B; {} tried",
        common.bad,
        common.good,
        count(
            common.values_tried as u64,
            "attribute value",
            "attribute values"
        )
    );
    out.push(Line::new().with(Tone::Dim, tried));
    for found in &common.common {
        let mut line = Line::new().with(Tone::Strong, format!("  {}={}", found.key, found.value));
        line.push(
            Tone::Plain,
            format!(
                "  {} of {} with it are bad, {} of the others",
                percent(found.with),
                found.bad + found.good,
                percent(found.without)
            ),
        );
        out.push(line);
    }
    if common.common.is_empty() {
        out.push(Line::plain(
            "  no attribute value comes with bad traces more often than chance allows",
        ));
    }
    out
}

fn row_line(row: &Row) -> Line {
    let tone = |change: Change| match change {
        Change::Worse => Tone::Bad,
        Change::Better => Tone::Accent,
        Change::NotTold | Change::TooFew => Tone::Plain,
    };
    let mark = |change: Change| match change {
        Change::Worse => "↑",
        Change::Better => "↓",
        Change::NotTold => " ",
        Change::TooFew => "?",
    };
    let requests =
        |side: &Option<Figures>| side.map_or("–".to_owned(), |side| side.requests.to_string());
    let p95 = |side: &Option<Figures>| side.and_then(|side| side.p95);
    let name = format!("{} {}", row.operation.service, row.operation.operation);
    let mut line = Line::plain(format!(
        "  {} {} {} ",
        left(&name, 46),
        right(&format!("{} / {}", requests(&row.a), requests(&row.b)), 15),
        right(
            &p95(&row.a).map_or("–".to_owned(), |p95| nanos(p95.value)),
            10
        )
    ));
    let ranged = p95(&row.b).map_or("–".to_owned(), |p95| {
        format!(
            "{} ({}–{})",
            nanos(p95.value),
            nanos(p95.low),
            nanos(p95.high)
        )
    });
    line.push(
        tone(row.latency),
        format!("{}{}", right(&ranged, 25), mark(row.latency)),
    );
    let failed = row
        .a
        .map_or("–".to_owned(), |side| share(side.error_share.value));
    line.push(Tone::Plain, format!(" {} ", right(&failed, 9)));
    let failed = row
        .b
        .map_or("–".to_owned(), |side| percent(side.error_share));
    line.push(
        tone(row.errors),
        format!("{}{}", right(&failed, 21), mark(row.errors)),
    );
    line
}

fn nanos(value: f64) -> String {
    human_duration(value.max(0.0) as u64)
}

fn share(value: f64) -> String {
    format!("{:.1} %", value * 100.0)
}

fn percent(interval: Interval) -> String {
    format!(
        "{} ({:.1}–{:.1})",
        share(interval.value),
        interval.low * 100.0,
        interval.high * 100.0
    )
}

/// What the judge says of a canary.
pub fn verdict_lines(verdict: &canary::Verdict, canary: &Figures, against: &Figures) -> Vec<Line> {
    let (tone, what) = match verdict.action {
        Action::Advance => (Tone::Accent, "advance"),
        Action::Extend => (Tone::Odd, "extend"),
        Action::StepBack => (Tone::Bad, "step back"),
        Action::Drain => (Tone::Bad, "drain"),
        Action::RollBack => (Tone::Bad, "roll back"),
    };
    let mut head = Line::new().with(tone, what);
    head.push(
        Tone::Plain,
        format!(
            ": {}; plan {}, phase {} at {} %, next {} %",
            verdict.why, verdict.plan, verdict.phase, verdict.percent, verdict.next_percent
        ),
    );
    let mut out = vec![head];
    for (name, side) in [("canary", canary), ("against", against)] {
        let p95 = side.p95.map_or("–".to_owned(), |p95| {
            format!(
                "{} ({}–{})",
                nanos(p95.value),
                nanos(p95.low),
                nanos(p95.high)
            )
        });
        out.push(Line::plain(format!(
            "  {} {} requests, failed {}, p95 {p95}",
            left(name, 8),
            side.requests,
            percent(side.error_share)
        )));
    }
    for check in &verdict.checks {
        let sure = if check.sure { "" } else { ", not sure" };
        let (tone, mark) = if check.holds {
            (Tone::Plain, "✓")
        } else {
            (Tone::Bad, "✗")
        };
        let text = format!(
            "  {mark} {}: {:.4}, limit {:.4}{sure}",
            check.what, check.seen, check.limit
        );
        out.push(Line::new().with(tone, text));
    }
    out
}
