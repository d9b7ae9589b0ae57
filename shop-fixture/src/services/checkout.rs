//! Owns checkout: turning a cart into an order. It keeps nothing itself in the models that run today.

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
use crate::error::ApiError;
use crate::propagation::baggage::percent_encode;
use crate::proto::checkout::PlaceOrderRequest;
use crate::proto::checkout::checkout_service_server::{CheckoutService, CheckoutServiceServer};
use crate::proto::orders::{CreateOrderRequest, CreateOrderResponse, Item};
use crate::resilience::{retry, timeouts};
use crate::runtime::Rt;
use crate::seed;
use crate::server::http::{Class, HttpReply, Router};
use crate::server::{admin, parse};

pub fn start(rt: &Rt) -> Served {
    let service = CheckoutServiceServer::new(Checkout { rt: Arc::clone(rt) });
    let shared = Arc::clone(rt);
    let http = Router::new()
        .route(Method::POST, "/checkout", Class::Business, move |request| {
            let rt = Arc::clone(&shared);
            async move {
                let ask: HttpOrder = parse(&request.body)?;
                let placed = place(&rt, ask.into_request(request.header("x-user-id"))).await?;
                let order = placed.order.unwrap_or_default();
                Ok(HttpReply::json(201, json!({
                    "order_id": order.order_id, "status": order.status, "saga_status": placed.saga_status,
                })))
            }
        })
        .merge(admin::health(rt));
    Served {
        grpc: Some(super::with_health(rt, service)),
        http: Some(http),
        background: Vec::new(),
    }
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

struct Checkout {
    rt: Rt,
}

async fn place(rt: &Rt, request: PlaceOrderRequest) -> Result<CreateOrderResponse, ApiError> {
    let started = Instant::now();
    let track = rt.telemetry.identity().track.clone();
    let labels = [("version", track.as_str())];
    rt.telemetry
        .metrics()
        .add("checkout_service_requests_total", &labels, 1.0);
    let outcome = order(rt, request).await;
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

async fn order(rt: &Rt, request: PlaceOrderRequest) -> Result<CreateOrderResponse, ApiError> {
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
    let order = CreateOrderRequest {
        user_id: request.user_id,
        items,
        currency: "USD".to_owned(),
        payment_method_id: request.payment_method_id,
        shipping_address: request.shipping_address,
        model: request.model,
        respond_async: request.respond_async,
    };
    let key = context::current().shared.idempotency_key.clone();
    let options = CallOptions {
        service: ORDERS,
        timeout: timeouts::CHECKOUT,
        retry: retry::Class::None,
        key: key.as_deref(),
    };
    let placed: CreateOrderResponse =
        grpc::unary(rt, "orders.v1.OrdersService/CreateOrder", options, order).await?;
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

#[tonic::async_trait]
impl CheckoutService for Checkout {
    async fn place_order(
        &self,
        request: Request<PlaceOrderRequest>,
    ) -> Result<Response<CreateOrderResponse>, Status> {
        place(&self.rt, request.into_inner())
            .await
            .map(Response::new)
            .map_err(|error| error.to_status())
    }
}
