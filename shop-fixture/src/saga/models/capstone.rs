//! Owns the `capstone` model: the user is checked and stock held before there is an order; the payment comes last but one.
//! Shipping follows outside of the saga.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{CAPSTONE, calls};
use crate::catalog::ORDERS;
use crate::messaging::{Publisher, Staged};
use crate::runtime::Rt;
use crate::saga::types::{Calling, Entity, Model, Saga, StepDef};
use crate::services::order_management::followups::{self, Kind};
use crate::services::order_management::orders::{self, Event, Which};
use crate::store::{StoreError, Tx};

pub(super) const CREATE_ORDER: &str = "create_order";
const CONFIRM_ORDER: &str = "confirm_order";
const VALIDATE_USER: &str = "validate_user";

/// Steps without a call: what they do is part of the transaction that records them.
const LOCAL: Duration = Duration::from_secs(2);

const STEPS: &[StepDef] = &[
    calls::VALIDATE_USER,
    calls::RESERVE_INVENTORY,
    StepDef {
        name: CREATE_ORDER,
        service: ORDERS,
        forward: "local InsertOrder",
        timeout: LOCAL,
        op: "createorder",
        entity: Entity::UserAndTime,
        critical: true,
        compensation: Some(("local CancelOrder", "compensate:createorder")),
        milestone: "order_created",
        undoing: "compensate_order",
    },
    calls::PROCESS_PAYMENT,
    StepDef {
        name: CONFIRM_ORDER,
        service: ORDERS,
        forward: "local ConfirmOrder",
        timeout: LOCAL,
        op: "confirm",
        entity: Entity::Order,
        critical: true,
        compensation: Some(("local CancelOrder", "compensate:confirm")),
        milestone: "order_confirmed",
        undoing: "compensate_order",
    },
];

pub struct Capstone {
    rt: Rt,
    publisher: Arc<Publisher>,
}

impl Capstone {
    #[must_use]
    pub fn new(rt: Rt, publisher: Arc<Publisher>) -> Arc<Self> {
        Arc::new(Self { rt, publisher })
    }
}

/// The order of a saga that turned back; before its third step there is none.
pub(super) fn cancel_order(tx: &Tx<'_>, saga: &Saga, step: &str) -> Result<bool, StoreError> {
    if !orders::exists(tx, &saga.order_id)? {
        return Ok(false);
    }
    let failure = crate::saga::journal::failure_of(saga);
    let change = Event {
        to: "CANCELLED",
        event: "saga compensated",
        reason: Some(calls::reason(&failure)),
        ..Event::default()
    };
    orders::advance(tx, Which::of(saga), step, &change)?;
    Ok(true)
}

impl Model for Capstone {
    fn name(&self) -> &'static str {
        CAPSTONE
    }

    fn steps(&self) -> &'static [StepDef] {
        STEPS
    }

    fn forward<'a>(&'a self, saga: &'a Saga, step: &'static StepDef, key: &'a str) -> Calling<'a> {
        match step.name {
            VALIDATE_USER => Box::pin(calls::validate_user(&self.rt, saga, step, key)),
            calls::RESERVE_INVENTORY_NAME => Box::pin(calls::reserve(&self.rt, saga, step, key)),
            calls::PROCESS_PAYMENT_NAME => Box::pin(calls::pay(&self.rt, saga, step, key)),
            _ => Box::pin(async { Ok(json!({ "order_id": saga.order_id })) }),
        }
    }

    fn compensate<'a>(
        &'a self,
        saga: &'a Saga,
        step: &'static StepDef,
        key: &'a str,
    ) -> Calling<'a> {
        match step.name {
            calls::RESERVE_INVENTORY_NAME => Box::pin(calls::release(&self.rt, saga, step, key)),
            calls::PROCESS_PAYMENT_NAME => Box::pin(calls::refund(&self.rt, saga, step, key)),
            _ => Box::pin(async { Ok(Value::Null) }),
        }
    }

    fn on_step(
        &self,
        tx: &Tx<'_>,
        saga: &Saga,
        step: &StepDef,
        result: &Value,
    ) -> Result<Vec<Staged>, StoreError> {
        let which = Which::of(saga);
        match step.name {
            CREATE_ORDER => {
                orders::insert(tx, saga, which.trace_id)?;
                let reserved = &saga.data.results[calls::RESERVE_INVENTORY_NAME];
                let change = Event {
                    to: "RESERVED",
                    event: "stock reserved",
                    reservation_id: reserved["reservation_id"].as_str(),
                    ..Event::default()
                };
                orders::advance(tx, which, step.name, &change)?;
                let data = orders::created_data(saga);
                return calls::stage(&self.publisher, tx, saga, "OrderCreated", data);
            }
            calls::PROCESS_PAYMENT_NAME => {
                let change = Event {
                    to: "PAID",
                    event: "payment completed",
                    payment_id: result["payment_id"].as_str(),
                    ..Event::default()
                };
                orders::advance(tx, which, step.name, &change)?;
            }
            CONFIRM_ORDER => {
                let change = Event {
                    to: "CONFIRMED",
                    event: "confirmation",
                    ..Event::default()
                };
                orders::advance(tx, which, step.name, &change)?;
            }
            _ => {}
        }
        Ok(Vec::new())
    }

    fn on_undone(
        &self,
        tx: &Tx<'_>,
        saga: &Saga,
        step: &StepDef,
    ) -> Result<Vec<Staged>, StoreError> {
        if step.name == CREATE_ORDER || step.name == CONFIRM_ORDER {
            cancel_order(tx, saga, step.name)?;
        }
        Ok(Vec::new())
    }

    fn on_completed(&self, tx: &Tx<'_>, saga: &Saga) -> Result<Vec<Staged>, StoreError> {
        followups::add(tx, saga, Kind::Ship)?;
        let data = json!({ "order_id": saga.order_id, "status": "CONFIRMED" });
        calls::stage(&self.publisher, tx, saga, "OrderUpdated", data)
    }

    fn on_failed(&self, tx: &Tx<'_>, saga: &Saga) -> Result<Vec<Staged>, StoreError> {
        // Without an order there is nothing that anybody was told of.
        if !cancel_order(tx, saga, "finish")? {
            return Ok(Vec::new());
        }
        calls::stage_cancelled(&self.publisher, tx, saga)
    }

    fn publish(&self, staged: Vec<Staged>) {
        self.publisher.publish_aside(staged);
    }
}
