//! `saga/compensated-ledger-mismatch`: the journal says undone, the books of stock say otherwise.

use super::shared::{Hit, JOURNAL, RESERVATIONS, conclude, count, sagas};
use crate::engine::{About, Cause, Judgement, Rule, Seen, Severity};
use crate::evidence::Evidence;
use crate::saga::model::Book;
use crate::saga::{Residue, Sagas, Story};

/// A ledger that was read so much later than an undo has what became of it.
const READ: u64 = 2_000_000_000;

const INCOMPLETE: &str = "saga-step/compensated-yet-inconsistent#reversal-incomplete";
const SWALLOWED: &str = "saga-step/compensated-yet-inconsistent#idempotency-swallows-undo";
const RACE: &str = "saga-step/compensated-yet-inconsistent#race-with-new-operation";

static ABOUT: About = About {
    id: "saga/compensated-ledger-mismatch",
    title: "Compensation reports success and the books of stock disagree",
    severity: Severity::Error,
    needs: &[JOURNAL, RESERVATIONS],
    meaning: "The journal says that a reservation was undone. The ledgers say that it is still held, or that more stock \
              is reserved than all reservations together hold. What is held by nobody can not be sold.",
    threshold: "one reservation still held when reservations were read 2 s after its undo had succeeded; or a product whose reserved stock differs from what \
                its reservations hold by more than what was in motion while they were read",
    causes: &[
        Cause {
            id: INCOMPLETE,
            what: "undo does not invert the operation",
            sign: "every release leaves the same residue; no change is lost, no answer is a repetition",
        },
        Cause {
            id: SWALLOWED,
            what: "a repeated or shared key answers from the record without acting",
            sign: "the undo was answered as a repetition, and the reservation is untouched",
        },
        Cause {
            id: RACE,
            what: "a new operation touches the same stock meanwhile",
            sign: "the stock's version counts fewer changes than were made: one overwrote another",
        },
    ],
    remedy: "make the undo invert the whole step, under a key of its own and a guarded update",
    follows: &["saga/recovery-ledger-mismatch"],
};

pub(super) struct CompensatedLedgerMismatch;

impl Rule for CompensatedLedgerMismatch {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let sagas = sagas(evidence);
        let mut judgement = Judgement::default();
        let mut hits: Vec<Hit> = sagas
            .stories
            .iter()
            .filter_map(|story| still_held(sagas, story))
            .collect();
        let residues = sagas.residues();
        let off: Vec<&Residue> = residues.iter().filter(|residue| residue.is_off()).collect();
        let recovered = raced_in_recovery(sagas);
        if !recovered && hits.is_empty() {
            hits.extend(off.iter().filter_map(|residue| unbalanced(sagas, residue)));
        }
        judgement.seen.push(format!(
            "{} compared with their reservations, {} differ; {} released",
            count(residues.len(), "product"),
            off.len(),
            residues.iter().map(|residue| residue.released).sum::<u64>(),
        ));
        if hits.is_empty() {
            let nearest = residues
                .iter()
                .map(|residue| residue.surplus().abs() - residue.margin)
                .max();
            judgement.distance = Some(match nearest {
                Some(nearest) => format!(
                    "the largest difference is {} more than what was in motion; 1 makes a finding",
                    nearest.min(0)
                ),
                None => "no stock could be compared".to_owned(),
            });
        }
        conclude(&ABOUT, hits, &mut judgement, |cause, hits| {
            let who = hits.first().map_or("", |hit| hit.service.as_str());
            match cause {
                SWALLOWED => format!(
                    "{} undone by the journal still hold stock: {who} answered the undo from its record.",
                    count(hits.len(), "reservation")
                ),
                RACE => format!(
                    "{who} loses changes of stock when a release and a new reservation meet."
                ),
                _ => format!(
                    "{who} gives back less than was reserved when a reservation is released."
                ),
            }
        });
        judgement
    }
}

/// The undo succeeded by the journal, and the whole reservation is held.
fn still_held(sagas: &Sagas, story: &Story) -> Option<Hit> {
    let step = sagas.step_of(story, Book::Reservations)?;
    let undone = story.undone_at(step)?;
    let lines = story.reservations.len();
    if lines == 0
        || story.held().count() != lines
        || sagas.read_of("reservations").0.saturating_sub(undone.0) < READ
    {
        return None;
    }
    let known = story.steps.get(step)?;
    let last = story.tries_of(&known.name, true).last()?;
    let call = last.calls.last()?;
    let served = call.served.as_ref();
    let hit = Hit::of(
        SWALLOWED,
        story,
        undone,
        format!(
            "{} was undone by the journal at {}, and its {} still reads HELD",
            known.name,
            &undone.clock()[..8],
            if lines == 1 {
                "reservation"
            } else {
                "whole reservation"
            },
        ),
    )
    .blame(&known.service)
    .seen(Seen::span(
        match served {
            Some(served) if served.replayed => "the undo was answered from the idempotency record",
            Some(_) => "the undo was answered with success",
            None => "the undo's call was answered with success",
        },
        call.at.trace,
        call.at.span,
    ));
    match served {
        Some(served) if served.replayed => Some(hit),
        Some(_) => None,
        None => Some(hit.or(INCOMPLETE, "server spans of the undone service")),
    }
}

/// Whether recovery and new sagas met on the same goods: then the difference belongs to the recovery.
pub(super) fn raced_in_recovery(sagas: &Sagas) -> bool {
    sagas.stories.iter().any(|story| {
        story.recoveries.iter().any(|recovery| {
            recovery.action == "compensate" || story.tries.iter().any(|attempt| attempt.undo)
        })
    })
}

fn unbalanced(sagas: &Sagas, residue: &Residue) -> Option<Hit> {
    let story = sagas.stories.iter().find(|story| {
        story
            .reservations
            .iter()
            .any(|row| row.product == residue.product && row.status == "RELEASED")
    })?;
    let step = sagas.step_of(story, Book::Reservations)?;
    let service = story.steps.get(step)?.service.clone();
    let what = format!(
        "{}: {} reserved, {} held by reservations, after {}",
        residue.product,
        residue.reserved,
        residue.held,
        count(
            usize::try_from(residue.released).unwrap_or(usize::MAX),
            "release"
        ),
    );
    if residue.lost_a_change() {
        let seen = Seen::note(format!(
            "{}'s version counts {} fewer changes than its reservations made",
            residue.product, residue.missing_changes
        ));
        return Some(
            Hit::of(RACE, story, residue.at, what)
                .blame(&service)
                .seen(seen),
        );
    }
    if residue.surplus() <= 0 || residue.released == 0 {
        return None;
    }
    let each = residue.surplus() as f64 / residue.released as f64;
    Some(
        Hit::of(INCOMPLETE, story, residue.at, what)
            .blame(&service)
            .seen(Seen::note(format!(
                "{each:.1} stay reserved for each release; no change of the row is missing"
            ))),
    )
}

#[cfg(test)]
mod tests;
