//! A window's figures beside those of a better time.

use serde::Serialize;

use super::{Red, ServiceMap};

/// Requests without which a comparison says nothing.
const FEWEST: u64 = 20;

/// How a service differs from its baseline.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Against {
    /// p95 as a multiple of the baseline's.
    pub p95: f64,
    pub p99: f64,
    /// Share of errors less the baseline's, 0 to 1.
    pub error_share: f64,
    /// Requests a second as a multiple of the baseline's.
    pub rate: f64,
}

/// A service's figures against those of another window; `None` where either has too few requests.
pub fn against(now: &Red, baseline: &ServiceMap, service: &str) -> Option<Against> {
    let before = &baseline.node(service)?.red;
    if now.stats.requests < FEWEST || before.stats.requests < FEWEST {
        return None;
    }
    let times = |now: u64, before: u64| now as f64 / before.max(1) as f64;
    Some(Against {
        p95: times(now.stats.p95, before.stats.p95),
        p99: times(now.stats.p99, before.stats.p99),
        error_share: now.stats.error_share() - before.stats.error_share(),
        rate: now.rate / before.rate.max(f64::MIN_POSITIVE),
    })
}
