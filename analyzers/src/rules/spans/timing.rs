//! `trace/timing-impossible`: spans begin before their parents, or end after them, or are far shorter than their work.

use std::collections::BTreeMap;

use case::model::SpanKind;

use crate::engine::{About, Cause, Finding, Judgement, Rule, Severity};
use crate::evidence::Evidence;
use crate::evidence::need;
use crate::evidence::tracing::counts::{Point, What};
use crate::evidence::tracing::edges::Skew;
use crate::evidence::tracing::{Aspect, Rows, tell};

const NOT_REAL: &str = "span-relations/timing-inconsistent#times-not-real";
const SKEW: &str = "span-relations/timing-inconsistent#clock-skew";
const ORDER: &str = "span-relations/timing-inconsistent#ended-out-of-order";

const LEAST: u64 = 5;
const MOSTLY: f64 = 0.5;
/// Spans this much shorter than what the service measured itself do not hold its work.
const SHORT: f64 = 0.5;
/// Requests that took less than this on average are too short to compare.
const MEASURABLE: f64 = 0.003;
/// A clock this much off is a matter of the network, not of the clock.
const SMALLEST: f64 = 5e6;

static ABOUT: About = About {
    id: "trace/timing-impossible",
    title: "Spans have times that can not be",
    severity: Severity::Warning,
    needs: &[need::SPANS],
    meaning: "Children begin before their parents or end after them, or spans last much less than the service measured of \
              the same requests. Waterfalls, self times and critical paths of these spans say nothing.",
    threshold: "5 spans and half of those of the same name meanwhile; a clock that is off by 5 ms on 5 calls and on most \
                calls of the instance; spans that last less than half of what the service counted for 10 requests",
    causes: &[
        Cause {
            id: NOT_REAL,
            what: "spans begin or end at other times than the work they stand for",
            sign: "their durations disagree with the service's own metrics and logs",
        },
        Cause {
            id: SKEW,
            what: "the clock of an instance is off",
            sign: "one constant offset on every call from and to the instance, durations are plausible",
        },
        Cause {
            id: ORDER,
            what: "a parent ends before the children that it waits for",
            sign: "on one instance and one clock, only ends are wrong",
        },
    ],
    remedy: "begin spans before the work and end them after it, parents last; synchronise clocks",
    follows: &[],
};

pub(crate) struct TimingImpossible;

impl Rule for TimingImpossible {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let mut judgement = Judgement::default();
        let mut nearest = 0;
        order(evidence, &mut judgement, &mut nearest);
        short(evidence, &mut judgement, &mut nearest);
        skew(evidence, &mut judgement);
        judgement.seen.push(format!(
            "{} calls were seen from both sides; {} pairs of instances have times that can not be",
            evidence.tracing.edges.joined,
            evidence
                .tracing
                .edges
                .skews
                .values()
                .filter(|skew| skew.impossible > 0)
                .count(),
        ));
        if judgement.findings.is_empty() {
            judgement.distance = Some(format!(
                "at most {nearest} spans of one instance with such times; {LEAST} make a finding"
            ));
        }
        judgement
    }
}

fn order(evidence: &Evidence, judgement: &mut Judgement, nearest: &mut u64) {
    let tracing = &evidence.tracing;
    let rows = &tracing.rows;
    for (who, _) in tracing.shape.with(Aspect::EndsAfterParent) {
        let seen = tracing.shape.sum(who, Aspect::EndsAfterParent, |_, cell| {
            cell.aspects[Aspect::EndsAfterParent as usize].odd > 0
        });
        *nearest = seen.odd.max(*nearest);
        if seen.odd < LEAST || seen.share() < MOSTLY {
            continue;
        }
        let (since, until) = tell::between(evidence, seen.first, seen.last);
        let peer = &rows.peers[who as usize];
        let mut finding = Finding::of(
            &ABOUT,
            ORDER,
            format!(
                "{} ends its server spans before the calls they wait for: {} of {} calls end after their parent.",
                tell::who(rows, who),
                seen.odd,
                seen.odd + seen.usual,
            ),
        )
        .about(&peer.service, &peer.instance, "sender")
        .between(since, until)
        .in_traces(tell::traces(rows, &seen.samples));
        for row in seen.samples.iter().take(2) {
            finding = finding.seen(ends_after(rows, *row));
        }
        judgement.findings.push(finding.sure());
    }
}

fn ends_after(rows: &Rows, row: u32) -> crate::engine::Seen {
    let place = row as usize;
    let by = rows
        .parent_of(place)
        .map_or(0, |parent| rows.end[place].saturating_sub(rows.end[parent]));
    tell::span(
        rows,
        row,
        format!(
            "{} ends {} after its parent, on the same clock",
            rows.names.get(rows.name[place]),
            case::time::human_duration(by)
        ),
    )
}

/// Server spans much shorter than their requests, or that begin after what they caused.
fn short(evidence: &Evidence, judgement: &mut Judgement, nearest: &mut u64) {
    let tracing = &evidence.tracing;
    let rows = &tracing.rows;
    let mut lasted: BTreeMap<(u32, u32), Vec<(u64, u64)>> = BTreeMap::new();
    for row in 0..rows.len() {
        if rows.kind(row) == SpanKind::Server {
            lasted
                .entry((rows.who[row], rows.name[row]))
                .or_default()
                .push((rows.end[row], rows.end[row] - rows.start[row]));
        }
    }
    for spans in lasted.values_mut() {
        spans.sort_unstable();
    }
    for who in 0..rows.peers.len() as u32 {
        let early = tracing
            .shape
            .sum(who, Aspect::BeginsBeforeParent, |_, cell| {
                cell.aspects[Aspect::BeginsBeforeParent as usize].odd > 0
            });
        *nearest = early.odd.max(*nearest);
        let mut worst: Option<(String, Short)> = None;
        for (route, points) in tracing.counts.of(who, What::Requests) {
            let spans = rows
                .names
                .find(route)
                .and_then(|name| lasted.get(&(who, name)));
            if let Some(found) = spans.and_then(|spans| shorter(points, spans))
                && worst
                    .as_ref()
                    .is_none_or(|(_, other)| found.requests > other.requests)
            {
                worst = Some((route.to_owned(), found));
            }
        }
        let begins_early = early.odd >= LEAST && early.share() >= MOSTLY;
        if worst.is_none() && !begins_early {
            continue;
        }
        let (first, last) = match &worst {
            Some((_, found)) => (found.first, found.last),
            None => (early.first, early.last),
        };
        let (since, until) = tell::between(evidence, first, last);
        let peer = &rows.peers[who as usize];
        let headline = match &worst {
            Some((route, found)) => format!(
                "{}'s spans of {route} last {:.1} ms on average where the service measured {:.1} ms.",
                tell::who(rows, who),
                found.spans * 1e3,
                found.measured * 1e3,
            ),
            None => format!(
                "{}'s spans begin before their parents in the same process: {} of {}.",
                tell::who(rows, who),
                early.odd,
                early.odd + early.usual,
            ),
        };
        let mut finding = Finding::of(&ABOUT, NOT_REAL, headline)
            .about(&peer.service, &peer.instance, "sender")
            .between(since, until)
            .in_traces(tell::traces(rows, &early.samples));
        if let Some((route, found)) = &worst {
            let metric = match route.contains(' ') {
                true => "http.server.request.duration",
                false => "rpc.server.call.duration",
            };
            finding = finding.seen(tell::metric(
                rows,
                who,
                metric,
                format!("{:.0} requests counted there", found.requests),
            ));
        }
        for row in early.samples.iter().take(2) {
            finding = finding.seen(tell::span(
                rows,
                *row,
                "begins before its parent, on the same clock",
            ));
        }
        judgement.findings.push(match worst {
            Some(_) => finding.sure(),
            None => finding.or(SKEW, "the service's own metrics of the same requests"),
        });
    }
}

struct Short {
    requests: f64,
    measured: f64,
    spans: f64,
    first: u64,
    last: u64,
}

/// Where the spans between two points last less than half of what was measured; all such stretches together.
fn shorter(points: &[Point], spans: &[(u64, u64)]) -> Option<Short> {
    let (mut requests, mut measured, mut total, mut traced) = (0.0, 0.0, 0.0, 0u64);
    let (mut first, mut last) = (0, 0);
    for pair in points.windows(2) {
        let (rise, seconds) = (pair[1].value - pair[0].value, pair[1].sum - pair[0].sum);
        let from = spans.partition_point(|(end, _)| *end <= pair[0].at);
        let to = spans.partition_point(|(end, _)| *end <= pair[1].at);
        let count = (to - from) as f64;
        // As many spans as requests, or it is another matter.
        if rise < 2.0 || (count - rise).abs() > 1.0 + rise * 0.2 || seconds / rise < MEASURABLE {
            continue;
        }
        let sum: u64 = spans[from..to].iter().map(|(_, lasted)| lasted).sum();
        let sum = sum as f64 / 1e9;
        if sum / count < seconds / rise * SHORT {
            requests += rise;
            measured += seconds;
            total += sum;
            traced += (to - from) as u64;
            first = if first == 0 { pair[0].at } else { first };
            last = pair[1].at;
        }
    }
    (requests >= 10.0).then(|| Short {
        requests,
        measured: measured / requests,
        spans: total / traced.max(1) as f64,
        first,
        last,
    })
}

/// An instance on all of whose calls the same offset shows.
fn skew(evidence: &Evidence, judgement: &mut Judgement) {
    let edges = &evidence.tracing.edges;
    let rows = &evidence.tracing.rows;
    let mut left: BTreeMap<(u32, u32), &Skew> = edges
        .skews
        .iter()
        .filter(|(_, skew)| skew.impossible >= LEAST && skew.offset().abs() >= SMALLEST)
        // A clock that is off shows on every call; what shows on a few has been given another's parent.
        .filter(|(key, skew)| skew.impossible * 2 >= calls_meanwhile(rows, **key, skew))
        .map(|(key, skew)| (*key, skew))
        .collect();
    while let Some((who, offset)) = suspect(edges, &left) {
        let about: Vec<((u32, u32), &Skew)> = left
            .iter()
            .filter(|((caller, callee), _)| *caller == who || *callee == who)
            .map(|(key, skew)| (*key, *skew))
            .collect();
        left.retain(|(caller, callee), _| *caller != who && *callee != who);
        let impossible: u64 = about.iter().map(|(_, skew)| skew.impossible).sum();
        let first = about.iter().map(|(_, skew)| skew.first).min().unwrap_or(0);
        let last = about.iter().map(|(_, skew)| skew.last).max().unwrap_or(0);
        let (since, until) = tell::between(evidence, first, last);
        let peer = &rows.peers[who as usize];
        let way = if offset < 0.0 { "behind" } else { "ahead of" };
        let mut finding = Finding::of(
            &ABOUT,
            SKEW,
            format!(
                "the clock of {} is about {:.0} ms {way} the others: {impossible} calls from or to it have times that can \
                 not be.",
                tell::who(rows, who),
                offset.abs() / 1e6,
            ),
        )
        .about(&peer.service, &peer.instance, "sender")
        .between(since, until);
        let mut others = Vec::new();
        for ((caller, callee), skew) in about.iter().take(3) {
            let (other, sign) = if *callee == who {
                (*caller, 1.0)
            } else {
                (*callee, -1.0)
            };
            others.push(other);
            if let Some(row) = skew.sample {
                finding = finding
                    .seen(tell::span(
                        rows,
                        row,
                        format!(
                            "{:+.0} ms against {}, on {} of {} calls",
                            skew.offset() * sign / 1e6,
                            tell::who(rows, other),
                            skew.impossible,
                            skew.calls,
                        ),
                    ))
                    .in_traces([rows.trace_id(row as usize)]);
            }
        }
        others.dedup();
        judgement.findings.push(match others.len() {
            1 => finding.or(
                NOT_REAL,
                "calls between this instance and a third one, to see whose clock it is",
            ),
            _ => finding.sure(),
        });
    }
}

/// Calls of one instance to another from the first that can not be to the last.
fn calls_meanwhile(rows: &Rows, (caller, callee): (u32, u32), skew: &Skew) -> u64 {
    (0..rows.len())
        .filter(|row| rows.who[*row] == callee && rows.kind(*row) == SpanKind::Server)
        .filter(|row| (skew.first..=skew.last).contains(&rows.start[*row]))
        .filter(|row| {
            rows.parent_of(*row)
                .is_some_and(|parent| rows.who[parent] == caller)
        })
        .count() as u64
}

/// The instance with the most impossible calls, all of whose offsets agree.
fn suspect(
    edges: &crate::evidence::tracing::Edges,
    left: &BTreeMap<(u32, u32), &Skew>,
) -> Option<(u32, f64)> {
    let mut candidates: BTreeMap<u32, (u64, Vec<f64>)> = BTreeMap::new();
    for ((caller, callee), skew) in left {
        for (who, sign) in [(*callee, 1.0), (*caller, -1.0)] {
            let entry = candidates.entry(who).or_default();
            entry.0 += skew.impossible;
            entry.1.push(skew.offset() * sign);
        }
    }
    let mut best: Option<(u32, u64, usize, f64)> = None;
    for (who, (impossible, mut offsets)) in candidates {
        offsets.sort_by(f64::total_cmp);
        let middle = offsets[offsets.len() / 2];
        let agree = offsets
            .iter()
            .all(|offset| (offset - middle).abs() <= middle.abs() * 0.5 + SMALLEST);
        // Its other calls must not be free of it.
        let (mut odd, mut all) = (0, 0);
        for ((caller, callee), skew) in &edges.skews {
            if (*caller == who || *callee == who) && skew.calls >= LEAST {
                all += 1;
                odd += u64::from(skew.impossible > 0);
            }
        }
        if !agree || odd * 2 < all {
            continue;
        }
        if best.is_none_or(|(_, most, edges, _)| (offsets.len(), impossible) > (edges, most)) {
            best = Some((who, impossible, offsets.len(), middle));
        }
    }
    best.map(|(who, _, _, offset)| (who, offset))
}
