//! A trace with all that is known around it: who left no span, what it waited for, clocks that are off, what it is linked
//! to, and its logs beneath their spans.

use std::collections::BTreeMap;

use analyzers::gaps::{Gap, GapKind, Known};
use analyzers::settled::Settled;
use analyzers::skew::Clocks;
use case::TraceId;
use case::model::LogRecord;
use case::time::human_duration;

use super::names;
use super::waterfall::{Waterfall, legend, log_line};
use crate::output::{Line, Tone, count};
use crate::views::RepairedTrace;

/// Logs beneath one span; the rest is counted.
const LOGS_OF_SPAN: usize = 12;
/// Logs under the whole.
const LOGS_SHOWN: usize = 40;
/// Services named in what a trace waited for.
const WAITED_FOR: usize = 6;
/// Linked traces named.
const LINKED: usize = 20;
/// Deeper spans' notes are drawn at this depth.
const DEEPEST: usize = 12;

/// A trace that another is linked to.
#[derive(Debug, Clone, PartialEq)]
pub struct Linked {
    pub id: TraceId,
    /// `message`, `outbox`, `recovery` or `link`.
    pub kind: &'static str,
    /// Whether the other came of this one, rather than this of the other.
    pub came_of_this: bool,
    /// Service and name of the linked trace's first span; empty if it is not in the case.
    pub service: String,
    pub name: String,
    /// Nanoseconds between the two beginnings.
    pub later: i64,
}

/// What is known of a trace beyond its spans.
#[derive(Debug, Clone, Default)]
pub struct Around {
    pub gaps: Vec<Gap>,
    pub settled: Option<Settled>,
    /// Clocks, if times are drawn as they would read on one.
    pub clocks: Option<Clocks>,
    pub linked: Vec<Linked>,
    /// Logs beneath their spans rather than under the whole.
    pub logs_by_span: bool,
    /// Every stretch of the critical path, not only its sum.
    pub whole_path: bool,
}

/// What was inferred, told apart from what the spans say.
pub fn inferred_lines(repaired: &RepairedTrace) -> Vec<Line> {
    let mut out = vec![Line::new()];
    if repaired.links.is_empty() {
        out.push(Line::plain(
            "  ≈ no span here lost its parent, as far as whole traces tell",
        ));
    }
    for link in &repaired.links {
        let how = match link.applied {
            true => "is most likely called by",
            false => "may be called by",
        };
        let mut line = Line::new().with(Tone::Odd, "  ≈ ");
        line.push(Tone::Plain, format!("{} {how} {}", link.child, link.parent));
        line.push(
            Tone::Dim,
            format!(" (inferred, confidence {:.2})", link.confidence),
        );
        out.push(line);
    }
    out
}

/// The trace as text.
pub fn lines(
    waterfall: &Waterfall,
    logs: &[LogRecord],
    around: &Around,
    width: usize,
) -> Vec<Line> {
    let mut title = waterfall.title(usize::MAX);
    if let Some(settled) = around.settled {
        let tone = match settled {
            Settled::Quiet => Tone::Dim,
            _ => Tone::Odd,
        };
        title.push(tone, format!(" · {}", settled.name()));
    }
    let mut out = vec![title.fit(width), waterfall.header(width)];
    let mut beneath: BTreeMap<usize, Vec<&LogRecord>> = BTreeMap::new();
    let mut rest: Vec<&LogRecord> = Vec::new();
    for log in logs {
        let place = waterfall
            .placed()
            .iter()
            .map(|placed| placed.span)
            .find(|span| log.span_id.is_some() && waterfall.span(*span).span_id == log.span_id);
        match place {
            Some(place) if around.logs_by_span => beneath.entry(place).or_default().push(log),
            _ => rest.push(log),
        }
    }
    for &placed in waterfall.placed() {
        out.push(waterfall.row(placed, width));
        let indent = " ".repeat(placed.depth.min(DEEPEST) + 2);
        for gap in around.gaps.iter().filter(|gap| gap.span == placed.span) {
            out.push(gap_line(gap, waterfall, &indent).fit(width));
        }
        if let Some(line) = clock_line(waterfall, placed.span, around.clocks.as_ref(), &indent) {
            out.push(line.fit(width));
        }
        let of_span = beneath.remove(&placed.span).unwrap_or_default();
        for log in of_span.iter().take(LOGS_OF_SPAN) {
            out.push(Line::plain(&indent).joined(log_line(log, false)).fit(width));
        }
        if of_span.len() > LOGS_OF_SPAN {
            let more = (of_span.len() - LOGS_OF_SPAN) as u64;
            let more = count(more, "more record", "more records");
            out.push(Line::new().with(Tone::Dim, format!("{indent}… {more}")));
        }
    }
    out.push(legend().fit(width));
    out.extend(waterfall.defects().into_iter().map(|line| line.fit(width)));
    out.extend(waited_for(waterfall).map(|line| line.fit(width)));
    if around.whole_path {
        out.extend(path(waterfall).into_iter().map(|line| line.fit(width)));
    }
    out.extend(clocks(around).into_iter().map(|line| line.fit(width)));
    out.extend(linked(around).into_iter().map(|line| line.fit(width)));
    if !rest.is_empty() {
        let title = if around.logs_by_span {
            "logs of this trace that belong to none of its spans"
        } else {
            "logs of this trace"
        };
        out.push(Line::new().with(Tone::Dim, title));
        out.extend(
            rest.iter()
                .take(LOGS_SHOWN)
                .map(|log| log_line(log, false).fit(width)),
        );
        if rest.len() > LOGS_SHOWN {
            let more = (rest.len() - LOGS_SHOWN) as u64;
            let more = count(more, "more record", "more records");
            out.push(Line::new().with(
                Tone::Dim,
                format!("… {more}: casefile logs --trace {}", rest[0].trace_id),
            ));
        }
    }
    out
}

/// Who a gap is about, as well as it is known.
pub fn who(gap: &Gap) -> String {
    let name = if !gap.instance.is_empty() {
        names::instance(&gap.instance).to_owned()
    } else if !gap.service.is_empty() {
        gap.service.clone()
    } else if !gap.address.is_empty() {
        gap.address.clone()
    } else {
        "somebody".to_owned()
    };
    match gap.known {
        Known::Usually => format!("{name} (by what usually happens)"),
        _ => name,
    }
}

pub fn gap_line(gap: &Gap, waterfall: &Waterfall, indent: &str) -> Line {
    let span = waterfall.span(gap.span);
    let mut why: Vec<String> = Vec::new();
    why.extend(span.attributes.text("error.type").map(str::to_owned));
    why.extend(names::status_code(&span.attributes));
    if !span.status_message.is_empty() {
        why.push(span.status_message.clone());
    }
    why.dedup();
    let why = if why.is_empty() {
        String::new()
    } else {
        format!(": {}", why.join(", "))
    };
    let who = who(gap);
    let (tone, text) = match gap.kind {
        GapKind::NeverReached => (Tone::Odd, format!("{who} was never reached{why}")),
        GapKind::GivenUp => (
            Tone::Odd,
            format!("{who} may have been at work; given up on{why}"),
        ),
        GapKind::Answered if !gap.leaves_spans => {
            (Tone::Dim, format!("{who} answered; it leaves no spans"))
        }
        GapKind::Answered => (
            Tone::Odd,
            format!("{who} answered, and left no span here, though it does elsewhere{why}"),
        ),
        GapKind::ParentLost => {
            let parent = gap.missing.map_or(String::new(), |id| format!(" {id}"));
            (
                Tone::Odd,
                format!("the span{parent} of {who} above this is missing"),
            )
        }
    };
    Line::new().with(tone, format!("{indent}⌁ {text}"))
}

/// That a span's clock was put right, and by how much.
pub fn clock_line(
    waterfall: &Waterfall,
    span: usize,
    clocks: Option<&Clocks>,
    indent: &str,
) -> Option<Line> {
    let clocks = clocks?;
    let row = waterfall.span(span);
    let clock = clocks.clock_of(row)?;
    // Spans are drawn on the common clock here; the stretch is found by that time.
    let stretch = clock
        .stretches
        .iter()
        .find(|stretch| stretch.since <= row.start && row.start < stretch.until)?;
    stretch.is_off().then(|| {
        Line::new().with(
            Tone::Odd,
            format!(
                "{indent}◷ its clock is {} by {} ± {}",
                if stretch.offset > 0 {
                    "ahead"
                } else {
                    "behind"
                },
                human_duration(stretch.offset.unsigned_abs()),
                human_duration(stretch.uncertainty),
            ),
        )
    })
}

/// What the trace waited for, by service, the longest first.
pub fn waited_for(waterfall: &Waterfall) -> Option<Line> {
    let total = waterfall.duration();
    if total == 0 {
        return None;
    }
    let mut by_service: BTreeMap<&str, u64> = BTreeMap::new();
    for placed in waterfall.placed() {
        let service = waterfall.span(placed.span).service();
        *by_service.entry(service).or_default() += waterfall.critical_time(placed.span);
    }
    let mut list: Vec<(&str, u64)> = by_service
        .into_iter()
        .filter(|(_, time)| *time > 0)
        .collect();
    list.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    let texts: Vec<String> = list
        .iter()
        .take(WAITED_FOR)
        .map(|(service, time)| {
            format!(
                "{} {} ({:.0}%)",
                names::service(service),
                human_duration(*time),
                *time as f64 / total as f64 * 100.0
            )
        })
        .collect();
    (!texts.is_empty()).then(|| {
        Line::new()
            .with(Tone::Dim, "waited for  ")
            .with(Tone::Plain, texts.join(" · "))
    })
}

/// The critical path, stretch by stretch.
fn path(waterfall: &Waterfall) -> Vec<Line> {
    let mut stretches: Vec<_> = waterfall
        .placed()
        .iter()
        .flat_map(|placed| waterfall.critical_path_of(placed.span))
        .collect();
    stretches.sort_by_key(|stretch| (stretch.from, stretch.until));
    let from = waterfall.from();
    let mut out = vec![Line::new().with(Tone::Dim, "critical path")];
    for stretch in stretches {
        let span = waterfall.span(stretch.span);
        let since = human_duration(stretch.from.0.saturating_sub(from.0));
        let length = human_duration(stretch.until.0 - stretch.from.0);
        out.push(
            Line::new()
                .with(Tone::Dim, format!("  {since:>8}  {length:>8}  "))
                .with(
                    Tone::Plain,
                    format!("{}  {}", names::service(span.service()), span.name),
                ),
        );
    }
    out
}

fn clocks(around: &Around) -> Vec<Line> {
    let Some(clocks) = &around.clocks else {
        return Vec::new();
    };
    let mut out = vec![Line::new().with(
        Tone::Dim,
        "drawn on one clock; raw times are in --format json",
    )];
    let unknown = clocks
        .clocks
        .iter()
        .filter(|clock| clock.stretches.is_empty())
        .count() as u64;
    for clock in clocks.off() {
        for stretch in clock.off() {
            out.push(
                Line::new()
                    .with(Tone::Odd, format!("◷ {}", names::instance(&clock.name)))
                    .with(
                        Tone::Plain,
                        format!(
                            "  {}{} ± {}",
                            if stretch.offset < 0 { "-" } else { "+" },
                            human_duration(stretch.offset.unsigned_abs()),
                            human_duration(stretch.uncertainty)
                        ),
                    )
                    .with(
                        Tone::Dim,
                        format!(
                            "  by {} of {}",
                            stretch.agreeing,
                            count(stretch.calls, "call", "calls")
                        ),
                    ),
            );
        }
    }
    if out.len() == 1 {
        out.push(Line::new().with(Tone::Dim, "no clock is certainly off"));
    }
    if unknown > 0 {
        let clocks = count(unknown, "clock", "clocks");
        out.push(Line::new().with(
            Tone::Dim,
            format!("of {clocks} nothing is known: no call bounds them from both sides"),
        ));
    }
    out
}

fn linked(around: &Around) -> Vec<Line> {
    let mut out = Vec::new();
    for other in around.linked.iter().take(LINKED) {
        let arrow = if other.came_of_this { "⇢" } else { "⇠" };
        let what = if other.name.is_empty() {
            "not in the case".to_owned()
        } else {
            format!("{}  {}", names::service(&other.service), other.name)
        };
        let sign = if other.later < 0 { "-" } else { "+" };
        out.push(
            Line::new()
                .with(Tone::Dim, format!("{arrow} {:<9}", other.kind))
                .with(Tone::Plain, format!("{}  {what}", other.id))
                .with(
                    Tone::Dim,
                    format!("  {sign}{}", human_duration(other.later.unsigned_abs())),
                ),
        );
    }
    if around.linked.len() > LINKED {
        let more = (around.linked.len() - LINKED) as u64;
        let more = count(more, "more linked trace", "more linked traces");
        out.push(Line::new().with(Tone::Dim, format!("… {more}")));
    }
    out
}
