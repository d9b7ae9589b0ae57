//! `saga/unfinished-after-restart`: the orchestrator came back, and sagas it had under way stay where they were.

use super::recovering::{Stood, stood};
use super::shared::{Hit, JOURNAL, conclude, count, sagas};
use crate::engine::{About, Cause, Judgement, Rule, Seen, Severity};
use crate::evidence::Evidence;
use crate::saga::{Order, Sagas, Scan, Start};

const MISSES: &str = "saga-recovery/stuck-in-progress#scan-misses";
const UNSAVED: &str = "saga-recovery/stuck-in-progress#state-not-persisted";
const ABSENT: &str = "saga-recovery/stuck-in-progress#recovery-absent";

static ABOUT: About = About {
    id: "saga/unfinished-after-restart",
    title: "Sagas stay in progress after the orchestrator restarted",
    severity: Severity::Error,
    needs: &[JOURNAL, crate::evidence::need::REGISTRY_EVENTS],
    meaning: "An orchestrator died with sagas under way and started again. Some of them were neither carried on nor \
              undone: their orders hang between two states until somebody looks.",
    threshold: "one saga that was under way at a restart and has not moved for longer than its slowest step and 60 s of \
                the system's own time; or one order of that time that no journal knows",
    causes: &[
        Cause {
            id: MISSES,
            what: "recovery runs and does not pick them",
            sign: "a scan ran after the restart and found fewer sagas than were open",
        },
        Cause {
            id: UNSAVED,
            what: "state was never or only partly saved",
            sign: "ledgers are ahead of the journal, or it has no row of the saga at all",
        },
        Cause {
            id: ABSENT,
            what: "there is no recovery on start",
            sign: "no scan ran after the restart, and the journal is complete",
        },
    ],
    remedy: "save around each step, and on start select every saga that is not finished",
    follows: &[],
};

pub(super) struct UnfinishedAfterRestart;

impl Rule for UnfinishedAfterRestart {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let sagas = sagas(evidence);
        let mut judgement = Judgement::default();
        let open = stood(sagas);
        let mut hits: Vec<Hit> = open
            .iter()
            .filter_map(|stood| left(sagas, stood, &open))
            .collect();
        hits.extend(
            sagas
                .orphans
                .iter()
                .filter_map(|order| orphan(sagas, order)),
        );
        let restarts = sagas.starts.iter().filter(|start| start.again).count();
        judgement.seen.push(format!(
            "{} of orchestrators, {} under way at one; {} that no journal knows",
            count(restarts, "restart"),
            count(open.len(), "saga"),
            count(sagas.orphans.len(), "order"),
        ));
        if hits.is_empty() {
            judgement.distance = Some(if restarts == 0 {
                "no orchestrator was restarted".to_owned()
            } else {
                "every saga that was under way went on".to_owned()
            });
        }
        conclude(&ABOUT, hits, &mut judgement, |cause, hits| {
            let who = hits.first().map_or("", |hit| hit.service.as_str());
            let many = count(hits.len(), "saga");
            match cause {
                MISSES => format!(
                    "{who} scanned for abandoned sagas after its restart and missed {many}."
                ),
                UNSAVED => format!("{who} restarted and knows less of {many} than the ledgers do."),
                _ => format!("{who} restarted and never looked for the {many} it had under way."),
            }
        });
        judgement
    }
}

/// Scans of the process that started.
fn scans<'a>(sagas: &'a Sagas, start: &Start) -> Vec<&'a Scan> {
    sagas
        .scans
        .iter()
        .filter(|scan| scan.instance == start.instance)
        .collect()
}

fn left(sagas: &Sagas, stood: &Stood<'_>, all: &[Stood<'_>]) -> Option<Hit> {
    let story = stood.story;
    let quiet = sagas
        .end
        .0
        .saturating_sub(stood.start.at.0.max(stood.last.0));
    // One that was being undone is half undone, which is a matter of its own.
    if !stood.is_open() || !stood.untouched() || stood.undoing || quiet <= sagas.patience(story) {
        return None;
    }
    let scans = scans(sagas, stood.start);
    let under_way = all
        .iter()
        .filter(|other| std::ptr::eq(other.start, stood.start))
        .count();
    let recovered = all
        .iter()
        .any(|other| std::ptr::eq(other.start, stood.start) && other.recovery().is_some());
    let what = format!(
        "stands at {} since {}; {} started again at {}",
        stood.state,
        &stood.last.clock()[..8],
        stood.start.service,
        &stood.start.at.clock()[..8],
    );
    if let Some(ahead) = ahead(sagas, stood) {
        return Some(Hit::of(UNSAVED, story, stood.last, what).seen(Seen::note(ahead)));
    }
    let found: u64 = scans
        .iter()
        .filter_map(|scan| scan.found)
        .max()
        .unwrap_or(0);
    match scans.first() {
        None if sagas.known.spans && !recovered => {
            Some(Hit::of(ABSENT, story, stood.last, what).seen(Seen::note(
                "no scan for abandoned sagas since the restart".to_owned(),
            )))
        }
        None if sagas.known.spans => Some(Hit::of(MISSES, story, stood.last, what).seen(
            Seen::note("others were recovered, without a span of the scan".to_owned()),
        )),
        None => {
            Some(Hit::of(ABSENT, story, stood.last, what).or(MISSES, "spans of the orchestrator"))
        }
        // It found them all and did not go on with them: that is an incomplete recovery.
        Some(_) if usize::try_from(found).unwrap_or(0) >= under_way => None,
        Some(scan) => Some(Hit::of(MISSES, story, stood.last, what).seen(Seen::span(
            format!("the scan found {found} of {under_way}"),
            scan.at.trace,
            scan.at.span,
        ))),
    }
}

/// What ledgers know of a saga that its journal did not.
fn ahead(sagas: &Sagas, stood: &Stood<'_>) -> Option<String> {
    use crate::saga::model::Book;
    let story = stood.story;
    let step = sagas.step_of(story, Book::Payments)?;
    if stood.done.contains(&step) || stood.open == Some(step) {
        return None;
    }
    story
        .charged()
        .find(|row| row.created < stood.start.at)
        .map(|row| {
            format!(
                "payment {} was taken, and the journal has no intent of it",
                row.id
            )
        })
}

fn orphan(sagas: &Sagas, order: &Order) -> Option<Hit> {
    // Orders of before the journal was read at all say nothing.
    let known = sagas.stories.iter().map(|story| story.created).min()?;
    let start = sagas.restart_after(order.created)?;
    let ended = matches!(
        order.status.as_str(),
        "FAILED" | "CANCELLED" | "DELIVERED" | "SHIPPED" | "RETURNED"
    );
    let quiet = sagas.end.0.saturating_sub(start.at.0);
    if ended || order.created < known || quiet <= sagas.scaled(60.0) + 6_000_000_000 {
        return None;
    }
    Some(Hit {
        cause: UNSAVED,
        saga: String::new(),
        order: order.id.clone(),
        service: start.service.clone(),
        at: order.created,
        what: format!(
            "order {} reads {} and no journal has a row of its saga {}",
            order.id, order.status, order.saga
        ),
        more: vec![Seen::note(format!(
            "{} started again at {}",
            start.service,
            &start.at.clock()[..8]
        ))],
        sure: true,
        alternatives: Vec::new(),
    })
}

#[cfg(test)]
mod tests;
