//! Owns the loop behind the outbox: it notes what was sent, and sends again what could not be or was left by a process that
//! died. A repeated attempt runs under a root of its own, linked to the cause.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::outbox::{self, Waiting};
use super::publisher::Publisher;
use crate::clock::parse_rfc3339;
use crate::config::Publish;
use crate::propagation::TraceContext;
use crate::store::StoreError;
use crate::telemetry::{Attributes, Kind, Span};

const POLL: Duration = Duration::from_millis(500);
/// What was sent is noted together with what is sent meanwhile; lost, it would only be sent again.
const GATHER: Duration = Duration::from_millis(20);
const LAGGING: Duration = Duration::from_secs(30);
const TELL_LAG: Duration = Duration::from_secs(1);

/// Sends what waits, at its interval and whenever rows were given back.
pub async fn relay(publisher: Arc<Publisher>) {
    if publisher.rt().config.publish != Publish::Outbox {
        return;
    }
    let mut stopping = publisher.rt().stopping();
    let interval = publisher.rt().clock.scaled(POLL);
    let task = publisher.rt().tasks.begin("outbox_relay");
    take_back(&publisher).await;
    let mut told = Instant::now();
    let mut next = tokio::time::Instant::now();
    loop {
        let stop = tokio::select! {
            () = publisher.woken() => {
                tokio::time::sleep(GATHER).await;
                false
            }
            () = tokio::time::sleep_until(next) => false,
            _ = stopping.changed() => true,
        };
        note_sent(&publisher).await;
        if stop {
            return;
        }
        if tokio::time::Instant::now() < next {
            continue;
        }
        next = tokio::time::Instant::now() + interval;
        // A batch may free the next event of the same aggregate.
        while !publisher.rt().faults.is_on("outbox_stall") && send_batch(&publisher).await {}
        if told.elapsed() >= TELL_LAG {
            told = Instant::now();
            unblock(&publisher).await;
            tell_lag(&publisher).await;
        }
        task.tick();
    }
}

async fn take_back(publisher: &Publisher) {
    let owner = publisher.claim().owner.clone();
    let Ok(store) = publisher.rt().store() else {
        return;
    };
    // What cannot be taken back now becomes free when its claim runs out.
    let _ = store
        .note::<_, StoreError, _>(move |tx| outbox::take_back(tx, &owner))
        .await;
}

async fn note_sent(publisher: &Publisher) {
    let sent = publisher.take_sent();
    let Ok(store) = publisher.rt().store() else {
        return;
    };
    if sent.is_empty() {
        return;
    }
    let ids = sent.clone();
    let noted = store
        .note::<_, StoreError, _>(move |tx| outbox::published(tx, &ids))
        .await;
    if let Err(error) = noted {
        publisher.put_sent_back(sent);
        complain(publisher, &error);
    }
}

fn complain(publisher: &Publisher, error: &StoreError) {
    publisher.rt().telemetry.error(
        "exception",
        "the outbox could not be read or written",
        Attributes::new()
            .with("error.code", "STORE_FAILED")
            .with("error.details", error.to_string()),
    );
}

/// Whether anything was sent.
async fn send_batch(publisher: &Arc<Publisher>) -> bool {
    let Ok(store) = publisher.rt().store() else {
        return false;
    };
    let due = store.read::<_, StoreError, _>(outbox::is_due).await;
    if !matches!(due, Ok(true)) {
        return false;
    }
    let claim = publisher.claim().clone();
    let claimed = store
        .note::<_, StoreError, _>(move |tx| outbox::claim(tx, &claim))
        .await;
    let claimed = match claimed {
        Ok(claimed) => claimed,
        Err(error) => {
            complain(publisher, &error);
            return false;
        }
    };
    if claimed.is_empty() {
        return false;
    }
    let repeated: Vec<&Waiting> = claimed
        .iter()
        .filter(|waiting| waiting.attempts > 1)
        .collect();
    let span = (!repeated.is_empty()).then(|| relay_span(publisher, &repeated));
    let sends = claimed.iter().map(|waiting| {
        let parent = span.as_ref().filter(|_| waiting.attempts > 1);
        send_one(publisher, waiting, parent)
    });
    let outcomes = futures_util::future::join_all(sends).await;
    if let Some(span) = span {
        span.end();
    }
    outcomes.into_iter().any(|sent| sent)
}

fn relay_span(publisher: &Publisher, repeated: &[&Waiting]) -> Span {
    let rt = publisher.rt();
    let span = rt.telemetry.root("outbox relay", Kind::Internal);
    for waiting in repeated {
        if let Some(cause) = waiting.cause.trace() {
            span.link(cause);
        }
    }
    let oldest = repeated
        .iter()
        .filter_map(|waiting| parse_rfc3339(&waiting.created_at))
        .min();
    let age = oldest.map_or(0, |created| {
        rt.clock.now().saturating_sub(created) / 1_000_000
    });
    span.set("shop.outbox.batch", repeated.len());
    span.set("shop.outbox.oldest_age_ms", age);
    span
}

async fn send_one(publisher: &Publisher, waiting: &Waiting, relay: Option<&Span>) -> bool {
    let parent: Option<TraceContext> = match relay {
        Some(span) => Some(span.context().clone()),
        None => waiting.cause.trace(),
    };
    let posted = publisher.post_row(waiting, parent).await;
    let Ok(store) = publisher.rt().store() else {
        return false;
    };
    let (id, pause) = (waiting.id, publisher.backoff(waiting.attempts));
    let aggregate = waiting.staged.event.aggregate_id.clone();
    let error = posted.as_ref().err().map(ToString::to_string);
    let settled = store
        .note::<_, StoreError, _>(move |tx| match error {
            None => {
                outbox::published(tx, &[id])?;
                outbox::has_waiting(tx, &aggregate)
            }
            Some(error) => outbox::failed(tx, id, pause, &error).map(|()| true),
        })
        .await;
    if let Ok(false) = settled {
        publisher.unblock(&waiting.staged.event.aggregate_id);
    }
    posted.is_ok() && settled.is_ok()
}

/// Frees the aggregates whose rows are all out, whichever instance sent them.
async fn unblock(publisher: &Publisher) {
    let Ok(store) = publisher.rt().store() else {
        return;
    };
    let blocked = publisher.blocked();
    if blocked.is_empty() {
        return;
    }
    let free = store
        .read::<_, StoreError, _>(|tx| {
            let mut free = Vec::new();
            for aggregate in blocked {
                if !outbox::has_waiting(tx, &aggregate)? {
                    free.push(aggregate);
                }
            }
            Ok(free)
        })
        .await;
    for aggregate in free.unwrap_or_default() {
        publisher.unblock(&aggregate);
    }
}

async fn tell_lag(publisher: &Publisher) {
    let rt = publisher.rt();
    let Ok(store) = rt.store() else { return };
    let Ok((waiting, oldest)) = store.read::<_, StoreError, _>(outbox::lag).await else {
        return;
    };
    let created = oldest.as_deref().and_then(parse_rfc3339);
    let age = created.map_or(Duration::ZERO, |created| {
        Duration::from_nanos(rt.clock.now().saturating_sub(created))
    });
    let metrics = rt.telemetry.metrics();
    let labels = [("service", rt.spec.name)];
    metrics.set("shop_outbox_pending", &labels, waiting as f64);
    metrics.set("shop_outbox_oldest_age_seconds", &labels, age.as_secs_f64());
    if age > rt.clock.scaled(LAGGING) {
        rt.telemetry.warn(
            "outbox.lagging",
            "the oldest unpublished event waits for long",
            Attributes::new()
                .with("pending", waiting)
                .with("age_ms", age.as_millis() as u64),
        );
    }
}
