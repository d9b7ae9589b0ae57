//! Owns the bus's rows: waiting deliveries in order per aggregate, and dead letters.

use serde_json::{Value, json};

use crate::clock::rfc3339;
use crate::messaging::Envelope;
use crate::store::{StoreError, Tx};

pub(super) const SCHEMA: &str = "
CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL,
    subscriber TEXT NOT NULL,
    aggregate_id TEXT NOT NULL,
    event_type TEXT NOT NULL,
    order_id TEXT,
    envelope TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt_at TEXT NOT NULL,
    dead_at TEXT,
    last_error TEXT,
    created_at TEXT NOT NULL,
    UNIQUE (event_id, subscriber)
);
CREATE INDEX deliveries_waiting ON deliveries (subscriber, aggregate_id, id) WHERE dead_at IS NULL;
CREATE TABLE delivered (event_id TEXT PRIMARY KEY, at TEXT NOT NULL);
CREATE INDEX delivered_at ON delivered (at);
CREATE VIEW ledger_dlq AS
    SELECT id, event_id, subscriber, event_type, order_id, attempts, last_error, created_at, dead_at,
           dead_at AS changed_at
    FROM deliveries WHERE dead_at IS NOT NULL;
";

/// The most that is pushed to one subscriber at a time.
const BATCH: i64 = 16;

pub(super) struct Delivery {
    pub(super) id: i64,
    pub(super) envelope: Envelope,
    pub(super) attempts: u32,
}

/// One row per subscriber. An event that was accepted before is not queued twice.
pub(super) fn insert(
    tx: &Tx<'_>,
    envelope: &Envelope,
    subscribers: &[&'static str],
) -> Result<(), StoreError> {
    let first = tx.execute(
        "INSERT delivered",
        "INSERT INTO delivered VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        (&envelope.event_id, tx.now_text()),
    )?;
    if first == 0 {
        return Ok(());
    }
    let text =
        serde_json::to_string(envelope).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    for subscriber in subscribers {
        tx.execute(
            "INSERT deliveries",
            "INSERT INTO deliveries (event_id, subscriber, aggregate_id, event_type, order_id, envelope, next_attempt_at,
                 created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)",
            (
                &envelope.event_id,
                subscriber,
                &envelope.aggregate.id,
                &envelope.event_type,
                envelope.order_id(),
                &text,
                tx.now_text(),
            ),
        )?;
    }
    Ok(())
}

/// What may be pushed now: due, and the oldest of its aggregate.
pub(super) fn due(tx: &Tx<'_>, subscriber: &str) -> Result<Vec<Delivery>, StoreError> {
    let rows = tx.all(
        "SELECT deliveries",
        "SELECT id, envelope, attempts FROM deliveries d
         WHERE subscriber = ?1 AND dead_at IS NULL AND next_attempt_at <= ?2
           AND NOT EXISTS (SELECT 1 FROM deliveries e WHERE e.subscriber = d.subscriber
               AND e.aggregate_id = d.aggregate_id AND e.dead_at IS NULL AND e.id < d.id)
         ORDER BY id LIMIT ?3",
        (subscriber, tx.now_text(), BATCH),
        |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, u32>(2)?,
            ))
        },
    )?;
    rows.into_iter()
        .map(|(id, text, attempts)| {
            let envelope = serde_json::from_str(&text)
                .map_err(|_| StoreError::Corrupt(format!("the envelope of delivery {id}")))?;
            Ok(Delivery {
                id,
                envelope,
                attempts,
            })
        })
        .collect()
}

pub(super) fn done(tx: &Tx<'_>, id: i64) -> Result<(), StoreError> {
    tx.execute(
        "DELETE deliveries",
        "DELETE FROM deliveries WHERE id = ?1",
        [id],
    )?;
    Ok(())
}

/// Puts a failed delivery off, or among the dead when `pause` is over.
pub(super) fn failed(
    tx: &Tx<'_>,
    id: i64,
    pause: Option<u64>,
    error: &str,
) -> Result<(), StoreError> {
    let now = tx.now();
    match pause {
        Some(pause) => tx.execute(
            "UPDATE deliveries",
            "UPDATE deliveries SET attempts = attempts + 1, next_attempt_at = ?2, last_error = ?3 WHERE id = ?1",
            (id, rfc3339(now + pause), error),
        )?,
        None => tx.execute(
            "UPDATE deliveries",
            "UPDATE deliveries SET attempts = attempts + 1, dead_at = ?2, last_error = ?3 WHERE id = ?1",
            (id, rfc3339(now), error),
        )?,
    };
    Ok(())
}

pub(super) fn redrive(tx: &Tx<'_>, id: i64) -> Result<bool, StoreError> {
    let changed = tx.execute(
        "UPDATE deliveries",
        "UPDATE deliveries SET dead_at = NULL, attempts = 0, next_attempt_at = ?2 WHERE id = ?1 AND dead_at IS NOT NULL",
        (id, tx.now_text()),
    )?;
    Ok(changed == 1)
}

pub(super) fn depths(tx: &Tx<'_>) -> Result<Vec<Value>, StoreError> {
    tx.all(
        "SELECT deliveries",
        "SELECT subscriber, count(*), min(created_at), max(attempts) FROM deliveries WHERE dead_at IS NULL
         GROUP BY subscriber ORDER BY subscriber",
        [],
        |row| {
            Ok(json!({
                "subscriber": row.get::<_, String>(0)?,
                "waiting": row.get::<_, i64>(1)?,
                "oldest": row.get::<_, Option<String>>(2)?,
                "attempts": row.get::<_, i64>(3)?,
            }))
        },
    )
}

pub(super) fn dead(tx: &Tx<'_>) -> Result<Vec<Value>, StoreError> {
    tx.all(
        "SELECT deliveries",
        "SELECT id, event_id, subscriber, event_type, order_id, attempts, last_error, dead_at FROM deliveries
         WHERE dead_at IS NOT NULL ORDER BY id DESC LIMIT 1000",
        [],
        |row| {
            Ok(json!({
                "id": row.get::<_, i64>(0)?,
                "event_id": row.get::<_, String>(1)?,
                "subscriber": row.get::<_, String>(2)?,
                "type": row.get::<_, String>(3)?,
                "order_id": row.get::<_, Option<String>>(4)?,
                "attempts": row.get::<_, i64>(5)?,
                "last_error": row.get::<_, Option<String>>(6)?,
                "dead_at": row.get::<_, Option<String>>(7)?,
            }))
        },
    )
}

/// Forgets which events were accepted long ago.
pub(super) fn forget(tx: &Tx<'_>, before: u64) -> Result<(), StoreError> {
    tx.execute(
        "DELETE delivered",
        "DELETE FROM delivered WHERE at < ?1",
        [rfc3339(before)],
    )?;
    Ok(())
}
