//! Owns the saga journal: its tables, and every record written to it. Each function is one flushed transaction, or part
//! of the caller's; nothing here decides what a saga does next.

mod cancel;
mod read;

use serde_json::{Value, json};

use super::spoilt::{Fate, Spoilt};
use super::types::{
    Data, Failure, Model, Saga, Status, StepDef, StepRow, StepStatus, compensation_key, forward_key,
};
use crate::clock::rfc3339;
use crate::runtime::Rt;
use crate::services::order_management::orders;
use crate::store::{StoreError, Tx};

pub use cancel::{is_cancel_requested, is_open, request_cancel};
pub use read::{abandoned, abandoned_at_the_start, load, order_of, steps};

pub const SCHEMA: &str = "
CREATE TABLE sagas (
    saga_id TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    model_version INTEGER NOT NULL DEFAULT 1,
    operation_id TEXT,
    order_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    status TEXT NOT NULL,
    current_state TEXT NOT NULL,
    completed_steps TEXT NOT NULL,
    saga_data TEXT NOT NULL,
    compensation_reason TEXT,
    compensation_started_at TEXT,
    compensations_attempted INTEGER NOT NULL DEFAULT 0,
    compensations_succeeded INTEGER NOT NULL DEFAULT 0,
    compensations_failed INTEGER NOT NULL DEFAULT 0,
    compensations_pending INTEGER NOT NULL DEFAULT 0,
    manual_intervention_required INTEGER NOT NULL DEFAULT 0,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    retry_policy TEXT NOT NULL,
    lease_owner TEXT,
    lease_expires_at TEXT,
    version INTEGER NOT NULL DEFAULT 1,
    traceparent TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE INDEX sagas_open ON sagas (status, lease_expires_at);
CREATE INDEX sagas_order ON sagas (order_id);
CREATE INDEX sagas_operation ON sagas (operation_id) WHERE operation_id IS NOT NULL;
CREATE TABLE saga_steps (
    saga_id TEXT NOT NULL,
    step_id TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    step_name TEXT NOT NULL,
    service_name TEXT NOT NULL,
    forward_op TEXT NOT NULL,
    compensation_op TEXT,
    idempotency_key TEXT NOT NULL,
    compensation_key TEXT,
    status TEXT NOT NULL,
    retry_count INTEGER NOT NULL DEFAULT 0,
    started_at TEXT,
    completed_at TEXT,
    error_details TEXT,
    result TEXT,
    PRIMARY KEY (saga_id, ordinal)
);
CREATE TABLE saga_log (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    saga_id TEXT NOT NULL,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    step_id TEXT,
    attempt INTEGER,
    outcome TEXT,
    error_code TEXT,
    error_details TEXT,
    traceparent TEXT,
    instance_id TEXT NOT NULL
);
CREATE INDEX saga_log_saga ON saga_log (saga_id);
";

const RETRY_POLICY: &str =
    r#"{"unknown_outcome":[1,2,4],"compensation":{"base_s":1,"cap_s":60,"attempts":8}}"#;

/// One entry of the append-only log.
#[derive(Debug, Clone, Default)]
pub struct Entry<'a> {
    pub kind: &'static str,
    pub step: Option<&'a str>,
    pub attempt: Option<u32>,
    pub outcome: Option<&'static str>,
    pub error: Option<(&'a str, &'a str)>,
}

/// What becomes of a step's row; absent texts leave what stands there.
#[derive(Debug, Clone, Copy)]
pub struct StepChange<'a> {
    pub ordinal: usize,
    pub status: StepStatus,
    pub retry_count: u32,
    pub error: Option<&'a str>,
    pub result: Option<&'a Value>,
}

impl StepChange<'_> {
    #[must_use]
    pub fn to(ordinal: usize, status: StepStatus, attempt: u32) -> Self {
        Self {
            ordinal,
            status,
            retry_count: attempt.saturating_sub(1),
            error: None,
            result: None,
        }
    }
}

/// Who writes, and under which lease.
#[derive(Debug, Clone)]
pub struct Writer {
    pub(super) instance_id: String,
    pub(super) lease_nano: u64,
    spoilt: Spoilt,
}

/// A record with texts of its own.
#[derive(Debug, Clone)]
struct Line {
    at: String,
    kind: &'static str,
    step: Option<String>,
    attempt: Option<u32>,
    outcome: Option<&'static str>,
    error: Option<(String, String)>,
}

impl Writer {
    #[must_use]
    pub fn new(rt: &Rt, lease_nano: u64) -> Self {
        Self {
            instance_id: rt.instance_id().to_owned(),
            lease_nano,
            spoilt: Spoilt::new(rt),
        }
    }

    pub fn append(&self, tx: &Tx<'_>, saga: &Saga, entry: &Entry<'_>) -> Result<(), StoreError> {
        let attempt = if self.spoilt.forgets_count() {
            entry.attempt.map(|_| 1)
        } else {
            entry.attempt
        };
        let line = Line {
            at: tx.now_text(),
            kind: entry.kind,
            step: entry.step.map(str::to_owned),
            attempt,
            outcome: entry.outcome,
            error: entry
                .error
                .map(|(code, details)| (code.to_owned(), details.to_owned())),
        };
        match self.spoilt.fate(entry, &saga.saga_id) {
            Fate::Dropped => return Ok(()),
            Fate::AfterIntent => {
                let intent = Line {
                    kind: "step_intent",
                    outcome: None,
                    error: None,
                    ..line.clone()
                };
                self.insert(tx, saga, intent)?;
            }
            Fate::Written => {}
        }
        self.insert(tx, saga, line)
    }

    fn insert(&self, tx: &Tx<'_>, saga: &Saga, line: Line) -> Result<(), StoreError> {
        let of = (
            saga.saga_id.clone(),
            saga.traceparent.clone(),
            self.instance_id.clone(),
        );
        self.spoilt.write(tx, move |tx| {
            let (saga_id, traceparent, instance_id) = of;
            let (code, details) = line.error.unzip();
            tx.execute(
                "INSERT saga_log",
                "INSERT INTO saga_log
                     (saga_id, at, kind, step_id, attempt, outcome, error_code, error_details, traceparent, instance_id)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                (
                    saga_id,
                    line.at,
                    line.kind,
                    line.step,
                    line.attempt,
                    line.outcome,
                    code,
                    details,
                    traceparent,
                    instance_id,
                ),
            )
            .map(|_| ())
        })
    }

    /// Writes a new saga with all its steps pending, under this writer's lease.
    pub fn start(&self, tx: &Tx<'_>, saga: &Saga, model: &dyn Model) -> Result<(), StoreError> {
        let (new, steps, owner) = (saga.clone(), model.steps(), self.instance_id.clone());
        let lease = rfc3339(tx.now() + self.lease_nano);
        let data = self.spoilt.torn(json_text(&saga.data)?);
        self.spoilt.write(tx, move |tx| {
            insert_saga(tx, &new, &data, steps, (&owner, &lease))
        })?;
        self.append(
            tx,
            saga,
            &Entry {
                kind: "started",
                ..Entry::default()
            },
        )
    }

    /// Writes that a step is about to be sent.
    pub fn intend(
        &self,
        tx: &Tx<'_>,
        saga: &Saga,
        ordinal: usize,
        attempt: u32,
    ) -> Result<(), StoreError> {
        let change = StepChange::to(ordinal, StepStatus::InProgress, attempt);
        self.set_step(tx, saga, &change)?;
        let id = step_id(saga, ordinal);
        let entry = Entry {
            kind: "step_intent",
            step: Some(&id),
            attempt: Some(attempt),
            ..Entry::default()
        };
        self.append(tx, saga, &entry)
    }

    /// Writes the saga row as it now is. A row that someone else changed meanwhile refuses.
    pub fn save(&self, tx: &Tx<'_>, saga: &mut Saga) -> Result<(), StoreError> {
        let now = rfc3339(tx.now());
        let lease = (!saga.status.is_terminal()).then(|| rfc3339(tx.now() + self.lease_nano));
        let (mut row, owner) = (saga.clone(), self.instance_id.clone());
        row.updated_at.clone_from(&now);
        if self.spoilt.lacks_fields() {
            row.updated_at.clear();
            row.completed_steps.clear();
        }
        let data = self.spoilt.torn(json_text(&saga.data)?);
        self.spoilt.write(tx, move |tx| {
            update_saga(tx, &row, &data, &owner, lease.as_deref())
        })?;
        saga.version += 1;
        saga.updated_at = now;
        Ok(())
    }

    /// Notes that compensation has begun, with how much is to undo.
    pub fn count_compensation(
        &self,
        tx: &Tx<'_>,
        saga: &Saga,
        pending: usize,
    ) -> Result<(), StoreError> {
        tx.execute(
            "UPDATE sagas",
            "UPDATE sagas SET compensation_started_at = coalesce(compensation_started_at, ?2),
                 compensations_pending = ?3 WHERE saga_id = ?1",
            (&saga.saga_id, tx.now_text(), pending as i64),
        )?;
        Ok(())
    }

    /// Notes how one compensation ended.
    pub fn count_compensated(
        &self,
        tx: &Tx<'_>,
        saga: &Saga,
        succeeded: bool,
    ) -> Result<(), StoreError> {
        tx.execute(
            "UPDATE sagas",
            "UPDATE sagas SET compensations_attempted = compensations_attempted + 1,
                 compensations_succeeded = compensations_succeeded + ?2,
                 compensations_failed = compensations_failed + 1 - ?2,
                 compensations_pending = max(compensations_pending - 1, 0) WHERE saga_id = ?1",
            (&saga.saga_id, succeeded),
        )?;
        Ok(())
    }

    pub fn set_step(
        &self,
        tx: &Tx<'_>,
        saga: &Saga,
        change: &StepChange<'_>,
    ) -> Result<(), StoreError> {
        if self.spoilt.is_late() && change.status == StepStatus::InProgress {
            return Ok(());
        }
        let retries = if self.spoilt.forgets_count() {
            0
        } else {
            change.retry_count
        };
        let now = tx.now_text();
        let started = (change.status == StepStatus::InProgress).then(|| now.clone());
        let ended = matches!(
            change.status,
            StepStatus::Completed | StepStatus::Failed | StepStatus::Compensated
        );
        let (saga_id, ordinal, status) = (
            saga.saga_id.clone(),
            change.ordinal as i64 + 1,
            change.status,
        );
        let (error, result) = (
            change.error.map(str::to_owned),
            change.result.map(Value::to_string),
        );
        self.spoilt.write(tx, move |tx| {
            tx.execute(
                "UPDATE saga_steps",
                "UPDATE saga_steps SET status = ?3, retry_count = ?4, started_at = coalesce(started_at, ?5),
                     completed_at = coalesce(?6, completed_at), error_details = coalesce(?7, error_details),
                     result = coalesce(?8, result)
                 WHERE saga_id = ?1 AND ordinal = ?2",
                rusqlite::params![
                    saga_id,
                    ordinal,
                    status.as_str(),
                    retries,
                    started,
                    ended.then_some(now),
                    error,
                    result,
                ],
            )
            .map(|_| ())
        })
    }

    /// Takes every step back to where it began.
    pub fn reset_steps(&self, tx: &Tx<'_>, saga: &Saga) -> Result<(), StoreError> {
        tx.execute(
            "UPDATE saga_steps",
            "UPDATE saga_steps SET status = 'pending', retry_count = 0 WHERE saga_id = ?1",
            [&saga.saga_id],
        )?;
        Ok(())
    }

    /// Prolongs every lease that this instance holds.
    pub fn renew(&self, tx: &Tx<'_>) -> Result<usize, StoreError> {
        tx.execute(
            "UPDATE sagas",
            "UPDATE sagas SET lease_expires_at = ?2
             WHERE lease_owner = ?1 AND status IN ('initiated', 'running', 'compensating')",
            (&self.instance_id, rfc3339(tx.now() + self.lease_nano)),
        )
    }

    /// Takes the lease of an open saga whose owner let it lapse; `None` if somebody else was faster.
    pub fn take(&self, tx: &Tx<'_>, saga_id: &str) -> Result<Option<Saga>, StoreError> {
        let now = tx.now();
        let taken = tx.execute(
            "UPDATE sagas",
            "UPDATE sagas SET lease_owner = ?2, lease_expires_at = ?3, version = version + 1
             WHERE saga_id = ?1 AND status IN ('initiated', 'running', 'compensating')
               AND (lease_expires_at IS NULL OR lease_expires_at < ?4)",
            (
                saga_id,
                &self.instance_id,
                rfc3339(now + self.lease_nano),
                rfc3339(now),
            ),
        )?;
        if taken == 0 {
            return Ok(None);
        }
        let saga = load(tx, saga_id)?;
        if let Some(saga) = &saga {
            self.append(
                tx,
                saga,
                &Entry {
                    kind: "lease",
                    ..Entry::default()
                },
            )?;
        }
        Ok(saga)
    }
}

fn insert_saga(
    tx: &Tx<'_>,
    saga: &Saga,
    data: &str,
    steps: &'static [StepDef],
    (owner, lease): (&str, &str),
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT sagas",
        "INSERT INTO sagas (saga_id, model, operation_id, order_id, user_id, status, current_state, completed_steps,
             saga_data, retry_policy, lease_owner, lease_expires_at, traceparent, created_at, updated_at,
             compensation_reason)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?14, ?8, ?9, ?10, ?11, ?12, ?13, ?13, ?15)",
        rusqlite::params![
            saga.saga_id,
            saga.model,
            saga.operation_id,
            saga.order_id,
            saga.user_id,
            saga.status.as_str(),
            saga.current_state,
            data,
            RETRY_POLICY,
            owner,
            lease,
            saga.traceparent,
            saga.created_at,
            json_text(&saga.completed_steps)?,
            saga.compensation_reason,
        ],
    )?;
    for (ordinal, step) in steps.iter().enumerate() {
        // A saga that begins with its way back has its steps behind it.
        let done = saga.completed_steps.iter().any(|name| name == step.name);
        let status = if done {
            StepStatus::Completed
        } else {
            StepStatus::Pending
        };
        let forward =
            json!({ "method": step.forward, "timeout_ms": step.timeout.as_millis() as u64 });
        let undo = step
            .compensation
            .map(|(method, _)| json!({ "method": method }).to_string());
        tx.execute(
            "INSERT saga_steps",
            "INSERT INTO saga_steps (saga_id, step_id, ordinal, step_name, service_name, forward_op, compensation_op,
                 idempotency_key, compensation_key, status)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            rusqlite::params![
                saga.saga_id,
                step_id(saga, ordinal),
                ordinal as i64 + 1,
                step.name,
                step.service,
                forward.to_string(),
                undo,
                forward_key(saga, step),
                compensation_key(saga, step),
                status.as_str(),
            ],
        )?;
    }
    Ok(())
}

/// A saga that has ended gives its lease up.
fn update_saga(
    tx: &Tx<'_>,
    saga: &Saga,
    data: &str,
    owner: &str,
    lease: Option<&str>,
) -> Result<(), StoreError> {
    let changed = tx.execute(
        "UPDATE sagas",
        "UPDATE sagas SET status = ?3, current_state = ?4, completed_steps = ?5, saga_data = ?6,
             compensation_reason = ?7, manual_intervention_required = ?8, updated_at = ?9,
             lease_owner = CASE WHEN ?10 IS NULL THEN NULL ELSE ?11 END, lease_expires_at = ?10,
             version = version + 1
         WHERE saga_id = ?1 AND version = ?2",
        rusqlite::params![
            saga.saga_id,
            saga.version,
            saga.status.as_str(),
            saga.current_state,
            json_text(&saga.completed_steps)?,
            data,
            saga.compensation_reason,
            saga.manual_intervention_required,
            saga.updated_at,
            lease,
            owner,
        ],
    )?;
    if changed != 1 {
        return Err(StoreError::Conflict(format!(
            "saga {} was changed by another instance",
            saga.saga_id
        )));
    }
    Ok(())
}

#[must_use]
pub fn step_id(saga: &Saga, ordinal: usize) -> String {
    format!("{}-{}", saga.saga_id, ordinal + 1)
}

fn json_text(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// Cancels the orders of all open sagas, as their customers may do at any time.
pub fn close_orders(tx: &Tx<'_>) -> Result<(), StoreError> {
    let open = tx.all(
        "SELECT sagas",
        "SELECT order_id, saga_id, substr(traceparent, 4, 32) FROM sagas WHERE status IN ('initiated', 'running')",
        [],
        |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?)),
    )?;
    for (order_id, saga_id, trace_id) in &open {
        let which = orders::Which {
            order_id,
            saga_id,
            trace_id,
        };
        let change = orders::Event {
            to: "CANCELLED",
            event: "customer cancelled",
            ..orders::Event::default()
        };
        orders::advance(tx, which, "", &change)?;
    }
    Ok(())
}

pub fn failure_of(saga: &Saga) -> Failure {
    saga.data.failure.clone().unwrap_or_default()
}
