//! `trace/traceparent-overstrict`: valid headers are thrown away.

use super::{CALLS, complaints, distance, seen, too_strict, with_pairs};
use crate::engine::{About, Cause, Finding, Judgement, Rule, Seen, Severity};
use crate::evidence::Evidence;
use crate::evidence::tracing::headers::Form;
use crate::evidence::tracing::{Blame, Side, tell};

const VERSION: &str = "propagation/traceparent-valid-rejected#future-version-rejected";
const FLAGS: &str = "propagation/traceparent-valid-rejected#flags-overchecked";
const STATE: &str = "propagation/traceparent-valid-rejected#tracestate-failure-drops-all";

static ABOUT: About = About {
    id: "trace/traceparent-overstrict",
    title: "Valid trace headers are thrown away",
    severity: Severity::Warning,
    needs: &[CALLS],
    meaning: "Calls whose traceparent is valid but less usual (a later version, further flags, a long tracestate beside \
              it) begin new traces, while plain ones go on. The specification has later versions read as far as they are \
              known, unknown flags ignored, and a bad tracestate dropped without the traceparent.",
    threshold: "5 such calls, 9 in 10 of those with such a header and none without; or as many with complaints that name it",
    causes: &[
        Cause {
            id: VERSION,
            what: "the callee's parser insists on version 00",
            sign: "only headers of versions above 00 are refused",
        },
        Cause {
            id: FLAGS,
            what: "the callee's parser allows no flags but 00 and 01",
            sign: "only headers with further flags are refused",
        },
        Cause {
            id: STATE,
            what: "a tracestate that is too long or bad discards the traceparent with it",
            sign: "only requests with a long or bad tracestate break",
        },
    ],
    remedy: "read the leading fields of later versions, mask the flags that are known, and drop a bad tracestate alone",
    follows: &[],
};

pub(crate) struct Overstrict;

impl Rule for Overstrict {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let tracing = &evidence.tracing;
        let mut judgement = Judgement {
            seen: vec![
                seen(tracing),
                format!(
                    "{} callers' headers were recorded",
                    tracing.rows.written.len()
                ),
            ],
            ..Judgement::default()
        };
        for blame in &tracing.blames {
            if let Some(form) = too_strict(blame) {
                judgement.findings.push(finding(evidence, blame, form));
            }
        }
        if judgement.findings.is_empty() {
            judgement.distance = Some(distance(tracing));
        }
        judgement
    }
}

fn finding(evidence: &Evidence, blame: &Blame, form: Form) -> Finding {
    let (cause, which) = match form {
        Form::LaterVersion => (VERSION, "of a version above 00"),
        Form::LongState => (STATE, "beside a tracestate of more than 32 members"),
        _ => (FLAGS, "with flags beyond 01"),
    };
    let callee = match blame.side {
        Side::Callee => blame.service.as_str(),
        Side::Caller => blame.others.first().map_or("", String::as_str),
    };
    let mut finding = Finding::of(
        &ABOUT,
        cause,
        format!(
            "{callee} throws away valid trace headers {which}: {} of {} such calls began new traces.",
            blame.count.broken,
            blame.count.broken + blame.same_form,
        ),
    )
    .about(callee, "", "called");
    finding = with_pairs(finding, evidence, blame);
    if let Some(pair) = blame.count.samples.first()
        && let Some(written) = evidence.tracing.rows.written(pair.client as usize)
    {
        finding = finding.seen(tell::span(
            &evidence.tracing.rows,
            pair.client,
            format!("the caller sent traceparent {}", written.traceparent),
        ));
    }
    finding = complaints(finding, evidence, blame);
    if blame.other_forms > 0 {
        finding = finding.seen(Seen::note(format!(
            "{} calls with plain headers kept their trace meanwhile",
            blame.other_forms
        )));
    }
    finding.sure()
}
