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
    /// Requests that began a trace.
    pub entries: Vec<Slot>,
}

impl Overview {
    pub fn seconds(&self) -> f64 {
        (self.window.until.0 - self.window.from.0) as f64 / 1e9
    }
}

/// Sums up a window, cut into `slots` equal stretches.
///
/// A service's requests are the calls it serves: server and consumer spans, and the roots of traces it began itself.
pub fn overview(table: &SpanTable, window: Window, slots: usize) -> Overview {
    let slots = slots.max(1);
    let length = (window.until.0.saturating_sub(window.from.0)).max(1);
    let slot = |start: u64| {
        let place =
            u128::from(start.saturating_sub(window.from.0)) * slots as u128 / u128::from(length);
        usize::try_from(place).unwrap_or(usize::MAX).min(slots - 1)
    };
    let mut durations = vec![Durations::default(); table.services.len()];
    let mut over_time = vec![vec![Slot::default(); slots]; table.services.len()];
    let mut entries = vec![Slot::default(); slots];
    for row in 0..table.len() {
        let root = !table.parent[row].is_some();
        let serves = matches!(table.kind(row), SpanKind::Server | SpanKind::Consumer);
        if !serves && !root {
            continue;
        }
        let failed = u64::from(table.status(row) == StatusCode::Error);
        let service = table.service[row] as usize;
        let at = slot(table.start[row]);
        durations[service].add(table.duration[row]);
        over_time[service][at].requests += 1;
        over_time[service][at].errors += failed;
        if root {
            entries[at].requests += 1;
            entries[at].errors += failed;
        }
    }
    let mut services: Vec<Service> = durations
        .iter()
        .zip(over_time)
        .enumerate()
        .filter(|(_, (durations, _))| durations.count() > 0)
        .map(|(number, (durations, over_time))| Service {
            name: table.services.get(number as u32).to_owned(),
            requests: durations.count(),
            errors: over_time.iter().map(|slot| slot.errors).sum(),
            p50: durations.quantile(0.5).unwrap_or(0),
            p95: durations.quantile(0.95).unwrap_or(0),
            p99: durations.quantile(0.99).unwrap_or(0),
            over_time,
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
