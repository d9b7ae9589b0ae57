//! Suspects: services, stores and nodes ranked by how well they explain an incident, against a window in which all was
//! well.
//!
//! From whatever signals there are: what visits no longer do and what newly fails in them (`followers`), where the time
//! went (`spent`), resources (`resources`), and where only metrics of nodes are known, what each adds to a symptom
//! (`nodes`). Nothing is learnt beforehand and no setting knows a system. What a suspect is blamed for is said in words,
//! with references.

pub mod followers;
pub mod nodes;
pub mod resources;
pub mod sight;
pub mod spent;
mod template;
pub mod visits;
pub mod weight;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use case::TraceId;
use serde::Serialize;

pub use nodes::Cost;
pub use sight::Sight;

use followers::Finding;
use visits::Lexicon;

/// Reasons told of one suspect.
const MOST_REASONS: usize = 6;
/// Traces named by one reason.
const MOST_TRACES: usize = 3;
/// Below this score nobody is suspected.
pub const LEAST: f64 = 0.2;

/// What the ranking is to explain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symptom {
    pub service: String,
    pub cost: Cost,
}

/// Which signals a reason rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    CallPath,
    Errors,
    Time,
    Resources,
    Nodes,
    Change,
}

impl Basis {
    /// What fails and what no longer happens are two sides of one change: they count once.
    fn kind(self) -> Basis {
        match self {
            Basis::Errors => Basis::CallPath,
            other => other,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reason {
    pub basis: Basis,
    pub what: String,
    pub strength: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub traces: Vec<TraceId>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Suspect {
    /// A service, a store, or a node of a graph.
    pub name: String,
    /// From 0 to 1.
    pub score: f64,
    pub reasons: Vec<Reason>,
}

/// Suspects, the strongest first, and what could not be looked at.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Ranking {
    pub suspects: Vec<Suspect>,
    pub missing: Vec<String>,
}

impl Ranking {
    /// Those whom the evidence really speaks against.
    pub fn suspected(&self) -> impl Iterator<Item = &Suspect> {
        self.suspects
            .iter()
            .filter(|suspect| suspect.score >= LEAST)
    }
}

/// Evidence against each name, as it comes together.
#[derive(Default)]
struct Against {
    reasons: BTreeMap<String, Vec<Reason>>,
}

impl Against {
    fn add(&mut self, name: &str, reason: Reason) {
        if !name.is_empty() && reason.strength > 0.0 {
            self.reasons
                .entry(name.to_owned())
                .or_default()
                .push(reason);
        }
    }

    /// Of each kind of basis the strongest reason counts; kinds join.
    fn ranked(self) -> Vec<Suspect> {
        let mut out: Vec<Suspect> = self
            .reasons
            .into_iter()
            .map(|(name, mut reasons)| {
                reasons.sort_by(|a, b| {
                    b.strength
                        .total_cmp(&a.strength)
                        .then_with(|| a.what.cmp(&b.what))
                });
                let mut most: BTreeMap<Basis, f64> = BTreeMap::new();
                for reason in &reasons {
                    let best = most.entry(reason.basis.kind()).or_default();
                    *best = best.max(reason.strength);
                }
                let score = weight::joined(most.into_values());
                reasons.truncate(MOST_REASONS);
                Suspect {
                    name,
                    score,
                    reasons,
                }
            })
            .collect();
        out.sort_by(|a, b| {
            b.score
                .total_cmp(&a.score)
                .then_with(|| a.name.cmp(&b.name))
        });
        out
    }
}

/// Ranks everything that can have to do with the incident.
pub fn rank(baseline: &Sight, incident: &Sight, symptom: Option<&Symptom>) -> Ranking {
    let mut lexicon = Lexicon::default();
    let before = visits::of(baseline, &mut lexicon);
    let now = visits::of(incident, &mut lexicon);
    let mut against = Against::default();

    for finding in followers::changes(&lexicon, &before, &now) {
        let service = lexicon.text(finding.operation.service).to_owned();
        against.add(&service, words::change(&finding, &lexicon, incident, &now));
    }
    let excesses = spent::excesses(&before, &now);
    for share in spent::shares(&now, &excesses) {
        let who = lexicon.text(share.who).to_owned();
        against.add(&who, words::time(&share, &lexicon));
    }
    for high in resources::high(baseline, incident) {
        let who = high.series.service.to_string();
        against.add(&who, words::resource(&high));
    }
    if let Some(symptom) = symptom {
        for added in nodes::added(baseline, incident, &symptom.service, symptom.cost) {
            against.add(&added.node.clone(), words::node(&added, symptom));
        }
    }

    // A suspect must lie where the symptom can have come from.
    if let Some(symptom) = symptom
        && let Some(from) = now
            .visits
            .iter()
            .map(|visit| visit.operation.service)
            .find(|service| lexicon.text(*service) == symptom.service)
    {
        let reached: BTreeSet<&str> = spent::reached(&now, from)
            .union(&spent::reached(&before, from))
            .map(|number| lexicon.text(*number))
            .collect();
        against
            .reasons
            .retain(|name, _| reached.contains(name.as_str()));
    }
    Ranking {
        suspects: against.ranked(),
        missing: missing(baseline, incident),
    }
}

fn missing(baseline: &Sight, incident: &Sight) -> Vec<String> {
    let mut out = Vec::new();
    for (name, sight) in [("the baseline", baseline), ("the incident", incident)] {
        let mut none = |what: &str, empty: bool| {
            if empty {
                out.push(format!("{name} has no {what}"));
            }
        };
        none("spans", sight.table.is_empty());
        none("log records", sight.lines.is_empty());
        none("metrics", sight.series.is_empty());
    }
    let beyond = baseline.left_out + incident.left_out;
    if beyond > 0 {
        out.push(format!(
            "{beyond} signals beyond what is kept were left out"
        ));
    }
    out
}

/// Traces of the visits that show a change.
fn traces_of(finding: &Finding, incident: &Sight, now: &visits::Visits) -> Vec<TraceId> {
    let mut out: Vec<TraceId> = Vec::new();
    for visit in &finding.visits {
        let row = now.visits[*visit as usize].row as usize;
        let trace = incident.table.traces[incident.table.trace[row] as usize];
        if !out.contains(&trace) {
            out.push(trace);
        }
        if out.len() == MOST_TRACES {
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests;
