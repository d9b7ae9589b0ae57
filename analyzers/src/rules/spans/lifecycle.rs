//! `trace/span-lifecycle-broken`: spans leak, close early or lack a status.

use case::model::SpanKind;

use super::missing::climb;
use crate::engine::{About, Cause, Finding, Judgement, Rule, Seen, Severity};
use crate::evidence::Evidence;
use crate::evidence::need;
use crate::evidence::tracing::counts::{Point, What};
use crate::evidence::tracing::growing::long_under_way;
use crate::evidence::tracing::{Aspect, tell};
use crate::settled::QUIET_FOR;

const LEAK: &str = "span-relations/lifecycle-wrong#never-finished-leak";
const EARLY: &str = "span-relations/lifecycle-wrong#finished-early";
const STATUS: &str = "span-relations/lifecycle-wrong#status-unset";

const LEAST: u64 = 5;
const MOSTLY: f64 = 0.5;
/// Live spans that must have piled up.
const PILE: f64 = 50.0;
/// Bytes that a leak of spans must have cost to be named one.
const COST: f64 = 8.0 * 1_048_576.0;

/// Spans of one process that are live for one request that takes long.
const DEPTH: f64 = 4.0;

static ABOUT: About = About {
    id: "trace/span-lifecycle-broken",
    title: "Spans leak, close early or do not say that they failed",
    severity: Severity::Warning,
    needs: &[need::SPANS],
    meaning: "Spans are begun and pile up in memory, or end while their work goes on, or stand for a failure and say \
              nothing of it in their status, so that error rates made of spans are too low.",
    threshold: "5 calls that begin after their server span ended, half of those of the same name; 5 failed server spans \
                without status; 50 live spans more that do not go away, and 8 MiB of memory with them",
    causes: &[
        Cause {
            id: LEAK,
            what: "spans are never ended and pile up in memory",
            sign: "the number of live spans and the memory climb together",
        },
        Cause {
            id: EARLY,
            what: "spans end before late work is done",
            sign: "calls and log lines of the request after the end of its server span",
        },
        Cause {
            id: STATUS,
            what: "failures leave the status unset",
            sign: "the response code says failure, the status does not",
        },
    ],
    remedy: "end spans last, on every path, and set their status when the answer is a failure",
    follows: &[],
};

pub(crate) struct LifecycleBroken;

impl Rule for LifecycleBroken {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let tracing = &evidence.tracing;
        let mut judgement = Judgement::default();
        let mut nearest = 0;
        let mut piled = 0.0f64;
        for who in 0..tracing.rows.peers.len() as u32 {
            early(evidence, who, &mut judgement, &mut nearest);
            unset(evidence, who, &mut judgement, &mut nearest);
            leak(evidence, who, &mut judgement, &mut piled);
        }
        judgement.seen.push(format!(
            "{} senders' spans were looked at",
            tracing.rows.peers.len()
        ));
        if judgement.findings.is_empty() {
            judgement.distance = Some(format!(
                "at most {nearest} such spans of one instance, {LEAST} make a finding; live spans rose by {piled:.0} at \
                 most, {PILE:.0} make one"
            ));
        }
        judgement
    }
}

fn early(evidence: &Evidence, who: u32, judgement: &mut Judgement, nearest: &mut u64) {
    let tracing = &evidence.tracing;
    let rows = &tracing.rows;
    let aspect = Aspect::BeginsAfterParent;
    let seen = tracing.shape.sum(who, aspect, |_, cell| {
        let seen = &cell.aspects[aspect as usize];
        seen.odd > 0 && seen.share() >= MOSTLY
    });
    *nearest = seen.odd.max(*nearest);
    if seen.odd < LEAST {
        return;
    }
    let (since, until) = tell::between(evidence, seen.first, seen.last);
    let peer = &rows.peers[who as usize];
    let mut finding = Finding::of(
        &ABOUT,
        EARLY,
        format!(
            "{} ends its server spans before the work is done: {} calls begin after their server span has ended.",
            tell::who(rows, who),
            seen.odd,
        ),
    )
    .about(&peer.service, &peer.instance, "sender")
    .between(since, until)
    .in_traces(tell::traces(rows, &seen.samples));
    for row in seen.samples.iter().take(2) {
        let place = *row as usize;
        let by = rows.parent_of(place).map_or(0, |parent| {
            rows.start[place].saturating_sub(rows.end[parent])
        });
        finding = finding.seen(tell::span(
            rows,
            *row,
            format!(
                "{} begins {} after its server span ended",
                rows.names.get(rows.name[place]),
                case::time::human_duration(by)
            ),
        ));
    }
    judgement.findings.push(finding.sure());
}

fn unset(evidence: &Evidence, who: u32, judgement: &mut Judgement, nearest: &mut u64) {
    let tracing = &evidence.tracing;
    let rows = &tracing.rows;
    let seen = tracing
        .shape
        .sum(who, Aspect::SilentFailure, |_, cell| cell.entry);
    *nearest = seen.odd.max(*nearest);
    if seen.odd < LEAST {
        return;
    }
    // Failures meanwhile that do say so: if most do, some handlers forget it, and that is no habit of the service.
    let marked = (0..rows.len())
        .filter(|row| {
            rows.who[*row] == who
                && rows.kind(*row) == SpanKind::Server
                && rows.failed(*row)
                && (seen.first..=seen.last).contains(&rows.start[*row])
        })
        .count() as u64;
    let (since, until) = tell::between(evidence, seen.first, seen.last);
    let peer = &rows.peers[who as usize];
    let mut finding = Finding::of(
        &ABOUT,
        STATUS,
        format!(
            "{} answers failures without saying so in the span's status: {} of {}.",
            tell::who(rows, who),
            seen.odd,
            seen.odd + marked,
        ),
    )
    .about(&peer.service, &peer.instance, "sender")
    .between(since, until)
    .in_traces(tell::traces(rows, &seen.samples));
    for row in seen.samples.iter().take(2) {
        let name = rows.names.get(rows.name[*row as usize]);
        finding = finding.seen(tell::span(
            rows,
            *row,
            format!("{name}: the response is a failure, the status is unset"),
        ));
    }
    judgement.findings.push(finding.sure());
}

fn leak(evidence: &Evidence, who: u32, judgement: &mut Judgement, piled: &mut f64) {
    let tracing = &evidence.tracing;
    let rows = &tracing.rows;
    let Some(points) = tracing.counts.one(who, What::LiveSpans, "") else {
        return;
    };
    let Some((from, rise)) = pile(points) else {
        return;
    };
    *piled = piled.max(rise);
    if rise < PILE {
        return;
    }
    // Work that takes long has live spans for as long: a request, and what it waits for in turn; or a saga, between
    // whose attempts nothing is heard of its trace.
    let service = &rows.peers[who as usize].service;
    let (slow, sagas) = (long_under_way(rows), sagas_under_way(evidence, service));
    if (slow + sagas) as f64 * DEPTH * 2.0 >= rise {
        judgement.seen.push(format!(
            "{} has {rise:.0} more live spans; {slow} requests are under way for longer than {}, and {sagas} of its sagas \
             have not ended",
            tell::who(rows, who),
            case::time::human_duration(QUIET_FOR)
        ));
        return;
    }
    let memory = tracing
        .counts
        .one(who, What::Memory, "")
        .and_then(|points| climb(points, from));
    // Spans that are never ended and cost next to nothing are missing, not leaking.
    if memory.is_some_and(|memory| memory < COST) {
        return;
    }
    let last = points.last().map_or(from, |point| point.at);
    let (since, until) = tell::between(evidence, from, last);
    let peer = &rows.peers[who as usize];
    let mut finding = Finding::of(
        &ABOUT,
        LEAK,
        format!(
            "{} piles up spans that it never ends: {rise:.0} more are live than when it began.",
            tell::who(rows, who),
        ),
    )
    .about(&peer.service, &peer.instance, "sender")
    .between(since, until)
    .seen(tell::metric(
        rows,
        who,
        "otel.sdk.span.live",
        format!("live spans rose by {rise:.0} and did not come down"),
    ));
    finding = match memory {
        Some(memory) => finding
            .seen(tell::metric(
                rows,
                who,
                "process.memory.usage",
                format!("memory rose by {:.0} MiB meanwhile", memory / 1_048_576.0),
            ))
            .sure(),
        None => finding.seen(Seen::note(
            "the process does not say how much memory it uses",
        )),
    };
    judgement.findings.push(finding);
}

/// How many sagas that the service coordinates had not ended when the evidence did.
fn sagas_under_way(evidence: &Evidence, service: &str) -> usize {
    let stories = &evidence.sagas.sagas().stories;
    stories
        .iter()
        .filter(|story| story.coordinator == service && !story.status().is_terminal())
        .count()
}

/// From when on a gauge climbed without coming down again, and by how much.
fn pile(points: &[Point]) -> Option<(u64, f64)> {
    let last = points.last()?;
    // The latest point from which on nothing was lower: the pile begins there.
    let mut floor = last.value;
    let mut begin = last;
    for point in points.iter().rev() {
        if point.value > floor + PILE * 0.2 + floor * 0.05 {
            break;
        }
        if point.value <= floor {
            floor = point.value;
            begin = point;
        }
    }
    let steps = points.iter().filter(|point| point.at > begin.at).count();
    (steps >= 3).then_some((begin.at, last.value - begin.value))
}
