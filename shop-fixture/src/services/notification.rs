//! Owns notification: it is told of every event, and remembers having told the customer.

use std::sync::Arc;

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Served, trace_probe};
use crate::error::{ApiError, ShopError};
use crate::idempotency::{self, Begin};
use crate::ids::ulid;
use crate::messaging::{Envelope, consumer};
use crate::runtime::Rt;
use crate::server::http::{Class, HttpReply, HttpRequest, Router};
use crate::server::{admin, parse};
use crate::store::{Store, StoreError, Tx};

const SCHEMA: &str = "
CREATE TABLE notifications (
    event_id TEXT PRIMARY KEY,
    type TEXT NOT NULL,
    order_id TEXT,
    channel TEXT NOT NULL,
    sent_at TEXT NOT NULL
);
CREATE INDEX notifications_order ON notifications (order_id);
CREATE VIEW ledger_notifications AS SELECT *, sent_at AS changed_at FROM notifications;
";

pub fn start(rt: &Rt) -> Result<Served, ShopError> {
    let migrations = [SCHEMA, consumer::SCHEMA, idempotency::SCHEMA];
    let path = rt.config.db_path(rt.spec.name);
    rt.set_store(Store::open(
        &path,
        &migrations,
        Arc::clone(&rt.clock),
        rt.telemetry.clone(),
    )?);
    let effect: consumer::Effect = Arc::new(|tx, event: &Envelope| {
        insert(tx, &event.event_id, &event.event_type, event.order_id())?;
        Ok(Vec::new())
    });
    let (send, list) = (Arc::clone(rt), Arc::clone(rt));
    let router = Router::new()
        .route(
            Method::POST,
            "/notifications",
            Class::Business,
            move |request| {
                let rt = Arc::clone(&send);
                async move { notify(&rt, &request).await }
            },
        )
        .route(
            Method::GET,
            "/notifications",
            Class::Business,
            move |request| {
                let rt = Arc::clone(&list);
                async move { show(&rt, &request).await }
            },
        )
        // Before the route of all events.
        .merge(trace_probe::end(rt))
        .merge(consumer::router(rt, None, effect))
        .merge(admin::health(rt));
    let background = vec![super::background(idempotency::purge(Arc::clone(rt)))];
    Ok(Served {
        grpc: None,
        http: Some(router),
        background,
    })
}

/// How each kind of news reaches a customer.
fn channel(event_type: &str) -> &'static str {
    match event_type {
        "OrderShipped" | "OrderDelivered" => "sms",
        "StockLevelLow" | "PriceChanged" | "ProductUpdated" => "push",
        _ => "email",
    }
}

fn insert(
    tx: &Tx<'_>,
    event_id: &str,
    event_type: &str,
    order_id: Option<&str>,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT notifications",
        "INSERT INTO notifications VALUES (?1, ?2, ?3, ?4, ?5)",
        (
            event_id,
            event_type,
            order_id,
            channel(event_type),
            tx.now_text(),
        ),
    )?;
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Notify {
    #[serde(rename = "type")]
    kind: String,
    order_id: String,
}

async fn notify(rt: &Rt, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    let ask: Notify = parse(&request.body)?;
    if ask.kind.is_empty() || ask.kind.len() > 64 || ask.order_id.is_empty() {
        return Err(ApiError::invalid(
            "a notification needs a type and an order",
        ));
    }
    let payload = json!({ "type": ask.kind, "order_id": ask.order_id });
    let key = crate::context::current().shared.idempotency_key.clone();
    let ticket =
        match idempotency::begin(rt, key.as_deref(), "POST /notifications", &payload).await? {
            Begin::Replay(outcome) => {
                let id = String::from_utf8(outcome?).unwrap_or_default();
                return Ok(HttpReply::json(201, json!({ "event_id": id })));
            }
            Begin::Run(ticket) => ticket,
        };
    let (id, settle) = (ulid("evt_"), ticket.clone());
    let written = id.clone();
    let stored = rt
        .store()?
        .write::<_, StoreError, _>(move |tx| {
            insert(tx, &written, &ask.kind, Some(&ask.order_id))?;
            settle.complete(tx, written.as_bytes())
        })
        .await;
    if let Err(error) = stored {
        let error = ApiError::from(error);
        ticket.settle_failure(rt, &error).await?;
        return Err(error);
    }
    Ok(HttpReply::json(201, json!({ "event_id": id })))
}

async fn show(rt: &Rt, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    let order_id = request
        .query("order_id")
        .filter(|id| !id.is_empty())
        .ok_or_else(|| ApiError::invalid("order_id must be given"))?
        .to_owned();
    let rows: Vec<Value> = rt
        .store()?
        .read::<_, StoreError, _>(move |tx| {
            tx.all(
                "SELECT notifications",
                "SELECT event_id, type, order_id, channel, sent_at FROM notifications WHERE order_id = ?1
                 ORDER BY sent_at",
                [order_id],
                |row| {
                    Ok(json!({
                        "event_id": row.get::<_, String>(0)?,
                        "type": row.get::<_, String>(1)?,
                        "order_id": row.get::<_, Option<String>>(2)?,
                        "channel": row.get::<_, String>(3)?,
                        "sent_at": row.get::<_, String>(4)?,
                    }))
                },
            )
        })
        .await?;
    Ok(HttpReply::json(200, json!({ "notifications": rows })))
}
