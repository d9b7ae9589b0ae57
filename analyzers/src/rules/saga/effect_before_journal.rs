//! `saga/effect-before-journal`: something was done that the journal did not know of, or does not.

use super::shared::{Hit, JOURNAL, STEP_SPANS, conclude, count, sagas};
use crate::engine::{About, Cause, Judgement, Rule, Seen, Severity};
use crate::evidence::Evidence;
use crate::saga::{Kind, Sagas, Story};

/// A journal that is flushed before the call is dated before it; the clock is the same process's.
const SLACK: u64 = 1_000_000;
/// A result is written at once; a reading of the saga so much later has it.
const READ: u64 = 1_000_000_000;

const LATE: &str = "saga-step/persisted-late#state-saved-after-call";
const LOST: &str = "saga-step/persisted-late#save-fails-silently";

static ABOUT: About = About {
    id: "saga/effect-before-journal",
    title: "An effect is there that the journal does not know",
    severity: Severity::Error,
    needs: &[JOURNAL, STEP_SPANS],
    meaning: "A step was called without its intent in the journal, or its result was never written there. If the \
              orchestrator dies at that moment, nobody knows that the step happened, and it is repeated or forgotten.",
    threshold: "one step called more than 1 ms before its intent was written, or without any; or one step whose span \
                had ended 1 s before the saga was read again and whose result is not there, while its process lives",
    causes: &[
        Cause {
            id: LATE,
            what: "the orchestrator saves only after the step",
            sign: "the intent is dated after the call, each time, and the record is complete in the end",
        },
        Cause {
            id: LOST,
            what: "writing the journal fails and is ignored",
            sign: "records are missing for good, and a log record tells of a write that failed",
        },
    ],
    remedy: "write the intent before the call and the result after it, and stop the saga when a write fails",
    follows: &[],
};

pub(super) struct EffectBeforeJournal;

impl Rule for EffectBeforeJournal {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let sagas = sagas(evidence);
        let mut judgement = Judgement::default();
        let mut looked = 0;
        let mut hits = Vec::new();
        for story in &sagas.stories {
            hits.extend(look(sagas, story, &mut looked));
        }
        let told = sagas.troubles.iter().any(is_write);
        for hit in hits.iter_mut().filter(|hit| hit.cause == LOST && !told) {
            hit.sure = false;
            hit.alternatives.push((
                LATE,
                "a log record of a journal write that failed".to_owned(),
            ));
        }
        judgement
            .seen
            .push(format!("{looked} calls of steps compared with the journal"));
        if hits.is_empty() {
            judgement.distance = Some("every call has its intent before it and its result after it; one that has not makes a finding".into());
        }
        conclude(&ABOUT, hits, &mut judgement, |cause, hits| {
            let who = hits.first().map_or("", |hit| hit.service.as_str());
            let many = count(hits.len(), "saga");
            match cause {
                LATE => format!("{who} calls steps before its journal knows of them, in {many}."),
                _ => format!("{who} loses records of its journal and goes on, in {many}."),
            }
        });
        judgement
    }
}

fn is_write(trouble: &crate::saga::Trouble) -> bool {
    trouble.event == "saga.journal_failed"
        || trouble.event == "exception" && trouble.message.contains("journal")
}

fn look(sagas: &Sagas, story: &Story, looked: &mut usize) -> Option<Hit> {
    let mut late = None;
    // One that was stopped because it could not be written is as it should be.
    let stopped = sagas
        .troubles
        .iter()
        .any(|trouble| trouble.saga == story.id && trouble.message.contains("interrupted"));
    if stopped {
        return None;
    }
    for (position, step) in story.steps.iter().enumerate() {
        for attempt in story.tries_of(&step.name, false) {
            *looked += 1;
            let restarted = sagas
                .restart_after(attempt.start)
                .is_some_and(|start| start.at.0 <= sagas.end.0);
            let intents: Vec<_> = story.records(Kind::StepIntent, position).collect();
            let intent = intents
                .iter()
                .filter(|record| record.attempt == attempt.attempt)
                .min_by_key(|record| record.at.0.abs_diff(attempt.start.0));
            let result = story
                .records(Kind::StepResult, position)
                .any(|record| record.at.0.saturating_add(SLACK) >= attempt.end.0);
            let old = story.read.0.saturating_sub(attempt.end.0) > READ;
            let shown = Seen::span(
                format!("{} was called", step.name),
                attempt.at.trace,
                attempt.at.span,
            );
            if old && !restarted && (!result || intents.is_empty()) {
                let what = format!(
                    "{} was called at {} and the journal has {}",
                    step.name,
                    &attempt.start.clock()[..12],
                    if intents.is_empty() && result {
                        "no intent of it"
                    } else if result {
                        "no such attempt"
                    } else {
                        "no result of it"
                    },
                );
                let mut hit = Hit::of(LOST, story, attempt.start, what).seen(shown);
                for trouble in sagas
                    .troubles
                    .iter()
                    .filter(|trouble| is_write(trouble) && trouble.saga == story.id)
                    .take(1)
                {
                    hit = hit.seen(Seen::note(format!(
                        "{} logged at {}: {}",
                        trouble.service,
                        &trouble.at.clock()[..12],
                        trouble.message
                    )));
                }
                return Some(hit);
            }
            if let Some(intent) = intent
                && intent.at.0 > attempt.start.0.saturating_add(SLACK)
                && intents.len() <= story.tries_of(&step.name, false).count()
                && late.is_none()
            {
                let what = format!(
                    "{} was called {} before its intent was written",
                    step.name,
                    case::time::human_duration(intent.at.0 - attempt.start.0),
                );
                late = Some(Hit::of(LATE, story, attempt.start, what).seen(shown));
            }
        }
    }
    late
}

#[cfg(test)]
mod tests;
