//! Owns checkout sessions: a cart's lines and prices as they were when the customer went to pay, and the saga that turns
//! them into an order.

use std::sync::Arc;

use serde_json::Value;
use tonic::Code;

use crate::call::{CallOptions, grpc};
use crate::catalog::ORDERS;
use crate::context;
use crate::error::ApiError;
use crate::ids::ulid;
use crate::proto::checkout as proto;
use crate::proto::orders::{CreateOrderResponse, Item, Order, OrderRef};
use crate::resilience::{retry, timeouts};
use crate::runtime::Rt;
use crate::saga::engine::Engine;
use crate::saga::journal;
use crate::saga::models::CLOUDSCALE;
use crate::saga::types::{Data, Item as SagaItem, Saga, Status};
use crate::services::keyed::{self, Changed};
use crate::services::order_management::orders as order_rows;
use crate::store::{StoreError, Tx};

pub(super) const SCHEMA: &str = "
CREATE TABLE checkout_sessions (
    session_id TEXT PRIMARY KEY,
    cart_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    payment_method_id TEXT NOT NULL,
    items TEXT NOT NULL,
    total_cents INTEGER NOT NULL,
    currency TEXT NOT NULL,
    shipping_address TEXT NOT NULL,
    status TEXT NOT NULL,
    order_id TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE VIEW ledger_checkout_sessions AS
    SELECT session_id, cart_id, user_id, total_cents, currency, status, order_id, created_at, updated_at,
           updated_at AS changed_at FROM checkout_sessions;
";

/// What a session is opened with.
pub(super) struct New {
    pub(super) cart_id: String,
    pub(super) user_id: String,
    pub(super) payment_method_id: String,
    pub(super) items: Vec<Item>,
    pub(super) address: Value,
}

fn insert(tx: &Tx<'_>, new: &New) -> Result<Result<proto::Session, ApiError>, StoreError> {
    let mut total: i64 = 0;
    for item in &new.items {
        let line = item.unit_price_cents.checked_mul(item.quantity);
        match line.and_then(|line| line.checked_add(total)) {
            Some(sum) if item.quantity > 0 && item.unit_price_cents >= 0 => total = sum,
            _ => return Ok(Err(ApiError::invalid("the cart's total is too large"))),
        }
    }
    if total <= 0 {
        return Ok(Err(ApiError::invalid("the cart's total must be positive")));
    }
    let session_id = ulid("ses_");
    let lines: Vec<SagaItem> = new.items.iter().map(saga_item).collect();
    let items =
        serde_json::to_string(&lines).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    tx.execute(
        "INSERT checkout_sessions",
        "INSERT INTO checkout_sessions VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'USD', ?7, 'OPEN', NULL, ?8, ?8)",
        (
            &session_id,
            &new.cart_id,
            &new.user_id,
            &new.payment_method_id,
            items,
            total,
            new.address.to_string(),
            tx.now_text(),
        ),
    )?;
    Ok(Ok(proto::Session {
        session_id,
        cart_id: new.cart_id.clone(),
        user_id: new.user_id.clone(),
        payment_method_id: new.payment_method_id.clone(),
        items: new.items.clone(),
        total_cents: total,
        currency: "USD".to_owned(),
        status: "OPEN".to_owned(),
        order_id: String::new(),
    }))
}

fn saga_item(item: &Item) -> SagaItem {
    SagaItem {
        product_id: item.product_id.clone(),
        quantity: item.quantity,
        unit_price_cents: item.unit_price_cents,
    }
}

/// Opens a session under the request's key.
pub(super) async fn open_keyed(rt: &Rt, new: New) -> Result<proto::Session, ApiError> {
    let lines: Vec<Value> = new
        .items
        .iter()
        .map(|item| serde_json::json!([item.product_id, item.quantity, item.unit_price_cents]))
        .collect();
    let payload = serde_json::json!({
        "cart_id": new.cart_id, "user_id": new.user_id, "payment_method_id": new.payment_method_id,
        "items": lines, "address": new.address,
    });
    let changed = keyed::run(rt, "StartCheckout", &payload, move |tx| {
        Ok(insert(tx, &new)?.map(Changed::new))
    })
    .await?;
    Ok(changed.answer)
}

/// Opens a session for a checkout that completes it at once.
pub(super) async fn open(rt: &Rt, new: New) -> Result<proto::Session, ApiError> {
    rt.store()?
        .note::<_, StoreError, _>(move |tx| insert(tx, &new))
        .await?
}

struct Found {
    saga: Saga,
    status: String,
}

fn find(tx: &Tx<'_>, session_id: &str, traceparent: &str) -> Result<Option<Found>, StoreError> {
    let row = tx.one(
        "SELECT checkout_sessions",
        "SELECT user_id, payment_method_id, items, total_cents, currency, shipping_address, status, order_id
         FROM checkout_sessions WHERE session_id = ?1",
        [session_id],
        |row| {
            let (items, address): (String, String) = (row.get(2)?, row.get(5)?);
            let data = Data {
                items: serde_json::from_str(&items).unwrap_or_default(),
                total_cents: row.get(3)?,
                currency: row.get(4)?,
                payment_method_id: row.get(1)?,
                address: serde_json::from_str(&address).unwrap_or_default(),
                session_id: session_id.to_owned(),
                ..Data::default()
            };
            let known: Option<String> = row.get(7)?;
            Ok((row.get::<_, String>(0)?, data, row.get::<_, String>(6)?, known))
        },
    )?;
    let now = tx.now_text();
    Ok(row.map(|(user_id, data, status, known)| Found {
        status,
        saga: Saga {
            saga_id: ulid("sg_"),
            model: CLOUDSCALE.to_owned(),
            operation_id: None,
            order_id: known.unwrap_or_else(|| ulid("ord_")),
            user_id,
            status: Status::Initiated,
            current_state: "initiated".to_owned(),
            completed_steps: Vec::new(),
            data,
            compensation_reason: None,
            manual_intervention_required: false,
            version: 1,
            traceparent: traceparent.to_owned(),
            created_at: now.clone(),
            updated_at: now,
        },
    }))
}

/// The end of a session, in the transaction that ends its saga.
pub fn close(tx: &Tx<'_>, saga: &Saga, status: &'static str) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE checkout_sessions",
        "UPDATE checkout_sessions SET status = ?2, updated_at = ?3 WHERE session_id = ?1",
        (&saga.data.session_id, status, tx.now_text()),
    )?;
    Ok(())
}

/// Runs the saga of a session that is open; one that was completed before answers with its order.
pub(super) async fn complete(
    rt: &Rt,
    engine: &Arc<Engine>,
    request: proto::CompleteCheckoutRequest,
) -> Result<CreateOrderResponse, ApiError> {
    let model = engine.model(CLOUDSCALE)?;
    let opening = engine.opening(&model);
    let origin = opening.origin();
    let here = context::current();
    let trace = here
        .trace
        .unwrap_or_else(crate::propagation::TraceContext::new_root);
    let (traceparent, baggage) = (trace.to_traceparent(), here.shared.baggage.to_header());
    let (operation, session_id) = (here.shared.idempotency_key.clone(), request.session_id);
    let found = rt
        .store()?
        .write::<_, StoreError, _>(move |tx| {
            let Some(mut found) = find(tx, &session_id, &traceparent)? else {
                return Ok(None);
            };
            if found.status != "OPEN" {
                return Ok(Some(found));
            }
            found.saga.operation_id = operation;
            found.saga.data.baggage = baggage;
            tx.execute(
                "UPDATE checkout_sessions",
                "UPDATE checkout_sessions SET status = 'IN_PROGRESS', order_id = ?2, updated_at = ?3
                 WHERE session_id = ?1",
                (&session_id, &found.saga.order_id, tx.now_text()),
            )?;
            opening.write(tx, &found.saga)?;
            Ok(Some(found))
        })
        .await?;
    let Some(Found { saga, status }) = found else {
        return Err(ApiError::not_found(
            "SESSION_NOT_FOUND",
            "there is no such checkout session",
        ));
    };
    let order_id = saga.order_id.clone();
    match status.as_str() {
        "OPEN" => {
            let end = engine.spawn(saga, model, origin);
            if request.respond_async {
                return Ok(running(&order_id));
            }
            match tokio::time::timeout(timeouts::SAGA_WAIT, end).await {
                Ok(Ok(saga)) => answer(rt, &saga).await,
                // Still running, or its task ended without an answer: the journal tells the rest later.
                Ok(Err(_)) | Err(_) => Ok(running(&order_id)),
            }
        }
        "IN_PROGRESS" => Ok(running(&order_id)),
        "COMPLETED" => Ok(CreateOrderResponse {
            order: Some(order(rt, &order_id).await?),
            saga_status: Status::Completed.as_str().to_owned(),
            ..CreateOrderResponse::default()
        }),
        other => Err(ApiError::new(
            Code::FailedPrecondition,
            "INVALID_SESSION_STATE",
            "the checkout of this session has failed",
        )
        .fact("status", other)),
    }
}

/// An order of which nothing is known yet but its id.
fn unborn(order_id: &str) -> Order {
    Order {
        order_id: order_id.to_owned(),
        status: "PENDING".to_owned(),
        status_label: order_rows::label("PENDING", None),
        ..Order::default()
    }
}

fn running(order_id: &str) -> CreateOrderResponse {
    CreateOrderResponse {
        order: Some(unborn(order_id)),
        saga_status: Status::Running.as_str().to_owned(),
        ..CreateOrderResponse::default()
    }
}

async fn order(rt: &Rt, order_id: &str) -> Result<Order, ApiError> {
    let options = CallOptions {
        service: ORDERS,
        timeout: std::time::Duration::from_secs(5),
        retry: retry::Class::Read,
        key: None,
    };
    let ask = OrderRef {
        order_id: order_id.to_owned(),
    };
    Ok(grpc::unary(rt, "orders.v1.OrdersService/GetOrder", options, ask).await?)
}

async fn answer(rt: &Rt, saga: &Saga) -> Result<CreateOrderResponse, ApiError> {
    let failure = journal::failure_of(saga);
    let order = match order(rt, &saga.order_id).await {
        Ok(order) => order,
        // A saga that turned back before its order leaves none, and one that ended well is known to have one.
        Err(_) => unborn(&saga.order_id),
    };
    Ok(CreateOrderResponse {
        order: Some(order),
        saga_status: saga.status.as_str().to_owned(),
        saga_state: saga.current_state.clone(),
        failed_step: failure.step,
        error_code: failure.code,
        error_message: failure.message,
        manual_intervention_required: saga.manual_intervention_required,
    })
}
