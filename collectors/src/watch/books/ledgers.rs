//! Ledgers: whole at first and now and then, from the last look on in between.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use case::signal::LedgerRow;
use case::{Nanos, Signal};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use super::super::fields::{get_json, rows, text};
use super::super::memory::{Memory, print};
use super::super::source::SourceError;
use super::super::watcher::{Shared, stopping, unless_stopped};
use super::{Found, OVERLAP, VOLATILE, keep};
use crate::fetch::Endpoint;
use crate::status::now;

/// What is read where the API doesn't say which ledgers there are.
const USUAL: [&str; 10] = [
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

/// Ledgers that are read, however many there are.
const MAX_LEDGERS: usize = 64;

const TASK: &str = "ledgers";

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

impl Ledger {
    fn new(name: String, keys: usize) -> Ledger {
        Ledger {
            task: format!("ledger {name}"),
            name,
            memory: Memory::new(keys),
            looked: None,
            swept: None,
            whole_only: false,
        }
    }
}

pub(in super::super) async fn watch_ledgers(
    shared: Arc<Shared>,
    debug: Endpoint,
    mut stop: watch::Receiver<bool>,
) {
    let mut ledgers: Vec<Ledger> = Vec::new();
    let mut listed: Option<Instant> = None;
    loop {
        if listed.is_none_or(|at| at.elapsed() >= shared.options.ledger_sweep_every) {
            let Some(names) = unless_stopped(&mut stop, names(&shared, &debug)).await else {
                return;
            };
            for name in names {
                if !ledgers.iter().any(|ledger| ledger.name == name) && ledgers.len() < MAX_LEDGERS
                {
                    ledgers.push(Ledger::new(
                        name,
                        shared.options.remembered_rows / USUAL.len(),
                    ));
                }
            }
            listed = Some(Instant::now());
        }
        for ledger in &mut ledgers {
            if read_once(&shared, &debug, ledger, &mut stop)
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

/// The ledgers there are: those asked for, else those the API lists, else the usual ones.
async fn names(shared: &Shared, debug: &Endpoint) -> Vec<String> {
    if !shared.options.ledgers.is_empty() {
        return shared.options.ledgers.clone();
    }
    let usual = || USUAL.iter().map(|name| (*name).to_owned()).collect();
    let answer = match debug.join("/debug/ledgers") {
        Ok(endpoint) => get_json(&endpoint, &shared.bounds())
            .await
            .map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match answer.and_then(|document| listed_names(&document)) {
        Ok(names) => {
            shared.board.worked(TASK);
            names
        }
        Err(reason) => {
            shared.board.failed(
                TASK,
                format!("which ledgers there are isn't known: {reason}"),
            );
            usual()
        }
    }
}

/// Names in an answer: a list of them, or an object that has them as keys, either perhaps under `ledgers`.
pub(super) fn listed_names(document: &Value) -> Result<Vec<String>, String> {
    let list = document.get("ledgers").unwrap_or(document);
    let names: Vec<String> = match list {
        Value::Array(names) => names
            .iter()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect(),
        Value::Object(names) => names.keys().cloned().collect(),
        _ => Vec::new(),
    };
    // They become paths of requests.
    let fine = |name: &String| {
        (1..=64).contains(&name.len())
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
    };
    let names: Vec<String> = names
        .into_iter()
        .filter(fine)
        .filter(|name| name != "check")
        .collect();
    if names.is_empty() {
        return Err("no names are listed".into());
    }
    Ok(names)
}

/// Reads one ledger once; `None` when it is time to stop.
async fn read_once(
    shared: &Shared,
    debug: &Endpoint,
    ledger: &mut Ledger,
    stop: &mut watch::Receiver<bool>,
) -> Option<()> {
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
pub(super) fn ledger_key(ledger: &str, row: &Value, print: u64) -> String {
    let columns: &[&str] = match ledger {
        "orders" => &["order_id"],
        "order_history" => &["order_id", "seq", "version", "status"],
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
