//! Owns checkout: turning a cart into an order. Most models run at order-management; `cloudscale` runs here, over the
//! sessions that checkout keeps.

pub mod sessions;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ::http::Method;
use serde::Deserialize;
use serde_json::json;
use tonic::{Code, Request, Response, Status};

use super::Served;
use crate::call::http::HttpAsk;
use crate::call::{CallOptions, grpc, http};
use crate::catalog::{CART, ORDERS};
use crate::context;
use crate::error::{ApiError, ShopError};
use crate::idempotency;
use crate::propagation::baggage::percent_encode;
use crate::proto::checkout::checkout_service_server::{CheckoutService, CheckoutServiceServer};
use crate::proto::checkout::{
    CompleteCheckoutRequest, PlaceOrderRequest, Session, StartCheckoutRequest,
};
use crate::proto::orders::{CreateOrderRequest, CreateOrderResponse, Item};
use crate::resilience::{retry, timeouts};
use crate::runtime::Rt;
use crate::saga::engine::Engine;
use crate::saga::models::CLOUDSCALE;
use crate::saga::models::cloudscale::Cloudscale;
use crate::saga::{journal, recovery};
use crate::seed;
use crate::server::http::{Class, HttpReply, Router};
use crate::server::{admin, parse};
use crate::services::order_management::orders::address_json;
use crate::store::Store;

pub fn start(rt: &Rt) -> Result<Served, ShopError> {
    let path = rt.config.db_path(rt.spec.name);
    let migrations = [sessions::SCHEMA, journal::SCHEMA, idempotency::SCHEMA];
    rt.set_store(Store::open(
        &path,
        &migrations,
        Arc::clone(&rt.clock),
        rt.telemetry.clone(),
    )?);
    let engine = Engine::new(Arc::clone(rt), vec![Cloudscale::new(Arc::clone(rt))]);
    let checkout = Checkout {
        rt: Arc::clone(rt),
        engine: Arc::clone(&engine),
    };
    let service = CheckoutServiceServer::new(checkout.clone());
    let shared = checkout;
    let http = Router::new()
        .route(Method::POST, "/checkout", Class::Business, move |request| {
            let checkout = shared.clone();
            async move {
                let ask: HttpOrder = parse(&request.body)?;
                let ask = ask.into_request(request.header("x-user-id"));
                let placed = counted(&checkout.rt, order(&checkout, ask)).await?;
                let order = placed.order.unwrap_or_default();
                Ok(HttpReply::json(201, json!({
                    "order_id": order.order_id, "status": order.status, "saga_status": placed.saga_status,
                })))
            }
        })
        .merge(admin::health(rt));
    let background = vec![
        super::background(recovery::run(Arc::clone(&engine))),
        super::background(engine.keep_leases()),
        super::background(idempotency::purge(Arc::clone(rt))),
    ];
    Ok(Served {
        grpc: Some(super::with_health(rt, service)),
        http: Some(http),
        background,
    })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpOrder {
    cart_id: String,
    user_id: Option<String>,
    payment_method_id: Option<String>,
}

impl HttpOrder {
    fn into_request(self, header: Option<&str>) -> PlaceOrderRequest {
        PlaceOrderRequest {
            cart_id: self.cart_id,
            user_id: self
                .user_id
                .or_else(|| header.map(str::to_owned))
                .unwrap_or_default(),
            payment_method_id: self.payment_method_id.unwrap_or_default(),
            ..PlaceOrderRequest::default()
        }
    }
}

#[derive(Clone)]
struct Checkout {
    rt: Rt,
    engine: Arc<Engine>,
}

type Placed = Result<CreateOrderResponse, ApiError>;

/// Counts a checkout and its outcome.
async fn counted(rt: &Rt, checkout: impl Future<Output = Placed>) -> Placed {
    let started = Instant::now();
    let track = rt.telemetry.identity().track.clone();
    let labels = [("version", track.as_str())];
    rt.telemetry
        .metrics()
        .add("checkout_service_requests_total", &labels, 1.0);
    let outcome = checkout.await;
    let status = match &outcome {
        Ok(placed) => placed.saga_status.as_str(),
        Err(_) => "error",
    };
    if status == "error" || status == "failed" {
        rt.telemetry
            .metrics()
            .add("checkout_service_errors_total", &labels, 1.0);
    }
    rt.telemetry.metrics().observe(
        "checkout_duration_seconds",
        &[("status", status)],
        started.elapsed().as_secs_f64(),
    );
    outcome
}

async fn order(checkout: &Checkout, request: PlaceOrderRequest) -> Placed {
    let rt = &checkout.rt;
    if request.user_id.is_empty() {
        return Err(ApiError::invalid("user_id must be given"));
    }
    let template = seed::cart(&request.cart_id);
    let from_cart = request.items.is_empty() && template.is_none();
    let items = match template {
        _ if !request.items.is_empty() => request.items,
        Some(items) => items,
        None => lines_of(rt, &request.cart_id, &request.user_id).await?,
    };
    let model = if request.model.is_empty() {
        rt.config.saga_model.clone()
    } else {
        request.model
    };
    let placed = if model == CLOUDSCALE {
        let new = sessions::New {
            cart_id: request.cart_id.clone(),
            user_id: request.user_id,
            payment_method_id: request.payment_method_id,
            items,
            address: address_json(request.shipping_address.as_ref()),
        };
        let session_id = sessions::open(rt, new).await?.session_id;
        let complete = CompleteCheckoutRequest {
            session_id,
            respond_async: request.respond_async,
        };
        sessions::complete(rt, &checkout.engine, complete).await?
    } else {
        let order = CreateOrderRequest {
            user_id: request.user_id,
            items,
            currency: "USD".to_owned(),
            payment_method_id: request.payment_method_id,
            shipping_address: request.shipping_address,
            model,
            respond_async: request.respond_async,
        };
        let key = context::current().shared.idempotency_key.clone();
        let options = CallOptions {
            service: ORDERS,
            timeout: timeouts::CHECKOUT,
            retry: retry::Class::None,
            key: key.as_deref(),
        };
        grpc::unary(rt, "orders.v1.OrdersService/CreateOrder", options, order).await?
    };
    if from_cart && placed.saga_status != "failed" {
        empty(rt, &request.cart_id).await;
    }
    Ok(placed)
}

const CART_TIMEOUT: Duration = Duration::from_secs(3);

/// The lines of a customer's own cart, at the prices that the cart shows.
async fn lines_of(rt: &Rt, cart_id: &str, user_id: &str) -> Result<Vec<Item>, ApiError> {
    let path = format!("/cart?cart_id={}", percent_encode(cart_id));
    let ask = HttpAsk {
        method: Method::GET,
        template: "/cart",
        path: &path,
        body: None,
    };
    let options = CallOptions {
        service: CART,
        timeout: CART_TIMEOUT,
        retry: retry::Class::Read,
        key: None,
    };
    let cart = http::send(rt, &ask, options).await?.body;
    if cart["user_id"] != seed::user_id(user_id) {
        // Whose cart it is stays unsaid.
        return Err(ApiError::not_found(
            "CART_NOT_FOUND",
            "there is no such cart",
        ));
    }
    let items: Vec<Item> = cart["items"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|line| Item {
            product_id: line["product_id"].as_str().unwrap_or_default().to_owned(),
            quantity: line["quantity"].as_i64().unwrap_or_default(),
            unit_price_cents: line["unit_price_cents"].as_i64().unwrap_or_default(),
        })
        .collect();
    if items.is_empty() {
        return Err(ApiError::new(
            Code::FailedPrecondition,
            "CART_EMPTY",
            "the cart is empty",
        ));
    }
    Ok(items)
}

/// The order stands whether or not the cart can be emptied; the failed call has told of itself.
async fn empty(rt: &Rt, cart_id: &str) {
    let path = format!("/cart?cart_id={}", percent_encode(cart_id));
    let ask = HttpAsk {
        method: Method::DELETE,
        template: "/cart",
        path: &path,
        body: None,
    };
    let options = CallOptions {
        service: CART,
        timeout: CART_TIMEOUT,
        retry: retry::Class::None,
        key: None,
    };
    let _ = http::send(rt, &ask, options).await;
}

async fn start_session(rt: &Rt, request: StartCheckoutRequest) -> Result<Session, ApiError> {
    if request.user_id.is_empty() {
        return Err(ApiError::invalid("user_id must be given"));
    }
    let items = match seed::cart(&request.cart_id) {
        Some(items) => items,
        None => lines_of(rt, &request.cart_id, &request.user_id).await?,
    };
    let new = sessions::New {
        cart_id: request.cart_id,
        user_id: request.user_id,
        payment_method_id: request.payment_method_id,
        items,
        address: address_json(request.shipping_address.as_ref()),
    };
    sessions::open_keyed(rt, new).await
}

#[tonic::async_trait]
impl CheckoutService for Checkout {
    async fn start_checkout(
        &self,
        request: Request<StartCheckoutRequest>,
    ) -> Result<Response<Session>, Status> {
        start_session(&self.rt, request.into_inner())
            .await
            .map(Response::new)
            .map_err(|error| error.to_status())
    }

    async fn complete_checkout(
        &self,
        request: Request<CompleteCheckoutRequest>,
    ) -> Result<Response<CreateOrderResponse>, Status> {
        let completed = sessions::complete(&self.rt, &self.engine, request.into_inner());
        counted(&self.rt, completed)
            .await
            .map(Response::new)
            .map_err(|error| error.to_status())
    }

    async fn place_order(
        &self,
        request: Request<PlaceOrderRequest>,
    ) -> Result<Response<CreateOrderResponse>, Status> {
        counted(&self.rt, order(self, request.into_inner()))
            .await
            .map(Response::new)
            .map_err(|error| error.to_status())
    }
}
