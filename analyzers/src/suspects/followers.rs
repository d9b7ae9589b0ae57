//! What visits of an operation did in the baseline and no longer do, and what goes wrong in them that did not before.
//!
//! Items are compared given another item of the same visit, so that neither early aborts nor a different mix of requests
//! counts as a change. A change loses weight in visits where a deeper visit changed as well. An error that vanished is
//! recovery, no evidence.

use std::collections::{BTreeMap, HashMap};

use super::visits::{Item, Kind, Lexicon, Operation, Visit, Visits};
use super::weight;
use crate::tree::NONE;

/// A follower came along in at least this share of baseline visits.
const ALWAYS: f64 = 0.95;
/// Visits of one operation that are compared; more are thinned out evenly.
const MOST_VISITS: usize = 2_000;
/// How much of a change is taken off where a change beneath explains it.
const EXPLAINED: f64 = 0.75;

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// `item` used to accompany `given` and no longer does.
    Vanished,
    /// `item` means trouble and is new, or comes far more often.
    Trouble,
}

#[derive(Debug, Clone)]
pub struct Finding {
    pub operation: Operation,
    pub change: Change,
    pub item: Item,
    pub given: Item,
    /// Of so many visits of the baseline and of the incident, so many had it.
    pub before: (u32, u32),
    pub now: (u32, u32),
    pub strength: f64,
    /// Incident visits that show it.
    pub visits: Vec<u32>,
    /// Share of it that changes beneath explain.
    pub explained: f64,
}

/// Everything that changed, strongest first.
pub fn changes(lexicon: &Lexicon, baseline: &Visits, incident: &Visits) -> Vec<Finding> {
    let before = by_operation(baseline);
    let now = by_operation(incident);
    let mut out = Vec::new();
    for (operation, visits) in &now {
        if let Some(usual) = before.get(operation) {
            let pair = Pair::new(lexicon, &baseline.visits, usual, &incident.visits, visits);
            pair.vanished(*operation, &mut out);
            pair.trouble(*operation, &mut out);
        } else {
            unknown_operation(lexicon, *operation, incident, visits, &mut out);
        }
    }
    explain(incident, &mut out);
    out.sort_by(|a, b| {
        b.strength
            .total_cmp(&a.strength)
            .then_with(|| (a.operation, a.item).cmp(&(b.operation, b.item)))
    });
    out
}

fn by_operation(visits: &Visits) -> BTreeMap<Operation, Vec<u32>> {
    let mut out: BTreeMap<Operation, Vec<u32>> = BTreeMap::new();
    for (number, visit) in visits.visits.iter().enumerate() {
        out.entry(visit.operation).or_default().push(number as u32);
    }
    for list in out.values_mut() {
        if list.len() > MOST_VISITS {
            let step = list.len() as f64 / MOST_VISITS as f64;
            *list = (0..MOST_VISITS)
                .map(|at| list[(at as f64 * step) as usize])
                .collect();
        }
    }
    out
}

/// Visits of one operation in both windows, their items numbered from 0.
struct Pair<'a> {
    items: Vec<Item>,
    /// Of each visit, sorted.
    before: Vec<Vec<u32>>,
    now: Vec<Vec<u32>>,
    visits: &'a [u32],
}

/// How often each item came up, and each pair of items.
struct Counts {
    single: Vec<u32>,
    both: Vec<u32>,
    width: usize,
}

impl<'a> Pair<'a> {
    fn new(
        lexicon: &Lexicon,
        old: &[Visit],
        usual: &[u32],
        new: &[Visit],
        visits: &'a [u32],
    ) -> Pair<'a> {
        let mut local: HashMap<u32, u32> = HashMap::new();
        let mut items = Vec::new();
        let mut numbered = |visit: &Visit| -> Vec<u32> {
            let mut out: Vec<u32> = visit
                .items
                .iter()
                .map(|item| {
                    *local.entry(*item).or_insert_with(|| {
                        items.push(lexicon.item(*item));
                        items.len() as u32 - 1
                    })
                })
                .collect();
            out.sort_unstable();
            out
        };
        let before: Vec<Vec<u32>> = usual
            .iter()
            .map(|visit| numbered(&old[*visit as usize]))
            .collect();
        let now: Vec<Vec<u32>> = visits
            .iter()
            .map(|visit| numbered(&new[*visit as usize]))
            .collect();
        Pair {
            items,
            before,
            now,
            visits,
        }
    }

    fn counts(&self, visits: &[Vec<u32>]) -> Counts {
        let width = self.items.len();
        let mut counts = Counts {
            single: vec![0; width],
            both: vec![0; width * width],
            width,
        };
        for items in visits {
            for a in items {
                counts.single[*a as usize] += 1;
                for b in items {
                    counts.both[*a as usize * width + *b as usize] += 1;
                }
            }
        }
        counts
    }

    fn vanished(&self, operation: Operation, out: &mut Vec<Finding>) {
        let before = self.counts(&self.before);
        let now = self.counts(&self.now);
        for item in 0..before.width {
            if matches!(
                self.items[item].kind,
                Kind::Entry | Kind::Trouble | Kind::Failed
            ) || before.single[item] == 0
            {
                continue;
            }
            let mut best: Option<(f64, usize)> = None;
            for given in 0..before.width {
                if given == item || matches!(self.items[given].kind, Kind::Trouble | Kind::Failed) {
                    continue;
                }
                let usual = (
                    before.both[given * before.width + item],
                    before.single[given],
                );
                let seen = (now.both[given * now.width + item], now.single[given]);
                if usual.1 == 0 || seen.1 == 0 || f64::from(usual.0) < ALWAYS * f64::from(usual.1) {
                    continue;
                }
                let strength = drop(usual, seen);
                if strength > best.map_or(0.0, |(most, _)| most) {
                    best = Some((strength, given));
                }
            }
            let Some((strength, given)) = best.filter(|(strength, _)| *strength > 0.05) else {
                continue;
            };
            let shows = |items: &Vec<u32>| {
                items.binary_search(&(given as u32)).is_ok()
                    && items.binary_search(&(item as u32)).is_err()
            };
            out.push(Finding {
                operation,
                change: Change::Vanished,
                item: self.items[item],
                given: self.items[given],
                before: (
                    before.both[given * before.width + item],
                    before.single[given],
                ),
                now: (now.both[given * now.width + item], now.single[given]),
                strength,
                visits: self.showing(shows),
                explained: 0.0,
            });
        }
    }

    fn trouble(&self, operation: Operation, out: &mut Vec<Finding>) {
        let count = |visits: &[Vec<u32>], item: usize| {
            visits
                .iter()
                .filter(|items| items.binary_search(&(item as u32)).is_ok())
                .count() as u32
        };
        let of = (self.before.len() as u32, self.now.len() as u32);
        for item in 0..self.items.len() {
            if !matches!(self.items[item].kind, Kind::Trouble | Kind::Failed) {
                continue;
            }
            let usual = (count(&self.before, item), of.0);
            let seen = (count(&self.now, item), of.1);
            // The share that came on top: a drop of those that are free of it.
            let strength = drop((usual.1 - usual.0, usual.1), (seen.1 - seen.0, seen.1));
            if strength > 0.05 {
                out.push(Finding {
                    operation,
                    change: Change::Trouble,
                    item: self.items[item],
                    given: ENTRY,
                    before: usual,
                    now: seen,
                    strength,
                    visits: self.showing(|items| items.binary_search(&(item as u32)).is_ok()),
                    explained: 0.0,
                });
            }
        }
    }

    fn showing(&self, shows: impl Fn(&Vec<u32>) -> bool) -> Vec<u32> {
        self.visits
            .iter()
            .zip(&self.now)
            .filter(|(_, items)| shows(items))
            .map(|(visit, _)| *visit)
            .collect()
    }
}

const ENTRY: Item = Item {
    kind: Kind::Entry,
    text: 0,
    times: 1,
};

/// How much it counts that a share fell.
fn drop(usual: (u32, u32), seen: (u32, u32)) -> f64 {
    let [a, of_a, b, of_b] = [usual.0, usual.1, seen.0, seen.1].map(f64::from);
    // Of few visits nothing is quite certain: each side counts as if half a visit had gone either way.
    let effect = (a + 0.5) / (of_a + 1.0) - (b + 0.5) / (of_b + 1.0);
    if effect <= 0.0 {
        return 0.0;
    }
    effect * weight::confidence(weight::two_shares(a, of_a, b, of_b), of_a.min(of_b))
}

/// An operation the baseline does not know says nothing by being new; trouble in it does, but little is known of what
/// is usual there.
fn unknown_operation(
    lexicon: &Lexicon,
    operation: Operation,
    incident: &Visits,
    visits: &[u32],
    out: &mut Vec<Finding>,
) {
    let mut seen: BTreeMap<Item, Vec<u32>> = BTreeMap::new();
    for visit in visits {
        for item in &incident.visits[*visit as usize].items {
            let item = lexicon.item(*item);
            if matches!(item.kind, Kind::Trouble | Kind::Failed) {
                seen.entry(item).or_default().push(*visit);
            }
        }
    }
    let of = visits.len() as u32;
    for (item, showing) in seen {
        let hits = showing.len() as u32;
        // As if one clean visit had been seen.
        let strength = drop((1, 1), (of - hits, of));
        if strength > 0.05 {
            out.push(Finding {
                operation,
                change: Change::Trouble,
                item,
                given: ENTRY,
                before: (0, 0),
                now: (hits, of),
                strength,
                visits: showing,
                explained: 0.0,
            });
        }
    }
}

/// Takes weight off changes in visits whose callees changed as well.
fn explain(incident: &Visits, findings: &mut [Finding]) {
    let mut changed = vec![0.0f64; incident.visits.len()];
    for finding in findings.iter() {
        for visit in &finding.visits {
            let most = &mut changed[*visit as usize];
            *most = most.max(finding.strength);
        }
    }
    // Parents come before their children: from the last to the first, each hands up what lies at or beneath it.
    let mut beneath = vec![0.0f64; incident.visits.len()];
    for at in (0..incident.visits.len()).rev() {
        let visit = &incident.visits[at];
        if visit.parent == NONE {
            continue;
        }
        let above = &incident.visits[visit.parent as usize];
        let here = if above.operation.service == visit.operation.service {
            beneath[at]
        } else {
            beneath[at].max(changed[at])
        };
        let most = &mut beneath[visit.parent as usize];
        *most = most.max(here);
    }
    for finding in findings.iter_mut() {
        let sum: f64 = finding
            .visits
            .iter()
            .map(|visit| beneath[*visit as usize].min(1.0))
            .sum();
        finding.explained = sum / finding.visits.len().max(1) as f64;
        finding.strength *= 1.0 - EXPLAINED * finding.explained;
    }
}
