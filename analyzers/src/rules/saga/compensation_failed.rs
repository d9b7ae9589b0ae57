//! `saga/compensation-failed`: an undo was given up because of what its callee answered, and a person is needed.

use super::shared::{Hit, JOURNAL, conclude, count, sagas};
use super::undoing::{Met, Undoing, met, turned};
use crate::engine::{About, Cause, Judgement, Rule, Seen, Severity};
use crate::evidence::Evidence;
use crate::saga::Story;
use crate::saga::model::Book;

const MOVED: &str = "compensation/permanently-failed#state-changed";
const MISSING: &str = "compensation/permanently-failed#resource-missing";
const OUTSIDE: &str = "compensation/permanently-failed#external-service-failed";

static ABOUT: About = About {
    id: "saga/compensation-failed",
    title: "Compensation failed for good and the saga is parked as failed",
    severity: Severity::Error,
    needs: &[JOURNAL],
    meaning: "An undo was tried until its attempts ran out, and its callee answered every time that it can not be done. \
              What the step did stands, and a person has to decide.",
    threshold: "one step whose compensation the journal gave up after its callee had answered",
    causes: &[
        Cause {
            id: MOVED,
            what: "the entity moved on since the step",
            sign: "the undo is refused as a conflict, and the entity exists in a later state",
        },
        Cause {
            id: MISSING,
            what: "what should be undone is gone",
            sign: "the undo is answered with not found",
        },
        Cause {
            id: OUTSIDE,
            what: "the undo needs a service that fails",
            sign: "the undo fails below its callee, and the entity is unchanged",
        },
    ],
    remedy: "look at the entity first: offer a return where it moved on, take it as done where it is gone, and repeat \
             by hand where something outside failed",
    follows: &["saga/compensation-stalled", "saga/compensation-partial"],
};

pub(super) struct CompensationFailed;

impl Rule for CompensationFailed {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let sagas = sagas(evidence);
        let mut judgement = Judgement::default();
        let (mut tried, mut retried) = (0, 0);
        let mut hits = Vec::new();
        for (story, undoings) in turned(sagas) {
            for undoing in &undoings {
                tried += 1;
                retried = retried.max(undoing.attempts);
                if undoing.failed {
                    hits.extend(hit(sagas, story, undoing));
                }
            }
        }
        judgement.seen.push(format!(
            "{} tried, up to {retried} attempts each",
            count(tried, "undo")
        ));
        if hits.is_empty() {
            judgement.distance = Some(format!(
                "no undo was given up; the most attempts at one were {retried}"
            ));
        }
        conclude(&ABOUT, hits, &mut judgement, |cause, hits| {
            let who = hits.first().map_or("", |hit| hit.service.as_str());
            let many = count(hits.len(), "saga");
            match cause {
                MOVED => {
                    format!("{who} can not undo its step in {many}: what was done has moved on.")
                }
                MISSING => format!("{who} no longer knows what is to be undone in {many}."),
                _ => format!(
                    "{who} fails to undo its step in {many} because something it needs fails."
                ),
            }
        });
        judgement
    }
}

fn hit(sagas: &crate::saga::Sagas, story: &Story, undoing: &Undoing<'_>) -> Option<Hit> {
    let met = met(undoing);
    let outside = undoing
        .calls()
        .filter_map(|call| call.served.as_ref())
        .find_map(|served| served.outside.clone());
    let cause = match met {
        Met::Conflict => MOVED,
        Met::Absent => MISSING,
        // A failure of the callee's own is not given up for good: it passes with what is wrong there.
        Met::Failure if outside.is_none() && undoing.calls().any(|call| call.served.is_some()) => {
            return None;
        }
        Met::Failure => OUTSIDE,
        Met::Silence => return None,
        Met::Unknown => OUTSIDE,
    };
    let answer = undoing.last_call().map_or_else(
        || undoing.last_error.clone(),
        |call| format!("{} ({})", call.status, undoing.last_error),
    );
    let what = format!(
        "undoing {} was given up after {}: {answer}",
        undoing.name,
        count(undoing.attempts, "attempt"),
    );
    let mut hit = Hit::of(cause, story, undoing.first, what).blame(undoing.service);
    if let Some(call) = undoing.last_call() {
        hit = hit.seen(Seen::span(
            format!("the last undo call was answered {}", call.status),
            call.at.trace,
            call.at.span,
        ));
    }
    let entity = match sagas.book(story, undoing.step) {
        Some(Book::Payments) => story
            .payments
            .iter()
            .map(|row| format!("payment {} reads {}", row.id, row.status))
            .next(),
        Some(Book::Reservations) => story
            .reservations
            .iter()
            .map(|row| format!("reservation {} reads {}", row.id, row.status))
            .next(),
        Some(Book::Shipments) => story
            .shipments
            .iter()
            .map(|row| format!("shipment {} reads {}", row.id, row.status))
            .next(),
        _ => None,
    };
    hit = hit.seen(Seen::note(
        entity.unwrap_or_else(|| "the ledgers show no such entity".to_owned()),
    ));
    if let Some((error, took)) = outside {
        hit = hit.seen(Seen::note(format!(
            "its call to something outside failed with {error} after {}",
            case::time::human_duration(took)
        )));
    } else if cause == OUTSIDE && met == Met::Unknown {
        hit = hit.or(MOVED, "spans of the undo calls");
    }
    Some(hit)
}

#[cfg(test)]
mod tests;
