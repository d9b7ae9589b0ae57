//! `saga/compensation-incomplete`: compensation succeeded, and some of what was done remains.

use super::shared::{Hit, JOURNAL, RESERVATIONS, conclude, count, sagas};
use super::undoing::{Undoing, turned};
use crate::engine::{About, Cause, Judgement, Rule, Seen, Severity};
use crate::evidence::Evidence;
use crate::saga::model::Book;
use crate::saga::{Kind, Outcome, Sagas, Status, Story};

/// A ledger that was read so much later than an undo has what became of it.
const READ: u64 = 2_000_000_000;
/// A notice has this long to be told, in the system's own time.
const TOLD_S: f64 = 60.0;

const LOGIC: &str = "compensation/original-not-fully-reversed#logic-incomplete";
const ASIDE: &str = "compensation/original-not-fully-reversed#side-effects-ignored";
const LATE: &str = "compensation/original-not-fully-reversed#race-with-late-forward";

static ABOUT: About = About {
    id: "saga/compensation-incomplete",
    title: "Compensation succeeded and effects remain",
    severity: Severity::Error,
    needs: &[JOURNAL, RESERVATIONS],
    meaning: "Every undo reported success, and yet something of the order is left: a part of the money, a parcel on its \
              way, a customer who was told of a purchase and never of its end.",
    threshold: "one payment refunded in part; one taken after its undo had succeeded; or one order undone in full of \
                which a shipment is still on its way, or whose customer was told of it and, 60 s of the system's own \
                time later, not of its cancellation, with no such event in an outbox",
    causes: &[
        Cause {
            id: LOGIC,
            what: "the undo covers part of the entity",
            sign: "the step's own ledger keeps a residue, the same each time",
        },
        Cause {
            id: ASIDE,
            what: "indirect effects stay",
            sign: "orders, payments and reservations are clean, and something outside them is left",
        },
        Cause {
            id: LATE,
            what: "a call that was given up took effect after the undo",
            sign: "the effect is younger than the undo",
        },
    ],
    remedy: "undo the whole effect and what followed from it, and refuse a step whose saga has turned back",
    follows: &[],
};

pub(super) struct CompensationIncomplete;

impl Rule for CompensationIncomplete {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let sagas = sagas(evidence);
        let mut judgement = Judgement::default();
        let (mut all, mut clean) = (0, 0);
        let mut hits = Vec::new();
        for (story, undoings) in turned(sagas) {
            if story.status() != Status::Failed
                || undoings.is_empty()
                || undoings.iter().any(|undoing| !undoing.done)
            {
                continue;
            }
            all += 1;
            let hit = late(sagas, story)
                .or_else(|| residue(sagas, story))
                .or_else(|| aside(sagas, story, &undoings));
            clean += usize::from(hit.is_none());
            hits.extend(hit);
        }
        judgement.seen.push(format!(
            "{} undone in full by the journal, {clean} by the ledgers too",
            count(all, "saga")
        ));
        if hits.is_empty() {
            judgement.distance = Some("nothing is left of any saga that was undone".to_owned());
        }
        conclude(&ABOUT, hits, &mut judgement, |cause, hits| {
            let who = hits.first().map_or("", |hit| hit.service.as_str());
            let many = count(hits.len(), "saga");
            match cause {
                LOGIC => format!("{who} gives back less than it took in {many}."),
                LATE => format!("{who} took effect in {many} after the step had been undone."),
                _ => format!("{who} undid {many} and left what had followed from them."),
            }
        });
        judgement
    }
}

/// The end of the undoing, if the ledgers have been read since.
fn settled(sagas: &Sagas, story: &Story) -> Option<case::Nanos> {
    let end = story
        .log
        .iter()
        .filter(|record| record.kind == Kind::UndoResult && record.outcome == Outcome::Ok)
        .map(|record| record.at)
        .max()?;
    (sagas.read_of("payments").0.saturating_sub(end.0) >= READ).then_some(end)
}

fn late(sagas: &Sagas, story: &Story) -> Option<Hit> {
    settled(sagas, story)?;
    let step = sagas.step_of(story, Book::Payments)?;
    let undone = story.undone_at(step)?;
    let known = story.steps.get(step)?;
    let payment = story
        .payments
        .iter()
        .find(|row| row.status == "COMPLETED" && row.updated > undone)?;
    let mut hit = Hit::of(
        LATE,
        story,
        payment.updated,
        format!(
            "payment {} was completed at {}, {} after its undo had succeeded",
            payment.id,
            &payment.updated.clock()[..8],
            case::time::human_duration(payment.updated.0 - undone.0),
        ),
    )
    .blame(&known.service);
    let served = story
        .tries_of(&known.name, false)
        .flat_map(|attempt| &attempt.calls)
        .filter_map(|call| call.served.as_ref())
        .find(|served| served.end > undone);
    if let Some(served) = served {
        hit = hit.seen(Seen::span(
            "the step's server span ends after the undo",
            served.at.trace,
            served.at.span,
        ));
    }
    Some(hit)
}

fn residue(sagas: &Sagas, story: &Story) -> Option<Hit> {
    let end = settled(sagas, story)?;
    let step = sagas.step_of(story, Book::Payments)?;
    story.undone_at(step)?;
    let known = story.steps.get(step)?;
    let payment = story.payments.iter().find(|row| {
        matches!(row.status.as_str(), "COMPLETED" | "REFUNDED")
            && row.refunded > 0
            && row.refunded < row.amount
    })?;
    Some(
        Hit::of(
            LOGIC,
            story,
            end,
            format!(
                "payment {}: {} taken, {} refunded, {} kept",
                payment.id,
                payment.amount,
                payment.refunded,
                payment.amount - payment.refunded
            ),
        )
        .blame(&known.service),
    )
}

fn aside(sagas: &Sagas, story: &Story, undoings: &[Undoing<'_>]) -> Option<Hit> {
    let end = settled(sagas, story)?;
    let clean =
        story.held().next().is_none() && story.payments.iter().all(|row| row.status != "COMPLETED");
    if !clean {
        return None;
    }
    if story.ships()
        && sagas
            .step_of(story, Book::Shipments)
            .is_some_and(|step| story.undone_at(step).is_some())
    {
        let row = story.shipments.first()?;
        return Some(Hit::of(
            ASIDE,
            story,
            end,
            format!(
                "shipment {} still reads {} although its step is undone",
                row.id, row.status
            ),
        ));
    }
    // A failing first step has nothing that a customer could have been told of but the order itself.
    let told = story
        .notices
        .iter()
        .any(|notice| matches!(notice.kind.as_str(), "OrderCreated" | "PaymentProcessed"));
    let told_end = story
        .notices
        .iter()
        .any(|notice| matches!(notice.kind.as_str(), "OrderCancelled" | "OrderUpdated"));
    let took = undoings.iter().any(|undoing| story.was_done(undoing.step));
    // What waits to be told is the messaging's matter.
    let on_its_way = story
        .events
        .iter()
        .any(|kind| matches!(kind.as_str(), "OrderCancelled" | "OrderUpdated"));
    let over = sagas.read_of("notifications").0.saturating_sub(end.0) > sagas.scaled(TOLD_S) + READ
        && (!sagas.known.outbox || sagas.read_of("outbox").0.saturating_sub(end.0) > READ);
    (sagas.known.notices && told && took && !told_end && !on_its_way && over).then(|| {
        Hit::of(
            ASIDE,
            story,
            end,
            "the customer was told of the order and never of its cancellation; the ledgers are clean",
        )
        .seen(Seen::note(format!("told: {}", story.notices.iter().map(|notice| notice.kind.as_str()).collect::<Vec<_>>().join(", "))))
    })
}

#[cfg(test)]
mod tests;
