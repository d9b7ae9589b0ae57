//! Owns the gateway's route table: which call each path becomes, and how answers become JSON.

use std::sync::Arc;

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tonic::Code;

use crate::call::{CallOptions, grpc};
use crate::catalog::ORDERS;
use crate::context;
use crate::error::ApiError;
use crate::proto::orders;
use crate::resilience::{retry, timeouts};
use crate::runtime::Rt;
use crate::seed;
use crate::server::http::{Class, HttpReply, HttpRequest, Router};
use crate::server::parse_or_default;

const DEFAULT_USER: &str = "user-123";

pub fn router(rt: &Rt) -> Router {
    let on = |rt: &Rt| Arc::clone(rt);
    let (a, b, c, d) = (on(rt), on(rt), on(rt), on(rt));
    let mut router = Router::new()
        .route(
            Method::POST,
            "/api/v1/checkout",
            Class::Business,
            move |request| {
                let rt = Arc::clone(&a);
                async move { checkout(&rt, &request, parse_or_default(&request.body)?).await }
            },
        )
        .route(
            Method::GET,
            "/api/v1/orders",
            Class::Business,
            move |request| {
                let rt = Arc::clone(&b);
                async move { list_orders(&rt, &request).await }
            },
        )
        .route(
            Method::GET,
            "/api/v1/orders/{id}",
            Class::Business,
            move |request| {
                let rt = Arc::clone(&c);
                async move { get_order(&rt, request.param("id")).await }
            },
        )
        .route(
            Method::GET,
            "/api/v1/orders/{id}/status",
            Class::Business,
            move |request| {
                let rt = Arc::clone(&d);
                async move { order_status(&rt, request.param("id")).await }
            },
        );
    if rt.config.demo_get {
        let rt = Arc::clone(rt);
        router = router.route(
            Method::GET,
            "/api/v1/checkout",
            Class::Business,
            move |request| {
                let rt = Arc::clone(&rt);
                async move { checkout(&rt, &request, Checkout::default()).await }
            },
        );
    }
    router
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Checkout {
    cart_id: Option<String>,
    user_id: Option<String>,
    payment_method_id: Option<String>,
    shipping_address: Option<Address>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Address {
    #[serde(default)]
    street: String,
    #[serde(default)]
    city: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    zip_code: String,
    #[serde(default)]
    country: String,
}

async fn checkout(rt: &Rt, request: &HttpRequest, body: Checkout) -> Result<HttpReply, ApiError> {
    let user = body
        .user_id
        .or_else(|| request.header("x-user-id").map(str::to_owned));
    let cart_id = body.cart_id.unwrap_or_else(|| "cart-123".to_owned());
    let lines = seed::cart(&cart_id)
        .ok_or_else(|| ApiError::not_found("CART_NOT_FOUND", "there is no such cart"))?;
    let respond_async = request
        .header("prefer")
        .is_some_and(|prefer| prefer.contains("respond-async"));
    let order = orders::CreateOrderRequest {
        user_id: user.unwrap_or_else(|| DEFAULT_USER.to_owned()),
        items: lines,
        currency: "USD".to_owned(),
        payment_method_id: body
            .payment_method_id
            .unwrap_or_else(|| "card-456".to_owned()),
        shipping_address: body.shipping_address.map(|address| orders::Address {
            street: address.street,
            city: address.city,
            state: address.state,
            zip_code: address.zip_code,
            country: address.country,
        }),
        model: request.query("saga").unwrap_or_default().to_owned(),
        respond_async,
    };
    let key = context::current().shared.idempotency_key.clone();
    let options = CallOptions {
        service: ORDERS,
        timeout: timeouts::GATEWAY,
        retry: retry::Class::None,
        key: key.as_deref(),
    };
    let answer: orders::CreateOrderResponse =
        grpc::unary(rt, "orders.v1.OrdersService/CreateOrder", options, order).await?;
    saga_reply(&answer)
}

/// The saga's end as an HTTP answer.
fn saga_reply(answer: &orders::CreateOrderResponse) -> Result<HttpReply, ApiError> {
    let order = answer.order.as_ref().map(order_json).unwrap_or(Value::Null);
    match answer.saga_status.as_str() {
        "completed" => Ok(HttpReply::json(201, order)),
        "failed" if answer.manual_intervention_required => {
            Err(saga_error(answer, "SAGA_INCOMPLETE", 500, Code::Internal))
        }
        "failed" => Err(match answer.failed_step.as_str() {
            "process_payment" | "authorize_payment" => {
                saga_error(answer, "PAYMENT_FAILED", 402, Code::FailedPrecondition)
            }
            "reserve_inventory" => saga_error(
                answer,
                "STOCK_RESERVATION_FAILED",
                409,
                Code::FailedPrecondition,
            ),
            "ship" | "create_shipment" => {
                saga_error(answer, "SHIPPING_FAILED", 409, Code::FailedPrecondition)
            }
            _ => saga_error(answer, "SAGA_FAILED", 500, Code::Internal),
        }),
        _ => Ok(HttpReply::json(202, order)),
    }
}

fn saga_error(
    answer: &orders::CreateOrderResponse,
    reason: &str,
    status: u16,
    code: Code,
) -> ApiError {
    let mut error = ApiError::new(
        code,
        reason,
        format!("the order failed: {}", answer.error_message),
    )
    .with_http(status)
    .fact("cause", &answer.error_code)
    .fact("step", &answer.failed_step);
    if let Some(order) = &answer.order {
        error = error
            .fact("order_id", &order.order_id)
            .fact("status", &order.status_label);
    }
    error
}

fn read_options(service: &'static str, timeout_s: u64) -> CallOptions<'static> {
    CallOptions {
        service,
        timeout: std::time::Duration::from_secs(timeout_s),
        retry: retry::Class::Read,
        key: None,
    }
}

async fn list_orders(rt: &Rt, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    let user = request
        .query("user_id")
        .or_else(|| request.header("x-user-id"))
        .unwrap_or(DEFAULT_USER);
    let limit = match request.query("limit") {
        None => 20,
        Some(text) => text
            .parse()
            .map_err(|_| ApiError::invalid("limit must be a number"))?,
    };
    let ask = orders::ListOrdersRequest {
        user_id: user.to_owned(),
        limit,
    };
    let answer: orders::ListOrdersReply = grpc::unary(
        rt,
        "orders.v1.OrdersService/ListOrders",
        read_options(ORDERS, 5),
        ask,
    )
    .await?;
    let rows: Vec<Value> = answer.orders.iter().map(order_json).collect();
    Ok(HttpReply::json(200, json!({ "orders": rows })))
}

async fn get_order(rt: &Rt, id: &str) -> Result<HttpReply, ApiError> {
    let ask = orders::OrderRef {
        order_id: id.to_owned(),
    };
    let order: orders::Order = grpc::unary(
        rt,
        "orders.v1.OrdersService/GetOrder",
        read_options(ORDERS, 5),
        ask,
    )
    .await?;
    Ok(HttpReply::json(200, order_json(&order)))
}

async fn order_status(rt: &Rt, id: &str) -> Result<HttpReply, ApiError> {
    let ask = orders::OrderRef {
        order_id: id.to_owned(),
    };
    let status: orders::OrderStatusReply = grpc::unary(
        rt,
        "orders.v1.OrdersService/GetOrderStatus",
        read_options(ORDERS, 3),
        ask,
    )
    .await?;
    Ok(HttpReply::json(
        200,
        json!({ "order_id": status.order_id, "status": status.status, "status_label": status.status_label }),
    ))
}

fn order_json(order: &orders::Order) -> Value {
    json!({
        "order_id": order.order_id,
        "user_id": order.user_id,
        "status": order.status,
        "status_label": order.status_label,
        "failure_reason": order.failure_reason,
        "items": order.items.iter().map(|item| json!({
            "product_id": item.product_id,
            "quantity": item.quantity,
            "unit_price_cents": item.unit_price_cents,
            "total_cents": item.unit_price_cents * item.quantity,
        })).collect::<Vec<_>>(),
        "subtotal_cents": order.subtotal_cents,
        "tax_cents": order.tax_cents,
        "shipping_cents": order.shipping_cents,
        "total_cents": order.total_cents,
        "currency": order.currency,
        "payment_id": order.payment_id,
        "reservation_id": order.reservation_id,
        "shipment_id": order.shipment_id,
        "saga_id": order.saga_id,
        "model": order.model,
        "version": order.version,
        "trace_id": order.trace_id,
        "created_at": order.created_at,
        "updated_at": order.updated_at,
        "history": order.history.iter().map(|entry| json!({
            "from": entry.from, "to": entry.to, "event": entry.event, "at": entry.at,
        })).collect::<Vec<_>>(),
    })
}
