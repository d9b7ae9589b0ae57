//! Owns the outbox's rows: written with the state change, claimed by whoever sends them, settled once they are out. Who
//! sends is `dispatch` for the first attempt and `relay` for all others.

use rusqlite::Row;

use super::envelope::Event;
use super::publisher::{Cause, Staged};
use super::routes;
use crate::clock::rfc3339;
use crate::store::{StoreError, Tx};

pub use super::relay::relay;

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
    tracestate TEXT,
    baggage TEXT NOT NULL,
    created_at TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt_at TEXT NOT NULL,
    published_at TEXT,
    last_error TEXT,
    claimed_by TEXT
);
CREATE INDEX outbox_waiting ON outbox (aggregate_id, id) WHERE published_at IS NULL;
CREATE VIEW ledger_outbox AS
    SELECT id, event_id, aggregate_type, aggregate_id, event_type, order_id, payload, traceparent, created_at, attempts,
           next_attempt_at, published_at, last_error, coalesce(published_at, created_at) AS changed_at
    FROM outbox;
";

/// The most that is claimed at once.
pub(super) const BATCH: usize = 50;

/// Whose rows, and until when they are nobody else's.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    /// Names the instance over restarts of its process.
    pub(super) owner: String,
    pub(super) hold_nano: u64,
}

/// Writes a row that its writer has claimed already: it sends it right after the commit. Answers id and time of the row.
pub(super) fn insert(
    tx: &Tx<'_>,
    event_id: &str,
    event: &Event,
    cause: &Cause,
    claim: &Claim,
) -> Result<(i64, String), StoreError> {
    let now = tx.now();
    let created_at = rfc3339(now);
    tx.execute(
        "INSERT outbox",
        "INSERT INTO outbox (event_id, aggregate_type, aggregate_id, event_type, order_id, saga_id, payload, traceparent,
             baggage, created_at, attempts, next_attempt_at, claimed_by, tracestate)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 1, ?11, ?12, ?13)",
        rusqlite::params![
            event_id,
            event.aggregate_type,
            event.aggregate_id,
            event.event_type,
            event.order_id,
            event.saga_id,
            event.data.to_string(),
            cause.traceparent,
            cause.baggage,
            created_at,
            rfc3339(now + claim.hold_nano),
            claim.owner,
            cause.tracestate,
        ],
    )?;
    Ok((tx.last_id(), created_at))
}

/// A claimed row.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub(super) id: i64,
    pub(super) staged: Staged,
    pub(super) cause: Cause,
    pub(super) created_at: String,
    pub(super) attempts: u32,
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
                row: None,
            },
            cause: Cause {
                traceparent: row.get(7)?,
                tracestate: row.get(13)?,
                baggage: row.get(8)?,
            },
            created_at: row.get(9)?,
            attempts: row.get(10)?,
        },
        event_type,
        aggregate_type,
    ))
}

/// Whether anything may be sent now. Most looks find nothing, and a read costs no lock.
pub(super) fn is_due(tx: &Tx<'_>) -> Result<bool, StoreError> {
    let found = tx.one(
        "SELECT outbox",
        "SELECT 1 FROM outbox WHERE published_at IS NULL AND next_attempt_at <= ?1 LIMIT 1",
        [tx.now_text()],
        |_| Ok(()),
    )?;
    Ok(found.is_some())
}

/// Claims what may be sent now: due, and first of its aggregate.
pub(super) fn claim(tx: &Tx<'_>, claim: &Claim) -> Result<Vec<Waiting>, StoreError> {
    let now = tx.now();
    let rows = tx.all(
        "SELECT outbox",
        "SELECT id, aggregate_type, aggregate_id, event_type, order_id, saga_id, payload, traceparent, baggage, created_at,
             attempts, next_attempt_at, event_id, tracestate
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
            "UPDATE outbox SET attempts = ?2, next_attempt_at = ?3, claimed_by = ?4 WHERE id = ?1",
            (
                waiting.id,
                waiting.attempts,
                rfc3339(now + claim.hold_nano),
                &claim.owner,
            ),
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

/// Rows that are out.
pub(super) fn published(tx: &Tx<'_>, ids: &[i64]) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE outbox",
        "UPDATE outbox SET published_at = ?2, last_error = NULL, claimed_by = NULL
         WHERE id IN (SELECT value FROM json_each(?1))",
        (numbers(ids), tx.now_text()),
    )?;
    Ok(())
}

/// A row that could not be sent, and is tried again after a pause.
pub(super) fn failed(tx: &Tx<'_>, id: i64, pause: u64, error: &str) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE outbox",
        "UPDATE outbox SET next_attempt_at = ?2, last_error = ?3, claimed_by = NULL WHERE id = ?1",
        (id, rfc3339(tx.now() + pause), error),
    )?;
    Ok(())
}

/// Gives rows back that were claimed and not tried.
pub(super) fn release(tx: &Tx<'_>, ids: &[i64]) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE outbox",
        "UPDATE outbox SET next_attempt_at = ?2, attempts = max(attempts - 1, 0), claimed_by = NULL
         WHERE id IN (SELECT value FROM json_each(?1)) AND published_at IS NULL",
        (numbers(ids), tx.now_text()),
    )?;
    Ok(())
}

/// Frees what an earlier process of this instance had claimed when it died.
pub(super) fn take_back(tx: &Tx<'_>, owner: &str) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE outbox",
        "UPDATE outbox SET next_attempt_at = ?2 WHERE published_at IS NULL AND claimed_by = ?1",
        (owner, tx.now_text()),
    )?;
    Ok(())
}

/// Whether rows of an aggregate still wait.
pub(super) fn has_waiting(tx: &Tx<'_>, aggregate_id: &str) -> Result<bool, StoreError> {
    let found = tx.one(
        "SELECT outbox",
        "SELECT 1 FROM outbox WHERE aggregate_id = ?1 AND published_at IS NULL LIMIT 1",
        [aggregate_id],
        |_| Ok(()),
    )?;
    Ok(found.is_some())
}

/// How many rows wait, and since when.
pub(super) fn lag(tx: &Tx<'_>) -> Result<(i64, Option<String>), StoreError> {
    let found = tx.one(
        "SELECT outbox",
        "SELECT count(*), min(created_at) FROM outbox WHERE published_at IS NULL",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    Ok(found.unwrap_or_default())
}

fn numbers(ids: &[i64]) -> String {
    let texts: Vec<String> = ids.iter().map(i64::to_string).collect();
    format!("[{}]", texts.join(","))
}
