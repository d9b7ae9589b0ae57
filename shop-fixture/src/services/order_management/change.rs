//! Owns the changes of orders that come from outside of their sagas: cancelling one, writing one that another coordinator
//! carried, changing its status.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tonic::Code;

use super::orders::{self, Event, Which};
use super::{Orders, followups};
use crate::context;
use crate::error::ApiError;
use crate::ids::ulid;
use crate::messaging::Event as BusEvent;
use crate::messaging::publisher::Cause;
use crate::proto::orders as proto;
use crate::resilience::timeouts;
use crate::saga::engine::{CANCELLED, Origin};
use crate::saga::journal;
use crate::saga::models::{CANCELLATION, CLOUDSCALE};
use crate::saga::types::{Data, Failure, Item, Saga, Status};
use crate::services::keyed::{self, Changed};
use crate::store::{StoreError, Tx};

/// How long the coordinator of an inserted order is given before the order ships.
const UNDECIDED: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);

enum Cancel {
    /// Its saga goes on and turns back by itself.
    Asked,
    /// A saga of its own undoes it.
    Undo(Box<Saga>),
}

fn wrong_state(order: &str, status: &str, action: &str) -> ApiError {
    ApiError::new(
        Code::FailedPrecondition,
        "INVALID_ORDER_STATE",
        format!("an order that is {status} cannot be {action}"),
    )
    .fact("order_id", order)
    .fact("status", status)
    .fact("action", action)
}

impl Orders {
    pub(super) async fn cancel(
        &self,
        request: proto::CancelOrderRequest,
    ) -> Result<proto::Order, ApiError> {
        let order = self.find(&request.order_id).await?;
        if order.status == "CANCELLED" {
            // Cancelling twice is cancelling once.
            return Ok(order);
        }
        let cancellable = ["PENDING", "RESERVED", "PAID", "CONFIRMED"];
        if !cancellable.contains(&order.status.as_str()) {
            return Err(wrong_state(&order.order_id, &order.status, "cancelled"));
        }
        let (found, writer) = (order.clone(), self.engine.writer().clone());
        let trace = context::current()
            .trace
            .unwrap_or_else(crate::propagation::TraceContext::new_root);
        let (traceparent, baggage) = (
            trace.to_traceparent(),
            context::current().shared.baggage.to_header(),
        );
        let model = self.engine.model(CANCELLATION)?;
        let shared = Arc::clone(&model);
        let cancel = self
            .rt
            .store()?
            .write::<Result<Cancel, ApiError>, StoreError, _>(move |tx| {
                if journal::request_cancel(tx, &found.order_id)?.is_some() {
                    return Ok(Ok(Cancel::Asked));
                }
                if !followups::withdraw_shipping(tx, &found.order_id)? {
                    return Ok(Err(wrong_state(
                        &found.order_id,
                        "being shipped",
                        "cancelled",
                    )));
                }
                let saga = undoing(tx, &found, traceparent, baggage);
                let change = Event {
                    to: "CANCELLED",
                    event: "customer cancel",
                    reason: Some("CUSTOMER_CANCELLED"),
                    ..Event::default()
                };
                orders::advance(tx, Which::of(&saga), "cancel", &change)?;
                writer.start(tx, &saga, shared.as_ref())?;
                Ok(Ok(Cancel::Undo(Box::new(saga))))
            })
            .await??;
        let deadline = Instant::now() + timeouts::SAGA_WAIT;
        match cancel {
            Cancel::Undo(saga) => {
                let end = self.engine.spawn(*saga, model, Origin::Found);
                // Whether it ends in time or not, the order says how far it is.
                let _ = tokio::time::timeout(timeouts::SAGA_WAIT, end).await;
            }
            Cancel::Asked => {
                while self.is_open(&order.order_id).await? && Instant::now() < deadline {
                    tokio::time::sleep(LOOK).await;
                }
            }
        }
        let order = self.find(&order.order_id).await?;
        if order.status == "CANCELLED" || order.status == "FAILED" {
            Ok(order)
        } else {
            // The last step was done before the wish was heard.
            Err(wrong_state(&order.order_id, &order.status, "cancelled"))
        }
    }

    async fn is_open(&self, order_id: &str) -> Result<bool, ApiError> {
        let id = order_id.to_owned();
        let open = self
            .rt
            .store()?
            .read::<_, StoreError, _>(move |tx| journal::is_open(tx, &id))
            .await?;
        Ok(open)
    }

    /// Writes an order that another coordinator has carried so far.
    pub(super) async fn insert(
        &self,
        request: proto::InsertOrderRequest,
    ) -> Result<proto::Order, ApiError> {
        let lines = request.items.iter();
        let total = super::total_of(&request.items)?;
        if request.order_id.is_empty() || request.user_id.is_empty() || request.saga_id.is_empty() {
            return Err(ApiError::invalid("an order needs an id, a user and a saga"));
        }
        let items: Vec<Item> = lines
            .map(|item| Item {
                product_id: item.product_id.clone(),
                quantity: item.quantity,
                unit_price_cents: item.unit_price_cents,
            })
            .collect();
        let payload = json!({
            "order_id": request.order_id, "user_id": request.user_id, "total_cents": total,
            "saga_id": request.saga_id, "payment_id": request.payment_id, "reservation_id": request.reservation_id,
        });
        let now = self.rt.clock.now_text();
        let saga = Saga {
            saga_id: request.saga_id.clone(),
            model: request.model.clone(),
            operation_id: None,
            order_id: request.order_id.clone(),
            user_id: request.user_id.clone(),
            status: Status::Running,
            current_state: "order_created".to_owned(),
            completed_steps: Vec::new(),
            data: Data {
                items,
                total_cents: total,
                currency: request.currency.clone(),
                address: orders::address_json(request.shipping_address.as_ref()),
                ..Data::default()
            },
            compensation_reason: None,
            manual_intervention_required: false,
            version: 1,
            traceparent: request.traceparent.clone(),
            created_at: now.clone(),
            updated_at: now,
        };
        // Until its coordinator is through it may still turn back, and what has left cannot be called back.
        let undecided = self.rt.clock.scaled(UNDECIDED);
        let (publisher, cause) = (Arc::clone(&self.publisher), Cause::here());
        let changed = keyed::run(&self.rt, "InsertOrder", &payload, move |tx| {
            let which = Which::of(&saga);
            orders::insert(tx, &saga, which.trace_id)?;
            for (to, event) in [
                ("RESERVED", "stock reserved"),
                ("PAID", "payment completed"),
                ("CONFIRMED", "confirmation"),
            ] {
                let change = Event {
                    to,
                    event,
                    reservation_id: (to == "RESERVED").then_some(request.reservation_id.as_str()),
                    payment_id: (to == "PAID").then_some(request.payment_id.as_str()),
                    ..Event::default()
                };
                orders::advance(tx, which, "create_order", &change)?;
            }
            followups::add_after(tx, &saga, followups::Kind::Ship, undecided)?;
            let event = BusEvent {
                // The coordinator's name is part of the event's schema.
                aggregate_type: if saga.model == CLOUDSCALE {
                    "checkout"
                } else {
                    "order"
                },
                ..crate::saga::models::order_event(
                    &saga,
                    "OrderCreated",
                    orders::created_data(&saga),
                )
            };
            let staged = publisher.stage(tx, event, &cause)?;
            let order = orders::get(tx, &saga.order_id)?.unwrap_or_default();
            let mut changed = Changed::new(order);
            changed.staged.push(staged);
            Ok(Ok(changed))
        })
        .await?;
        self.publisher.publish_and_wait(changed.staged).await?;
        Ok(changed.answer)
    }

    /// The compensation of `insert`; other changes of state are their sagas' own.
    pub(super) async fn update_status(
        &self,
        request: proto::UpdateOrderStatusRequest,
    ) -> Result<proto::Order, ApiError> {
        if request.status != "CANCELLED" {
            return Err(ApiError::invalid("an order is only cancelled from outside"));
        }
        let payload = json!({ "order_id": request.order_id, "status": request.status });
        let (publisher, cause) = (Arc::clone(&self.publisher), Cause::here());
        let changed = keyed::run(&self.rt, "UpdateOrderStatus", &payload, move |tx| {
            let Some(order) = orders::get(tx, &request.order_id)? else {
                let error = ApiError::not_found("ORDER_NOT_FOUND", "there is no such order");
                return Ok(Err(error));
            };
            if order.status != "CANCELLED" && !orders::may_change(&order.status, "CANCELLED") {
                return Ok(Err(wrong_state(&order.order_id, &order.status, "cancelled")));
            }
            if !followups::withdraw_shipping(tx, &order.order_id)? {
                return Ok(Err(wrong_state(&order.order_id, "being shipped", "cancelled")));
            }
            let which = Which {
                order_id: &order.order_id,
                saga_id: &order.saga_id,
                trace_id: &order.trace_id,
            };
            let change = Event {
                to: "CANCELLED",
                event: "saga compensated",
                reason: Some(&request.reason),
                ..Event::default()
            };
            orders::advance(tx, which, "update_status", &change)?;
            let data = json!({
                "order_id": order.order_id, "reason": request.reason, "refunded_cents": order.total_cents,
            });
            let event = BusEvent {
                event_type: "OrderCancelled",
                aggregate_type: "order",
                aggregate_id: order.order_id.clone(),
                order_id: Some(order.order_id.clone()),
                saga_id: Some(order.saga_id.clone()),
                data,
            };
            let staged = publisher.stage(tx, event, &cause)?;
            let order = orders::get(tx, &order.order_id)?.unwrap_or_default();
            let mut changed = Changed::new(order);
            changed.staged.push(staged);
            Ok(Ok(changed))
        })
        .await?;
        self.publisher.publish_and_wait(changed.staged).await?;
        Ok(changed.answer)
    }
}

/// A saga that begins with everything done, on its way back.
fn undoing(tx: &Tx<'_>, order: &proto::Order, traceparent: String, baggage: String) -> Saga {
    let now = tx.now_text();
    let results = [
        (
            "reserve_inventory",
            json!({ "reservation_id": order.reservation_id }),
        ),
        ("process_payment", json!({ "payment_id": order.payment_id })),
    ];
    Saga {
        saga_id: ulid("sg_"),
        model: CANCELLATION.to_owned(),
        operation_id: None,
        order_id: order.order_id.clone(),
        user_id: order.user_id.clone(),
        status: Status::Compensating,
        current_state: "compensate_payment".to_owned(),
        completed_steps: results.iter().map(|(name, _)| (*name).to_owned()).collect(),
        data: Data {
            total_cents: order.total_cents,
            currency: order.currency.clone(),
            baggage,
            results: results
                .into_iter()
                .map(|(name, result)| (name.to_owned(), result))
                .collect(),
            failure: Some(Failure {
                step: "cancel".to_owned(),
                code: CANCELLED.to_owned(),
                message: "the customer cancelled".to_owned(),
                http: 409,
            }),
            ..Data::default()
        },
        compensation_reason: Some("cancelled by the customer".to_owned()),
        manual_intervention_required: false,
        version: 1,
        traceparent,
        created_at: now.clone(),
        updated_at: now,
    }
}
