//! Owns the `cloudscale` model, which checkout runs: stock, then payment, and only then an order, written by its owner with
//! its whole history at once. The last step merely watches the order's first event go out.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{CLOUDSCALE, calls};
use crate::call::{CallError, grpc};
use crate::catalog::ORDERS;
use crate::error::ApiError;
use crate::messaging::Staged;
use crate::proto::orders as proto;
use crate::runtime::Rt;
use crate::saga::types::{Calling, Entity, Model, Saga, StepDef};
use crate::services::checkout::sessions;
use crate::store::{StoreError, Tx};

const CREATE_ORDER: &str = "create_order";
const WATCH: Duration = Duration::from_millis(50);

const STEPS: &[StepDef] = &[
    StepDef {
        entity: Entity::Session,
        ..calls::RESERVE_INVENTORY
    },
    StepDef {
        entity: Entity::Session,
        ..calls::PROCESS_PAYMENT
    },
    StepDef {
        name: CREATE_ORDER,
        service: ORDERS,
        forward: "orders.v1.OrdersService/InsertOrder",
        timeout: Duration::from_secs(5),
        op: "createorder",
        entity: Entity::UserAndTime,
        critical: true,
        compensation: Some((
            "orders.v1.OrdersService/UpdateOrderStatus",
            "compensate:createorder",
        )),
        milestone: "order_created",
        undoing: "compensate_order",
    },
    StepDef {
        name: "publish_order_created",
        service: ORDERS,
        forward: "orders.v1.OrdersService/GetOrderStatus",
        timeout: Duration::from_secs(2),
        op: "publish",
        entity: Entity::Order,
        critical: false,
        compensation: None,
        milestone: "order_published",
        undoing: "compensate_publish",
    },
];

pub struct Cloudscale {
    rt: Rt,
}

impl Cloudscale {
    #[must_use]
    pub fn new(rt: Rt) -> std::sync::Arc<Self> {
        std::sync::Arc::new(Self { rt })
    }

    async fn insert(
        &self,
        saga: &Saga,
        step: &'static StepDef,
        key: &str,
    ) -> Result<Value, CallError> {
        let items = saga.data.items.iter().map(|item| proto::Item {
            product_id: item.product_id.clone(),
            quantity: item.quantity,
            unit_price_cents: item.unit_price_cents,
        });
        let request = proto::InsertOrderRequest {
            order_id: saga.order_id.clone(),
            user_id: saga.user_id.clone(),
            items: items.collect(),
            currency: saga.data.currency.clone(),
            shipping_address: crate::services::order_management::orders::address_of(
                &saga.data.address,
            ),
            model: saga.model.clone(),
            saga_id: saga.saga_id.clone(),
            reservation_id: calls::result_text(
                saga,
                calls::RESERVE_INVENTORY_NAME,
                "reservation_id",
            ),
            payment_id: calls::result_text(saga, calls::PROCESS_PAYMENT_NAME, "payment_id"),
            traceparent: saga.traceparent.clone(),
        };
        let order: proto::Order =
            grpc::unary(&self.rt, step.forward, calls::options(step, key), request).await?;
        Ok(json!({ "order_id": order.order_id, "status": order.status }))
    }

    async fn cancel(
        &self,
        saga: &Saga,
        step: &'static StepDef,
        key: &str,
    ) -> Result<Value, CallError> {
        let failure = crate::saga::journal::failure_of(saga);
        let request = proto::UpdateOrderStatusRequest {
            order_id: saga.order_id.clone(),
            status: "CANCELLED".to_owned(),
            reason: calls::reason(&failure).to_owned(),
        };
        let method = "orders.v1.OrdersService/UpdateOrderStatus";
        let outcome: Result<proto::Order, CallError> =
            grpc::unary(&self.rt, method, calls::options(step, key), request).await;
        match outcome {
            Ok(order) => Ok(json!({ "order_id": order.order_id, "status": order.status })),
            // It never came to an order: undoing it has succeeded.
            Err(error) if error.api.reason == "ORDER_NOT_FOUND" => Ok(Value::Null),
            Err(error) => Err(error),
        }
    }

    /// Asks until the event is out or the time is up.
    async fn watch(&self, saga: &Saga, step: &'static StepDef) -> Result<Value, CallError> {
        let deadline = Instant::now() + step.timeout;
        loop {
            let request = proto::OrderRef {
                order_id: saga.order_id.clone(),
            };
            let status: proto::OrderStatusReply =
                grpc::unary(&self.rt, step.forward, calls::options(step, ""), request).await?;
            if status.event_published {
                return Ok(json!({ "event_published": true }));
            }
            if Instant::now() + WATCH > deadline {
                let error = ApiError::new(
                    tonic::Code::DeadlineExceeded,
                    "EVENT_NOT_PUBLISHED_YET",
                    "the order's event is not out yet; the relay goes on trying",
                );
                return Err(CallError::definite(error));
            }
            tokio::time::sleep(WATCH).await;
        }
    }
}

impl Model for Cloudscale {
    fn name(&self) -> &'static str {
        CLOUDSCALE
    }

    fn steps(&self) -> &'static [StepDef] {
        STEPS
    }

    fn forward<'a>(&'a self, saga: &'a Saga, step: &'static StepDef, key: &'a str) -> Calling<'a> {
        match step.name {
            calls::RESERVE_INVENTORY_NAME => Box::pin(calls::reserve(&self.rt, saga, step, key)),
            calls::PROCESS_PAYMENT_NAME => Box::pin(calls::pay(&self.rt, saga, step, key)),
            CREATE_ORDER => Box::pin(self.insert(saga, step, key)),
            _ => Box::pin(self.watch(saga, step)),
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
            _ => Box::pin(self.cancel(saga, step, key)),
        }
    }

    fn on_step(
        &self,
        _: &Tx<'_>,
        _: &Saga,
        _: &StepDef,
        _: &Value,
    ) -> Result<Vec<Staged>, StoreError> {
        Ok(Vec::new())
    }

    fn on_completed(&self, tx: &Tx<'_>, saga: &Saga) -> Result<Vec<Staged>, StoreError> {
        sessions::close(tx, saga, "COMPLETED")?;
        Ok(Vec::new())
    }

    fn on_failed(&self, tx: &Tx<'_>, saga: &Saga) -> Result<Vec<Staged>, StoreError> {
        sessions::close(tx, saga, "FAILED")?;
        Ok(Vec::new())
    }

    fn publish(&self, _: Vec<Staged>) {}
}
