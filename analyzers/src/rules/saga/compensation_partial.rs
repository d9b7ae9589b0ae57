//! `saga/compensation-partial`: some steps, or some parts of one step, were undone and others were not.

use super::shared::{Hit, JOURNAL, conclude, count, sagas};
use super::undoing::{Met, Undoing, met, turned, untried};
use crate::engine::{About, Cause, Judgement, Rule, Seen, Severity};
use crate::evidence::Evidence;
use crate::saga::model::Book;
use crate::saga::{Sagas, Status, Story};

/// A ledger that was read so much later than an undo has what became of it.
const READ: u64 = 2_000_000_000;

const POOLS: [&str; 2] = ["shop_pool_waiting", "shop.pool.queued"];

const STOPPED: &str = "compensation/partial#stopped-partway";
const CALLS: &str = "compensation/partial#some-undo-calls-failed";
const PARTS: &str = "compensation/partial#not-atomic-within-step";

static ABOUT: About = About {
    id: "saga/compensation-partial",
    title: "Some steps were undone and others were not",
    severity: Severity::Error,
    needs: &[JOURNAL],
    meaning: "A saga turned back and did not get all the way: an order is half undone, with money returned and goods \
              held, or the other way round.",
    threshold: "one saga that stopped undoing for longer than its steps take, with steps never tried; one whose undo \
                nobody answered until it was given up; or one reservation of which some lines were released and others \
                are held when reservations were read 2 s later",
    causes: &[
        Cause {
            id: STOPPED,
            what: "the undo process ended early",
            sign: "the remaining steps have no attempt, and the orchestrator was restarted",
        },
        Cause {
            id: CALLS,
            what: "all were tried, some failed",
            sign: "every step has an attempt, and an undo call was never answered",
        },
        Cause {
            id: PARTS,
            what: "a step undoes only some of its parts",
            sign: "the journal is clean, and lines of one reservation differ",
        },
    ],
    remedy: "resume from the journal after a restart, go on past a failing undo, and make each undo all or nothing",
    follows: &[],
};

pub(super) struct CompensationPartial;

impl Rule for CompensationPartial {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let sagas = sagas(evidence);
        let mut judgement = Judgement::default();
        let mut all = 0;
        let mut hits = Vec::new();
        for (story, undoings) in turned(sagas) {
            all += 1;
            hits.extend(
                stopped(sagas, story, &undoings)
                    .or_else(|| unanswered(sagas, story, &undoings))
                    .or_else(|| in_parts(sagas, story, &undoings)),
            );
        }
        judgement
            .seen
            .push(format!("{} turned back", count(all, "saga")));
        if hits.is_empty() {
            judgement.distance =
                Some("all of them undid every step, or are still at it".to_owned());
        }
        conclude(&ABOUT, hits, &mut judgement, |cause, hits| {
            let who = hits.first().map_or("", |hit| hit.service.as_str());
            let many = count(hits.len(), "saga");
            match cause {
                STOPPED => {
                    format!("{who} stopped in the middle of undoing {many} and did not go on.")
                }
                CALLS => format!(
                    "{who} never answered the undo of its step in {many}; the other steps are undone."
                ),
                _ => format!("{who} released only a part of what {many} had reserved."),
            }
        });
        judgement
    }
}

fn stopped(sagas: &Sagas, story: &Story, undoings: &[Undoing<'_>]) -> Option<Hit> {
    let last = story.last_sign();
    let left = untried(story);
    let under_way: Vec<&Undoing<'_>> = undoings
        .iter()
        .filter(|undoing| !undoing.done && !undoing.failed)
        .collect();
    let open = left.len() + under_way.len();
    if story.status() != Status::Compensating
        || open == 0
        || undoings.is_empty()
        || sagas.end.0.saturating_sub(last.0) <= sagas.patience(story)
    {
        return None;
    }
    // An undo that is still waited for is another matter.
    let start = sagas.restart_after(undoings.iter().map(|undoing| undoing.first).min()?)?;
    let names: Vec<&str> = left
        .iter()
        .chain(under_way.iter().map(|undoing| &undoing.step))
        .filter_map(|step| story.steps.get(*step).map(|step| step.name.as_str()))
        .collect();
    Some(
        Hit::of(
            STOPPED,
            story,
            last,
            format!(
                "undoing stopped at {}; {} left: {}",
                &last.clock()[..8],
                count(open, "step"),
                names.join(", "),
            ),
        )
        .seen(Seen::note(format!(
            "{} started again at {}",
            start.service,
            &start.at.clock()[..8]
        ))),
    )
}

fn unanswered(sagas: &Sagas, story: &Story, undoings: &[Undoing<'_>]) -> Option<Hit> {
    let failed = undoings
        .iter()
        .find(|undoing| undoing.failed && met(undoing) == Met::Silence)?;
    let others = undoings.iter().filter(|undoing| undoing.done).count();
    // Where calls wait for a place in the callee, they are late rather than lost.
    let crowded = POOLS.iter().any(|metric| {
        sagas
            .level(failed.service, metric)
            .is_some_and(|level| level.most > 0.0)
    });
    if others == 0 || crowded {
        return None;
    }
    let mut hit = Hit::of(
        CALLS,
        story,
        failed.first,
        format!(
            "undoing {} was given up after {}: {}; {} undone",
            failed.name,
            count(failed.attempts, "attempt"),
            failed.last_error,
            count(others, "other step"),
        ),
    )
    .blame(failed.service);
    if let Some(call) = failed.last_call() {
        hit = hit.seen(Seen::span(
            "an undo call without an answer",
            call.at.trace,
            call.at.span,
        ));
    }
    Some(hit)
}

fn in_parts(sagas: &Sagas, story: &Story, undoings: &[Undoing<'_>]) -> Option<Hit> {
    let step = sagas.step_of(story, Book::Reservations)?;
    let undoing = undoings
        .iter()
        .find(|undoing| undoing.step == step && undoing.done)?;
    let undone = story.undone_at(step)?;
    let held = story.held().count();
    let ended = story
        .reservations
        .iter()
        .filter(|row| row.status == "RELEASED")
        .count();
    if held == 0 || ended == 0 || sagas.read_of("reservations").0.saturating_sub(undone.0) < READ {
        return None;
    }
    Some(
        Hit::of(
            PARTS,
            story,
            undone,
            format!(
                "{} is undone by the journal; {} of its {} lines are still held",
                undoing.name,
                held,
                held + ended,
            ),
        )
        .blame(undoing.service),
    )
}

#[cfg(test)]
mod tests;
