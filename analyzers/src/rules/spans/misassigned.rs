//! `trace/parent-misassigned`: spans hang under parents that did not call them.

use crate::engine::{About, Cause, Finding, Judgement, Rule, Severity};
use crate::evidence::Evidence;
use crate::evidence::need;
use crate::evidence::tracing::{Aspect, Seen, tell};
use crate::rules::propagation::parents::by_caller;

const PASSED: &str = "span-relations/wrong-parent-assignment#context-passed-wrongly";
const MIXED: &str = "span-relations/wrong-parent-assignment#ids-mixed-in-fan-out";
const RACE: &str = "span-relations/wrong-parent-assignment#creation-race";

const LEAST: u64 = 5;
/// Fewer than this share of the spans meanwhile are strays.
const SOMETIMES: f64 = 0.02;

static ABOUT: About = About {
    id: "trace/parent-misassigned",
    title: "Spans hang under parents that did not call them",
    severity: Severity::Warning,
    needs: &[need::SPANS],
    meaning: "Spans name as their parent a call to somebody else, or a span of another request, while the call that they \
              answer has no child. The tree shows calls that never were.",
    threshold: "5 such spans, and 2 in 100 of the spans of the same name meanwhile",
    causes: &[
        Cause {
            id: PASSED,
            what: "a context that is no longer current is forwarded",
            sign: "the parent is an earlier call of the same trace, also when one request runs at a time",
        },
        Cause {
            id: MIXED,
            what: "tasks that run side by side swap span ids",
            sign: "the parent is a call of the same trace that ran at the same time; what is done in sequence is right",
        },
        Cause {
            id: RACE,
            what: "requests race on one global current span",
            sign: "the parent is in another request's trace, more often the more requests there are",
        },
    ],
    remedy: "keep the current span with the task that it belongs to, and take it when the call is made",
    follows: &["trace/parent-inconsistent"],
};

pub(crate) struct ParentMisassigned;

impl Rule for ParentMisassigned {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let tracing = &evidence.tracing;
        let rows = &tracing.rows;
        let mut judgement = Judgement::default();
        let mut nearest = 0;
        let mut beside = by_caller(tracing, Aspect::UnderCallBeside);
        let mut earlier = by_caller(tracing, Aspect::UnderEarlierCall);
        // Calls that swap in a fan-out may also land on one that has just ended; which is more common tells.
        let mut callers: Vec<String> = beside.keys().chain(earlier.keys()).cloned().collect();
        callers.sort();
        callers.dedup();
        for caller in callers {
            let (side, side_callees) = beside.remove(&caller).unwrap_or_default();
            let (before, before_callees) = earlier.remove(&caller).unwrap_or_default();
            let mixed = side.odd * 3 >= before.odd;
            let mut all = side.clone();
            all.add(&before);
            nearest = nearest.max(all.odd);
            if all.odd < LEAST || all.share() < SOMETIMES || caller.is_empty() {
                continue;
            }
            let mut callees = side_callees;
            callees.extend(before_callees);
            callees.sort();
            callees.dedup();
            let (cause, which) = match mixed {
                true => (MIXED, "another call that ran at the same time"),
                false => (PASSED, "an earlier call"),
            };
            let text = format!(
                "{caller} passes on the context of {which}: {} server spans of {} are under it instead of their own.",
                all.odd,
                tell::list(&callees),
            );
            judgement
                .findings
                .push(finding(evidence, cause, text, &caller, "", &all).sure());
        }
        for (who, seen) in tracing.shape.with(Aspect::ParentElsewhere) {
            nearest = nearest.max(seen.odd);
            if seen.odd < LEAST || seen.share() < SOMETIMES {
                continue;
            }
            let peer = &rows.peers[who as usize];
            let text = format!(
                "{} takes its parents from other requests: {} of {} spans name a parent that is in another trace.",
                tell::who(rows, who),
                seen.odd,
                seen.odd + seen.usual,
            );
            judgement
                .findings
                .push(finding(evidence, RACE, text, &peer.service, &peer.instance, &seen).sure());
        }
        judgement.seen.push(format!(
            "{} calls were seen from both sides in one trace",
            tracing.edges.joined
        ));
        if judgement.findings.is_empty() {
            judgement.distance = Some(format!(
                "at most {nearest} spans of one sender under somebody else's call; {LEAST} make a finding"
            ));
        }
        judgement
    }
}

fn finding(
    evidence: &Evidence,
    cause: &'static str,
    text: String,
    service: &str,
    instance: &str,
    seen: &Seen,
) -> Finding {
    let rows = &evidence.tracing.rows;
    let (since, until) = tell::between(evidence, seen.first, seen.last);
    let mut finding = Finding::of(&ABOUT, cause, text)
        .about(service, instance, "caller")
        .between(since, until)
        .in_traces(tell::traces(rows, &seen.samples));
    for row in seen.samples.iter().take(2) {
        let place = *row as usize;
        let what = match rows.parent_of(place) {
            Some(parent) => format!(
                "{} of {} is under the call {} to somebody else",
                rows.names.get(rows.name[place]),
                rows.service(rows.who[place]),
                rows.names.get(rows.name[parent]),
            ),
            None => format!(
                "{} names parent {}, which is in another trace",
                rows.names.get(rows.name[place]),
                rows.parent_id(place),
            ),
        };
        finding = finding.seen(tell::span(rows, *row, what));
    }
    finding
}
