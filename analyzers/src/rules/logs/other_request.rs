//! `log/trace-id-of-other-request`: lines carry the trace id of a request that they are not about.

use std::collections::BTreeSet;

use crate::engine::{About, Cause, Finding, Judgement, Rule, Seen, Severity};
use crate::evidence::Evidence;
use crate::evidence::need;
use crate::evidence::tracing::{Fault, Seen as Counted, tell};

const POLLUTION: &str = "log-correlation/wrong-trace-id#pollution-between-requests";
const STALE: &str = "log-correlation/wrong-trace-id#context-passed-wrongly";
const MIDWAY: &str = "log-correlation/wrong-trace-id#overwritten-midway";

const LEAST: u64 = 5;
const SOMETIMES: f64 = 0.02;
const ALWAYS: f64 = 0.9;

static ABOUT: About = About {
    id: "log/trace-id-of-other-request",
    title: "Log lines carry another request's trace id",
    severity: Severity::Warning,
    needs: &[need::SPANS, need::LOGS],
    meaning: "Lines say of their request how long it took, and the span whose id they carry lasted for another time and \
              ended at another; or they carry a trace id that no span has. Whoever reads a request's lines reads those of \
              others.",
    threshold: "5 lines of one instance, and 2 in 100 of its lines about requests meanwhile",
    causes: &[
        Cause {
            id: POLLUTION,
            what: "requests that are served at the same time share the log's context",
            sign: "the id is that of a request that was running then; none is wrong that was served alone",
        },
        Cause {
            id: STALE,
            what: "a context of another, earlier item is handed on",
            sign: "the id is that of a request that was over, from the first line on, also of requests served alone",
        },
        Cause {
            id: MIDWAY,
            what: "the id is replaced while the request is processed",
            sign: "the first lines of a request are right, and wrong from one statement on",
        },
    ],
    remedy: "keep the log's context with the request, hand each item its own, and never set it anew in between",
    follows: &[],
};

pub(crate) struct OtherRequest;

impl Rule for OtherRequest {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let tracing = &evidence.tracing;
        let table = &tracing.table;
        let mut judgement = Judgement {
            seen: vec![format!(
                "{} log records were held against the spans",
                tracing.lines.len()
            )],
            ..Judgement::default()
        };
        let mut nearest = 0;
        for who in 0..tracing.rows.peers.len() as u32 {
            let alive = table.sum(who, Fault::OtherAlive, |_| true);
            let ended = table.sum(who, Fault::OtherEnded, |_| true);
            let unknown = table.sum(who, Fault::UnknownTrace, |_| true);
            let most = alive.odd.max(ended.odd).max(unknown.odd);
            nearest = nearest.max(most);
            if most < LEAST {
                continue;
            }
            let found = if unknown.odd == most {
                midway(evidence, who, &unknown)
            } else if ended.odd > alive.odd {
                Some(told(evidence, who, STALE, &ended, "that was already over"))
            } else {
                Some(told(
                    evidence,
                    who,
                    POLLUTION,
                    &alive,
                    "that ran at the same time",
                ))
            };
            judgement.findings.extend(found);
        }
        if judgement.findings.is_empty() {
            judgement.distance = Some(format!(
                "at most {nearest} lines of one instance with another request's id; {LEAST} make a finding"
            ));
        }
        judgement
    }
}

fn told(
    evidence: &Evidence,
    who: u32,
    cause: &'static str,
    seen: &Counted,
    which: &str,
) -> Finding {
    let tracing = &evidence.tracing;
    let (rows, lines) = (&tracing.rows, &tracing.lines);
    let (since, until) = tell::between(evidence, seen.first, seen.last);
    let peer = &rows.peers[who as usize];
    let mut finding = Finding::of(
        &ABOUT,
        cause,
        format!(
            "{} writes lines with the trace id of another request {which}: {} lines.",
            tell::who(rows, who),
            seen.odd,
        ),
    )
    .about(&peer.service, &peer.instance, "sender")
    .between(since, until)
    .in_traces(seen.samples.iter().map(|row| lines.trace[*row as usize]));
    for row in seen.samples.iter().take(2) {
        let row = *row as usize;
        finding = finding.seen(Seen::at(
            format!(
                "{}: the line says {:.0} ms, and the span it names neither began nor ended with it",
                lines.words.get(lines.event[row]),
                lines.took[row].max(0.0),
            ),
            crate::reference::Reference::Span {
                trace_id: lines.trace[row],
                span_id: lines.span[row],
            },
        ));
    }
    finding.sure()
}

/// Ids that no span has: somebody made them up, from some statement on.
fn midway(evidence: &Evidence, who: u32, seen: &Counted) -> Option<Finding> {
    let tracing = &evidence.tracing;
    let lines = &tracing.lines;
    if seen.share() < SOMETIMES {
        return None;
    }
    let (mut wrong, mut right) = (BTreeSet::new(), BTreeSet::new());
    for (key, cell) in tracing.table.of(who) {
        let seen = &cell[Fault::UnknownTrace as usize];
        if seen.odd >= LEAST && seen.share() >= ALWAYS {
            wrong.insert(lines.words.get(key.event));
        } else if seen.usual >= LEAST && seen.odd * 10 <= seen.usual {
            right.insert(lines.words.get(key.event));
        }
    }
    // If all of its lines are of traces that are not here, the spans are what is missing.
    if wrong.is_empty() || right.is_empty() {
        return None;
    }
    let finding = told(evidence, who, MIDWAY, seen, "that no span belongs to");
    Some(finding.seen(Seen::note(format!(
        "{} always have it; {} have the right one",
        tell::list(wrong.iter().take(4)),
        tell::list(right.iter().take(4)),
    ))))
}
