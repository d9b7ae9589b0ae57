//! Owns idempotency records: one key, one effect. The record is completed in the transaction of the effect itself, so
//! that a crash between the two is impossible.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tonic::Code;

use crate::clock::rfc3339;
use crate::context;
use crate::error::ApiError;
use crate::faults::saga;
use crate::ids::hex;
use crate::runtime::Rt;
use crate::store::{StoreError, Tx};
use crate::telemetry::Attributes;

/// The table and its ledger; part of every store that serves keyed methods.
pub const SCHEMA: &str = "
CREATE TABLE idempotency (
    idempotency_key TEXT PRIMARY KEY,
    method TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    status TEXT NOT NULL,
    owner TEXT NOT NULL,
    response BLOB,
    error_details TEXT,
    created_at TEXT NOT NULL,
    completed_at TEXT,
    expires_at TEXT NOT NULL
);
CREATE VIEW ledger_idempotency AS
    SELECT idempotency_key, method, request_hash, status, error_details, created_at, completed_at, expires_at,
           coalesce(completed_at, created_at) AS changed_at
    FROM idempotency;
";

const TTL_NANO: u64 = 24 * 3_600 * 1_000_000_000;
const WAIT: Duration = Duration::from_secs(2);
const TAKE_OVER: Duration = Duration::from_secs(60);

/// What the record says about a request.
pub enum Begin {
    /// It is the first: run it, then complete or abandon the ticket.
    Run(Ticket),
    /// It was answered before: with this.
    Replay(Result<Vec<u8>, ApiError>),
}

/// The right to run the operation of a key.
#[derive(Debug, Clone)]
pub struct Ticket {
    key: String,
    /// False under the fault that switches keys off: nothing is looked up and nothing kept.
    recorded: bool,
}

#[derive(Serialize, serde::Deserialize)]
struct StoredError {
    code: i32,
    reason: String,
    message: String,
    facts: Vec<(String, String)>,
}

enum Look {
    Mine,
    Completed(Vec<u8>),
    Failed(String),
    OtherHash,
    Busy,
}

/// Starts a keyed request of `method` with its canonical payload.
pub async fn begin(
    rt: &Rt,
    key: Option<&str>,
    method: &'static str,
    payload: &Value,
) -> Result<Begin, ApiError> {
    let key = key.filter(|key| !key.is_empty()).ok_or_else(|| {
        ApiError::new(
            Code::InvalidArgument,
            "IDEMPOTENCY_KEY_REQUIRED",
            "this method needs an idempotency key",
        )
    })?;
    if key.len() > 512 {
        return Err(ApiError::invalid(
            "an idempotency key has at most 512 bytes",
        ));
    }
    if rt.faults.is_on("idempotency_off") {
        return Ok(Begin::Run(Ticket {
            key: key.to_owned(),
            recorded: false,
        }));
    }
    let hash = request_hash(method, payload);
    let deadline = tokio::time::Instant::now() + WAIT;
    loop {
        let look = {
            let (key, hash, owner) = (key.to_owned(), hash.clone(), rt.instance_id().to_owned());
            let stale = rt.clock.scaled(TAKE_OVER).as_nanos() as u64;
            let hash = (!rt.faults.is_on("request_hash_ignored")).then_some(hash);
            // Flushed with the effect: until then nothing has happened that a repetition could double.
            rt.store()?
                .note::<_, StoreError, _>(move |tx| {
                    look(tx, &key, method, hash.as_deref(), &owner, stale)
                })
                .await?
        };
        let result = match look {
            Look::Mine => "executed",
            Look::Completed(_) | Look::Failed(_) => "replayed",
            Look::OtherHash => "conflict",
            Look::Busy if tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(25)).await;
                continue;
            }
            Look::Busy => "in_progress",
        };
        note(rt, result);
        if matches!(look, Look::Mine) {
            saga::die_as_callee(rt, method, saga::Done::Noted);
        }
        return match look {
            Look::Mine => Ok(Begin::Run(Ticket {
                key: key.to_owned(),
                recorded: true,
            })),
            Look::Completed(bytes) => Ok(Begin::Replay(Ok(bytes))),
            Look::Failed(text) => Ok(Begin::Replay(Err(read_error(&text)))),
            Look::OtherHash => Err(ApiError::new(
                Code::InvalidArgument,
                "IDEMPOTENCY_KEY_REUSED",
                "this idempotency key was used for another request",
            )),
            Look::Busy => Err(ApiError::new(
                Code::Aborted,
                "OPERATION_IN_PROGRESS",
                "the same request is still being worked on",
            )),
        };
    }
}

fn look(
    tx: &Tx<'_>,
    key: &str,
    method: &str,
    hash: Option<&str>,
    owner: &str,
    stale: u64,
) -> Result<Look, StoreError> {
    let now = tx.now();
    let inserted = tx.execute(
        "INSERT idempotency",
        "INSERT INTO idempotency (idempotency_key, method, request_hash, status, owner, created_at, expires_at)
         VALUES (?1, ?2, ?3, 'in_progress', ?4, ?5, ?6) ON CONFLICT DO NOTHING",
        (
            key,
            method,
            hash.unwrap_or_default(),
            owner,
            rfc3339(now),
            rfc3339(now + TTL_NANO),
        ),
    )?;
    if inserted == 1 {
        return Ok(Look::Mine);
    }
    let row = tx.one(
        "SELECT idempotency",
        "SELECT request_hash, status, response, error_details, created_at FROM idempotency WHERE idempotency_key = ?1",
        [key],
        |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, Option<Vec<u8>>>(2)?,
                row.get::<_, Option<String>>(3)?,
                row.get::<_, String>(4)?,
            ))
        },
    )?;
    let Some((known, status, response, error, created)) = row else {
        return Ok(Look::Busy);
    };
    if hash.is_some_and(|hash| known != hash) {
        return Ok(Look::OtherHash);
    }
    match status.as_str() {
        "completed" => Ok(Look::Completed(response.unwrap_or_default())),
        "failed" => Ok(Look::Failed(error.unwrap_or_default())),
        _ if created < rfc3339(now.saturating_sub(stale)) => {
            tx.execute(
                "UPDATE idempotency",
                "UPDATE idempotency SET owner = ?2, created_at = ?3 WHERE idempotency_key = ?1",
                (key, owner, rfc3339(now)),
            )?;
            Ok(Look::Mine)
        }
        _ => Ok(Look::Busy),
    }
}

fn note(rt: &Rt, result: &'static str) {
    rt.telemetry.metrics().add(
        "shop_idempotency_total",
        &[("service", rt.spec.name), ("result", result)],
        1.0,
    );
    if let Some(span) = context::current().span {
        span.set("shop.idempotency.result", result);
    }
    match result {
        "replayed" => {
            rt.telemetry.info(
                "idempotency.replayed",
                "answered from the idempotency record",
                Attributes::new(),
            );
        }
        "conflict" => {
            rt.telemetry.warn(
                "idempotency.conflict",
                "idempotency key reused for another request",
                Attributes::new(),
            );
        }
        _ => {}
    }
}

impl Ticket {
    /// Whether the key is looked at; without, a repetition is a request of its own.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.recorded
    }

    /// Stores the success, in the transaction of the effect.
    pub fn complete(&self, tx: &Tx<'_>, response: &[u8]) -> Result<(), StoreError> {
        if !self.recorded {
            return Ok(());
        }
        tx.execute(
            "UPDATE idempotency",
            "UPDATE idempotency SET status = 'completed', response = ?2, completed_at = ?3 WHERE idempotency_key = ?1",
            (&self.key, response, tx.now_text()),
        )?;
        Ok(())
    }

    /// Stores a refusal that would come again.
    pub fn refuse(&self, tx: &Tx<'_>, error: &ApiError) -> Result<(), StoreError> {
        if !self.recorded {
            return Ok(());
        }
        let stored = StoredError {
            code: error.code as i32,
            reason: error.reason.clone(),
            message: error.message.clone(),
            facts: error.facts.clone(),
        };
        let text = serde_json::to_string(&stored)
            .map_err(|error| StoreError::Corrupt(error.to_string()))?;
        tx.execute(
            "UPDATE idempotency",
            "UPDATE idempotency SET status = 'failed', error_details = ?2, completed_at = ?3 WHERE idempotency_key = ?1",
            (&self.key, text, tx.now_text()),
        )?;
        Ok(())
    }

    /// Forgets the request after a failure that may not come again, so that it can be repeated.
    pub fn forget(&self, tx: &Tx<'_>) -> Result<(), StoreError> {
        if !self.recorded {
            return Ok(());
        }
        tx.execute(
            "DELETE idempotency",
            "DELETE FROM idempotency WHERE idempotency_key = ?1",
            [&self.key],
        )?;
        Ok(())
    }

    /// Settles a failed operation in a transaction of its own.
    pub async fn settle_failure(self, rt: &Rt, error: &ApiError) -> Result<(), ApiError> {
        let error = error.clone();
        rt.store()?
            .write::<_, StoreError, _>(move |tx| {
                if error.is_definite() {
                    self.refuse(tx, &error)
                } else {
                    self.forget(tx)
                }
            })
            .await?;
        Ok(())
    }
}

fn read_error(text: &str) -> ApiError {
    match serde_json::from_str::<StoredError>(text) {
        Ok(stored) => {
            let mut error =
                ApiError::new(Code::from_i32(stored.code), stored.reason, stored.message);
            error.facts = stored.facts;
            error
        }
        Err(_) => ApiError::internal("the stored outcome of this request is not readable"),
    }
}

/// SHA-256 of method and payload as canonical JSON, with the length included.
fn request_hash(method: &str, payload: &Value) -> String {
    // serde_json keeps object keys sorted, so equal payloads are written equally.
    let text = serde_json::json!({ "method": method, "payload": payload }).to_string();
    let mut hasher = Sha256::new();
    hasher.update((text.len() as u64).to_be_bytes());
    hasher.update(text.as_bytes());
    hex(&hasher.finalize())
}

/// Deletes records whose time is over, every minute.
pub async fn purge(rt: Rt) {
    let mut stopping = rt.stopping();
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(60)) => {}
            _ = stopping.changed() => return,
        }
        let Ok(store) = rt.store() else { return };
        // A purge that fails runs again in a minute.
        let _ = store
            .note::<_, StoreError, _>(|tx| {
                tx.execute(
                    "DELETE idempotency",
                    "DELETE FROM idempotency WHERE expires_at < ?1",
                    [tx.now_text()],
                )
            })
            .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_ignores_key_order_and_sees_method_and_payload() {
        let one = serde_json::json!({"a": 1, "b": 2});
        let other = serde_json::json!({"b": 2, "a": 1});
        assert_eq!(request_hash("m", &one), request_hash("m", &other));
        assert_ne!(request_hash("m", &one), request_hash("n", &one));
        assert_ne!(
            request_hash("m", &one),
            request_hash("m", &serde_json::json!({"a": 1, "b": 3}))
        );
    }
}
