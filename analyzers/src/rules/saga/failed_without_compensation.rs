//! `saga/failed-without-compensation`: a step failed for good, and what was done before it stands as it was.

use super::shared::{Hit, JOURNAL, conclude, coordinator, count, sagas};
use crate::engine::{About, Cause, Judgement, Rule, Severity};
use crate::evidence::Evidence;
use crate::saga::{Outcome, Sagas, Status, StepStatus, Story};

/// How long after a failure the journal must have moved on: turning back is the next thing an orchestrator writes.
const TURN_S: f64 = 20.0;
const TURN_FLOOR: u64 = 3_000_000_000;

const TRIGGER: &str = "saga-step/compensation-not-run#trigger-missing";
const HANDLER: &str = "saga-step/compensation-not-run#handler-missing";
const BYPASS: &str = "saga-step/compensation-not-run#error-path-bypasses";

static ABOUT: About = About {
    id: "saga/failed-without-compensation",
    title: "A saga failed and its completed steps were not undone",
    severity: Severity::Error,
    needs: &[JOURNAL],
    meaning: "A step failed for good. Steps before it had taken effect and can be undone, but the journal shows no \
              attempt to undo them: money stays taken or stock stays held for an order that will never be.",
    threshold: "one saga whose step failed for good and whose row did not move for 3 s (20 s of the system's own \
                time, if that is longer), or that ended as failed with a completed, undoable step never tried",
    causes: &[
        Cause {
            id: TRIGGER,
            what: "failure never leads to compensation",
            sign: "the saga's state never moves after the failure, whichever step failed",
        },
        Cause {
            id: HANDLER,
            what: "no undo exists for one kind of step",
            sign: "compensation runs, and the same step is left out each time",
        },
        Cause {
            id: BYPASS,
            what: "some classes of error go straight to the end",
            sign: "the saga ends as failed with no compensation begun, for one class of error only",
        },
    ],
    remedy: "route every failure of a step through compensation, and check at start that each step has its undo",
    follows: &[],
};

pub(super) struct FailedWithoutCompensation;

impl Rule for FailedWithoutCompensation {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let sagas = sagas(evidence);
        let mut judgement = Judgement::default();
        let failed: Vec<&Story> = sagas
            .stories
            .iter()
            .filter(|story| story.failed_step().is_some())
            .collect();
        let undone = |story: &Story| story.now().is_some_and(|row| row.undo_started.is_some());
        let hits: Vec<Hit> = failed
            .iter()
            .filter_map(|story| look(sagas, story, &failed))
            .collect();
        judgement.seen.push(format!(
            "{} with a failed step; {} of them turned back",
            count(failed.len(), "saga"),
            failed.iter().filter(|story| undone(story)).count(),
        ));
        if hits.is_empty() {
            judgement.distance =
                Some("every completed step of a failed saga was undone or tried".into());
        }
        conclude(&ABOUT, hits, &mut judgement, |cause, hits| {
            let who = hits.first().map_or("", |hit| hit.service.as_str());
            let many = count(hits.len(), "failed saga");
            match cause {
                TRIGGER => {
                    format!("{who} left {many} where the failure struck: nothing is undone.")
                }
                HANDLER => format!("{who} undid {many} but left one kind of step out each time."),
                _ => format!("{who} ended {many} without undoing anything."),
            }
        });
        judgement
    }
}

/// Completed steps that can be undone.
fn owed(story: &Story) -> Vec<usize> {
    (0..story.steps.len())
        .filter(|step| {
            story
                .steps
                .get(*step)
                .is_some_and(|known| known.undo.is_some())
        })
        .filter(|step| story.was_done(*step))
        .collect()
}

fn look(sagas: &Sagas, story: &Story, failed: &[&Story]) -> Option<Hit> {
    let (step, record) = story.failed_step()?;
    let row = story.now()?;
    let name = story
        .steps
        .get(step)
        .map_or("a step", |step| step.name.as_str());
    let untouched = row.undo_started.is_none()
        && !story.tries.iter().any(|attempt| attempt.undo)
        && !(0..story.steps.len()).any(|step| story.undo_tried(step));
    let owed = owed(story);
    let class = |outcome: Outcome| match outcome {
        Outcome::Unknown => "no answer",
        _ => "a refusal",
    };
    let at = record.at;
    match row.status {
        Status::Initiated | Status::Running if untouched => {
            let limit = sagas.scaled(TURN_S).max(TURN_FLOOR);
            let stands = story.steps.get(step)?.status == StepStatus::Failed
                && sagas.journal_read.0.saturating_sub(at.0) > limit
                && story.last_sign().0 <= at.0.saturating_add(limit);
            if !stands {
                return None;
            }
            let hit = Hit::of(
                TRIGGER,
                story,
                at,
                format!(
                    "{name} failed with {} ({}); the saga still reads {} and compensation never began",
                    class(record.outcome),
                    record.error,
                    row.state
                ),
            );
            let same_step_undone = failed.iter().any(|other| {
                other.failed_step().is_some_and(|(step, other)| {
                    story.steps.get(step).is_some_and(|step| step.name == name)
                        && other.outcome != record.outcome
                }) && other.now().is_some_and(|row| row.undo_started.is_some())
            });
            Some(if same_step_undone {
                Hit {
                    cause: BYPASS,
                    ..hit
                }
            } else {
                hit
            })
        }
        Status::Failed if untouched && !owed.is_empty() => {
            let hit = Hit::of(
                BYPASS,
                story,
                at,
                format!(
                    "{name} failed with {} ({}); {} went straight to failed with {} completed before it",
                    class(record.outcome),
                    record.error,
                    coordinator(story),
                    count(owed.len(), "step"),
                ),
            );
            let other_class = failed.iter().any(|other| {
                other.now().is_some_and(|row| row.undo_started.is_some())
                    && other
                        .failed_step()
                        .is_some_and(|(_, other)| other.outcome != record.outcome)
            });
            Some(if other_class {
                hit
            } else {
                hit.or(
                    TRIGGER,
                    "a failure of another class, to see whether that one is undone",
                )
            })
        }
        Status::Failed => {
            let skipped = owed.iter().copied().find(|step| !story.undo_tried(*step))?;
            let gave_up = story.log.iter().any(|record| {
                record.kind == crate::saga::Kind::UndoResult && record.outcome != Outcome::Ok
            });
            if gave_up {
                return None;
            }
            let missing = story.steps.get(skipped)?;
            let others = owed.len() - 1;
            Some(Hit::of(
                HANDLER,
                story,
                at,
                format!(
                    "{} was completed and never undone, while {} beside it was tried",
                    missing.name,
                    count(others, "other step"),
                ),
            ))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
