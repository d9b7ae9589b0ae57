//! Rate, errors and durations of every service, whole and over time, from a skeleton of spans.

use case::model::{SpanKind, StatusCode};
use case::{Nanos, SpanTable, Window};
use serde::Serialize;

use crate::exact;

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

/// A service beside itself at a better time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Against {
    /// How many times as long as then.
    pub p95: f64,
    pub p99: f64,
    /// Share of failures more than then.
    pub error_share: f64,
}

/// How a service compares with what it was; `None` if it was not.
pub fn against(now: &Service, before: &[Service]) -> Option<Against> {
    let then = before.iter().find(|service| service.name == now.name)?;
    let times = |now: u64, then: u64| now as f64 / then.max(1) as f64;
    Some(Against {
        p95: times(now.p95, then.p95),
        p99: times(now.p99, then.p99),
        error_share: now.error_share() - then.error_share(),
    })
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
    let groups = table.services.len();
    // A group for what a service serves, and behind those a group for what it begins.
    let group = |row: usize| {
        let root = !table.parent[row].is_some();
        let serves = matches!(table.kind(row), SpanKind::Server | SpanKind::Consumer);
        let counts = (serves || root) && window.contains(Nanos(table.start[row]));
        counts.then(|| table.service[row] as usize + if serves { 0 } else { groups })
    };
    let failed = |row: usize| table.status(row) == StatusCode::Error;
    let rows = (0..table.len())
        .filter_map(|row| group(row).map(|group| (group as u32, table.duration[row], failed(row))));
    let stats = exact::by_group(2 * groups, rows);
    let mut over_time = vec![vec![Slot::default(); slots]; 2 * groups];
    let mut entries = vec![Slot::default(); slots];
    for row in 0..table.len() {
        let Some(group) = group(row) else { continue };
        let at = slot(table.start[row]);
        over_time[group][at].add(failed(row));
        // What a service starts by itself (a job, a delivery) did not come in from anywhere.
        if !table.parent[row].is_some() && table.kind(row) != SpanKind::Internal {
            entries[at].add(failed(row));
        }
    }
    let mut services: Vec<Service> = (0..groups)
        .filter_map(|service| {
            let group = if stats[service].requests > 0 {
                service
            } else {
                service + groups
            };
            let stats = stats[group];
            (stats.requests > 0).then(|| Service {
                name: table.services.get(service as u32).to_owned(),
                requests: stats.requests,
                errors: stats.errors,
                p50: stats.p50,
                p95: stats.p95,
                p99: stats.p99,
                over_time: std::mem::take(&mut over_time[group]),
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
