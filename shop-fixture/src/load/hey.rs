//! Owns load by count instead of by time: so many journeys in all, from workers that each make one after the other, as the
//! tool of that name does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use super::client::Client;
use super::{LoadOptions, visit};
use crate::error::ShopError;
use crate::rng::Rng;

const MOST_WORKERS: u32 = 1_000;

/// How much, by how many, how fast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hey {
    /// Journeys in all.
    pub total: u64,
    pub workers: u32,
    /// Journeys that each worker begins in a second; as many as it can without.
    pub per_worker: Option<f64>,
}

impl Hey {
    fn check(&self) -> Result<(), ShopError> {
        if !(1..=MOST_WORKERS).contains(&self.workers) {
            return Err(ShopError::Option {
                option: "workers",
                value: self.workers.to_string(),
                allowed: format!("1 to {MOST_WORKERS}"),
            });
        }
        match self.per_worker {
            Some(rate) if !(rate.is_finite() && (0.01..=10_000.0).contains(&rate)) => {
                Err(ShopError::Option {
                    option: "per-worker",
                    value: rate.to_string(),
                    allowed: "0.01 to 10000 a second".to_owned(),
                })
            }
            _ => Ok(()),
        }
    }

    /// Makes all journeys, or those that were begun before `stop` turned true or the time was over.
    pub(super) async fn run(
        self,
        client: &Arc<Client>,
        options: &LoadOptions,
        stop: watch::Receiver<bool>,
    ) -> Result<(), ShopError> {
        self.check()?;
        let begun = Arc::new(AtomicU64::new(0));
        let until = options.duration.map(|duration| Instant::now() + duration);
        let mut seeds = Rng::new(options.seed);
        let mut workers = JoinSet::new();
        for _ in 0..self.workers {
            let (client, begun, stop) = (Arc::clone(client), Arc::clone(&begun), stop.clone());
            let (mix, mut rng) = (options.mix, Rng::new(seeds.next_u64()));
            let every = Duration::from_secs_f64(self.per_worker.map_or(0.0, |rate| 1.0 / rate));
            workers.spawn(async move {
                let mut pace = tokio::time::interval(every.max(Duration::from_nanos(1)));
                pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
                while begun.fetch_add(1, Ordering::Relaxed) < self.total {
                    if !every.is_zero() {
                        pace.tick().await;
                    }
                    if *stop.borrow() || until.is_some_and(|until| Instant::now() >= until) {
                        return;
                    }
                    let journey = mix.draw(&mut rng);
                    visit(&client, mix, journey, Rng::new(rng.next_u64())).await;
                }
            });
        }
        while workers.join_next().await.is_some() {}
        Ok(())
    }
}
