//! What rules about sagas share: a saga that shows something, and the finding that many of them make together.

use case::Nanos;

use crate::engine::{About, Finding, Judgement, Seen};
use crate::evidence::{Evidence, Need};
use crate::reference::Reference;
use crate::saga::{Sagas, Story};

/// Sagas of one cause that are shown; the others are counted.
const SHOWN: usize = 4;
/// A cause that so few of the sagas show beside another is told in what was seen, not as a finding of its own.
const MINOR: usize = 4;

pub(super) const JOURNAL: Need = crate::evidence::need::JOURNAL;

pub(super) const STEP_SPANS: Need = Need {
    name: "spans of saga steps",
    missing: |evidence| {
        (!evidence.sagas.sagas().known.spans)
            .then(|| "no spans of saga steps in the window".to_owned())
    },
};

pub(super) const RESERVATIONS: Need = Need {
    name: "ledgers of payments and reservations",
    missing: |evidence| {
        let known = evidence.sagas.sagas().known;
        (!known.payments && !known.reservations)
            .then(|| "no rows of payments or reservations in the window".to_owned())
    },
};

/// One saga, or one product, that shows what a rule looks for.
#[derive(Debug)]
pub(super) struct Hit {
    pub(super) cause: &'static str,
    pub(super) saga: String,
    pub(super) order: String,
    /// Who is to blame.
    pub(super) service: String,
    pub(super) at: Nanos,
    /// What this saga shows, in a sentence without its name.
    pub(super) what: String,
    pub(super) more: Vec<Seen>,
    pub(super) sure: bool,
    pub(super) alternatives: Vec<(&'static str, String)>,
}

impl Hit {
    pub(super) fn of(
        cause: &'static str,
        story: &Story,
        at: Nanos,
        what: impl Into<String>,
    ) -> Hit {
        Hit {
            cause,
            saga: story.id.clone(),
            order: story.order_id.clone(),
            service: coordinator(story).to_owned(),
            at,
            what: what.into(),
            more: Vec::new(),
            sure: true,
            alternatives: Vec::new(),
        }
    }

    /// Somebody other than the orchestrator is to blame.
    pub(super) fn blame(mut self, service: &str) -> Hit {
        if !service.is_empty() {
            service.clone_into(&mut self.service);
        }
        self
    }

    pub(super) fn or(mut self, cause: &'static str, missing: impl Into<String>) -> Hit {
        self.sure = false;
        self.alternatives.push((cause, missing.into()));
        self
    }

    pub(super) fn seen(mut self, seen: Seen) -> Hit {
        self.more.push(seen);
        self
    }
}

/// The service that runs a saga, by a name a sentence can use.
pub(super) fn coordinator(story: &Story) -> &str {
    if story.coordinator.is_empty() {
        "the orchestrator"
    } else {
        &story.coordinator
    }
}

pub(super) fn sagas(evidence: &Evidence) -> &Sagas {
    evidence.sagas.sagas()
}

/// `1 saga`, `7 sagas`
pub(super) fn count(number: usize, one: &str) -> String {
    if number == 1 {
        format!("1 {one}")
    } else {
        format!("{number} {one}s")
    }
}

/// A finding for each cause, and what was seen. `headline` says what the sagas of one cause have in common.
pub(super) fn conclude(
    about: &'static About,
    mut hits: Vec<Hit>,
    judgement: &mut Judgement,
    headline: impl Fn(&'static str, &[Hit]) -> String,
) {
    hits.sort_by(|a, b| (a.at, &a.saga, a.cause).cmp(&(b.at, &b.saga, b.cause)));
    let mut causes: Vec<(&'static str, Vec<Hit>)> = Vec::new();
    for hit in hits {
        match causes.iter_mut().find(|(cause, _)| *cause == hit.cause) {
            Some((_, of)) => of.push(hit),
            None => causes.push((hit.cause, vec![hit])),
        }
    }
    causes.sort_by_key(|(cause, of)| (std::cmp::Reverse(of.len()), *cause));
    let most = causes.first().map_or(0, |(_, of)| of.len());
    for (cause, of) in causes {
        if of.len() * MINOR <= most {
            judgement.seen.push(format!(
                "{} would speak for {cause}",
                count(of.len(), "saga")
            ));
            continue;
        }
        judgement
            .findings
            .push(finding(about, cause, &of, &headline));
    }
}

fn finding(
    about: &'static About,
    cause: &'static str,
    hits: &[Hit],
    headline: &impl Fn(&'static str, &[Hit]) -> String,
) -> Finding {
    let first = hits.first().map_or(Nanos(0), |hit| hit.at);
    let last = hits.last().map_or(first, |hit| hit.at);
    let mut finding = Finding::of(about, cause, headline(cause, hits)).between(first, Some(last));
    if hits.iter().any(|hit| hit.sure) {
        finding = finding.sure();
    } else if let Some(hit) = hits.first() {
        for (other, missing) in &hit.alternatives {
            finding = finding.or(other, missing.clone());
        }
    }
    let mut services: Vec<&str> = Vec::new();
    for hit in hits {
        if !services.contains(&hit.service.as_str()) {
            services.push(&hit.service);
        }
    }
    for (position, service) in services.into_iter().take(SHOWN).enumerate() {
        let role = if position == 0 {
            "to blame"
        } else {
            "involved"
        };
        finding = finding.about(service, "", role);
    }
    for hit in hits.iter().take(SHOWN) {
        let reference = if hit.saga.is_empty() {
            (!hit.order.is_empty()).then(|| Reference::Order {
                order_id: hit.order.clone(),
            })
        } else {
            Some(Reference::Saga {
                saga_id: hit.saga.clone(),
            })
        };
        finding = finding.seen(Seen {
            what: hit.what.clone(),
            reference,
        });
        for seen in hit.more.iter().take(SHOWN) {
            finding = finding.seen(seen.clone());
        }
    }
    if hits.len() > SHOWN {
        finding = finding.seen(Seen::note(format!(
            "{} more like these",
            hits.len() - SHOWN
        )));
    }
    finding
}
