//! Owns the bus's rows: accepted messages, their waiting deliveries, and dead letters.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::clock::{parse_rfc3339, rfc3339};
use crate::messaging::Envelope;
use crate::store::{StoreError, Tx};

pub(super) const SCHEMA: &str = "
CREATE TABLE messages (
    event_id TEXT PRIMARY KEY,
    event_type TEXT NOT NULL,
    order_id TEXT,
    envelope TEXT NOT NULL,
    at TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX messages_at ON messages (at);
CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL,
    subscriber TEXT NOT NULL,
    owner TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt_at TEXT NOT NULL,
    dead_at TEXT,
    last_error TEXT,
    created_at TEXT NOT NULL
);
CREATE VIEW ledger_dlq AS
    SELECT id, event_id, subscriber, event_type, order_id, attempts, last_error, created_at, dead_at,
           dead_at AS changed_at
    FROM deliveries JOIN messages USING (event_id) WHERE dead_at IS NOT NULL;
";

/// One event on its way to one subscriber.
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    pub(super) id: i64,
    pub(super) message: Arc<Message>,
    /// Attempts that failed.
    pub(super) attempts: u32,
    /// Not before this time.
    pub(super) due: u64,
}

/// An accepted event, as it came.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) envelope: Envelope,
    pub(super) body: Value,
}

impl Message {
    pub(super) fn new(envelope: Envelope, body: Value) -> Arc<Self> {
        Arc::new(Self { envelope, body })
    }
}

/// One row per subscriber, with their numbers. An event that was accepted before is not queued twice.
pub(super) fn insert(
    tx: &Tx<'_>,
    message: &Message,
    subscribers: &[&'static str],
    owner: &str,
) -> Result<Vec<i64>, StoreError> {
    let (envelope, now) = (&message.envelope, tx.now_text());
    let first = tx.execute(
        "INSERT messages",
        "INSERT INTO messages VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
        (
            &envelope.event_id,
            &envelope.event_type,
            envelope.order_id(),
            message.body.to_string(),
            &now,
        ),
    )?;
    if first == 0 {
        return Ok(Vec::new());
    }
    let mut ids = Vec::with_capacity(subscribers.len());
    for subscriber in subscribers {
        tx.execute(
            "INSERT deliveries",
            "INSERT INTO deliveries (event_id, subscriber, owner, next_attempt_at, created_at)
             VALUES (?1, ?2, ?3, ?4, ?4)",
            (&envelope.event_id, subscriber, owner, &now),
        )?;
        ids.push(tx.last_id());
    }
    Ok(ids)
}

/// The oldest living deliveries to a subscriber above a number, which is how a queue is taken up again.
pub(super) fn after(
    tx: &Tx<'_>,
    subscriber: &str,
    owner: &str,
    id: i64,
    limit: usize,
) -> Result<Vec<Delivery>, StoreError> {
    let rows = tx.all(
        "SELECT deliveries",
        "SELECT id, attempts, next_attempt_at, envelope FROM deliveries JOIN messages USING (event_id)
         WHERE id > ?3 AND subscriber = ?1 AND owner = ?2 AND dead_at IS NULL ORDER BY id LIMIT ?4",
        (subscriber, owner, id, limit as i64),
        |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, u32>(1)?,
                row.get::<_, String>(2)?,
                row.get::<_, String>(3)?,
            ))
        },
    )?;
    rows.into_iter()
        .map(|(id, attempts, due, text)| delivery(id, attempts, &due, &text))
        .collect()
}

fn delivery(id: i64, attempts: u32, due: &str, text: &str) -> Result<Delivery, StoreError> {
    let corrupt = || StoreError::Corrupt(format!("the envelope of delivery {id}"));
    let body: Value = serde_json::from_str(text).map_err(|_| corrupt())?;
    let envelope: Envelope = serde_json::from_str(text).map_err(|_| corrupt())?;
    Ok(Delivery {
        id,
        message: Message::new(envelope, body),
        attempts,
        due: parse_rfc3339(due).unwrap_or(0),
    })
}

/// Deliveries that have been made.
pub(super) fn done(tx: &Tx<'_>, ids: &[i64]) -> Result<(), StoreError> {
    let texts: Vec<String> = ids.iter().map(i64::to_string).collect();
    tx.execute(
        "DELETE deliveries",
        "DELETE FROM deliveries WHERE id IN (SELECT value FROM json_each(?1))",
        [format!("[{}]", texts.join(","))],
    )?;
    Ok(())
}

/// Puts a failed delivery off, or among the dead when there is no pause left.
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

/// Brings a dead letter back to life, as the property of whoever was asked.
pub(super) fn redrive(
    tx: &Tx<'_>,
    id: i64,
    owner: &str,
) -> Result<Option<(String, Delivery)>, StoreError> {
    let found = tx.one(
        "SELECT deliveries",
        "SELECT subscriber, envelope FROM deliveries JOIN messages USING (event_id)
         WHERE id = ?1 AND dead_at IS NOT NULL",
        [id],
        |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)),
    )?;
    let Some((subscriber, text)) = found else {
        return Ok(None);
    };
    let now = tx.now_text();
    tx.execute(
        "UPDATE deliveries",
        "UPDATE deliveries SET dead_at = NULL, attempts = 0, owner = ?3, next_attempt_at = ?2 WHERE id = ?1",
        (id, &now, owner),
    )?;
    Ok(Some((subscriber, delivery(id, 0, &now, &text)?)))
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
        "SELECT id, event_id, subscriber, event_type, order_id, attempts, last_error, dead_at
         FROM deliveries JOIN messages USING (event_id)
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

/// Forgets events that were accepted long ago and have reached everybody.
pub(super) fn forget(tx: &Tx<'_>, before: u64) -> Result<(), StoreError> {
    tx.execute(
        "DELETE messages",
        "DELETE FROM messages WHERE at < ?1 AND event_id NOT IN (SELECT event_id FROM deliveries)",
        [rfc3339(before)],
    )?;
    Ok(())
}
