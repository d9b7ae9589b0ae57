//! `trace/edge-broken-callee-side`: one service begins a new trace for every call that comes in.

use super::{
    CALLS, client_sends_rubbish, complaints, instance, judge_blames, too_strict, with_pairs,
};
use crate::engine::{About, Cause, Finding, Judgement, Rule, Seen, Severity};
use crate::evidence::Evidence;
use crate::evidence::tracing::{Aspect, Blame, Scope, Side, tell};

const EXTRACT: &str = "propagation/new-trace-per-service#extract-missing";
const AFTER_SPAN: &str = "propagation/new-trace-per-service#extract-after-span";
const PARSER: &str = "propagation/new-trace-per-service#header-parser-fails";
const INJECT: &str = "propagation/single-service-traces#inject-missing";

static ABOUT: About = About {
    id: "trace/edge-broken-callee-side",
    title: "A service does not go on with its callers' traces",
    severity: Severity::Warning,
    needs: &[CALLS],
    meaning: "The server spans of this service begin new traces, while its callers, whoever they are, have client spans \
              to its address at the same times that nobody answers in their traces. Their other calls do go on elsewhere, \
              so it is this service that does not take the header.",
    threshold: "5 such calls, and 9 in 10 of the calls to this service (or to one of its instances, or over one transport) \
                while they lasted",
    causes: &[
        Cause {
            id: EXTRACT,
            what: "the callee never reads the trace headers",
            sign: "calls of all callers break, nothing is said of bad headers, and all its spans are in the new trace",
        },
        Cause {
            id: AFTER_SPAN,
            what: "the callee reads the trace headers after it has begun its server span",
            sign: "the server span is alone, and what it does inside hangs in the caller's trace",
        },
        Cause {
            id: PARSER,
            what: "the callee reads the trace headers and refuses good ones",
            sign: "the callee logs a refused header for each request",
        },
        Cause {
            id: INJECT,
            what: "the caller never writes the trace headers",
            sign: "all calls of one caller break, to whomever",
        },
    ],
    remedy: "read traceparent before the server span is begun, and accept every header that is valid",
    follows: &[],
};

pub(crate) struct CalleeSide;

impl Rule for CalleeSide {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let holds = |blame: &Blame| {
            let always = matches!(
                blame.scope,
                Scope::All | Scope::Instance(_) | Scope::Transport(_)
            );
            blame.side == Side::Callee
                && always
                && too_strict(blame).is_none()
                && !client_sends_rubbish(blame)
        };
        judge_blames(evidence, holds, finding)
    }
}

fn finding(evidence: &Evidence, blame: &Blame) -> Finding {
    let tracing = &evidence.tracing;
    let rows = &tracing.rows;
    let mut inside = 0;
    let mut logs = false;
    for who in 0..rows.peers.len() as u32 {
        if rows.service(who) != blame.service {
            continue;
        }
        logs |= tracing.table.presence.contains_key(&who);
        inside += tracing
            .shape
            .sum(who, Aspect::NoServerBetween, |_, _| true)
            .odd;
    }
    let cause = if inside * 2 >= blame.count.broken {
        AFTER_SPAN
    } else if blame.is_refused() {
        PARSER
    } else {
        EXTRACT
    };
    let of = match blame.scope {
        Scope::Transport(transport) => format!(" over {}", transport.name()),
        _ => String::new(),
    };
    let mut finding = Finding::of(
        &ABOUT,
        cause,
        format!(
            "{} begins new traces instead of going on with those of {}: {} of {} calls{of}.",
            match blame.scope {
                Scope::Instance(who) => tell::who(rows, who),
                _ => &blame.service,
            },
            tell::list(&blame.others),
            blame.count.broken,
            blame.count.all(),
        ),
    )
    .about(&blame.service, instance(tracing, blame), "called");
    for other in &blame.others {
        finding = finding.about(other, "", "caller");
    }
    finding = with_pairs(finding, evidence, blame);
    if inside > 0 && cause == AFTER_SPAN {
        finding = finding.seen(Seen::note(format!(
            "{inside} inner spans of {} hang right under its callers' spans",
            blame.service
        )));
    }
    finding = complaints(finding, evidence, blame);
    if let Some((_, caller)) = &blame.either
        && cause == EXTRACT
    {
        return finding.or(
            INJECT,
            format!(
                "another caller of {}, another service called by {caller}, or a traced probe",
                blame.service
            ),
        );
    }
    match cause {
        EXTRACT if !logs => finding.or(PARSER, format!("log lines of {}", blame.service)),
        _ => finding.sure(),
    }
}
