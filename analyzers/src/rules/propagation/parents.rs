//! `trace/parent-inconsistent`: spans are in the right trace, or near it, and under the wrong parent or none.

use std::collections::BTreeMap;

use crate::engine::{About, Cause, Finding, Judgement, Rule, Severity};
use crate::evidence::Evidence;
use crate::evidence::need;
use crate::evidence::tracing::shape::share;
use crate::evidence::tracing::{Aspect, Seen, Tracing, tell};

const MISASSIGNED: &str = "propagation/wrong-parent#span-id-misassigned";
const MISSING: &str = "propagation/wrong-parent#parent-id-missing";
const TASK: &str = "propagation/wrong-parent#task-context-lost";

const LEAST: u64 = 5;
const MOSTLY: f64 = 0.5;
const ALWAYS: f64 = 0.9;

static ABOUT: About = About {
    id: "trace/parent-inconsistent",
    title: "Spans hang under the wrong parent, or under none",
    severity: Severity::Warning,
    needs: &[need::SPANS],
    meaning: "Server spans are in their caller's trace, but not under the call that they answer: under a span above it, \
              under one that does not exist, or under none. Or work that a request started is outside its trace. Self \
              times, critical paths and who called whom can not be trusted there.",
    threshold: "5 spans of one service, and half (of spans without parent, 9 in 10) of its spans of the same name meanwhile",
    causes: &[
        Cause {
            id: MISASSIGNED,
            what: "another span's id is written as the parent",
            sign: "the parent exists one level too high, or nowhere, and the call itself has no child",
        },
        Cause {
            id: MISSING,
            what: "the parent field stays empty",
            sign: "the server spans of one service have no parent, in the right trace; its inner spans have theirs",
        },
        Cause {
            id: TASK,
            what: "work handed to a task does not take the request's context along",
            sign: "spans begun in tasks begin traces of their own while their request runs; what is done in sequence is right",
        },
    ],
    remedy: "pass on the id of the span that makes the call, and hand the current context to every task",
    follows: &["trace/edge-broken-caller-side"],
};

pub(crate) struct ParentInconsistent;

impl Rule for ParentInconsistent {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let tracing = &evidence.tracing;
        let mut judgement = Judgement::default();
        let mut nearest = 0;
        above(evidence, &mut judgement, &mut nearest);
        parentless(evidence, &mut judgement, &mut nearest);
        tasks(evidence, &mut judgement, &mut nearest);
        judgement.seen.push(format!(
            "{} spans of {} senders were looked at",
            tracing.rows.len(),
            tracing.rows.peers.len()
        ));
        if judgement.findings.is_empty() {
            judgement.distance = Some(format!(
                "at most {nearest} spans of one service odd in one way; {LEAST} make a finding"
            ));
        }
        judgement
    }
}

/// The service that called, as far as the samples show.
pub(crate) fn caller_of(tracing: &Tracing, seen: &Seen) -> String {
    let rows = &tracing.rows;
    let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &seen.samples {
        let row = *row as usize;
        let caller = match rows.parent_of(row) {
            Some(parent) => rows.who[parent],
            // The parent is nowhere: whose call to this address has no child?
            None => {
                let call = rows.of_trace(rows.trace[row]).find(|call| {
                    rows.kind(*call) == case::model::SpanKind::Client
                        && !tracing.served[*call]
                        && rows.address[*call] == rows.address[row]
                });
                match call {
                    Some(call) => rows.who[call],
                    None => continue,
                }
            }
        };
        *votes.entry(rows.service(caller)).or_default() += 1;
    }
    let best = votes.into_iter().max_by_key(|(_, count)| *count);
    best.map_or_else(String::new, |(service, _)| service.to_owned())
}

/// Odd server spans by whoever called them: (caller's service) to what was counted at all those it called.
pub(crate) fn by_caller(
    tracing: &Tracing,
    aspect: Aspect,
) -> BTreeMap<String, (Seen, Vec<String>)> {
    let mut groups: BTreeMap<String, (Seen, Vec<String>)> = BTreeMap::new();
    for ((who, _), cell) in &tracing.shape.cells {
        let seen = &cell.aspects[aspect as usize];
        if seen.odd == 0 {
            continue;
        }
        let caller = caller_of(tracing, seen);
        let group = groups.entry(caller).or_default();
        group.0.add(seen);
        let callee = tracing.rows.service(*who).to_owned();
        if !group.1.contains(&callee) {
            group.1.push(callee);
        }
    }
    groups
}

fn above(evidence: &Evidence, judgement: &mut Judgement, nearest: &mut u64) {
    let tracing = &evidence.tracing;
    for (caller, (seen, callees)) in by_caller(tracing, Aspect::AboveItsCall) {
        *nearest = seen.odd.max(*nearest);
        if seen.odd < LEAST || seen.share() < MOSTLY || caller.is_empty() {
            continue;
        }
        let (since, until) = tell::between(evidence, seen.first, seen.last);
        let mut finding = Finding::of(
            &ABOUT,
            MISASSIGNED,
            format!(
                "{caller} passes on another span's id than that of its call: {} server spans of {} are not under the call \
                 they answer.",
                seen.odd,
                tell::list(&callees),
            ),
        )
        .about(&caller, "", "caller")
        .between(since, until)
        .in_traces(tell::traces(&tracing.rows, &seen.samples));
        for callee in &callees {
            finding = finding.about(callee, "", "called");
        }
        for row in seen.samples.iter().take(2) {
            let place = *row as usize;
            let what = match tracing.rows.parent_of(place) {
                Some(parent) => format!(
                    "its parent is {} of {}, and the call beside it has no child",
                    tracing.rows.names.get(tracing.rows.name[parent]),
                    tracing.rows.service(tracing.rows.who[parent]),
                ),
                None => format!(
                    "its parent {} is nowhere, and the call to it has no child",
                    tracing.rows.parent_id(place)
                ),
            };
            finding = finding.seen(tell::span(&tracing.rows, *row, what));
        }
        judgement.findings.push(finding.sure());
    }
}

fn parentless(evidence: &Evidence, judgement: &mut Judgement, nearest: &mut u64) {
    let tracing = &evidence.tracing;
    for (who, seen) in tracing.shape.with(Aspect::ParentlessEntry) {
        *nearest = seen.odd.max(*nearest);
        let entries = tracing
            .shape
            .sum(who, Aspect::ParentlessEntry, |_, cell| cell.entry);
        // If its inner spans have no parents either, it is no matter of headers.
        let inner = tracing.shape.sum(who, Aspect::ParentlessInner, |_, _| true);
        if entries.odd < LEAST || entries.share() < ALWAYS || inner.odd >= entries.odd / 2 {
            continue;
        }
        let (since, until) = tell::between(evidence, seen.first, seen.last);
        let peer = &tracing.rows.peers[who as usize];
        let mut finding = Finding::of(
            &ABOUT,
            MISSING,
            format!(
                "{} keeps its callers' trace ids and drops their span ids: {} server spans without parent inside traces \
                 that others began.",
                tell::who(&tracing.rows, who),
                entries.odd,
            ),
        )
        .about(&peer.service, &peer.instance, "called")
        .between(since, until)
        .in_traces(tell::traces(&tracing.rows, &seen.samples));
        for row in seen.samples.iter().take(2) {
            finding = finding.seen(tell::span(
                &tracing.rows,
                *row,
                "no parent, in a trace that its caller began",
            ));
        }
        judgement.findings.push(finding.sure());
    }
}

fn tasks(evidence: &Evidence, judgement: &mut Judgement, nearest: &mut u64) {
    let tracing = &evidence.tracing;
    let rows = &tracing.rows;
    for ((who, name), cell) in &tracing.shape.cells {
        let seen = &cell.aspects[Aspect::Detached as usize];
        if seen.odd == 0 {
            continue;
        }
        // Background work begins traces by right. This does only if it is known as a part of requests, too.
        let within = (0..rows.len())
            .filter(|row| rows.name[*row] == *name && rows.parent_of(*row).is_some())
            .filter(|row| rows.service(rows.who[*row]) == rows.service(*who))
            .take(LEAST as usize)
            .count() as u64;
        if within >= LEAST {
            *nearest = seen.odd.max(*nearest);
        }
        let meanwhile = (0..rows.len())
            .filter(|row| rows.who[*row] == *who && rows.name[*row] == *name)
            .filter(|row| (seen.first..=seen.last).contains(&rows.start[*row]))
            .count() as u64;
        if seen.odd < LEAST || share(seen.odd, meanwhile) < ALWAYS || within < LEAST {
            continue;
        }
        let (since, until) = tell::between(evidence, seen.first, seen.last);
        let peer = &rows.peers[*who as usize];
        let mut finding = Finding::of(
            &ABOUT,
            TASK,
            format!(
                "{} loses the context of what it hands to a task: {} times \"{}\" began a trace of its own while its \
                 request ran.",
                tell::who(rows, *who),
                seen.odd,
                rows.names.get(*name),
            ),
        )
        .about(&peer.service, &peer.instance, "caller")
        .between(since, until)
        .in_traces(tell::traces(rows, &seen.samples));
        for row in seen.samples.iter().take(2) {
            finding = finding.seen(tell::span(
                rows,
                *row,
                "begins a trace while a request of the same process runs around it; at other times it is part of one",
            ));
        }
        judgement.findings.push(finding.sure());
    }
}
