//! `saga/compensation-stalled`: undoing takes very long, or never ends.

use super::shared::{Hit, JOURNAL, conclude, count, sagas};
use super::undoing::{Undoing, turned};
use crate::engine::{About, Cause, Judgement, Rule, Seen, Severity};
use crate::evidence::Evidence;
use crate::saga::{Level, Sagas, Story};

/// Undoing a step takes a call; from here on it waits for something.
const LONG: u64 = 8_000_000_000;
/// Attempts that end without an answer, before it counts as waiting.
const SILENT: usize = 2;

const LOCK: &str = "compensation/hangs#lock-blocked";
const OUTSIDE: &str = "compensation/hangs#external-unavailable";
const CROWDED: &str = "compensation/hangs#resource-contention";

const LOCK_METRICS: [&str; 3] = [
    "shop_db_lock_waiting",
    "shop_db_lock_waits",
    "shop.db.lock_waits",
];
const POOL_METRICS: [&str; 2] = ["shop_pool_waiting", "shop.pool.queued"];

static ABOUT: About = About {
    id: "saga/compensation-stalled",
    title: "Compensation takes very long or never ends",
    severity: Severity::Error,
    needs: &[JOURNAL],
    meaning: "A saga is turning back and its undo calls get no answer. Until they do, money stays taken or goods stay \
              held, and the order can not end.",
    threshold: "one step being undone for longer than 8 s, with 2 attempts that ended without an answer in time, or one \
                that has lasted as long",
    causes: &[
        Cause {
            id: LOCK,
            what: "the undo waits for a lock",
            sign: "somebody waits for a lock of the callee's store, and pools are free",
        },
        Cause {
            id: OUTSIDE,
            what: "an external service does not answer",
            sign: "the callee's own call to something outside ends at its timeout; no lock waits, pools are free",
        },
        Cause {
            id: CROWDED,
            what: "undo work waits for workers or connections",
            sign: "requests wait for a pool of the callee before anything is called",
        },
    ],
    remedy: "give locks and calls a timeout, keep capacity for undoing, and hand over to a person when it runs out",
    follows: &[],
};

pub(super) struct CompensationStalled;

impl Rule for CompensationStalled {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let sagas = sagas(evidence);
        let mut judgement = Judgement::default();
        let mut longest = 0;
        let mut hits = Vec::new();
        for (story, undoings) in turned(sagas) {
            for undoing in &undoings {
                let end = undoing
                    .tries
                    .iter()
                    .map(|attempt| attempt.end)
                    .max()
                    .unwrap_or(undoing.first);
                let end = if undoing.done || undoing.failed {
                    end
                } else {
                    sagas.end.max(end)
                };
                let took = end.0.saturating_sub(undoing.first.0);
                longest = longest.max(took);
                let waiting = undoing.timeouts() >= SILENT
                    || undoing.tries.len() < undoing.attempts
                    || undoing
                        .tries
                        .iter()
                        .any(|attempt| attempt.end.0 - attempt.start.0 >= LONG);
                if took >= LONG && waiting {
                    hits.extend(hit(sagas, story, undoing, took));
                }
            }
        }
        judgement.seen.push(format!(
            "the longest undo of one step took {}",
            case::time::human_duration(longest)
        ));
        if hits.is_empty() {
            judgement.distance = Some(format!(
                "{} at most; {} with calls that nobody answers make a finding",
                case::time::human_duration(longest),
                case::time::human_duration(LONG),
            ));
        }
        conclude(&ABOUT, hits, &mut judgement, |cause, hits| {
            let who = hits.first().map_or("", |hit| hit.service.as_str());
            let many = count(hits.len(), "saga");
            match cause {
                LOCK => format!("Undoing {many} waits for a lock in {who}."),
                CROWDED => format!("Undoing {many} waits for a free place in {who}."),
                _ => format!(
                    "Undoing {many} waits for something outside {who} that does not answer."
                ),
            }
        });
        judgement
    }
}

fn above<'a>(
    sagas: &'a Sagas,
    service: &str,
    metrics: &[&'static str],
) -> Option<(&'static str, &'a Level)> {
    metrics.iter().find_map(|metric| {
        sagas
            .level(service, metric)
            .filter(|level| level.most > 0.0)
            .map(|level| (*metric, level))
    })
}

fn hit(sagas: &Sagas, story: &Story, undoing: &Undoing<'_>, took: u64) -> Option<Hit> {
    let answered = undoing.calls().any(|call| call.served.is_some());
    let outside = undoing
        .calls()
        .filter_map(|call| call.served.as_ref())
        .find_map(|served| served.outside.clone());
    let lock = above(sagas, undoing.service, &LOCK_METRICS);
    let pool = above(sagas, undoing.service, &POOL_METRICS);
    let cause = match (&outside, lock, pool) {
        (Some(_), _, _) => OUTSIDE,
        (None, Some(_), _) => LOCK,
        (None, None, Some(_)) => CROWDED,
        // Nobody on the other side: that is a partial compensation, or soon will be.
        (None, None, None) if !answered => return None,
        (None, None, None) => OUTSIDE,
    };
    let mut hit = Hit::of(
        cause,
        story,
        undoing.first,
        format!(
            "undoing {} has taken {} in {}, {} of them without an answer in time",
            undoing.name,
            case::time::human_duration(took),
            count(undoing.attempts, "attempt"),
            undoing.timeouts(),
        ),
    )
    .blame(undoing.service);
    if let Some(call) = undoing.last_call() {
        hit = hit.seen(Seen::span("an undo call", call.at.trace, call.at.span));
    }
    if let Some((error, took)) = outside {
        hit = hit.seen(Seen::note(format!(
            "its call to something outside ended with {error} after {}",
            case::time::human_duration(took)
        )));
    }
    for (metric, level) in [lock, pool].into_iter().flatten() {
        hit = hit.seen(Seen::at(
            format!("{metric} of {} rose to {}", undoing.service, level.most),
            crate::reference::Reference::Metric {
                name: metric.to_owned(),
                service: Some(undoing.service.to_owned()),
            },
        ));
    }
    if !sagas.known.metrics && cause != OUTSIDE {
        hit = hit.or(OUTSIDE, "metrics of pools and locks");
    } else if cause == OUTSIDE && hit.more.len() < 2 {
        hit = hit
            .or(
                LOCK,
                "the callee's lock metrics, or spans of its calls outside",
            )
            .or(CROWDED, "the callee's pool metrics");
    }
    Some(hit)
}

#[cfg(test)]
mod tests;
