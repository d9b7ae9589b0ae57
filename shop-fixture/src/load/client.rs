//! Owns one request of the generator: its client span, its headers, and what came back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::Method;
use serde_json::Value;

use super::{LoadOptions, LoadReport, headers};
use crate::propagation::{TRACEPARENT, TRACESTATE};
use crate::telemetry::{Kind, Telemetry};

const TIMEOUT: Duration = Duration::from_secs(35);
/// Times kept for the percentiles; beyond this, counting goes on without them.
const MAX_TIMES: usize = 1_000_000;

pub(super) struct Client {
    telemetry: Telemetry,
    http: reqwest::Client,
    options: LoadOptions,
    /// Requests begun.
    number: AtomicU64,
    tally: Mutex<Tally>,
}

#[derive(Default)]
struct Tally {
    sent: u64,
    by_status: BTreeMap<u16, u64>,
    times: Vec<Duration>,
}

/// What is asked for.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) template: &'static str,
    pub(super) path: &'a str,
    pub(super) user: &'a str,
    pub(super) body: Option<Value>,
}

/// Status 0 stands for no answer at all.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
}

impl Client {
    pub(super) fn new(telemetry: Telemetry, options: LoadOptions) -> Arc<Self> {
        Arc::new(Self {
            telemetry,
            http: crate::call::http_client(),
            options,
            number: AtomicU64::new(0),
            tally: Mutex::new(Tally::default()),
        })
    }

    pub(super) fn time_scale(&self) -> f64 {
        self.options.time_scale
    }

    pub(super) fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Sends one request below the current span, and counts what came of it.
    pub(super) async fn send(&self, ask: Ask<'_>) -> Answer {
        // A change that is sent once needs a key of its own.
        let key = (ask.method == Method::PUT).then(|| crate::ids::ulid("load_"));
        self.send_with(ask, key.as_deref(), 0).await
    }

    /// The same under a key, for the first time or again.
    pub(super) async fn send_keyed(&self, ask: Ask<'_>, key: &str, again: u32) -> Answer {
        self.send_with(ask, Some(key), again).await
    }

    async fn send_with(&self, ask: Ask<'_>, key: Option<&str>, again: u32) -> Answer {
        let span = self
            .telemetry
            .span(format!("{} {}", ask.method, ask.template), Kind::Client);
        // The behaviour string is left out: what the generator says of itself must not give it away.
        let shown = format!("{}{}", self.options.gateway, ask.path);
        span.set("http.request.method", ask.method.as_str());
        span.set("url.template", ask.template);
        span.set("url.full", &shown);
        span.set("user_agent.synthetic.type", "test");
        if again > 0 {
            span.set("http.request.resend_count", again);
        }
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let form = self
            .options
            .other_client
            .filter(|_| number.is_multiple_of(headers::ONE_IN));
        let agent = match form {
            Some(_) => headers::OTHER_AGENT,
            None => "shop-load/1",
        };
        let headers = headers::headers(span.context(), form);
        for (name, key) in [
            (TRACEPARENT, "http.request.header.traceparent"),
            (TRACESTATE, "http.request.header.tracestate"),
        ] {
            if let Some(value) = headers.get(name).and_then(|value| value.to_str().ok()) {
                span.set(key, value);
            }
        }
        let mut request = self
            .http
            .request(ask.method, shown)
            .headers(headers)
            .header("x-user-id", ask.user)
            .header("user-agent", agent)
            .timeout(TIMEOUT);
        if let Some(behaviour) = &self.options.behaviour {
            request = request.header("x-behavior", behaviour);
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = &ask.body {
            request = request.json(body);
        }
        let started = Instant::now();
        let answer = match request.send().await {
            Ok(answer) => {
                let status = answer.status().as_u16();
                span.set("http.response.status_code", status);
                if status >= 400 {
                    span.fail(&status.to_string(), "");
                }
                Answer {
                    status,
                    body: answer.json().await.unwrap_or(Value::Null),
                }
            }
            Err(error) => {
                let kind = if error.is_timeout() {
                    "TIMEOUT"
                } else {
                    "CONNECTION_FAILED"
                };
                span.fail(kind, &error.to_string());
                Answer {
                    status: 0,
                    body: Value::Null,
                }
            }
        };
        span.end();
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.sent += 1;
        *tally.by_status.entry(answer.status).or_default() += 1;
        if tally.times.len() < MAX_TIMES {
            tally.times.push(started.elapsed());
        }
        answer
    }

    pub(super) fn report(&self, skipped: u64) -> LoadReport {
        let tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        let mut times = tally.times.clone();
        times.sort_unstable();
        let at = |share: f64| {
            let position = (times.len() as f64 * share) as usize;
            times
                .get(position.min(times.len().saturating_sub(1)))
                .map_or(0.0, |took| took.as_secs_f64() * 1_000.0)
        };
        LoadReport {
            sent: tally.sent,
            by_status: tally.by_status.clone(),
            skipped,
            p50_ms: at(0.5),
            p95_ms: at(0.95),
            p99_ms: at(0.99),
        }
    }
}
