//! Owns what can still be done for a saga whose row in the journal is damaged.

use super::journal::Writer;
use super::types::{Data, Failure, Saga, Status, StepDef};
use crate::clock::rfc3339;
use crate::store::{StoreError, Tx};

/// Takes over a saga whose row cannot be read: what its steps say is all that is known. What was to be bought is lost, so
/// there is no way forward any more unless everything that counts was done.
pub(super) fn salvage(
    tx: &Tx<'_>,
    writer: &Writer,
    saga_id: &str,
    steps: impl FnOnce(&str) -> Option<&'static [StepDef]>,
) -> Result<Option<Saga>, StoreError> {
    let now = tx.now();
    let taken = tx.execute(
        "UPDATE sagas",
        "UPDATE sagas SET lease_owner = ?2, lease_expires_at = ?3, version = version + 1
         WHERE saga_id = ?1 AND status NOT IN ('completed', 'failed')
           AND (lease_expires_at IS NULL OR lease_expires_at < ?4)",
        (
            saga_id,
            &writer.instance_id,
            rfc3339(now + writer.lease_nano),
            rfc3339(now),
        ),
    )?;
    if taken == 0 {
        return Ok(None);
    }
    let row = tx.one(
        "SELECT sagas",
        "SELECT model, order_id, user_id, version, traceparent, created_at, updated_at FROM sagas WHERE saga_id = ?1",
        [saga_id],
        |row| {
            Ok(Saga {
                saga_id: saga_id.to_owned(),
                model: row.get(0)?,
                operation_id: None,
                order_id: row.get(1)?,
                user_id: row.get(2)?,
                status: Status::Compensating,
                current_state: "salvaged".to_owned(),
                completed_steps: Vec::new(),
                data: Data::default(),
                compensation_reason: Some("recovery: the journal is damaged".to_owned()),
                manual_intervention_required: false,
                version: row.get(3)?,
                traceparent: row.get(4)?,
                created_at: row.get(5)?,
                updated_at: row.get(6)?,
            })
        },
    )?;
    let Some(mut saga) = row else { return Ok(None) };
    let rows = tx.all(
        "SELECT saga_steps",
        "SELECT step_name, status, result FROM saga_steps WHERE saga_id = ?1 ORDER BY ordinal",
        [saga_id],
        |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, Option<String>>(2)?,
            ))
        },
    )?;
    let known = steps(&saga.model).unwrap_or_default();
    let mut whole = true;
    let mut failed_at = String::new();
    for (name, status, result) in rows {
        let step = known.iter().find(|step| step.name == name);
        let completed = status == "completed";
        if !completed && step.is_some_and(|step| step.critical) {
            whole = false;
            if failed_at.is_empty() {
                failed_at.clone_from(&name);
            }
        }
        // What was begun may have happened, so it is undone as well.
        let begun = matches!(
            status.as_str(),
            "in_progress" | "compensating" | "compensation_failed"
        );
        if completed || (begun && step.is_some_and(|step| step.compensation.is_some())) {
            saga.completed_steps.push(name.clone());
        }
        if let Some(result) = result.and_then(|text| serde_json::from_str(&text).ok()) {
            saga.data.results.insert(name, result);
        }
    }
    if whole {
        saga.status = Status::Running;
        saga.compensation_reason = None;
    } else {
        saga.data.failure = Some(Failure {
            step: failed_at,
            code: "JOURNAL_DAMAGED".to_owned(),
            message: "the journal is damaged".to_owned(),
            http: 500,
        });
    }
    Ok(Some(saga))
}
