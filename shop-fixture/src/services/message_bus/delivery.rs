//! Owns pushing events to one subscriber: success is status 200 and nothing else.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use http::Method;

use super::Bus;
use super::lanes;
use super::queue::{self, Delivery};
use crate::call::CallOptions;
use crate::call::http::{HttpAsk, send};
use crate::config::BusTrace;
use crate::context::{Context, Shared};
use crate::messaging::routes;
use crate::resilience::retry;
use crate::store::StoreError;
use crate::telemetry::{Attributes, Kind};

const RETRIES: [u64; 5] = [1, 2, 4, 8, 16];
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long deliveries that were made are gathered before they are noted.
const GATHER: Duration = Duration::from_millis(20);
const TIDY: Duration = Duration::from_secs(5);
/// Accepted events are remembered this long, so that a repeated publish is not delivered again.
const REMEMBER: Duration = Duration::from_secs(3_600);

/// Notes what was delivered, together with what is delivered meanwhile; looks after queues and old rows.
pub(super) async fn keep_books(bus: Arc<Bus>) {
    let rt = &bus.rt;
    let mut stopping = rt.stopping();
    for subscriber in routes::all_subscribers() {
        lanes::take_up(&bus, subscriber).await;
    }
    let mut tidied = Instant::now();
    loop {
        let stop = tokio::select! {
            () = bus.wake.notified() => {
                tokio::time::sleep(GATHER).await;
                false
            }
            () = tokio::time::sleep(TIDY) => false,
            _ = stopping.changed() => true,
        };
        note_done(&bus).await;
        if stop {
            return;
        }
        if tidied.elapsed() >= TIDY {
            tidied = Instant::now();
            tidy(&bus).await;
        }
    }
}

async fn note_done(bus: &Arc<Bus>) {
    let done = std::mem::take(&mut *bus.done.lock().unwrap_or_else(PoisonError::into_inner));
    let Ok(store) = bus.rt.store() else { return };
    if done.is_empty() {
        return;
    }
    let ids = done.clone();
    let noted = store
        .note::<_, StoreError, _>(move |tx| queue::done(tx, &ids))
        .await;
    if let Err(error) = noted {
        // Should the process end now, these are delivered once more, which every consumer can take.
        bus.complain("the outcome of deliveries could not be written", &error);
        let mut again = bus.done.lock().unwrap_or_else(PoisonError::into_inner);
        again.extend(done);
    }
}

async fn tidy(bus: &Arc<Bus>) {
    let rt = &bus.rt;
    for (subscriber, waiting) in bus.lanes.depths() {
        let labels = [("subscriber", subscriber)];
        rt.telemetry
            .metrics()
            .set("shop_bus_queue_depth", &labels, waiting as f64);
        lanes::take_up(bus, subscriber).await;
    }
    let horizon = rt.clock.now().saturating_sub(REMEMBER.as_nanos() as u64);
    let Ok(store) = rt.store() else { return };
    // Forgetting can wait for the next time.
    let _ = store
        .note::<_, StoreError, _>(move |tx| queue::forget(tx, horizon))
        .await;
}

/// Makes one delivery: again and again, until it is taken or dead.
pub(super) async fn carry(bus: &Arc<Bus>, subscriber: &'static str, mut delivery: Delivery) {
    let rt = &bus.rt;
    let event_type = &delivery.message.envelope.event_type;
    if share_of(bus, "bus_drop", event_type) {
        bus.is_done(delivery.id);
        return;
    }
    if delivery.attempts == 0 && share_of(bus, "bus_reorder", event_type) {
        // It steps aside, and what comes behind it overtakes.
        let (bus, late) = (Arc::clone(bus), bus.reorder_delay());
        tokio::spawn(async move {
            tokio::time::sleep(late).await;
            deliver(&bus, subscriber, delivery).await;
        });
        return;
    }
    let wait = delivery.due.saturating_sub(rt.clock.now());
    if delivery.attempts > 0 && wait > 0 {
        // Left by an earlier process in the middle of its pause.
        tokio::time::sleep(Duration::from_nanos(wait)).await;
    }
    delivery.due = 0;
    deliver(bus, subscriber, delivery).await;
}

async fn deliver(bus: &Arc<Bus>, subscriber: &'static str, mut delivery: Delivery) {
    loop {
        let slot = bus.lanes.slot(subscriber).await;
        let outcome = push(bus, subscriber, &delivery).await;
        drop(slot);
        let (pause, error) = match outcome {
            Outcome::Done => return bus.is_done(delivery.id),
            Outcome::Again(pause, error) => (Some(pause), error),
            Outcome::Dead(error) => (None, error),
        };
        settle(bus, delivery.id, pause, error).await;
        let Some(pause) = pause else { return };
        delivery.attempts += 1;
        tokio::time::sleep(Duration::from_nanos(pause)).await;
        if bus.rt.is_draining() {
            return;
        }
    }
}

async fn push(bus: &Arc<Bus>, subscriber: &'static str, delivery: &Delivery) -> Outcome {
    let rt = &bus.rt;
    let envelope = &delivery.message.envelope;
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
    let body = &delivery.message.body;
    let path = format!("/events/{}", envelope.event_type);
    let outcome = context
        .scope(async {
            let mut last = Ok(200);
            for _ in 0..repeats {
                let ask = HttpAsk {
                    method: Method::POST,
                    template: "/events/{type}",
                    path: &path,
                    body: Some(body),
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
    outcome
}

enum Outcome {
    Done,
    Again(u64, String),
    Dead(String),
}

async fn settle(bus: &Bus, id: i64, pause: Option<u64>, error: String) {
    let Ok(store) = bus.rt.store() else { return };
    let settled = store
        .note::<_, StoreError, _>(move |tx| queue::failed(tx, id, pause, &error))
        .await;
    if let Err(error) = settled {
        // The row stands as it was: the event is delivered once more, which every consumer can take.
        bus.complain("the outcome of a delivery could not be written", &error);
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
