//! Owns what happens to every incoming request before and after its handler: context, span, delay and injected errors,
//! metrics, the completion log. `http` and `grpc` are the two transports; `admin` is the port for operators.

pub mod admin;
mod filter;
pub mod grpc;
pub mod http;
pub mod router;
mod spoil;
mod unhealth;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ::http::HeaderMap;
use tonic::Code;

use crate::behaviour::{Behaviour, Effects};
use crate::config::{Latency, Noise};
use crate::context::{Context, Shared};
use crate::error::{ApiError, code_text, grpc_of};
use crate::propagation::{Baggage, baggage};
use crate::rng::Rng;
use crate::runtime::{InFlight, Rt};
use crate::telemetry::{Attributes, Level, Span};

/// A request that has begun: its span runs and its surroundings are set up.
pub struct Begun {
    pub context: Context,
    pub span: Span,
    started: Instant,
    rng: Rng,
    effects: Effects,
    _in_flight: InFlight,
    turn: Option<tokio::sync::OwnedSemaphorePermit>,
}

/// Reads the caller's context and starts the server span. `edit` may change the baggage before anything reads it.
pub fn begin(rt: &Rt, headers: &HeaderMap, name: String, edit: impl FnOnce(&mut Baggage)) -> Begun {
    let mut extracted = spoil::extracted(rt, headers, &name);
    edit(&mut extracted.baggage);
    spoil::sampled(rt, &mut extracted, &name);
    let unlogged = spoil::is_unlogged(rt, &name);
    let span = spoil::server_span(rt, &extracted, name);
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let behaviour = extracted.baggage.get(baggage::BEHAVIOR);
    let wants_report = extracted.baggage.get(baggage::REPORT).as_deref() == Some("1");
    let shared = Shared {
        baggage: extracted.baggage,
        report: wants_report.then(|| Mutex::new(Vec::new())),
        applied: Mutex::new(Vec::new()),
        idempotency_key: text("idempotency-key"),
        user_id: text("x-user-id"),
        entry: Some(span.context().span_id),
        unlogged,
        ..Shared::default()
    };
    let context = Context {
        trace: Some(spoil::inner_context(rt, &extracted.parent, &span)),
        span: Some(span.clone()),
        shared: Arc::new(shared),
    };
    if let Some(reason) = extracted.invalid {
        context.clone().sync_scope(|| {
            rt.telemetry.warn(
                "trace.context.invalid",
                "the caller's trace context was not usable",
                Attributes::new().with("error.details", reason),
            );
        });
    }
    // The gateway refused malformed strings; one that arrives here anyway came around it and has no effect.
    let effects = behaviour
        .and_then(|text| Behaviour::parse(&text).ok())
        // What a release does by itself counts least.
        .or_else(|| Behaviour::parse(&rt.release.behavior).ok())
        .map(|behaviour| behaviour.for_service(rt.spec.name))
        .unwrap_or_default();
    let rng = rt.request_rng(&span.context().trace_id);
    Begun {
        context,
        span,
        started: Instant::now(),
        rng,
        effects,
        _in_flight: rt.enter(),
        turn: None,
    }
}

impl Begun {
    /// Waits for its turn; then first the delay, then the error draw. An error here means that the handler does not run.
    pub async fn disturb(&mut self, rt: &Rt) -> Result<(), ApiError> {
        self.turn = rt.turn().await;
        match self.effects.latency {
            Some(delay) => {
                let drawn = delay.draw(&mut self.rng);
                self.applied(rt, "latency", delay.to_string());
                tokio::time::sleep(drawn).await;
            }
            None if rt.config.latency == Latency::Shopflow => {
                let (low, high) = rt.spec.base_latency_ms;
                if high > 0.0 {
                    tokio::time::sleep(Duration::from_secs_f64(
                        self.rng.between(low, high) / 1_000.0,
                    ))
                    .await;
                }
            }
            None => {}
        }
        spoil::end_before_work(rt, &self.span).await;
        if !rt.is_ready() && rt.faults.is_on("early_register") {
            return Err(ApiError::new(
                Code::Unavailable,
                "NOT_READY",
                "the store is not open yet",
            ));
        }
        self.fail_by_fault(rt).await?;
        if let Some(error) = self.effects.error
            && self.rng.chance(error.probability)
        {
            self.applied(rt, "error", error.to_string());
            // Named as a failure of the service's own would be: in blind mode nothing may give the injection away.
            let code = grpc_of(error.code);
            let failed = ApiError::new(code, code_text(code), "the request failed");
            return Err(failed.with_http(error.code));
        }
        if rt.config.noise == Noise::Ta
            && self.effects.error.is_none()
            && self.rng.chance(rt.spec.noise)
        {
            return Err(ApiError::internal("the request failed"));
        }
        Ok(())
    }

    async fn fail_by_fault(&self, rt: &Rt) -> Result<(), ApiError> {
        let faults = &rt.faults;
        if faults.is_on("health_lies") || faults.is_on("unwell") {
            return Err(ApiError::internal("the request failed"));
        }
        let mut changes = faults.changes();
        if faults.is_on("workers_stuck") {
            let _waiting = Waiting::begin(rt);
            while faults.is_on("workers_stuck") && changes.changed().await.is_ok() {}
        }
        if let Some(params) = faults.find("overload")
            && rt.in_flight() > params["limit"].as_i64().unwrap_or(20)
        {
            return Err(ApiError::new(
                Code::Unavailable,
                "OVERLOADED",
                "too many requests are under way",
            ));
        }
        Ok(())
    }

    fn applied(&self, rt: &Rt, kind: &str, text: String) {
        if rt.config.blind {
            return;
        }
        self.span.set("shop.behavior.applied", &text);
        let labels = [("service", rt.spec.name), ("behavior_type", kind)];
        rt.telemetry
            .metrics()
            .add("testservice_behavior_applied_total", &labels, 1.0);
        self.context.record_applied(text);
    }

    /// Ends the span and counts the request. `status` is an HTTP number whatever the transport.
    pub fn finish(self, rt: &Rt, done: &Done<'_>) {
        let seconds = self.started.elapsed().as_secs_f64();
        let identity = rt.telemetry.identity();
        let (version, track) = (identity.version.as_str(), identity.track.as_str());
        let code = done.status.to_string();
        let metrics = rt.telemetry.metrics();
        metrics.add(
            "testservice_requests_total",
            &[
                ("service", rt.spec.name),
                ("namespace", rt.spec.namespace),
                ("method", done.method),
                ("code", &code),
                ("status", &code),
                ("protocol", done.protocol),
                ("version", version),
                ("track", track),
            ],
            1.0,
        );
        let labels = [
            ("service", rt.spec.name),
            ("method", done.method),
            ("protocol", done.protocol),
            ("version", version),
            ("track", track),
        ];
        metrics.observe("testservice_request_duration_seconds", &labels, seconds);
        let level = if done.failed {
            Level::Error
        } else {
            Level::Info
        };
        let attributes = Attributes::new()
            .with("duration_ms", seconds * 1_000.0)
            .with("method", done.method)
            .with("status", done.status)
            .with_some(
                "error.code",
                done.error.as_ref().map(|error| error.reason.as_str()),
            )
            .with_some(
                "error.details",
                done.error.as_ref().map(|error| error.message.as_str()),
            );
        self.context.clone().sync_scope(|| {
            rt.telemetry
                .log(level, "request.completed", "request completed", attributes)
        });
        self.span.end();
    }

    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }
}

/// Requests that wait for a worker.
static WAITING: AtomicI64 = AtomicI64::new(0);

/// One of them, until it is served or its caller has gone.
struct Waiting<'a> {
    rt: &'a Rt,
}

impl<'a> Waiting<'a> {
    fn begin(rt: &'a Rt) -> Self {
        tell_waiting(rt, 1);
        Self { rt }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        tell_waiting(self.rt, -1);
    }
}

fn tell_waiting(rt: &Rt, by: i64) {
    let waiting = WAITING.fetch_add(by, Ordering::Relaxed) + by;
    let labels = [("service", rt.spec.name), ("pool", "workers")];
    rt.telemetry
        .metrics()
        .set("shop_pool_waiting", &labels, waiting as f64);
}

/// How a request ended.
pub struct Done<'a> {
    pub protocol: &'static str,
    /// Route or RPC.
    pub method: &'a str,
    pub status: u16,
    pub failed: bool,
    pub error: Option<ApiError>,
}

/// Statuses that count as the server's own failure.
#[must_use]
pub fn is_server_failure(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

/// Waits until the flag turns true, or whoever would turn it is gone.
pub(crate) async fn stopped(stop: &mut tokio::sync::watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// A `hang` fault takes requests and never answers them, until it is lifted.
pub async fn while_hanging(rt: &Rt) {
    let mut changes = rt.faults.changes();
    while rt.faults.is_on("hang") || rt.faults.is_on("registry_down") {
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// A `lost_reply` fault keeps the answer of a share of the calls of a method until it is lifted, long after any caller has
/// given up.
pub(crate) async fn lose_reply(rt: &Rt, method: &str) {
    let strikes = || {
        let params = rt.faults.find("lost_reply")?;
        let meant = params["rpc"]
            .as_str()
            .is_none_or(|wanted| method.contains(wanted));
        meant.then(|| params["share"].as_f64().unwrap_or(1.0))
    };
    let Some(share) = strikes() else { return };
    if !Rng::new(crate::ids::random_u64()).chance(share) {
        return;
    }
    let mut changes = rt.faults.changes();
    while strikes().is_some() {
        if changes.changed().await.is_err() {
            return;
        }
    }
    // Whoever waited so long gets nothing either.
    std::future::pending().await
}

/// Reads a JSON object strictly: unknown fields are refused, and so is a list where an object is expected.
pub fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if first.is_some_and(|byte| *byte != b'{') {
        return Err(ApiError::invalid("the body must be a JSON object"));
    }
    parse_any(body)
}

/// Reads a JSON body of whatever form.
pub fn parse_any<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body)
        .map_err(|error| ApiError::invalid(format!("the body is not as expected: {error}")))
}

/// A body that may be left out.
pub fn parse_or_default<T: serde::de::DeserializeOwned + Default>(
    body: &[u8],
) -> Result<T, ApiError> {
    if body.is_empty() {
        Ok(T::default())
    } else {
        parse(body)
    }
}
