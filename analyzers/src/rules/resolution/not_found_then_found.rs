//! `resolve/not-found-then-found`: lookups fail now and then, and a repetition works.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::{About, Cause, Finding, Judgement, Rule, Seen, Severity};
use crate::evidence::registry_calls::Asked;
use crate::evidence::{Evidence, need};
use crate::rules::facts::count;
use crate::rules::registry::lookup_name_misses_row::LOOKUPS;
use crate::rules::registry::lookups::is_empty;

const DNS: &str = "resolution/intermittent-not-found#dns-flaky";
const NODES: &str = "resolution/intermittent-not-found#nodes-disagree";
const PARTITION: &str = "resolution/intermittent-not-found#caller-partitioned";

/// Failed lookups with a success between the first and the last.
const FAILED: usize = 3;

static ABOUT: About = About {
    id: "resolve/not-found-then-found",
    title: "Lookups fail now and then",
    severity: Severity::Error,
    needs: &[need::SPANS, LOOKUPS],
    meaning: "The same question is answered one moment and not the next. Requests that come at the wrong time fail with \
              service not found, and a retry works.",
    threshold: "3 failed lookups of one caller at the resolver or on the way, or 3 empty answers of one node while \
                another node answers, with a success between the first and the last",
    causes: &[
        Cause {
            id: DNS,
            what: "the registry's host name fails to resolve at times",
            sign: "lookups fail before any node is contacted",
        },
        Cause {
            id: NODES,
            what: "the registry's nodes hold different tables",
            sign: "failures are answered, all by the same node",
        },
        Cause {
            id: PARTITION,
            what: "some callers can't reach the registry at times",
            sign: "the address is known, the connection is dead, and other callers get through to the same node",
        },
    ],
    remedy: "ask another node when one fails or knows nobody, and use the last known instances meanwhile",
    follows: &[],
};

pub(crate) struct NotFoundThenFound;

impl Rule for NotFoundThenFound {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let mut judgement = Judgement::default();
        let all: Vec<&Asked> = evidence.registry_calls.lookups().collect();
        let mut nearest = 0;
        let mut callers: BTreeMap<&str, Vec<&Asked>> = BTreeMap::new();
        for asked in &all {
            callers.entry(asked.who.name()).or_default().push(asked);
        }
        #[allow(clippy::type_complexity)]
        let mut shaky: BTreeMap<(&'static str, &str), Vec<(Vec<&Asked>, usize)>> = BTreeMap::new();
        for asked in callers.values() {
            let dns: Vec<&Asked> = asked
                .iter()
                .filter(|a| &*a.error == "dns")
                .copied()
                .collect();
            nearest = nearest.max(dns.len());
            if let Some(between) = interleaved(asked, &dns) {
                shaky.entry((DNS, "")).or_default().push((dns, between));
                continue;
            }
            let lost: Vec<&Asked> = asked
                .iter()
                .filter(|a| a.unanswered() && &*a.error != "dns")
                .copied()
                .collect();
            nearest = nearest.max(lost.len());
            if let Some(between) = interleaved(asked, &lost) {
                let key = (PARTITION, &*asked[0].who.service);
                shaky.entry(key).or_default().push((lost, between));
            }
        }
        for ((cause, _), found) in &shaky {
            judgement.findings.extend(if *cause == DNS {
                Some(flaky_dns(found))
            } else {
                partitioned(&all, found)
            });
        }
        judgement.findings.extend(disagreeing(&all));
        judgement.seen.push(format!(
            "{} of {}",
            count(all.len(), "lookup"),
            count(callers.len(), "caller")
        ));
        if judgement.findings.is_empty() {
            judgement.distance = Some(format!(
                "at most {nearest} lookups of one caller failed in one way; {FAILED} with successes between make a finding"
            ));
        }
        judgement
    }
}

/// Successes between the first and the last failure, if there are failures enough.
fn interleaved(asked: &[&Asked], failed: &[&Asked]) -> Option<usize> {
    let (first, last) = (failed.first()?, failed.last()?);
    if failed.len() < FAILED {
        return None;
    }
    let between = asked
        .iter()
        .filter(|asked| asked.went_well() && asked.at > first.at && asked.at < last.at)
        .count();
    (between > 0).then_some(between)
}

fn flaky_dns(found: &[(Vec<&Asked>, usize)]) -> Finding {
    let mut failed: Vec<&Asked> = found
        .iter()
        .flat_map(|(failed, _)| failed)
        .copied()
        .collect();
    failed.sort_by_key(|asked| (asked.at, asked.trace_id));
    let between: usize = found.iter().map(|(_, between)| between).sum();
    let callers: BTreeSet<(&str, &str)> = failed
        .iter()
        .map(|asked| (&*asked.who.service, &*asked.who.instance))
        .collect();
    let mut out = Finding::of(
        &ABOUT,
        DNS,
        format!(
            "the registry's host name did not resolve for {} of {}; {between} in between succeeded.",
            count(failed.len(), "lookup"),
            count(callers.len(), "caller"),
        ),
    )
    .about("registry", "", "unresolved")
    .between(failed[0].at, None)
    .sure()
    .seen(Seen::trace(format!("the first of them, to {}", failed[0].node), failed[0].trace_id))
    .in_traces(failed.iter().map(|asked| asked.trace_id));
    for (service, instance) in callers.into_iter().take(20) {
        out = out.about(service, instance, "caller");
    }
    out
}

fn partitioned(all: &[&Asked], found: &[(Vec<&Asked>, usize)]) -> Option<Finding> {
    let failed: Vec<&Asked> = found
        .iter()
        .flat_map(|(failed, _)| failed)
        .copied()
        .collect();
    let first = failed
        .iter()
        .min_by_key(|asked| (asked.at, asked.trace_id))?;
    let service = &*first.who.service;
    let ours: BTreeSet<&str> = failed.iter().map(|asked| &*asked.who.instance).collect();
    // While a lookup of theirs hung, others got through to the same node.
    let meanwhile = failed
        .iter()
        .filter(|lost| {
            all.iter().any(|asked| {
                !ours.contains(&*asked.who.instance)
                    && asked.went_well()
                    && asked.node == lost.node
                    && asked.at >= lost.at
                    && asked.at <= lost.end.saturating_add(1_000_000_000)
            })
        })
        .count();
    if meanwhile == 0 {
        return None;
    }
    let mut out = Finding::of(
        &ABOUT,
        PARTITION,
        format!(
            "{service} can't reach the registry at times: {} failed ({}), while others got through.",
            count(failed.len(), "lookup"),
            first.error,
        ),
    )
    .between(first.at, None)
    .sure()
    .seen(Seen::trace(format!("the first of them, to {}", first.node), first.trace_id))
    .seen(Seen::note(format!("during {meanwhile} of them other callers were answered by the same node")))
    .in_traces(failed.iter().map(|asked| asked.trace_id));
    for instance in ours {
        out = out.about(service, instance, "cut off");
    }
    Some(out)
}

/// Nodes that knew nobody while another node knew somebody of the same name.
fn disagreeing(all: &[&Asked]) -> Vec<Finding> {
    let mut nodes: BTreeMap<(&str, &str), Vec<&Asked>> = BTreeMap::new();
    for asked in all {
        if asked.status > 0 && !asked.node.is_empty() && !asked.query.contains('=') {
            nodes
                .entry((&asked.name, &asked.node))
                .or_default()
                .push(asked);
        }
    }
    let mut out = Vec::new();
    for ((name, node), answers) in &nodes {
        let empty: Vec<&Asked> = answers
            .iter()
            .filter(|asked| is_empty(asked))
            .copied()
            .collect();
        let (Some(first), Some(last)) = (empty.first(), empty.last()) else {
            continue;
        };
        let found = answers
            .iter()
            .filter(|asked| asked.instances.is_some_and(|n| n > 0))
            .count();
        let elsewhere: Vec<&str> = nodes
            .iter()
            .filter(|((other_name, other), _)| other_name == name && other != node)
            .filter(|(_, answers)| {
                answers.iter().any(|asked| {
                    asked.instances.is_some_and(|n| n > 0)
                        && asked.at >= first.at
                        && asked.at <= last.at
                })
            })
            .map(|((_, other), _)| *other)
            .collect();
        if empty.len() < FAILED || elsewhere.is_empty() {
            continue;
        }
        out.push(
            Finding::of(
                &ABOUT,
                NODES,
                format!(
                    "the registry's nodes disagree about {name}: {node} knew nobody {}, while {} did.",
                    crate::rules::facts::times(empty.len()),
                    elsewhere.join(" and "),
                ),
            )
            .about("registry", node, "out of step")
            .about(name, "", "missed")
            .between(first.at, None)
            .sure()
            .seen(Seen::trace(format!("{} of {node}", count(empty.len(), "empty answer")), first.trace_id))
            .seen(Seen::note(format!("{found} answers of the same node named somebody")))
            .in_traces(empty.iter().map(|asked| asked.trace_id)),
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Scene, SpanOf, span};

    fn lookup(seconds: f64, caller: &str, node: &str) -> SpanOf {
        span(caller, caller, "GET /services/{name}", seconds)
            .client()
            .to(node)
            .text("http.request.method", "GET")
            .text("url.template", "/services/{name}")
            .text("url.full", &format!("http://{node}/services/inventory"))
    }

    fn well(seconds: f64, caller: &str, node: &str) -> SpanOf {
        lookup(seconds, caller, node)
            .int("http.response.status_code", 200)
            .int("shop.registry.instances", 2)
    }

    fn empty(seconds: f64, caller: &str, node: &str) -> SpanOf {
        lookup(seconds, caller, node)
            .int("http.response.status_code", 200)
            .int("shop.registry.instances", 0)
    }

    const N1: &str = "127.0.0.1:8081";
    const N2: &str = "127.0.0.1:8082";

    fn failing(kind: &str, number: usize) -> Scene {
        let failed = [10.0, 30.0, 50.0]
            .into_iter()
            .take(number)
            .map(|s| lookup(s, "orders", N1).error(kind).lasting(5.0));
        Scene::new()
            .spans(failed)
            .spans([20.0, 40.0].map(|s| well(s, "orders", N1)))
    }

    #[test]
    fn the_three_causes_are_told_apart() {
        assert_eq!(failing("dns", 3).finding(&NotFoundThenFound).cause_id, DNS);
        let cut = failing("timeout", 3).spans([12.0, 32.0].map(|s| well(s, "gateway", N1)));
        assert_eq!(cut.finding(&NotFoundThenFound).cause_id, PARTITION);
        let nodes = Scene::new()
            .spans([10.0, 20.0, 30.0].map(|s| empty(s, "orders", N2)))
            .spans([15.0, 25.0].map(|s| well(s, "orders", N1)));
        assert_eq!(nodes.finding(&NotFoundThenFound).cause_id, NODES);
    }

    #[test]
    fn near_misses_pass() {
        failing("dns", 2).passes(&NotFoundThenFound);
        // Everybody is cut off: the registry is down, and that is no matter of this caller.
        failing("timeout", 3).passes(&NotFoundThenFound);
        // All nodes agree that nobody is there.
        Scene::new()
            .spans([10.0, 20.0, 30.0].map(|s| empty(s, "orders", N2)))
            .spans([15.0, 25.0].map(|s| empty(s, "orders", N1)))
            .passes(&NotFoundThenFound);
        // Nobody at first, somebody from then on: a start.
        Scene::new()
            .spans([10.0, 20.0, 30.0].map(|s| empty(s, "orders", N2)))
            .spans([45.0, 55.0].map(|s| well(s, "orders", N1)))
            .passes(&NotFoundThenFound);
        assert!(!Scene::new().cannot_tell(&NotFoundThenFound).is_empty());
    }
}
