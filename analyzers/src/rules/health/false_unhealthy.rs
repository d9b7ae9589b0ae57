//! `health/false-unhealthy`: an instance serves well, and its readiness says no.

use case::Nanos;
use case::signal::ProbeResult;
use case::time::human_duration;

use crate::engine::{About, Cause, Finding, Judgement, Rule, Seen, Severity};
use crate::evidence::roster::{Entry, State};
use crate::evidence::vitals::Vital;
use crate::evidence::{Evidence, need};
use crate::reference::Reference;
use crate::registry::stated_limit;
use crate::rules::facts::{count, failing_checks, failures, probes, running};

const DEPENDENCY: &str = "health/healthy-marked-unhealthy#dependency-in-check";
const DATABASE: &str = "health/healthy-marked-unhealthy#database-check-fails";
const STRICT: &str = "health/healthy-marked-unhealthy#criteria-too-strict";
const TIGHT: &str = "health/healthy-marked-unhealthy#probe-timeout-too-tight";

/// Requests of the service around the mark, and how many of them may have failed, in percent.
const SERVED: usize = 5;
const FAILED_PCT: usize = 10;

static ABOUT: About = About {
    id: "health/false-unhealthy",
    title: "A working instance is shown as unhealthy",
    severity: Severity::Error,
    needs: &[need::REGISTRY_EVENTS],
    meaning: "The registry took the instance out because of its health check, although it serves its requests well. What \
              the check looks at is not what requests need.",
    threshold: "marked unhealthy after probes failed, while of at least 5 requests of the service around that time fewer \
                than 10% failed",
    causes: &[
        Cause {
            id: DEPENDENCY,
            what: "the check fails because of a dependency that requests do not need",
            sign: "the health page names the dependency",
        },
        Cause {
            id: DATABASE,
            what: "the check's database ping fails or waits while requests get by",
            sign: "the health page names the database, and its pool is short",
        },
        Cause {
            id: STRICT,
            what: "a threshold in the check fails a sound service",
            sign: "the health page names a threshold, and no dependency failed",
        },
        Cause {
            id: TIGHT,
            what: "the answer is good, and later than the registry waits",
            sign: "the health page answers 200, later than the registry's time limit",
        },
    ],
    remedy: "let readiness test only what every request needs, with limits that a busy but sound instance keeps",
    follows: &["health/status-flaps"],
};

pub(crate) struct FalseUnhealthy;

impl Rule for FalseUnhealthy {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let mut judgement = Judgement::default();
        let mut marks = 0;
        let mut worst = None;
        for entry in &evidence.roster.entries {
            let end = evidence.window().until;
            for (state, until) in entry.periods(end, |status| status == "unhealthy") {
                if !state.reason.contains("probe") {
                    continue;
                }
                marks += 1;
                let (failed, all) = requests(evidence, entry, state.at, until);
                worst = worst.max(Some(failed * 100 / all.max(1)));
                if all < SERVED || failed * 100 >= all * FAILED_PCT {
                    continue;
                }
                if let Some(found) = finding(evidence, entry, state, until, (failed, all)) {
                    judgement.findings.push(found);
                    // Once for each instance: what comes again has the same cause.
                    break;
                }
            }
        }
        judgement
            .seen
            .push(format!("{} unhealthy after probes", count(marks, "mark")));
        if judgement.findings.is_empty() {
            judgement.distance = Some(match worst {
                None => "no instance was marked unhealthy after probes".to_owned(),
                Some(pct) => format!(
                    "of the requests around a mark up to {pct}% failed; below {FAILED_PCT}% it is false"
                ),
            });
        }
        judgement
    }
}

/// Requests of an instance around its mark; of its siblings, too, where it is alone it has none afterwards.
fn requests(evidence: &Evidence, entry: &Entry, at: Nanos, until: Nanos) -> (usize, usize) {
    let from = Nanos(at.0.saturating_sub(evidence.roster.expiry()));
    let own = evidence
        .serving
        .instance(&entry.id)
        .map_or(&[][..], |(_, service)| service.between(from, until));
    if own.len() >= SERVED {
        return failures(own);
    }
    running(evidence, entry.name()).fold((0, 0), |(failed, all), (who, _, _)| {
        let served = evidence
            .serving
            .of(who)
            .map_or(&[][..], |service| service.between(from, until));
        let (f, a) = failures(served);
        (failed + f, all + a)
    })
}

/// The cause that a failing health page names.
pub(super) fn page_cause(probe: &ProbeResult) -> Option<(&'static str, String, String)> {
    let failing = failing_checks(probe);
    let word = |text: &str, words: &[&str]| {
        let text = text.to_lowercase();
        words.iter().any(|word| text.contains(word))
    };
    let find = |wanted: &dyn Fn(&(String, String)) -> bool| {
        failing.iter().find(|check| wanted(check)).cloned()
    };
    if let Some((name, error)) = find(&|(name, error)| {
        word(name, &["store", "database", "db", "sql"])
            || word(error, &["database", "connection pool"])
    }) {
        return Some((DATABASE, name, error));
    }
    if let Some((name, error)) = find(&|(name, error)| {
        word(error, &["threshold", "above", "below", "limit"])
            && !word(name, &["upstream", "dependency"])
    }) {
        return Some((STRICT, name, error));
    }
    find(&|(name, _)| word(name, &["upstream", "dependency", "service"]))
        .map(|(name, error)| (DEPENDENCY, name, error))
}

fn finding(
    evidence: &Evidence,
    entry: &Entry,
    state: &State,
    until: Nanos,
    (failed, all): (usize, usize),
) -> Option<Finding> {
    let margin = Nanos(state.at.0.saturating_sub(evidence.roster.expiry()));
    let near = |probe: &&ProbeResult| probe.at >= margin && probe.at <= until;
    let ready: Vec<&ProbeResult> = probes(evidence, &entry.id, "ready").filter(near).collect();
    let page = ready
        .iter()
        .filter(|probe| !probe.ok)
        .find_map(|probe| page_cause(probe));
    // An answer that is late now and then is a matter of load, and shows by its status going back and forth.
    let flaps = entry
        .states
        .windows(2)
        .filter(|pair| {
            pair[0].status == "unhealthy" && crate::evidence::roster::is_good(&pair[1].status)
        })
        .count()
        >= 2;
    let late = late_answers(evidence, entry, margin, until);
    let name = entry.name();
    let headline = |why: &str| {
        format!(
            "{name} ({}) is marked unhealthy since {} and serves well: {why}.",
            entry.address(),
            &state.at.clock()[..8]
        )
    };
    let mut found = if let Some((cause, check, error)) = page {
        let why = match cause {
            DEPENDENCY => format!(
                "its readiness asks {}, which its requests do without",
                check.trim_start_matches("upstream ")
            ),
            DATABASE => format!("its readiness can't ping the database ({error})"),
            _ => format!("its readiness fails by a threshold ({error})"),
        };
        let mut found = Finding::of(&ABOUT, cause, headline(&why))
            .sure()
            .seen(Seen::note(format!(
                "its health page: {check} fails ({error})"
            )));
        if cause == DATABASE
            && let Some((who, _)) = evidence.serving.instance(&entry.id)
        {
            let waiting = evidence
                .vitals
                .of(who, Vital::PoolWaiting)
                .any(|(_, line)| {
                    line.iter()
                        .any(|(at, waiting)| *at >= margin && *waiting > 0.0)
                });
            if waiting {
                found = found.seen(Seen::at(
                    "connections were waited for at that time",
                    Reference::Metric {
                        name: "shop_pool_waiting".to_owned(),
                        service: Some(who.service.to_string()),
                    },
                ));
            }
        }
        found
    } else if let (Some((number, slowest, limit)), false) = (late, flaps) {
        let why = format!(
            "it answers 200 after {}, and the registry waits {}",
            human_duration(slowest),
            human_duration(limit)
        );
        Finding::of(&ABOUT, TIGHT, headline(&why))
            .sure()
            .seen(Seen::note(format!(
                "{} 200 came too late",
                count(number, "answer")
            )))
    } else if state.reason.contains("no answer")
        && !ready.is_empty()
        && ready.iter().all(|probe| probe.ok)
    {
        let slowest = ready
            .iter()
            .map(|probe| probe.duration_nano)
            .max()
            .unwrap_or(0);
        let limit = stated_limit(&evidence.basis.registry.snapshots, "probe_timeout")?;
        // Quick answers that the registry does not get are lost on the way.
        if slowest < limit {
            return None;
        }
        Finding::of(
            &ABOUT,
            TIGHT,
            headline("a detector that waits longer gets 200"),
        )
        .or(DEPENDENCY, "server spans of its health route")
    } else {
        return None;
    };
    found = found
        .about(name, &entry.id, "misjudged")
        .between(state.at, (until < evidence.window().until).then_some(until));
    let what = format!("the registry: {} {}", entry.id, state.reason);
    found = found.seen(match state.seq {
        Some(seq) => Seen::at(what, Reference::RegistryEvent { seq }),
        None => Seen::note(what),
    });
    Some(found.seen(Seen::note(format!(
        "{failed} of {} around that time failed",
        count(all, "request")
    ))))
}

/// Good answers to the registry's looks that took longer than it waits: how many, the slowest, its limit.
fn late_answers(
    evidence: &Evidence,
    entry: &Entry,
    from: Nanos,
    until: Nanos,
) -> Option<(usize, u64, u64)> {
    let (_, service) = evidence.serving.instance(&entry.id)?;
    let unanswered: Vec<_> = evidence
        .serving
        .looked
        .iter()
        .filter(|looked| {
            *looked.instance == *entry.id
                && looked.status == 0
                && looked.at >= from
                && looked.at < until
        })
        .collect();
    let waits = unanswered
        .iter()
        .map(|looked| u64::from(looked.took_us) * 1_000)
        .max()?;
    let limit = stated_limit(&evidence.basis.registry.snapshots, "probe_timeout").unwrap_or(waits);
    let late: Vec<u64> = service
        .told
        .iter()
        .filter(|told| {
            told.status == 200
                && unanswered
                    .iter()
                    .any(|looked| looked.span_id == told.parent)
        })
        .map(|told| u64::from(told.took_us) * 1_000)
        .filter(|took| *took >= limit.min(waits))
        .collect();
    let slowest = late.iter().copied().max()?;
    Some((late.len(), slowest, limit))
}

#[cfg(test)]
mod tests;
