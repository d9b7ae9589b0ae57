//! `trace/edge-broken-sometimes`: traces go on into a service at one time and break at another.

use super::{CALLS, client_sends_rubbish, complaints, judge_blames, too_strict, with_pairs};
use crate::engine::{About, Cause, Finding, Judgement, Rule, Seen, Severity};
use crate::evidence::Evidence;
use crate::evidence::tracing::edges::Crowd;
use crate::evidence::tracing::shape::share;
use crate::evidence::tracing::{Blame, Scope, Side, tell};

const RACE: &str = "propagation/intermittent-extraction#race-in-context";
const ORDER: &str = "propagation/intermittent-extraction#middleware-order";
const FORMAT: &str = "propagation/intermittent-extraction#client-header-format";

/// Requests served one at a time that make their freedom from breaks tell something.
const ENOUGH_ALONE: u64 = 10;

static ABOUT: About = About {
    id: "trace/edge-broken-sometimes",
    title: "Traces go on into a service at one time and break at another",
    severity: Severity::Warning,
    needs: &[CALLS],
    meaning: "Some of the calls to this service begin a new trace although their caller sent one, and others, between \
              them, do not. What the broken ones have in common says why: a route, a client, or nothing but that \
              the service was busy.",
    threshold: "5 such calls; of one route or one client 9 in 10, or of all calls to the service 3 in 100, while they lasted",
    causes: &[
        Cause {
            id: RACE,
            what: "requests that are served at the same time share one variable for their context",
            sign: "no route and no client in common, and none of the requests that were served alone",
        },
        Cause {
            id: ORDER,
            what: "some routes are outside the part that reads the trace headers",
            sign: "always on some routes, never on others, whoever calls",
        },
        Cause {
            id: FORMAT,
            what: "some clients send headers of another form",
            sign: "always for some clients, never for others, on whatever route",
        },
    ],
    remedy: "read the trace headers before anything else, on every route, into the request's own context",
    follows: &[
        "trace/edge-broken-caller-side",
        "trace/traceparent-corrupted",
    ],
};

pub(crate) struct Sometimes;

impl Rule for Sometimes {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let holds = |blame: &Blame| {
            let split = matches!(blame.scope, Scope::Route(_) | Scope::Agent(_) | Scope::Some);
            let wrong = client_sends_rubbish(blame);
            too_strict(blame).is_none() && (wrong || (blame.side == Side::Callee && split))
        };
        judge_blames(evidence, holds, finding)
    }
}

fn finding(evidence: &Evidence, blame: &Blame) -> Finding {
    let tracing = &evidence.tracing;
    let rows = &tracing.rows;
    let callee = match blame.side {
        Side::Callee => blame.service.as_str(),
        Side::Caller => blame.others.first().map_or("", String::as_str),
    };
    let crowd = crowd(evidence, callee);
    let told = |cause: &'static str, which: String| {
        Finding::of(
            &ABOUT,
            cause,
            format!(
                "{callee} begins new traces for {which}: {} of {} calls.",
                blame.count.broken,
                blame.count.all(),
            ),
        )
        .about(callee, "", "called")
    };
    let mut finding = match (client_sends_rubbish(blame), blame.scope) {
        (true, scope) => {
            let client = match scope {
                Scope::Agent(agent) => rows.agents.get(agent).to_owned(),
                _ => tell::list(&blame.others),
            };
            told(FORMAT, format!("requests of {client}"))
        }
        (_, Scope::Agent(agent)) => told(FORMAT, format!("requests of {}", rows.agents.get(agent))),
        (_, Scope::Route(name)) => told(ORDER, rows.names.get(name).to_owned()),
        _ => told(RACE, "some requests, of any route and client".to_owned()),
    };
    finding = with_pairs(finding, evidence, blame);
    finding = complaints(finding, evidence, blame);
    if blame.contrast > 0 {
        finding = finding.seen(Seen::note(format!(
            "{} other calls to {callee} kept their trace meanwhile",
            blame.contrast
        )));
    }
    if let Some(pair) = blame.count.samples.first()
        && let Some(written) = rows.written(pair.client as usize)
        && client_sends_rubbish(blame)
    {
        finding = finding.seen(tell::span(
            rows,
            pair.client,
            format!("the client sent traceparent {}", written.traceparent),
        ));
    }
    if finding.cause_id != RACE {
        let known = blame.contrast > 0
            && (finding.cause_id == ORDER || blame.is_refused() || blame.form.is_some());
        return if known { finding.sure() } else { finding };
    }
    finding = finding.seen(Seen::note(format!(
        "{} of {} requests broke that were served beside others, {} of {} that were served alone",
        crowd.busy_torn, crowd.busy, crowd.alone_torn, crowd.alone,
    )));
    let alone = share(crowd.alone_torn, crowd.alone);
    let busy = share(crowd.busy_torn, crowd.busy);
    if crowd.alone >= ENOUGH_ALONE && alone * 4.0 < busy {
        return finding.sure();
    }
    finding
        .or(
            ORDER,
            format!(
                "requests to {callee} served one at a time ({} were seen)",
                crowd.alone
            ),
        )
        .or(FORMAT, "the headers that clients sent")
}

fn crowd(evidence: &Evidence, service: &str) -> Crowd {
    let mut sum = Crowd::default();
    for (who, crowd) in &evidence.tracing.edges.crowds {
        if evidence.tracing.rows.service(*who) == service {
            sum.alone += crowd.alone;
            sum.alone_torn += crowd.alone_torn;
            sum.busy += crowd.busy;
            sum.busy_torn += crowd.busy_torn;
        }
    }
    sum
}
