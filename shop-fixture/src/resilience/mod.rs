//! Owns what protects callers: circuit breakers, retries with their budget, and the ladder of timeouts.

mod breaker;
mod bulkhead;
pub mod retry;
pub mod timeouts;

pub use bulkhead::Place;

pub use breaker::{Breaker, BreakerSettings, Decision, State};

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::config::Resilience as Mode;
use crate::context;
use crate::error::ApiError;
use crate::runtime::Rt;
use crate::telemetry::{Attributes, metrics::Metrics};

/// One breaker and one retry budget per downstream service.
pub struct Resilience {
    breakers: Mutex<BTreeMap<String, Breaker>>,
    budgets: Mutex<BTreeMap<String, retry::Budget>>,
    pub bulkheads: bulkhead::Bulkheads,
}

impl Resilience {
    #[must_use]
    pub fn new() -> Self {
        Self {
            breakers: Mutex::new(BTreeMap::new()),
            budgets: Mutex::new(BTreeMap::new()),
            bulkheads: bulkhead::Bulkheads::default(),
        }
    }

    /// Asks the breaker before a call. In `observe` mode it counts but never refuses.
    pub fn admit(&self, rt: &Rt, upstream: &str) -> Result<(), ApiError> {
        if rt.config.resilience == Mode::Off {
            return Ok(());
        }
        let now = Instant::now();
        let (decision, moved) = self.with_breaker(rt, upstream, |breaker| {
            let before = breaker.state();
            (
                breaker.admit(now),
                (before != breaker.state()).then(|| breaker.state()),
            )
        });
        self.report_move(rt, upstream, moved);
        match decision {
            Decision::Refuse(left) if rt.config.resilience == Mode::On => {
                if let Some(span) = context::current().span {
                    span.set("shop.breaker.state", "open");
                    span.set("error.type", "CIRCUIT_OPEN");
                }
                let seconds = left.as_secs_f64().ceil().max(1.0) as u64;
                Err(ApiError::new(
                    tonic::Code::Unavailable,
                    "CIRCUIT_OPEN",
                    format!("calls to {upstream} are suspended"),
                )
                .retry_after(seconds))
            }
            Decision::Refuse(_) | Decision::Pass => Ok(()),
        }
    }

    /// Tells the breaker how a call went.
    pub fn record(&self, rt: &Rt, upstream: &str, failed: bool) {
        if rt.config.resilience == Mode::Off {
            return;
        }
        let now = Instant::now();
        let moved = self.with_breaker(rt, upstream, |breaker| {
            let before = breaker.state();
            breaker.record(now, failed);
            (before != breaker.state()).then(|| breaker.state())
        });
        self.report_move(rt, upstream, moved);
    }

    fn with_breaker<R>(&self, rt: &Rt, upstream: &str, run: impl FnOnce(&mut Breaker) -> R) -> R {
        let mut breakers = self.breakers.lock().unwrap_or_else(PoisonError::into_inner);
        let breaker = breakers.entry(upstream.to_owned()).or_insert_with(|| {
            Breaker::new(
                BreakerSettings::for_upstream(upstream)
                    .scaled(|interval| rt.clock.scaled(interval)),
            )
        });
        run(breaker)
    }

    fn report_move(&self, rt: &Rt, upstream: &str, moved: Option<State>) {
        let Some(state) = moved else { return };
        let metrics = rt.telemetry.metrics();
        let labels = [("service", rt.spec.name), ("upstream", upstream)];
        metrics.set("shop_breaker_state", &labels, state.as_number());
        let transition = [
            ("service", rt.spec.name),
            ("upstream", upstream),
            ("to", state.as_str()),
        ];
        metrics.add("shop_breaker_transitions_total", &transition, 1.0);
        rt.telemetry.warn(
            "breaker.state_changed",
            "circuit breaker changed state",
            Attributes::new()
                .with("upstream", upstream)
                .with("state", state.as_str()),
        );
    }

    /// Counts a request towards the retry budget of its downstream.
    pub fn count_request(&self, rt: &Rt, upstream: &str) {
        self.with_budget(rt, upstream, |budget| budget.request(Instant::now()));
    }

    /// Whether one more retry is within the budget; takes it if so.
    pub fn take_retry(&self, rt: &Rt, upstream: &str) -> bool {
        self.with_budget(rt, upstream, |budget| budget.retry(Instant::now()))
    }

    fn with_budget<R>(
        &self,
        rt: &Rt,
        upstream: &str,
        run: impl FnOnce(&mut retry::Budget) -> R,
    ) -> R {
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        let window = rt.clock.scaled(Duration::from_secs(10));
        run(budgets
            .entry(upstream.to_owned())
            .or_insert_with(|| retry::Budget::new(window)))
    }

    /// The state of every breaker, for the debug pages.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Value> {
        let breakers = self.breakers.lock().unwrap_or_else(PoisonError::into_inner);
        breakers
            .iter()
            .map(|(upstream, breaker)| {
                let counts = breaker.counts();
                json!({
                    "upstream": upstream,
                    "state": breaker.state().as_str(),
                    "total": counts.total,
                    "failed": counts.failed,
                    "successful": counts.total - counts.failed,
                    "consecutive_failures": counts.consecutive_failures,
                    "last_failure_age_ms": counts.last_failure.map(|at| at.elapsed().as_millis() as u64),
                })
            })
            .collect()
    }

    /// Writes the state of every breaker to the metrics page.
    pub fn expose(&self, service: &str, metrics: &Metrics) {
        let breakers = self.breakers.lock().unwrap_or_else(PoisonError::into_inner);
        for (upstream, breaker) in breakers.iter() {
            let labels = [("service", service), ("upstream", upstream.as_str())];
            metrics.set("shop_breaker_state", &labels, breaker.state().as_number());
        }
    }
}

impl Default for Resilience {
    fn default() -> Self {
        Self::new()
    }
}
