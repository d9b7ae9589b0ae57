//! Owns the `shopflow` model: pay first, then reserve, then ship. The order is written PENDING before the first step.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use super::SHOPFLOW;
use crate::call::http::{HttpAsk, send};
use crate::call::{CallError, CallOptions, grpc};
use crate::catalog::{INVENTORY, PAYMENT, SHIPPING};
use crate::error::ApiError;
use crate::messaging::publisher::Cause;
use crate::messaging::{Event as BusEvent, Publisher, Staged};
use crate::proto::{inventory, payments};
use crate::resilience::{retry, timeouts};
use crate::runtime::Rt;
use crate::saga::types::{Calling, Model, Saga, StepDef};
use crate::services::order_management::orders::{self, Event, Which};
use crate::store::{StoreError, Tx};

pub const PROCESS_PAYMENT: &str = "process_payment";
pub const RESERVE_INVENTORY: &str = "reserve_inventory";
pub const SHIP: &str = "ship";

const STEPS: &[StepDef] = &[
    StepDef {
        name: PROCESS_PAYMENT,
        service: PAYMENT,
        forward: "payments.v1.PaymentsService/ProcessPayment",
        timeout: timeouts::PAYMENT_STEP,
        op: "payment",
        compensation: Some(("payments.v1.PaymentsService/RefundPayment", "refund")),
        milestone: "payment_processed",
        undoing: "compensate_payment",
    },
    StepDef {
        name: RESERVE_INVENTORY,
        service: INVENTORY,
        forward: "inventory.v1.InventoryService/ReserveStock",
        timeout: timeouts::INVENTORY_STEP,
        op: "reserve",
        compensation: Some((
            "inventory.v1.InventoryService/ReleaseReservation",
            "compensate:reserve",
        )),
        milestone: "inventory_reserved",
        undoing: "compensate_inventory",
    },
    StepDef {
        name: SHIP,
        service: SHIPPING,
        forward: "POST /shipments",
        timeout: timeouts::SHIPPING_STEP,
        op: "ship",
        compensation: Some(("POST /shipments/{id}/cancel", "compensate:ship")),
        milestone: "shipped",
        undoing: "compensate_shipment",
    },
];

pub struct Shopflow {
    rt: Rt,
    publisher: Arc<Publisher>,
}

impl Shopflow {
    #[must_use]
    pub fn new(rt: Rt, publisher: Arc<Publisher>) -> Arc<Self> {
        Arc::new(Self { rt, publisher })
    }

    /// An event of the saga's order.
    fn stage(
        &self,
        tx: &Tx<'_>,
        saga: &Saga,
        event_type: &'static str,
        data: Value,
    ) -> Result<Vec<Staged>, StoreError> {
        let cause = Cause {
            traceparent: Some(saga.traceparent.clone()),
            baggage: saga.data.baggage.clone(),
        };
        Ok(vec![self.publisher.stage(
            tx,
            order_event(saga, event_type, data),
            &cause,
        )?])
    }
}

/// An event about the order that a saga carries.
#[must_use]
pub fn order_event(saga: &Saga, event_type: &'static str, data: Value) -> BusEvent {
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
fn options<'a>(step: &StepDef, key: &'a str) -> CallOptions<'a> {
    CallOptions {
        service: step.service,
        timeout: step.timeout,
        retry: retry::Class::None,
        key: Some(key),
    }
}

impl Model for Shopflow {
    fn name(&self) -> &'static str {
        SHOPFLOW
    }

    fn steps(&self) -> &'static [StepDef] {
        STEPS
    }

    fn forward<'a>(&'a self, saga: &'a Saga, step: &'static StepDef, key: &'a str) -> Calling<'a> {
        match step.name {
            PROCESS_PAYMENT => Box::pin(pay(&self.rt, saga, step, key)),
            RESERVE_INVENTORY => Box::pin(reserve(&self.rt, saga, step, key)),
            _ => Box::pin(ship(&self.rt, saga, step, key)),
        }
    }

    fn compensate<'a>(
        &'a self,
        saga: &'a Saga,
        step: &'static StepDef,
        key: &'a str,
    ) -> Calling<'a> {
        match step.name {
            PROCESS_PAYMENT => Box::pin(refund(&self.rt, saga, step, key)),
            RESERVE_INVENTORY => Box::pin(release(&self.rt, saga, step, key)),
            _ => Box::pin(cancel_shipment(&self.rt, saga, step, key)),
        }
    }

    fn on_step(
        &self,
        tx: &Tx<'_>,
        saga: &Saga,
        step: &StepDef,
        result: &Value,
    ) -> Result<Vec<Staged>, StoreError> {
        let change = match step.name {
            PROCESS_PAYMENT => Event {
                to: "PAID",
                event: "payment completed",
                payment_id: result["payment_id"].as_str(),
                ..Event::default()
            },
            RESERVE_INVENTORY => Event {
                to: "CONFIRMED",
                event: "stock reserved",
                reservation_id: result["reservation_id"].as_str(),
                ..Event::default()
            },
            _ => Event {
                to: "SHIPPED",
                event: "shipped",
                shipment_id: result["shipment_id"].as_str(),
                ..Event::default()
            },
        };
        orders::advance(tx, Which::of(saga), step.name, &change)?;
        Ok(Vec::new())
    }

    fn on_completed(&self, tx: &Tx<'_>, saga: &Saga) -> Result<Vec<Staged>, StoreError> {
        self.stage(
            tx,
            saga,
            "OrderUpdated",
            json!({ "order_id": saga.order_id, "status": "SHIPPED" }),
        )
    }

    fn on_failed(&self, tx: &Tx<'_>, saga: &Saga) -> Result<Vec<Staged>, StoreError> {
        let failure = crate::saga::journal::failure_of(saga);
        let reason = match (failure.step.as_str(), failure.code.as_str()) {
            (PROCESS_PAYMENT, _) => "PAYMENT_ERROR",
            (RESERVE_INVENTORY, "INSUFFICIENT_STOCK") => "OUT_OF_STOCK",
            (RESERVE_INVENTORY, _) => "INVENTORY_ERROR",
            _ => "SHIPPING_ERROR",
        };
        if orders::status(tx, &saga.order_id)?.as_deref() == Some("CANCELLED") {
            // The customer closed it; undoing it changes nothing of that.
            return Ok(Vec::new());
        }
        let change = Event {
            to: "FAILED",
            event: "saga failed",
            reason: Some(reason),
            ..Event::default()
        };
        orders::advance(tx, Which::of(saga), &failure.step, &change)?;
        if failure.step == PROCESS_PAYMENT {
            let data =
                json!({ "order_id": saga.order_id, "status": "FAILED", "failure_reason": reason });
            return self.stage(tx, saga, "OrderUpdated", data);
        }
        let refunded = if saga.manual_intervention_required {
            0
        } else {
            saga.data.total_cents
        };
        if self.rt.faults.is_on("cancel_untold") {
            return Ok(Vec::new());
        }
        let data =
            json!({ "order_id": saga.order_id, "reason": reason, "refunded_cents": refunded });
        self.stage(tx, saga, "OrderCancelled", data)
    }

    fn is_still_wanted(&self, tx: &Tx<'_>, saga: &Saga) -> Result<bool, StoreError> {
        Ok(orders::status(tx, &saga.order_id)?.as_deref() != Some("CANCELLED"))
    }

    fn publish(&self, staged: Vec<Staged>) {
        self.publisher.publish_aside(staged);
    }
}

type Outcome = Result<Value, CallError>;

async fn pay(rt: &Rt, saga: &Saga, step: &'static StepDef, key: &str) -> Outcome {
    let request = payments::PaymentRequest {
        order_id: saga.order_id.clone(),
        user_id: saga.user_id.clone(),
        amount_cents: saga.data.total_cents,
        currency: saga.data.currency.clone(),
        payment_method_id: saga.data.payment_method_id.clone(),
    };
    let payment: payments::Payment =
        grpc::unary(rt, step.forward, options(step, key), request).await?;
    if payment.status != "COMPLETED" {
        // It was closed meanwhile, by somebody who had given up on it.
        let error = ApiError::new(
            tonic::Code::FailedPrecondition,
            "PAYMENT_FAILED",
            "the payment did not complete",
        );
        return Err(CallError::definite(error.fact("status", &payment.status)));
    }
    Ok(json!({ "payment_id": payment.payment_id, "status": payment.status }))
}

async fn refund(rt: &Rt, saga: &Saga, step: &'static StepDef, key: &str) -> Outcome {
    let request = payments::RefundRequest {
        payment_id: result_text(saga, PROCESS_PAYMENT, "payment_id"),
        order_id: saga.order_id.clone(),
        amount_cents: 0,
        reason: saga.compensation_reason.clone().unwrap_or_default(),
    };
    let payment: payments::Payment =
        grpc::unary(rt, undo_method(step), options(step, key), request).await?;
    Ok(json!({ "payment_id": payment.payment_id, "status": payment.status }))
}

async fn reserve(rt: &Rt, saga: &Saga, step: &'static StepDef, key: &str) -> Outcome {
    let lines = saga.data.items.iter();
    let request = inventory::ReserveRequest {
        order_id: saga.order_id.clone(),
        items: lines
            .map(|item| inventory::Line {
                product_id: item.product_id.clone(),
                quantity: item.quantity,
            })
            .collect(),
        reservation_ttl_seconds: 0,
    };
    let reservation: inventory::Reservation =
        grpc::unary(rt, step.forward, options(step, key), request).await?;
    Ok(json!({ "reservation_id": reservation.reservation_id, "status": reservation.status }))
}

async fn release(rt: &Rt, saga: &Saga, step: &'static StepDef, key: &str) -> Outcome {
    let request = inventory::ReservationRef {
        reservation_id: result_text(saga, RESERVE_INVENTORY, "reservation_id"),
        order_id: saga.order_id.clone(),
        reason: saga.compensation_reason.clone().unwrap_or_default(),
    };
    let reservation: inventory::Reservation =
        grpc::unary(rt, undo_method(step), options(step, key), request).await?;
    Ok(json!({ "reservation_id": reservation.reservation_id, "status": reservation.status }))
}

async fn ship(rt: &Rt, saga: &Saga, step: &'static StepDef, key: &str) -> Outcome {
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

async fn cancel_shipment(rt: &Rt, saga: &Saga, step: &'static StepDef, key: &str) -> Outcome {
    // Without an answer the shipment's own id was never heard; the order's stands for it.
    let known = result_text(saga, SHIP, "shipment_id");
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

fn result_text(saga: &Saga, step: &str, field: &str) -> String {
    saga.data
        .results
        .get(step)
        .and_then(|result| result[field].as_str())
        .unwrap_or_default()
        .to_owned()
}
