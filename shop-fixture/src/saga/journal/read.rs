//! Reading the saga journal back: one saga, its steps, and those nobody works on.

use super::{Data, Saga, Status, StepRow, StepStatus};
use crate::store::{StoreError, Tx};

pub fn load(tx: &Tx<'_>, saga_id: &str) -> Result<Option<Saga>, StoreError> {
    let row = tx.one(
        "SELECT sagas",
        "SELECT saga_id, model, operation_id, order_id, user_id, status, current_state, completed_steps, saga_data,
             compensation_reason, manual_intervention_required, version, traceparent, created_at, updated_at
         FROM sagas WHERE saga_id = ?1",
        [saga_id],
        |row| {
            Ok((
                Saga {
                    saga_id: row.get(0)?,
                    model: row.get(1)?,
                    operation_id: row.get(2)?,
                    order_id: row.get(3)?,
                    user_id: row.get(4)?,
                    status: Status::Initiated,
                    current_state: row.get(6)?,
                    completed_steps: Vec::new(),
                    data: Data::default(),
                    compensation_reason: row.get(9)?,
                    manual_intervention_required: row.get(10)?,
                    version: row.get(11)?,
                    traceparent: row.get(12)?,
                    created_at: row.get(13)?,
                    updated_at: row.get(14)?,
                },
                row.get::<_, String>(5)?,
                row.get::<_, String>(7)?,
                row.get::<_, String>(8)?,
            ))
        },
    )?;
    let Some((mut saga, status, completed, data)) = row else {
        return Ok(None);
    };
    let corrupt = |what: &str| StoreError::Corrupt(format!("{what} of saga {saga_id}"));
    saga.status = Status::parse(&status).ok_or_else(|| corrupt("status"))?;
    saga.completed_steps =
        serde_json::from_str(&completed).map_err(|_| corrupt("completed steps"))?;
    saga.data = serde_json::from_str(&data).map_err(|_| corrupt("data"))?;
    Ok(Some(saga))
}

pub fn steps(tx: &Tx<'_>, saga_id: &str) -> Result<Vec<StepRow>, StoreError> {
    let rows = tx.all(
        "SELECT saga_steps",
        "SELECT ordinal, status, retry_count FROM saga_steps WHERE saga_id = ?1 ORDER BY ordinal",
        [saga_id],
        |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, u32>(2)?,
            ))
        },
    )?;
    rows.into_iter()
        .map(|(ordinal, status, retry_count)| {
            let status = StepStatus::parse(&status)
                .ok_or_else(|| StoreError::Corrupt(format!("step {ordinal} of saga {saga_id}")))?;
            Ok(StepRow {
                ordinal: (ordinal - 1).max(0) as usize,
                status,
                retry_count,
            })
        })
        .collect()
}

/// Open sagas without a live lease, oldest first.
pub fn abandoned(tx: &Tx<'_>) -> Result<Vec<String>, StoreError> {
    tx.all(
        "SELECT sagas",
        "SELECT saga_id FROM sagas WHERE status IN ('initiated', 'running', 'compensating')
           AND (lease_expires_at IS NULL OR lease_expires_at < ?1) ORDER BY created_at LIMIT 100",
        [tx.now_text()],
        |row| row.get(0),
    )
}

/// The order that an operation has led to.
pub fn order_of(tx: &Tx<'_>, operation_id: &str) -> Result<Option<String>, StoreError> {
    tx.one(
        "SELECT sagas",
        "SELECT order_id FROM sagas WHERE operation_id = ?1 ORDER BY created_at LIMIT 1",
        [operation_id],
        |row| row.get(0),
    )
}

/// Those of them alone that have done nothing yet.
pub fn abandoned_at_the_start(tx: &Tx<'_>) -> Result<Vec<String>, StoreError> {
    tx.all(
        "SELECT sagas",
        "SELECT saga_id FROM sagas WHERE current_state = 'initiated' AND status IN ('initiated', 'running')
           AND (lease_expires_at IS NULL OR lease_expires_at < ?1) ORDER BY created_at LIMIT 100",
        [tx.now_text()],
        |row| row.get(0),
    )
}
