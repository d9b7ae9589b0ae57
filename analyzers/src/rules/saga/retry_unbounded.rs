//! `saga/retry-unbounded`: a step is sent again beyond every limit.

use std::collections::BTreeMap;

use super::shared::{Hit, JOURNAL, STEP_SPANS, conclude, count, sagas};
use crate::engine::{About, Cause, Judgement, Rule, Seen, Severity};
use crate::evidence::Evidence;
use crate::saga::model::Timing;
use crate::saga::{Outcome, Sagas, Story, Try};

/// Repetitions of an answer that will not change: one more may have been under way.
const FINAL: usize = 3;

const CLASS: &str = "saga-step/retries-forever#error-class-ignored";
const COUNT: &str = "saga-step/retries-forever#count-not-kept";
const EXHAUSTED: &str = "saga-step/retries-forever#exhaustion-ignored";

/// All of a journal is read once within this time.
const ROUND: u64 = 3_000_000_000;

static ABOUT: About = About {
    id: "saga/retry-unbounded",
    title: "A failing step is sent again without end",
    severity: Severity::Error,
    needs: &[JOURNAL, STEP_SPANS],
    meaning: "An orchestrator repeats a step that fails, more often than its policy allows, or although the answer is \
              final. The order is neither carried on nor undone, and the failing service gets ever more calls.",
    threshold: "one process sends a step 2 times more than its model allows (4 attempts for those that come along), or \
                3 times after an answer that is final",
    causes: &[
        Cause {
            id: CLASS,
            what: "final errors are treated as if they could pass",
            sign: "each attempt meets the same final answer (4xx, failed precondition …)",
        },
        Cause {
            id: COUNT,
            what: "attempts are not counted",
            sign: "there are more attempts in spans than the journal's count says",
        },
        Cause {
            id: EXHAUSTED,
            what: "the limit is reached and nothing follows",
            sign: "the journal's count is right and beyond the limit",
        },
    ],
    remedy: "sort errors into final and passing ones, keep the count with the step, and compensate when it runs out",
    follows: &[],
};

pub(super) struct RetryUnbounded;

/// Answers that stay the same however often one asks.
fn is_final(status: &str) -> bool {
    matches!(
        status,
        "INVALID_ARGUMENT"
            | "NOT_FOUND"
            | "ALREADY_EXISTS"
            | "PERMISSION_DENIED"
            | "UNAUTHENTICATED"
            | "FAILED_PRECONDITION"
            | "OUT_OF_RANGE"
            | "UNIMPLEMENTED"
    ) || matches!(
        status.parse(),
        Ok(400u16..=407 | 409..=424 | 426..=428 | 430..=499)
    )
}

impl Rule for RetryUnbounded {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let sagas = sagas(evidence);
        let mut judgement = Judgement::default();
        let mut most = 0;
        let hits: Vec<Hit> = sagas
            .stories
            .iter()
            .filter_map(|story| look(sagas, story, &mut most))
            .collect();
        judgement.seen.push(format!(
            "{}; at most {most} attempts at one step by one process",
            count(sagas.stories.len(), "saga")
        ));
        if hits.is_empty() {
            judgement.distance = Some(format!(
                "{most} attempts at most; {} make a finding",
                Timing::default().resends + 3
            ));
        }
        conclude(&ABOUT, hits, &mut judgement, |cause, hits| {
            let who = hits.first().map_or("", |hit| hit.service.as_str());
            let many = count(hits.len(), "saga");
            match cause {
                CLASS => format!("{who} repeats a step in {many} although its answer is final."),
                COUNT => format!("{who} repeats a step in {many} and does not keep count."),
                _ => {
                    format!("{who} repeats a step in {many} beyond its limit and never turns back.")
                }
            }
        });
        judgement
    }
}

fn look(sagas: &Sagas, story: &Story, most: &mut usize) -> Option<Hit> {
    let timing = sagas
        .model_of(story)
        .map_or(Timing::default(), |model| model.timing);
    let limit = usize::try_from(timing.resends).unwrap_or(3) + 1;
    for (position, step) in story.steps.iter().enumerate() {
        let mut by_process: BTreeMap<&str, Vec<&Try>> = BTreeMap::new();
        for attempt in story.tries_of(&step.name, false) {
            by_process
                .entry(&attempt.instance)
                .or_default()
                .push(attempt);
        }
        for tries in by_process.values() {
            // A recovery begins its own count.
            let recovered = story
                .recoveries
                .iter()
                .any(|recovery| tries.iter().any(|attempt| attempt.start >= recovery.start));
            if recovered {
                continue;
            }
            *most = (*most).max(tries.len());
            let answers: Vec<&str> = tries
                .iter()
                .filter_map(|attempt| attempt.calls.last())
                .map(|call| call.status.as_str())
                .collect();
            let finals = answers.iter().filter(|status| is_final(status)).count();
            let refused = story
                .records(crate::saga::Kind::StepResult, position)
                .filter(|record| record.outcome == Outcome::Refused)
                .count();
            let first = tries.first()?;
            let shown = |hit: Hit| {
                hit.seen(Seen::span(
                    format!(
                        "the last of {} attempts, answered {}",
                        tries.len(),
                        answers
                            .last()
                            .copied()
                            .filter(|text| !text.is_empty())
                            .unwrap_or("nothing")
                    ),
                    tries.last().map_or(first.at.trace, |last| last.at.trace),
                    tries.last().map_or(first.at.span, |last| last.at.span),
                ))
            };
            if finals > FINAL && finals * 2 > tries.len() && refused > 0 {
                let what = format!(
                    "{} was sent {} times, and {finals} times the answer was final",
                    step.name,
                    tries.len(),
                );
                return Some(shown(Hit::of(CLASS, story, first.start, what)));
            }
            if tries.len() < limit + 2 {
                continue;
            }
            let counted = usize::try_from(step.retries)
                .unwrap_or(usize::MAX)
                .saturating_add(1);
            let what = format!(
                "{} was sent {} times; the journal counts {counted}, the limit is {limit}",
                step.name,
                tries.len(),
            );
            let read = tries
                .iter()
                // A row that stayed as it was is written down once; it was read for as long as the journal was.
                .filter(|attempt| {
                    attempt.end <= step.seen
                        || attempt.end.saturating_add(ROUND) <= sagas.journal_read
                })
                .count();
            let cause = if counted + 2 < read { COUNT } else { EXHAUSTED };
            return Some(shown(Hit::of(cause, story, first.start, what)));
        }
    }
    None
}

#[cfg(test)]
mod tests;
