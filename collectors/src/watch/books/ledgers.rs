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
use super::{Found, VOLATILE, keep};
use crate::fetch::Endpoint;
use crate::status::now;

/// The ledgers the shop keeps.
pub(in super::super) const LEDGERS: [&str; 10] = [
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

pub(in super::super) async fn watch_ledgers(
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

/// Reads one ledger once; `None` when it is time to stop.
async fn read_once(
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
pub(super) fn ledger_key(ledger: &str, row: &Value, print: u64) -> String {
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
