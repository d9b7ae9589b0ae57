//! `registry/field-health-path-wrong`: the record says the wrong place to ask for health, so a sound instance is marked.

use case::Nanos;

use crate::engine::{About, Cause, Finding, Judgement, Rule, Seen, Severity};
use crate::evidence::roster::Entry;
use crate::evidence::serving::Looked;
use crate::evidence::{Evidence, need};
use crate::reference::Reference;
use crate::rules::facts::count;

const SLASH: &str = "registration/field-health#leading-slash-missing";
const PORT: &str = "registration/field-health#health-port-wrong";
const PATH: &str = "registration/field-health#endpoint-missing";

/// Looks of the registry that all failed in the same way.
const LOOKS: usize = 3;

static ABOUT: About = About {
    id: "registry/field-health-path-wrong",
    title: "A record names a health endpoint that is not there",
    severity: Severity::Error,
    needs: &[need::REGISTRY],
    meaning: "The registry asks for the instance's health where its record says, finds nothing there and takes the \
              instance out, although it serves well.",
    threshold: "a registered health path without a leading slash; or the last 3 looks of the registry refused, or answered \
                404, while the instance shows life after them",
    causes: &[
        Cause {
            id: SLASH,
            what: "the health path lacks its leading slash",
            sign: "visible in the field itself",
        },
        Cause {
            id: PORT,
            what: "the health endpoint is registered at another port",
            sign: "the registry's look is refused, not answered 404",
        },
        Cause {
            id: PATH,
            what: "the registered path does not exist on the service",
            sign: "the look arrives and is answered 404",
        },
    ],
    remedy: "register the path and port that the instance really serves, and test it at its start",
    follows: &[],
};

pub(crate) struct FieldHealthPathWrong;

impl Rule for FieldHealthPathWrong {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let mut judgement = Judgement::default();
        let mut nearest = 0;
        for entry in &evidence.roster.entries {
            let looks: Vec<&Looked> = evidence
                .serving
                .looked
                .iter()
                .filter(|looked| *looked.instance == *entry.id)
                .collect();
            let path = entry.health_path().unwrap_or("/");
            // The last ones in a row: the record may have been right before.
            let wrong = |looked: &&&Looked| looked.status == 404 || &*looked.error == "refused";
            let bad = looks.iter().rev().take_while(wrong).count();
            let run = &looks[looks.len() - bad..];
            nearest = nearest.max(bad);
            if !path.starts_with('/') {
                judgement.findings.push(finding(entry, SLASH, path, &looks));
            } else if bad >= LOOKS && serves(evidence, entry, run[LOOKS - 1].at) {
                let refused = run.iter().all(|looked| looked.status == 0);
                let cause = if refused { PORT } else { PATH };
                judgement.findings.push(finding(entry, cause, path, run));
            }
        }
        if evidence.serving.looked.is_empty() {
            from_probes(evidence, &mut judgement);
        }
        judgement.seen.push(format!(
            "{} of the registry at health endpoints; {} of a detector",
            count(evidence.serving.looked.len(), "look"),
            count(evidence.basis.probes.len(), "probe"),
        ));
        if judgement.findings.is_empty() {
            judgement.distance = Some(format!(
                "at most {nearest} looks at one instance found no endpoint; {LOOKS} in a row make a finding"
            ));
        }
        judgement
    }
}

/// Where the registry's own looks leave no spans, probes of the registered path may tell.
fn from_probes(evidence: &Evidence, judgement: &mut Judgement) {
    for entry in &evidence.roster.entries {
        let of = |check: &str| {
            evidence
                .basis
                .probes
                .iter()
                .filter(|probe| {
                    probe.instance.as_deref() == Some(&*entry.id) && probe.check == check
                })
                .collect::<Vec<_>>()
        };
        let ready = of("ready");
        let missing = ready
            .iter()
            .filter(|probe| probe.status == Some(404))
            .count();
        let path = entry.health_path().unwrap_or("/");
        if missing >= LOOKS
            && missing == ready.len()
            && of("live").iter().all(|probe| probe.ok)
            && path.starts_with('/')
        {
            judgement
                .findings
                .push(finding(entry, PATH, path, &[]).seen(Seen::note(format!(
                    "{} of {path} answered 404",
                    count(missing, "probe")
                ))));
        }
    }
}

/// Whether it lives after a moment by other signs: probes at the usual path, heartbeats, or requests that it serves.
fn serves(evidence: &Evidence, entry: &Entry, after: Nanos) -> bool {
    let probed = evidence.basis.probes.iter().any(|probe| {
        probe.instance.as_deref() == Some(&*entry.id)
            && probe.ok
            && probe.check != "ready"
            && probe.at >= after
    });
    let served = evidence
        .serving
        .instance(&entry.id)
        .is_some_and(|(_, service)| {
            service
                .between(after, evidence.window().until)
                .iter()
                .any(|served| !served.failed)
        });
    let beats = evidence.registry_calls.beats.iter().any(|(who, beats)| {
        *who.instance == *entry.id && beats.last().is_some_and(|at| *at >= after)
    });
    probed || served || beats
}

fn finding(entry: &Entry, cause: &'static str, path: &str, looks: &[&Looked]) -> Finding {
    let what = match cause {
        SLASH => format!("its health path {path} lacks the leading slash"),
        PORT => "nobody listens where its health is to be asked for".to_owned(),
        _ => format!("it serves no {path}"),
    };
    let since = entry.records.last().map_or(entry.first, |record| record.at);
    let mut found = Finding::of(
        &ABOUT,
        cause,
        format!(
            "{} ({}) can't be checked: {what}.",
            entry.name(),
            entry.address()
        ),
    )
    .about(entry.name(), &entry.id, "unchecked")
    .between(since, None)
    .sure();
    if let Some(state) = entry
        .states
        .iter()
        .find(|state| state.status == "unhealthy")
    {
        let what = format!("the registry: {} {}", entry.id, state.reason);
        found = found.seen(match state.seq {
            Some(seq) => Seen::at(what, Reference::RegistryEvent { seq }),
            None => Seen::note(what),
        });
    }
    if let Some(look) = looks.first() {
        let how = if look.status > 0 {
            format!("answered {}", look.status)
        } else {
            look.error.to_string()
        };
        found = found.seen(Seen::trace(
            format!(
                "{} of the registry at {}: {how}",
                count(looks.len(), "look"),
                look.address
            ),
            look.trace_id,
        ));
    }
    found.seen(Seen::note(format!("registered health path: {path}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Scene, SpanOf, event, probe, snapshot, span};

    const ID: &str = "users-h-1-a";

    fn scene(path: &str) -> Scene {
        let mut rows = snapshot(5.0, &[("users", ID, "127.0.0.1:1", "healthy")]);
        rows.instances[0].health_path = Some(path.into());
        Scene::new()
            .event(event(0.0, "registered", "users", ID, "127.0.0.1:1"))
            .snapshot(rows)
            .probe(probe(35.0, "users", ID, "127.0.0.1:1", "live", None))
    }

    fn look(seconds: f64) -> SpanOf {
        span("registry", "registry-0", "GET {health_path}", seconds)
            .client()
            .to("127.0.0.1:9")
            .text("shop.instance.target", ID)
    }

    fn looks(number: usize, status: i64) -> Vec<SpanOf> {
        [10.0, 20.0, 30.0, 40.0]
            .into_iter()
            .take(number)
            .map(|s| match status {
                0 => look(s).error("refused"),
                200 => look(s).int("http.response.status_code", 200),
                status => look(s)
                    .int("http.response.status_code", status)
                    .error("4xx"),
            })
            .collect()
    }

    #[test]
    fn the_three_ways_to_be_wrong_are_told_apart() {
        let slash = scene("health/ready").finding(&FieldHealthPathWrong);
        assert_eq!(slash.cause_id, SLASH);
        let port = scene("/health/ready")
            .spans(looks(3, 0))
            .finding(&FieldHealthPathWrong);
        assert_eq!(port.cause_id, PORT);
        let path = scene("/healthz")
            .spans(looks(3, 404))
            .finding(&FieldHealthPathWrong);
        assert_eq!(path.cause_id, PATH);
    }

    #[test]
    fn two_looks_an_answer_503_or_one_good_answer_pass() {
        scene("/healthz")
            .spans(looks(2, 404))
            .passes(&FieldHealthPathWrong);
        scene("/health/ready")
            .spans(looks(4, 503))
            .passes(&FieldHealthPathWrong);
        scene("/health/ready")
            .spans(looks(3, 0))
            .span(look(50.0).int("http.response.status_code", 200))
            .passes(&FieldHealthPathWrong);
        assert!(!Scene::new().cannot_tell(&FieldHealthPathWrong).is_empty());
    }
}
