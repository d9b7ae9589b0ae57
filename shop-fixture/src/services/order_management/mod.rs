//! Owns order-management: orders, and the sagas that carry them.

mod change;
mod delivery;
pub mod followups;
pub mod orders;

use std::sync::Arc;
use std::time::Duration;

use tonic::{Request, Response, Status};

use super::Served;
use crate::context;
use crate::error::{ApiError, ShopError};
use crate::ids::ulid;
use crate::messaging::publisher::Cause;
use crate::messaging::{Publisher, outbox};
use crate::proto::orders as proto;
use crate::proto::orders::orders_service_server::{OrdersService, OrdersServiceServer};
use crate::resilience::timeouts;
use crate::runtime::Rt;
use crate::saga::engine::Engine;
use crate::saga::models::amazon::Amazon;
use crate::saga::models::cancellation::Cancellation;
use crate::saga::models::capstone::Capstone;
use crate::saga::models::shopflow::Shopflow;
use crate::saga::models::{CAPSTONE, SHOPFLOW, order_event};
use crate::saga::types::{Data, Item, Saga, Status as SagaStatus};
use crate::saga::{journal, recovery};
use crate::store::{Store, StoreError};
use crate::telemetry::Attributes;

const MAX_ITEMS: usize = 100;

pub fn start(rt: &Rt) -> Result<Served, ShopError> {
    let migrations = [
        orders::SCHEMA,
        followups::SCHEMA,
        journal::SCHEMA,
        crate::idempotency::SCHEMA,
        outbox::SCHEMA,
    ];
    let path = rt.config.db_path(rt.spec.name);
    rt.set_store(Store::open(
        &path,
        &migrations,
        Arc::clone(&rt.clock),
        rt.telemetry.clone(),
    )?);
    let publisher = Publisher::new(rt);
    let engine = Engine::new(
        Arc::clone(rt),
        vec![
            Shopflow::new(Arc::clone(rt), Arc::clone(&publisher)),
            Capstone::new(Arc::clone(rt), Arc::clone(&publisher)),
            Amazon::new(Arc::clone(rt), Arc::clone(&publisher)),
            Cancellation::new(Arc::clone(rt), Arc::clone(&publisher)),
        ],
    );
    let service = OrdersServiceServer::new(Orders {
        rt: Arc::clone(rt),
        engine: Arc::clone(&engine),
        publisher: Arc::clone(&publisher),
    });
    let background = vec![
        super::background(outbox::relay(Arc::clone(&publisher))),
        super::background(delivery::follow(Arc::clone(rt))),
        super::background(followups::run(Arc::clone(rt))),
        super::background(recovery::run(Arc::clone(&engine))),
        super::background(engine.keep_leases()),
        super::background(crate::idempotency::purge(Arc::clone(rt))),
    ];
    Ok(Served {
        grpc: Some(super::with_health(rt, service)),
        http: None,
        background,
    })
}

struct Orders {
    rt: Rt,
    engine: Arc<Engine>,
    publisher: Arc<Publisher>,
}

impl Orders {
    async fn create(
        &self,
        request: proto::CreateOrderRequest,
    ) -> Result<proto::CreateOrderResponse, ApiError> {
        let model_name = if request.model.is_empty() {
            SHOPFLOW.to_owned()
        } else {
            request.model.clone()
        };
        let model = self.engine.model(&model_name)?;
        let data = check(&request)?;
        let operation_id = self.operation();
        if let Some(known) = self.known(operation_id.as_deref()).await? {
            return self.answer(&known, None).await;
        }
        let now = self.rt.clock.now_text();
        let context = context::current();
        let trace = context
            .trace
            .unwrap_or_else(crate::propagation::TraceContext::new_root);
        let saga = Saga {
            saga_id: ulid("sg_"),
            model: model_name,
            operation_id: operation_id.clone(),
            order_id: ulid("ord_"),
            user_id: request.user_id.clone(),
            status: SagaStatus::Initiated,
            current_state: "initiated".to_owned(),
            completed_steps: Vec::new(),
            data,
            compensation_reason: None,
            manual_intervention_required: false,
            version: 1,
            traceparent: trace.to_traceparent(),
            created_at: now.clone(),
            updated_at: now,
        };
        let (opening, started) = (self.engine.opening(&model), saga.clone());
        let origin = opening.origin();
        let (trace_id, publisher, cause) = (
            trace.trace_hex(),
            Arc::clone(&self.publisher),
            Cause::here(),
        );
        let guarded = !["operation_unchecked", "operation_races"]
            .iter()
            .any(|kind| self.rt.faults.is_on(kind));
        let written = self
            .rt
            .store()?
            .write::<_, StoreError, _>(move |tx| {
                // Looked up in the transaction that inserts: of two that come at once, one finds the other.
                if let Some(operation) = started.operation_id.as_deref().filter(|_| guarded)
                    && let Some(known) = journal::order_of(tx, operation)?
                {
                    return Ok(Err(known));
                }
                opening.write(tx, &started)?;
                if started.model == CAPSTONE {
                    // Its order comes with its third step.
                    return Ok(Ok(Vec::new()));
                }
                orders::insert(tx, &started, &trace_id)?;
                let event = order_event(&started, "OrderCreated", orders::created_data(&started));
                Ok(Ok(vec![publisher.stage(tx, event, &cause)?]))
            })
            .await?;
        let staged = match written {
            Ok(staged) => staged,
            Err(known) => return self.answer(&known, None).await,
        };
        self.rt
            .telemetry
            .metrics()
            .add("shop_orders_total", &[("status", "PENDING")], 1.0);
        self.publisher.publish_aside(staged);
        let order_id = saga.order_id.clone();
        let end = self.engine.spawn(saga, model, origin);
        if request.respond_async {
            return self.answer(&order_id, None).await;
        }
        match tokio::time::timeout(timeouts::SAGA_WAIT, end).await {
            Ok(Ok(saga)) => self.answer(&order_id, Some(&saga)).await,
            // Still running, or its task ended without an answer: the journal tells the rest later.
            Ok(Err(_)) | Err(_) => self.answer(&order_id, None).await,
        }
    }

    /// What names the operation that a request is about: the client's key, if it gives one.
    fn operation(&self) -> Option<String> {
        let given = context::current().shared.idempotency_key.clone();
        if self.rt.faults.is_on("operation_renamed") {
            return given.map(|_| ulid("op_"));
        }
        given
    }

    /// The order of an operation that came before.
    async fn known(&self, operation_id: Option<&str>) -> Result<Option<String>, ApiError> {
        let Some(id) = operation_id else {
            return Ok(None);
        };
        if self.rt.faults.is_on("operation_unchecked") {
            return Ok(None);
        }
        let found = self
            .rt
            .store()?
            .read::<_, StoreError, _>(|tx| journal::order_of(tx, id))
            .await?;
        if let Some(params) = self.rt.faults.find("operation_races") {
            let ms = params["ms"].as_u64().unwrap_or_default().min(10_000);
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
        Ok(found)
    }

    async fn answer(
        &self,
        order_id: &str,
        saga: Option<&Saga>,
    ) -> Result<proto::CreateOrderResponse, ApiError> {
        let order = match self.find(order_id).await {
            Ok(order) => order,
            // A saga that has not come to its order, or never did.
            Err(error) if error.reason == "ORDER_NOT_FOUND" => proto::Order {
                order_id: order_id.to_owned(),
                status: "PENDING".to_owned(),
                status_label: orders::label("PENDING", None),
                ..proto::Order::default()
            },
            Err(error) => return Err(error),
        };
        let Some(saga) = saga else {
            return Ok(proto::CreateOrderResponse {
                order: Some(order),
                saga_status: SagaStatus::Running.as_str().to_owned(),
                ..proto::CreateOrderResponse::default()
            });
        };
        let failure = journal::failure_of(saga);
        self.rt.telemetry.info(
            "order.status_changed",
            "order reached the end of its saga",
            Attributes::new()
                .with("order_id", order_id)
                .with("user_id", &saga.user_id)
                .with("saga_id", &saga.saga_id)
                .with("status", &order.status),
        );
        self.rt
            .telemetry
            .metrics()
            .add("shop_orders_total", &[("status", &order.status)], 1.0);
        Ok(proto::CreateOrderResponse {
            order: Some(order),
            saga_status: saga.status.as_str().to_owned(),
            saga_state: saga.current_state.clone(),
            failed_step: failure.step,
            error_code: failure.code,
            error_message: failure.message,
            manual_intervention_required: saga.manual_intervention_required,
        })
    }

    /// Whether the bus has the order's first event; without an outbox nobody keeps account of that.
    async fn created_published(&self, order_id: &str) -> Result<bool, ApiError> {
        let id = order_id.to_owned();
        let found = self
            .rt
            .store()?
            .read::<_, StoreError, _>(move |tx| {
                tx.one(
                    "SELECT outbox",
                    "SELECT published_at IS NOT NULL FROM outbox
                     WHERE aggregate_id = ?1 AND event_type = 'OrderCreated'",
                    [id],
                    |row| row.get::<_, bool>(0),
                )
            })
            .await?;
        Ok(found.unwrap_or(false))
    }

    async fn find(&self, order_id: &str) -> Result<proto::Order, ApiError> {
        let id = order_id.to_owned();
        let found = self
            .rt
            .store()?
            .read::<_, StoreError, _>(move |tx| orders::get(tx, &id))
            .await?;
        found.ok_or_else(|| ApiError::not_found("ORDER_NOT_FOUND", "there is no such order"))
    }
}

/// Refuses what cannot become an order, and sums it up.
fn check(request: &proto::CreateOrderRequest) -> Result<Data, ApiError> {
    if request.user_id.is_empty() || request.user_id.len() > 128 {
        return Err(ApiError::invalid("user_id must be given"));
    }
    if request.items.is_empty() || request.items.len() > MAX_ITEMS {
        return Err(ApiError::invalid(format!(
            "an order has from 1 to {MAX_ITEMS} items"
        )));
    }
    let total = total_of(&request.items)?;
    Ok(Data {
        items: request
            .items
            .iter()
            .map(|item| Item {
                product_id: item.product_id.clone(),
                quantity: item.quantity,
                unit_price_cents: item.unit_price_cents,
            })
            .collect(),
        total_cents: total,
        currency: if request.currency.is_empty() {
            "USD".to_owned()
        } else {
            request.currency.clone()
        },
        payment_method_id: request.payment_method_id.clone(),
        address: orders::address_json(request.shipping_address.as_ref()),
        tracestate: Cause::here().tracestate,
        baggage: context::current().shared.baggage.to_header(),
        ..Data::default()
    })
}

/// The sum of an order's lines, if each is one.
fn total_of(items: &[proto::Item]) -> Result<i64, ApiError> {
    let mut total: i64 = 0;
    for item in items {
        if item.product_id.is_empty()
            || !(1..=10_000).contains(&item.quantity)
            || item.unit_price_cents < 0
        {
            return Err(ApiError::invalid(
                "each item needs a product, a quantity from 1 to 10000 and a price",
            ));
        }
        total = item
            .unit_price_cents
            .checked_mul(item.quantity)
            .and_then(|line| line.checked_add(total))
            .ok_or_else(|| ApiError::invalid("the order's total is too large"))?;
    }
    if total <= 0 {
        return Err(ApiError::invalid("the order's total must be positive"));
    }
    Ok(total)
}

fn answered(outcome: Result<proto::Order, ApiError>) -> Result<Response<proto::Order>, Status> {
    outcome
        .map(Response::new)
        .map_err(|error| error.to_status())
}

#[tonic::async_trait]
impl OrdersService for Orders {
    async fn create_order(
        &self,
        request: Request<proto::CreateOrderRequest>,
    ) -> Result<Response<proto::CreateOrderResponse>, Status> {
        self.create(request.into_inner())
            .await
            .map(Response::new)
            .map_err(|error| error.to_status())
    }

    async fn get_order(
        &self,
        request: Request<proto::OrderRef>,
    ) -> Result<Response<proto::Order>, Status> {
        let id = request.into_inner().order_id;
        self.find(&id)
            .await
            .map(Response::new)
            .map_err(|error| error.to_status())
    }

    async fn cancel_order(
        &self,
        request: Request<proto::CancelOrderRequest>,
    ) -> Result<Response<proto::Order>, Status> {
        answered(self.cancel(request.into_inner()).await)
    }

    async fn insert_order(
        &self,
        request: Request<proto::InsertOrderRequest>,
    ) -> Result<Response<proto::Order>, Status> {
        answered(self.insert(request.into_inner()).await)
    }

    async fn update_order_status(
        &self,
        request: Request<proto::UpdateOrderStatusRequest>,
    ) -> Result<Response<proto::Order>, Status> {
        answered(self.update_status(request.into_inner()).await)
    }

    async fn get_order_status(
        &self,
        request: Request<proto::OrderRef>,
    ) -> Result<Response<proto::OrderStatusReply>, Status> {
        let id = request.into_inner().order_id;
        let order = self.find(&id).await.map_err(|error| error.to_status())?;
        let event_published = self
            .created_published(&id)
            .await
            .map_err(|error| error.to_status())?;
        Ok(Response::new(proto::OrderStatusReply {
            order_id: order.order_id,
            status: order.status,
            status_label: order.status_label,
            event_published,
        }))
    }

    async fn list_orders(
        &self,
        request: Request<proto::ListOrdersRequest>,
    ) -> Result<Response<proto::ListOrdersReply>, Status> {
        let request = request.into_inner();
        let limit = if request.limit <= 0 {
            20
        } else {
            request.limit.min(200)
        };
        let rows = async {
            self.rt
                .store()?
                .read::<_, StoreError, _>(move |tx| {
                    if request.updated_since.is_empty() {
                        orders::list(tx, &request.user_id, limit)
                    } else {
                        orders::changed_since(tx, &request.updated_since, limit)
                    }
                })
                .await
                .map_err(ApiError::from)
        };
        let orders = rows.await.map_err(|error| error.to_status())?;
        Ok(Response::new(proto::ListOrdersReply { orders }))
    }
}
