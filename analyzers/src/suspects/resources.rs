//! Resources that ran high: processor, memory, queues, pools, per instance, against what is usual for it, in units of how
//! much anything in the fleet strays.
//!
//! An instance's own spread is no measure: what idles has none, and wins every time. Latencies and rates are left to
//! spans, which say the same with a direction.

use std::collections::BTreeMap;

use super::sight::{SeriesId, Sight};
use super::weight;
use crate::names::Name;

/// Fewer points than this do not say what is usual.
const LEAST_HISTORY: usize = 5;
/// Points of history used for the fleet's spread, per metric.
const MOST_DEVIATIONS: usize = 200_000;

const RESOURCES: [&str; 14] = [
    "cpu",
    "memory",
    "heap",
    "gc",
    "thread",
    "disk",
    "filesystem",
    "swap",
    "fd",
    "descriptor",
    "pool",
    "queue",
    "throttl",
    "lag",
];
/// What belongs to a whole machine says nothing of one service on it.
const SHARED: [&str; 2] = ["node", "host"];

#[derive(Debug, Clone)]
pub struct High {
    pub series: SeriesId,
    pub before: f64,
    pub now: f64,
    /// How many times the fleet's usual stray.
    pub times: f64,
    pub strength: f64,
}

/// A series, what is usual, what is now, and how many points say so.
type Level<'a> = (&'a SeriesId, f64, f64, usize);

/// Series that ran high, strongest first.
pub fn high(baseline: &Sight, incident: &Sight) -> Vec<High> {
    // By metric and attributes: what is compared with what.
    let mut metrics: BTreeMap<(&Name, &Name), Vec<Level<'_>>> = BTreeMap::new();
    let mut stray: BTreeMap<(&Name, &Name), Vec<f64>> = BTreeMap::new();
    for (id, points) in &baseline.series {
        if !is_resource(&id.metric) || points.len() < LEAST_HISTORY {
            continue;
        }
        let mut values: Vec<f64> = points.iter().map(|(_, value)| *value).collect();
        let Some(usual) = weight::median(&mut values) else {
            continue;
        };
        let key = (&id.metric, &id.attributes);
        let deviations = stray.entry(key).or_default();
        if deviations.len() < MOST_DEVIATIONS {
            deviations.extend(values.iter().map(|value| (value - usual).max(0.0)));
        }
        let Some(points) = incident.series.get(id).filter(|points| !points.is_empty()) else {
            continue;
        };
        let mut now: Vec<f64> = points.iter().map(|(_, value)| *value).collect();
        if let Some(now) = weight::median(&mut now) {
            metrics
                .entry(key)
                .or_default()
                .push((id, usual, now, values.len()));
        }
    }
    let mut out = Vec::new();
    for (key, series) in metrics {
        let Some(usual_stray) = stray
            .get_mut(&key)
            .and_then(|all| weight::quantile(all, 0.99))
        else {
            continue;
        };
        let largest = series
            .iter()
            .map(|(_, usual, ..)| usual.abs())
            .fold(0.0, f64::max);
        let unit = usual_stray.max(largest * 1e-3).max(1e-9);
        let times = |usual: f64, now: f64| (now - usual) / unit;
        let all: f64 = series
            .iter()
            .map(|(_, usual, now, _)| (times(*usual, *now) - 1.0).max(0.0))
            .sum();
        for (id, usual, now, history) in series {
            let times = times(usual, now);
            if times <= 1.0 {
                continue;
            }
            // When everything runs high it is load, not one culprit.
            let share = (times - 1.0) / all;
            let certain = history as f64 / (history as f64 + 1.0);
            out.push(High {
                series: id.clone(),
                before: usual,
                now,
                times,
                strength: (1.0 - 1.0 / times) * share * certain,
            });
        }
    }
    out.sort_by(|a, b| {
        b.strength
            .total_cmp(&a.strength)
            .then_with(|| a.series.cmp(&b.series))
    });
    out
}

fn is_resource(metric: &str) -> bool {
    let lower = metric.to_ascii_lowercase();
    RESOURCES.iter().any(|word| lower.contains(word))
        && !SHARED.iter().any(|word| lower.starts_with(word))
}
