//! `health/dead-still-routed`: a broken instance keeps getting requests.

use case::Nanos;
use case::time::human_duration;

use crate::engine::{About, Cause, Finding, Judgement, Rule, Seen, Severity};
use crate::evidence::roster::Entry;
use crate::evidence::{Evidence, need};
use crate::reference::Reference;
use crate::rules::facts::{between, count, failures, probes, running};
use crate::rules::resolution::unhealthy_selected::marked;

const ALWAYS_OK: &str = "health/failed-still-served#endpoint-always-ok";
const SLOW: &str = "health/failed-still-served#registry-slow";
const CACHE: &str = "health/failed-still-served#client-cache-stale";

/// Requests of the broken instance that failed, and the least share of them in percent.
const FAILED: usize = 8;
const FAILED_PCT: usize = 90;

/// Calls of one caller to a marked instance beyond the time in which caches should learn of it.
const CALLS: usize = 5;

static ABOUT: About = About {
    id: "health/dead-still-routed",
    title: "A broken instance keeps getting requests",
    severity: Severity::Error,
    needs: &[need::REGISTRY_EVENTS, need::SPANS],
    meaning: "Every request to this instance fails while its siblings serve, and it is still called: its health page does \
              not say so, the registry is slow to believe it, or a caller holds on to an old answer.",
    threshold: "8 failed requests of one instance, 90% of its last ones, while a sibling serves well, and a readiness that \
                passes all along or a mark that comes later than the registry's time limit; or 5 calls of one caller \
                to a marked instance, longer after the mark than that limit, without a lookup in between",
    causes: &[
        Cause {
            id: ALWAYS_OK,
            what: "its health endpoint does not fail",
            sign: "probes stay green while its requests fail",
        },
        Cause {
            id: SLOW,
            what: "the registry acts late on failing probes",
            sign: "probes are red from the start, the mark comes late, and the traffic ends with it",
        },
        Cause {
            id: CACHE,
            what: "a caller keeps the address after it was marked",
            sign: "the mark is prompt, and the traffic of one caller outlives it",
        },
    ],
    remedy: "let the health page fail when requests do, believe three failures within a minute, and let caches expire",
    follows: &[],
};

pub(crate) struct DeadStillRouted;

impl Rule for DeadStillRouted {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let mut judgement = Judgement::default();
        let mut nearest = 0;
        for entry in &evidence.roster.entries {
            let Some((since, failed)) = breaking(evidence, entry) else {
                continue;
            };
            nearest = nearest.max(failed);
            if failed >= FAILED {
                judgement
                    .findings
                    .extend(broken(evidence, entry, since, failed));
            }
        }
        cached(evidence, &mut judgement);
        judgement.seen.push(format!(
            "requests of {}",
            count(evidence.serving.by.len(), "instance")
        ));
        if judgement.findings.is_empty() {
            judgement.distance = Some(format!(
                "at most {nearest} failed requests of one instance at its end; {FAILED} make a finding while a sibling serves"
            ));
        }
        judgement
    }
}

/// Since when nearly all requests of an instance fail, and how many, up to its last one or its removal.
fn breaking(evidence: &Evidence, entry: &Entry) -> Option<(Nanos, usize)> {
    let (_, service) = evidence.serving.instance(&entry.id)?;
    let mut failed = 0;
    let mut all = 0;
    let mut best = None;
    for served in service.served.iter().rev() {
        all += 1;
        failed += usize::from(served.failed);
        if failed * 100 >= all * FAILED_PCT && served.failed {
            best = Some((served.start, failed));
        }
        if all > failed * 2 + 20 {
            break;
        }
    }
    best
}

fn broken(evidence: &Evidence, entry: &Entry, since: Nanos, failed: usize) -> Option<Finding> {
    let name = entry.name();
    let end = evidence.window().until;
    // A sibling that serves: else it is the service that fails, or what it needs.
    let sibling = running(evidence, name)
        .filter(|(who, _, _)| *who.instance != *entry.id)
        .filter_map(|(who, _, _)| evidence.serving.of(who))
        .any(|service| {
            let (failed, all) = failures(service.between(since, end));
            all >= 3 && failed * 2 < all
        });
    if !sibling {
        return None;
    }
    let ready: Vec<bool> = probes(evidence, &entry.id, "ready")
        .filter(|probe| probe.at >= since)
        .map(|probe| probe.ok)
        .collect();
    let red = probes(evidence, &entry.id, "ready").find(|probe| probe.at >= since && !probe.ok);
    let mark = entry
        .states
        .iter()
        .find(|state| state.at >= since && !crate::evidence::roster::is_good(&state.status));
    let limit = evidence.roster.expiry();
    let trace = evidence
        .serving
        .instance(&entry.id)
        .and_then(|(_, service)| service.failing);
    let of = |cause, why: String| {
        let mut found = Finding::of(
            &ABOUT,
            cause,
            format!(
                "{name} ({}) fails every request since {} and is still called: {why}.",
                entry.address(),
                &since.clock()[..8]
            ),
        )
        .about(name, &entry.id, "broken")
        .between(since, None)
        .seen(Seen::at(
            format!("{} of it failed", count(failed, "request")),
            Reference::Traces {
                window: Reference::span_of_time(since, end),
                service: Some(name.to_owned()),
                to: Some(entry.address().to_owned()),
                errors: true,
            },
        ));
        if let Some((_, trace)) = trace {
            found = found
                .seen(Seen::trace("one of them", trace))
                .in_traces([trace]);
        }
        found.seen(Seen::note("a sibling serves well meanwhile"))
    };
    match (red, mark) {
        (None, None) if !ready.is_empty() => Some(
            of(ALWAYS_OK, "its readiness answers 200 all along".to_owned())
                .sure()
                .seen(Seen::note(format!(
                    "{} of its readiness, all green",
                    count(ready.len(), "probe")
                ))),
        ),
        (None, None) => Some(
            of(ALWAYS_OK, "the registry has nothing against it".to_owned())
                .or(SLOW, "probes of its readiness"),
        ),
        (Some(red), mark) => {
            let until = mark.map_or(end, |state| state.at);
            let late = between(red.at, until);
            if late < limit {
                return None;
            }
            let found = of(
                SLOW,
                match mark {
                    Some(_) => format!("the registry took {} to mark it", human_duration(late)),
                    None => format!(
                        "its readiness fails for {}, and the registry has not marked it",
                        human_duration(late)
                    ),
                },
            )
            .sure()
            .seen(Seen::note(format!(
                "its readiness was first seen failing at {}: {}",
                &red.at.clock()[..8],
                red.error.as_deref().unwrap_or("")
            )));
            Some(match mark.and_then(|state| Some((state, state.seq?))) {
                Some((state, seq)) => found.seen(Seen::at(
                    format!("the registry: {} {}", entry.id, state.reason),
                    Reference::RegistryEvent { seq },
                )),
                None => found,
            })
        }
        (None, Some(_)) => None,
    }
}

/// Callers that use a marked instance for longer than any cache should.
fn cached(evidence: &Evidence, judgement: &mut Judgement) {
    let limit = evidence.roster.expiry();
    for marked in marked(evidence) {
        let name = marked.entry.name();
        let learnt = marked.state.at.saturating_add(limit);
        for (place, row) in &marked.callers {
            let late: Vec<Nanos> = row
                .calls
                .iter()
                .copied()
                .filter(|at| *at >= learnt)
                .collect();
            if late.len() < CALLS || row.asked.is_some() {
                continue;
            }
            let who = evidence.traffic.caller(*place);
            let last = late.last().copied().unwrap_or(learnt);
            let traced = evidence.registry_calls.lookups().next().is_some();
            let mut found = Finding::of(
                &ABOUT,
                CACHE,
                format!(
                    "{} calls {name} at {} {} after it was marked unhealthy, without having asked the registry since.",
                    who.name(),
                    marked.entry.address(),
                    human_duration(between(marked.state.at, last)),
                ),
            )
            .about(&who.service, &who.instance, "caller")
            .about(name, &marked.entry.id, "broken")
            .between(marked.state.at, None)
            .seen(Seen::at(
                format!("{} beyond {}", count(late.len(), "call"), human_duration(limit)),
                Reference::Traces {
                    window: Reference::span_of_time(late[0], last),
                    service: Some(who.service.to_string()),
                    to: Some(marked.entry.address().to_owned()),
                    errors: false,
                },
            ));
            if let Some(seq) = marked.state.seq {
                found = found.seen(Seen::at(
                    format!("the registry: {} {}", marked.entry.id, marked.state.reason),
                    Reference::RegistryEvent { seq },
                ));
            }
            let others = marked
                .callers
                .iter()
                .filter(|(other, row)| *other != place && row.calls.iter().all(|at| *at < learnt))
                .count();
            if others > 0 {
                found = found.seen(Seen::note(format!(
                    "{} stopped in time",
                    count(others, "other caller")
                )));
            }
            judgement.findings.push(if traced {
                found.sure()
            } else {
                found.or(
                    "health/failed-still-served#registry-slow",
                    "client spans of registry lookups",
                )
            });
        }
    }
}

#[cfg(test)]
mod tests;
