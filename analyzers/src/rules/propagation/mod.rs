//! Rules about trace context on its way from caller to callee.

mod callee_side;
mod caller_side;
mod corrupted;
mod overstrict;
pub(super) mod parents;
mod sometimes;
mod tracestate;

#[cfg(test)]
mod tests;

use crate::engine::{Finding, Judgement, Rule, Seen};
use crate::evidence::tracing::headers::Form;
use crate::evidence::tracing::{Blame, Scope, Side, Tracing, tell};
use crate::evidence::{Evidence, Need, need};

/// A line each.
pub(super) const RULES: &[&dyn Rule] = &[
    &caller_side::CallerSide,
    &callee_side::CalleeSide,
    &sometimes::Sometimes,
    &overstrict::Overstrict,
    &corrupted::Corrupted,
    &tracestate::TracestateChanged,
    &parents::ParentInconsistent,
];

/// Both sides of calls, with addresses to know them by where ids do not tell.
const CALLS: Need = Need {
    name: "spans of both sides of calls, with server.address and server.port",
    missing: |evidence| {
        let rows = &evidence.tracing.rows;
        let listens = |client: bool| {
            (0..rows.len()).any(|row| {
                rows.address[row] != 0
                    && (rows.kind(row) == case::model::SpanKind::Client) == client
            })
        };
        need::none(rows.len() as u64, "spans").or_else(|| {
            (!listens(true))
                .then(|| "no client span in the window says which address it called".to_owned())
                .or_else(|| {
                    (!listens(false)).then(|| {
                        "no server span in the window says at which address it listens".to_owned()
                    })
                })
        })
    },
};

/// What of the header makes a parser that is too strict refuse it, if that is what tears these calls.
fn too_strict(blame: &Blame) -> Option<Form> {
    let telling = |form: Form, words: &[&str]| {
        // Without a complaint, only calls that went on with other headers show that it is the header.
        blame.form == Some(form)
            && blame.same_form == 0
            && (blame.refused_for(words) || (blame.other_forms >= 5 && !blame.is_refused()))
    };
    if blame.side == Side::Caller && blame.others.len() > 1 {
        return None;
    }
    let all = blame.form == Some(Form::MoreFlags) && blame.refused_for(&["flags"]);
    if all || telling(Form::MoreFlags, &["flags"]) {
        return Some(Form::MoreFlags);
    }
    if telling(Form::LaterVersion, &["version"]) {
        return Some(Form::LaterVersion);
    }
    telling(Form::LongState, &["tracestate"]).then_some(Form::LongState)
}

/// Whether the client is to blame: what it sent is no header that anyone must accept.
fn client_sends_rubbish(blame: &Blame) -> bool {
    matches!(blame.form, Some(Form::Malformed | Form::ForbiddenVersion))
}

/// Times, traces and the first calls of a blame.
fn with_pairs(mut finding: Finding, evidence: &Evidence, blame: &Blame) -> Finding {
    let rows = &evidence.tracing.rows;
    let (since, until) = tell::between(evidence, blame.count.first, blame.count.last);
    finding = finding.between(since, until);
    if let Some(pair) = blame.count.samples.first() {
        let (client, server) = (pair.client as usize, pair.server as usize);
        finding = finding
            .seen(tell::span(
                rows,
                pair.client,
                format!(
                    "{} calls {}; no span of the other side is in this trace",
                    rows.service(rows.who[client]),
                    rows.names.get(rows.name[client]),
                ),
            ))
            .seen(tell::span(
                rows,
                pair.server,
                format!(
                    "{} serves it at the same address and time in a trace of its own",
                    rows.service(rows.who[server]),
                ),
            ));
    }
    let mut traces = Vec::new();
    for pair in &blame.count.samples {
        traces.extend(tell::traces(rows, &[pair.client, pair.server]));
    }
    finding.in_traces(traces)
}

/// What the callees said of headers they refused.
fn complaints(finding: Finding, evidence: &Evidence, blame: &Blame) -> Finding {
    let Some((reason, count)) = blame.refused.iter().max_by_key(|(_, count)| **count) else {
        return finding;
    };
    finding.seen(Seen::at(
        format!("{count} log lines say the caller's context was refused: {reason}"),
        crate::reference::Reference::Logs {
            window: evidence.window(),
            service: match blame.side {
                Side::Callee => Some(blame.service.clone()),
                Side::Caller => blame.others.first().cloned(),
            },
            filter: None,
        },
    ))
}

/// A finding for each side that is to blame in this way.
fn judge_blames(
    evidence: &Evidence,
    holds: impl Fn(&Blame) -> bool,
    finding: impl Fn(&Evidence, &Blame) -> Finding,
) -> Judgement {
    let tracing = &evidence.tracing;
    let findings: Vec<Finding> = tracing
        .blames
        .iter()
        .filter(|blame| holds(blame))
        .map(|blame| finding(evidence, blame))
        .collect();
    Judgement {
        seen: vec![seen(tracing)],
        distance: findings.is_empty().then(|| distance(tracing)),
        findings,
    }
}

fn seen(tracing: &Tracing) -> String {
    format!(
        "{} calls were seen from both sides in one trace, {} in two",
        tracing.edges.joined,
        tracing.edges.pairs.len(),
    )
}

/// The nearest any scope came, for those who ask why nothing was found.
fn distance(tracing: &Tracing) -> String {
    format!(
        "{} calls broke the trace; {} with a side in common, and {} of that side's calls, make a finding",
        tracing.edges.pairs.len(),
        crate::evidence::tracing::blame::LEAST,
        tell::percent(crate::evidence::tracing::blame::ALWAYS),
    )
}

/// The instance a scope is about, or nothing.
fn instance<'a>(tracing: &'a Tracing, blame: &Blame) -> &'a str {
    match blame.scope {
        Scope::Instance(who) => &tracing.rows.peers[who as usize].instance,
        _ => "",
    }
}
