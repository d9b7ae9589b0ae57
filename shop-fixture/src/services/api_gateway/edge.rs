//! Owns the gateway's edge: rate limits, which baggage may come in, behaviour strings from query and header, and the
//! envelope around every answer under `/api/v1`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tonic::Code;

use super::ratelimit::{Buckets, Standing, Tier};
use crate::behaviour::Behaviour;
use crate::clock::{rfc3339, year_month};
use crate::config::RateLimit;
use crate::error::{ApiError, ShopError};
use crate::propagation::{Baggage, baggage};
use crate::report::{duration_text, flatten};
use crate::rng::fnv1a;
use crate::runtime::Rt;
use crate::server::Begun;
use crate::server::http::{Edge, HttpReply, HttpRequest};
use crate::store::{Store, StoreError};
use crate::telemetry::Attributes;

const SCHEMA: &str = "
CREATE TABLE quota (
    client TEXT NOT NULL,
    month TEXT NOT NULL,
    used INTEGER NOT NULL,
    PRIMARY KEY (client, month)
);
";

/// How often the counts reach the disk; a gateway that is killed forgets no more than this.
const SAVE: Duration = Duration::from_secs(1);

pub struct GatewayEdge {
    buckets: Mutex<Buckets>,
    used: Mutex<Used>,
}

/// Requests of the present month by client.
#[derive(Default)]
struct Used {
    month: String,
    counts: HashMap<String, u64>,
    changed: HashMap<String, u64>,
}

impl GatewayEdge {
    pub fn open(rt: &Rt) -> Result<Arc<Self>, ShopError> {
        let path = rt.config.db_path(rt.spec.name);
        let store = Store::open(
            &path,
            &[SCHEMA],
            Arc::clone(&rt.clock),
            rt.telemetry.clone(),
        )?;
        rt.set_store(store);
        Ok(Arc::new(Self {
            buckets: Mutex::new(Buckets::default()),
            used: Mutex::new(Used::default()),
        }))
    }

    /// Brings the month's counts in, then writes them out as they change.
    pub async fn keep_quotas(self: Arc<Self>, rt: Rt) {
        let mut stopping = rt.stopping();
        let Ok(store) = rt.store() else { return };
        let month = month_text(rt.clock.now());
        let asked = month.clone();
        let known = store
            .read::<_, StoreError, _>(move |tx| {
                tx.all(
                    "SELECT quota",
                    "SELECT client, used FROM quota WHERE month = ?1",
                    [asked],
                    |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)),
                )
            })
            .await
            .unwrap_or_default();
        {
            let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            used.month = month;
            for (client, count) in known {
                *used.counts.entry(client).or_default() += count.max(0) as u64;
            }
        }
        loop {
            let last = tokio::select! {
                () = tokio::time::sleep(SAVE) => false,
                _ = stopping.changed() => true,
            };
            let (month, changed) = {
                let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
                (used.month.clone(), std::mem::take(&mut used.changed))
            };
            if !changed.is_empty() {
                // Counts that could not be written are written with the next ones of their client.
                let _ = store
                    .write::<_, StoreError, _>(move |tx| {
                        for (client, count) in &changed {
                            tx.execute(
                                "INSERT quota",
                                "INSERT INTO quota VALUES (?1, ?2, ?3)
                                 ON CONFLICT (client, month) DO UPDATE SET used = excluded.used",
                                (client, &month, *count as i64),
                            )?;
                        }
                        Ok(())
                    })
                    .await;
            }
            self.buckets
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .sweep(Instant::now());
            if last {
                return;
            }
        }
    }

    /// The client's standing after this request, or why it is refused; `None` for clients that no limit applies to.
    fn limit(
        &self,
        rt: &Rt,
        request: &HttpRequest,
    ) -> Option<Result<Standing, (ApiError, Standing)>> {
        let key = request.header("x-api-key");
        match (rt.config.rate_limit, key) {
            (RateLimit::Off, _) | (RateLimit::Keys, None) => return None,
            _ => {}
        }
        let tier = Tier::of(key);
        // Keys are secrets: only their hash is kept or shown.
        let client = key.map_or_else(
            || "anonymous".to_owned(),
            |key| format!("{:016x}", fnv1a(key.as_bytes())),
        );
        let standing = self
            .buckets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(Instant::now(), &client, tier);
        if let Some(seconds) = standing.retry_after_s {
            let error = ApiError::new(
                Code::ResourceExhausted,
                "RATE_LIMITED",
                "too many requests, slow down",
            )
            .retry_after(seconds);
            return Some(Err((error, standing)));
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let month = month_text(rt.clock.now());
        if used.month != month {
            used.month = month;
            used.counts.clear();
            used.changed.clear();
        }
        let count = used.counts.entry(client.clone()).or_default();
        if tier.quota().is_some_and(|quota| *count >= quota) {
            let error = ApiError::new(
                Code::ResourceExhausted,
                "QUOTA_EXCEEDED",
                "the month's requests are used up",
            );
            return Some(Err((error.retry_after(3_600), standing)));
        }
        *count += 1;
        let count = *count;
        used.changed.insert(client, count);
        Some(Ok(standing))
    }
}

/// The bucket that decides which version serves the request on its whole way: the user's, else the session's, else the
/// trace's. Who insists on the canary is in the first one, which belongs to it as soon as anybody does.
fn bucket(rt: &Rt, request: &HttpRequest) -> u8 {
    if request.header("x-canary") == Some("true") {
        return 0;
    }
    let known = ["x-user-id", "x-session-id"]
        .iter()
        .find_map(|name| request.header(name));
    let trace = request
        .header("traceparent")
        .and_then(|text| text.split('-').nth(1));
    match known.or(trace) {
        Some(key) => rt.discovery.routing.bucket(key),
        // A trace that begins here has an id that nobody has seen: any bucket is as good.
        None => (crate::ids::random_u64() % 100) as u8,
    }
}

fn month_text(now: u64) -> String {
    let (year, month) = year_month(now);
    format!("{year:04}-{month:02}")
}

impl Edge for GatewayEdge {
    fn admit(&self, rt: &Rt, request: &HttpRequest, carried: &mut Baggage) -> Result<(), ApiError> {
        if !rt.config.trust_baggage {
            for member in baggage::OURS {
                carried.remove(member);
            }
        }
        if is_enveloped(&request.path) {
            carried.set(baggage::REPORT, "1");
        }
        if carried.get(baggage::CANARY_BUCKET).is_none() {
            carried.set(baggage::CANARY_BUCKET, &bucket(rt, request).to_string());
        }
        let text = request
            .query("behavior")
            .or_else(|| request.header("x-behavior"))
            .map(str::to_owned);
        let Some(text) = text.or_else(|| carried.get(baggage::BEHAVIOR)) else {
            return Ok(());
        };
        carried.remove(baggage::BEHAVIOR);
        Behaviour::parse(&text).map_err(|error| {
            ApiError::new(Code::InvalidArgument, "INVALID_BEHAVIOR", error.to_string())
                .fact("position", error.position)
        })?;
        if !text.is_empty() {
            carried.set(baggage::BEHAVIOR, &text);
        }
        Ok(())
    }

    fn enter(
        &self,
        rt: &Rt,
        request: &HttpRequest,
        begun: &Begun,
    ) -> (Headers, Result<(), ApiError>) {
        if let Some(text) = begun.context.shared.baggage.get(baggage::BEHAVIOR) {
            crate::truth::behaviour_seen(rt, &text, &begun.span.context().trace_hex());
        }
        let Some(outcome) = self.limit(rt, request) else {
            return (Vec::new(), Ok(()));
        };
        let (standing, outcome) = match outcome {
            Ok(standing) => (standing, Ok(())),
            Err((error, standing)) => (standing, Err(error)),
        };
        begun.span.set("shop.client.tier", standing.tier.as_str());
        begun
            .span
            .set("shop.ratelimit.remaining", standing.remaining);
        let reset = rt.clock.now() / 1_000_000_000 + standing.reset_s;
        let headers = vec![
            ("x-ratelimit-limit", standing.limit.to_string()),
            ("x-ratelimit-remaining", standing.remaining.to_string()),
            ("x-ratelimit-reset", reset.to_string()),
        ];
        if let Err(error) = &outcome {
            let labels = [("service", rt.spec.name), ("tier", standing.tier.as_str())];
            rt.telemetry
                .metrics()
                .add("shop_ratelimit_rejections_total", &labels, 1.0);
            begun.context.clone().sync_scope(|| {
                rt.telemetry.warn(
                    "ratelimit.rejected",
                    "request refused by the rate limit",
                    Attributes::new()
                        .with("tier", standing.tier.as_str())
                        .with("error.code", &error.reason),
                );
            });
        }
        (headers, outcome)
    }

    fn dress(
        &self,
        rt: &Rt,
        request: &HttpRequest,
        begun: &Begun,
        started: u64,
        outcome: Result<HttpReply, ApiError>,
    ) -> HttpReply {
        let trace_id = begun.span.context().trace_hex();
        if !is_enveloped(&request.path) {
            return outcome.unwrap_or_else(|error| HttpReply::from_error(&error, Some(&trace_id)));
        }
        let (mut reply, payload, error) = match outcome {
            Ok(reply) => {
                let payload = reply.json.clone().unwrap_or(Value::Null);
                (reply, payload, None)
            }
            Err(error) => {
                let mut body = error.body(Some(&trace_id));
                (
                    HttpReply::from_error(&error, Some(&trace_id)),
                    Value::Null,
                    Some(body["error"].take()),
                )
            }
        };
        let ended = rt.clock.now();
        let (calls, applied) = begun.context.gathered();
        let identity = rt.telemetry.identity();
        let mut envelope = json!({
            "service": {
                "name": identity.service,
                "version": identity.version,
                "namespace": identity.namespace,
                "instance": identity.instance_id,
                "protocol": "http",
            },
            "start_time": rfc3339(started),
            "end_time": rfc3339(ended),
            "duration": duration_text(ended.saturating_sub(started)),
            "code": reply.status,
            "body": payload,
            "trace_id": trace_id,
            "span_id": begun.span.context().span_hex(),
            "all_calls": flatten(rt.spec.name, &calls),
            "upstream_calls": calls,
        });
        if !rt.config.blind {
            envelope["behaviors_applied"] = json!(applied);
        }
        if let Some(error) = error {
            envelope["error"] = error;
        }
        reply.body = serde_json::to_vec(&envelope).unwrap_or_default().into();
        reply.json = Some(envelope);
        reply
    }
}

type Headers = Vec<(&'static str, String)>;

fn is_enveloped(path: &str) -> bool {
    path == "/api/v1" || path.starts_with("/api/v1/")
}
