//! `trace/traceparent-corrupted`: a callee works with ids that are almost those it was sent.

use std::collections::BTreeMap;

use super::CALLS;
use crate::engine::{About, Cause, Finding, Judgement, Rule, Severity};
use crate::evidence::Evidence;
use crate::evidence::tracing::headers::{Damage, Form, damage, form};
use crate::evidence::tracing::{Pair, Rows, tell};

const LENGTH: &str = "propagation/traceparent-malformed-accepted#length-unchecked";
const HEX: &str = "propagation/traceparent-malformed-accepted#hex-decoding-wrong";
const DELIMITER: &str = "propagation/traceparent-malformed-accepted#delimiter-mishandled";
const VERSION: &str = "propagation/traceparent-malformed-accepted#version-unchecked";

/// Calls with the same damage that make a finding.
const LEAST: u64 = 5;
/// Torn calls looked at around one, when its own pair does not fit: calls that run side by side can be paired crosswise.
const NEIGHBOURS: usize = 32;

static ABOUT: About = About {
    id: "trace/traceparent-corrupted",
    title: "Trace ids are almost, not exactly, equal across a call",
    severity: Severity::Warning,
    needs: &[CALLS],
    meaning: "A service takes headers that no one may accept, or reads good ones wrongly: the ids it works with come from \
              those it was sent, with digits moved, swapped or filled up. Its part of each request is in a trace that no one \
              else knows.",
    threshold: "5 calls to one service with the same damage, or 5 with version ff that were accepted",
    causes: &[
        Cause {
            id: LENGTH,
            what: "the lengths of the fields are not checked",
            sign: "the same digits, shifted or filled up with zeros, and the parent id intact",
        },
        Cause {
            id: HEX,
            what: "hex digits are decoded wrongly",
            sign: "the same length, digits changed places in a fixed way",
        },
        Cause {
            id: DELIMITER,
            what: "the header is not split at its hyphens",
            sign: "digits of one field have crossed into the next",
        },
        Cause {
            id: VERSION,
            what: "a version that is forbidden is taken as valid",
            sign: "the ids are intact, the version is ff",
        },
    ],
    remedy: "accept only 2-32-16-2 lower-case hex digits split at hyphens, a known version and ids that are not zero",
    follows: &[],
};

pub(crate) struct Corrupted;

#[derive(Default)]
struct Group {
    count: u64,
    first: u64,
    last: u64,
    samples: Vec<Pair>,
}

impl Group {
    fn add(&mut self, pair: Pair, at: u64) {
        self.first = if self.count == 0 {
            at
        } else {
            self.first.min(at)
        };
        self.last = self.last.max(at);
        self.count += 1;
        if self.samples.len() < 4 {
            self.samples.push(pair);
        }
    }
}

impl Rule for Corrupted {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let tracing = &evidence.tracing;
        let rows = &tracing.rows;
        let mut groups: BTreeMap<(String, &'static str), Group> = BTreeMap::new();
        let mut altered = 0;
        for (place, pair) in tracing.edges.pairs.iter().enumerate() {
            let server = pair.server as usize;
            if !rows.names_parent(server) {
                continue;
            }
            altered += 1;
            let Some((client, damage)) = damaged(rows, &tracing.edges.pairs, place) else {
                continue;
            };
            let cause = match damage {
                Damage::Padded => LENGTH,
                Damage::Permuted => HEX,
                Damage::CutAmiss => DELIMITER,
            };
            let pair = Pair {
                client,
                server: pair.server,
            };
            groups
                .entry((rows.service(rows.who[server]).to_owned(), cause))
                .or_default()
                .add(pair, rows.start[server]);
        }
        for (client, written) in &rows.written {
            if form(written) != Form::ForbiddenVersion || !tracing.served[*client as usize] {
                continue;
            }
            let server = rows
                .of_trace(rows.trace[*client as usize])
                .find(|row| rows.parent[*row] == *client);
            if let Some(server) = server {
                let pair = Pair {
                    client: *client,
                    server: server as u32,
                };
                groups
                    .entry((rows.service(rows.who[server]).to_owned(), VERSION))
                    .or_default()
                    .add(pair, rows.start[server]);
            }
        }
        let mut judgement = Judgement {
            seen: vec![format!(
                "{altered} server spans name a parent that does not exist, in traces that begin with them, beside a call \
                 that no one answered"
            )],
            ..Judgement::default()
        };
        let nearest = groups.values().map(|group| group.count).max().unwrap_or(0);
        for ((service, cause), group) in &groups {
            if group.count >= LEAST {
                judgement
                    .findings
                    .push(finding(evidence, service, cause, group));
            }
        }
        if judgement.findings.is_empty() {
            judgement.distance = Some(format!(
                "{nearest} calls to one service with the same damage; {LEAST} make a finding"
            ));
        }
        judgement
    }
}

/// The call whose ids the server's came from, and how they were damaged.
fn damaged(rows: &Rows, pairs: &[Pair], place: usize) -> Option<(u32, Damage)> {
    let server = pairs[place].server as usize;
    let taken = (rows.trace_id(server), rows.parent_id(server));
    let around = place.saturating_sub(NEIGHBOURS)..(place + NEIGHBOURS).min(pairs.len());
    std::iter::once(place)
        .chain(around.filter(|other| *other != place))
        .find_map(|other| {
            let client = pairs[other].client;
            let row = client as usize;
            damage((rows.trace_id(row), rows.id[row]), taken).map(|damage| (client, damage))
        })
}

fn finding(evidence: &Evidence, service: &str, cause: &'static str, group: &Group) -> Finding {
    let rows = &evidence.tracing.rows;
    let how = match cause {
        LENGTH => "moved or filled up with zeros",
        HEX => "with digits in other places",
        DELIMITER => "cut across the borders of the fields",
        _ => "from headers of the forbidden version ff",
    };
    let (since, until) = tell::between(evidence, group.first, group.last);
    let mut finding = Finding::of(
        &ABOUT,
        cause,
        format!(
            "{service} takes trace ids {how}: {} calls since {}.",
            group.count,
            since.clock()
        ),
    )
    .about(service, "", "called")
    .between(since, until);
    for pair in group.samples.iter().take(2) {
        let (client, server) = (pair.client as usize, pair.server as usize);
        finding = match (cause, rows.written(client)) {
            (VERSION, Some(written)) => finding.seen(tell::span(
                rows,
                pair.server,
                format!("accepted: {}", written.traceparent),
            )),
            _ => finding.seen(tell::span(
                rows,
                pair.server,
                format!(
                    "sent {}-{}, taken as {}-{}",
                    rows.trace_id(client),
                    rows.id[client],
                    rows.trace_id(server),
                    rows.parent_id(server),
                ),
            )),
        };
    }
    let mut traces = Vec::new();
    for pair in &group.samples {
        traces.extend(tell::traces(rows, &[pair.client, pair.server]));
    }
    finding.in_traces(traces).sure()
}
