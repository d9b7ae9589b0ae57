//! A window held against thresholds and objectives.
//!
//! An alert stands when its measure was beyond its bound in every stretch that had requests, for as long as it asks.
//! Stretches without requests say nothing: they neither end an alert nor begin one.

use std::collections::BTreeMap;

use case::Nanos;
use serde::Serialize;

use super::{Alert, Bound, Measure, Objectives};
use crate::exact::Stats;
use crate::map::{Series, ServiceMap};

/// Requests without which a stretch of time is no evidence.
const FEWEST: u64 = 10;

/// An alert that stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Breach {
    pub alert: String,
    pub measure: &'static str,
    /// A service, `caller > callee`, or a service and its kind of failure.
    pub subject: String,
    pub since: Nanos,
    pub until: Nanos,
    /// The value farthest beyond the bound.
    pub worst: f64,
    /// The bound, in the measure's own unit.
    pub bound: f64,
}

/// How an objective came out over the window.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Kept {
    pub objective: String,
    pub service: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    pub requests: u64,
    pub kept: bool,
    /// What was asked and what was found, as shares or seconds.
    pub asked: f64,
    pub found: f64,
    /// `success`, `p50`, `p95` or `p99`.
    pub what: &'static str,
    /// Of the failures the objective leaves room for over this window, the share used up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_used: Option<f64>,
    /// Seconds the objective is meant for, and seconds that were looked at.
    pub meant_for: f64,
    pub looked_at: f64,
}

/// Alerts and objectives over a window.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Verdicts {
    pub breaches: Vec<Breach>,
    pub objectives: Vec<Kept>,
    /// What could not be told, and why.
    pub cannot_tell: Vec<String>,
}

/// A measure over time: place, value, requests behind it.
type Values = Vec<(u32, f64, u64)>;

/// Holds a window against its objectives; `baseline` is the map of a better time.
pub fn judge(
    objectives: &Objectives,
    map: &ServiceMap,
    series: &Series,
    baseline: Option<&ServiceMap>,
) -> Verdicts {
    let mut out = Verdicts::default();
    for alert in &objectives.alerts {
        let relative = matches!(
            alert.bound,
            Bound::AboveBaseline(_) | Bound::BelowBaseline(_)
        );
        if relative && baseline.is_none() {
            out.cannot_tell
                .push(format!("{}: no baseline to compare with", alert.name));
            continue;
        }
        for (subject, service, values) in measured(alert, series) {
            if alert.service.as_ref().is_some_and(|only| *only != service) {
                continue;
            }
            let Some(bound) = bound(alert, &service, baseline) else {
                continue;
            };
            out.breaches
                .extend(breaches(alert, &subject, &values, bound, series));
        }
    }
    out.breaches
        .sort_by(|a, b| (a.since, &a.alert, &a.subject).cmp(&(b.since, &b.alert, &b.subject)));
    objectives_over(objectives, map, &mut out);
    out
}

/// A bound as it applies to a service; `None` if its baseline says nothing.
fn bound(alert: &Alert, service: &str, baseline: Option<&ServiceMap>) -> Option<Bound> {
    let before = |times: f64| {
        let red = &baseline?.node(service)?.red;
        let enough = red.stats.requests >= FEWEST;
        let value = of_stats(alert.measure, &red.stats, red.rate)?;
        enough.then_some(value * times)
    };
    match alert.bound {
        Bound::AboveBaseline(times) => before(times).map(Bound::Above),
        Bound::BelowBaseline(times) => before(times).map(Bound::Below),
        bound => Some(bound),
    }
}

fn of_stats(measure: Measure, stats: &Stats, rate: f64) -> Option<f64> {
    let seconds = |nanos: u64| nanos as f64 / 1e9;
    match measure {
        Measure::ErrorShare => Some(stats.error_share()),
        Measure::SuccessShare => Some(1.0 - stats.error_share()),
        Measure::P50 => Some(seconds(stats.p50)),
        Measure::P95 => Some(seconds(stats.p95)),
        Measure::P99 => Some(seconds(stats.p99)),
        Measure::Rate => Some(rate),
        Measure::DependencyErrorShare | Measure::ErrorsOfOneKindPerMinute => None,
    }
}

/// What an alert looks at: subjects with the service they are about and their values over time.
fn measured(alert: &Alert, series: &Series) -> Vec<(String, String, Values)> {
    let seconds = series.slot as f64 / 1e9;
    match alert.measure {
        Measure::DependencyErrorShare => series
            .edges
            .iter()
            .map(|((caller, callee), slots)| {
                let values = slots.iter().map(|(place, slot)| {
                    let share = slot.errors as f64 / slot.requests.max(1) as f64;
                    (*place, share, slot.requests)
                });
                let subject = format!("{caller} > {callee}");
                (subject, caller.clone(), values.collect())
            })
            .collect(),
        Measure::ErrorsOfOneKindPerMinute => series
            .kinds
            .iter()
            .map(|((service, kind), counts)| {
                let subject = format!("{service}: {kind}");
                (subject, service.clone(), per_minute(counts, series.slot))
            })
            .collect(),
        measure => series
            .services
            .iter()
            .map(|(service, slots)| {
                let mut values: Values = slots
                    .iter()
                    .filter_map(|(place, stats)| {
                        let rate = stats.requests as f64 / seconds;
                        Some((*place, of_stats(measure, stats, rate)?, stats.requests))
                    })
                    .collect();
                if measure == Measure::Rate {
                    // No request at all is a rate, too; the first and last stretch are rarely whole.
                    let whole = 1..series.slots.saturating_sub(1) as u32;
                    let known: BTreeMap<u32, f64> = values
                        .iter()
                        .map(|(place, rate, _)| (*place, *rate))
                        .collect();
                    values = whole
                        .map(|place| (place, known.get(&place).copied().unwrap_or(0.0), FEWEST))
                        .collect();
                }
                (service.clone(), service.clone(), values)
            })
            .collect(),
    }
}

/// How many within the minute that ends with each stretch.
fn per_minute(counts: &BTreeMap<u32, u64>, slot: u64) -> Values {
    let slots = (60_000_000_000 / slot.max(1)).max(1);
    counts
        .keys()
        .map(|place| {
            let first = u64::from(*place).saturating_sub(slots - 1) as u32;
            let sum: u64 = counts.range(first..=*place).map(|(_, count)| count).sum();
            (*place, sum as f64, FEWEST)
        })
        .collect()
}

/// Runs of stretches beyond the bound that last long enough.
fn breaches(
    alert: &Alert,
    subject: &str,
    values: &Values,
    bound: Bound,
    series: &Series,
) -> Vec<Breach> {
    let (limit, beyond): (f64, fn(f64, f64) -> bool) = match bound {
        Bound::Above(limit) | Bound::AboveBaseline(limit) => (limit, |value, limit| value > limit),
        Bound::Below(limit) | Bound::BelowBaseline(limit) => (limit, |value, limit| value < limit),
    };
    // A minute's count already looks a minute back: one stretch beyond the bound is enough.
    let lasts = if alert.measure == Measure::ErrorsOfOneKindPerMinute {
        0
    } else {
        alert.lasts
    };
    let mut out = Vec::new();
    let mut at = 0;
    while at < values.len() {
        let run = values[at..]
            .iter()
            .take_while(|(_, value, _)| beyond(*value, limit))
            .count();
        if run == 0 {
            at += 1;
            continue;
        }
        let stretch = &values[at..at + run];
        at += run;
        let (Some(first), Some(last)) = (stretch.first(), stretch.last()) else {
            continue;
        };
        let requests: u64 = stretch.iter().map(|(_, _, requests)| requests).sum();
        let length = u64::from(last.0 - first.0 + 1).saturating_mul(series.slot);
        if length < lasts || requests < FEWEST {
            continue;
        }
        let worst = stretch
            .iter()
            .map(|(_, value, _)| *value)
            .reduce(|a, b| if beyond(a, b) { a } else { b })
            .unwrap_or(limit);
        out.push(Breach {
            alert: alert.name.clone(),
            measure: alert.measure.name(),
            subject: subject.to_owned(),
            since: series.at(first.0),
            until: series.at(last.0 + 1),
            worst,
            bound: limit,
        });
    }
    out
}

fn objectives_over(objectives: &Objectives, map: &ServiceMap, out: &mut Verdicts) {
    let looked_at = map.window.until.0.saturating_sub(map.window.from.0) as f64 / 1e9;
    for objective in &objectives.objectives {
        let node = map.node(&objective.service);
        let stats = match &objective.operation {
            None => node.map(|node| node.red.stats),
            Some(operation) => node.and_then(|node| {
                let part = node.operations.iter().find(|part| part.name == *operation);
                part.map(|part| part.red.stats)
            }),
        };
        let Some(stats) = stats.filter(|stats| stats.requests > 0) else {
            let what = objective.operation.as_ref().unwrap_or(&objective.service);
            out.cannot_tell
                .push(format!("{}: no requests to {what}", objective.name));
            continue;
        };
        let mut push = |what, asked, found, kept, budget_used| {
            out.objectives.push(Kept {
                objective: objective.name.clone(),
                service: objective.service.clone(),
                operation: objective.operation.clone(),
                requests: stats.requests,
                kept,
                asked,
                found,
                what,
                budget_used,
                meant_for: objective.over as f64 / 1e9,
                looked_at,
            });
        };
        if let Some(asked) = objective.success {
            let found = 1.0 - stats.error_share();
            let room = 1.0 - asked;
            let used = (room > 0.0).then(|| stats.error_share() / room);
            push("success", asked, found, found >= asked, used);
        }
        for (percent, limit) in &objective.latency {
            let (what, found) = match percent {
                50 => ("p50", stats.p50),
                95 => ("p95", stats.p95),
                _ => ("p99", stats.p99),
            };
            let kept = found <= *limit;
            push(what, *limit as f64 / 1e9, found as f64 / 1e9, kept, None);
        }
    }
}
