//! Owns pushing events to one subscriber: success is status 200 and nothing else.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::json;

use super::Bus;
use super::queue::{self, Delivery};
use crate::call::CallOptions;
use crate::call::http::{HttpAsk, send};
use crate::config::BusTrace;
use crate::context::{Context, Shared};
use crate::resilience::retry;
use crate::store::StoreError;
use crate::telemetry::{Attributes, Kind};

const RETRIES: [u64; 5] = [1, 2, 4, 8, 16];
const TIMEOUT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(500);
/// Accepted events are remembered this long, so that a repeated publish is not delivered again.
const REMEMBER: Duration = Duration::from_secs(3_600);

pub(super) async fn run(bus: Arc<Bus>, subscriber: &'static str) {
    let rt = &bus.rt;
    let mut stopping = rt.stopping();
    loop {
        // Asked for before looking, or an event between the look and the wait would be slept over.
        let woken = bus.wake.notified();
        while push_batch(&bus, subscriber).await {}
        tokio::select! {
            () = woken => {}
            () = tokio::time::sleep(rt.clock.scaled(POLL).max(Duration::from_millis(20))) => {}
            _ = stopping.changed() => return,
        }
    }
}

/// Whether anything was pushed.
async fn push_batch(bus: &Arc<Bus>, subscriber: &'static str) -> bool {
    let Ok(store) = bus.rt.store() else {
        return false;
    };
    let due = match store
        .read::<_, StoreError, _>(move |tx| queue::due(tx, subscriber))
        .await
    {
        Ok(due) => due,
        Err(error) => {
            bus.rt.telemetry.error(
                "exception",
                "the queue could not be read",
                Attributes::new()
                    .with("error.code", "STORE_FAILED")
                    .with("error.details", error.to_string()),
            );
            return false;
        }
    };
    bus.rt.telemetry.metrics().set(
        "shop_bus_queue_depth",
        &[("subscriber", subscriber)],
        due.len() as f64,
    );
    if due.is_empty() {
        return false;
    }
    futures_util::future::join_all(
        due.into_iter()
            .map(|delivery| push(bus, subscriber, delivery)),
    )
    .await;
    let horizon = bus
        .rt
        .clock
        .now()
        .saturating_sub(REMEMBER.as_nanos() as u64);
    // Forgetting can wait for the next batch.
    let _ = store
        .write::<_, StoreError, _>(move |tx| queue::forget(tx, horizon))
        .await;
    true
}

async fn push(bus: &Arc<Bus>, subscriber: &'static str, delivery: Delivery) {
    let rt = &bus.rt;
    let envelope = &delivery.envelope;
    let dropped = share_of(bus, "bus_drop", &envelope.event_type);
    if dropped {
        settle(bus, delivery.id, Outcome::Done).await;
        return;
    }
    let name = format!("deliver {}", envelope.event_type);
    let origin = envelope.origin();
    let span = match (&origin, rt.config.bus_trace) {
        (Some(origin), BusTrace::Child) => rt.telemetry.child_of(origin, name, Kind::Internal),
        _ => rt.telemetry.root(name, Kind::Internal),
    };
    if let Some(origin) = origin {
        span.link(origin);
    }
    let attempt = delivery.attempts + 1;
    span.set("messaging.system", "shop_bus");
    span.set("messaging.message.id", &envelope.event_id);
    span.set("shop.subscriber", subscriber);
    span.set("shop.delivery.attempt", attempt);
    let shared = Shared {
        baggage: envelope.baggage(),
        ..Shared::default()
    };
    let context = Context {
        trace: None,
        span: None,
        shared: Arc::new(shared),
    }
    .with_span(&span);
    let repeats = if share_of(bus, "bus_duplicate", &envelope.event_type) {
        2
    } else {
        1
    };
    let body = json!(envelope);
    let path = format!("/events/{}", envelope.event_type);
    let outcome = context
        .scope(async {
            let mut last = Ok(200);
            for _ in 0..repeats {
                let ask = HttpAsk {
                    method: Method::POST,
                    template: "/events/{type}",
                    path: &path,
                    body: Some(&body),
                };
                let options = CallOptions {
                    service: subscriber,
                    timeout: TIMEOUT,
                    retry: retry::Class::None,
                    key: None,
                };
                last = send(rt, &ask, options).await.map(|answer| answer.status);
            }
            let about = Attributes::new()
                .with("event_id", &envelope.event_id)
                .with("type", &envelope.event_type)
                .with("subscriber", subscriber)
                .with("attempt", attempt)
                .with_some("order_id", envelope.order_id());
            let error = match last {
                Ok(200) => {
                    rt.telemetry
                        .info("event.delivered", "event delivered", about);
                    return (200, Outcome::Done);
                }
                Ok(status) => (status, format!("answered {status}")),
                Err(error) => (error.api.http_status(), error.to_string()),
            };
            span.fail("DELIVERY_FAILED", &error.1);
            let about = about
                .with("error.code", "DELIVERY_FAILED")
                .with("error.details", &error.1);
            match RETRIES.get(delivery.attempts as usize) {
                Some(seconds) => {
                    rt.telemetry.warn(
                        "retry.scheduled",
                        "delivery failed and will be tried again",
                        about,
                    );
                    let pause = rt.clock.scaled(Duration::from_secs(*seconds)).as_nanos() as u64;
                    (error.0, Outcome::Again(pause, error.1))
                }
                None => {
                    rt.telemetry
                        .error("event.dead_lettered", "event given up", about);
                    (error.0, Outcome::Dead(error.1))
                }
            }
        })
        .await;
    span.end();
    let (status, outcome) = outcome;
    let code = status.to_string();
    let metrics = rt.telemetry.metrics();
    let labels = [
        ("subscriber", subscriber),
        ("type", envelope.event_type.as_str()),
        ("code", code.as_str()),
    ];
    metrics.add("shop_bus_deliveries_total", &labels, 1.0);
    if matches!(outcome, Outcome::Dead(_)) {
        metrics.add(
            "shop_dead_letters_total",
            &[("subscriber", subscriber)],
            1.0,
        );
    }
    settle(bus, delivery.id, outcome).await;
}

enum Outcome {
    Done,
    Again(u64, String),
    Dead(String),
}

async fn settle(bus: &Bus, id: i64, outcome: Outcome) {
    let Ok(store) = bus.rt.store() else { return };
    let settled = store
        .write::<_, StoreError, _>(move |tx| match outcome {
            Outcome::Done => queue::done(tx, id),
            Outcome::Again(pause, error) => queue::failed(tx, id, Some(pause), &error),
            Outcome::Dead(error) => queue::failed(tx, id, None, &error),
        })
        .await;
    if let Err(error) = settled {
        // The row stands as it was: the event is delivered once more, which every consumer can take.
        bus.rt.telemetry.error(
            "exception",
            "the outcome of a delivery could not be written",
            Attributes::new()
                .with("error.code", "STORE_FAILED")
                .with("error.details", error.to_string()),
        );
    }
}

/// Whether a fault that strikes a share of the events of a type strikes this one.
fn share_of(bus: &Bus, kind: &str, event_type: &str) -> bool {
    let Some(params) = bus.rt.faults.find(kind) else {
        return false;
    };
    let meant = params["type"]
        .as_str()
        .is_none_or(|wanted| wanted == event_type);
    let share = params["share"].as_f64().unwrap_or(1.0);
    meant && crate::rng::Rng::new(crate::ids::random_u64()).chance(share)
}
