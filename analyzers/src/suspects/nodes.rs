//! Where only metrics of nodes and a graph of calls are known: which node adds cost of its own to a symptom further up.
//!
//! Cost is time or failures summed over requests, so a slow node that is hardly ever asked weighs little. What a node can
//! have added is its excess over the baseline less that of whom it calls. What nobody waits for is left out: work that runs
//! beside a request may differ from the baseline as it likes. A change counts as far as it exceeds what equally long
//! stretches of the baseline show.

use std::collections::{BTreeMap, BTreeSet};

use super::sight::Sight;
use super::weight;
use crate::names::Name;

/// A callee that costs so many times what all its callers do is not waited for.
const BESIDE: f64 = 2.0;
/// What chance stays below, of all stretches of the baseline.
const CHANCE: f64 = 0.98;
/// Stretches of the baseline looked at.
const STRETCHES: usize = 200;

/// Which cost is explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cost {
    Latency,
    Errors,
}

#[derive(Debug, Clone)]
pub struct Added {
    pub node: Name,
    /// Of all that nodes add beyond the usual, so much is this node's own.
    pub share: f64,
    /// Seconds, or failed requests, beyond the usual and not from its callees.
    pub own: f64,
    pub strength: f64,
}

/// Requests and cost of one node, moment by moment.
#[derive(Debug, Default, Clone)]
struct Track {
    rows: Vec<(f64, f64)>,
}

impl Track {
    /// Cost of a request.
    fn rate(&self) -> f64 {
        let (requests, cost) = Track::sums(&self.rows);
        if requests > 0.0 { cost / requests } else { 0.0 }
    }

    fn sums(rows: &[(f64, f64)]) -> (f64, f64) {
        rows.iter().fold((0.0, 0.0), |(r, c), (requests, cost)| {
            (r + requests, c + cost)
        })
    }
}

/// What a node's metric says of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    Latency,
    Requests,
    Availability,
    Nothing,
}

fn says(metric: &str, attributes: &str) -> Says {
    let metric = metric.to_ascii_lowercase();
    let attributes = attributes.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| metric.contains(word));
    // Quantiles do not add up.
    if attributes.contains("=p") || has(&["p50", "p90", "p95", "p99"]) {
        return Says::Nothing;
    }
    if has(&["latency", "duration", "response_time"]) {
        Says::Latency
    } else if has(&["availability", "success"]) {
        Says::Availability
    } else if has(&["request", "calls", "invocations"]) {
        Says::Requests
    } else {
        Says::Nothing
    }
}

fn tracks(sight: &Sight, cost: Cost, percent: bool) -> BTreeMap<Name, Track> {
    #[derive(Default)]
    struct Cells {
        requests: BTreeMap<u64, f64>,
        value: BTreeMap<u64, f64>,
    }
    let mut nodes: BTreeMap<Name, Cells> = BTreeMap::new();
    for (id, points) in &sight.series {
        let says = says(&id.metric, &id.attributes);
        let wanted = match cost {
            Cost::Latency => Says::Latency,
            Cost::Errors => Says::Availability,
        };
        let cells = nodes.entry(id.service.clone()).or_default();
        let into = if says == Says::Requests {
            &mut cells.requests
        } else if says == wanted {
            &mut cells.value
        } else {
            continue;
        };
        into.extend(points.iter().map(|(at, value)| (at.0, *value)));
    }
    let whole = if percent { 100.0 } else { 1.0 };
    let moments: BTreeSet<u64> = nodes
        .values()
        .flat_map(|cells| cells.requests.keys().copied())
        .collect();
    nodes
        .into_iter()
        .map(|(node, cells)| {
            // Every node has a row for every moment, so that stretches of all nodes are of one time.
            let row = |at: &u64| {
                let (Some(requests), Some(value)) = (cells.requests.get(at), cells.value.get(at))
                else {
                    return (0.0, 0.0);
                };
                let each = match cost {
                    Cost::Latency => *value,
                    Cost::Errors => (1.0 - value / whole).clamp(0.0, 1.0),
                };
                (*requests, requests * each)
            };
            (
                node,
                Track {
                    rows: moments.iter().map(row).collect(),
                },
            )
        })
        .collect()
}

/// Whether any availability is above 1, which makes all of them percentages.
fn in_percent(sights: [&Sight; 2]) -> bool {
    sights.iter().any(|sight| {
        sight
            .series
            .iter()
            .filter(|(id, _)| says(&id.metric, &id.attributes) == Says::Availability)
            .any(|(_, points)| points.iter().any(|(_, value)| *value > 1.5))
    })
}

/// What every node under `target` adds to its cost, strongest first.
pub fn added(baseline: &Sight, incident: &Sight, target: &str, cost: Cost) -> Vec<Added> {
    let percent = in_percent([baseline, incident]);
    let usual = tracks(baseline, cost, percent);
    let now = tracks(incident, cost, percent);
    let mut calls: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (caller, callee) in baseline.calls.iter().chain(&incident.calls) {
        if caller != callee {
            calls.entry(caller).or_default().insert(callee);
        }
    }
    // A call back up to the target is no cause below it.
    for callees in calls.values_mut() {
        callees.remove(target);
    }
    if cost == Cost::Latency {
        cut_unawaited(&usual, &mut calls);
    }
    let nodes = Nodes {
        reached: reached(&calls, target),
        calls,
        usual: &usual,
    };
    let rows: BTreeMap<&str, &[(f64, f64)]> = now
        .iter()
        .map(|(node, track)| (&**node, &track.rows[..]))
        .collect();
    let own = nodes.own(&rows);
    let all: f64 = own.values().filter(|own| **own > 0.0).sum();
    let length = now
        .values()
        .map(|track| track.rows.len())
        .max()
        .unwrap_or(0);
    let chance = nodes.by_chance(length);
    let mut out: Vec<Added> = own
        .into_iter()
        .filter(|(node, own)| {
            // Beyond what rounding leaves.
            let spent = rows.get(node).map_or(0.0, |rows| Track::sums(rows).1);
            *own > spent.abs() * 1e-6
        })
        .map(|(node, own)| {
            let noise = chance.get(node).copied().unwrap_or(0.0).max(0.0);
            Added {
                node: Name::from(node),
                share: own / all,
                own,
                strength: own / all * (1.0 - noise / own).max(0.0),
            }
        })
        .filter(|added| added.strength > 0.0)
        .collect();
    out.sort_by(|a, b| {
        b.strength
            .total_cmp(&a.strength)
            .then_with(|| a.node.cmp(&b.node))
    });
    out
}

/// Takes out calls nobody waits for: a callee that takes far more time than all its callers together runs beside them.
fn cut_unawaited(usual: &BTreeMap<Name, Track>, calls: &mut BTreeMap<&str, BTreeSet<&str>>) {
    let cost = |node: &str| {
        usual
            .get(node)
            .map_or(0.0, |track| Track::sums(&track.rows).1)
    };
    let mut callers: BTreeMap<&str, f64> = BTreeMap::new();
    for (caller, callees) in calls.iter() {
        for callee in callees {
            *callers.entry(callee).or_default() += cost(caller);
        }
    }
    for callees in calls.values_mut() {
        callees.retain(|callee| {
            let above = callers.get(callee).copied().unwrap_or(0.0);
            above <= 0.0 || cost(callee) <= BESIDE * above
        });
    }
}

fn reached<'a>(calls: &BTreeMap<&'a str, BTreeSet<&'a str>>, target: &'a str) -> BTreeSet<&'a str> {
    let mut out = BTreeSet::from([target]);
    let mut waiting = vec![target];
    while let Some(at) = waiting.pop() {
        for callee in calls.get(at).into_iter().flatten() {
            if out.insert(callee) {
                waiting.push(callee);
            }
        }
    }
    out
}

struct Nodes<'a> {
    calls: BTreeMap<&'a str, BTreeSet<&'a str>>,
    /// What the target can have waited for.
    reached: BTreeSet<&'a str>,
    usual: &'a BTreeMap<Name, Track>,
}

impl<'a> Nodes<'a> {
    /// The excess of each node that its callees do not have, and no more than it has itself.
    fn own(&self, now: &BTreeMap<&str, &[(f64, f64)]>) -> BTreeMap<&'a str, f64> {
        let excess = |node: &str| {
            let (requests, cost) = Track::sums(now.get(node).copied().unwrap_or_default());
            cost - self.usual.get(node).map_or(0.0, Track::rate) * requests
        };
        // Whom nobody called before is not to blame for being called now: what it costs is its caller's doing.
        let known = |node: &str| {
            self.usual
                .get(node)
                .is_some_and(|track| Track::sums(&track.rows).0 > 0.0)
        };
        self.reached
            .iter()
            .filter(|node| known(node))
            .map(|node| {
                let callees = self.calls.get(node).into_iter().flatten();
                let beneath: f64 = callees
                    .filter(|callee| known(callee))
                    .map(|callee| excess(callee))
                    .sum();
                let whole = excess(node);
                (*node, (whole - beneath).min(whole))
            })
            .collect()
    }

    /// What nodes add by themselves in stretches of so many rows of the baseline.
    fn by_chance(&self, length: usize) -> BTreeMap<&'a str, f64> {
        let rows = self
            .usual
            .values()
            .map(|track| track.rows.len())
            .max()
            .unwrap_or(0);
        let mut seen: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        if length == 0 || rows < length {
            return BTreeMap::new();
        }
        for from in (0..=rows - length).step_by((rows / STRETCHES).max(1)) {
            let stretch: BTreeMap<&str, &[(f64, f64)]> = self
                .usual
                .iter()
                .filter_map(|(node, track)| Some((&**node, track.rows.get(from..from + length)?)))
                .collect();
            for (node, own) in self.own(&stretch) {
                seen.entry(node).or_default().push(own);
            }
        }
        seen.into_iter()
            .filter_map(|(node, mut all)| Some((node, weight::quantile(&mut all, CHANCE)?)))
            .collect()
    }
}
