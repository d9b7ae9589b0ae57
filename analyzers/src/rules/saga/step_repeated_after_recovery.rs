//! `saga/step-repeated-after-recovery`: recovery does again what had been done.

use super::recovering::{Stood, stood};
use super::shared::{Hit, JOURNAL, conclude, count, sagas};
use crate::engine::{About, Cause, Judgement, Rule, Seen, Severity};
use crate::evidence::Evidence;
use crate::saga::model::Book;
use crate::saga::{Sagas, Try};

const UNCHECKED: &str = "saga-recovery/duplicate-operations#completion-not-checked";
const UNKEYED: &str = "saga-recovery/duplicate-operations#step-not-idempotent";
const REALITY: &str = "saga-recovery/duplicate-operations#journal-vs-reality";

static ABOUT: About = About {
    id: "saga/step-repeated-after-recovery",
    title: "Recovered sagas repeat work",
    severity: Severity::Error,
    needs: &[JOURNAL, crate::evidence::need::REGISTRY_EVENTS],
    meaning: "After a restart a step ran again although it had taken effect before: a customer is charged twice, or goods \
              are reserved twice.",
    threshold: "one step called after a restart that the journal knew to be done before it; or one step open at a \
                restart that has two effects now, or was called again under another key",
    causes: &[
        Cause {
            id: UNCHECKED,
            what: "recovery ignores what is completed",
            sign: "the journal had the step's result before the restart, and it was called again",
        },
        Cause {
            id: UNKEYED,
            what: "the callee repeats an interrupted step",
            sign: "the key is the same before and after the restart, and there are two effects",
        },
        Cause {
            id: REALITY,
            what: "the journal says pending, the effect exists",
            sign: "the journal had no result, and the step was called again under another key",
        },
    ],
    remedy: "look at what is completed before repeating, keep the key in the journal, and let callees honour it",
    follows: &[],
};

pub(super) struct StepRepeatedAfterRecovery;

impl Rule for StepRepeatedAfterRecovery {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let sagas = sagas(evidence);
        let mut judgement = Judgement::default();
        let open = stood(sagas);
        let hits: Vec<Hit> = open.iter().filter_map(|stood| look(sagas, stood)).collect();
        let recovered = open
            .iter()
            .filter(|stood| stood.recovery().is_some())
            .count();
        judgement.seen.push(format!(
            "{} under way at a restart, {recovered} recovered",
            count(open.len(), "saga")
        ));
        if hits.is_empty() {
            judgement.distance = Some("no step took effect twice".to_owned());
        }
        conclude(&ABOUT, hits, &mut judgement, |cause, hits| {
            let who = hits.first().map_or("", |hit| hit.service.as_str());
            let many = count(hits.len(), "recovered saga");
            match cause {
                UNCHECKED => {
                    format!("{who} ran steps again in {many} that its journal knew to be done.")
                }
                UNKEYED => {
                    format!("{who} did a step twice in {many} although both calls carried one key.")
                }
                _ => format!(
                    "{who} called a step again in {many} under another key; it had happened already."
                ),
            }
        });
        judgement
    }
}

fn look(sagas: &Sagas, stood: &Stood<'_>) -> Option<Hit> {
    let story = stood.story;
    // Spans of the process that died carry its own id.
    let after =
        |attempt: &&Try| attempt.start >= stood.start.at && attempt.instance != before(stood);
    for step in &stood.done {
        let name = &story.steps.get(*step)?.name;
        if let Some(again) = story.tries_of(name, false).find(after) {
            return Some(
                Hit::of(
                    UNCHECKED,
                    story,
                    again.start,
                    format!(
                        "{name} had its result in the journal before {}, and was called again at {}",
                        &stood.start.at.clock()[..8],
                        &again.start.clock()[..8],
                    ),
                )
                .seen(Seen::span("the step again", again.at.trace, again.at.span)),
            );
        }
    }
    let open = stood.open?;
    let known = story.steps.get(open)?;
    let again = story.tries_of(&known.name, false).find(after)?;
    let other_key = !again.key.is_empty() && again.key != known.key;
    let effect = match sagas.book(story, open) {
        Some(Book::Payments) => story.charged().any(|row| row.created < stood.start.at),
        Some(Book::Reservations) => story
            .reservations
            .iter()
            .any(|row| row.updated < stood.start.at),
        Some(Book::Shipments) => story
            .shipments
            .iter()
            .any(|row| row.updated < stood.start.at),
        _ => false,
    } || story
        .unheard
        .iter()
        .any(|(step, undo, side)| *step == open && !undo && !side.failed);
    if other_key && effect {
        return Some(
            Hit::of(
                REALITY,
                story,
                again.start,
                format!(
                    "{} had taken effect before the restart; it was called again under {}, the journal has {}",
                    known.name, again.key, known.key
                ),
            )
            .seen(Seen::span("the step again", again.at.trace, again.at.span)),
        );
    }
    let twice = match sagas.book(story, open) {
        Some(Book::Payments) => story.charged().filter(|row| row.key == known.key).count(),
        Some(Book::Shipments) => story.shipments.len(),
        Some(Book::Reservations) => {
            let mut ids: Vec<&str> = story
                .reservations
                .iter()
                .map(|row| row.id.as_str())
                .collect();
            ids.sort_unstable();
            ids.dedup();
            ids.len()
        }
        _ => 0,
    };
    let replayed = again
        .calls
        .iter()
        .filter_map(|call| call.served.as_ref())
        .any(|served| served.replayed);
    (twice > 1 && !replayed && !other_key).then(|| {
        Hit::of(
            UNKEYED,
            story,
            again.start,
            format!(
                "{} has {twice} effects under the key {}",
                known.name, known.key
            ),
        )
        .blame(&known.service)
        .seen(Seen::span(
            "the step again, not answered from a record",
            again.at.trace,
            again.at.span,
        ))
    })
}

fn before<'a>(stood: &Stood<'a>) -> &'a str {
    stood
        .story
        .log
        .iter()
        .rfind(|record| record.at <= stood.last)
        .map_or("", |record| record.instance.as_str())
}

#[cfg(test)]
mod tests;
