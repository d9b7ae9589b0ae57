//! `registry/never-registered`: an instance runs, and no registry ever heard of it.

use case::Nanos;
use case::time::human_duration;

use crate::engine::{About, Cause, Finding, Judgement, Rule, Seen, Severity};
use crate::evidence::registry_calls::{Asked, Op};
use crate::evidence::{Evidence, Who, need};
use crate::reference::Reference;
use crate::rules::facts::{between, count, heard_of};

const UNREACHABLE: &str = "registration/no-traffic-after-start#registry-unreachable";
const REJECTED: &str = "registration/no-traffic-after-start#credentials-rejected";
const MALFORMED: &str = "registration/no-traffic-after-start#malformed-data";
const NEVER: &str = "registration/no-traffic-after-start#never-attempted";

/// An instance may take so long from its first sign of life to its registration, at least.
const START: u64 = 5_000_000_000;

static ABOUT: About = About {
    id: "registry/never-registered",
    title: "An instance runs and is in no registry",
    severity: Severity::Error,
    needs: &[need::REGISTRY],
    meaning: "The instance sends telemetry, so its process lives, but no registry ever listed it while others of the \
              same kind are registered. Callers that look its service up can't find it: it serves nobody.",
    threshold: "heard for longer than two heartbeat intervals and 5 s, its service known to the registry, and neither \
                listed nor registered under any id meanwhile",
    causes: &[
        Cause {
            id: UNREACHABLE,
            what: "its call to register does not arrive",
            sign: "every attempt fails on the way, and the registry has no span of them",
        },
        Cause {
            id: REJECTED,
            what: "the registry refuses its credentials",
            sign: "the registry answers 401 or 403",
        },
        Cause {
            id: MALFORMED,
            what: "the registry refuses the record it sends",
            sign: "the registry answers 400 or 422 and names a field",
        },
        Cause {
            id: NEVER,
            what: "it never tries to register",
            sign: "no call to register leaves the process",
        },
    ],
    remedy: "register at the end of the start, go on trying with growing pauses, and fail loudly when it is refused",
    follows: &[],
};

pub(crate) struct NeverRegistered;

impl Rule for NeverRegistered {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let mut judgement = Judgement::default();
        let limit = START.max(2 * evidence.roster.beat());
        let mut looked = 0;
        let mut longest = 0;
        for activity in &evidence.instances.all {
            let who = &activity.who;
            if who.instance.is_empty() || !evidence.roster.knows(&who.service) {
                continue;
            }
            looked += 1;
            if evidence.roster.id(&who.instance).next().is_some() {
                continue;
            }
            let attempts: Vec<&Asked> = evidence.registry_calls.of(who, Op::Register).collect();
            // Under another id it may well be listed.
            if attempts.iter().any(|asked| asked.went_well())
                || evidence.registry_calls.beats.contains_key(who)
            {
                continue;
            }
            let (first, last) = heard_of(evidence, activity);
            let alive = between(first, last);
            longest = longest.max(alive);
            if alive > limit && registry_heard_after(evidence, first, limit) {
                judgement
                    .findings
                    .push(finding(evidence, who, &attempts, (first, last)));
            }
        }
        judgement.seen.push(format!(
            "{looked} instances heard whose service the registry knows; {} ids in the registry",
            evidence.roster.entries.len()
        ));
        if judgement.findings.is_empty() {
            judgement.distance = Some(format!(
                "longest heard without being listed: {}; more than {} make a finding",
                human_duration(longest),
                human_duration(limit)
            ));
        }
        judgement
    }
}

/// Whether the registry was looked at when the instance should have been in it.
fn registry_heard_after(evidence: &Evidence, first: Nanos, limit: u64) -> bool {
    let due = first.saturating_add(limit);
    let events = evidence.basis.registry.events.last().map(|event| event.at);
    let snapshots = evidence.roster.snapshots.map(|(_, last)| last);
    events.max(snapshots).is_some_and(|last| last >= due)
}

fn finding(
    evidence: &Evidence,
    who: &Who,
    attempts: &[&Asked],
    (first, last): (Nanos, Nanos),
) -> Finding {
    let denied = attempts
        .iter()
        .find(|asked| matches!(asked.status, 401 | 403));
    let refused = attempts.iter().find(|asked| asked.refused());
    let lost = attempts.iter().filter(|asked| asked.unanswered()).count();
    let of = |cause, what: String| {
        Finding::of(
            &ABOUT,
            cause,
            format!(
                "{} ({}) runs since {} and is in no registry: {what}",
                who.service,
                who.instance,
                &first.clock()[..8]
            ),
        )
        .about(&who.service, &who.instance, "unregistered")
        .between(first, None)
    };
    let calls = &evidence.registry_calls;
    let mut found = if let Some(asked) = denied {
        of(REJECTED, "its registration was denied.".to_owned())
            .sure()
            .seen(Seen::trace(
                format!("POST /register answered {}", asked.status),
                asked.trace_id,
            ))
    } else if let Some(asked) = refused {
        of(MALFORMED, "its registration was refused.".to_owned())
            .sure()
            .seen(Seen::trace(
                format!("POST /register answered {}", asked.status),
                asked.trace_id,
            ))
    } else if lost > 0 {
        let arrived = attempts
            .iter()
            .filter(|asked| calls.answer_to(asked).is_some())
            .count();
        let found = of(
            UNREACHABLE,
            format!("{} to register failed on the way.", count(lost, "attempt")),
        )
        .seen(Seen::trace(
            format!("POST /register failed: {}", attempts[0].error),
            attempts[0].trace_id,
        ));
        if !calls.registry_is_traced() {
            found.or(REJECTED, "server spans of the registry")
        } else if arrived == 0 {
            found
                .sure()
                .seen(Seen::note("the registry has no span of any attempt"))
        } else {
            found.seen(Seen::note(format!("{arrived} of them arrived")))
        }
    } else {
        let found = of(NEVER, "it never called POST /register.".to_owned());
        let traced = evidence
            .registry_calls
            .asked
            .iter()
            .any(|asked| asked.op == Op::Register);
        let from_birth = between(evidence.window().from, first) > 0;
        if traced && from_birth {
            found.sure()
        } else {
            found.or(UNREACHABLE, "client spans of its start")
        }
    };
    for notice in evidence.notices.of("registry.refused") {
        if notice.instance == who.instance {
            found = found.seen(Seen::note(format!(
                "the registry's log: {}",
                notice.details
            )));
            break;
        }
    }
    found
        .seen(Seen::at(
            format!(
                "it sent telemetry from {} to {}",
                &first.clock()[..8],
                &last.clock()[..8]
            ),
            Reference::Logs {
                window: Reference::span_of_time(first, last),
                service: Some(who.service.to_string()),
                filter: None,
            },
        ))
        .seen(Seen::note(format!(
            "no event and no snapshot of the registry names {}",
            who.instance
        )))
        .in_traces(attempts.iter().map(|asked| asked.trace_id))
}

#[cfg(test)]
mod tests;
