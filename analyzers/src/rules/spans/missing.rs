//! `trace/spans-missing`: calls that were served have no span.

use std::collections::{BTreeMap, BTreeSet};

use case::model::SpanKind;

use crate::engine::{About, Cause, Finding, Judgement, Rule, Seen, Severity};
use crate::evidence::Evidence;
use crate::evidence::need;
use crate::evidence::tracing::counts::{Counts, Point, What};
use crate::evidence::tracing::{Aspect, Side, Tracing, tell};

const NOT_INSTRUMENTED: &str = "span-relations/missing-spans#operation-not-instrumented";
const NOT_FINISHED: &str = "span-relations/missing-spans#span-not-finished";
const SAMPLED: &str = "span-relations/missing-spans#dropped-by-sampling";
const LOST: &str = "span-relations/missing-spans#export-lost";

/// Requests counted and not traced that make a finding.
const LEAST: f64 = 10.0;
/// Of the requests to a route, at least this share has no span: exports are not cut at the same moment for both.
const MOSTLY: f64 = 0.2;
/// From the first to the last of what is missing.
const LASTING: u64 = 5_000_000_000;
/// Points this near to the end may count spans that are still on their way.
const MARGIN: u64 = 3_000_000_000;

static ABOUT: About = About {
    id: "trace/spans-missing",
    title: "Requests that were served have no span",
    severity: Severity::Warning,
    needs: &[need::SPANS],
    meaning: "A service counts more requests to a route than there are spans of it, or its inner spans hang under its \
              caller, or under a span that never comes. What the service did there can not be seen in traces.",
    threshold: "10 requests, and 2 in 10 of those to a route, that were counted and have no span; or 10 spans, over \
                5 s or more, whose server span is missing",
    causes: &[
        Cause {
            id: NOT_INSTRUMENTED,
            what: "no span is made for the operation",
            sign: "the route is counted and never has spans; deeper spans hang right under the caller, none is an orphan",
        },
        Cause {
            id: NOT_FINISHED,
            what: "the span is begun and never ended",
            sign: "its children name a parent that never comes, and the number of live spans climbs",
        },
        Cause {
            id: SAMPLED,
            what: "the span was not sampled, or filtered out",
            sign: "whole traces of some routes are missing, and the process counts spans that it decided to drop",
        },
        Cause {
            id: LOST,
            what: "spans were made and ended, and lost on the way out",
            sign: "all routes, under load; the exporter counts what it dropped, the number of live spans is level",
        },
    ],
    remedy: "make a span for every operation and end it on every path; watch what the exporter drops",
    follows: &["trace/span-lifecycle-broken"],
};

pub(crate) struct SpansMissing;

/// What of one instance is not there.
#[derive(Default)]
struct Gap {
    /// Requests counted, spans seen, by route with a gap.
    routes: BTreeMap<String, (f64, u64)>,
    counted: f64,
    traced: u64,
    first: u64,
    last: u64,
    samples: Vec<u32>,
    skipped: u64,
    orphans: u64,
}

impl Rule for SpansMissing {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let tracing = &evidence.tracing;
        let mut judgement = Judgement::default();
        let gaps = gaps(evidence);
        let mut nearest = 0.0f64;
        let mut compared = 0;
        for (who, gap) in &gaps {
            compared += 1;
            let missing = gap.counted - gap.traced as f64;
            nearest = nearest.max(missing).max((gap.skipped + gap.orphans) as f64);
            // What a process had under way when it died is missing all at once.
            let lasting = gap.last.saturating_sub(gap.first) >= LASTING;
            let orphaned = (gap.skipped + gap.orphans) as f64 >= LEAST && lasting;
            if (missing >= LEAST || orphaned) && !broken_instead(tracing, *who) {
                judgement.findings.push(finding(evidence, *who, gap));
            }
        }
        leave_to_who_decided(tracing, &mut judgement.findings);
        judgement.seen.push(format!(
            "{compared} senders' spans were held against what they count themselves"
        ));
        if judgement.findings.is_empty() {
            judgement.distance = Some(format!(
                "at most {nearest:.0} requests of one instance without span; {LEAST:.0} make a finding"
            ));
        }
        judgement
    }
}

/// Whoever is called goes by its caller's decision to sample: the findings of those that follow stand with the one that
/// nobody else among them calls.
fn leave_to_who_decided(tracing: &Tracing, findings: &mut Vec<Finding>) {
    let is_sampled = |finding: &Finding| finding.cause_id == SAMPLED;
    let service = |finding: &Finding| finding.subjects[0].service.clone();
    let sampling: BTreeSet<String> = findings
        .iter()
        .filter(|finding| is_sampled(finding))
        .map(service)
        .collect();
    if sampling.len() < 2 {
        return;
    }
    let rows = &tracing.rows;
    let mut called: BTreeSet<String> = BTreeSet::new();
    for row in (0..rows.len()).filter(|row| rows.kind(*row) == SpanKind::Server) {
        let Some(parent) = rows.parent_of(row) else {
            continue;
        };
        let (caller, callee) = (rows.service(rows.who[parent]), rows.service(rows.who[row]));
        if caller != callee && !called.contains(callee) && sampling.contains(caller) {
            called.insert(callee.to_owned());
        }
    }
    // In a circle nobody is first.
    if sampling.iter().all(|service| called.contains(service)) {
        return;
    }
    let follows = |finding: &Finding| is_sampled(finding) && called.contains(&service(finding));
    let followers: BTreeSet<String> = findings
        .iter()
        .filter(|finding| follows(finding))
        .map(service)
        .collect();
    findings.retain(|finding| !follows(finding));
    for finding in findings.iter_mut().filter(|finding| is_sampled(finding)) {
        let note = format!("{} go by its decision", tell::list(&followers));
        finding.evidence.push(Seen::note(note));
    }
}

/// Whether server spans are there, in traces of their own: then none is missing.
fn broken_instead(tracing: &Tracing, who: u32) -> bool {
    let service = tracing.rows.service(who);
    let torn = tracing
        .blames
        .iter()
        .any(|blame| blame.side == Side::Callee && blame.service == service);
    let lonely = tracing.shape.sum(who, Aspect::LonelyInner, |_, _| true);
    torn || lonely.odd > 5
}

fn gaps(evidence: &Evidence) -> BTreeMap<u32, Gap> {
    let tracing = &evidence.tracing;
    let rows = &tracing.rows;
    let mut gaps: BTreeMap<u32, Gap> = BTreeMap::new();
    // Server spans' ends by sender and name, once for all series.
    let mut ends: BTreeMap<(u32, u32), Vec<u64>> = BTreeMap::new();
    for row in 0..rows.len() {
        if rows.kind(row) == SpanKind::Server {
            ends.entry((rows.who[row], rows.name[row]))
                .or_default()
                .push(rows.end[row]);
        }
    }
    for ends in ends.values_mut() {
        ends.sort_unstable();
    }
    let until = evidence.window().until.0.saturating_sub(MARGIN);
    for who in 0..rows.peers.len() as u32 {
        let gap = gaps.entry(who).or_default();
        for (route, points) in tracing.counts.of(who, What::Requests) {
            let name = rows.names.find(route);
            let none = Vec::new();
            let ends = name
                .and_then(|name| ends.get(&(who, name)))
                .unwrap_or(&none);
            compare(gap, route, points, ends, until);
        }
        let skipped = tracing
            .shape
            .sum(who, Aspect::NoServerBetween, |_, cell| !cell.entry);
        // A server span whose parent is missing lacks its caller's, not its own.
        let orphans = tracing
            .shape
            .sum(who, Aspect::ParentLost, |_, cell| !cell.entry);
        gap.skipped = skipped.odd;
        gap.orphans = orphans.odd;
        for seen in [&skipped, &orphans] {
            if seen.odd > 0 {
                gap.first = if gap.first == 0 {
                    seen.first
                } else {
                    gap.first.min(seen.first)
                };
                gap.last = gap.last.max(seen.last);
                gap.samples.extend(&seen.samples);
            }
        }
    }
    gaps
}

/// Between each two points of a route's count, how many spans of it ended.
fn compare(gap: &mut Gap, route: &str, points: &[Point], ends: &[u64], until: u64) {
    let between = |from: u64, to: u64| {
        (ends.partition_point(|end| *end <= to) - ends.partition_point(|end| *end <= from)) as u64
    };
    let (mut counted, mut traced, mut first, mut last) = (0.0, 0, 0, 0);
    let inside: Vec<&Point> = points.iter().filter(|point| point.at <= until).collect();
    for pair in inside.windows(2) {
        let rise = pair[1].value - pair[0].value;
        if rise <= 0.0 {
            continue;
        }
        let spans = between(pair[0].at, pair[1].at);
        counted += rise;
        traced += spans;
        if rise - spans as f64 >= rise * MOSTLY {
            first = if first == 0 { pair[0].at } else { first };
            last = pair[1].at;
        }
    }
    if counted - traced as f64 >= (counted * MOSTLY).max(3.0)
        || (first > 0 && {
            // A gap that began late is small beside a long healthy time: look from where it began.
            let (mut c, mut t) = (0.0, 0u64);
            for pair in inside
                .windows(2)
                .filter(|pair| pair[0].at >= first && pair[1].at <= last)
            {
                c += (pair[1].value - pair[0].value).max(0.0);
                t += between(pair[0].at, pair[1].at);
            }
            (counted, traced) = (c, t);
            c - t as f64 >= (c * MOSTLY).max(3.0)
        })
    {
        gap.counted += counted;
        gap.traced += traced;
        gap.first = if gap.first == 0 {
            first
        } else {
            gap.first.min(first)
        };
        gap.last = gap.last.max(last);
        gap.routes.insert(route.to_owned(), (counted, traced));
    }
}

fn finding(evidence: &Evidence, who: u32, gap: &Gap) -> Finding {
    let tracing = &evidence.tracing;
    let rows = &tracing.rows;
    let (from, to) = (gap.first, gap.last.max(gap.first + 1));
    let rise = |what: What, label: &dyn Fn(&str) -> bool| -> Option<f64> {
        let mut sum = None;
        for (name, points) in tracing.counts.of(who, what) {
            if label(name)
                && let Some(rise) =
                    Counts::rise(points, from.saturating_sub(6_000_000_000), u64::MAX)
            {
                *sum.get_or_insert(0.0) += rise;
            }
        }
        sum
    };
    let dropped = rise(What::DroppedSpans, &|_| true);
    let refused = rise(What::StartedSpans, &|label| label.contains("DROP"));
    let live = tracing
        .counts
        .one(who, What::LiveSpans, "")
        .and_then(|points| climb(points, from));
    let missing = (gap.counted - gap.traced as f64).max((gap.skipped + gap.orphans) as f64);
    let climbs =
        live.is_some_and(|live| live >= (gap.counted - gap.traced as f64).max(LEAST) * 0.5);
    let cause = if dropped.is_some_and(|dropped| dropped >= LEAST.min(missing)) {
        LOST
    } else if refused.is_some_and(|refused| refused >= LEAST) {
        SAMPLED
    } else if climbs || (gap.orphans > gap.skipped && gap.orphans as f64 >= LEAST) {
        NOT_FINISHED
    } else {
        NOT_INSTRUMENTED
    };
    let (since, until) = tell::between(evidence, from, to);
    let peer = &rows.peers[who as usize];
    let routes: Vec<&str> = gap.routes.keys().map(String::as_str).take(3).collect();
    let headline = match gap.routes.is_empty() {
        false => format!(
            "{} counts {:.0} requests to {} and sent {} spans of them.",
            tell::who(rows, who),
            gap.counted,
            tell::list(routes),
            gap.traced,
        ),
        true => format!(
            "server spans of {} are missing: {} of its spans hang under a caller's call, {} under a span that never came.",
            tell::who(rows, who),
            gap.skipped,
            gap.orphans,
        ),
    };
    let mut finding = Finding::of(&ABOUT, cause, headline)
        .about(&peer.service, &peer.instance, "sender")
        .between(since, until)
        .in_traces(tell::traces(rows, &gap.samples));
    for (route, (counted, traced)) in gap.routes.iter().take(3) {
        let metric = match route.contains(' ') {
            true => "http.server.request.duration",
            false => "rpc.server.call.duration",
        };
        let what = format!("{route}: {counted:.0} requests counted, {traced} spans");
        finding = finding.seen(tell::metric(rows, who, metric, what));
    }
    for row in gap.samples.iter().take(2) {
        let place = *row as usize;
        let what = match rows.parent_of(place) {
            Some(_) => "hangs right under the caller's call; no server span is between them",
            None => "names a parent that never came",
        };
        finding = finding.seen(tell::span(rows, *row, what));
    }
    let number =
        |name: &str, value: Option<f64>| value.map(|value| format!("{name} rose by {value:.0}"));
    for (metric, what) in [
        (
            "otel.sdk.span.live",
            number("the number of live spans", live),
        ),
        (
            "otel.sdk.span.started",
            number("spans dropped by sampling", refused),
        ),
        (
            "shop_telemetry_dropped_total",
            number("spans dropped on export", dropped),
        ),
    ] {
        if let Some(what) = what {
            finding = finding.seen(tell::metric(rows, who, metric, what));
        }
    }
    match cause {
        // Orphans alone could also be spans that were lost.
        NOT_FINISHED if live.is_none() => finding.or(
            LOST,
            "how many spans are live and how many were dropped (otel.sdk.span.live)",
        ),
        NOT_INSTRUMENTED if live.is_none() && gap.skipped == 0 => {
            finding.or(NOT_FINISHED, "how many spans are live (otel.sdk.span.live)")
        }
        _ => finding.sure(),
    }
}

/// How much a gauge rose from the last point before a time to its end.
pub(super) fn climb(points: &[Point], from: u64) -> Option<f64> {
    let before = points
        .iter()
        .rfind(|point| point.at <= from)
        .or(points.first())?;
    let end = points.last()?;
    (end.at > before.at).then_some((end.value - before.value).max(0.0))
}
