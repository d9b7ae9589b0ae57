//! `health/check-overreaches`: the health check itself causes trouble: it tests too much, does business, or costs too much.

use std::collections::HashMap;

use case::model::SpanKind;
use case::signal::ProbeResult;
use case::time::human_duration;
use case::{Nanos, SpanId};

use super::false_unhealthy::page_cause;
use crate::engine::{About, Cause, Finding, Judgement, Rule, Seen, Severity};
use crate::evidence::roster::Entry;
use crate::evidence::serving::Told;
use crate::evidence::{Evidence, need};
use crate::rules::facts::{count, failures, probes, running};

const OPTIONAL: &str = "health/check-too-deep#optional-dependency-tested";
const BUSINESS: &str = "health/check-too-deep#business-logic-tested";
const EXPENSIVE: &str = "health/check-too-deep#check-expensive";

/// Looks that are answered so slowly are looked into, and this many of them make a habit.
const HEAVY_US: u32 = 400_000;
/// A statement of fewer nanoseconds is not most of an answer that late.
const STATEMENT: u64 = HEAVY_US as u64 * 1_000 / 2;
const HABIT: usize = 3;

/// Requests that succeed beside a red page.
const SERVED: usize = 5;

static ABOUT: About = About {
    id: "health/check-overreaches",
    title: "A health check does more than it should",
    severity: Severity::Error,
    needs: &[need::REGISTRY],
    meaning: "The check tests what requests can do without, places orders to see whether that works, or runs a query that \
              is heavier than the requests. It turns red for nothing, leaves rows behind, or is the load itself.",
    threshold: "3 readiness probes that fail by a dependency while of at least 5 requests fewer than 10% fail; 3 answers to \
                looks at health with calls to other services beneath them; or 3 that took 0.4 s or more, most of it in one \
                database statement",
    causes: &[
        Cause {
            id: OPTIONAL,
            what: "an optional feature is part of the check",
            sign: "the health page names a dependency, and requests are served without it",
        },
        Cause {
            id: BUSINESS,
            what: "the check runs business logic",
            sign: "calls to other services lie beneath its span, and rows appear at its period",
        },
        Cause {
            id: EXPENSIVE,
            what: "the check runs heavy queries",
            sign: "one slow statement makes up its time, and no rows are written",
        },
    ],
    remedy: "let readiness answer from what the process knows: own store opens, essential upstreams resolvable",
    follows: &["health/false-unhealthy", "registry/*", "resolve/*"],
};

pub(crate) struct CheckOverreaches;

impl Rule for CheckOverreaches {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let mut judgement = Judgement::default();
        for entry in &evidence.roster.entries {
            judgement.findings.extend(optional(evidence, entry));
        }
        let beneath = beneath_checks(evidence);
        let mut told = 0;
        let mut slowest = 0;
        for (who, service) in &evidence.serving.by {
            told += service.told.len();
            slowest = slowest.max(
                service
                    .told
                    .iter()
                    .map(|told| told.took_us)
                    .max()
                    .unwrap_or(0),
            );
            let below: Vec<(&Told, &Below)> = service
                .told
                .iter()
                .filter_map(|told| Some((told, beneath.get(&told.span_id)?)))
                .collect();
            let busy: Vec<&(&Told, &Below)> =
                below.iter().filter(|(_, below)| below.calls > 0).collect();
            let heavy: Vec<&(&Told, &Below)> = below
                .iter()
                .filter(|(told, below)| {
                    told.took_us >= HEAVY_US
                        && below.statement * 2 > u64::from(told.took_us) * 1_000
                })
                .collect();
            let (cause, rows, what) = if busy.len() >= HABIT {
                (
                    BUSINESS,
                    &busy,
                    "calls other services to do business".to_owned(),
                )
            } else if heavy.len() >= HABIT {
                let longest = heavy
                    .iter()
                    .map(|(_, below)| below.statement)
                    .max()
                    .unwrap_or(0);
                (
                    EXPENSIVE,
                    &heavy,
                    format!("runs a statement of {}", human_duration(longest)),
                )
            } else {
                continue;
            };
            let (first, below) = rows[0];
            judgement.findings.push(
                Finding::of(
                    &ABOUT,
                    cause,
                    format!(
                        "the health check of {} {what}, each time it is asked.",
                        who.service
                    ),
                )
                .about(&who.service, &who.instance, "overreaching")
                .between(first.start, None)
                .sure()
                .seen(Seen::trace(
                    format!(
                        "{} at health were answered so, the first within {}",
                        count(rows.len(), "look"),
                        human_duration(u64::from(first.took_us) * 1_000)
                    ),
                    first.trace_id,
                ))
                .seen(Seen::note(format!("beneath it: {}", below.what)))
                .in_traces(rows.iter().map(|(told, _)| told.trace_id)),
            );
        }
        fold(&mut judgement.findings);
        judgement
            .seen
            .push(format!("{} to looks at health", count(told, "answer")));
        if judgement.findings.is_empty() {
            judgement.distance = Some(format!(
                "the slowest answer took {}; {HABIT} of {} make a finding",
                human_duration(u64::from(slowest) * 1_000),
                human_duration(u64::from(HEAVY_US) * 1_000)
            ));
        }
        judgement
    }
}

/// One finding for all instances of a service that do the same.
fn fold(findings: &mut Vec<Finding>) {
    findings.sort_by(|a, b| {
        (a.cause_id, &a.subjects, a.since).cmp(&(b.cause_id, &b.subjects, b.since))
    });
    findings.dedup_by(|later, first| {
        let of = |finding: &Finding| {
            finding
                .subjects
                .first()
                .map(|subject| subject.service.clone())
        };
        let same = later.cause_id == first.cause_id && of(later) == of(first);
        if same {
            first.subjects.append(&mut later.subjects);
            first.evidence.append(&mut later.evidence);
            first.since = first.since.min(later.since);
        }
        same
    });
}

fn optional(evidence: &Evidence, entry: &Entry) -> Option<Finding> {
    // The registry took it out for that: then it is judged as such.
    if entry
        .states
        .iter()
        .any(|state| state.status == "unhealthy" && state.reason.contains("probe"))
    {
        return None;
    }
    let red: Vec<(&ProbeResult, String, String)> = probes(evidence, &entry.id, "ready")
        .filter(|probe| !probe.ok)
        .filter_map(|probe| match page_cause(probe)? {
            (cause, name, error) if cause.ends_with("#dependency-in-check") => {
                Some((probe, name, error))
            }
            _ => None,
        })
        .collect();
    let (first, name, error) = red.first()?;
    let (from, until) = (
        first.at,
        red.last().map_or(first.at, |(probe, _, _)| probe.at),
    );
    let (failed, all) =
        running(evidence, entry.name()).fold((0, 0), |(failed, all), (who, _, _)| {
            let served = evidence.serving.of(who).map_or(&[][..], |service| {
                service.between(from, Nanos(until.0.saturating_add(1)))
            });
            let (f, a) = failures(served);
            (failed + f, all + a)
        });
    if red.len() < HABIT || all < SERVED || failed * 10 >= all {
        return None;
    }
    let dependency = name.trim_start_matches("upstream ");
    Some(
        Finding::of(
            &ABOUT,
            OPTIONAL,
            format!(
                "the readiness of {} fails because of {dependency}, and its requests are served all the same.",
                entry.name()
            ),
        )
        .about(entry.name(), &entry.id, "overreaching")
        .about(dependency, "", "optional")
        .between(from, None)
        .sure()
        .seen(Seen::note(format!("{} failed: {name} ({error})", count(red.len(), "readiness probe"))))
        .seen(Seen::note(format!("{failed} of {} meanwhile failed", count(all, "request")))),
    )
}

/// What lies beneath an answer to a look at health.
#[derive(Debug, Default)]
struct Below {
    /// Calls to other services.
    calls: usize,
    /// The longest statement of a store.
    statement: u64,
    what: String,
}

/// What lies right beneath answers to looks at health: calls of other interfaces, and statements that take long.
fn beneath_checks(evidence: &Evidence) -> HashMap<SpanId, Below> {
    let mut out: HashMap<SpanId, Below> = evidence
        .serving
        .by
        .values()
        .flat_map(|service| &service.told)
        .map(|told| (told.span_id, Below::default()))
        .collect();
    if out.is_empty() {
        return out;
    }
    let table = &evidence.table;
    let calls: Vec<bool> = table.names.iter().map(is_call).collect();
    for row in 0..table.len() {
        let call = calls[table.name[row] as usize];
        // Of a case with millions of spans only those are looked at that could make a finding.
        if table.kind(row) != SpanKind::Client || !call && table.duration[row] < STATEMENT {
            continue;
        }
        let Some(below) = out.get_mut(&table.parent[row]) else {
            continue;
        };
        let name = table.names.get(table.name[row]);
        if call {
            below.calls += 1;
            below.what = name.to_owned();
        } else if table.duration[row] > below.statement {
            below.statement = table.duration[row];
            if below.calls == 0 {
                below.what = name.to_owned();
            }
        }
    }
    out
}

/// A remote call is named for its interface; a statement by a verb and a table.
fn is_call(name: &str) -> bool {
    name.contains('/')
        && !name.starts_with("GET /services")
        && !name.to_ascii_lowercase().contains("health")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Scene, SpanOf, event, probe, span};

    const ID: &str = "catalog-h-1-a";

    fn scene() -> Scene {
        Scene::new()
            .event(event(0.0, "registered", "catalog", ID, "127.0.0.1:1"))
            .spans(
                (0..20).map(|n| span("catalog", ID, "GET /products", 20.0 + f64::from(n)).server()),
            )
    }

    fn told(number: u64, took: f64) -> SpanOf {
        span("catalog", ID, "GET /health/ready", 30.0 + number as f64)
            .server()
            .ids(number, 100 + number, 0)
            .text("http.route", "/health/ready")
            .int("http.response.status_code", 200)
            .lasting(took)
    }

    fn below(number: u64, name: &str, took: f64) -> SpanOf {
        span("catalog", ID, name, 30.0 + number as f64)
            .client()
            .ids(number, 200 + number, 100 + number)
            .lasting(took)
    }

    fn checks(number: u64, took: f64, name: &str) -> Scene {
        (1..=number).fold(scene(), |scene, n| {
            scene.span(told(n, took)).span(below(n, name, took * 0.9))
        })
    }

    #[test]
    fn business_is_told_from_a_heavy_query() {
        let order =
            checks(3, 0.5, "orders.v1.OrdersService/CreateOrder").finding(&CheckOverreaches);
        assert_eq!(order.cause_id, BUSINESS);
        let heavy = checks(3, 0.5, "SELECT products").finding(&CheckOverreaches);
        assert_eq!(heavy.cause_id, EXPENSIVE);
        checks(2, 0.5, "SELECT products").passes(&CheckOverreaches);
        checks(3, 0.39, "SELECT products").passes(&CheckOverreaches);
        // A lookup that a check makes is no business.
        checks(3, 0.3, "GET /services/{name}").passes(&CheckOverreaches);
    }

    fn red(number: usize) -> Scene {
        [21.0, 26.0, 31.0]
            .into_iter()
            .take(number)
            .fold(scene(), |scene, s| {
                let mut failed = probe(
                    s,
                    "catalog",
                    ID,
                    "127.0.0.1:1",
                    "ready",
                    Some("answered 503"),
                );
                failed.raw = serde_json::json!({"body": {"checks": [
                    {"name": "upstream reviews", "status": "fail", "error": "reviews: refused"},
                ]}});
                scene.probe(failed)
            })
    }

    #[test]
    fn an_optional_dependency_shows_by_requests_that_do_without_it() {
        red(2).passes(&CheckOverreaches);
        let found = red(3).finding(&CheckOverreaches);
        assert_eq!(found.cause_id, OPTIONAL);
        red(3)
            .spans((0..5).map(|n| {
                span("catalog", ID, "GET /products/1", 22.5 + f64::from(n))
                    .server()
                    .error("503")
            }))
            .passes(&CheckOverreaches);
        assert!(!Scene::new().cannot_tell(&CheckOverreaches).is_empty());
    }
}
