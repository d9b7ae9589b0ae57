//! Sagas: their rows, steps and journal records, and the moment one leaves the active list.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use case::signal::JournalRecord;
use case::{Nanos, Signal};
use serde_json::{Map, Value};
use tokio::sync::watch;

use super::super::fields::{get_json, moment, number, required, rows, text, trace_id};
use super::super::memory::{Memory, print};
use super::super::watcher::{Shared, stopping, unless_stopped};
use super::{Found, VOLATILE, keep};
use crate::fetch::Endpoint;
use crate::status::now;

const SAGAS: &str = "sagas";

pub(in super::super) async fn watch_sagas(
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
pub(super) fn read_saga(
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
