//! Owns checkout: turning a cart into an order. It keeps nothing itself in the models that run today.

use std::sync::Arc;
use std::time::Instant;

use http::Method;
use serde::Deserialize;
use serde_json::json;
use tonic::{Request, Response, Status};

use super::Served;
use crate::call::{CallOptions, grpc};
use crate::catalog::ORDERS;
use crate::context;
use crate::error::ApiError;
use crate::proto::checkout::PlaceOrderRequest;
use crate::proto::checkout::checkout_service_server::{CheckoutService, CheckoutServiceServer};
use crate::proto::orders::{CreateOrderRequest, CreateOrderResponse};
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
    let items = if request.items.is_empty() {
        seed::cart(&request.cart_id)
            .ok_or_else(|| ApiError::not_found("CART_NOT_FOUND", "there is no such cart"))?
    } else {
        request.items
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
    Ok(grpc::unary(rt, "orders.v1.OrdersService/CreateOrder", options, order).await?)
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
