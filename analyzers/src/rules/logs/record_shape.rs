//! `log/record-shape-wrong`: fields that every log record should have are missing or damaged.

use crate::engine::{About, Cause, Finding, Judgement, Rule, Severity};
use crate::evidence::Evidence;
use crate::evidence::need;
use crate::evidence::tracing::{Fault, Seen as Counted, tell};

const NOT_POPULATED: &str = "log-correlation/fields-wrong#record-not-populated";
const NOT_EXTRACTED: &str = "log-correlation/fields-wrong#context-not-extracted";
const BROKEN: &str = "log-correlation/fields-wrong#serialisation-broken";

const LEAST: u64 = 5;
const ALWAYS: f64 = 0.9;
const SOMETIMES: f64 = 0.1;

static ABOUT: About = About {
    id: "log/record-shape-wrong",
    title: "Log records lack fields, or have them damaged",
    severity: Severity::Warning,
    needs: &[need::LOGS],
    meaning: "A record has a time, a level, a service, trace and span ids, a message and fields. Here one sender's records \
              lack some of them in every line, or hold them in a form that can not be read back.",
    threshold: "5 lines of one sender: 9 in 10 of its lines without level or service, or of those about requests without \
                ids; 1 in 10 with fields written as escaped text",
    causes: &[
        Cause {
            id: NOT_POPULATED,
            what: "the fields that are the same in every line are not filled in",
            sign: "level or service are absent in every line, of requests or not",
        },
        Cause {
            id: NOT_EXTRACTED,
            what: "the request's values are not taken from its context",
            sign: "level and service are there; trace and span ids are absent in every line",
        },
        Cause {
            id: BROKEN,
            what: "the output's encoding damages fields",
            sign: "fields are there, with the wrong type, escaped or cut off",
        },
    ],
    remedy: "fill in level and service once for the logger, ids from the request's context, and write nested values as such",
    follows: &["log/trace-id-not-searchable"],
};

pub(crate) struct RecordShape;

impl Rule for RecordShape {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let tracing = &evidence.tracing;
        let table = &tracing.table;
        let rows = &tracing.rows;
        let mut judgement = Judgement {
            seen: vec![format!(
                "{} log records were looked at",
                tracing.lines.len()
            )],
            ..Judgement::default()
        };
        let mut nearest = 0;
        for who in 0..rows.peers.len() as u32 {
            let empty = table.sum(who, Fault::NoStaticFields, |_| true);
            let no_id = table.sum(who, Fault::NoId, |_| true);
            let damaged = table.sum(who, Fault::Damaged, |_| true);
            nearest = nearest.max(empty.odd).max(damaged.odd);
            if empty.odd >= LEAST && empty.share() >= ALWAYS {
                let which = which_fields(evidence, &empty);
                let text = format!(
                    "{} writes log records without {which}: {} of {}.",
                    sender(evidence, who),
                    empty.odd,
                    empty.odd + empty.usual,
                );
                judgement
                    .findings
                    .push(finding(evidence, NOT_POPULATED, text, who, &empty));
            }
            if no_id.odd >= LEAST && no_id.share() >= ALWAYS && no_id.usual < LEAST {
                let text = format!(
                    "{} writes none of its {} lines about requests with a trace id.",
                    sender(evidence, who),
                    no_id.odd,
                );
                judgement
                    .findings
                    .push(finding(evidence, NOT_EXTRACTED, text, who, &no_id));
            }
            if damaged.odd >= LEAST && damaged.share() >= SOMETIMES {
                let text = format!(
                    "{} writes fields as escaped text: {} of {} lines.",
                    sender(evidence, who),
                    damaged.odd,
                    damaged.odd + damaged.usual,
                );
                judgement
                    .findings
                    .push(finding(evidence, BROKEN, text, who, &damaged));
            }
        }
        if judgement.findings.is_empty() {
            judgement.distance = Some(format!(
                "at most {nearest} records of one sender without level or service, or damaged; {LEAST} make a finding"
            ));
        }
        judgement
    }
}

fn sender(evidence: &Evidence, who: u32) -> String {
    match tell::who(&evidence.tracing.rows, who) {
        "" => "a sender without name".to_owned(),
        name => name.to_owned(),
    }
}

fn which_fields(evidence: &Evidence, seen: &Counted) -> String {
    let lines = &evidence.tracing.lines;
    let any = |is: &dyn Fn(usize) -> bool| seen.samples.iter().any(|row| is(*row as usize));
    let mut which = Vec::new();
    if any(&|row| lines.severity_unset(row)) {
        which.push("level");
    }
    if any(&|row| lines.service_unset(row)) {
        which.push("service");
    }
    tell::list(which)
}

fn finding(
    evidence: &Evidence,
    cause: &'static str,
    text: String,
    who: u32,
    seen: &Counted,
) -> Finding {
    let tracing = &evidence.tracing;
    let (since, until) = tell::between(evidence, seen.first, seen.last);
    let peer = &tracing.rows.peers[who as usize];
    Finding::of(&ABOUT, cause, text)
        .about(&service_of(evidence, who), &peer.instance, "sender")
        .between(since, until)
        .seen(tell::lines(
            &tracing.rows,
            &tracing.lines,
            seen,
            format!("{} such lines", seen.odd),
        ))
        .sure()
}

/// A sender that does not name its service in its logs may do so in its spans.
fn service_of(evidence: &Evidence, who: u32) -> String {
    let rows = &evidence.tracing.rows;
    let peer = &rows.peers[who as usize];
    if !peer.service.is_empty() || peer.instance.is_empty() {
        return peer.service.clone();
    }
    rows.peers
        .iter()
        .find(|other| other.instance == peer.instance && !other.service.is_empty())
        .map_or_else(String::new, |other| other.service.clone())
}
