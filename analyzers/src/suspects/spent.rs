//! Where the time went: what a service spent itself, what was lost between a caller and a callee, what a store took.
//!
//! All excess over the baseline is shared out greedily: whoever explains most of it takes what is its own, and the rest
//! is shared out again. One slow edge then blames the callee, many out of one caller blame the caller.

use std::collections::{BTreeMap, BTreeSet};

use super::visits::{Operation, Visits};
use super::weight;
use crate::tree::NONE;

/// Excess below this share of all time that requests took is hardly material.
const MATERIAL: f64 = 0.02;

/// Where time is spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Own(Operation),
    /// Between a calling service and a called one.
    Between(u32, u32),
    /// In a store or another service that sends no spans, as seen by this service.
    Beyond(u32, u32),
}

/// More time than usual in one place.
#[derive(Debug, Clone)]
pub struct Excess {
    pub place: Place,
    /// Means, in nanoseconds.
    pub before: f64,
    pub now: f64,
    pub samples: (u32, u32),
    /// Nanoseconds over all samples of the incident, less what may be chance.
    pub nanos: f64,
    pub confidence: f64,
}

/// What one suspect adds to the time requests took.
#[derive(Debug, Clone)]
pub struct Share {
    /// Number of its name in the lexicon.
    pub who: u32,
    pub strength: f64,
    pub share: f64,
    pub excess: Vec<Excess>,
}

#[derive(Default)]
struct Samples {
    sum: f64,
    logs: f64,
    squares: f64,
    count: u32,
}

impl Samples {
    fn add(&mut self, nanos: u64) {
        // A microsecond more on either side is nothing to anybody.
        let log = ((nanos + 50_000) as f64).ln();
        self.sum += nanos as f64;
        self.logs += log;
        self.squares += log * log;
        self.count += 1;
    }

    fn mean(&self) -> f64 {
        self.sum / f64::from(self.count.max(1))
    }

    fn log_mean(&self) -> f64 {
        self.logs / f64::from(self.count.max(1))
    }

    fn scatter(&self) -> f64 {
        (self.squares - self.logs * self.log_mean()).max(0.0)
    }
}

fn gather(visits: &Visits) -> BTreeMap<Place, Samples> {
    let mut out: BTreeMap<Place, Samples> = BTreeMap::new();
    for visit in &visits.visits {
        out.entry(Place::Own(visit.operation))
            .or_default()
            .add(visit.own);
    }
    for gap in &visits.gaps {
        let place = Place::Between(gap.caller, gap.callee.service);
        out.entry(place).or_default().add(gap.nanos);
    }
    for leaf in &visits.leaves {
        if let Some(target) = leaf.target {
            let by = visits.visits[leaf.visit as usize].operation.service;
            out.entry(Place::Beyond(by, target))
                .or_default()
                .add(leaf.nanos);
        }
    }
    out
}

/// Every place that takes longer than it did.
pub fn excesses(baseline: &Visits, incident: &Visits) -> Vec<Excess> {
    let before = gather(baseline);
    gather(incident)
        .into_iter()
        .filter_map(|(place, now)| {
            let usual = before.get(&place)?;
            let more = now.mean() - usual.mean();
            let rise = now.log_mean() - usual.log_mean();
            if more <= 0.0 || rise <= 0.0 {
                return None;
            }
            let (a, b) = (f64::from(usual.count), f64::from(now.count));
            // Two samples more, with a spread by a third, so that few samples do not look certain.
            let spread = (usual.scatter() + now.scatter() + 0.2) / (a + b);
            let ratio = rise * rise / (spread * (1.0 / a + 1.0 / b));
            let confidence = weight::confidence(ratio, b);
            Some(Excess {
                place,
                before: usual.mean(),
                now: now.mean(),
                samples: (usual.count, now.count),
                nanos: more * b * confidence,
                confidence,
            })
        })
        .collect()
}

/// Shares all excess out.
pub fn shares(incident: &Visits, excesses: &[Excess]) -> Vec<Share> {
    let total: f64 = excesses.iter().map(|excess| excess.nanos).sum();
    let requests: f64 = incident
        .visits
        .iter()
        .filter(|visit| visit.parent == NONE)
        .map(|visit| visit.duration as f64)
        .sum();
    if total <= 0.0 {
        return Vec::new();
    }
    let mut left: Vec<&Excess> = excesses.iter().collect();
    let mut out = Vec::new();
    loop {
        let mut sums: BTreeMap<u32, f64> = BTreeMap::new();
        for excess in &left {
            for (who, part) in blamed(excess.place) {
                *sums.entry(who).or_default() += part * excess.nanos;
            }
        }
        let most = sums
            .iter()
            .fold(None, |most: Option<(u32, f64)>, (who, sum)| match most {
                Some((_, best)) if best >= *sum => most,
                _ => Some((*who, *sum)),
            });
        let Some((who, sum)) = most.filter(|(_, sum)| *sum > 0.0) else {
            break;
        };
        let (taken, rest): (Vec<&Excess>, Vec<&Excess>) = left
            .into_iter()
            .partition(|excess| blamed(excess.place).any(|(blamed, _)| blamed == who));
        left = rest;
        let spent: f64 = taken
            .iter()
            .map(|excess| excess.now * f64::from(excess.samples.1))
            .sum();
        let more: f64 = taken.iter().map(|excess| excess.nanos).sum();
        let material = sum / (sum + MATERIAL * requests.max(1.0));
        let mut taken: Vec<Excess> = taken.into_iter().cloned().collect();
        taken.sort_by(|a, b| b.nanos.total_cmp(&a.nanos).then(a.place.cmp(&b.place)));
        out.push(Share {
            who,
            // Two faults share the excess: the root leaves both in sight.
            strength: (sum / total).sqrt() * (more / spent.max(1.0)) * material,
            share: sum / total,
            excess: taken,
        });
    }
    out
}

/// Who answers for time spent in a place, and for how much of it.
fn blamed(place: Place) -> impl Iterator<Item = (u32, f64)> {
    match place {
        Place::Own(operation) => [Some((operation.service, 1.0)), None],
        Place::Between(caller, callee) => [
            Some((callee, 1.0)),
            Some((caller, 0.5)).filter(|_| caller != callee),
        ],
        Place::Beyond(_, target) => [Some((target, 1.0)), None],
    }
    .into_iter()
    .flatten()
}

/// Every service that is called, directly or not, by one of these.
pub fn reached(visits: &Visits, from: u32) -> BTreeSet<u32> {
    let mut calls: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for visit in &visits.visits {
        if visit.parent != NONE {
            let caller = visits.visits[visit.parent as usize].operation.service;
            calls
                .entry(caller)
                .or_default()
                .insert(visit.operation.service);
        }
    }
    for leaf in &visits.leaves {
        if let Some(target) = leaf.target {
            let caller = visits.visits[leaf.visit as usize].operation.service;
            calls.entry(caller).or_default().insert(target);
        }
    }
    let mut out = BTreeSet::from([from]);
    let mut waiting = vec![from];
    while let Some(at) = waiting.pop() {
        for callee in calls.get(&at).into_iter().flatten() {
            if out.insert(*callee) {
                waiting.push(*callee);
            }
        }
    }
    out
}
