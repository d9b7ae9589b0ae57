//! Owns the outbox: rows written with the state change, and the relay that sends them in order per aggregate. A first
//! attempt belongs to the trace of its cause; repeated ones run under roots of their own, linked to it.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Row;

use super::envelope::Event;
use super::publisher::{Cause, Publisher, Staged};
use super::routes;
use crate::clock::{parse_rfc3339, rfc3339};
use crate::config::Publish;
use crate::context::Context;
use crate::propagation::{Baggage, TraceContext};
use crate::store::{StoreError, Tx};
use crate::telemetry::{Attributes, Kind, Span};

pub const SCHEMA: &str = "
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE,
    aggregate_type TEXT NOT NULL,
    aggregate_id TEXT NOT NULL,
    event_type TEXT NOT NULL,
    order_id TEXT,
    saga_id TEXT,
    payload TEXT NOT NULL,
    traceparent TEXT,
    baggage TEXT NOT NULL,
    created_at TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt_at TEXT NOT NULL,
    published_at TEXT,
    last_error TEXT
);
CREATE INDEX outbox_waiting ON outbox (aggregate_id, id) WHERE published_at IS NULL;
CREATE VIEW ledger_outbox AS
    SELECT id, event_id, aggregate_type, aggregate_id, event_type, order_id, payload, traceparent, created_at, attempts,
           next_attempt_at, published_at, last_error, coalesce(published_at, created_at) AS changed_at
    FROM outbox;
";

const POLL: Duration = Duration::from_millis(500);
const BATCH: usize = 50;
const BACKOFF_CAP: Duration = Duration::from_secs(60);
/// A claim that was not settled in this time is free again: its owner died.
const CLAIM: Duration = Duration::from_secs(10);
const LAGGING: Duration = Duration::from_secs(30);

pub(super) fn insert(tx: &Tx<'_>, staged: &Staged, cause: &Cause) -> Result<(), StoreError> {
    let event = &staged.event;
    tx.execute(
        "INSERT outbox",
        "INSERT INTO outbox (event_id, aggregate_type, aggregate_id, event_type, order_id, saga_id, payload, traceparent,
             baggage, created_at, next_attempt_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10)",
        rusqlite::params![
            staged.event_id,
            event.aggregate_type,
            event.aggregate_id,
            event.event_type,
            event.order_id,
            event.saga_id,
            event.data.to_string(),
            cause.traceparent,
            cause.baggage,
            tx.now_text(),
        ],
    )?;
    Ok(())
}

struct Waiting {
    id: i64,
    staged: Staged,
    traceparent: Option<String>,
    baggage: String,
    created_at: String,
    attempts: u32,
}

fn read(row: &Row<'_>) -> rusqlite::Result<(Waiting, String, String)> {
    let (event_type, aggregate_type): (String, String) = (row.get(3)?, row.get(1)?);
    let payload: String = row.get(6)?;
    Ok((
        Waiting {
            id: row.get(0)?,
            staged: Staged {
                event_id: row.get(12)?,
                event: Event {
                    event_type: "",
                    aggregate_type: "",
                    aggregate_id: row.get(2)?,
                    order_id: row.get(4)?,
                    saga_id: row.get(5)?,
                    data: serde_json::from_str(&payload).unwrap_or_default(),
                },
            },
            traceparent: row.get(7)?,
            baggage: row.get(8)?,
            created_at: row.get(9)?,
            attempts: row.get(10)?,
        },
        event_type,
        aggregate_type,
    ))
}

/// Claims what may be sent now: due, and first of its aggregate.
fn claim(tx: &Tx<'_>, hold: u64) -> Result<Vec<Waiting>, StoreError> {
    let now = tx.now();
    let rows = tx.all(
        "SELECT outbox",
        "SELECT id, aggregate_type, aggregate_id, event_type, order_id, saga_id, payload, traceparent, baggage, created_at,
             attempts, next_attempt_at, event_id
         FROM outbox o WHERE published_at IS NULL AND next_attempt_at <= ?1
           AND NOT EXISTS (SELECT 1 FROM outbox e
               WHERE e.aggregate_id = o.aggregate_id AND e.published_at IS NULL AND e.id < o.id)
         ORDER BY id LIMIT ?2",
        (rfc3339(now), BATCH as i64),
        read,
    )?;
    let mut claimed = Vec::new();
    for (mut waiting, event_type, aggregate_type) in rows {
        let Some(known) = routes::known(&event_type) else {
            return Err(StoreError::Corrupt(format!(
                "the outbox holds an event of type {event_type}"
            )));
        };
        waiting.staged.event.event_type = known;
        waiting.staged.event.aggregate_type = aggregate_word(&aggregate_type);
        waiting.attempts += 1;
        tx.execute(
            "UPDATE outbox",
            "UPDATE outbox SET attempts = ?2, next_attempt_at = ?3 WHERE id = ?1",
            (waiting.id, waiting.attempts, rfc3339(now + hold)),
        )?;
        claimed.push(waiting);
    }
    Ok(claimed)
}

fn aggregate_word(text: &str) -> &'static str {
    [
        "order",
        "payment",
        "reservation",
        "shipment",
        "product",
        "checkout",
    ]
    .into_iter()
    .find(|word| *word == text)
    .unwrap_or("order")
}

/// Sends what waits, whenever something was staged and at its interval.
pub async fn relay(publisher: Arc<Publisher>) {
    if publisher.rt().config.publish != Publish::Outbox {
        return;
    }
    let mut stopping = publisher.rt().stopping();
    let interval = publisher.rt().clock.scaled(POLL);
    let task = publisher.rt().tasks.begin("outbox_relay");
    loop {
        tokio::select! {
            () = publisher.woken() => {}
            () = tokio::time::sleep(interval) => {}
            _ = stopping.changed() => return,
        }
        // A batch may free the next event of the same aggregate.
        while !publisher.rt().faults.is_on("outbox_stall") && send_batch(&publisher).await {}
        tell_lag(&publisher).await;
        task.tick();
    }
}

/// Whether anything was sent.
async fn send_batch(publisher: &Arc<Publisher>) -> bool {
    let rt = publisher.rt();
    let Ok(store) = rt.store() else { return false };
    let hold = rt
        .clock
        .scaled(CLAIM)
        .max(Duration::from_secs(3))
        .as_nanos() as u64;
    // Most looks find nothing, and a read costs no lock.
    let due = store
        .read::<_, StoreError, _>(|tx| {
            tx.one(
                "SELECT outbox",
                "SELECT 1 FROM outbox WHERE published_at IS NULL AND next_attempt_at <= ?1 LIMIT 1",
                [tx.now_text()],
                |_| Ok(()),
            )
        })
        .await;
    if !matches!(due, Ok(Some(()))) {
        return false;
    }
    let claimed = match store
        .write::<_, StoreError, _>(move |tx| claim(tx, hold))
        .await
    {
        Ok(claimed) => claimed,
        Err(error) => {
            rt.telemetry.error(
                "exception",
                "the outbox could not be read",
                Attributes::new()
                    .with("error.code", "STORE_FAILED")
                    .with("error.details", error.to_string()),
            );
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
    let relay_span = (!repeated.is_empty()).then(|| relay_span(publisher, &repeated));
    let sends = claimed
        .iter()
        .map(|waiting| send_one(publisher, waiting, relay_span.as_ref()));
    let outcomes = futures_util::future::join_all(sends).await;
    if let Some(span) = relay_span {
        span.end();
    }
    outcomes.into_iter().any(|sent| sent)
}

fn relay_span(publisher: &Publisher, repeated: &[&Waiting]) -> Span {
    let rt = publisher.rt();
    let span = rt.telemetry.root("outbox relay", Kind::Internal);
    for waiting in repeated {
        if let Some(cause) = waiting
            .traceparent
            .as_deref()
            .and_then(|text| TraceContext::parse(text).ok())
        {
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

async fn send_one(publisher: &Arc<Publisher>, waiting: &Waiting, relay: Option<&Span>) -> bool {
    let rt = publisher.rt();
    let cause = waiting
        .traceparent
        .as_deref()
        .and_then(|text| TraceContext::parse(text).ok());
    let baggage = Baggage::from_headers(std::iter::once(waiting.baggage.as_str()));
    let parent = match relay.filter(|_| waiting.attempts > 1) {
        Some(span) => Some(span.context().clone()),
        None => cause,
    };
    let event = &waiting.staged.event;
    let shared = crate::context::Shared {
        baggage: baggage.clone(),
        ..Default::default()
    };
    let context = Context {
        trace: parent.clone(),
        span: None,
        shared: Arc::new(shared),
    };
    let posted = context
        .scope(async {
            let span = publisher.send_span(event, &waiting.staged.event_id, parent.as_ref());
            publisher
                .post(
                    &span,
                    &waiting.staged,
                    waiting.created_at.clone(),
                    &baggage,
                    waiting.attempts,
                )
                .await
        })
        .await;
    let (id, attempts) = (waiting.id, waiting.attempts);
    let backoff = Duration::from_secs(1 << (attempts - 1).min(6)).min(BACKOFF_CAP);
    let pause = rt.clock.scaled(backoff).as_nanos() as u64;
    let error = posted.as_ref().err().map(ToString::to_string);
    let Ok(store) = rt.store() else { return false };
    let settled = store
        .write::<_, StoreError, _>(move |tx| match error {
            None => tx.execute(
                "UPDATE outbox",
                "UPDATE outbox SET published_at = ?2, last_error = NULL WHERE id = ?1",
                (id, tx.now_text()),
            ),
            Some(error) => tx.execute(
                "UPDATE outbox",
                "UPDATE outbox SET next_attempt_at = ?2, last_error = ?3 WHERE id = ?1",
                (id, rfc3339(tx.now() + pause), error),
            ),
        })
        .await;
    posted.is_ok() && settled.is_ok()
}

async fn tell_lag(publisher: &Publisher) {
    let rt = publisher.rt();
    let Ok(store) = rt.store() else { return };
    let found = store
        .read::<_, StoreError, _>(|tx| {
            tx.one(
                "SELECT outbox",
                "SELECT count(*), min(created_at) FROM outbox WHERE published_at IS NULL",
                [],
                |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<String>>(1)?)),
            )
        })
        .await;
    let Ok(Some((waiting, oldest))) = found else {
        return;
    };
    let created = oldest.as_deref().and_then(parse_rfc3339);
    let age = created.map_or(Duration::ZERO, |created| {
        Duration::from_nanos(rt.clock.now().saturating_sub(created))
    });
    let metrics = rt.telemetry.metrics();
    metrics.set(
        "shop_outbox_pending",
        &[("service", rt.spec.name)],
        waiting as f64,
    );
    metrics.set(
        "shop_outbox_oldest_age_seconds",
        &[("service", rt.spec.name)],
        age.as_secs_f64(),
    );
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
