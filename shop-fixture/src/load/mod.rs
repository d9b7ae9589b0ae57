//! Owns the load generator: it goes through the gateway like any client, with root spans of its own. `patterns` says how
//! fast, `journeys` what is done, `client` how one request is made.

mod client;
mod headers;
mod hey;
pub mod journeys;
pub mod patterns;
mod purchases;
mod ride;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, watch};

use crate::clock::Clock;
use crate::context::{Context, in_span};
use crate::error::ShopError;
use crate::rng::Rng;
use crate::telemetry::{Identity, Kind, Telemetry};
use client::Client;
pub use headers::HeaderForm;
pub use hey::Hey;
pub use journeys::{Journey, Mix};
pub use patterns::Pattern;

/// Journeys in progress beyond this are not begun: an overloaded shop must not grow the generator.
const MAX_IN_FLIGHT: usize = 400;
/// How long journeys may take to end once no more are begun.
const LAST_CALL: Duration = Duration::from_secs(40);

#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Such as `http://127.0.0.1:8080`.
    pub gateway: String,
    pub otlp_endpoint: Option<String>,
    /// Journey steps per second.
    pub rate: f64,
    /// Stop after this time; without it, when told.
    pub duration: Option<Duration>,
    pub seed: u64,
    pub behaviour: Option<String>,
    /// A second client that makes a part of the requests, and how it writes its trace headers.
    pub other_client: Option<HeaderForm>,
    pub run_id: String,
    pub mix: Mix,
    pub pattern: Pattern,
    /// So many requests from so many workers, whatever the rate and the pattern.
    pub hey: Option<Hey>,
    pub time_scale: f64,
}

impl LoadOptions {
    /// Steady checkouts at the usual rate.
    #[must_use]
    pub fn new(gateway: String) -> Self {
        Self {
            gateway,
            otlp_endpoint: None,
            rate: 16.0,
            duration: None,
            seed: 0,
            behaviour: None,
            other_client: None,
            run_id: String::new(),
            mix: Mix::default(),
            pattern: Pattern::default(),
            hey: None,
            time_scale: 1.0,
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct LoadReport {
    /// Requests sent.
    pub sent: u64,
    /// Answers by HTTP status; 0 stands for none at all.
    pub by_status: std::collections::BTreeMap<u16, u64>,
    /// Journeys left out because too many were in progress.
    pub skipped: u64,
    pub p50_ms: f64,
    pub p95_ms: f64,
    pub p99_ms: f64,
}

/// Drives the gateway until the time is over or `stop` turns true.
pub async fn run(
    options: LoadOptions,
    mut stop: watch::Receiver<bool>,
) -> Result<LoadReport, ShopError> {
    if !(options.rate.is_finite() && options.rate > 0.0 && options.rate <= 10_000.0) {
        return Err(ShopError::Option {
            option: "rate",
            value: options.rate.to_string(),
            allowed: "more than 0 and up to 10000 steps a second".to_owned(),
        });
    }
    let clock = Arc::new(Clock::new(1.0));
    let telemetry = Telemetry::start(
        identity(&options),
        clock,
        options.otlp_endpoint.as_deref(),
        None,
    )?;
    let client = Client::new(telemetry.clone(), options.clone());
    if let Some(hey) = options.hey {
        hey.run(&client, &options, stop).await?;
        telemetry.flush(Duration::from_secs(2)).await;
        return Ok(client.report(0));
    }
    let slots = Arc::new(Semaphore::new(MAX_IN_FLIGHT));
    let mut rng = Rng::new(options.seed);
    let started = Instant::now();
    let mut skipped = 0;
    let mut next = tokio::time::Instant::now();
    loop {
        let elapsed = started.elapsed();
        if options.duration.is_some_and(|duration| elapsed >= duration) {
            break;
        }
        // The interval follows the present rate, but a rate near zero must still be looked at again soon.
        let rate = options
            .pattern
            .rate_at(options.rate, elapsed, options.time_scale)
            / options.mix.mean_steps();
        let interval = Duration::from_secs_f64((1.0 / rate.max(1e-3)).min(1.0));
        // After a stall the schedule begins anew instead of catching up in one burst.
        next = (next + interval).max(tokio::time::Instant::now() - Duration::from_secs(1));
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            () = crate::server::stopped(&mut stop) => break,
        }
        if rate < 1.0 && !rng.chance(rate * interval.as_secs_f64()) {
            continue;
        }
        let journey_rng = Rng::new(rng.next_u64());
        let journey = options.mix.draw(&mut rng);
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            skipped += 1;
            continue;
        };
        let (client, mix) = (Arc::clone(&client), options.mix);
        tokio::spawn(async move {
            visit(&client, mix, journey, journey_rng).await;
            drop(slot);
        });
    }
    // All slots back means that every journey has ended.
    let all = u32::try_from(MAX_IN_FLIGHT).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(LAST_CALL, slots.acquire_many(all)).await;
    telemetry.flush(Duration::from_secs(2)).await;
    Ok(client.report(skipped))
}

/// A journey of several steps is one trace; a single checkout has no need of a span around it.
async fn visit(client: &Client, mix: Mix, journey: journeys::Journey, rng: Rng) {
    if mix.is_single() {
        return journeys::make(client, mix, journey, rng).await;
    }
    let span = client.telemetry().root(
        format!("journey {journey:?}").to_lowercase(),
        Kind::Internal,
    );
    let context = Context::default().with_span(&span);
    context
        .scope(in_span(&span, journeys::make(client, mix, journey, rng)))
        .await;
}

fn identity(options: &LoadOptions) -> Identity {
    Identity {
        service: "load-generator".to_owned(),
        namespace: "sf-load".to_owned(),
        criticality: "low".to_owned(),
        version: "1.0.0".to_owned(),
        track: "stable".to_owned(),
        instance_id: format!("load-generator-{}", crate::ids::uuid()),
        label: "load".to_owned(),
        host: "localhost".to_owned(),
        run_id: options.run_id.clone(),
        time_scale: options.time_scale,
    }
}
