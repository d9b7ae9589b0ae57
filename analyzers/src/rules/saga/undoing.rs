//! What rules about compensation share: how undoing each step of a saga went.

use case::Nanos;

use crate::saga::{Call, Kind, Outcome, Sagas, Status, StepStatus, Story, Try};

/// How undoing one step came out.
#[derive(Debug)]
pub(super) struct Undoing<'a> {
    pub(super) step: usize,
    pub(super) name: &'a str,
    pub(super) service: &'a str,
    pub(super) tries: Vec<&'a Try>,
    /// Attempts in the journal.
    pub(super) attempts: usize,
    pub(super) done: bool,
    /// Given up.
    pub(super) failed: bool,
    pub(super) first: Nanos,
    pub(super) last_error: String,
}

impl<'a> Undoing<'a> {
    /// The calls of all attempts.
    pub(super) fn calls(&self) -> impl Iterator<Item = &'a Call> + '_ {
        self.tries.iter().flat_map(|attempt| &attempt.calls)
    }

    /// The last call that was made.
    pub(super) fn last_call(&self) -> Option<&'a Call> {
        self.calls().last()
    }

    /// Attempts whose call ended because nobody answered in time.
    pub(super) fn timeouts(&self) -> usize {
        self.calls()
            .filter(|call| {
                matches!(call.status.as_str(), "DEADLINE_EXCEEDED" | "504")
                    || matches!(
                        call.error.as_str(),
                        "timeout" | "TIMEOUT" | "DEADLINE_EXCEEDED"
                    )
            })
            .count()
    }
}

/// Every step of a saga that was to be undone and was tried.
pub(super) fn undoings(story: &Story) -> Vec<Undoing<'_>> {
    story
        .steps
        .iter()
        .enumerate()
        .filter(|(position, _)| story.undo_tried(*position))
        .map(|(position, step)| {
            let results: Vec<_> = story.records(Kind::UndoResult, position).collect();
            let done = results.iter().any(|record| record.outcome == Outcome::Ok);
            Undoing {
                step: position,
                name: &step.name,
                service: &step.service,
                tries: story.tries_of(&step.name, true).collect(),
                attempts: story
                    .records(Kind::UndoIntent, position)
                    .count()
                    .max(results.len()),
                done,
                failed: !done && step.status == StepStatus::CompensationFailed,
                first: story
                    .records(Kind::UndoIntent, position)
                    .map(|record| record.at)
                    .min()
                    .unwrap_or(story.created),
                last_error: results
                    .last()
                    .map(|record| record.error.clone())
                    .unwrap_or_default(),
            }
        })
        .collect()
}

/// Completed steps with an undo that nobody tried.
pub(super) fn untried(story: &Story) -> Vec<usize> {
    (0..story.steps.len())
        .filter(|step| {
            story
                .steps
                .get(*step)
                .is_some_and(|known| known.undo.is_some())
        })
        .filter(|step| story.was_done(*step) && !story.undo_tried(*step))
        .collect()
}

/// What an undo that was given up met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Met {
    /// The entity is in a state that can not be undone.
    Conflict,
    /// There is nothing to undo.
    Absent,
    /// The callee answered that it failed.
    Failure,
    /// Nobody answered.
    Silence,
    /// Spans are missing, and the journal's error says nothing.
    Unknown,
}

pub(super) fn met(undoing: &Undoing<'_>) -> Met {
    let status = undoing
        .last_call()
        .map(|call| call.status.as_str())
        .unwrap_or_default();
    match status {
        "FAILED_PRECONDITION" | "ABORTED" | "ALREADY_EXISTS" | "409" | "412" => Met::Conflict,
        "NOT_FOUND" | "404" | "410" => Met::Absent,
        "" => match undoing.last_error.as_str() {
            "" => Met::Unknown,
            "TIMEOUT"
            | "CONNECTION_LOST"
            | "CONNECTION_REFUSED"
            | "CIRCUIT_OPEN"
            | "NO_HEALTHY_INSTANCES" => Met::Silence,
            text if text.contains("NOT_FOUND") => Met::Absent,
            text if text.contains("STATE") => Met::Conflict,
            _ => Met::Failure,
        },
        _ => {
            let answered = undoing.calls().any(|call| call.served.is_some());
            let by_record = matches!(
                undoing.last_error.as_str(),
                "TIMEOUT"
                    | "CONNECTION_LOST"
                    | "CONNECTION_REFUSED"
                    | "CIRCUIT_OPEN"
                    | "NO_HEALTHY_INSTANCES"
            );
            if by_record && !answered {
                Met::Silence
            } else {
                Met::Failure
            }
        }
    }
}

/// Sagas that turned back, with how each undo went.
pub(super) fn turned(sagas: &Sagas) -> impl Iterator<Item = (&Story, Vec<Undoing<'_>>)> {
    sagas
        .stories
        .iter()
        .filter(|story| {
            matches!(story.status(), Status::Compensating | Status::Failed)
                || story
                    .log
                    .iter()
                    .any(|record| record.kind == Kind::UndoIntent)
        })
        .map(|story| (story, undoings(story)))
}
