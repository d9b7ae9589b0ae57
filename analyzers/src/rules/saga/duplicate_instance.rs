//! `saga/duplicate-instance`: several sagas run for what is one operation of a customer.

use std::collections::BTreeMap;

use super::shared::{Hit, JOURNAL, conclude, count, sagas};
use crate::engine::{About, Cause, Judgement, Rule, Seen, Severity};
use crate::evidence::Evidence;
use crate::saga::Story;

/// Repeats nearer to each other than this may both have looked before either wrote.
const TOGETHER: u64 = 1_000_000_000;
/// A repeat of the same purchase comes within this time.
const REPEAT: u64 = 60_000_000_000;

const SAME: &str = "saga-step/duplicate-sagas#instance-idempotency-missing";
const FRESH: &str = "saga-step/duplicate-sagas#deduplication-missing";
const RACE: &str = "saga-step/duplicate-sagas#initiation-race";

static ABOUT: About = About {
    id: "saga/duplicate-instance",
    title: "Several sagas run for one business operation",
    severity: Severity::Error,
    needs: &[JOURNAL],
    meaning: "A customer's request was repeated, and each repeat began a saga of its own: the same purchase is paid and \
              shipped more than once.",
    threshold: "two sagas with one operation id (a race where most are less than 1 s apart); or two sagas of one customer with the same goods and different \
                operation ids within 60 s, whose requests carried one key, or of which a span says that it was sent again",
    causes: &[
        Cause {
            id: SAME,
            what: "the same operation id starts a second saga",
            sign: "two sagas of one operation id, seconds apart",
        },
        Cause {
            id: FRESH,
            what: "no stable operation id is derived from the request",
            sign: "the operation ids of the repeats differ, customer and goods are the same",
        },
        Cause {
            id: RACE,
            what: "check and insert are not one step",
            sign: "two sagas of one operation id within milliseconds, and none further apart",
        },
    ],
    remedy: "derive the operation id from the client's key, and let a unique constraint refuse the second saga",
    follows: &[],
};

pub(super) struct DuplicateInstance;

impl Rule for DuplicateInstance {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let sagas = sagas(evidence);
        let mut judgement = Judgement::default();
        let mut by_operation: BTreeMap<&str, Vec<&Story>> = BTreeMap::new();
        #[allow(clippy::type_complexity)]
        let mut by_purchase: BTreeMap<(&str, Vec<(&str, i64)>), Vec<&Story>> = BTreeMap::new();
        for story in &sagas.stories {
            let Some(operation) = &story.operation else {
                continue;
            };
            by_operation.entry(operation).or_default().push(story);
            let goods = story
                .goods
                .iter()
                .map(|goods| (goods.product.as_str(), goods.quantity))
                .collect();
            by_purchase
                .entry((&story.user, goods))
                .or_default()
                .push(story);
        }
        let mut hits = Vec::new();
        for (operation, of) in &mut by_operation {
            of.sort_by_key(|story| (story.created, &story.id));
            for pair in of.windows(2) {
                let [first, second] = pair else { continue };
                hits.push(same_operation(operation, first, second));
            }
        }
        // Apart in time they slip through each time: then it is no race, and the near ones are no other cause. A few that
        // are a little too far apart among many near ones only show how slow the race was.
        let apart = hits.iter().filter(|hit| hit.cause == SAME).count();
        let cause = if apart * 2 >= hits.len() { SAME } else { RACE };
        for hit in &mut hits {
            hit.cause = cause;
        }
        let named = by_operation.len();
        let alone = |story: &Story| {
            let operation = story.operation.as_deref().unwrap_or_default();
            by_operation.get(operation).is_some_and(|of| of.len() == 1)
        };
        for of in by_purchase.values_mut() {
            of.sort_by_key(|story| (story.created, &story.id));
            for pair in of.windows(2) {
                let [first, second] = pair else { continue };
                if alone(first) && alone(second) {
                    hits.extend(same_purchase(first, second));
                }
            }
        }
        judgement.seen.push(format!(
            "{} with an operation id, {named} different ids; {} of requests that were sent again",
            count(by_operation.values().map(Vec::len).sum(), "saga"),
            count(
                sagas.stories.iter().filter(|story| story.resent).count(),
                "saga"
            ),
        ));
        if hits.is_empty() {
            judgement.distance =
                Some("no operation id has two sagas; one that has makes a finding".to_owned());
        }
        conclude(&ABOUT, hits, &mut judgement, |cause, hits| {
            let who = hits.first().map_or("", |hit| hit.service.as_str());
            let many = count(hits.len(), "request");
            match cause {
                SAME => format!(
                    "{who} began a second saga for {many} that came again under the same key."
                ),
                FRESH => format!(
                    "{who} takes {many} that came again for new ones: each got another operation id."
                ),
                _ => {
                    format!("{who} began two sagas for {many} that came twice at the same moment.")
                }
            }
        });
        judgement
    }
}

fn same_operation(operation: &str, first: &Story, second: &Story) -> Hit {
    let apart = second.created.0.saturating_sub(first.created.0);
    let process = |story: &Story| {
        story
            .log
            .first()
            .map(|record| record.instance.clone())
            .unwrap_or_default()
    };
    let elsewhere = process(first) != process(second);
    let cause = if apart < TOGETHER { RACE } else { SAME };
    Hit::of(
        cause,
        second,
        second.created,
        format!(
            "sagas {} and {} have one operation id ({operation}), {} apart{}",
            first.id,
            second.id,
            case::time::human_duration(apart),
            if elsewhere {
                ", in different processes"
            } else {
                ""
            },
        ),
    )
}

fn same_purchase(first: &Story, second: &Story) -> Option<Hit> {
    let apart = second.created.0.saturating_sub(first.created.0);
    let one_key = match (&first.client_key, &second.client_key) {
        (Some(first), Some(second)) => Some(first == second),
        _ => None,
    };
    if apart > REPEAT || one_key == Some(false) || one_key.is_none() && !second.resent {
        return None;
    }
    let mut hit = Hit::of(
        FRESH,
        second,
        second.created,
        format!(
            "sagas {} and {} are the same purchase of {}, {} apart, under different operation ids",
            first.id,
            second.id,
            second.user,
            case::time::human_duration(apart),
        ),
    );
    if one_key.is_none() {
        hit = hit.or(SAME, "server spans with the key that the client gave");
    }
    if let Some(attempt) = second.tries.first() {
        hit = hit.seen(Seen::trace("the request that came again", attempt.at.trace));
    }
    Some(hit)
}

#[cfg(test)]
mod tests;
