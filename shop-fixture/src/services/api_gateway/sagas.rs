//! Owns the gateway's routes to sagas beside the plain checkout: checkout sessions, and cancelling an order.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::routes::{
    Address, DEFAULT_USER, keyed_options, order_json, place_options, saga_reply, wants_async,
};
use crate::call::{CallOptions, grpc};
use crate::catalog::{CHECKOUT, ORDERS};
use crate::context;
use crate::error::ApiError;
use crate::proto::{checkout, orders};
use crate::runtime::Rt;
use crate::server::http::{Class, HttpReply, HttpRequest, Router};
use crate::server::{parse, parse_or_default};

pub(super) fn router(rt: &Rt) -> Router {
    let mut router = Router::new();
    macro_rules! route {
        ($method:ident $path:literal $handler:expr) => {
            let shared = Arc::clone(rt);
            router = router.route(
                Method::$method,
                $path,
                Class::Business,
                move |request: HttpRequest| {
                    let rt = Arc::clone(&shared);
                    async move { $handler(&rt, &request).await }
                },
            );
        };
    }
    route!(POST "/api/v1/orders/{id}/cancel" cancel);
    route!(POST "/api/v1/checkout/sessions" start_session);
    route!(POST "/api/v1/checkout/sessions/{id}/complete" complete_session);
    router
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cancel {
    #[serde(default)]
    reason: String,
}

async fn cancel(rt: &Rt, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    let body: Cancel = parse_or_default(&request.body)?;
    let ask = orders::CancelOrderRequest {
        order_id: request.param("id").to_owned(),
        reason: body.reason,
    };
    let options = CallOptions {
        timeout: Duration::from_secs(30),
        ..keyed_options(ORDERS, request.header("idempotency-key"))?
    };
    let order: orders::Order =
        grpc::unary(rt, "orders.v1.OrdersService/CancelOrder", options, ask).await?;
    Ok(HttpReply::json(200, order_json(&order)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewSession {
    cart_id: String,
    user_id: Option<String>,
    payment_method_id: Option<String>,
    shipping_address: Option<Address>,
}

async fn start_session(rt: &Rt, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    let body: NewSession = parse(&request.body)?;
    let user = body
        .user_id
        .or_else(|| request.header("x-user-id").map(str::to_owned));
    let ask = checkout::StartCheckoutRequest {
        cart_id: body.cart_id,
        user_id: user.unwrap_or_else(|| DEFAULT_USER.to_owned()),
        payment_method_id: body
            .payment_method_id
            .unwrap_or_else(|| "card-456".to_owned()),
        shipping_address: body.shipping_address.map(Address::into_proto),
    };
    let options = keyed_options(CHECKOUT, request.header("idempotency-key"))?;
    let session: checkout::Session = grpc::unary(
        rt,
        "checkout.v1.CheckoutService/StartCheckout",
        options,
        ask,
    )
    .await?;
    Ok(HttpReply::json(201, session_json(&session)))
}

fn session_json(session: &checkout::Session) -> Value {
    json!({
        "session_id": session.session_id,
        "cart_id": session.cart_id,
        "user_id": session.user_id,
        "payment_method_id": session.payment_method_id,
        "items": session.items.iter().map(|item| json!({
            "product_id": item.product_id, "quantity": item.quantity, "unit_price_cents": item.unit_price_cents,
        })).collect::<Vec<_>>(),
        "total_cents": session.total_cents,
        "currency": session.currency,
        "status": session.status,
    })
}

async fn complete_session(rt: &Rt, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    let ask = checkout::CompleteCheckoutRequest {
        session_id: request.param("id").to_owned(),
        respond_async: wants_async(request),
    };
    let key = context::current().shared.idempotency_key.clone();
    let options = place_options(CHECKOUT, key.as_deref());
    let method = "checkout.v1.CheckoutService/CompleteCheckout";
    let answer: orders::CreateOrderResponse = grpc::unary(rt, method, options, ask).await?;
    saga_reply(&answer)
}
