//! `trace/tracestate-changed`: a callee's tracestate is not what its caller sent.

use std::collections::BTreeMap;

use crate::engine::{About, Cause, Finding, Judgement, Rule, Severity};
use crate::evidence::Evidence;
use crate::evidence::need;
use crate::evidence::tracing::headers::{StateChange, state_change};
use crate::evidence::tracing::tell;
use case::model::SpanKind;

const COMMA: &str = "propagation/tracestate-mangled#comma-split-wrong";
const CODING: &str = "propagation/tracestate-mangled#url-coding-wrong";
const LIMIT: &str = "propagation/tracestate-mangled#length-limit-broken";

const LEAST: u64 = 5;

static ABOUT: About = About {
    id: "trace/tracestate-changed",
    title: "tracestate does not arrive as it was sent",
    severity: Severity::Warning,
    needs: &[need::SPANS],
    meaning: "What tracing systems write into tracestate is theirs: every hop passes it on byte by byte, up to 32 members. \
              Here a service works with another tracestate than its caller sent, so whoever wrote into it can not read it.",
    threshold: "5 calls to one service whose tracestate was changed in the same way; blanks, a member added in front, and \
                a list of more than 32 members dropped whole do not count",
    causes: &[
        Cause {
            id: COMMA,
            what: "members are cut off or merged where the list is split",
            sign: "the number of members differs",
        },
        Cause {
            id: CODING,
            what: "values are encoded or decoded on the way",
            sign: "as many members, other bytes",
        },
        Cause {
            id: LIMIT,
            what: "limits are ignored, or kept by dropping everything",
            sign: "only long lists: more than 32 members passed on, or more than 512 characters emptied",
        },
    ],
    remedy: "split at commas, trim blanks, pass members on unchanged, and drop whole members from the end where it is too long",
    follows: &[],
};

pub(crate) struct TracestateChanged;

#[derive(Default)]
struct Group {
    count: u64,
    first: u64,
    last: u64,
    samples: Vec<u32>,
}

impl Rule for TracestateChanged {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let rows = &evidence.tracing.rows;
        let mut groups: BTreeMap<(String, StateChange), Group> = BTreeMap::new();
        let (mut compared, mut same) = (0u64, 0u64);
        for row in 0..rows.len() {
            let Some(parent) = rows.parent_of(row) else {
                continue;
            };
            if rows.kind(row) != SpanKind::Server || rows.kind(parent) != SpanKind::Client {
                continue;
            }
            let sent = match rows.written(parent) {
                Some(written) => written.tracestate.as_str(),
                None => rows.states.get(rows.state[parent]),
            };
            if sent.is_empty() {
                continue;
            }
            compared += 1;
            let Some(change) = state_change(sent, rows.states.get(rows.state[row])) else {
                same += 1;
                continue;
            };
            let at = rows.start[row];
            let group = groups
                .entry((rows.service(rows.who[row]).to_owned(), change))
                .or_default();
            group.first = if group.count == 0 {
                at
            } else {
                group.first.min(at)
            };
            group.last = group.last.max(at);
            group.count += 1;
            if group.samples.len() < 4 {
                group.samples.push(row as u32);
            }
        }
        let mut judgement = Judgement {
            seen: vec![format!(
                "{compared} calls carried a tracestate, {same} of them unchanged"
            )],
            ..Judgement::default()
        };
        let nearest = groups.values().map(|group| group.count).max().unwrap_or(0);
        for ((service, change), group) in &groups {
            // A limit that is kept by emptying also changes how many members there are; shorter lists tell the two apart.
            if group.count >= LEAST {
                judgement
                    .findings
                    .push(finding(evidence, service, *change, group));
            }
        }
        if judgement.findings.is_empty() {
            judgement.distance = Some(format!(
                "{nearest} calls to one service with the same change; {LEAST} make a finding"
            ));
        }
        judgement
    }
}

fn finding(evidence: &Evidence, service: &str, change: StateChange, group: &Group) -> Finding {
    let rows = &evidence.tracing.rows;
    let (cause, how) = match change {
        StateChange::Members => (COMMA, "with members missing or merged"),
        StateChange::Bytes => (CODING, "with other bytes"),
        StateChange::Limit => (LIMIT, "against its limits"),
    };
    let (since, until) = tell::between(evidence, group.first, group.last);
    let mut finding = Finding::of(
        &ABOUT,
        cause,
        format!(
            "{service} takes tracestate {how}: {} calls since {}.",
            group.count,
            since.clock()
        ),
    )
    .about(service, "", "called")
    .between(since, until)
    .in_traces(tell::traces(rows, &group.samples));
    for row in group.samples.iter().take(2) {
        let server = *row as usize;
        let parent = rows.parent_of(server).unwrap_or(server);
        let sent = match rows.written(parent) {
            Some(written) => written.tracestate.as_str(),
            None => rows.states.get(rows.state[parent]),
        };
        let shown = |text: &str| match text {
            "" => "nothing".to_owned(),
            text => {
                let cut: String = text.chars().take(80).collect();
                match cut.len() < text.len() {
                    true => format!("\"{cut}…\" ({} characters)", text.len()),
                    false => format!("\"{cut}\""),
                }
            }
        };
        finding = finding.seen(tell::span(
            rows,
            *row,
            format!(
                "sent {}, taken as {}",
                shown(sent),
                shown(rows.states.get(rows.state[server]))
            ),
        ));
    }
    finding.sure()
}
