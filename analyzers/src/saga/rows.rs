//! Reading what watchers wrote of journals and ledgers. A field that is missing or of another kind is as good as absent:
//! these rows come from whoever answers at a debug API.

use case::Nanos;
use case::signal::{JournalRecord, LedgerRow};
use case::time::parse_time;
use serde_json::Value;

use super::story::{
    Goods, Kind, Order, Outcome, Payment, Record, Reservation, Row, Shipment, Status, Step,
    StepStatus, Stock,
};

/// More of one list than any saga has; what is beyond it is not read.
const MOST_ITEMS: usize = 1_000;

pub(super) fn text(fields: &Value, name: &str) -> String {
    fields[name].as_str().unwrap_or_default().to_owned()
}

fn number(fields: &Value, name: &str) -> i64 {
    match &fields[name] {
        Value::Number(number) => number
            .as_i64()
            .or_else(|| number.as_f64().map(|value| value as i64))
            .unwrap_or(0),
        Value::String(text) => text.parse().unwrap_or(0),
        _ => 0,
    }
}

fn flag(fields: &Value, name: &str) -> bool {
    match &fields[name] {
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_i64().is_some_and(|value| value != 0),
        _ => false,
    }
}

pub(super) fn time(fields: &Value, name: &str) -> Option<Nanos> {
    let text = fields[name].as_str().filter(|text| text.len() >= 20)?;
    parse_time(text, Nanos(0)).ok()
}

/// A list that may have been handed over as text.
fn list(value: &Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(items) => Some(items.iter().take(MOST_ITEMS).cloned().collect()),
        Value::String(text) => match serde_json::from_str(text) {
            Ok(Value::Array(items)) => Some(items.into_iter().take(MOST_ITEMS).collect()),
            _ => None,
        },
        _ => None,
    }
}

fn status(text: &str) -> Status {
    match text {
        "initiated" => Status::Initiated,
        "running" => Status::Running,
        "compensating" => Status::Compensating,
        "completed" => Status::Completed,
        "failed" => Status::Failed,
        _ => Status::Other,
    }
}

pub(super) fn row(record: &JournalRecord) -> Row {
    let fields = &record.fields;
    Row {
        seen: record.seen_at,
        updated: time(fields, "updated_at"),
        status: status(&text(fields, "status")),
        state: text(fields, "current_state"),
        completed: list(&fields["completed_steps"]).map(|names| {
            names
                .iter()
                .filter_map(|name| name.as_str().map(str::to_owned))
                .collect()
        }),
        undo_started: time(fields, "compensation_started_at"),
        manual: flag(fields, "manual_intervention_required"),
        version: number(fields, "version"),
    }
}

/// What was ordered, from the data a saga carries.
pub(super) fn goods(fields: &Value) -> Vec<Goods> {
    let data = match &fields["saga_data"] {
        Value::String(text) => serde_json::from_str(text).unwrap_or(Value::Null),
        other => other.clone(),
    };
    let mut goods: Vec<Goods> = list(&data["items"])
        .unwrap_or_default()
        .iter()
        .map(|item| Goods {
            product: text(item, "product_id"),
            quantity: number(item, "quantity"),
        })
        .collect();
    goods.sort();
    goods
}

pub(super) fn step(record: &JournalRecord) -> Step {
    let fields = &record.fields;
    let method = |name: &str| {
        let value = match &fields[name] {
            Value::String(text) => serde_json::from_str(text).unwrap_or(Value::Null),
            other => other.clone(),
        };
        value["method"].as_str().map(str::to_owned)
    };
    Step {
        ordinal: number(fields, "ordinal").max(0) as u64,
        id: text(fields, "step_id"),
        name: text(fields, "step_name"),
        service: text(fields, "service_name"),
        status: match text(fields, "status").as_str() {
            "pending" => StepStatus::Pending,
            "in_progress" => StepStatus::InProgress,
            "completed" => StepStatus::Completed,
            "failed" => StepStatus::Failed,
            "compensating" => StepStatus::Compensating,
            "compensated" => StepStatus::Compensated,
            "compensation_failed" => StepStatus::CompensationFailed,
            _ => StepStatus::Other,
        },
        retries: number(fields, "retry_count").max(0) as u64,
        forward: method("forward_op").unwrap_or_default(),
        timeout: fields["forward_op"]["timeout_ms"]
            .as_u64()
            .map(|ms| ms.saturating_mul(1_000_000)),
        undo: method("compensation_op"),
        key: text(fields, "idempotency_key"),
        undo_key: text(fields, "compensation_key"),
        seen: record.seen_at,
    }
}

/// A record of the log, with the id of its step, which is looked up once all steps are known.
pub(super) fn record(record: &JournalRecord) -> (Record, String) {
    let fields = &record.fields;
    let kind = match record.kind.as_str() {
        "started" => Kind::Started,
        "step_intent" => Kind::StepIntent,
        "step_result" => Kind::StepResult,
        "comp_intent" => Kind::UndoIntent,
        "comp_result" => Kind::UndoResult,
        "state" => Kind::State,
        "lease" => Kind::Lease,
        "recovered" => Kind::Recovered,
        "finished" => Kind::Finished,
        _ => Kind::Other,
    };
    let outcome = match text(fields, "outcome").as_str() {
        "ok" => Outcome::Ok,
        "definite_error" => Outcome::Refused,
        "unknown" => Outcome::Unknown,
        _ => Outcome::None,
    };
    let read = Record {
        seq: record.seq.unwrap_or(0),
        at: record.at,
        kind,
        step: None,
        attempt: number(fields, "attempt").max(0) as u64,
        outcome,
        error: text(fields, "error_code"),
        instance: text(fields, "instance_id"),
    };
    (read, text(fields, "step_id"))
}

pub(super) fn order(row: &LedgerRow) -> Order {
    let fields = &row.fields;
    Order {
        id: row.order_id.clone().unwrap_or_default(),
        saga: text(fields, "saga_id"),
        status: text(fields, "status"),
        reason: text(fields, "failure_reason"),
        total: number(fields, "total_cents"),
        version: number(fields, "version"),
        created: time(fields, "created_at").unwrap_or(row.at),
        updated: time(fields, "updated_at").unwrap_or(row.at),
        seen: row.at,
        history: Vec::new(),
    }
}

pub(super) fn history(row: &LedgerRow) -> (Nanos, String, String, String) {
    let fields = &row.fields;
    (
        time(fields, "at").unwrap_or(row.at),
        text(fields, "to_status"),
        text(fields, "event"),
        text(fields, "step_id"),
    )
}

pub(super) fn payment(row: &LedgerRow) -> Payment {
    let fields = &row.fields;
    Payment {
        id: row.key.clone(),
        status: text(fields, "status"),
        amount: number(fields, "amount_cents"),
        refunded: number(fields, "refund_cents"),
        key: text(fields, "idempotency_key"),
        created: time(fields, "created_at").unwrap_or(row.at),
        updated: time(fields, "updated_at").unwrap_or(row.at),
        was: Vec::new(),
    }
}

pub(super) fn reservation(row: &LedgerRow) -> Reservation {
    let fields = &row.fields;
    Reservation {
        id: text(fields, "reservation_id"),
        product: text(fields, "product_id"),
        quantity: number(fields, "quantity"),
        status: text(fields, "status"),
        updated: time(fields, "changed_at").unwrap_or(row.at),
        seen: row.at,
        gone: false,
    }
}

pub(super) fn shipment(row: &LedgerRow) -> Shipment {
    Shipment {
        id: row.key.clone(),
        status: text(&row.fields, "status"),
        updated: time(&row.fields, "updated_at").unwrap_or(row.at),
    }
}

pub(super) fn stock(row: &LedgerRow) -> Stock {
    let fields = &row.fields;
    Stock {
        product: text(fields, "product_id"),
        stock: number(fields, "stock_quantity"),
        reserved: number(fields, "reserved_quantity"),
        initial: number(fields, "initial_quantity"),
        adjustments: number(fields, "adjustments"),
        version: number(fields, "version"),
        seen: row.at,
    }
}
