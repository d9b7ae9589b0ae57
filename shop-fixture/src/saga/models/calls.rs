//! Owns the calls that models have in common: what each step asks of which service, and how it is undone. The models say
//! in which order, and what becomes of the order meanwhile.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::call::http::{HttpAsk, send};
use crate::call::{CallError, CallOptions, grpc};
use crate::catalog::{INVENTORY, NOTIFICATION, PAYMENT, SEARCH, SHIPPING, USERS};
use crate::error::ApiError;
use crate::messaging::publisher::Cause;
use crate::messaging::{Event as BusEvent, Publisher, Staged};
use crate::proto::{inventory, payments, users};
use crate::resilience::{retry, timeouts};
use crate::runtime::Rt;
use crate::saga::engine::CANCELLED;
use crate::saga::types::{Entity, Failure, Item, Saga, StepDef};
use crate::store::{StoreError, Tx};

/// How long stock is held for an order that has not shipped.
const RESERVATION_TTL_S: i64 = 600;

pub(super) const PROCESS_PAYMENT_NAME: &str = "process_payment";
pub(super) const RESERVE_INVENTORY_NAME: &str = "reserve_inventory";

pub(super) const PROCESS_PAYMENT: StepDef = StepDef {
    name: PROCESS_PAYMENT_NAME,
    service: PAYMENT,
    forward: "payments.v1.PaymentsService/ProcessPayment",
    timeout: timeouts::PAYMENT_STEP,
    op: "payment",
    entity: Entity::Order,
    critical: true,
    compensation: Some(("payments.v1.PaymentsService/RefundPayment", "refund")),
    milestone: "payment_processed",
    undoing: "compensate_payment",
};

pub(super) const RESERVE_INVENTORY: StepDef = StepDef {
    name: RESERVE_INVENTORY_NAME,
    service: INVENTORY,
    forward: "inventory.v1.InventoryService/ReserveStock",
    timeout: timeouts::INVENTORY_STEP,
    op: "reserve",
    entity: Entity::Order,
    critical: true,
    compensation: Some((
        "inventory.v1.InventoryService/ReleaseReservation",
        "compensate:reserve",
    )),
    milestone: "inventory_reserved",
    undoing: "compensate_inventory",
};

pub(super) const SHIP: StepDef = StepDef {
    name: "ship",
    service: SHIPPING,
    forward: "POST /shipments",
    timeout: timeouts::SHIPPING_STEP,
    op: "ship",
    entity: Entity::Order,
    critical: true,
    compensation: Some(("POST /shipments/{id}/cancel", "compensate:ship")),
    milestone: "shipped",
    undoing: "compensate_shipment",
};

/// Why an order of a failed saga failed.
pub(super) fn reason(failure: &Failure) -> &'static str {
    match (failure.step.as_str(), failure.code.as_str()) {
        (_, CANCELLED) => "CUSTOMER_CANCELLED",
        (PROCESS_PAYMENT_NAME | "authorize_payment", _) => "PAYMENT_ERROR",
        (RESERVE_INVENTORY_NAME, "INSUFFICIENT_STOCK") => "OUT_OF_STOCK",
        (RESERVE_INVENTORY_NAME, _) => "INVENTORY_ERROR",
        ("ship" | "create_shipment", _) => "SHIPPING_ERROR",
        _ => "SAGA_ERROR",
    }
}

/// Stages an event of the saga's order.
pub(super) fn stage(
    publisher: &Publisher,
    tx: &Tx<'_>,
    saga: &Saga,
    event_type: &'static str,
    data: Value,
) -> Result<Vec<Staged>, StoreError> {
    let cause = Cause {
        traceparent: Some(saga.traceparent.clone()),
        tracestate: saga.data.tracestate.clone(),
        baggage: saga.data.baggage.clone(),
    };
    let event = order_event(saga, event_type, data);
    Ok(vec![publisher.stage(tx, event, &cause)?])
}

/// Tells that an order was cancelled by its failed saga.
pub(super) fn stage_cancelled(
    publisher: &Publisher,
    tx: &Tx<'_>,
    saga: &Saga,
) -> Result<Vec<Staged>, StoreError> {
    let failure = crate::saga::journal::failure_of(saga);
    let paid = saga.data.results.contains_key(PROCESS_PAYMENT_NAME);
    let refunded = if paid && !saga.manual_intervention_required {
        saga.data.total_cents
    } else {
        0
    };
    let data = json!({
        "order_id": saga.order_id, "reason": reason(&failure), "refunded_cents": refunded,
    });
    stage(publisher, tx, saga, "OrderCancelled", data)
}

/// An event about the order that a saga carries.
#[must_use]
pub(crate) fn order_event(saga: &Saga, event_type: &'static str, data: Value) -> BusEvent {
    BusEvent {
        event_type,
        aggregate_type: "order",
        aggregate_id: saga.order_id.clone(),
        order_id: Some(saga.order_id.clone()),
        saga_id: Some(saga.saga_id.clone()),
        data,
    }
}

/// The engine repeats steps itself, so the call below it does not.
pub(super) fn options<'a>(step: &StepDef, key: &'a str) -> CallOptions<'a> {
    CallOptions {
        service: step.service,
        timeout: step.timeout,
        retry: retry::Class::None,
        key: Some(key),
    }
}

type Outcome = Result<Value, CallError>;

fn payment_request(saga: &Saga) -> payments::PaymentRequest {
    payments::PaymentRequest {
        order_id: saga.order_id.clone(),
        user_id: saga.user_id.clone(),
        amount_cents: saga.data.total_cents,
        currency: saga.data.currency.clone(),
        payment_method_id: saga.data.payment_method_id.clone(),
    }
}

/// The payment was closed meanwhile, by somebody who had given up on it.
fn not_paid(payment: &payments::Payment) -> CallError {
    let error = ApiError::new(
        tonic::Code::FailedPrecondition,
        "PAYMENT_FAILED",
        "the payment did not complete",
    );
    CallError::definite(error.fact("status", &payment.status))
}

pub(super) async fn pay(rt: &Rt, saga: &Saga, step: &'static StepDef, key: &str) -> Outcome {
    let payment: payments::Payment =
        grpc::unary(rt, step.forward, options(step, key), payment_request(saga)).await?;
    if payment.status != "COMPLETED" {
        return Err(not_paid(&payment));
    }
    Ok(json!({ "payment_id": payment.payment_id, "status": payment.status }))
}

pub(super) async fn refund(rt: &Rt, saga: &Saga, step: &'static StepDef, key: &str) -> Outcome {
    let request = payments::RefundRequest {
        payment_id: result_text(saga, step.name, "payment_id"),
        order_id: saga.order_id.clone(),
        amount_cents: 0,
        reason: saga.compensation_reason.clone().unwrap_or_default(),
    };
    let payment: payments::Payment =
        grpc::unary(rt, undo_method(step), options(step, key), request).await?;
    Ok(json!({ "payment_id": payment.payment_id, "status": payment.status }))
}

pub(super) async fn reserve(rt: &Rt, saga: &Saga, step: &'static StepDef, key: &str) -> Outcome {
    let lines = saga.data.items.iter();
    let request = inventory::ReserveRequest {
        order_id: saga.order_id.clone(),
        items: lines
            .map(|item| inventory::Line {
                product_id: item.product_id.clone(),
                quantity: item.quantity,
            })
            .collect(),
        reservation_ttl_seconds: RESERVATION_TTL_S,
    };
    let reservation: inventory::Reservation =
        grpc::unary(rt, step.forward, options(step, key), request).await?;
    Ok(json!({ "reservation_id": reservation.reservation_id, "status": reservation.status }))
}

pub(super) async fn release(rt: &Rt, saga: &Saga, step: &'static StepDef, key: &str) -> Outcome {
    let request = inventory::ReservationRef {
        reservation_id: result_text(saga, step.name, "reservation_id"),
        order_id: saga.order_id.clone(),
        reason: saga.compensation_reason.clone().unwrap_or_default(),
    };
    let reservation: inventory::Reservation =
        grpc::unary(rt, undo_method(step), options(step, key), request).await?;
    Ok(json!({ "reservation_id": reservation.reservation_id, "status": reservation.status }))
}

pub(super) async fn ship(rt: &Rt, saga: &Saga, step: &'static StepDef, key: &str) -> Outcome {
    let items: Vec<Value> = saga
        .data
        .items
        .iter()
        .map(|item| json!({ "product_id": item.product_id, "quantity": item.quantity }))
        .collect();
    let body = json!({ "order_id": saga.order_id, "items": items, "address": saga.data.address });
    let ask = HttpAsk {
        method: Method::POST,
        template: "/shipments",
        path: "/shipments",
        body: Some(&body),
    };
    let shipment = send(rt, &ask, options(step, key)).await?.body;
    Ok(json!({ "shipment_id": shipment["shipment_id"], "tracking": shipment["tracking"] }))
}

pub(super) async fn cancel_shipment(
    rt: &Rt,
    saga: &Saga,
    step: &'static StepDef,
    key: &str,
) -> Outcome {
    // Without an answer the shipment's own id was never heard; the order's stands for it.
    let known = result_text(saga, step.name, "shipment_id");
    let id = if known.is_empty() {
        saga.order_id.clone()
    } else {
        known
    };
    let path = format!("/shipments/{id}/cancel");
    let ask = HttpAsk {
        method: Method::POST,
        template: "/shipments/{id}/cancel",
        path: &path,
        body: None,
    };
    Ok(send(rt, &ask, options(step, key)).await?.body)
}

fn undo_method(step: &'static StepDef) -> &'static str {
    step.compensation.map_or(step.forward, |(method, _)| method)
}

pub(super) fn result_text(saga: &Saga, step: &str, field: &str) -> String {
    saga.data
        .results
        .get(step)
        .and_then(|result| result[field].as_str())
        .unwrap_or_default()
        .to_owned()
}

pub(super) async fn authorize(rt: &Rt, saga: &Saga, step: &'static StepDef, key: &str) -> Outcome {
    let payment: payments::Payment =
        grpc::unary(rt, step.forward, options(step, key), payment_request(saga)).await?;
    if payment.status != "AUTHORIZED" && payment.status != "COMPLETED" {
        return Err(not_paid(&payment));
    }
    Ok(json!({ "payment_id": payment.payment_id, "status": payment.status }))
}

pub(super) async fn void(rt: &Rt, saga: &Saga, step: &'static StepDef, key: &str) -> Outcome {
    let request = payments::VoidRequest {
        payment_id: result_text(saga, step.name, "payment_id"),
        order_id: saga.order_id.clone(),
    };
    let payment: payments::Payment =
        grpc::unary(rt, undo_method(step), options(step, key), request).await?;
    Ok(json!({ "payment_id": payment.payment_id, "status": payment.status }))
}

pub(super) async fn validate_user(
    rt: &Rt,
    saga: &Saga,
    step: &'static StepDef,
    key: &str,
) -> Outcome {
    let request = users::UserRef {
        user_id: saga.user_id.clone(),
    };
    let user: users::User = grpc::unary(rt, step.forward, options(step, key), request).await?;
    Ok(json!({ "user_id": user.user_id }))
}

pub(super) const VALIDATE_USER: StepDef = StepDef {
    name: "validate_user",
    service: USERS,
    forward: "users.v1.UsersService/ValidateUser",
    timeout: Duration::from_secs(5),
    op: "validateuser",
    entity: Entity::User,
    critical: true,
    compensation: None,
    milestone: "user_validated",
    undoing: "compensate_user",
};

/// A notice to the customer about the saga's order.
pub(crate) async fn notify(
    rt: &Rt,
    order_id: &str,
    kind: &str,
    options: CallOptions<'_>,
) -> Outcome {
    let body = json!({ "type": kind, "order_id": order_id });
    let ask = HttpAsk {
        method: Method::POST,
        template: "/notifications",
        path: "/notifications",
        body: Some(&body),
    };
    Ok(send(rt, &ask, options).await?.body)
}

pub(crate) async fn recommend(
    rt: &Rt,
    order_id: &str,
    items: &[Item],
    options: CallOptions<'_>,
) -> Outcome {
    let lines: Vec<Value> = items
        .iter()
        .map(|item| json!({ "product_id": item.product_id, "quantity": item.quantity }))
        .collect();
    let body = json!({ "order_id": order_id, "items": lines });
    let ask = HttpAsk {
        method: Method::POST,
        template: "/internal/recommendations",
        path: "/internal/recommendations",
        body: Some(&body),
    };
    Ok(send(rt, &ask, options).await?.body)
}

pub(super) const SEND_CONFIRMATION: StepDef = StepDef {
    name: "send_confirmation",
    service: NOTIFICATION,
    forward: "POST /notifications",
    timeout: Duration::from_secs(5),
    op: "confirm-notice",
    entity: Entity::Order,
    critical: false,
    compensation: Some(("POST /notifications", "compensate:confirm-notice")),
    milestone: "confirmation_sent",
    undoing: "compensate_confirmation",
};

pub(super) const UPDATE_RECOMMENDATIONS: StepDef = StepDef {
    name: "update_recommendations",
    service: SEARCH,
    forward: "POST /internal/recommendations",
    timeout: Duration::from_secs(5),
    op: "recommend",
    entity: Entity::Order,
    critical: false,
    compensation: None,
    milestone: "recommendations_updated",
    undoing: "compensate_recommendations",
};
