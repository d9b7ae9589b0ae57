//! `resolve/no-healthy-instance`: every row of a service is of no use to lookups.

use std::collections::BTreeSet;

use case::Nanos;
use case::time::human_duration;

use crate::engine::{About, Cause, Finding, Judgement, Rule, Seen, Severity};
use crate::evidence::registry_calls::Op;
use crate::evidence::roster::Entry;
use crate::evidence::{Evidence, need};
use crate::reference::Reference;
use crate::rules::facts::{between, count, failures, probes, running};

const STALE: &str = "resolution/no-healthy-instances#stale-unhealthy-entries";
const SLOW: &str = "resolution/no-healthy-instances#cleanup-too-slow";
const BROKEN: &str = "resolution/no-healthy-instances#health-endpoint-broken";

static ABOUT: About = About {
    id: "resolve/no-healthy-instance",
    title: "A service has rows in the registry and none that is handed out",
    severity: Severity::Error,
    needs: &[need::REGISTRY],
    meaning: "Callers look the service up and are told that nobody serves it. Its rows are those of the dead, or of \
              living instances that the registry takes for ill.",
    threshold: "all rows of a service unhealthy for longer than twice the time after which the registry expires an \
                instance, or for longer than once while they serve requests or answer probes",
    causes: &[
        Cause {
            id: STALE,
            what: "its rows belong to instances that are gone, and nobody removes them",
            sign: "nothing answers at the listed addresses, and no removal came",
        },
        Cause {
            id: SLOW,
            what: "rows of dead instances are removed, but late, and block new ones meanwhile",
            sign: "the removal comes, minutes after the last heartbeat; registrations of the same id were refused until \
                   then",
        },
        Cause {
            id: BROKEN,
            what: "the instances serve, and only their health endpoint fails",
            sign: "heartbeats are fresh and requests succeed",
        },
    ],
    remedy: "remove rows soon after their time limit, let a new registration replace a silent one, and test the health \
             endpoint with the service",
    follows: &[
        "registry/heartbeat-lost",
        "registry/field-health-path-wrong",
        "health/false-unhealthy",
    ],
};

pub(crate) struct NoHealthyInstance;

impl Rule for NoHealthyInstance {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let mut judgement = Judgement::default();
        let limit = evidence.roster.expiry();
        let names: BTreeSet<&str> = evidence.roster.entries.iter().map(Entry::name).collect();
        let mut longest = 0;
        for name in &names {
            let entries: Vec<&Entry> = evidence.roster.named(name).collect();
            let Some((since, until)) = dark(evidence, &entries) else {
                continue;
            };
            let lasted = between(since, until);
            longest = longest.max(lasted);
            let fresh = alive(evidence, &entries, (since, until));
            if lasted > 2 * limit || lasted > limit && fresh {
                judgement
                    .findings
                    .extend(finding(evidence, name, &entries, (since, until), fresh));
            }
        }
        judgement
            .seen
            .push(format!("{} in the registry", count(names.len(), "name")));
        if judgement.findings.is_empty() {
            judgement.distance = Some(format!(
                "longest time without a good row of a listed service: {}; {} make a finding",
                human_duration(longest),
                human_duration(2 * limit)
            ));
        }
        judgement
    }
}

/// The longest time in which rows of a service were listed as unhealthy and none was good.
fn dark(evidence: &Evidence, entries: &[&Entry]) -> Option<(Nanos, Nanos)> {
    let end = evidence.window().until;
    let mut moments: BTreeSet<Nanos> = entries
        .iter()
        .flat_map(|entry| entry.states.iter().map(|state| state.at))
        .filter(|at| *at < end)
        .collect();
    moments.insert(evidence.window().from);
    moments.insert(end);
    let moments: Vec<Nanos> = moments.into_iter().collect();
    let mut best: Option<(Nanos, Nanos)> = None;
    let mut open: Option<Nanos> = None;
    for pair in moments.windows(2) {
        let at = pair[0];
        let good = entries.iter().any(|entry| entry.is_good_at(at));
        let ill = entries.iter().any(|entry| {
            entry
                .status_at(at)
                .is_some_and(|state| state.status == "unhealthy")
        });
        if good || !ill {
            open = None;
            continue;
        }
        let since = *open.get_or_insert(at);
        if best.is_none_or(|(from, until)| between(since, pair[1]) > between(from, until)) {
            best = Some((since, pair[1]));
        }
    }
    best
}

/// Whether any of the listed ones shows life after a moment: heartbeats, requests served well, probes that connect.
fn alive(evidence: &Evidence, entries: &[&Entry], (since, until): (Nanos, Nanos)) -> bool {
    entries.iter().any(|entry| {
        let connects: Vec<bool> = probes(evidence, &entry.id, "connect")
            .filter(|probe| probe.at >= since && probe.at < until)
            .map(|probe| probe.ok)
            .collect();
        let beats = evidence.registry_calls.beats.iter().any(|(who, beats)| {
            *who.instance == *entry.id && beats.iter().any(|at| *at >= since && *at < until)
        });
        beats || connects.iter().any(|ok| *ok)
    })
}

fn finding(
    evidence: &Evidence,
    name: &str,
    entries: &[&Entry],
    (since, until): (Nanos, Nanos),
    fresh: bool,
) -> Option<Finding> {
    let end = evidence.window().until;
    let still = until >= end;
    let ill: Vec<&&Entry> = entries
        .iter()
        .filter(|entry| {
            entry
                .status_at(since)
                .is_some_and(|state| state.status == "unhealthy")
        })
        .collect();
    let removed = ill.iter().find_map(|entry| {
        let state = entry
            .states
            .iter()
            .find(|state| state.at >= until && state.status == "removed")?;
        Some((entry, state))
    });
    let refused: Vec<_> = evidence
        .registry_calls
        .asked
        .iter()
        .filter(|asked| {
            asked.op == Op::Register && asked.status == 409 && *asked.who.service == *name
        })
        .collect();
    let headline = |what: &str| {
        format!(
            "no instance of {name} is handed out since {}: {what}.",
            &since.clock()[..8]
        )
    };
    let mut found = if fresh && refused.is_empty() {
        // Served well before the mark, and nothing but probes spoke against it.
        let probed = ill.iter().any(|entry| {
            entry
                .status_at(since)
                .is_some_and(|state| state.reason.contains("probe"))
                || probes(evidence, &entry.id, "ready").any(|probe| probe.at >= since && !probe.ok)
        });
        let margin = Nanos(since.0.saturating_sub(evidence.roster.expiry()));
        let (failed, all) = running(evidence, name).fold((0, 0), |(failed, all), (who, _, _)| {
            let served = evidence
                .serving
                .of(who)
                .map_or(&[][..], |service| service.between(margin, end));
            let (f, a) = failures(served);
            (failed + f, all + a)
        });
        let flaps = ill
            .iter()
            .any(|entry| entry.periods(end, |status| status == "unhealthy").len() > 1);
        if !probed || failed * 2 > all || flaps && !still {
            return None;
        }
        let found = Finding::of(
            &ABOUT,
            BROKEN,
            headline("its instances live, and their health endpoint fails"),
        )
        .seen(Seen::note(format!(
            "{} served around that time, {failed} of them failed",
            count(all, "request")
        )));
        if all > 0 {
            found.sure()
        } else {
            found.or(STALE, "server spans of the instances")
        }
    } else if !refused.is_empty() || removed.is_some() && !still {
        let mut found = Finding::of(
            &ABOUT,
            SLOW,
            headline("rows of dead instances stay for too long, and block new ones"),
        )
        .sure();
        if let Some(asked) = refused.first() {
            found = found.seen(Seen::trace(
                format!(
                    "{} to register answered 409: its id is still listed",
                    count(refused.len(), "attempt")
                ),
                asked.trace_id,
            ));
        }
        if let Some((entry, state)) = removed {
            found = found.seen(Seen::note(format!(
                "{} was removed at {} ({})",
                entry.id,
                &state.at.clock()[..8],
                state.reason
            )));
        }
        found
    } else {
        let found = Finding::of(
            &ABOUT,
            STALE,
            headline("its rows are those of instances that are gone"),
        );
        let dark = ill.iter().all(|entry| {
            let mut looked = probes(evidence, &entry.id, "connect")
                .filter(|probe| probe.at >= since)
                .peekable();
            looked.peek().is_some() && looked.all(|probe| !probe.ok)
        });
        if dark {
            found
                .sure()
                .seen(Seen::note("nothing answers at any of their addresses"))
        } else {
            found.or(SLOW, "probes of the listed addresses")
        }
    };
    for entry in &ill {
        found = found.about(name, &entry.id, "unusable");
        if let Some(state) = entry.status_at(since) {
            let what = format!(
                "the registry: {} {} ({})",
                entry.id, state.status, state.reason
            );
            found = found.seen(match state.seq {
                Some(seq) => Seen::at(what, Reference::RegistryEvent { seq }),
                None => Seen::note(what),
            });
        }
    }
    Some(found.between(since, (!still).then_some(until)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Certainty;
    use crate::testing::{Scene, SpanOf, event, probe, span};

    const ID: &str = "search-h-1-a";
    const ADDRESS: &str = "127.0.0.1:1";

    fn ill(seconds: f64, why: &str) -> case::signal::RegistryEvent {
        let mut event = event(seconds, "status_changed", "search", ID, ADDRESS);
        event.reason = Some(format!("healthy to unhealthy: {why}"));
        event
    }

    fn scene(why: &str, until: f64) -> Scene {
        Scene::new()
            .event(event(0.0, "registered", "search", ID, ADDRESS))
            .event(ill(100.0, why))
            .until(until)
    }

    fn refusing(scene: Scene) -> Scene {
        [110.0, 150.0, 190.0].into_iter().fold(scene, |scene, s| {
            scene.probe(probe(s, "search", ID, ADDRESS, "connect", Some("refused")))
        })
    }

    #[test]
    fn rows_of_the_dead_are_told_from_a_late_removal() {
        let stale = refusing(scene("no heartbeat for 45000 ms", 200.0)).finding(&NoHealthyInstance);
        assert_eq!((stale.cause_id, stale.certainty), (STALE, Certainty::Sure));
        let blind = scene("no heartbeat for 45000 ms", 200.0).finding(&NoHealthyInstance);
        assert_eq!(blind.alternatives[0].cause_id, SLOW);
        let slow = refusing(scene("no heartbeat for 45000 ms", 900.0))
            .event(event(700.0, "removed", "search", ID, ADDRESS))
            .finding(&NoHealthyInstance);
        assert_eq!(slow.cause_id, SLOW);
        let refused: SpanOf = span("search", "search-h-2-b", "POST /register", 120.0)
            .client()
            .text("http.request.method", "POST")
            .text("url.template", "/register")
            .int("http.response.status_code", 409)
            .error("409");
        let slow = refusing(scene("no heartbeat", 200.0))
            .span(refused)
            .finding(&NoHealthyInstance);
        assert_eq!(slow.cause_id, SLOW);
    }

    #[test]
    fn instances_that_live_have_a_broken_health_endpoint() {
        let served =
            (0..10).map(|n| span("search", ID, "GET /search", 90.0 + f64::from(n)).server());
        let found = scene("3 probes failed, the last one answered 500", 150.0)
            .spans(served)
            .probe(probe(110.0, "search", ID, ADDRESS, "connect", None))
            .finding(&NoHealthyInstance);
        assert_eq!((found.cause_id, found.certainty), (BROKEN, Certainty::Sure));
    }

    #[test]
    fn passes_within_the_limit_and_while_one_is_good() {
        // Expiry is 45 s where the registry states none: twice that is 90 s.
        refusing(scene("no heartbeat", 190.0)).passes(&NoHealthyInstance);
        refusing(scene("no heartbeat", 190.5)).finding(&NoHealthyInstance);
        refusing(scene("no heartbeat", 900.0))
            .event(event(
                0.0,
                "registered",
                "search",
                "search-h-2-b",
                "127.0.0.1:2",
            ))
            .passes(&NoHealthyInstance);
        assert!(!Scene::new().cannot_tell(&NoHealthyInstance).is_empty());
    }
}
