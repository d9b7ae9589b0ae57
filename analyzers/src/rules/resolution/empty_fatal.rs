//! `resolve/empty-fatal`: one empty lookup fails a request although an instance is there a moment later.

use std::collections::BTreeMap;

use case::TraceId;
use case::time::human_duration;

use crate::engine::{About, Cause, Finding, Judgement, Rule, Seen, Severity};
use crate::evidence::registry_calls::Asked;
use crate::evidence::{Evidence, need};
use crate::rules::facts::{between, count};
use crate::rules::registry::lookup_name_misses_row::LOOKUPS;
use crate::rules::registry::lookups::is_empty;

const ONCE: &str = "resolution/empty-answer-not-retried#no-retry-on-empty";
const SHORT: &str = "resolution/empty-answer-not-retried#retry-too-short";

/// A caller should wait so long for an instance that starts again.
const MOMENT: u64 = 3_000_000_000;

/// Requests of one caller that gave up.
const REQUESTS: usize = 2;

static ABOUT: About = About {
    id: "resolve/empty-fatal",
    title: "Requests fail on an empty lookup although an instance is there a moment later",
    severity: Severity::Error,
    needs: &[need::REGISTRY_EVENTS, LOOKUPS],
    meaning: "While an instance starts again its service has no row for a second or two. A caller that takes the first \
              empty answer as final fails every request in that time; one that asks again for as long does not.",
    threshold: "2 requests of one caller whose lookups of a service were all empty, and an instance registered within 3 s \
                of the first of them and after the last",
    causes: &[
        Cause {
            id: ONCE,
            what: "the caller treats the first empty answer as final",
            sign: "one lookup for each request",
        },
        Cause {
            id: SHORT,
            what: "its retries end before the instance appears",
            sign: "several lookups for each request, all too early",
        },
    ],
    remedy: "ask again on an empty answer with growing pauses, for as long as an instance takes to start",
    // An orchestrator that died is not listed until it is back: one restart, and what recovery made of it weighs more.
    follows: &[
        "saga/unfinished-after-restart",
        "saga/recovery-ledger-mismatch",
        "saga/recovery-decision-wrong",
        "saga/step-repeated-after-recovery",
    ],
};

pub(crate) struct EmptyFatal;

impl Rule for EmptyFatal {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let mut judgement = Judgement::default();
        // Lookups of each request, by caller and name.
        let mut requests: BTreeMap<(&str, &str, TraceId), Vec<&Asked>> = BTreeMap::new();
        for asked in evidence.registry_calls.lookups() {
            if !asked.background {
                requests
                    .entry((&asked.who.service, &asked.name, asked.trace_id))
                    .or_default()
                    .push(asked);
            }
        }
        let mut given_up: BTreeMap<(&str, &str), Vec<Vec<&Asked>>> = BTreeMap::new();
        let mut empty = 0;
        for ((caller, name, _), asked) in requests {
            if !asked.iter().all(|asked| is_empty(asked)) {
                continue;
            }
            empty += 1;
            let (first, last) = (asked[0], asked[asked.len() - 1]);
            let came = evidence.roster.entries.iter().any(|entry| {
                entry.records.iter().any(|record| {
                    record.name == name
                        && record.at > last.at
                        && between(first.at, record.at) <= MOMENT
                })
            });
            if came {
                given_up.entry((caller, name)).or_default().push(asked);
            }
        }
        let mut nearest = 0;
        for ((caller, name), requests) in &given_up {
            nearest = nearest.max(requests.len());
            if requests.len() < REQUESTS {
                continue;
            }
            let most = requests.iter().map(Vec::len).max().unwrap_or(1);
            let cause = if most == 1 { ONCE } else { SHORT };
            let first = requests
                .iter()
                .filter_map(|asked| asked.first())
                .min_by_key(|asked| asked.at);
            let Some(first) = first else { continue };
            let longest = requests
                .iter()
                .map(|asked| between(asked[0].at, asked[asked.len() - 1].end))
                .max()
                .unwrap_or(0);
            let how = if cause == ONCE {
                "it asked once for each".to_owned()
            } else {
                format!(
                    "it asked up to {most} times, within {}",
                    human_duration(longest)
                )
            };
            let mut found = Finding::of(
                &ABOUT,
                cause,
                format!(
                    "{} of {caller} failed because nobody was listed for {name}, seconds before somebody was: {how}.",
                    count(requests.len(), "request")
                ),
            )
            .about(caller, &first.who.instance, "impatient")
            .about(name, "", "missed")
            .between(first.at, None)
            .sure()
            .seen(Seen::trace("the first of them", first.trace_id))
            .in_traces(requests.iter().map(|asked| asked[0].trace_id));
            let back = evidence
                .roster
                .entries
                .iter()
                .flat_map(|entry| &entry.records)
                .filter(|record| record.name == *name && record.at > first.at);
            if let Some(record) = back.min_by_key(|record| record.at) {
                found = found.seen(Seen::note(format!(
                    "registered again {} after the first empty answer",
                    human_duration(between(first.at, record.at))
                )));
            }
            judgement.findings.push(found);
        }
        judgement.seen.push(format!(
            "{} whose lookups were all empty",
            count(empty, "request")
        ));
        if judgement.findings.is_empty() {
            judgement.distance = Some(format!(
                "{} gave up on a service that was there within {}; {REQUESTS} of one caller make a finding",
                count(nearest, "request"),
                human_duration(MOMENT)
            ));
        }
        judgement
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Scene, SpanOf, event, span};

    fn lookup(trace: u64, seconds: f64, found: i64) -> SpanOf {
        span("gateway", "g", "GET /services/{name}", seconds)
            .client()
            .ids(trace, (seconds * 1000.0) as u64, 7)
            .text("http.request.method", "GET")
            .text("url.template", "/services/{name}")
            .text("url.full", "http://127.0.0.1:8081/services/users")
            .int("http.response.status_code", 200)
            .int("shop.registry.instances", found)
    }

    fn scene(back: f64) -> Scene {
        Scene::new()
            .event(event(
                0.0,
                "registered",
                "users",
                "users-h-1-a",
                "127.0.0.1:1",
            ))
            .event(event(
                9.0,
                "deregistered",
                "users",
                "users-h-1-a",
                "127.0.0.1:1",
            ))
            .event(event(
                back,
                "registered",
                "users",
                "users-h-1-b",
                "127.0.0.1:1",
            ))
    }

    #[test]
    fn one_lookup_is_told_from_several_too_early() {
        let once = scene(12.0)
            .spans([lookup(1, 10.0, 0), lookup(2, 10.5, 0)])
            .finding(&EmptyFatal);
        assert_eq!(once.cause_id, ONCE);
        let hasty = [
            lookup(1, 10.0, 0),
            lookup(1, 10.02, 0),
            lookup(1, 10.04, 0),
            lookup(2, 10.5, 0),
            lookup(2, 10.52, 0),
        ];
        assert_eq!(
            scene(12.0).spans(hasty).finding(&EmptyFatal).cause_id,
            SHORT
        );
    }

    #[test]
    fn passes_when_it_found_somebody_or_nobody_came_in_time() {
        scene(12.0).span(lookup(1, 10.0, 0)).passes(&EmptyFatal);
        scene(12.0)
            .spans([
                lookup(1, 10.0, 0),
                lookup(1, 12.5, 1),
                lookup(2, 10.5, 0),
                lookup(2, 12.6, 1),
            ])
            .passes(&EmptyFatal);
        scene(13.0)
            .spans([lookup(1, 10.0, 0), lookup(2, 10.0, 0)])
            .finding(&EmptyFatal);
        scene(13.1)
            .spans([lookup(1, 10.0, 0), lookup(2, 10.0, 0)])
            .passes(&EmptyFatal);
        // A cache that refreshes itself fails no request.
        let refresh = |trace, seconds| lookup(trace, seconds, 0).ids(trace, trace, 0);
        scene(12.0)
            .spans([refresh(1, 10.0), refresh(2, 10.5)])
            .passes(&EmptyFatal);
        assert!(!scene(12.0).cannot_tell(&EmptyFatal).is_empty());
    }
}
