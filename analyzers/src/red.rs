//! Rate, errors and durations of every service, whole and over time, from a skeleton of spans.

use case::model::{SpanKind, StatusCode};
use case::{SpanTable, Window};
use serde::Serialize;

use crate::quantile::Durations;

/// One service in a window.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Service {
    pub name: String,
    pub requests: u64,
    pub errors: u64,
    /// Nanoseconds.
    pub p50: u64,
    pub p95: u64,
    pub p99: u64,
    /// Requests and errors per stretch of the window.
    pub over_time: Vec<Slot>,
}

/// One stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Slot {
    pub requests: u64,
    pub errors: u64,
}

impl Slot {
    fn add(&mut self, failed: bool) {
        self.requests += 1;
        self.errors += u64::from(failed);
    }
}

/// Requests being counted.
#[derive(Clone)]
struct Tally {
    durations: Durations,
    over_time: Vec<Slot>,
}

impl Tally {
    fn new(slots: usize) -> Tally {
        Tally {
            durations: Durations::default(),
            over_time: vec![Slot::default(); slots],
        }
    }

    fn add(&mut self, slot: usize, duration: u64, failed: bool) {
        self.durations.add(duration);
        self.over_time[slot].add(failed);
    }
}

impl Service {
    /// Share of requests that failed, 0 to 1.
    pub fn error_share(&self) -> f64 {
        if self.requests == 0 {
            0.0
        } else {
            self.errors as f64 / self.requests as f64
        }
    }
}

/// All services, and all requests that entered from outside.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Overview {
    pub window: Window,
    /// Most failing first, then busiest, then by name.
    pub services: Vec<Service>,
    /// Requests that began a trace, over time.
    pub entries: Vec<Slot>,
}

impl Overview {
    pub fn seconds(&self) -> f64 {
        (self.window.until.0 - self.window.from.0) as f64 / 1e9
    }
}

/// Sums up a window, cut into `slots` equal stretches.
///
/// A service's requests are the calls it serves: its server and consumer spans. One that serves nobody (a load generator,
/// a job) is judged by the traces it begins.
pub fn overview(table: &SpanTable, window: Window, slots: usize) -> Overview {
    let slots = slots.max(1);
    let length = (window.until.0.saturating_sub(window.from.0)).max(1);
    let slot = |start: u64| {
        let place =
            u128::from(start.saturating_sub(window.from.0)) * slots as u128 / u128::from(length);
        usize::try_from(place).unwrap_or(usize::MAX).min(slots - 1)
    };
    let mut served: Vec<Tally> = vec![Tally::new(slots); table.services.len()];
    let mut begun = served.clone();
    let mut entries = vec![Slot::default(); slots];
    for row in 0..table.len() {
        let root = !table.parent[row].is_some();
        let kind = table.kind(row);
        let serves = matches!(kind, SpanKind::Server | SpanKind::Consumer);
        if !serves && !root {
            continue;
        }
        let failed = table.status(row) == StatusCode::Error;
        let service = table.service[row] as usize;
        let at = slot(table.start[row]);
        let tally = if serves {
            &mut served[service]
        } else {
            &mut begun[service]
        };
        tally.add(at, table.duration[row], failed);
        // What a service starts by itself (a job, a delivery) did not come in from anywhere.
        if root && kind != SpanKind::Internal {
            entries[at].add(failed);
        }
    }
    let mut services: Vec<Service> = served
        .into_iter()
        .zip(begun)
        .enumerate()
        .filter_map(|(number, (served, begun))| {
            let tally = if served.durations.count() > 0 {
                served
            } else {
                begun
            };
            let quantile = |share| tally.durations.quantile(share);
            Some(Service {
                name: table.services.get(number as u32).to_owned(),
                requests: tally.durations.count(),
                errors: tally.over_time.iter().map(|slot| slot.errors).sum(),
                p50: quantile(0.5)?,
                p95: quantile(0.95)?,
                p99: quantile(0.99)?,
                over_time: tally.over_time,
            })
        })
        .collect();
    services.sort_by(|a, b| {
        b.error_share()
            .total_cmp(&a.error_share())
            .then_with(|| b.requests.cmp(&a.requests))
            .then_with(|| a.name.cmp(&b.name))
    });
    Overview {
        window,
        services,
        entries,
    }
}
