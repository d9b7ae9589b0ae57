//! Owns the gateway's route table: which call each path becomes, and how answers become JSON.

use serde::Deserialize;
use serde_json::{Value, json};
use tonic::Code;

use crate::call::{CallOptions, grpc};
use crate::catalog::{CATALOG, CHECKOUT, ORDERS};
use crate::context;
use crate::error::ApiError;
use crate::proto::{checkout, orders, products};
use crate::resilience::{retry, timeouts};
use crate::runtime::Rt;
use crate::saga::engine::CANCELLED;
use crate::saga::models::{CAPSTONE, SHOPFLOW};
use crate::seed;
use crate::server::http::{HttpReply, HttpRequest, Router};
use crate::server::router::business_routes;
use crate::server::{parse, parse_or_default};

pub(super) const DEFAULT_USER: &str = "user-123";

pub fn router(rt: &Rt) -> Router {
    let mut router = Router::new();
    business_routes! { router, rt;
        POST "/api/v1/checkout" post_checkout;
        POST "/api/v1/orders" create_order;
        GET "/api/v1/orders" list_orders;
        GET "/api/v1/orders/{id}" get_order;
        GET "/api/v1/orders/{id}/status" order_status;
        GET "/api/v1/products" list_products;
        GET "/api/v1/products/{id}" get_product;
        GET "/api/v1/catalog" list_products;
        GET "/api/v1/catalog/{id}" get_product;
        PUT "/api/v1/products/{id}" update_product;
        PUT "/api/v1/products/{id}/price" update_price;
        // Older names, answered without the envelope.
        GET "/products/{id}" get_product;
        GET "/api/products/{id}" get_product;
        POST "/orders" create_capstone_order;
        POST "/api/orders" create_capstone_order;
        GET "/orders" list_orders;
        GET "/api/orders" list_orders;
        GET "/orders/{id}" get_order;
        GET "/api/orders/{id}" get_order;
        GET "/orders/{id}/status" order_status;
        GET "/api/orders/{id}/status" order_status;
    }
    if rt.config.demo_get {
        business_routes! { router, rt;
            GET "/api/v1/checkout" demo_checkout;
        }
    }
    router
}

async fn post_checkout(rt: &Rt, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    checkout(rt, request, parse_or_default(&request.body)?).await
}

/// Demonstrations use GET, with nothing to send.
async fn demo_checkout(rt: &Rt, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    checkout(rt, request, Checkout::default()).await
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
pub(super) struct Address {
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
    let order = checkout::PlaceOrderRequest {
        cart_id: body.cart_id.unwrap_or_else(|| "cart-123".to_owned()),
        user_id: user.unwrap_or_else(|| DEFAULT_USER.to_owned()),
        items: Vec::new(),
        payment_method_id: body
            .payment_method_id
            .unwrap_or_else(|| "card-456".to_owned()),
        shipping_address: body.shipping_address.map(Address::into_proto),
        model: request.query("saga").unwrap_or_default().to_owned(),
        respond_async: wants_async(request),
    };
    let key = context::current().shared.idempotency_key.clone();
    let options = place_options(CHECKOUT, key.as_deref());
    let answer: orders::CreateOrderResponse =
        grpc::unary(rt, "checkout.v1.CheckoutService/PlaceOrder", options, order).await?;
    saga_reply(&answer)
}

/// `POST /api/v1/orders`: the lines are given instead of a cart.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewOrder {
    user_id: Option<String>,
    items: Vec<NewItem>,
    currency: Option<String>,
    payment_method_id: Option<String>,
    shipping_address: Option<Address>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewItem {
    product_id: String,
    quantity: i64,
}

async fn create_order(rt: &Rt, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    let model = request.query("saga").unwrap_or(SHOPFLOW);
    order_by(rt, request, model).await
}

/// The older name of the route runs the older model.
async fn create_capstone_order(rt: &Rt, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    order_by(rt, request, CAPSTONE).await
}

async fn order_by(rt: &Rt, request: &HttpRequest, model: &str) -> Result<HttpReply, ApiError> {
    let body: NewOrder = parse(&request.body)?;
    let user = body
        .user_id
        .or_else(|| request.header("x-user-id").map(str::to_owned));
    let mut items = Vec::new();
    for item in body.items {
        let id = seed::product_id(&item.product_id).to_owned();
        let unit_price_cents = seed::price_cents(&id).ok_or_else(|| {
            ApiError::not_found("PRODUCT_NOT_FOUND", "there is no such product")
                .fact("product_id", &id)
        })?;
        items.push(orders::Item {
            product_id: id,
            quantity: item.quantity,
            unit_price_cents,
        });
    }
    let order = orders::CreateOrderRequest {
        user_id: user.unwrap_or_else(|| DEFAULT_USER.to_owned()),
        items,
        currency: body.currency.unwrap_or_else(|| "USD".to_owned()),
        payment_method_id: body
            .payment_method_id
            .unwrap_or_else(|| "card-456".to_owned()),
        shipping_address: body.shipping_address.map(Address::into_proto),
        model: model.to_owned(),
        respond_async: wants_async(request),
    };
    let key = context::current().shared.idempotency_key.clone();
    let options = place_options(ORDERS, key.as_deref());
    let answer: orders::CreateOrderResponse =
        grpc::unary(rt, "orders.v1.OrdersService/CreateOrder", options, order).await?;
    saga_reply(&answer)
}

pub(super) fn wants_async(request: &HttpRequest) -> bool {
    request
        .header("prefer")
        .is_some_and(|prefer| prefer.contains("respond-async"))
}

pub(super) fn place_options<'a>(service: &'static str, key: Option<&'a str>) -> CallOptions<'a> {
    CallOptions {
        service,
        timeout: timeouts::GATEWAY,
        retry: retry::Class::None,
        key,
    }
}

impl Address {
    pub(super) fn into_proto(self) -> orders::Address {
        orders::Address {
            street: self.street,
            city: self.city,
            state: self.state,
            zip_code: self.zip_code,
            country: self.country,
        }
    }
}

/// The saga's end as an HTTP answer.
pub(super) fn saga_reply(answer: &orders::CreateOrderResponse) -> Result<HttpReply, ApiError> {
    let order = answer.order.as_ref().map(order_json).unwrap_or(Value::Null);
    match answer.saga_status.as_str() {
        "completed" => Ok(HttpReply::json(201, order)),
        "failed" if answer.manual_intervention_required => {
            Err(saga_error(answer, "SAGA_INCOMPLETE", 500, Code::Internal))
        }
        "failed" if answer.error_code == CANCELLED => {
            Err(saga_error(answer, "ORDER_CANCELLED", 409, Code::Aborted))
        }
        "failed" => Err(match answer.failed_step.as_str() {
            "validate_user" => match answer.error_code.as_str() {
                "USER_NOT_FOUND" => saga_error(answer, "USER_NOT_FOUND", 404, Code::NotFound),
                "USER_INACTIVE" => saga_error(answer, "USER_INACTIVE", 403, Code::PermissionDenied),
                _ => saga_error(answer, "SAGA_FAILED", 503, Code::Unavailable),
            },
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

pub(super) fn read_options(service: &'static str, timeout_s: u64) -> CallOptions<'static> {
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
        ..orders::ListOrdersRequest::default()
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

async fn get_order(rt: &Rt, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    let ask = orders::OrderRef {
        order_id: request.param("id").to_owned(),
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

async fn order_status(rt: &Rt, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    let ask = orders::OrderRef {
        order_id: request.param("id").to_owned(),
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

pub(super) fn order_json(order: &orders::Order) -> Value {
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

async fn list_products(rt: &Rt, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    let limit = match request.query("limit") {
        None => 20,
        Some(text) => text
            .parse()
            .map_err(|_| ApiError::invalid("limit must be a number"))?,
    };
    let text = |name: &str| request.query(name).unwrap_or_default().to_owned();
    let ask = products::ListRequest {
        limit,
        after: text("after"),
        category: text("category"),
    };
    let list: products::ProductList = grpc::unary(
        rt,
        "products.v1.ProductsService/ListProducts",
        read_options(CATALOG, 3),
        ask,
    )
    .await?;
    let rows: Vec<Value> = list.products.iter().map(product_json).collect();
    Ok(HttpReply::json(
        200,
        json!({ "products": rows, "next": list.next }),
    ))
}

async fn get_product(rt: &Rt, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    let ask = products::ProductRef {
        product_id: request.param("id").to_owned(),
    };
    let product: products::Product = grpc::unary(
        rt,
        "products.v1.ProductsService/GetProduct",
        read_options(CATALOG, 3),
        ask,
    )
    .await?;
    Ok(HttpReply::json(200, product_json(&product)))
}

/// A change of state that may be repeated under its key, which the client must give.
pub(super) fn keyed_options<'a>(
    service: &'static str,
    key: Option<&'a str>,
) -> Result<CallOptions<'a>, ApiError> {
    let key = key.filter(|key| !key.is_empty()).ok_or_else(|| {
        ApiError::new(
            Code::InvalidArgument,
            "IDEMPOTENCY_KEY_REQUIRED",
            "send the header Idempotency-Key",
        )
    })?;
    let timeout = std::time::Duration::from_secs(10);
    Ok(CallOptions {
        service,
        timeout,
        retry: retry::Class::WriteKeyed,
        key: Some(key),
    })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProductChange {
    #[serde(default)]
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    category: String,
}

async fn update_product(rt: &Rt, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    let change: ProductChange = parse(&request.body)?;
    let ask = products::UpdateProductRequest {
        product_id: request.param("id").to_owned(),
        name: change.name,
        description: change.description,
        category: change.category,
    };
    let options = keyed_options(CATALOG, request.header("idempotency-key"))?;
    let product: products::Product = grpc::unary(
        rt,
        "products.v1.ProductsService/UpdateProduct",
        options,
        ask,
    )
    .await?;
    Ok(HttpReply::json(200, product_json(&product)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceChange {
    price_cents: i64,
}

async fn update_price(rt: &Rt, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    let change: PriceChange = parse(&request.body)?;
    let ask = products::UpdatePriceRequest {
        product_id: request.param("id").to_owned(),
        price_cents: change.price_cents,
    };
    let options = keyed_options(CATALOG, request.header("idempotency-key"))?;
    let product: products::Product =
        grpc::unary(rt, "products.v1.ProductsService/UpdatePrice", options, ask).await?;
    Ok(HttpReply::json(200, product_json(&product)))
}

fn product_json(product: &products::Product) -> Value {
    json!({
        "product_id": product.product_id,
        "name": product.name,
        "description": product.description,
        "price_cents": product.price_cents,
        "currency": product.currency,
        "category": product.category,
        "sku": product.sku,
        "image_url": product.image_url,
        "is_active": product.is_active,
        "version": product.version,
        "available": product.available,
        "stock_stale": product.stock_stale,
    })
}
