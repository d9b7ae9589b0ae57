//! `saga/recovery-ledger-mismatch`: after recovery the ledgers disagree.

use super::compensated_ledger_mismatch::raced_in_recovery;
use super::recovering::{Stood, ended, stood};
use super::shared::{Hit, JOURNAL, RESERVATIONS, conclude, count, sagas};
use crate::engine::{About, Cause, Judgement, Rule, Seen, Severity};
use crate::evidence::Evidence;
use crate::saga::model::Book;
use crate::saga::{Residue, Sagas, Story};

const RACE: &str = "saga-recovery/inconsistent-afterwards#race-with-new-operations";
const DOWNTIME: &str = "saga-recovery/inconsistent-afterwards#downtime-changes-ignored";
const INCOMPLETE: &str = "saga-recovery/inconsistent-afterwards#recovery-incomplete";

static ABOUT: About = About {
    id: "saga/recovery-ledger-mismatch",
    title: "Ledgers disagree after recovery",
    severity: Severity::Error,
    needs: &[
        JOURNAL,
        RESERVATIONS,
        crate::evidence::need::REGISTRY_EVENTS,
    ],
    meaning: "Recovery went through the sagas of a dead process, and afterwards orders, payments and stock do not fit: \
              it met new work on the same goods, went on with what somebody had changed meanwhile, or left some of it.",
    threshold: "one saga that a scan found and nobody touched for longer than its slowest step and 60 s of the system's \
                own time; one order that was closed while its orchestrator was down and carried on afterwards; or stock \
                that differs from its reservations after recovery undid sagas on it",
    causes: &[
        Cause {
            id: RACE,
            what: "new sagas run on the same goods during recovery",
            sign: "recovered and new sagas overlap on one product, after the restart",
        },
        Cause {
            id: DOWNTIME,
            what: "the world changed while the orchestrator was down",
            sign: "the order was changed by somebody else between the crash and the recovery",
        },
        Cause {
            id: INCOMPLETE,
            what: "recovery handles only a part",
            sign: "the scan found them, and they are untouched",
        },
    ],
    remedy: "finish recovery before taking new work on the same goods, and read again what a saga is about before going on",
    follows: &[],
};

pub(super) struct RecoveryLedgerMismatch;

impl Rule for RecoveryLedgerMismatch {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let sagas = sagas(evidence);
        let mut judgement = Judgement::default();
        let open = stood(sagas);
        let mut hits: Vec<Hit> = open
            .iter()
            .filter_map(|stood| changed(stood).or_else(|| left(sagas, stood, &open)))
            .collect();
        if raced_in_recovery(sagas) {
            let residues = sagas.residues();
            hits.extend(
                residues
                    .iter()
                    .filter(|residue| residue.is_off())
                    .filter_map(|residue| raced(sagas, residue, &open)),
            );
        }
        judgement.seen.push(format!(
            "{} under way at a restart, {} ended since",
            count(open.len(), "saga"),
            open.iter().filter(|stood| ended(stood.story)).count(),
        ));
        if hits.is_empty() {
            judgement.distance = Some("the ledgers of every recovered saga fit".to_owned());
        }
        conclude(&ABOUT, hits, &mut judgement, |cause, hits| {
            let who = hits.first().map_or("", |hit| hit.service.as_str());
            let many = count(hits.len(), "saga");
            match cause {
                RACE => format!(
                    "{who} recovered sagas while new ones worked on the same goods, and the stock is off."
                ),
                DOWNTIME => format!(
                    "{who} carried on {many} whose order had been closed while it was down."
                ),
                _ => format!(
                    "{who} found its abandoned sagas after the restart and left {many} of them."
                ),
            }
        });
        judgement
    }
}

fn changed(stood: &Stood<'_>) -> Option<Hit> {
    let recovery = stood.recovery()?;
    let story = stood.story;
    let order = story.current_order()?;
    let foreign = order.history.iter().find(|(at, to, _, _)| {
        *at >= stood.last
            && *at <= recovery.start
            && matches!(to.as_str(), "CANCELLED" | "FAILED" | "RETURNED")
    })?;
    let carried_on = order.history.iter().any(|(at, to, _, _)| {
        *at > foreign.0 && !matches!(to.as_str(), "CANCELLED" | "FAILED" | "RETURNED")
    }) || story
        .tries
        .iter()
        .any(|attempt| !attempt.undo && attempt.start > foreign.0 && !attempt.failed);
    carried_on.then(|| {
        Hit::of(
            DOWNTIME,
            story,
            foreign.0,
            format!(
                "order {} became {} at {} ({}), between the crash and the recovery, and went on to {}",
                order.id,
                foreign.1,
                &foreign.0.clock()[..8],
                foreign.2,
                order.status,
            ),
        )
        .seen(Seen::span("the recovery", recovery.at.trace, recovery.at.span))
    })
}

fn left(sagas: &Sagas, stood: &Stood<'_>, all: &[Stood<'_>]) -> Option<Hit> {
    let quiet = sagas
        .end
        .0
        .saturating_sub(stood.start.at.0.max(stood.last.0));
    if !stood.is_open() || !stood.untouched() || quiet <= sagas.patience(stood.story) {
        return None;
    }
    let under_way = all
        .iter()
        .filter(|other| std::ptr::eq(other.start, stood.start))
        .count();
    let scan = sagas.scans.iter().find(|scan| {
        scan.instance == stood.start.instance
            && scan
                .found
                .is_some_and(|found| usize::try_from(found).unwrap_or(0) >= under_way)
    })?;
    Some(
        Hit::of(
            INCOMPLETE,
            stood.story,
            stood.last,
            format!(
                "stands at {} since {}, untouched by the recovery that had found it",
                stood.state,
                &stood.last.clock()[..8],
            ),
        )
        .seen(Seen::span(
            format!("the scan found {} of {under_way}", scan.found.unwrap_or(0)),
            scan.at.trace,
            scan.at.span,
        )),
    )
}

/// A recovered saga and a new one that were at work on one product at the same time.
fn raced(sagas: &Sagas, residue: &Residue, open: &[Stood<'_>]) -> Option<Hit> {
    let touches = |story: &Story| {
        story
            .goods
            .iter()
            .any(|goods| goods.product == residue.product)
    };
    for stood in open.iter().filter(|stood| touches(stood.story)) {
        let Some(recovery) = stood.recovery() else {
            continue;
        };
        let new = sagas.stories.iter().find(|story| {
            touches(story)
                && story.created > stood.start.at
                && story
                    .tries
                    .iter()
                    .any(|attempt| attempt.start < recovery.end && attempt.end > recovery.start)
        });
        let Some(new) = new else { continue };
        let service = sagas
            .step_of(stood.story, Book::Reservations)
            .and_then(|step| stood.story.steps.get(step))
            .map(|step| step.service.clone())
            .unwrap_or_default();
        return Some(
            Hit::of(
                RACE,
                stood.story,
                recovery.start,
                format!(
                    "{}: {} reserved, {} held by reservations; recovered saga {} and new saga {} worked on it at once",
                    residue.product, residue.reserved, residue.held, stood.story.id, new.id,
                ),
            )
            .seen(Seen::note(format!("the stock is kept by {service}")))
            .seen(Seen::span("the recovery", recovery.at.trace, recovery.at.span)),
        );
    }
    None
}

#[cfg(test)]
mod tests;
