//! Reading the saga journal back: one saga, those nobody works on, and rows for the debug pages.

use serde_json::Value;

use super::{Data, Saga, Status, StepRow, StepStatus};
use crate::error::ApiError;
use crate::runtime::Rt;
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

/// Rows for the debug pages: `active` or `failed` sagas with their steps and log records.
pub async fn debug_rows(
    rt: &Rt,
    which: &str,
    limit: Option<usize>,
) -> Result<Vec<Value>, ApiError> {
    let filter = match which {
        "active" => "status IN ('initiated', 'running', 'compensating')",
        "failed" => "status = 'failed'",
        "all" => "1",
        _ => {
            return Err(ApiError::not_found(
                "NOT_FOUND",
                "sagas are listed as active, failed or all",
            ));
        }
    };
    let sql = format!(
        "SELECT json_object('saga_id', saga_id, 'model', model, 'model_version', model_version,
             'operation_id', operation_id, 'order_id', order_id, 'user_id', user_id, 'status', status,
             'current_state', current_state, 'completed_steps', json(completed_steps), 'saga_data', json(saga_data),
             'compensation_reason', compensation_reason, 'compensation_started_at', compensation_started_at,
             'compensations_attempted', compensations_attempted, 'compensations_succeeded', compensations_succeeded,
             'compensations_failed', compensations_failed, 'compensations_pending', compensations_pending,
             'manual_intervention_required', json(iif(manual_intervention_required, 'true', 'false')),
             'retry_policy', json(retry_policy), 'lease_owner', lease_owner, 'lease_expires_at', lease_expires_at,
             'version', version, 'traceparent', traceparent, 'trace_id', substr(traceparent, 4, 32),
             'created_at', created_at, 'updated_at', updated_at,
             'steps', json((SELECT json_group_array(json_object('saga_id', saga_id, 'step_id', step_id, 'ordinal', ordinal,
                 'step_name', step_name, 'service_name', service_name, 'forward_op', json(forward_op),
                 'compensation_op', json(compensation_op), 'idempotency_key', idempotency_key,
                 'compensation_key', compensation_key, 'status', status, 'retry_count', retry_count,
                 'started_at', started_at, 'completed_at', completed_at, 'error_details', error_details,
                 'result', json(result)) ORDER BY ordinal) FROM saga_steps s WHERE s.saga_id = sagas.saga_id)),
             'log', json((SELECT json_group_array(json_object('seq', seq, 'saga_id', saga_id, 'at', at, 'kind', kind,
                 'step_id', step_id, 'attempt', attempt, 'outcome', outcome, 'error_code', error_code,
                 'error_details', error_details, 'traceparent', traceparent, 'instance_id', instance_id) ORDER BY seq)
                 FROM saga_log l WHERE l.saga_id = sagas.saga_id)))
         FROM sagas WHERE {filter} ORDER BY updated_at DESC LIMIT {}",
        limit.unwrap_or(1_000).min(1_000_000)
    );
    let texts = rt
        .store()?
        .list::<_, StoreError, _>(move |tx| {
            tx.all("SELECT sagas", &sql, [], |row| row.get::<_, String>(0))
        })
        .await?;
    let now = rt.clock.now();
    let mut rows = Vec::new();
    for text in texts {
        let mut row: Value =
            serde_json::from_str(&text).map_err(|error| ApiError::internal(error.to_string()))?;
        let updated = row["updated_at"]
            .as_str()
            .and_then(crate::clock::parse_rfc3339)
            .unwrap_or(now);
        row["age_ms"] = (now.saturating_sub(updated) / 1_000_000).into();
        // What a saga carries on from its request may name an injected behaviour.
        if rt.config.blind
            && let Some(data) = row["saga_data"].as_object_mut()
        {
            data.remove("baggage");
        }
        rows.push(row);
    }
    Ok(rows)
}
