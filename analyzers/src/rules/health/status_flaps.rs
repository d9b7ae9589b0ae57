//! `health/status-flaps`: an instance's status goes back and forth between healthy and unhealthy.

use case::Nanos;
use case::time::human_duration;

use crate::engine::{About, Cause, Finding, Judgement, Rule, Seen, Severity};
use crate::evidence::roster::{Entry, State, is_good};
use crate::evidence::serving::{Looked, Service, Told};
use crate::evidence::vitals::Vital;
use crate::evidence::{Evidence, need};
use crate::reference::Reference;
use crate::rules::facts::{count, probes, sender};

const INCONSISTENT: &str = "health/flapping#endpoint-inconsistent";
const NETWORK: &str = "health/flapping#network-intermittent";
const CONTENTION: &str = "health/flapping#resource-contention";

/// Times it became unhealthy and healthy again.
const ROUNDS: usize = 2;

/// An answer to a look at health that takes so long was held up.
const SLOW_US: u32 = 300_000;

static ABOUT: About = About {
    id: "health/status-flaps",
    title: "An instance's status goes back and forth",
    severity: Severity::Error,
    needs: &[need::REGISTRY_EVENTS],
    meaning: "The instance is taken out and put back again and again. Callers see its share of the traffic come and go, \
              and its siblings are hit each time.",
    threshold: "2 rounds of unhealthy and healthy again",
    causes: &[
        Cause {
            id: INCONSISTENT,
            what: "the check's result varies by itself",
            sign: "every prober sees the mix, answers are quick, and load has nothing to do with it",
        },
        Cause {
            id: NETWORK,
            what: "probes get lost between the registry and the instance",
            sign: "failed probes never arrive, and another prober is fine",
        },
        Cause {
            id: CONTENTION,
            what: "the check slows down under load",
            sign: "its answers are slow exactly when the processor is busy, for every prober",
        },
    ],
    remedy: "want several failures in a row before a mark and several successes before its end",
    follows: &["registry/heartbeat-lost"],
};

pub(crate) struct StatusFlaps;

impl Rule for StatusFlaps {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let mut judgement = Judgement::default();
        let mut most = 0;
        for entry in &evidence.roster.entries {
            let rounds = rounds(evidence, entry);
            most = most.max(rounds.len());
            if rounds.len() >= ROUNDS {
                judgement.findings.push(finding(evidence, entry, &rounds));
            }
        }
        judgement.seen.push(format!(
            "{} of the registry",
            count(evidence.basis.registry.events.len(), "event")
        ));
        if judgement.findings.is_empty() {
            judgement.distance = Some(format!(
                "at most {most} rounds of one instance; {ROUNDS} make a finding"
            ));
        }
        judgement
    }
}

/// Each time it was marked for its health, and came back.
fn rounds<'a>(evidence: &Evidence, entry: &'a Entry) -> Vec<(&'a State, Nanos)> {
    let mut out = Vec::new();
    let mut open: Option<&State> = None;
    for state in entry
        .states
        .iter()
        .filter(|state| evidence.window().contains(state.at))
    {
        if state.status == "unhealthy" && !state.reason.contains("no heartbeat") {
            open.get_or_insert(state);
        } else if is_good(&state.status)
            && let Some(begun) = open.take()
        {
            out.push((begun, state.at));
        }
    }
    out
}

fn finding(evidence: &Evidence, entry: &Entry, rounds: &[(&State, Nanos)]) -> Finding {
    let (since, until) = (rounds[0].0.at, rounds[rounds.len() - 1].1);
    let from = Nanos(since.0.saturating_sub(evidence.roster.expiry()));
    let looked: Vec<&Looked> = evidence
        .serving
        .looked
        .iter()
        .filter(|looked| *looked.instance == *entry.id && looked.at >= from && looked.at <= until)
        .collect();
    let failed: Vec<&&Looked> = looked
        .iter()
        .filter(|looked| looked.status != 200)
        .collect();
    let unanswered = failed.iter().filter(|looked| looked.status == 0).count();
    let service = evidence
        .serving
        .instance(&entry.id)
        .map(|(_, service)| service);
    let arrived = failed
        .iter()
        .filter(|looked| told_to(service, looked).is_some())
        .count();
    let slow: Vec<Nanos> = service
        .map_or(&[][..], |service| &service.told)
        .iter()
        .filter(|told| told.start >= from && told.start <= until && told.took_us >= SLOW_US)
        .map(|told| told.start)
        .collect();
    let seen: Vec<bool> = probes(evidence, &entry.id, "ready")
        .filter(|probe| probe.at >= from && probe.at <= until)
        .map(|probe| probe.ok)
        .collect();
    let red = seen.iter().filter(|ok| !**ok).count();
    let (busy, peak) = cpu(evidence, entry, from, until);
    let traced = service.is_some_and(|service| !service.told.is_empty());
    let headline = |why: String| {
        format!(
            "{} ({}) became unhealthy and healthy again {} since {}: {why}.",
            entry.name(),
            entry.address(),
            crate::rules::facts::times(rounds.len()),
            &since.clock()[..8]
        )
    };
    let mostly_unanswered = !failed.is_empty() && unanswered * 2 > failed.len();
    let contended = !slow.is_empty() && (mostly_unanswered && arrived > 0 || busy);
    let mut found = if contended {
        let found = Finding::of(
            &ABOUT,
            CONTENTION,
            headline(format!(
                "its health is answered late, {} of more than {}",
                count(slow.len(), "time"),
                human_duration(u64::from(SLOW_US) * 1_000)
            )),
        );
        if busy {
            found.sure()
        } else {
            found.or(INCONSISTENT, "process.cpu.utilization of the instance")
        }
    } else if mostly_unanswered && arrived == 0 {
        let found = Finding::of(
            &ABOUT,
            NETWORK,
            headline(format!(
                "{} of the registry got no answer",
                count(unanswered, "probe")
            )),
        );
        if traced && red == 0 {
            found.sure().seen(Seen::note(
                "none of them has a span on the instance, which has spans of others",
            ))
        } else if busy {
            found.or(CONTENTION, "server spans of its health route")
        } else if seen.is_empty() {
            found.or(CONTENTION, "probes from another place")
        } else {
            found
        }
    } else {
        let found = Finding::of(
            &ABOUT,
            INCONSISTENT,
            headline("its check says yes and no in turn".to_owned()),
        );
        if traced || red > 0 {
            found.sure()
        } else {
            found.or(CONTENTION, "server spans of its health route")
        }
    };
    found = found
        .about(entry.name(), &entry.id, "flapping")
        .between(since, None);
    for (state, _) in rounds.iter().take(3) {
        let what = format!("the registry: {} {}", entry.id, state.reason);
        found = found.seen(match state.seq {
            Some(seq) => Seen::at(what, Reference::RegistryEvent { seq }),
            None => Seen::note(what),
        });
    }
    if let Some(look) = failed.first() {
        found = found.seen(Seen::trace(
            format!(
                "{} of {} by the registry failed, {unanswered} without an answer",
                count(failed.len(), "probe"),
                looked.len()
            ),
            look.trace_id,
        ));
    }
    if !seen.is_empty() {
        found = found.seen(Seen::note(format!(
            "{red} of {} by a detector failed",
            count(seen.len(), "probe")
        )));
    }
    if let Some(peak) = peak {
        found = found.seen(Seen::note(format!(
            "its processor was {:.0}% busy at most",
            peak * 100.0
        )));
    }
    found
}

fn told_to<'a>(service: Option<&'a Service>, looked: &Looked) -> Option<&'a Told> {
    service?
        .told
        .iter()
        .find(|told| told.parent == looked.span_id && told.trace_id == looked.trace_id)
}

/// Whether the processor was all but used up at some time, and by how much.
fn cpu(evidence: &Evidence, entry: &Entry, from: Nanos, until: Nanos) -> (bool, Option<f64>) {
    let Some(activity) = sender(evidence, entry) else {
        return (false, None);
    };
    let peak = evidence
        .vitals
        .of(&activity.who, Vital::Cpu)
        .flat_map(|(_, line)| line)
        .filter(|(at, _)| *at >= from && *at <= until)
        .map(|(_, used)| *used)
        .max_by(f64::total_cmp);
    (peak.is_some_and(|peak| peak >= 0.25), peak)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Scene, SpanOf, event, gauge, probe, span};

    const ID: &str = "search-h-1-a";

    fn changed(seconds: f64, reason: &str) -> case::signal::RegistryEvent {
        let mut event = event(seconds, "status_changed", "search", ID, "127.0.0.1:1");
        event.reason = Some(reason.into());
        event
    }

    fn scene(rounds: u32) -> Scene {
        let scene = Scene::new().event(event(0.0, "registered", "search", ID, "127.0.0.1:1"));
        (0..rounds).fold(scene, |scene, round| {
            let start = 50.0 + 50.0 * f64::from(round);
            scene
                .event(changed(start, "healthy to unhealthy: 3 probes failed"))
                .event(changed(
                    start + 20.0,
                    "unhealthy to healthy: a probe succeeded",
                ))
        })
    }

    fn look(seconds: f64) -> SpanOf {
        span("registry", "r", "GET {health_path}", seconds)
            .client()
            .ids(seconds as u64, seconds as u64, 0)
            .text("shop.instance.target", ID)
    }

    fn told(seconds: f64, status: i64, took: f64) -> SpanOf {
        span("search", ID, "GET /health/ready", seconds)
            .server()
            .ids(seconds as u64, 1000 + seconds as u64, seconds as u64)
            .text("http.route", "/health/ready")
            .int("http.response.status_code", status)
            .lasting(took)
    }

    #[test]
    fn the_three_causes_are_told_apart() {
        let mixed = scene(2)
            .spans(
                [50.0, 51.0, 52.0]
                    .map(|s| look(s).int("http.response.status_code", 503).error("503")),
            )
            .spans([50.0, 51.0, 52.0].map(|s| told(s, 503, 0.001)))
            .finding(&StatusFlaps);
        assert_eq!(mixed.cause_id, INCONSISTENT);
        let lost = scene(2)
            .spans([50.0, 51.0, 52.0].map(|s| look(s).error("timeout")))
            .span(told(60.0, 200, 0.001))
            .probe(probe(55.0, "search", ID, "127.0.0.1:1", "ready", None))
            .finding(&StatusFlaps);
        assert_eq!(lost.cause_id, NETWORK);
        let busy = scene(2)
            .spans([50.0, 51.0, 52.0].map(|s| look(s).error("timeout")))
            .spans([50.0, 51.0].map(|s| told(s, 200, 2.0)))
            .metric(gauge(
                "search",
                ID,
                51.0,
                "process.cpu.utilization",
                0.9,
                &[],
            ))
            .finding(&StatusFlaps);
        assert_eq!(busy.cause_id, CONTENTION);
    }

    #[test]
    fn one_round_and_lost_heartbeats_pass() {
        scene(1).passes(&StatusFlaps);
        let silent = |s: f64| changed(s, "suspect to unhealthy: no heartbeat for 45000 ms");
        Scene::new()
            .event(event(0.0, "registered", "search", ID, "127.0.0.1:1"))
            .events([
                silent(50.0),
                changed(60.0, "unhealthy to healthy"),
                silent(90.0),
                changed(99.0, "unhealthy to healthy"),
            ])
            .passes(&StatusFlaps);
        assert!(!Scene::new().cannot_tell(&StatusFlaps).is_empty());
    }
}
