//! Sagas: their rows, steps and journal records, active, failed and, where the API lists them, finished ones.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use case::signal::JournalRecord;
use case::{Nanos, Signal};
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio::time::Instant;

use super::super::fields::{get_json, moment, number, parse, required, rows, text, trace_id};
use super::super::memory::{Memory, print};
use super::super::source::SourceError;
use super::super::watcher::{Shared, stopping, unless_stopped};
use super::{Found, OVERLAP, VOLATILE, keep};
use crate::fetch::{Endpoint, EndpointError};
use crate::status::now;

const SAGAS: &str = "sagas";

/// The lists a debug API has. `all` is more than it must have; where it exists, finished sagas are read from it.
struct Lists {
    active: Endpoint,
    failed: Endpoint,
    all: Endpoint,
}

impl Lists {
    fn of(debug: &Endpoint) -> Result<Lists, EndpointError> {
        Ok(Lists {
            active: debug.join("/debug/sagas/active")?,
            failed: debug.join("/debug/sagas/failed")?,
            all: debug.join("/debug/sagas/all")?,
        })
    }

    /// All sagas that changed after a moment; a server that doesn't know `since` answers with all it has.
    fn changed_after(&self, moment: Option<Nanos>) -> Endpoint {
        let mut all = self.all.clone();
        if let Some(moment) = moment {
            all.path = format!("{}?since={}", all.path, moment.saturating_sub(OVERLAP));
        }
        all
    }
}

/// How finished sagas are learnt of.
enum History {
    /// Not asked yet, or asked without an answer that tells.
    Unknown,
    /// From the list of all; when it was last read whole.
    Listed { looked: Nanos, at: Instant },
    /// There is no such list: a saga that leaves the active ones has finished, and that is all one learns.
    Absent,
}

pub(in super::super) async fn watch_sagas(
    shared: Arc<Shared>,
    debug: Endpoint,
    mut stop: watch::Receiver<bool>,
) {
    let lists = match Lists::of(&debug) {
        Ok(lists) => lists,
        Err(error) => return shared.board.failed(SAGAS, error.to_string()),
    };
    let mut memory = Memory::new(shared.options.remembered_rows);
    let mut running: BTreeSet<String> = BTreeSet::new();
    let mut history = History::Unknown;
    loop {
        let seen = now();
        let bounds = shared.bounds();
        let since = match history {
            History::Unknown => Some(None),
            History::Listed { looked, at } => {
                (at.elapsed() >= shared.options.saga_history_every).then_some(Some(looked))
            }
            History::Absent => None,
        };
        let all = since.map(|since| lists.changed_after(since));
        let round = async {
            // Active first: a saga that fails in between is then seen twice rather than not at all.
            let active = get_json(&lists.active, &bounds).await;
            let failed = get_json(&lists.failed, &bounds).await;
            let all = match &all {
                Some(all) => Some(get_json(all, &bounds).await),
                None => None,
            };
            (active, failed, all)
        };
        let Some((active, failed, all)) = unless_stopped(&mut stop, round).await else {
            return;
        };
        let mut found = Vec::new();
        let mut listed_all = false;
        match all {
            Some(Err(SourceError::Status { status: 404, .. })) => history = History::Absent,
            Some(answer) => {
                listed_all = read_list(&shared, &lists.all, answer, seen, &mut found).is_some();
            }
            None => {}
        }
        let now_active = read_list(&shared, &lists.active, active, seen, &mut found);
        let now_failed = read_list(&shared, &lists.failed, failed, seen, &mut found);
        let both = now_active.zip(now_failed);
        if let Some((active, failed)) = &both {
            shared.board.worked(SAGAS);
            if matches!(history, History::Absent) {
                let gone = running
                    .difference(active)
                    .filter(|saga| !failed.contains(*saga));
                found.extend(gone.map(|saga| left_active(saga, seen, &lists.active)));
            }
        }
        if keep(&shared, SAGAS, Signal::Journal, &mut memory, found).await {
            if let Some((active, _)) = both {
                running = active;
            }
            if listed_all {
                history = History::Listed {
                    looked: seen,
                    at: Instant::now(),
                };
            }
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

/// The ids a list names, its rows added to `found`; `None`, and said, when it could not be read whole.
fn read_list(
    shared: &Shared,
    endpoint: &Endpoint,
    answer: Result<Value, SourceError>,
    seen: Nanos,
    found: &mut Vec<Found<JournalRecord>>,
) -> Option<BTreeSet<String>> {
    let listed = answer
        .map_err(|error| error.to_string())
        .and_then(|document| {
            rows(document, &["sagas"]).map_err(|reason| format!("{endpoint}: {reason}"))
        });
    let listed = match listed {
        Ok(listed) => listed,
        Err(reason) => {
            shared.board.failed(SAGAS, reason);
            return None;
        }
    };
    let mut ids = BTreeSet::new();
    let mut whole = true;
    for (index, saga) in listed.into_iter().enumerate() {
        match read_saga(saga, seen, &endpoint.to_string(), found) {
            Ok(id) => {
                ids.insert(id);
            }
            Err(reason) => {
                whole = false;
                let number = index + 1;
                shared
                    .board
                    .complain(SAGAS, format!("{endpoint}: saga {number}: {reason}"));
            }
        }
    }
    whole.then_some(ids)
}

/// A saga that was active and is now listed nowhere: it finished, and only its absence says so.
fn left_active(saga: &str, seen: Nanos, source: &Endpoint) -> Found<JournalRecord> {
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
        let listed = match saga.get(name) {
            Some(Value::Array(listed)) => listed.clone(),
            // A database that builds JSON by itself hands nested lists over as text.
            Some(Value::String(text)) => match parse(text.as_bytes()) {
                Ok(Value::Array(listed)) => listed,
                _ => continue,
            },
            _ => continue,
        };
        saga.remove(name);
        parts.extend(listed.into_iter().map(|value| (kind, value)));
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
