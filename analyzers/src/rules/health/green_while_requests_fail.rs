//! `health/green-while-requests-fail`: every instance of a service is healthy, and its requests fail.

use std::collections::{BTreeMap, BTreeSet};

use case::Nanos;
use case::model::{SpanKind, StatusCode};

use crate::engine::{About, Cause, Finding, Judgement, Rule, Seen, Severity};
use crate::evidence::roster::Entry;
use crate::evidence::serving::Served;
use crate::evidence::traffic::Outcome;
use crate::evidence::vitals::Vital;
use crate::evidence::{Evidence, need};
use crate::rules::facts::{check_names, count, probes, running};

const WRONG: &str = "health/green-but-failing#tests-wrong-thing";
const BYPASS: &str = "health/green-but-failing#bypasses-request-path";
const TRAFFIC: &str = "health/green-but-failing#cannot-carry-traffic";

/// Requests of the service that failed, and their least share in percent.
const FAILED: usize = 10;
const FAILED_PCT: usize = 15;

/// Calls to it that were never answered.
const STUCK: usize = 5;

/// Requests before and after one that are looked at for being under way beside it.
const MOST_BESIDE: usize = 500;

static ABOUT: About = About {
    id: "health/green-while-requests-fail",
    title: "All instances are healthy, and requests fail",
    severity: Severity::Error,
    needs: &[need::REGISTRY, need::SPANS, need::PROBES],
    meaning: "Registry and health pages show the service as fine, and its requests fail or hang: nobody is taken out, and \
              no alarm goes by health. The check does not go where requests go.",
    threshold: "10 failed requests and at least 15% of those of every instance, or 5 calls in a row to one that were never \
                answered while requests pile up, and 2 readiness probes of each meanwhile, all passed",
    causes: &[
        Cause {
            id: WRONG,
            what: "the check looks at something that requests do not depend on",
            sign: "requests fail in calls to a dependency that the health page does not list",
        },
        Cause {
            id: BYPASS,
            what: "the check is served outside the request path",
            sign: "requests hang, even a single one, and health is answered at once",
        },
        Cause {
            id: TRAFFIC,
            what: "it passes alone and fails under real load",
            sign: "requests fail while many are under way, and isolated ones succeed",
        },
    ],
    remedy: "let readiness go through the same workers and test what every request needs",
    follows: &[
        "saga/compensation-stalled",
        "saga/compensation-failed",
        "saga/compensated-ledger-mismatch",
        "saga/recovery-ledger-mismatch",
    ],
};

pub(crate) struct GreenWhileRequestsFail;

impl Rule for GreenWhileRequestsFail {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let mut judgement = Judgement::default();
        let names: BTreeSet<&str> = evidence.roster.entries.iter().map(Entry::name).collect();
        let mut worst = 0;
        for name in names {
            if let Some(found) = stuck(evidence, name) {
                judgement.findings.push(found);
                continue;
            }
            let Some(failing) = failing(evidence, name, &mut worst) else {
                continue;
            };
            if let Some(found) = under_load(evidence, name, &failing, Moment::Beginning)
                .or_else(|| under_load(evidence, name, &failing, Moment::End))
                .or_else(|| dependency(evidence, name, &failing))
            {
                judgement.findings.push(found);
            }
        }
        judgement.seen.push(format!(
            "requests of {}; {}",
            count(evidence.serving.by.len(), "instance"),
            count(evidence.basis.probes.len(), "probe")
        ));
        if judgement.findings.is_empty() {
            judgement.distance = Some(format!(
                "at most {worst} failed requests of a service whose instances were all good; {FAILED} make a finding"
            ));
        }
        judgement
    }
}

/// What a service's instances did from when they began to fail.
struct Failing<'a> {
    since: Nanos,
    until: Nanos,
    failed: usize,
    all: usize,
    ids: Vec<&'a str>,
}

/// Whether an instance's readiness was seen, and passed, in a time.
fn is_green(evidence: &Evidence, id: &str, since: Nanos, until: Nanos) -> bool {
    let seen: Vec<bool> = probes(evidence, id, "ready")
        .filter(|probe| probe.at >= since && probe.at <= until)
        .map(|probe| probe.ok)
        .collect();
    seen.len() >= 2 && seen.iter().all(|ok| *ok)
}

fn failing<'a>(evidence: &'a Evidence, name: &'a str, worst: &mut usize) -> Option<Failing<'a>> {
    let end = evidence.window().until;
    let ids: Vec<&str> = running(evidence, name)
        .filter(|(who, _, last)| {
            evidence.serving.of(who).is_some() && *last > evidence.window().from
        })
        .map(|(who, _, _)| &*who.instance)
        .filter(|id| {
            evidence
                .roster
                .id(id)
                .any(|entry| entry.is_listed_at(end) || !entry.states.is_empty())
        })
        .collect();
    let services: Vec<_> = ids
        .iter()
        .filter_map(|id| evidence.serving.instance(id))
        .map(|(_, service)| service)
        .collect();
    let times = |service: &&crate::evidence::serving::Service| {
        service
            .served
            .iter()
            .filter(|served| served.failed)
            .map(|served| (served.start, served.end()))
            .collect::<Vec<_>>()
    };
    let mut failures: Vec<(Nanos, Nanos)> = services.iter().flat_map(times).collect();
    failures.sort_unstable();
    *worst = (*worst).max(failures.len());
    // From where on most failures lie: a single one before it is background.
    let start = failures.len() / 20;
    let (since, _) = *failures.get(start)?;
    let (_, until) = *failures.last()?;
    let served: Vec<&[Served]> = services
        .iter()
        .map(|service| service.between(since, until.saturating_add(1)))
        .collect();
    let each_fails = served.iter().all(|served| {
        let failed = served.iter().filter(|served| served.failed).count();
        failed * 100 >= served.len() * FAILED_PCT && failed > 0
    });
    let failed: usize = failures.len() - start;
    let green = ids.iter().all(|id| {
        is_green(evidence, id, since, until)
            && evidence
                .roster
                .id(id)
                .all(|entry| entry.is_good_at(since) && entry.is_good_at(until))
    });
    (failed >= FAILED && each_fails && green && !ids.is_empty()).then(|| Failing {
        since,
        until,
        failed,
        all: served.iter().map(|served| served.len()).sum(),
        ids,
    })
}

fn begin(cause: &'static str, name: &str, failing: &Failing<'_>, why: &str) -> Finding {
    let mut found = Finding::of(
        &ABOUT,
        cause,
        format!(
            "all {} of {name} are healthy and {} of {} failed since {}: {why}.",
            count(failing.ids.len(), "instance"),
            failing.failed,
            count(failing.all, "request"),
            &failing.since.clock()[..8]
        ),
    )
    .about(name, "", "failing")
    .between(failing.since, None)
    .seen(Seen::note("every readiness probe meanwhile passed"));
    for id in failing.ids.iter().take(10) {
        found = found.about(name, id, "healthy");
    }
    found
}

/// When a request's company is counted: some turn away whom they have no room for, others fail what they have begun.
#[derive(Clone, Copy)]
enum Moment {
    Beginning,
    End,
}

/// How many others were under way beside each request while the service failed, and whether it failed.
fn company(evidence: &Evidence, failing: &Failing<'_>, moment: Moment) -> Vec<(usize, bool)> {
    let mut beside: Vec<(usize, bool)> = Vec::new();
    let services = failing
        .ids
        .iter()
        .filter_map(|id| evidence.serving.instance(id));
    for (_, service) in services {
        // Looked at from the first failure on; who was under way by then counts as well.
        let from = service
            .served
            .partition_point(|served| served.start < failing.since);
        for (place, request) in service.served.iter().enumerate().skip(from) {
            if request.start > failing.until {
                break;
            }
            let at = match moment {
                Moment::Beginning => request.start,
                Moment::End => request.end(),
            };
            let earlier = service.served[..place].iter().rev().take(MOST_BESIDE);
            let later = service.served[place + 1..]
                .iter()
                .take(MOST_BESIDE)
                .take_while(|other| other.start < at);
            let others = earlier.chain(later).filter(|other| other.end() > at);
            beside.push((others.count(), request.failed));
        }
    }
    beside
}

/// Failures that come with many requests at a time.
fn under_load(
    evidence: &Evidence,
    name: &str,
    failing: &Failing<'_>,
    moment: Moment,
) -> Option<Finding> {
    let beside = company(evidence, failing, moment);
    let median = |failed: bool| {
        let rows = beside.iter().filter(|row| row.1 == failed);
        let mut numbers: Vec<usize> = rows.map(|row| row.0).collect();
        numbers.sort_unstable();
        numbers.get(numbers.len() / 2).copied()
    };
    let (bad_at, good_at) = (median(true)?, median(false)?);
    let share = |wanted: &dyn Fn(usize) -> bool| {
        let rows: Vec<bool> = beside
            .iter()
            .filter(|row| wanted(row.0))
            .map(|row| row.1)
            .collect();
        (rows.iter().filter(|failed| **failed).count(), rows.len())
    };
    let (alone_bad, isolated) = share(&|others| others <= 1);
    let (crowd_bad, crowd) = share(&|others| others >= bad_at);
    // Few or none alone, most in a crowd.
    if bad_at < 2
        || bad_at <= good_at
        || isolated < 2
        || alone_bad * 10 > isolated
        || crowd_bad * 2 < crowd
    {
        return None;
    }
    let trace = failing
        .ids
        .iter()
        .find_map(|id| evidence.serving.instance(id)?.1.failing);
    let mut found = begin(
        TRAFFIC,
        name,
        failing,
        &format!("those that fail have {bad_at} others under way beside them, those that succeed {good_at}"),
    )
    .sure()
    .seen(Seen::note(format!(
        "{alone_bad} of {} with at most one other beside it failed, {crowd_bad} of {crowd} with {bad_at} or more",
        count(isolated, "request")
    )));
    if let Some((_, trace)) = trace {
        found = found
            .seen(Seen::trace("one that failed", trace))
            .in_traces([trace]);
    }
    Some(found)
}

/// Failures that come from a call to something that the health page does not list.
fn dependency(evidence: &Evidence, name: &str, failing: &Failing<'_>) -> Option<Finding> {
    let table = &evidence.table;
    let service = table.services.find(name)?;
    let failed_at =
        |row: usize| table.status(row) == StatusCode::Error && table.start[row] >= failing.since.0;
    // Failed client spans by name, and the requests they are part of.
    let mut calls: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for row in 0..table.len() {
        if table.service[row] == service && table.kind(row) == SpanKind::Client && failed_at(row) {
            let entry = calls
                .entry(table.names.get(table.name[row]))
                .or_insert((0, row));
            entry.0 += 1;
        }
    }
    let (call, (number, row)) = calls.into_iter().max_by_key(|(_, (number, _))| *number)?;
    let pages: BTreeSet<&str> = failing
        .ids
        .iter()
        .flat_map(|id| probes(evidence, id, "ready"))
        .filter_map(check_names)
        .flatten()
        .collect();
    // `payments.v1.PaymentsService/Process`, `POST /charges`, `INSERT orders`: what stands for the callee is in it.
    let words: Vec<String> = call
        .to_lowercase()
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.len() > 3)
        .map(|word| word.trim_end_matches('s').to_owned())
        .collect();
    let listed = pages.iter().any(|page| {
        let page = page.to_lowercase();
        words.iter().any(|word| page.contains(word.as_str()))
    });
    if number * 2 < failing.failed || listed || pages.is_empty() {
        return None;
    }
    let trace = table.traces[table.trace[row] as usize];
    Some(
        begin(
            WRONG,
            name,
            failing,
            &format!("they fail in {call}, which no check looks at"),
        )
        .sure()
        .seen(Seen::trace(
            format!("{} of {call} failed", count(number, "call")),
            trace,
        ))
        .seen(Seen::note(format!(
            "its health page checks {}",
            pages.into_iter().collect::<Vec<_>>().join(", ")
        )))
        .in_traces([trace]),
    )
}

/// Requests that are taken and never answered.
fn stuck(evidence: &Evidence, name: &str) -> Option<Finding> {
    let traffic = &evidence.traffic;
    let mut hung: Vec<(&Entry, Nanos, usize, u32)> = Vec::new();
    for entry in evidence.roster.named(name) {
        let Some(place) = traffic.address_place(entry.address()) else {
            continue;
        };
        let mut run: Vec<(Nanos, u32)> = Vec::new();
        for sent in traffic.sent.iter().filter(|sent| sent.address == place) {
            match sent.outcome {
                Outcome::Timeout => run.push((sent.start, sent.caller)),
                outcome if outcome.arrived() => run.clear(),
                _ => {}
            }
        }
        let Some((since, caller)) = run.first().copied() else {
            continue;
        };
        let who = evidence.serving.instance(&entry.id).map(|(who, _)| who);
        let piled = who
            .into_iter()
            .flat_map(|who| evidence.vitals.of(who, Vital::InFlight))
            .any(|(_, line)| {
                line.iter()
                    .any(|(at, number)| *at >= since && *number >= 3.0)
            });
        let finished = evidence
            .serving
            .instance(&entry.id)
            .is_some_and(|(_, service)| {
                !service
                    .between(since.saturating_add(1), evidence.window().until)
                    .is_empty()
            });
        let green = is_green(evidence, &entry.id, since, evidence.window().until);
        if run.len() >= STUCK && piled && green && !finished {
            hung.push((entry, since, run.len(), caller));
        }
    }
    let (entry, since, _, caller) = *hung.first()?;
    let number: usize = hung.iter().map(|(_, _, number, _)| number).sum();
    let mut found = Finding::of(
        &ABOUT,
        BYPASS,
        format!(
            "{name} is healthy and answers no request since {}: {} timed out, and they pile up inside.",
            &since.clock()[..8],
            count(number, "call")
        ),
    )
    .about(name, &entry.id, "stuck")
    .between(since, None)
    .sure();
    for (entry, ..) in hung.iter().skip(1).take(9) {
        found = found.about(name, &entry.id, "stuck");
    }
    if let Some(place) = traffic.address_place(entry.address())
        && let Some(trace) = traffic.sample(caller, place, Outcome::Timeout)
    {
        found = found
            .seen(Seen::trace("the first of them", trace))
            .in_traces([trace]);
    }
    let quick = probes(evidence, &entry.id, "ready")
        .filter(|probe| probe.at >= since && probe.ok)
        .map(|probe| probe.duration_nano)
        .max()
        .unwrap_or(0);
    Some(
        found
            .seen(Seen::note(format!(
                "its readiness is answered within {} meanwhile",
                case::time::human_duration(quick)
            )))
            .seen(Seen::note("no request of it finished since")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Scene, SpanOf, event, gauge, probe, span};

    const ID: &str = "inventory-h-1-a";
    const ADDRESS: &str = "127.0.0.1:1";

    fn scene() -> Scene {
        Scene::new()
            .event(event(0.0, "registered", "inventory", ID, ADDRESS))
            .until(400.0)
    }

    fn green(scene: Scene) -> Scene {
        [21.0, 24.0, 27.0].into_iter().fold(scene, |scene, s| {
            let mut seen = probe(s, "inventory", ID, ADDRESS, "ready", None);
            seen.raw =
                serde_json::json!({"body": {"checks": [{"name": "disk", "status": "pass"}]}});
            scene.probe(seen)
        })
    }

    fn served(id: u64, seconds: f64) -> SpanOf {
        span("inventory", ID, "Reserve", seconds)
            .server()
            .ids(id, id, 0)
    }

    /// In each burst three begin well, and up to ten more beside them fail; between bursts single ones succeed.
    fn bursts(failing: usize) -> Vec<SpanOf> {
        let mut out = vec![served(500, 22.5), served(501, 23.5)];
        for n in 0..failing {
            let begin = 20.0 + (n / 10) as f64 * 5.0;
            if n % 10 == 0 {
                for first in 0..3 {
                    let at = begin + first as f64 * 0.001;
                    out.push(served(600 + (n + first) as u64, at).lasting(1.0));
                }
            }
            let at = begin + 0.01 + (n % 10) as f64 * 0.001;
            out.push(served(n as u64 + 1, at).error("503").lasting(1.0));
        }
        out
    }

    #[test]
    fn failing_together_and_not_alone_is_too_little_room() {
        let found = green(scene())
            .spans(bursts(20))
            .finding(&GreenWhileRequestsFail);
        assert_eq!(found.cause_id, TRAFFIC);
        green(scene())
            .spans(bursts(9))
            .passes(&GreenWhileRequestsFail);
    }

    fn broken(number: u64) -> Vec<SpanOf> {
        (0..number)
            .flat_map(|n| {
                let start = 20.0 + n as f64;
                let child = span("inventory", ID, "POST /charges", start)
                    .client()
                    .ids(n + 1, 1000 + n, n + 1)
                    .error("500");
                [served(n + 1, start).error("500").lasting(0.2), child]
            })
            .collect()
    }

    #[test]
    fn a_dependency_that_no_check_lists_is_the_wrong_test() {
        let found = green(scene())
            .spans(broken(10))
            .finding(&GreenWhileRequestsFail);
        assert_eq!(found.cause_id, WRONG);
        green(scene())
            .spans(broken(9))
            .passes(&GreenWhileRequestsFail);
        // Without probes nothing can be said of being green.
        assert!(
            !scene()
                .spans(broken(10))
                .cannot_tell(&GreenWhileRequestsFail)
                .is_empty()
        );
        let red = green(scene()).probe(probe(
            25.0,
            "inventory",
            ID,
            ADDRESS,
            "ready",
            Some("answered 503"),
        ));
        red.spans(broken(10)).passes(&GreenWhileRequestsFail);
    }

    #[test]
    fn requests_that_hang_while_health_is_quick_go_another_way() {
        let hung = |number: u32| {
            green(scene())
                .span(served(1, 5.0))
                .metric(gauge(
                    "inventory",
                    ID,
                    30.0,
                    "testservice_active_requests",
                    5.0,
                    &[],
                ))
                .spans((0..number).map(|n| {
                    span("orders", "o", "Reserve", 20.0 + f64::from(n))
                        .client()
                        .to(ADDRESS)
                        .error("timeout")
                }))
        };
        hung(4).passes(&GreenWhileRequestsFail);
        assert_eq!(hung(5).finding(&GreenWhileRequestsFail).cause_id, BYPASS);
        // One that finishes shows that they are only slow.
        hung(5)
            .span(served(2, 28.0))
            .passes(&GreenWhileRequestsFail);
    }
}
