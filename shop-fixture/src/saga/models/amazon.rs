//! Owns the `amazon` model: stock is held and the payment authorised before anything ships; the money is taken afterwards.
//! What the customer is told and recommended does not hold the order up.

use std::sync::Arc;

use serde_json::{Value, json};

use super::capstone::cancel_order;
use super::{AMAZON, calls};
use crate::call::CallOptions;
use crate::messaging::{Publisher, Staged};
use crate::resilience::retry;
use crate::runtime::Rt;
use crate::saga::types::{Calling, Model, Saga, StepDef};
use crate::services::order_management::followups::{self, Kind};
use crate::services::order_management::orders::{self, Event, Which};
use crate::store::{StoreError, Tx};

const AUTHORIZE_PAYMENT: &str = "authorize_payment";
const CREATE_SHIPMENT: &str = "create_shipment";

const STEPS: &[StepDef] = &[
    calls::RESERVE_INVENTORY,
    StepDef {
        name: AUTHORIZE_PAYMENT,
        forward: "payments.v1.PaymentsService/AuthorizePayment",
        op: "authorize",
        compensation: Some((
            "payments.v1.PaymentsService/VoidPayment",
            "compensate:authorize",
        )),
        milestone: "payment_authorized",
        ..calls::PROCESS_PAYMENT
    },
    StepDef {
        name: CREATE_SHIPMENT,
        ..calls::SHIP
    },
    calls::SEND_CONFIRMATION,
    calls::UPDATE_RECOMMENDATIONS,
];

pub struct Amazon {
    rt: Rt,
    publisher: Arc<Publisher>,
}

impl Amazon {
    #[must_use]
    pub fn new(rt: Rt, publisher: Arc<Publisher>) -> Arc<Self> {
        Arc::new(Self { rt, publisher })
    }
}

fn options<'a>(step: &StepDef, key: &'a str) -> CallOptions<'a> {
    CallOptions {
        service: step.service,
        timeout: step.timeout,
        retry: retry::Class::None,
        key: Some(key),
    }
}

impl Model for Amazon {
    fn name(&self) -> &'static str {
        AMAZON
    }

    fn steps(&self) -> &'static [StepDef] {
        STEPS
    }

    fn forward<'a>(&'a self, saga: &'a Saga, step: &'static StepDef, key: &'a str) -> Calling<'a> {
        let rt = &self.rt;
        match step.name {
            calls::RESERVE_INVENTORY_NAME => Box::pin(calls::reserve(rt, saga, step, key)),
            AUTHORIZE_PAYMENT => Box::pin(calls::authorize(rt, saga, step, key)),
            CREATE_SHIPMENT => Box::pin(calls::ship(rt, saga, step, key)),
            "send_confirmation" => Box::pin(calls::notify(
                rt,
                &saga.order_id,
                "OrderConfirmation",
                options(step, key),
            )),
            _ => Box::pin(calls::recommend(
                rt,
                &saga.order_id,
                &saga.data.items,
                options(step, key),
            )),
        }
    }

    fn compensate<'a>(
        &'a self,
        saga: &'a Saga,
        step: &'static StepDef,
        key: &'a str,
    ) -> Calling<'a> {
        let rt = &self.rt;
        match step.name {
            calls::RESERVE_INVENTORY_NAME => Box::pin(calls::release(rt, saga, step, key)),
            AUTHORIZE_PAYMENT => Box::pin(calls::void(rt, saga, step, key)),
            CREATE_SHIPMENT => Box::pin(calls::cancel_shipment(rt, saga, step, key)),
            _ => Box::pin(calls::notify(
                rt,
                &saga.order_id,
                "OrderCancellation",
                options(step, key),
            )),
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
            calls::RESERVE_INVENTORY_NAME => Event {
                to: "RESERVED",
                event: "stock reserved",
                reservation_id: result["reservation_id"].as_str(),
                ..Event::default()
            },
            AUTHORIZE_PAYMENT => Event {
                to: "PAID",
                event: "payment authorised",
                payment_id: result["payment_id"].as_str(),
                ..Event::default()
            },
            CREATE_SHIPMENT => {
                // From here on the money is taken, however long that takes.
                followups::add(tx, saga, Kind::Capture)?;
                Event {
                    to: "SHIPPED",
                    event: "shipped",
                    shipment_id: result["shipment_id"].as_str(),
                    ..Event::default()
                }
            }
            _ => return Ok(Vec::new()),
        };
        orders::advance(tx, Which::of(saga), step.name, &change)?;
        Ok(Vec::new())
    }

    fn on_skipped(&self, tx: &Tx<'_>, saga: &Saga, step: &StepDef) -> Result<(), StoreError> {
        let kind = if step.name == calls::SEND_CONFIRMATION.name {
            Kind::Notify
        } else {
            Kind::Recommend
        };
        followups::add(tx, saga, kind)
    }

    fn on_completed(&self, tx: &Tx<'_>, saga: &Saga) -> Result<Vec<Staged>, StoreError> {
        let data = json!({ "order_id": saga.order_id, "status": "SHIPPED" });
        calls::stage(&self.publisher, tx, saga, "OrderUpdated", data)
    }

    fn on_failed(&self, tx: &Tx<'_>, saga: &Saga) -> Result<Vec<Staged>, StoreError> {
        cancel_order(tx, saga, "finish")?;
        calls::stage_cancelled(&self.publisher, tx, saga)
    }

    fn publish(&self, staged: Vec<Staged>) {
        self.publisher.publish_aside(staged);
    }
}
