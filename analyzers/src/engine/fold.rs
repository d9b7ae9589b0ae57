//! One cause, not twenty: findings that follow from another stand under it.
//!
//! A finding follows from another where its rule declares so and the two share somebody or a trace; or where both lie in
//! the same traces and whoever is to blame for the other is called, through any number of hops, by whoever this one
//! blames. A cause must have begun before its consequence was over.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use case::{SpanId, SpanTable, TraceId, Window};

use super::{Certainty, Finding};
use crate::reference::Reference;

/// Who calls whom, by service, as far as some traces show it.
#[derive(Debug, Default)]
pub(super) struct CallGraph {
    calls: BTreeMap<String, BTreeSet<String>>,
}

impl CallGraph {
    /// The calls within these traces: one pass over the table, and a look at the parents of what is in them.
    pub(super) fn of(table: &SpanTable, traces: &BTreeSet<TraceId>) -> CallGraph {
        let mut graph = CallGraph::default();
        if traces.is_empty() {
            return graph;
        }
        let wanted: Vec<bool> = table.traces.iter().map(|id| traces.contains(id)).collect();
        let rows: Vec<usize> = (0..table.len())
            .filter(|row| wanted[table.trace[*row] as usize])
            .collect();
        // Looked up only, so the map's order decides nothing.
        let places: HashMap<(u32, SpanId), u32> = rows
            .iter()
            .map(|row| {
                (
                    (table.trace[*row], table.span_id[*row]),
                    table.service[*row],
                )
            })
            .collect();
        for row in rows {
            if let Some(caller) = places.get(&(table.trace[row], table.parent[row]))
                && *caller != table.service[row]
            {
                graph.add(
                    table.services.get(*caller),
                    table.services.get(table.service[row]),
                );
            }
        }
        graph
    }

    fn add(&mut self, caller: &str, callee: &str) {
        if let Some(callees) = self.calls.get_mut(caller) {
            if !callees.contains(callee) {
                callees.insert(callee.to_owned());
            }
        } else {
            self.calls
                .insert(caller.to_owned(), BTreeSet::from([callee.to_owned()]));
        }
    }

    /// Whether `service` calls `other`, through whomever.
    fn reaches(&self, service: &str, other: &str) -> bool {
        let mut seen = BTreeSet::from([service]);
        let mut waiting = vec![service];
        while let Some(at) = waiting.pop() {
            for next in self.calls.get(at).into_iter().flatten() {
                if next == other {
                    return true;
                }
                if seen.insert(next) {
                    waiting.push(next);
                }
            }
        }
        false
    }
}

/// Worst first, then best known, then what explains most, then oldest.
pub(super) fn sort(findings: &mut [Finding]) {
    findings.sort_by(|a, b| {
        (b.severity, b.certainty, b.explains())
            .cmp(&(a.severity, a.certainty, a.explains()))
            .then_with(|| {
                (a.since, a.rule, &a.subjects, a.cause_id, &a.headline).cmp(&(
                    b.since,
                    b.rule,
                    &b.subjects,
                    b.cause_id,
                    &b.headline,
                ))
            })
    });
}

/// Puts every finding that follows from another under it. `follows` gives a rule's [`super::About::follows`].
pub(super) fn fold<'a>(
    mut findings: Vec<Finding>,
    window: Window,
    follows: impl Fn(&str) -> &'a [&'a str],
    graph: &CallGraph,
) -> Vec<Finding> {
    sort(&mut findings);
    let mut parents: Vec<Option<usize>> = (0..findings.len())
        .map(|effect| {
            let best = (0..findings.len())
                .filter(|cause| *cause != effect)
                .filter_map(|cause| {
                    let strength = strength(
                        &findings[effect],
                        &findings[cause],
                        window,
                        follows(findings[effect].rule),
                        graph,
                    )?;
                    // Of equally good ones the first, which is the worst and the oldest.
                    Some((strength, std::cmp::Reverse(cause)))
                })
                .max()?;
            Some(best.1.0)
        })
        .collect();
    cut_circles(&mut parents);
    // From the leaves up, so that what is moved already holds its own consequences.
    let mut depths: Vec<(usize, usize)> = (0..findings.len())
        .map(|place| (depth(&parents, place), place))
        .collect();
    depths.sort_unstable_by(|a, b| b.cmp(a));
    let mut slots: Vec<Option<Finding>> = findings.into_iter().map(Some).collect();
    for (_, place) in depths {
        let Some(parent) = parents[place] else {
            continue;
        };
        if let Some(finding) = slots[place].take()
            && let Some(above) = &mut slots[parent]
        {
            // What makes others fail is as bad as their failing.
            above.severity = above.severity.max(finding.severity);
            above.consequences.push(finding);
        }
    }
    let mut out: Vec<Finding> = slots.into_iter().flatten().collect();
    for finding in &mut out {
        sort(&mut finding.consequences);
    }
    sort(&mut out);
    out
}

fn depth(parents: &[Option<usize>], place: usize) -> usize {
    let mut depth = 0;
    let mut at = parents[place];
    while let Some(parent) = at {
        depth += 1;
        at = parents[parent];
    }
    depth
}

/// A finding that would stand under itself stands on its own.
fn cut_circles(parents: &mut [Option<usize>]) {
    for place in 0..parents.len() {
        let mut at = parents[place];
        let mut steps = 0;
        while let Some(parent) = at {
            steps += 1;
            if parent == place {
                parents[place] = None;
            }
            // More steps than findings: it leads into a circle that it is no part of, and that is cut by its own.
            if parent == place || steps > parents.len() {
                break;
            }
            at = parents[parent];
        }
    }
}

/// How well `cause` explains `effect`; `None` if it does not.
fn strength(
    effect: &Finding,
    cause: &Finding,
    window: Window,
    follows: &[&str],
    graph: &CallGraph,
) -> Option<u8> {
    if cause.since > effect.until.unwrap_or(window.until) {
        return None;
    }
    let declared = follows.iter().any(|rule| match rule.strip_suffix('*') {
        Some(area) => cause.rule.starts_with(area),
        None => cause.rule == *rule,
    });
    if declared {
        if share_instance(effect, cause) {
            return Some(4);
        }
        if shared_traces(effect, cause) > 0 || share_reference(effect, cause) {
            return Some(3);
        }
        return share_service(effect, cause).then_some(2);
    }
    let (victim, culprit) = (effect.subjects.first()?, cause.subjects.first()?);
    let mostly_the_same =
        !effect.traces.is_empty() && 2 * shared_traces(effect, cause) >= effect.traces.len();
    (cause.certainty == Certainty::Sure
        && cause.severity >= effect.severity
        && effect.rule != cause.rule
        && !is_about_telemetry(effect)
        && !is_about_telemetry(cause)
        && mostly_the_same
        && graph.reaches(&victim.service, &culprit.service)
        && !graph.reaches(&culprit.service, &victim.service))
    .then_some(1)
}

/// Broken traces and logs are faults of their own: they don't make requests fail, nor do failures break them.
fn is_about_telemetry(finding: &Finding) -> bool {
    finding.rule.starts_with("trace/") || finding.rule.starts_with("log/")
}

fn share_instance(a: &Finding, b: &Finding) -> bool {
    a.subjects
        .iter()
        .any(|x| !x.instance.is_empty() && b.subjects.iter().any(|y| x.instance == y.instance))
}

/// Of the same service, where at least one of them means all of it.
fn share_service(a: &Finding, b: &Finding) -> bool {
    a.subjects.iter().any(|x| {
        b.subjects.iter().any(|y| {
            !x.service.is_empty()
                && x.service == y.service
                && (x.instance.is_empty() || y.instance.is_empty())
        })
    })
}

/// Both are sorted.
fn shared_traces(a: &Finding, b: &Finding) -> usize {
    let shared = |id: &&TraceId| b.traces.binary_search(id).is_ok();
    a.traces.iter().filter(shared).count()
}

/// The same order or saga is evidence of both.
fn share_reference(a: &Finding, b: &Finding) -> bool {
    let of = |finding: &Finding| -> BTreeSet<String> {
        finding
            .evidence
            .iter()
            .filter_map(|seen| match &seen.reference {
                Some(Reference::Order { order_id }) => Some(order_id.clone()),
                Some(Reference::Saga { saga_id }) => Some(saga_id.clone()),
                _ => None,
            })
            .collect()
    };
    !of(a).is_disjoint(&of(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{About, Cause, Severity};
    use crate::evidence::Evidence;
    use crate::testing::{Scene, at, span, trace_id};

    static ABOUT: About = About {
        id: "registry/heartbeat-lost",
        title: "",
        severity: Severity::Warning,
        needs: &[],
        meaning: "",
        threshold: "",
        causes: &[Cause {
            id: "a/b#c",
            what: "c",
            sign: "",
        }],
        remedy: "",
        follows: &[],
    };

    fn of(rule: &'static str, service: &str, instance: &str) -> Finding {
        let mut finding = Finding::of(&ABOUT, "a/b#c", rule)
            .about(service, instance, "role")
            .between(at(10), None);
        finding.rule = rule;
        finding
    }

    fn window() -> Window {
        Scene::new().window
    }

    fn folded(findings: Vec<Finding>, graph: &CallGraph) -> Vec<Finding> {
        fold(
            findings,
            window(),
            |rule| match rule {
                "resolve/effect" => &["registry/*"],
                "health/circle-a" => &["health/circle-b"],
                "health/circle-b" => &["health/circle-a"],
                _ => &[],
            },
            graph,
        )
    }

    #[test]
    fn what_follows_stands_under_its_cause_and_makes_it_as_bad() {
        let cause = of("registry/cause", "payment", "payment-2");
        let effect = of("resolve/effect", "payment", "payment-2").severity(Severity::Error);
        let elsewhere = of("resolve/effect", "inventory", "inventory-1");
        let out = folded(vec![elsewhere, effect, cause], &CallGraph::default());
        let rules: Vec<&str> = out.iter().map(|finding| finding.rule).collect();
        assert_eq!(rules, ["registry/cause", "resolve/effect"]);
        assert_eq!(out[0].severity, Severity::Error);
        assert_eq!(out[0].consequences[0].rule, "resolve/effect");
        assert!(out[1].consequences.is_empty());
    }

    #[test]
    fn a_cause_that_began_later_explains_nothing() {
        let cause = of("registry/cause", "payment", "payment-2").between(at(50), None);
        let effect = of("resolve/effect", "payment", "payment-2").between(at(10), Some(at(49)));
        assert_eq!(
            folded(vec![cause.clone(), effect.clone()], &CallGraph::default()).len(),
            2
        );
        let longer = effect.between(at(10), Some(at(50)));
        assert_eq!(folded(vec![cause, longer], &CallGraph::default()).len(), 1);
    }

    #[test]
    fn circles_are_cut_and_nothing_is_lost() {
        let out = folded(
            vec![
                of("health/circle-a", "payment", "p"),
                of("health/circle-b", "payment", "p"),
            ],
            &CallGraph::default(),
        );
        assert_eq!(out.len(), 1);
        assert_eq!(out[0].consequences.len(), 1);
    }

    fn graph() -> CallGraph {
        let scene = Scene::new()
            .span(span("checkout", "c-1", "buy", 1).ids(7, 1, 0))
            .span(span("orders", "o-1", "order", 1).ids(7, 2, 1))
            .span(span("payment", "p-1", "pay", 1).ids(7, 3, 2));
        let evidence: Evidence = scene.evidence();
        CallGraph::of(&evidence.table, &BTreeSet::from([trace_id(7)]))
    }

    #[test]
    fn along_the_calls_the_callee_is_the_cause() {
        let cause = || {
            of("health/cause", "payment", "p-1")
                .sure()
                .in_traces([trace_id(7)])
        };
        let effect = || of("saga/effect", "checkout", "").in_traces([trace_id(7)]);
        assert_eq!(folded(vec![cause(), effect()], &graph()).len(), 1);
        let mut unsure = cause();
        unsure.certainty = Certainty::Likely;
        assert_eq!(folded(vec![unsure, effect()], &graph()).len(), 2);
        let other_traces = effect().in_traces([trace_id(8), trace_id(9)]);
        assert_eq!(folded(vec![cause(), other_traces], &graph()).len(), 2);
        let mut of_telemetry = effect();
        of_telemetry.rule = "trace/effect";
        assert_eq!(folded(vec![cause(), of_telemetry], &graph()).len(), 2);
        // The other way round nobody calls anybody.
        let upstream = of("health/cause", "checkout", "")
            .sure()
            .in_traces([trace_id(7)]);
        let downstream = of("saga/effect", "payment", "").in_traces([trace_id(7)]);
        assert_eq!(folded(vec![upstream, downstream], &graph()).len(), 2);
    }
}
