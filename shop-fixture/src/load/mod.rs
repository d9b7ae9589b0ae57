//! Owns the load generator: it goes through the gateway like any client, with root spans of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::{Semaphore, watch};

use crate::clock::Clock;
use crate::error::ShopError;
use crate::propagation::{self, Baggage};
use crate::rng::Rng;
use crate::telemetry::{Identity, Kind, Telemetry};

/// Requests in flight beyond this are not started: an overloaded shop must not grow the generator.
const MAX_IN_FLIGHT: usize = 200;
const TIMEOUT: Duration = Duration::from_secs(35);

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
    pub run_id: String,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct LoadReport {
    pub sent: u64,
    /// Answers by HTTP status; 0 stands for none at all.
    pub by_status: std::collections::BTreeMap<u16, u64>,
    /// Steps left out because too many were in flight.
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
    let telemetry = Telemetry::start(
        identity(&options),
        Arc::new(Clock::new(1.0)),
        options.otlp_endpoint.as_deref(),
        None,
    )?;
    let client = crate::call::http_client();
    let slots = Arc::new(Semaphore::new(MAX_IN_FLIGHT));
    let (results, mut finished) = tokio::sync::mpsc::unbounded_channel();
    let mut rng = Rng::new(options.seed);
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / options.rate));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let started = Instant::now();
    let mut report = LoadReport::default();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = crate::server::stopped(&mut stop) => break,
        }
        if options
            .duration
            .is_some_and(|duration| started.elapsed() >= duration)
        {
            break;
        }
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            report.skipped += 1;
            continue;
        };
        report.sent += 1;
        let user = format!("user-{:03}", rng.below(100));
        let (telemetry, client, results) = (telemetry.clone(), client.clone(), results.clone());
        let options = options.clone();
        tokio::spawn(async move {
            let outcome = checkout(&telemetry, &client, &options, &user).await;
            drop(slot);
            // Nobody listens any more once the report is written.
            let _ = results.send(outcome);
        });
    }
    drop(results);
    let mut times = Vec::new();
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    while let Ok(Some((status, took))) = tokio::time::timeout_at(deadline, finished.recv()).await {
        *report.by_status.entry(status).or_default() += 1;
        times.push(took);
    }
    times.sort_unstable();
    let at = |share: f64| {
        let position = (times.len() as f64 * share) as usize;
        times
            .get(position.min(times.len().saturating_sub(1)))
            .map_or(0.0, |took| took.as_secs_f64() * 1_000.0)
    };
    (report.p50_ms, report.p95_ms, report.p99_ms) = (at(0.5), at(0.95), at(0.99));
    telemetry.flush(Duration::from_secs(2)).await;
    Ok(report)
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
        time_scale: 1.0,
    }
}

async fn checkout(
    telemetry: &Telemetry,
    client: &reqwest::Client,
    options: &LoadOptions,
    user: &str,
) -> (u16, Duration) {
    let span = telemetry.root("POST /api/v1/checkout", Kind::Client);
    let mut url = format!("{}/api/v1/checkout", options.gateway);
    if let Some(behaviour) = &options.behaviour {
        url.push_str("?behavior=");
        url.push_str(&propagation::baggage::percent_encode(behaviour));
    }
    span.set("http.request.method", "POST");
    span.set("url.template", "/api/v1/checkout");
    span.set("url.full", format!("{}/api/v1/checkout", options.gateway));
    span.set("user_agent.synthetic.type", "test");
    let mut headers = http::HeaderMap::new();
    propagation::inject(&mut headers, span.context(), &Baggage::default());
    let body = json!({ "cart_id": "cart-123", "payment_method_id": "card-456" });
    let started = Instant::now();
    let answer = client
        .post(url)
        .headers(headers)
        .header("x-user-id", user)
        .header("user-agent", "shop-load/1")
        .json(&body)
        .timeout(TIMEOUT)
        .send()
        .await;
    let status = match answer {
        Ok(answer) => {
            let status = answer.status().as_u16();
            span.set("http.response.status_code", status);
            if status >= 400 {
                span.fail(&status.to_string(), "");
            }
            // The connection is only free for the next step once the body has been read.
            let _ = answer.bytes().await;
            status
        }
        Err(error) => {
            span.fail(
                if error.is_timeout() {
                    "TIMEOUT"
                } else {
                    "CONNECTION_FAILED"
                },
                &error.to_string(),
            );
            0
        }
    };
    span.end();
    (status, started.elapsed())
}
