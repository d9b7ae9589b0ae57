//! Owns the `shopflow` model: pay first, then reserve, then ship. The order is written PENDING before the first step.

use std::sync::Arc;

use serde_json::{Value, json};

use super::calls::{
    PROCESS_PAYMENT_NAME as PROCESS_PAYMENT, RESERVE_INVENTORY_NAME as RESERVE_INVENTORY,
};
use super::{SHOPFLOW, calls};
use crate::messaging::{Publisher, Staged};
use crate::runtime::Rt;
use crate::saga::engine::CANCELLED;
use crate::saga::types::{Calling, Model, Saga, StepDef};
use crate::services::order_management::orders::{self, Event, Which};
use crate::store::{StoreError, Tx};

const SHIP: &str = "ship";

const STEPS: &[StepDef] = &[
    StepDef {
        milestone: "payment_processed",
        ..calls::PROCESS_PAYMENT
    },
    StepDef {
        milestone: "inventory_reserved",
        ..calls::RESERVE_INVENTORY
    },
    StepDef {
        name: SHIP,
        ..calls::SHIP
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
        calls::stage(&self.publisher, tx, saga, event_type, data)
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
            PROCESS_PAYMENT => Box::pin(calls::pay(&self.rt, saga, step, key)),
            RESERVE_INVENTORY => Box::pin(calls::reserve(&self.rt, saga, step, key)),
            _ => Box::pin(calls::ship(&self.rt, saga, step, key)),
        }
    }

    fn compensate<'a>(
        &'a self,
        saga: &'a Saga,
        step: &'static StepDef,
        key: &'a str,
    ) -> Calling<'a> {
        match step.name {
            PROCESS_PAYMENT => Box::pin(calls::refund(&self.rt, saga, step, key)),
            RESERVE_INVENTORY => Box::pin(calls::release(&self.rt, saga, step, key)),
            _ => Box::pin(calls::cancel_shipment(&self.rt, saga, step, key)),
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
        let cancelled = failure.code == CANCELLED;
        if orders::status(tx, &saga.order_id)?.as_deref() == Some("CANCELLED") {
            // The customer closed it; undoing it changes nothing of that.
            return Ok(Vec::new());
        }
        let reason = calls::reason(&failure);
        let change = Event {
            to: if cancelled { "CANCELLED" } else { "FAILED" },
            event: if cancelled {
                "customer cancel"
            } else {
                "saga failed"
            },
            reason: Some(reason),
            ..Event::default()
        };
        orders::advance(tx, Which::of(saga), &failure.step, &change)?;
        if failure.step == PROCESS_PAYMENT && !cancelled {
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
