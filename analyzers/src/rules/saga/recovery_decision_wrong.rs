//! `saga/recovery-decision-wrong`: recovery goes on where it should turn back, or turns back where it should go on.

use super::recovering::{Stood, stood};
use super::shared::{Hit, JOURNAL, conclude, count, sagas};
use crate::engine::{About, Cause, Judgement, Rule, Seen, Severity};
use crate::evidence::Evidence;
use crate::saga::Sagas;
use crate::saga::model::Action;

/// Near the age at which a saga becomes stale, either decision may be right: clocks and reading take their time.
const EDGE: f64 = 0.05;

const MISREAD: &str = "saga-recovery/wrong-action#state-misread";
const UNCLEAR: &str = "saga-recovery/wrong-action#failure-mode-unclear";
const MISSING: &str = "saga-recovery/wrong-action#information-missing";

static ABOUT: About = About {
    id: "saga/recovery-decision-wrong",
    title: "Recovery decided against its matrix",
    severity: Severity::Error,
    needs: &[
        JOURNAL,
        super::shared::STEP_SPANS,
        crate::evidence::need::REGISTRY_EVENTS,
    ],
    meaning: "A saga that had lost its process was carried on although it should have been undone, or the reverse, by \
              the declared recovery matrix: what state it was in, how old, and whether the next service answers.",
    threshold: "one recovered saga whose action differs from the matrix, where state, age and reachability are known",
    causes: &[
        Cause {
            id: MISREAD,
            what: "the decision maps a state wrongly",
            sign: "the same state has the same wrong action each time, and the rows were complete",
        },
        Cause {
            id: UNCLEAR,
            what: "a step's outcome is unknown and handled by chance",
            sign: "equal rows with a step in progress were decided differently",
        },
        Cause {
            id: MISSING,
            what: "the row lacks what the decision needs",
            sign: "fields of the row were empty at the restart",
        },
    ],
    remedy: "decide from complete rows by the matrix, ask the callee where the outcome is unknown, and undo when unsure",
    follows: &[],
};

pub(super) struct RecoveryDecisionWrong;

/// A decision that was taken, with what was known.
struct Decided<'a> {
    stood: &'a Stood<'a>,
    action: &'a str,
    expected: Action,
    bare: bool,
}

impl Decided<'_> {
    fn is_wrong(&self) -> bool {
        self.action != self.expected.name()
    }
}

impl Rule for RecoveryDecisionWrong {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let sagas = sagas(evidence);
        let mut judgement = Judgement::default();
        let open = stood(sagas);
        let decided: Vec<Decided<'_>> = open
            .iter()
            .filter_map(|stood| decided(sagas, evidence, stood))
            .collect();
        let mut hits = Vec::new();
        for one in decided.iter().filter(|one| one.is_wrong()) {
            let alike = decided.iter().filter(|other| {
                other.stood.state == one.stood.state
                    && other.stood.open == one.stood.open
                    && other.expected == one.expected
            });
            let (mut right, mut wrong) = (0, 0);
            for other in alike {
                if other.is_wrong() {
                    wrong += 1;
                } else {
                    right += 1;
                }
            }
            let story = one.stood.story;
            let what = format!(
                "stood at {}{}; the matrix says {}, recovery did {}",
                one.stood.state,
                one.stood
                    .open
                    .and_then(|step| story.steps.get(step))
                    .map_or_else(String::new, |step| format!(
                        " with {} in progress",
                        step.name
                    )),
                one.expected.name(),
                one.action,
            );
            let cause = if one.bare {
                MISSING
            } else if right > 0 && one.stood.open.is_some() {
                UNCLEAR
            } else {
                MISREAD
            };
            let mut hit = Hit::of(cause, story, one.stood.start.at, what);
            if let Some(recovery) = one.stood.recovery() {
                hit = hit.seen(Seen::span(
                    "the recovery",
                    recovery.at.trace,
                    recovery.at.span,
                ));
            }
            if cause == MISREAD && one.stood.open.is_some() && wrong < 2 {
                hit = hit.or(UNCLEAR, "a second saga that stood the same way");
            }
            hits.push(hit);
        }
        judgement.seen.push(format!(
            "{} of recovery that the matrix covers, {} against it",
            count(decided.len(), "decision"),
            hits.len()
        ));
        if hits.is_empty() {
            judgement.distance = Some("every decision is that of the matrix".to_owned());
        }
        conclude(&ABOUT, hits, &mut judgement, |cause, hits| {
            let who = hits.first().map_or("", |hit| hit.service.as_str());
            let many = count(hits.len(), "saga");
            match cause {
                MISREAD => format!(
                    "{who} recovers {many} against the matrix, the same way for the same state."
                ),
                UNCLEAR => {
                    format!("{who} recovers {many} by chance: equal rows were decided differently.")
                }
                _ => format!("{who} recovers {many} from rows that lack what the decision needs."),
            }
        });
        judgement
    }
}

fn decided<'a>(sagas: &'a Sagas, evidence: &Evidence, stood: &'a Stood<'a>) -> Option<Decided<'a>> {
    let recovery = stood.recovery()?;
    let model = sagas.model_of(stood.story)?;
    let limit = sagas.scaled(model.timing.stale_after_s);
    let age = recovery.start.0.saturating_sub(stood.last.0);
    if age.abs_diff(limit) < (limit as f64 * EDGE) as u64 {
        return None;
    }
    let reachable = stood.next_service().map_or(Some(true), |service| {
        reachable(evidence, service, recovery.start)
    });
    let expected = model.decide(
        &stood.state,
        !stood.is_stale(sagas, recovery.start),
        reachable,
    )?;
    Some(Decided {
        stood,
        action: &recovery.action,
        expected,
        bare: is_bare(stood),
    })
}

/// Whether the row lacked at the restart what the log of the same saga has.
fn is_bare(stood: &Stood<'_>) -> bool {
    stood
        .story
        .rows
        .iter()
        // What recovery made of the row is another state.
        .rfind(|row| {
            row.state == stood.state && row.seen < stood.start.at.saturating_add(3_000_000_000)
        })
        .is_some_and(|row| {
            row.updated.is_none()
                || !stood.done.is_empty()
                    && row.completed.as_ref().is_none_or(Vec::is_empty)
                    && !stood.undoing
        })
}

/// Whether the registry handed out an instance of a service at a moment; `None` where it says nothing.
fn reachable(evidence: &Evidence, service: &str, at: case::Nanos) -> Option<bool> {
    let snapshot = evidence
        .basis
        .registry
        .snapshots
        .iter()
        .rfind(|snapshot| snapshot.at <= at)?;
    Some(snapshot.instances.iter().any(|instance| {
        instance.name == service
            && matches!(instance.status.as_str(), "healthy" | "degraded" | "suspect")
    }))
}

#[cfg(test)]
mod tests;
