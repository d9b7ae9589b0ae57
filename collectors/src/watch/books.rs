//! Saga journals and business ledgers, read from the debug API; a row is written when it is new or changed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use case::signal::{JournalRecord, LedgerRow};
use case::{Nanos, Signal};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio::time::Instant;

use super::fields::{get_json, moment, number, required, rows, text, trace_id};
use super::memory::{Memory, print};
use super::source::SourceError;
use super::watcher::{Shared, stopping, unless_stopped};
use crate::fetch::Endpoint;
use crate::status::now;

const SAGAS: &str = "sagas";

/// The ledgers the shop keeps.
pub(super) const LEDGERS: [&str; 10] = [
    "orders",
    "payments",
    "stock",
    "reservations",
    "shipments",
    "accounting",
    "notifications",
    "outbox",
    "inbox",
    "idempotency",
];

/// Fields that change while nothing happens: ages, and leases that are renewed.
const VOLATILE: &[&str] = &["age", "age_ms", "age_s", "age_seconds", "lease_expires_at"];

/// A row with the key and print to remember once the case has it.
struct Found<T> {
    key: String,
    print: u64,
    row: T,
}

/// Those of `found` that are new or changed are brought to the case, then remembered.
async fn keep<T: Serialize>(
    shared: &Shared,
    task: &str,
    signal: Signal,
    memory: &mut Memory,
    found: Vec<Found<T>>,
) -> bool {
    let mut marks = Vec::new();
    let mut rows = Vec::new();
    for found in found {
        if !memory.knows(&found.key, found.print) {
            marks.push((found.key, found.print));
            rows.push(found.row);
        }
    }
    let kept = rows.is_empty()
        || shared
            .delivery
            .bring_rows(task, signal, &rows)
            .await
            .is_ok();
    if kept {
        for (key, print) in marks {
            memory.remember(key, print);
        }
    }
    kept
}

pub(super) async fn watch_sagas(
    shared: Arc<Shared>,
    debug: Endpoint,
    mut stop: watch::Receiver<bool>,
) {
    let (active, failed) = match (
        debug.join("/debug/sagas/active"),
        debug.join("/debug/sagas/failed"),
    ) {
        (Ok(active), Ok(failed)) => (active, failed),
        (Err(error), _) | (_, Err(error)) => return shared.board.failed(SAGAS, error.to_string()),
    };
    let mut memory = Memory::new(shared.options.remembered_rows);
    let mut running: BTreeSet<String> = BTreeSet::new();
    loop {
        let seen = now();
        let bounds = shared.bounds();
        let both = async {
            // Active first: a saga that fails in between is then seen twice rather than not at all.
            let first = get_json(&active, &bounds).await;
            (first, get_json(&failed, &bounds).await)
        };
        let Some((first, second)) = unless_stopped(&mut stop, both).await else {
            return;
        };
        let mut complete = true;
        let mut found = Vec::new();
        let mut listed = [BTreeSet::new(), BTreeSet::new()];
        for ((endpoint, answer), ids) in [(&active, first), (&failed, second)]
            .into_iter()
            .zip(&mut listed)
        {
            let sagas = answer
                .map_err(|error| error.to_string())
                .and_then(|document| {
                    rows(document, &["sagas"]).map_err(|reason| format!("{endpoint}: {reason}"))
                });
            let sagas = match sagas {
                Ok(sagas) => sagas,
                Err(reason) => {
                    shared.board.failed(SAGAS, reason);
                    complete = false;
                    continue;
                }
            };
            for (index, saga) in sagas.into_iter().enumerate() {
                match read_saga(saga, seen, &endpoint.to_string(), &mut found) {
                    Ok(id) => {
                        ids.insert(id);
                    }
                    Err(reason) => {
                        complete = false;
                        shared
                            .board
                            .complain(SAGAS, format!("{endpoint}: saga {}: {reason}", index + 1));
                    }
                }
            }
        }
        let [now_active, now_failed] = listed;
        if complete {
            shared.board.worked(SAGAS);
            for saga in running
                .difference(&now_active)
                .filter(|saga| !now_failed.contains(*saga))
            {
                found.push(ended(saga, seen, &active));
            }
        }
        if keep(&shared, SAGAS, Signal::Journal, &mut memory, found).await && complete {
            running = now_active;
        }
        if stopping(
            &mut stop,
            shared.options.sagas_every.max(Duration::from_millis(10)),
        )
        .await
        {
            return;
        }
    }
}

/// A saga that was active and is now listed nowhere: it completed, and only its absence says so.
fn ended(saga: &str, seen: Nanos, source: &Endpoint) -> Found<JournalRecord> {
    Found {
        key: format!("ended/{saga}"),
        print: seen.0,
        row: JournalRecord {
            at: seen,
            seen_at: seen,
            source: source.to_string(),
            kind: "left_active".into(),
            saga_id: saga.to_owned(),
            seq: None,
            order_id: None,
            trace_id: None,
            fields: serde_json::json!({ "observed": "listed neither as active nor as failed any more" }),
        },
    }
}

/// A saga's row, its steps and the records of its journal, each a record of its own.
fn read_saga(
    saga: Value,
    seen: Nanos,
    source: &str,
    found: &mut Vec<Found<JournalRecord>>,
) -> Result<String, String> {
    let Value::Object(mut saga) = saga else {
        return Err("not an object".into());
    };
    let id = required(&saga, "saga_id")?;
    let mut parts: Vec<(&str, Value)> = Vec::new();
    for (name, kind) in [
        ("steps", "step"),
        ("log", "log"),
        ("journal", "log"),
        ("records", "log"),
    ] {
        if let Some(Value::Array(_)) = saga.get(name)
            && let Some(Value::Array(values)) = saga.remove(name)
        {
            parts.extend(values.into_iter().map(|value| (kind, value)));
        }
    }
    let (order, trace) = (text(&saga, "order_id"), trace_id(&saga));
    let mut push = |kind: &str, key: String, at: Option<Nanos>, fields: Map<String, Value>| {
        let fields = Value::Object(fields);
        let object = fields.as_object();
        found.push(Found {
            key,
            print: print(&fields, VOLATILE),
            row: JournalRecord {
                at: at.unwrap_or(seen),
                seen_at: seen,
                source: source.to_owned(),
                kind: kind.to_owned(),
                saga_id: id.clone(),
                seq: object.and_then(|fields| number(fields, "seq")),
                order_id: object
                    .and_then(|fields| text(fields, "order_id"))
                    .or_else(|| order.clone()),
                trace_id: object.and_then(trace_id).or_else(|| trace.clone()),
                fields,
            },
        });
    };
    let at = moment(&saga, "updated_at").or_else(|| moment(&saga, "created_at"));
    push("saga", format!("saga/{id}"), at, saga);
    for (index, (kind, value)) in parts.into_iter().enumerate() {
        let Value::Object(part) = value else {
            return Err(format!("{kind} {} is not an object", index + 1));
        };
        if kind == "step" {
            let name = ["step_id", "ordinal", "step_name"]
                .iter()
                .find_map(|name| text(&part, name));
            let at = moment(&part, "completed_at")
                .or_else(|| moment(&part, "started_at"))
                .or(at);
            push(
                "step",
                format!("step/{id}/{}", name.unwrap_or_else(|| index.to_string())),
                at,
                part,
            );
        } else {
            let number =
                number(&part, "seq").map_or_else(|| format!("#{index}"), |seq| seq.to_string());
            let kind = text(&part, "kind").unwrap_or_else(|| "log".into());
            let at = moment(&part, "at").or(at);
            push(&kind, format!("log/{id}/{number}"), at, part);
        }
    }
    Ok(id)
}

/// How one ledger was last read.
struct Ledger {
    name: String,
    task: String,
    memory: Memory,
    /// When the last look that the case has began.
    looked: Option<Nanos>,
    swept: Option<Instant>,
    /// The server doesn't understand our `since`.
    whole_only: bool,
}

pub(super) async fn watch_ledgers(
    shared: Arc<Shared>,
    debug: Endpoint,
    mut stop: watch::Receiver<bool>,
) {
    let count = shared.options.ledgers.len().max(1);
    let mut ledgers: Vec<Ledger> = shared
        .options
        .ledgers
        .iter()
        .map(|name| Ledger {
            name: name.clone(),
            task: format!("ledger {name}"),
            memory: Memory::new(shared.options.remembered_rows / count),
            looked: None,
            swept: None,
            whole_only: false,
        })
        .collect();
    loop {
        for ledger in &mut ledgers {
            if unless_stopped_read(&shared, &debug, ledger, &mut stop)
                .await
                .is_none()
            {
                return;
            }
        }
        if stopping(
            &mut stop,
            shared.options.ledgers_every.max(Duration::from_millis(10)),
        )
        .await
        {
            return;
        }
    }
}

/// Reads one ledger once; `None` when it is time to stop.
async fn unless_stopped_read(
    shared: &Shared,
    debug: &Endpoint,
    ledger: &mut Ledger,
    stop: &mut watch::Receiver<bool>,
) -> Option<()> {
    // Rows of the last moments may have been committed after they were dated.
    const OVERLAP: u64 = 10_000_000_000;
    let seen = now();
    let sweep = ledger.whole_only
        || ledger
            .swept
            .is_none_or(|swept| swept.elapsed() >= shared.options.ledger_sweep_every);
    let path = match ledger.looked {
        Some(looked) if !sweep => format!(
            "/debug/ledgers/{}?since={}",
            ledger.name,
            looked.saturating_sub(OVERLAP)
        ),
        _ => format!("/debug/ledgers/{}", ledger.name),
    };
    let endpoint = match debug.join(&path) {
        Ok(endpoint) => endpoint,
        Err(error) => {
            shared.board.failed(&ledger.task, error.to_string());
            return Some(());
        }
    };
    let answer = unless_stopped(stop, get_json(&endpoint, &shared.bounds())).await?;
    if let Err(SourceError::Status { status: 400, .. }) = &answer
        && path.contains("?since=")
    {
        ledger.whole_only = true;
    }
    let listed = answer
        .map_err(|error| error.to_string())
        .and_then(|document| {
            rows(document, &["rows", &ledger.name, "items"])
                .map_err(|reason| format!("{endpoint}: {reason}"))
        });
    let listed = match listed {
        Ok(listed) => listed,
        Err(reason) => {
            shared.board.failed(&ledger.task, reason);
            return Some(());
        }
    };
    shared.board.worked(&ledger.task);
    let source = debug.to_string().trim_end_matches('/').to_owned();
    let mut keys = BTreeSet::new();
    let found = listed
        .into_iter()
        .map(|fields| {
            let print = print(&fields, VOLATILE);
            let mut key = ledger_key(&ledger.name, &fields, print);
            if !keys.insert(key.clone()) {
                // Two rows of one answer that share a key would overwrite each other for ever.
                key = format!("{key}/content-{print:016x}");
            }
            Found {
                row: LedgerRow {
                    at: seen,
                    source: source.clone(),
                    ledger: ledger.name.clone(),
                    key: key.clone(),
                    order_id: fields
                        .as_object()
                        .and_then(|fields| text(fields, "order_id")),
                    fields,
                },
                key,
                print,
            }
        })
        .collect();
    if keep(
        shared,
        &ledger.task,
        Signal::Ledger,
        &mut ledger.memory,
        found,
    )
    .await
    {
        ledger.looked = Some(seen);
        if sweep {
            ledger.swept = Some(Instant::now());
        }
    }
    Some(())
}

/// What tells a row from the others of its ledger. A row without any such column is known by its content.
fn ledger_key(ledger: &str, row: &Value, print: u64) -> String {
    let columns: &[&str] = match ledger {
        "orders" => &["order_id"],
        "payments" => &["payment_id"],
        "stock" => &["product_id"],
        "reservations" => &["reservation_id", "product_id"],
        "shipments" => &["shipment_id"],
        "accounting" => &["entry_id"],
        "notifications" => &["event_id", "notification_id", "id"],
        "outbox" => &["service", "event_id", "id", "seq"],
        "inbox" => &["service", "subscriber", "consumer", "event_id"],
        "idempotency" => &["service", "scope", "idempotency_key", "key"],
        _ => &["id", "key"],
    };
    let found: Vec<String> = row
        .as_object()
        .map(|row| {
            columns
                .iter()
                .filter_map(|column| text(row, column))
                .collect()
        })
        .unwrap_or_default();
    if found.is_empty() {
        format!("content-{print:016x}")
    } else {
        found.join("/")
    }
}

#[cfg(test)]
mod tests;
