//! `trace/no-parents`: the spans that one service makes do not know each other.

use crate::engine::{About, Cause, Finding, Judgement, Rule, Seen, Severity};
use crate::evidence::Evidence;
use crate::evidence::need;
use crate::evidence::tracing::counts::{Counts, What};
use crate::evidence::tracing::{Aspect, tell};

const NO_CONTEXT: &str = "span-relations/all-roots#created-without-context";
const CURRENT_IGNORED: &str = "span-relations/all-roots#current-span-ignored";
const ID_ALONE: &str = "span-relations/all-roots#context-lacks-span";

/// Inner spans without parent that make a finding.
const LEAST: u64 = 10;
const ALWAYS: f64 = 0.9;

static ABOUT: About = About {
    id: "trace/no-parents",
    title: "Every span of a service is a root",
    severity: Severity::Warning,
    needs: &[need::SPANS],
    meaning: "What this service does inside a request stands side by side instead of in a tree: its inner spans have no \
              parent, each in a trace of its own or all in one.",
    threshold: "10 inner spans without parent on one instance, 9 in 10 of its inner spans meanwhile",
    causes: &[
        Cause {
            id: NO_CONTEXT,
            what: "spans are created from an empty context",
            sign: "each span has a trace id of its own",
        },
        Cause {
            id: CURRENT_IGNORED,
            what: "the current span is never taken as the parent",
            sign: "one trace id, and not even the server span has its remote parent",
        },
        Cause {
            id: ID_ALONE,
            what: "the context carries the trace id and not the span",
            sign: "one trace id, the server span is right, and inner spans have no parent",
        },
    ],
    remedy: "create every span from the request's context, with its current span as the parent",
    follows: &[],
};

pub(crate) struct NoParents;

impl Rule for NoParents {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let tracing = &evidence.tracing;
        let (rows, shape) = (&tracing.rows, &tracing.shape);
        let mut judgement = Judgement::default();
        let mut nearest = 0;
        for aspect in [Aspect::LonelyInner, Aspect::ParentlessInner] {
            for (who, _) in shape.with(aspect) {
                let inner = shape.sum(who, aspect, |_, cell| !cell.entry);
                nearest = nearest.max(inner.odd);
                if inner.odd < LEAST || inner.share() < ALWAYS {
                    continue;
                }
                let entry = shape.sum(who, Aspect::ParentlessEntry, |_, cell| cell.entry);
                let cause = match aspect {
                    Aspect::LonelyInner => NO_CONTEXT,
                    _ if entry.odd > 0 && entry.share() >= ALWAYS => CURRENT_IGNORED,
                    _ => ID_ALONE,
                };
                let (since, until) = tell::between(evidence, inner.first, inner.last);
                let peer = &rows.peers[who as usize];
                let where_to = match cause {
                    NO_CONTEXT => "each in a trace of its own",
                    CURRENT_IGNORED => "in the right traces, the server spans among them",
                    _ => "in the right traces, under server spans that have theirs",
                };
                let mut finding = Finding::of(
                    &ABOUT,
                    cause,
                    format!(
                        "{} makes spans without parents: {} of {} inner spans, {where_to}.",
                        tell::who(rows, who),
                        inner.odd,
                        inner.odd + inner.usual,
                    ),
                )
                .about(&peer.service, &peer.instance, "sender")
                .between(since, until)
                .in_traces(tell::traces(rows, &inner.samples));
                for row in inner.samples.iter().take(2) {
                    let name = rows.names.get(rows.name[*row as usize]);
                    finding = finding.seen(tell::span(rows, *row, format!("{name}: no parent")));
                }
                if let Some(note) = origins(&tracing.counts, who, inner.first, inner.last) {
                    finding = finding.seen(tell::metric(rows, who, "otel.sdk.span.started", note));
                }
                if cause == CURRENT_IGNORED {
                    finding = finding.seen(Seen::note(format!(
                        "{} server spans of it have no parent either, though a caller began their trace",
                        entry.odd
                    )));
                }
                judgement.findings.push(finding.sure());
            }
        }
        judgement.seen.push(format!(
            "the inner spans of {} senders were looked at",
            rows.peers.len()
        ));
        if judgement.findings.is_empty() {
            judgement.distance = Some(format!(
                "at most {nearest} inner spans without parent on one instance; {LEAST}, and {} of its inner spans, make \
                 a finding",
                tell::percent(ALWAYS)
            ));
        }
        judgement
    }
}

/// What the process itself counts of where the parents of its spans are.
fn origins(counts: &Counts, who: u32, from: u64, until: u64) -> Option<String> {
    let (mut none, mut other) = (0.0, 0.0);
    for (label, points) in counts.of(who, What::StartedSpans) {
        let rise = Counts::rise(points, from, until)?;
        match label.ends_with("none") {
            true => none += rise,
            false => other += rise,
        }
    }
    (none + other > 0.0).then(|| {
        format!("of the spans it began meanwhile, {none:.0} had no parent and {other:.0} had one")
    })
}
