//! Owns the bulkheads: how many calls a process makes to one service at the same time. Others wait, so that one slow
//! downstream cannot take everything that the process has.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::error::ApiError;
use crate::flags;
use crate::runtime::Rt;

#[derive(Default)]
pub struct Bulkheads {
    pools: Mutex<BTreeMap<&'static str, Arc<Pool>>>,
}

#[derive(Default)]
struct Pool {
    counts: Mutex<Counts>,
    freed: Notify,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    in_use: usize,
    waiting: usize,
}

/// A place in a pool, until it is dropped.
pub struct Place {
    pool: Arc<Pool>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pool.change(|counts| counts.in_use -= 1);
        self.pool.freed.notify_one();
    }
}

impl Pool {
    fn change<R>(&self, change: impl FnOnce(&mut Counts) -> R) -> R {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn take(self: &Arc<Self>, size: usize) -> Option<Place> {
        let taken = self.change(|counts| {
            let free = counts.in_use < size;
            counts.in_use += usize::from(free);
            free
        });
        taken.then(|| Place {
            pool: Arc::clone(self),
        })
    }
}

/// Counts a waiting call, until it is dropped: a caller may give up at any moment.
struct Waiting<'a>(&'a Pool);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.change(|counts| counts.waiting -= 1);
        // A wake-up that reached this caller must not be lost with it.
        self.0.freed.notify_one();
    }
}

impl Bulkheads {
    fn pool(&self, upstream: &'static str) -> Arc<Pool> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(pools.entry(upstream).or_default())
    }

    /// Waits for a place, no longer than `limit`.
    pub async fn enter(
        &self,
        rt: &Rt,
        upstream: &'static str,
        limit: Duration,
    ) -> Result<Place, ApiError> {
        let pool = self.pool(upstream);
        let size = || size(rt, upstream);
        if let Some(place) = pool.take(size()) {
            return Ok(place);
        }
        pool.change(|counts| counts.waiting += 1);
        let _waiting = Waiting(&pool);
        let mut faults = rt.faults.changes();
        let wait = async {
            loop {
                let freed = pool.freed.notified();
                if let Some(place) = pool.take(size()) {
                    return place;
                }
                tokio::select! {
                    () = freed => {}
                    // The pool may have been made larger or smaller meanwhile.
                    _ = faults.changed() => {}
                    () = tokio::time::sleep(LOOK_AGAIN) => {}
                }
            }
        };
        tokio::time::timeout(limit, wait).await.map_err(|_| {
            ApiError::new(
                tonic::Code::Unavailable,
                "POOL_EXHAUSTED",
                format!("all connections to {upstream} are in use"),
            )
            .retry_after(1)
        })
    }

    /// Writes the use of every pool to the metrics page.
    pub fn expose(&self, rt: &Rt) {
        let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let metrics = rt.telemetry.metrics();
        for (upstream, pool) in pools.iter() {
            let counts = pool.change(|counts| *counts);
            let labels = [("service", rt.spec.name), ("pool", *upstream)];
            metrics.set("shop_pool_in_use", &labels, counts.in_use as f64);
            metrics.set("shop_pool_waiting", &labels, counts.waiting as f64);
            metrics.set(
                "shop_pool_size",
                &labels,
                rt.flags.count(flags::HTTP_POOL_SIZE) as f64,
            );
        }
    }
}

const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The size that is set; under a `pool_exhaustion` fault somebody else holds every place.
fn size(rt: &Rt, upstream: &str) -> usize {
    let exhausted = rt.faults.find("pool_exhaustion").is_some_and(|params| {
        params["pool"]
            .as_str()
            .is_none_or(|pool| pool.is_empty() || pool == upstream)
    });
    if exhausted {
        return 0;
    }
    rt.flags.count(flags::HTTP_POOL_SIZE)
}
