//! Owns shipping: shipments, their cancellation, and the delivery that follows some time after dispatch.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use rusqlite::Row;
use serde::Deserialize;
use serde_json::{Value, json};
use tonic::Code;

use super::Served;
use crate::clock::rfc3339;
use crate::context;
use crate::error::{ApiError, ShopError};
use crate::idempotency::{self, Begin};
use crate::ids::ulid;
use crate::messaging::publisher::Cause;
use crate::messaging::{Event, Publisher, Staged, consumer, outbox};
use crate::runtime::Rt;
use crate::server::http::{Class, HttpReply, HttpRequest, Router};
use crate::server::{admin, parse};
use crate::store::{Store, StoreError, Tx};
use crate::telemetry::{Attributes, Kind};

const SCHEMA: &str = "
CREATE TABLE shipments (
    shipment_id TEXT PRIMARY KEY,
    order_id TEXT NOT NULL,
    status TEXT NOT NULL,
    tracking TEXT NOT NULL,
    carrier TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE INDEX shipments_order ON shipments (order_id);
CREATE INDEX shipments_status ON shipments (status, updated_at);
CREATE VIEW ledger_shipments AS
    SELECT shipment_id, order_id, status, tracking, carrier, created_at, updated_at, updated_at AS changed_at
    FROM shipments;
";

const DELIVERY: Duration = Duration::from_secs(30);

pub fn start(rt: &Rt) -> Result<Served, ShopError> {
    let migrations = [
        SCHEMA,
        idempotency::SCHEMA,
        outbox::SCHEMA,
        consumer::SCHEMA,
    ];
    let path = rt.config.db_path(rt.spec.name);
    rt.set_store(Store::open(
        &path,
        &migrations,
        Arc::clone(&rt.clock),
        rt.telemetry.clone(),
    )?);
    let publisher = Publisher::new(rt);
    let router = router(rt, &publisher)
        .merge(consumer::router(rt, None, consumer::record_only()))
        .merge(admin::health(rt));
    let background = vec![
        super::background(outbox::relay(Arc::clone(&publisher))),
        super::background(idempotency::purge(Arc::clone(rt))),
        super::background(deliver(Arc::clone(rt), publisher)),
    ];
    Ok(Served {
        grpc: None,
        http: Some(router),
        background,
    })
}

fn router(rt: &Rt, publisher: &Arc<Publisher>) -> Router {
    let mut router = Router::new();
    macro_rules! route {
        ($method:ident $path:literal $handler:expr) => {
            let (rt, publisher) = (Arc::clone(rt), Arc::clone(publisher));
            router = router.route(
                Method::$method,
                $path,
                Class::Business,
                move |request: HttpRequest| {
                    let (rt, publisher) = (Arc::clone(&rt), Arc::clone(&publisher));
                    async move { $handler(rt, publisher, request).await }
                },
            );
        };
    }
    route!(POST "/shipments" ship);
    route!(GET "/shipments/{id}" show);
    route!(POST "/shipments/{id}/cancel" cancel);
    route!(POST "/shipments/{id}/deliver" confirm);
    route!(POST "/quote" quote);
    router
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ship {
    order_id: String,
    items: Vec<Line>,
    #[serde(default)]
    address: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    product_id: String,
    quantity: i64,
}

fn event(event_type: &'static str, shipment: &Value) -> Event {
    let text = |field: &str| shipment[field].as_str().unwrap_or_default().to_owned();
    Event {
        event_type,
        aggregate_type: "shipment",
        aggregate_id: text("shipment_id"),
        order_id: Some(text("order_id")),
        saga_id: None,
        data: json!({
            "shipment_id": shipment["shipment_id"], "order_id": shipment["order_id"], "tracking": shipment["tracking"],
        }),
    }
}

async fn ship(
    rt: Rt,
    publisher: Arc<Publisher>,
    request: HttpRequest,
) -> Result<HttpReply, ApiError> {
    let ask: Ship = parse(&request.body)?;
    if ask.order_id.is_empty() || ask.items.is_empty() {
        return Err(ApiError::invalid("a shipment needs an order and its items"));
    }
    if ask
        .items
        .iter()
        .any(|line| line.product_id.is_empty() || line.quantity < 1)
    {
        return Err(ApiError::invalid(
            "each item needs a product and a quantity",
        ));
    }
    crate::faults::refusal(&rt)?;
    let lines: Vec<Value> = ask
        .items
        .iter()
        .map(|line| json!([line.product_id, line.quantity]))
        .collect();
    let payload = json!({ "order_id": ask.order_id, "items": lines, "address": ask.address });
    let key = context::current().shared.idempotency_key.clone();
    let ticket = match idempotency::begin(&rt, key.as_deref(), "POST /shipments", &payload).await? {
        Begin::Replay(outcome) => return replayed(outcome?),
        Begin::Run(ticket) => ticket,
    };
    let (cause, stager, settle) = (Cause::here(), Arc::clone(&publisher), ticket.clone());
    let key = key.unwrap_or_default();
    let stored = rt
        .store()?
        .write::<_, StoreError, _>(move |tx| {
            let shipment_id = ulid("shp_");
            let tracking = format!("TRK{}", &ulid("")[10..]);
            tx.execute(
                "INSERT shipments",
                "INSERT INTO shipments VALUES (?1, ?2, 'SHIPPED', ?3, 'shop-express', ?4, ?5, ?5)",
                (&shipment_id, &ask.order_id, &tracking, &key, tx.now_text()),
            )?;
            let shipment = find(tx, &shipment_id)?.unwrap_or_default();
            settle.complete(tx, shipment.to_string().as_bytes())?;
            let staged = stager.stage(tx, event("OrderShipped", &shipment), &cause)?;
            Ok((shipment, staged))
        })
        .await;
    match stored {
        Ok((shipment, staged)) => {
            publisher.publish_and_wait(vec![staged]).await?;
            Ok(HttpReply::json(201, shipment))
        }
        Err(error) => {
            let error = ApiError::from(error);
            ticket.settle_failure(&rt, &error).await?;
            Err(error)
        }
    }
}

fn replayed(bytes: Vec<u8>) -> Result<HttpReply, ApiError> {
    let shipment: Value = serde_json::from_slice(&bytes)
        .map_err(|_| ApiError::internal("the stored answer is not readable"))?;
    Ok(HttpReply::json(201, shipment))
}

async fn show(
    rt: Rt,
    _publisher: Arc<Publisher>,
    request: HttpRequest,
) -> Result<HttpReply, ApiError> {
    let id = request.param("id").to_owned();
    let found = rt
        .store()?
        .read::<_, StoreError, _>(move |tx| find(tx, &id))
        .await?;
    let shipment = found
        .ok_or_else(|| ApiError::not_found("SHIPMENT_NOT_FOUND", "there is no such shipment"))?;
    Ok(HttpReply::json(200, shipment))
}

/// The id may be that of the order: whoever undoes a shipment may never have heard its own.
async fn cancel(
    rt: Rt,
    _publisher: Arc<Publisher>,
    request: HttpRequest,
) -> Result<HttpReply, ApiError> {
    let id = request.param("id").to_owned();
    let key = context::current().shared.idempotency_key.clone();
    let payload = json!({ "id": id });
    let ticket =
        match idempotency::begin(&rt, key.as_deref(), "POST /shipments/{id}/cancel", &payload)
            .await?
        {
            Begin::Replay(outcome) => return replayed(outcome?),
            Begin::Run(ticket) => ticket,
        };
    let settle = ticket.clone();
    let stored = rt
        .store()?
        .write::<_, StoreError, _>(move |tx| {
            tx.execute(
                "UPDATE shipments",
                "UPDATE shipments SET status = 'CANCELLED', updated_at = ?2
                 WHERE (shipment_id = ?1 OR order_id = ?1) AND status IN ('PREPARED', 'SHIPPED')",
                (&id, tx.now_text()),
            )?;
            let shipment = find(tx, &id)?;
            if shipment
                .as_ref()
                .is_some_and(|shipment| shipment["status"] == "DELIVERED")
            {
                let error = ApiError::new(
                    Code::FailedPrecondition,
                    "INVALID_SHIPMENT_STATE",
                    "it was delivered already",
                );
                settle.refuse(tx, &error)?;
                return Ok(Err(error));
            }
            // Nothing was ever shipped: undoing it has succeeded.
            let shipment =
                shipment.unwrap_or_else(|| json!({ "order_id": id, "status": "ABSENT" }));
            settle.complete(tx, shipment.to_string().as_bytes())?;
            Ok(Ok(shipment))
        })
        .await;
    match stored {
        Ok(outcome) => Ok(HttpReply::json(200, outcome?)),
        Err(error) => {
            let error = ApiError::from(error);
            ticket.settle_failure(&rt, &error).await?;
            Err(error)
        }
    }
}

async fn confirm(
    rt: Rt,
    publisher: Arc<Publisher>,
    request: HttpRequest,
) -> Result<HttpReply, ApiError> {
    let id = request.param("id").to_owned();
    let (stager, cause) = (Arc::clone(&publisher), Cause::here());
    let staged = rt
        .store()?
        .write::<_, StoreError, _>(move |tx| delivered(tx, &id, &stager, &cause))
        .await?;
    match staged {
        Some((shipment, staged)) => {
            publisher.publish_and_wait(vec![staged]).await?;
            Ok(HttpReply::json(200, shipment))
        }
        None => Err(ApiError::new(
            Code::FailedPrecondition,
            "INVALID_SHIPMENT_STATE",
            "there is no such shipment on its way",
        )),
    }
}

fn delivered(
    tx: &Tx<'_>,
    shipment_id: &str,
    publisher: &Publisher,
    cause: &Cause,
) -> Result<Option<(Value, Staged)>, StoreError> {
    let changed = tx.execute(
        "UPDATE shipments",
        "UPDATE shipments SET status = 'DELIVERED', updated_at = ?2 WHERE shipment_id = ?1 AND status = 'SHIPPED'",
        (shipment_id, tx.now_text()),
    )?;
    if changed == 0 {
        return Ok(None);
    }
    let shipment = find(tx, shipment_id)?.unwrap_or_default();
    let staged = publisher.stage(tx, event("OrderDelivered", &shipment), cause)?;
    Ok(Some((shipment, staged)))
}

/// Confirms what has been on its way for long enough.
async fn deliver(rt: Rt, publisher: Arc<Publisher>) {
    let mut stopping = rt.stopping();
    let after = rt.clock.scaled(DELIVERY).as_nanos() as u64;
    loop {
        tokio::select! {
            () = tokio::time::sleep(rt.clock.scaled(Duration::from_secs(5))) => {}
            _ = stopping.changed() => return,
        }
        let Ok(store) = rt.store() else { return };
        let due = store
            .read::<_, StoreError, _>(move |tx| {
                tx.all(
                    "SELECT shipments",
                    "SELECT shipment_id FROM shipments WHERE status = 'SHIPPED' AND updated_at < ?1 LIMIT 200",
                    [rfc3339(tx.now().saturating_sub(after))],
                    |row| row.get::<_, String>(0),
                )
            })
            .await
            .unwrap_or_default();
        for id in due {
            let span = rt.telemetry.root("confirm delivery", Kind::Internal);
            let (stager, shown) = (Arc::clone(&publisher), id.clone());
            let outcome = context::in_span(&span, async {
                let cause = Cause::here();
                let staged = store
                    .write::<_, StoreError, _>(move |tx| delivered(tx, &id, &stager, &cause))
                    .await
                    .map_err(ApiError::from)?;
                match staged {
                    Some((_, staged)) => publisher.publish_and_wait(vec![staged]).await,
                    None => Ok(()),
                }
            })
            .await;
            if let Err(error) = outcome {
                rt.telemetry.warn(
                    "exception",
                    "delivery could not be confirmed",
                    Attributes::new()
                        .with("shipment_id", shown)
                        .with("error.code", error.reason)
                        .with("error.details", error.message),
                );
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Quote {
    items: Vec<Line>,
}

async fn quote(
    _rt: Rt,
    _publisher: Arc<Publisher>,
    request: HttpRequest,
) -> Result<HttpReply, ApiError> {
    let ask: Quote = parse(&request.body)?;
    let count: i64 = ask
        .items
        .iter()
        .map(|line| line.quantity.clamp(0, 10_000))
        .sum();
    Ok(HttpReply::json(
        200,
        json!({ "cost_cents": 499 + 100 * count, "currency": "USD" }),
    ))
}

fn find(tx: &Tx<'_>, id: &str) -> Result<Option<Value>, StoreError> {
    tx.one(
        "SELECT shipments",
        "SELECT shipment_id, order_id, status, tracking, carrier, created_at, updated_at FROM shipments
         WHERE shipment_id = ?1 OR order_id = ?1 ORDER BY created_at DESC LIMIT 1",
        [id],
        read,
    )
}

fn read(row: &Row<'_>) -> rusqlite::Result<Value> {
    Ok(json!({
        "shipment_id": row.get::<_, String>(0)?,
        "order_id": row.get::<_, String>(1)?,
        "status": row.get::<_, String>(2)?,
        "tracking": row.get::<_, String>(3)?,
        "carrier": row.get::<_, String>(4)?,
        "created_at": row.get::<_, String>(5)?,
        "updated_at": row.get::<_, String>(6)?,
    }))
}
