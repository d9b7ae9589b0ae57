//! Sagas as JSON objects, with the field names of the journal and the ledgers they come from.

use analyzers::saga::{Sagas, Story};
use serde_json::{Value, json};

use crate::render::saga::{is_stuck, kind_name, outcome_name, status_name, step_name};

/// One saga in a list.
pub fn brief(sagas: &Sagas, story: &Story) -> Value {
    json!({
        "saga_id": story.id,
        "model": story.model,
        "order_id": story.order_id,
        "trace_id": story.trace,
        "orchestrator": story.coordinator,
        "created": story.created,
        "last_sign": story.last_sign(),
        "status": status_name(story.status()),
        "stuck": is_stuck(sagas, story),
        "manual_intervention_required": story.now().is_some_and(|row| row.manual),
        "order_status": story.current_order().map(|order| &order.status),
        "failure_reason": story.current_order().map(|order| &order.reason).filter(|reason| !reason.is_empty()),
    })
}

/// One saga with its steps, its journal and its ledgers.
pub fn whole(sagas: &Sagas, story: &Story) -> Value {
    let mut out = brief(sagas, story);
    let steps: Vec<Value> = story
        .steps
        .iter()
        .map(|step| {
            json!({
                "ordinal": step.ordinal,
                "step_id": step.id,
                "name": step.name,
                "service": step.service,
                "status": step_name(step.status),
                "retries": step.retries,
                "forward": step.forward,
                "compensation": step.undo,
                "idempotency_key": step.key,
                "compensation_key": step.undo_key,
            })
        })
        .collect();
    let journal: Vec<Value> = story
        .log
        .iter()
        .map(|record| {
            json!({
                "seq": record.seq,
                "at": record.at,
                "kind": kind_name(record.kind),
                "step": record.step.and_then(|place| story.steps.get(place)).map(|step| &step.name),
                "attempt": record.attempt,
                "outcome": outcome_name(record.outcome),
                "error": record.error,
                "instance": record.instance,
            })
        })
        .collect();
    let attempts: Vec<Value> = story
        .tries
        .iter()
        .map(|attempt| {
            json!({
                "step": attempt.step,
                "compensation": attempt.undo,
                "attempt": attempt.attempt,
                "start": attempt.start,
                "end": attempt.end,
                "failed": attempt.failed,
                "error": attempt.error,
                "instance": attempt.instance,
                "trace_id": attempt.at.trace,
                "span_id": attempt.at.span,
                "calls": attempt.calls.len(),
            })
        })
        .collect();
    let recoveries: Vec<Value> = story
        .recoveries
        .iter()
        .map(|recovery| {
            json!({
                "at": recovery.start,
                "action": recovery.action,
                "instance": recovery.instance,
                "trace_id": recovery.at.trace,
            })
        })
        .collect();
    if let Value::Object(fields) = &mut out {
        fields.insert("steps".to_owned(), steps.into());
        fields.insert("journal".to_owned(), journal.into());
        fields.insert("attempts".to_owned(), attempts.into());
        fields.insert("recoveries".to_owned(), recoveries.into());
        fields.insert("ledgers".to_owned(), ledgers(story));
    }
    out
}

/// What the ledgers hold of an order.
pub fn ledgers(story: &Story) -> Value {
    json!({
        "orders": story.order.iter().map(|order| json!({
            "order_id": order.id, "status": order.status, "failure_reason": order.reason,
            "total_cents": order.total, "version": order.version,
            "created": order.created, "updated": order.updated,
        })).collect::<Vec<_>>(),
        "payments": story.payments.iter().map(|payment| json!({
            "payment_id": payment.id, "status": payment.status, "amount_cents": payment.amount,
            "refund_cents": payment.refunded, "idempotency_key": payment.key,
            "created": payment.created, "updated": payment.updated, "was": payment.was,
        })).collect::<Vec<_>>(),
        "reservations": story.reservations.iter().map(|reservation| json!({
            "reservation_id": reservation.id, "product_id": reservation.product,
            "quantity": reservation.quantity, "status": reservation.status, "updated": reservation.updated,
        })).collect::<Vec<_>>(),
        "shipments": story.shipments.iter().map(|shipment| json!({
            "shipment_id": shipment.id, "status": shipment.status, "updated": shipment.updated,
        })).collect::<Vec<_>>(),
        "notifications": story.notices.iter().map(|notice| json!({
            "at": notice.at, "type": notice.kind,
        })).collect::<Vec<_>>(),
    })
}
