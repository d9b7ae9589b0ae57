//! Owns showing the journal to people: sagas with their steps and records, as JSON.

use serde_json::Value;

use crate::error::ApiError;
use crate::runtime::Rt;
use crate::store::StoreError;

/// Rows for the debug pages: `active` or `failed` sagas with their steps and log records.
pub async fn rows(rt: &Rt, which: &str, limit: Option<usize>) -> Result<Vec<Value>, ApiError> {
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
