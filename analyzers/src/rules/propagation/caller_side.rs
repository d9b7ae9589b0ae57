//! `trace/edge-broken-caller-side`: the calls of one service begin new traces at whoever is called.

use super::{CALLS, client_sends_rubbish, instance, judge_blames, too_strict, with_pairs};
use crate::engine::{About, Cause, Finding, Judgement, Rule, Seen, Severity};
use crate::evidence::Evidence;
use crate::evidence::tracing::{Blame, Scope, Side, tell};

const INJECT: &str = "propagation/single-service-traces#inject-missing";
const TRANSPORT: &str = "propagation/single-service-traces#one-transport-uninstrumented";
const SWITCHED_OFF: &str = "propagation/single-service-traces#middleware-switched-off";
const EXTRACT: &str = "propagation/new-trace-per-service#extract-missing";

static ABOUT: About = About {
    id: "trace/edge-broken-caller-side",
    title: "A service does not pass its trace on to those it calls",
    severity: Severity::Warning,
    needs: &[CALLS],
    meaning: "Client spans of this service have no other side in their trace, while the services it calls serve the same \
              calls, at the same addresses and times, in traces of their own. Those services go on with the traces of \
              their other callers, so it is this caller that leaves the header out. Requests can not be followed beyond it.",
    threshold: "5 such calls, and 9 in 10 of this caller's calls (of one transport, or of one instance) while they lasted",
    causes: &[
        Cause {
            id: INJECT,
            what: "the caller never writes the trace headers on outgoing calls",
            sign: "every outgoing call breaks, and those called go on with other callers' traces",
        },
        Cause {
            id: TRANSPORT,
            what: "the caller writes trace headers on some transports only",
            sign: "all calls of one transport break, those of the others do not",
        },
        Cause {
            id: SWITCHED_OFF,
            what: "outgoing calls are not instrumented on some instances of the caller",
            sign: "all calls of some instances break, those of the others do not",
        },
        Cause {
            id: EXTRACT,
            what: "the callee never reads the trace headers",
            sign: "all callers of one callee break",
        },
    ],
    remedy: "write traceparent and tracestate on every outgoing call, on every client the service has",
    follows: &[],
};

pub(crate) struct CallerSide;

impl Rule for CallerSide {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let holds = |blame: &Blame| {
            blame.side == Side::Caller
                && too_strict(blame).is_none()
                && !client_sends_rubbish(blame)
        };
        judge_blames(evidence, holds, finding)
    }
}

fn finding(evidence: &Evidence, blame: &Blame) -> Finding {
    let tracing = &evidence.tracing;
    let others = tell::list(&blame.others);
    let (cause, of) = match blame.scope {
        Scope::Transport(transport) => (TRANSPORT, format!("over {} ", transport.name())),
        Scope::Instance(who) => (
            SWITCHED_OFF,
            format!("from {} ", tell::who(&tracing.rows, who)),
        ),
        _ => (INJECT, String::new()),
    };
    let mut finding = Finding::of(
        &ABOUT,
        cause,
        format!(
            "{} does not pass its traces on: {} of {} calls {of}to {others} began new ones.",
            blame.service,
            blame.count.broken,
            blame.count.all(),
        ),
    )
    .about(&blame.service, instance(tracing, blame), "caller");
    for other in &blame.others {
        finding = finding.about(other, "", "called");
    }
    finding = with_pairs(finding, evidence, blame);
    let theirs: u64 = tracing
        .edges
        .sum(|key| {
            blame.others.contains(tracing.rows.service(key.callee))
                && tracing.rows.service(key.caller) != blame.service
        })
        .continued;
    if theirs > 0 {
        finding = finding.seen(Seen::note(format!(
            "meanwhile {others} went on with the traces of other callers in {theirs} calls"
        )));
    }
    if blame.contrast > 0 {
        finding = finding.seen(Seen::note(format!(
            "{} other calls of {} kept their trace",
            blame.contrast, blame.service
        )));
    }
    match &blame.either {
        Some((_, callee)) => finding.or(
            EXTRACT,
            format!("another caller of {callee}, or a traced probe of it"),
        ),
        None if blame.others.len() > 1 || theirs > 0 || blame.contrast > 0 => finding.sure(),
        None => finding,
    }
}
