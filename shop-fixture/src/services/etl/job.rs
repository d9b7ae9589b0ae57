//! Owns the job `order_revenue`: what accounting booked and what became of the orders is extracted through their APIs,
//! staged, summed up per order and swapped into the view. One run at a time, guarded by a lock that expires.

use std::time::Duration;

use serde_json::{Value, json};
use tonic::Code;

use crate::call::{CallOptions, grpc};
use crate::catalog::{ACCOUNTING, ORDERS};
use crate::clock::{parse_rfc3339, rfc3339};
use crate::context::in_span;
use crate::error::ApiError;
use crate::proto::{accounting, orders};
use crate::resilience::retry;
use crate::rng::Rng;
use crate::runtime::Rt;
use crate::store::{StoreError, Tx};
use crate::telemetry::{Attributes, Kind, Span};

pub(super) const SCHEMA: &str = "
CREATE TABLE staged_entries (
    seq INTEGER PRIMARY KEY,
    order_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    amount_cents INTEGER NOT NULL
);
CREATE INDEX staged_entries_order ON staged_entries (order_id);
CREATE TABLE staged_orders (
    order_id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    status TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE TABLE order_revenue_next (
    order_id TEXT PRIMARY KEY,
    user_id TEXT,
    status TEXT,
    sale_cents INTEGER NOT NULL,
    refund_cents INTEGER NOT NULL,
    net_cents INTEGER NOT NULL
);
CREATE TABLE mv_order_revenue (
    order_id TEXT PRIMARY KEY,
    user_id TEXT,
    status TEXT,
    sale_cents INTEGER NOT NULL,
    refund_cents INTEGER NOT NULL,
    net_cents INTEGER NOT NULL
);
CREATE TABLE jobs (
    name TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    owner TEXT,
    lock_until TEXT,
    started_at TEXT,
    finished_at TEXT,
    runs INTEGER NOT NULL DEFAULT 0,
    rows INTEGER NOT NULL DEFAULT 0,
    last_error TEXT,
    as_of TEXT,
    last_seq INTEGER NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL
);
INSERT INTO jobs (name, state, created_at) VALUES ('order_revenue', 'idle', strftime('%Y-%m-%dT%H:%M:%f000000Z', 'now'));
CREATE VIEW ledger_revenue AS SELECT * FROM mv_order_revenue;
CREATE VIEW ledger_jobs AS SELECT *, coalesce(finished_at, created_at) AS changed_at FROM jobs;
";

pub(super) const NAME: &str = "order_revenue";
pub(super) const PERIOD: Duration = Duration::from_secs(60);
const LOCK: Duration = Duration::from_secs(120);
const CALL: Duration = Duration::from_secs(5);
/// How long a refresh, or a reader, waits for whoever holds the view.
const VIEW_LOCK: Duration = Duration::from_secs(30);
const PAGE: i64 = 1_000;
const ORDERS_PAGE: i64 = 200;

/// Runs the job once, in a trace of its own.
pub(super) async fn run(rt: &Rt) -> Result<Value, ApiError> {
    let owner = crate::ids::ulid("run_");
    take_lock(rt, &owner).await?;
    let span = rt.telemetry.root(format!("etl run {NAME}"), Kind::Internal);
    let outcome = in_span(&span, async {
        let outcome = steps(rt, &span).await;
        let settled = settle(rt, &owner, &outcome).await;
        let outcome = outcome.and_then(|done| settled.map(|()| done));
        match &outcome {
            Ok((rows, as_of)) => {
                span.set("shop.etl.rows", *rows);
                span.set("shop.etl.as_of", as_of);
                rt.telemetry.info(
                    "etl.completed",
                    "job completed",
                    Attributes::new().with("job", NAME).with("rows", *rows),
                );
            }
            Err(error) => {
                span.fail(&error.reason, &error.message);
                rt.telemetry.error(
                    "etl.failed",
                    "job failed",
                    Attributes::new()
                        .with("job", NAME)
                        .with("error.code", &error.reason)
                        .with("error.details", &error.message),
                );
            }
        }
        outcome
    })
    .await;
    let (rows, as_of) = outcome?;
    Ok(json!({ "job": NAME, "run_id": owner, "rows": rows, "as_of": as_of }))
}

/// An `etl_overlap` fault forgets to look at the lock.
async fn take_lock(rt: &Rt, owner: &str) -> Result<(), ApiError> {
    let (owner, until) = (owner.to_owned(), rt.clock.scaled(LOCK).as_nanos() as u64);
    let careless = rt.faults.is_on("etl_overlap");
    let taken = rt
        .store()?
        .write::<_, StoreError, _>(move |tx| {
            let now = tx.now();
            tx.execute(
                "UPDATE jobs",
                "UPDATE jobs SET state = 'running', owner = ?2, lock_until = ?3, started_at = ?4
                 WHERE name = ?1 AND (state <> 'running' OR lock_until < ?4 OR ?5)",
                (NAME, owner, rfc3339(now + until), rfc3339(now), careless),
            )
        })
        .await?;
    if taken == 0 {
        return Err(ApiError::new(
            Code::FailedPrecondition,
            "JOB_RUNNING",
            "this job is running already",
        ));
    }
    Ok(())
}

async fn settle(
    rt: &Rt,
    owner: &str,
    outcome: &Result<(i64, String), ApiError>,
) -> Result<(), ApiError> {
    let owner = owner.to_owned();
    let (rows, error) = match outcome {
        Ok((rows, _)) => (*rows, None),
        Err(error) => (0, Some(format!("{}: {}", error.reason, error.message))),
    };
    rt.store()?
        .write::<_, StoreError, _>(move |tx| {
            tx.execute(
                "UPDATE jobs",
                "UPDATE jobs SET state = iif(?3 IS NULL, 'idle', 'failed'), lock_until = NULL, finished_at = ?4,
                     runs = runs + 1, rows = ?2, last_error = ?3 WHERE name = ?1 AND owner = ?5",
                (NAME, rows, error, tx.now_text(), owner),
            )
        })
        .await?;
    Ok(())
}

/// A child span around one step.
async fn step<T>(
    rt: &Rt,
    name: &'static str,
    work: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    let span: Span = rt.telemetry.span(name, Kind::Internal);
    in_span(&span, async {
        let outcome = work.await;
        if let Err(error) = &outcome {
            span.fail(&error.reason, &error.message);
        }
        outcome
    })
    .await
}

async fn steps(rt: &Rt, _span: &Span) -> Result<(i64, String), ApiError> {
    if rt.config.latency == crate::config::Latency::Shopflow {
        // What a job of this size takes on a machine that does other things as well.
        let pause = Rng::new(crate::ids::random_u64()).between(0.2, 0.8);
        tokio::time::sleep(Duration::from_secs_f64(pause)).await;
    }
    let extracted = step(rt, "extract", extract(rt)).await?;
    let Extracted {
        entries,
        orders,
        as_of,
        last_seq,
    } = extracted;
    let touched = step(rt, "load", stage(rt, entries, orders)).await?;
    let rows = step(rt, "transform", transform(rt, touched)).await?;
    let done = as_of.clone();
    step(rt, "refresh", refresh(rt, done, last_seq)).await?;
    Ok((rows, as_of))
}

struct Extracted {
    entries: Vec<accounting::Entry>,
    orders: Vec<orders::Order>,
    as_of: String,
    last_seq: i64,
}

fn options(service: &'static str) -> CallOptions<'static> {
    CallOptions {
        service,
        timeout: CALL,
        retry: retry::Class::Read,
        key: None,
    }
}

/// Everything that is newer than what was staged last.
async fn extract(rt: &Rt) -> Result<Extracted, ApiError> {
    let (mut after, mut since) = rt
        .store()?
        .read::<_, StoreError, _>(|tx| {
            let seq = tx.one(
                "SELECT staged_entries",
                "SELECT coalesce(max(seq), 0) FROM staged_entries",
                [],
                |row| row.get::<_, i64>(0),
            )?;
            let since = tx.one(
                "SELECT staged_orders",
                "SELECT coalesce(max(updated_at), '') FROM staged_orders",
                [],
                |row| row.get::<_, String>(0),
            )?;
            Ok((seq.unwrap_or(0), since.unwrap_or_default()))
        })
        .await?;
    let mut entries = Vec::new();
    let as_of = loop {
        let ask = accounting::LedgerRequest {
            after_seq: after,
            limit: PAGE,
            ..accounting::LedgerRequest::default()
        };
        let page: accounting::Ledger = grpc::unary(
            rt,
            "accounting.v1.AccountingService/GetLedger",
            options(ACCOUNTING),
            ask,
        )
        .await?;
        after = page.entries.last().map_or(after, |entry| entry.seq);
        let full = page.entries.len() as i64 == PAGE;
        entries.extend(page.entries);
        if !full {
            break page.as_of;
        }
    };
    let mut found = Vec::new();
    loop {
        let ask = orders::ListOrdersRequest {
            limit: ORDERS_PAGE,
            updated_since: if since.is_empty() {
                "1970-01-01T00:00:00.000000000Z".to_owned()
            } else {
                since.clone()
            },
            ..orders::ListOrdersRequest::default()
        };
        let page: orders::ListOrdersReply = grpc::unary(
            rt,
            "orders.v1.OrdersService/ListOrders",
            options(ORDERS),
            ask,
        )
        .await?;
        let newest = page.orders.last().map(|order| order.updated_at.clone());
        let full = page.orders.len() as i64 == ORDERS_PAGE;
        found.extend(page.orders);
        match newest {
            Some(newest) if full && newest != since => since = newest,
            _ => break,
        }
    }
    Ok(Extracted {
        entries,
        orders: found,
        as_of,
        last_seq: after,
    })
}

/// Keeps what was extracted and says which orders it is about.
async fn stage(
    rt: &Rt,
    entries: Vec<accounting::Entry>,
    orders: Vec<orders::Order>,
) -> Result<Vec<String>, ApiError> {
    let touched = rt
        .store()?
        .write::<_, StoreError, _>(move |tx| {
            let mut touched = std::collections::BTreeSet::new();
            for entry in entries.iter().filter(|entry| entry.kind != "FARE") {
                tx.execute(
                    "INSERT staged_entries",
                    "INSERT INTO staged_entries VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
                    (entry.seq, &entry.order_id, &entry.kind, entry.amount_cents),
                )?;
                touched.insert(entry.order_id.clone());
            }
            for order in &orders {
                tx.execute(
                    "INSERT staged_orders",
                    "INSERT INTO staged_orders VALUES (?1, ?2, ?3, ?4) ON CONFLICT (order_id) DO UPDATE
                     SET status = excluded.status, updated_at = excluded.updated_at",
                    (
                        &order.order_id,
                        &order.user_id,
                        &order.status,
                        &order.updated_at,
                    ),
                )?;
                touched.insert(order.order_id.clone());
            }
            Ok(touched.into_iter().collect())
        })
        .await?;
    Ok(touched)
}

async fn transform(rt: &Rt, touched: Vec<String>) -> Result<i64, ApiError> {
    let rows = rt
        .store()?
        .write::<_, StoreError, _>(move |tx| {
            let mut rows = 0;
            for order_id in &touched {
                rows += tx.execute(
                    "INSERT order_revenue_next",
                    "INSERT OR REPLACE INTO order_revenue_next
                     SELECT ?1, o.user_id, o.status, e.sale, e.refund, e.sale - e.refund
                     FROM (SELECT coalesce(sum(iif(kind = 'SALE', amount_cents, 0)), 0) AS sale,
                                  coalesce(sum(iif(kind = 'REFUND', amount_cents, 0)), 0) AS refund
                           FROM staged_entries WHERE order_id = ?1) AS e
                     LEFT JOIN staged_orders AS o ON o.order_id = ?1",
                    [order_id],
                )? as i64;
            }
            Ok(rows)
        })
        .await?;
    Ok(rows)
}

/// Readers see the whole of the new state or nothing of it.
async fn refresh(rt: &Rt, as_of: String, last_seq: i64) -> Result<(), ApiError> {
    until_unlocked(rt).await?;
    rt.store()?
        .write::<_, StoreError, _>(move |tx| {
            tx.execute(
                "INSERT mv_order_revenue",
                "INSERT OR REPLACE INTO mv_order_revenue SELECT * FROM order_revenue_next",
                [],
            )?;
            tx.execute(
                "DELETE order_revenue_next",
                "DELETE FROM order_revenue_next",
                [],
            )?;
            tx.execute(
                "UPDATE jobs",
                "UPDATE jobs SET as_of = ?2, last_seq = max(last_seq, ?3) WHERE name = ?1",
                (NAME, as_of, last_seq),
            )?;
            Ok(())
        })
        .await?;
    Ok(())
}

/// Under an `mv_lock` fault somebody holds the view: its refresh and its readers wait, and give up in the end.
pub(super) async fn until_unlocked(rt: &Rt) -> Result<(), ApiError> {
    let mut changes = rt.faults.changes();
    let wait = async { while rt.faults.is_on("mv_lock") && changes.changed().await.is_ok() {} };
    tokio::time::timeout(rt.clock.scaled(VIEW_LOCK), wait)
        .await
        .map_err(|_| {
            ApiError::new(
                Code::Unavailable,
                "LOCK_TIMEOUT",
                "the view is locked by another session",
            )
        })
}

/// How old the view is; of one that was never built, how long it is awaited.
pub(super) fn age(tx: &Tx<'_>) -> Result<f64, StoreError> {
    let since = tx.one(
        "SELECT jobs",
        "SELECT coalesce(as_of, created_at) FROM jobs WHERE name = ?1",
        [NAME],
        |row| row.get::<_, String>(0),
    )?;
    let since = since.as_deref().and_then(parse_rfc3339);
    Ok(since.map_or(0.0, |since| tx.now().saturating_sub(since) as f64 / 1e9))
}
