//! Owns what follows a saga and may take its time: shipping a confirmed order, taking authorised money, telling the
//! customer. Each is written with the step that makes it due, and tried until it is done.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::orders::{self, Event, Which};
use crate::call::http::{HttpAsk, send};
use crate::call::{CallError, CallOptions, grpc};
use crate::catalog::{NOTIFICATION, PAYMENT, SEARCH, SHIPPING};
use crate::clock::rfc3339;
use crate::context::{Context, in_span};
use crate::proto::payments;
use crate::resilience::{retry, timeouts};
use crate::runtime::Rt;
use crate::saga::models;
use crate::saga::types::{Item, Saga};
use crate::store::{StoreError, Tx};
use crate::telemetry::{Attributes, Kind as SpanKind};

pub const SCHEMA: &str = "
CREATE TABLE followups (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    order_id TEXT NOT NULL,
    saga_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    items TEXT NOT NULL,
    address TEXT NOT NULL,
    traceparent TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt_at TEXT NOT NULL,
    claimed INTEGER NOT NULL DEFAULT 0,
    done_at TEXT,
    outcome TEXT,
    UNIQUE (order_id, kind)
);
CREATE INDEX followups_due ON followups (next_attempt_at) WHERE done_at IS NULL;
CREATE VIEW ledger_followups AS
    SELECT kind, order_id, saga_id, attempts, next_attempt_at, done_at, outcome,
           coalesce(done_at, next_attempt_at) AS changed_at FROM followups;
";

const POLL: Duration = Duration::from_secs(1);
const PAUSE_CAP: Duration = Duration::from_secs(60);
/// A claim that was not settled in this time is free again; no call takes longer.
const CLAIM: Duration = Duration::from_secs(15);
const BATCH: usize = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Ship,
    Capture,
    Notify,
    Recommend,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Ship, Self::Capture, Self::Notify, Self::Recommend];

    fn as_str(self) -> &'static str {
        match self {
            Self::Ship => "ship",
            Self::Capture => "capture",
            Self::Notify => "notify",
            Self::Recommend => "recommend",
        }
    }
}

/// Makes something due, in the transaction that causes it.
pub fn add(tx: &Tx<'_>, saga: &Saga, kind: Kind) -> Result<(), StoreError> {
    add_after(tx, saga, kind, Duration::ZERO)
}

/// Makes something due after a while.
pub fn add_after(tx: &Tx<'_>, saga: &Saga, kind: Kind, pause: Duration) -> Result<(), StoreError> {
    let items = serde_json::to_string(&saga.data.items)
        .map_err(|error| StoreError::Corrupt(error.to_string()))?;
    tx.execute(
        "INSERT followups",
        "INSERT INTO followups (kind, order_id, saga_id, user_id, items, address, traceparent, next_attempt_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
        (
            kind.as_str(),
            &saga.order_id,
            &saga.saga_id,
            &saga.user_id,
            items,
            saga.data.address.to_string(),
            &saga.traceparent,
            rfc3339(tx.now() + pause.as_nanos() as u64),
        ),
    )?;
    Ok(())
}

/// Takes back that an order is to be shipped; false if somebody is at it already.
pub fn withdraw_shipping(tx: &Tx<'_>, order_id: &str) -> Result<bool, StoreError> {
    let claimed = tx.one(
        "SELECT followups",
        "SELECT claimed FROM followups WHERE order_id = ?1 AND kind = 'ship' AND done_at IS NULL",
        [order_id],
        |row| row.get::<_, bool>(0),
    )?;
    if claimed == Some(true) {
        return Ok(false);
    }
    tx.execute(
        "UPDATE followups",
        "UPDATE followups SET done_at = ?2, outcome = 'withdrawn'
         WHERE order_id = ?1 AND kind = 'ship' AND done_at IS NULL",
        (order_id, tx.now_text()),
    )?;
    Ok(true)
}

#[derive(Debug, Clone)]
struct Due {
    id: i64,
    kind: Kind,
    order_id: String,
    saga_id: String,
    items: Vec<Item>,
    address: Value,
    traceparent: String,
    attempts: u32,
}

fn claim(tx: &Tx<'_>, hold: u64) -> Result<Vec<Due>, StoreError> {
    let now = tx.now();
    let rows = tx.all(
        "SELECT followups",
        "SELECT id, kind, order_id, saga_id, user_id, items, address, traceparent, attempts FROM followups
         WHERE done_at IS NULL AND next_attempt_at <= ?1 ORDER BY next_attempt_at LIMIT ?2",
        (rfc3339(now), BATCH as i64),
        |row| {
            let (kind, items, address): (String, String, String) =
                (row.get(1)?, row.get(5)?, row.get(6)?);
            let due = Due {
                id: row.get(0)?,
                kind: Kind::Ship,
                order_id: row.get(2)?,
                saga_id: row.get(3)?,
                items: serde_json::from_str(&items).unwrap_or_default(),
                address: serde_json::from_str(&address).unwrap_or_default(),
                traceparent: row.get(7)?,
                attempts: row.get(8)?,
            };
            Ok((due, kind))
        },
    )?;
    let mut claimed = Vec::with_capacity(rows.len());
    for (mut due, kind) in rows {
        let Some(known) = Kind::ALL.into_iter().find(|known| known.as_str() == kind) else {
            return Err(StoreError::Corrupt(format!("a follow-up of kind {kind}")));
        };
        due.kind = known;
        due.attempts += 1;
        tx.execute(
            "UPDATE followups",
            "UPDATE followups SET attempts = attempts + 1, claimed = 1, next_attempt_at = ?2 WHERE id = ?1",
            (due.id, rfc3339(now + hold)),
        )?;
        claimed.push(due);
    }
    Ok(claimed)
}

/// Does what is due, until the process stops.
pub(super) async fn run(rt: Rt) {
    let mut stopping = rt.stopping();
    let task = rt.tasks.begin("followups");
    loop {
        tokio::select! {
            () = tokio::time::sleep(rt.clock.scaled(POLL)) => {}
            _ = stopping.changed() => return,
        }
        while round(&rt).await && !rt.is_draining() {}
        task.tick();
    }
}

/// Whether a whole batch was done, so that there may be more.
async fn round(rt: &Rt) -> bool {
    let Ok(store) = rt.store() else { return false };
    let due = store
        .read::<_, StoreError, _>(|tx| {
            tx.one(
                "SELECT followups",
                "SELECT 1 FROM followups WHERE done_at IS NULL AND next_attempt_at <= ?1 LIMIT 1",
                [tx.now_text()],
                |_| Ok(()),
            )
        })
        .await;
    if !matches!(due, Ok(Some(()))) {
        return false;
    }
    let hold = CLAIM.as_nanos() as u64;
    let claimed = match store
        .write::<_, StoreError, _>(move |tx| claim(tx, hold))
        .await
    {
        Ok(claimed) => claimed,
        Err(error) => {
            complain(rt, &error);
            return false;
        }
    };
    let outcomes = claimed.iter().map(|due| follow(rt, due));
    futures_util::future::join_all(outcomes).await;
    claimed.len() == BATCH
}

fn complain(rt: &Rt, error: &StoreError) {
    rt.telemetry.error(
        "exception",
        "follow-ups could not be read or written",
        Attributes::new()
            .with("error.code", "STORE_FAILED")
            .with("error.details", error.to_string()),
    );
}

async fn follow(rt: &Rt, due: &Due) {
    let name = format!("follow up {}", due.kind.as_str());
    let span = rt.telemetry.root(name, SpanKind::Internal);
    if let Ok(cause) = crate::propagation::TraceContext::parse(&due.traceparent) {
        span.link(cause);
    }
    span.set("shop.order.id", &due.order_id);
    span.set("shop.saga.id", &due.saga_id);
    let called = Context::default()
        .scope(in_span(&span, async {
            let outcome = call(rt, due).await;
            if let Err(error) = &outcome {
                span.fail(&error.api.reason, &error.api.message);
            }
            outcome
        }))
        .await;
    if let Err(error) = &called {
        rt.telemetry.warn(
            "retry.scheduled",
            "a follow-up failed and will be tried again",
            Attributes::new()
                .with("order_id", &due.order_id)
                .with("saga_id", &due.saga_id)
                .with("attempt", due.attempts)
                .with("error.code", &error.api.reason)
                .with("error.details", &error.api.message),
        );
    }
    let pause = Duration::from_secs(1 << due.attempts.saturating_sub(1).min(6)).min(PAUSE_CAP);
    let (pause, row) = (rt.clock.scaled(pause).as_nanos() as u64, due.clone());
    let Ok(store) = rt.store() else { return };
    let settled = store
        .write::<_, StoreError, _>(move |tx| settle(tx, &row, called.ok(), pause))
        .await;
    if let Err(error) = settled {
        // Its claim runs out, and it is done again under the same key.
        complain(rt, &error);
    }
}

fn settle(tx: &Tx<'_>, due: &Due, answer: Option<Value>, pause: u64) -> Result<(), StoreError> {
    let Some(answer) = answer else {
        tx.execute(
            "UPDATE followups",
            "UPDATE followups SET claimed = 0, next_attempt_at = ?2 WHERE id = ?1",
            (due.id, rfc3339(tx.now() + pause)),
        )?;
        return Ok(());
    };
    if due.kind == Kind::Ship {
        let which = Which {
            order_id: &due.order_id,
            saga_id: &due.saga_id,
            trace_id: due.traceparent.get(3..35).unwrap_or_default(),
        };
        let change = Event {
            to: "SHIPPED",
            event: "shipped",
            shipment_id: answer["shipment_id"].as_str(),
            ..Event::default()
        };
        orders::advance(tx, which, "fulfilment", &change)?;
    }
    tx.execute(
        "UPDATE followups",
        "UPDATE followups SET done_at = ?2, outcome = 'done' WHERE id = ?1",
        (due.id, tx.now_text()),
    )?;
    Ok(())
}

async fn call(rt: &Rt, due: &Due) -> Result<Value, CallError> {
    let key = match due.kind {
        Kind::Ship => format!("saga:{}:ship:{}", due.saga_id, due.order_id),
        Kind::Capture => format!("saga:{}:capture:{}", due.saga_id, due.order_id),
        Kind::Notify => format!("saga:{}:confirm-notice:{}", due.saga_id, due.order_id),
        Kind::Recommend => format!("saga:{}:recommend:{}", due.saga_id, due.order_id),
    };
    let options = |service: &'static str, timeout: Duration| CallOptions {
        service,
        timeout,
        retry: retry::Class::None,
        key: Some(&key),
    };
    match due.kind {
        Kind::Ship => {
            let items = due.items.iter();
            let lines: Vec<Value> = items
                .map(|item| json!({ "product_id": item.product_id, "quantity": item.quantity }))
                .collect();
            let body = json!({ "order_id": due.order_id, "items": lines, "address": due.address });
            let ask = HttpAsk {
                method: Method::POST,
                template: "/shipments",
                path: "/shipments",
                body: Some(&body),
            };
            let answer = send(rt, &ask, options(SHIPPING, timeouts::SHIPPING_STEP)).await?;
            Ok(answer.body)
        }
        Kind::Capture => {
            let request = payments::CaptureRequest {
                payment_id: String::new(),
                order_id: due.order_id.clone(),
            };
            let method = "payments.v1.PaymentsService/CapturePayment";
            let options = options(PAYMENT, timeouts::PAYMENT_STEP);
            let payment: payments::Payment = grpc::unary(rt, method, options, request).await?;
            Ok(json!({ "payment_id": payment.payment_id }))
        }
        Kind::Notify => {
            let options = options(NOTIFICATION, timeouts::SHIPPING_STEP);
            models::notify(rt, &due.order_id, "OrderConfirmation", options).await
        }
        Kind::Recommend => {
            let options = options(SEARCH, timeouts::SHIPPING_STEP);
            models::recommend(rt, &due.order_id, &due.items, options).await
        }
    }
}
