//! Owns shopping-cart: one cart per user with a time to live, and a copy of the prices that follows the catalogue by
//! events, so that a cart costs what the shop last heard.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tonic::Code;

use super::Served;
use crate::call::{CallOptions, grpc};
use crate::catalog::INVENTORY;
use crate::clock::rfc3339;
use crate::error::{ApiError, ShopError};
use crate::flags;
use crate::messaging::{Envelope, consumer};
use crate::proto::inventory;
use crate::resilience::{retry, timeouts};
use crate::runtime::Rt;
use crate::seed;
use crate::server::http::{HttpReply, HttpRequest, Router};
use crate::server::router::business_routes;
use crate::server::{admin, parse};
use crate::store::kv::{self, Kv};
use crate::store::{Store, StoreError, Tx};

const SCHEMA: &str = "
CREATE TABLE prices (
    product_id TEXT PRIMARY KEY,
    price_cents INTEGER NOT NULL,
    changed_at TEXT NOT NULL
);
";
const CARTS: Kv = Kv {
    collection: "carts",
    ttl: Duration::from_secs(24 * 3_600),
};
const MAX_LINES: usize = 100;
const MAX_QUANTITY: i64 = 10_000;

pub fn start(rt: &Rt) -> Result<Served, ShopError> {
    let seed = seed_sql();
    let migrations = [SCHEMA, seed.as_str(), kv::SCHEMA, consumer::SCHEMA];
    rt.set_store(Store::open(
        &rt.config.db_path(rt.spec.name),
        &migrations,
        Arc::clone(&rt.clock),
        rt.telemetry.clone(),
    )?);
    let effect: consumer::Effect = Arc::new(|tx, event: &Envelope| {
        follow_price(tx, event)?;
        Ok(Vec::new())
    });
    let router = router(rt)
        .merge(consumer::router(rt, None, effect))
        .merge(admin::health(rt));
    Ok(Served {
        grpc: None,
        http: Some(router),
        background: vec![super::background(kv::purge(Arc::clone(rt)))],
    })
}

fn seed_sql() -> String {
    let rows: Vec<String> = seed::products()
        .iter()
        .map(|product| {
            format!(
                "('{}', {}, '1970-01-01T00:00:00.000000000Z')",
                product.id, product.price_cents
            )
        })
        .collect();
    format!("INSERT INTO prices VALUES {};", rows.join(", "))
}

fn follow_price(tx: &Tx<'_>, event: &Envelope) -> Result<(), StoreError> {
    let (Some(product), Some(price)) = (
        event.data["product_id"].as_str(),
        event.data["price_cents"].as_i64(),
    ) else {
        return Ok(());
    };
    // An older change that arrives late must not undo a newer one.
    tx.execute(
        "UPDATE prices",
        "UPDATE prices SET price_cents = ?2, changed_at = ?3 WHERE product_id = ?1 AND changed_at < ?3",
        (product, price, &event.timestamp),
    )?;
    Ok(())
}

fn router(rt: &Rt) -> Router {
    let mut router = Router::new();
    business_routes! { router, rt;
        GET "/cart" show;
        DELETE "/cart" empty;
        POST "/cart/add" add;
        DELETE "/cart/items/{product_id}" remove;
    }
    router
}

/// What is kept of a cart; prices are looked up when it is shown.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Cart {
    lines: Vec<Line>,
    expires_at: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    product_id: String,
    quantity: i64,
}

/// The user whose cart is meant: told by `user_id`, by the cart's own id, or by the caller's header.
fn owner(request: &HttpRequest) -> Result<String, ApiError> {
    let user = request
        .query("cart_id")
        .map(|id| id.strip_prefix(CART_PREFIX).unwrap_or_default())
        .or_else(|| request.query("user_id"))
        .or_else(|| request.header("x-user-id"))
        .unwrap_or_default();
    if user.is_empty() && request.query("cart_id").is_some() {
        return Err(not_found());
    }
    if user.is_empty() || user.len() > 128 {
        return Err(ApiError::invalid("user_id must be given"));
    }
    Ok(seed::user_id(user).to_owned())
}

/// A cart is named after its user, in a way that no template cart is.
const CART_PREFIX: &str = "cart_";

fn not_found() -> ApiError {
    ApiError::not_found("CART_NOT_FOUND", "there is no such cart")
}

async fn show(rt: &Rt, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    let user = owner(request)?;
    let stored = CARTS.get(rt, &user).await?;
    if stored.is_none() && request.query("cart_id").is_some() {
        return Err(not_found());
    }
    let cart = read(stored)?;
    Ok(HttpReply::json(200, cart_json(rt, &user, &cart).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Add {
    product_id: String,
    #[serde(default = "one")]
    quantity: i64,
}

fn one() -> i64 {
    1
}

async fn add(rt: &Rt, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    let user = owner(request)?;
    let ask: Add = parse(&request.body)?;
    if !(1..=MAX_QUANTITY).contains(&ask.quantity) {
        return Err(ApiError::invalid(format!(
            "quantity must be from 1 to {MAX_QUANTITY}"
        )));
    }
    let product = seed::product_id(&ask.product_id).to_owned();
    if price_of(rt, &product).await?.is_none() {
        return Err(
            ApiError::not_found("PRODUCT_NOT_FOUND", "there is no such product")
                .fact("product_id", &product),
        );
    }
    let before = read(CARTS.get(rt, &user).await?)?;
    let wanted = ask.quantity
        + before
            .lines
            .iter()
            .find(|line| line.product_id == product)
            .map_or(0, |line| line.quantity);
    let checked = check_stock(rt, &product, wanted).await?;
    let expires = rfc3339(rt.clock.now() + rt.clock.scaled(CARTS.ttl).as_nanos() as u64);
    let cart = CARTS
        .update(rt, &user, move |stored| {
            let mut cart = read(stored)?;
            let full = cart.lines.len() == MAX_LINES;
            match cart
                .lines
                .iter_mut()
                .find(|line| line.product_id == product)
            {
                Some(line) if line.quantity + ask.quantity > MAX_QUANTITY => {
                    return Err(ApiError::invalid(format!(
                        "a cart holds at most {MAX_QUANTITY} of a product"
                    )));
                }
                Some(line) => line.quantity += ask.quantity,
                None if full => {
                    return Err(ApiError::invalid(format!(
                        "a cart holds at most {MAX_LINES} products"
                    )));
                }
                None => cart.lines.push(Line {
                    product_id: product,
                    quantity: ask.quantity,
                }),
            }
            cart.expires_at = expires;
            Ok((Some(write(&cart)?), cart))
        })
        .await?;
    let mut shown = cart_json(rt, &user, &cart).await?;
    shown["stock_checked"] = checked.into();
    Ok(HttpReply::json(200, shown))
}

/// Whether inventory said that there is enough. When it does not answer, the customer may go on: checkout will ask again.
async fn check_stock(rt: &Rt, product: &str, quantity: i64) -> Result<bool, ApiError> {
    let ask = inventory::AvailabilityRequest {
        items: vec![inventory::Line {
            product_id: product.to_owned(),
            quantity,
        }],
    };
    let options = CallOptions {
        service: INVENTORY,
        timeout: timeouts::INVENTORY_STEP,
        retry: retry::Class::None,
        key: None,
    };
    let answer: Result<inventory::AvailabilityReply, _> = grpc::unary(
        rt,
        "inventory.v1.InventoryService/CheckAvailability",
        options,
        ask,
    )
    .await;
    let Ok(answer) = answer else {
        return Ok(false);
    };
    if answer.all_available {
        return Ok(true);
    }
    let available = answer.items.first().map_or(0, |item| item.available);
    Err(ApiError::new(
        Code::FailedPrecondition,
        "INSUFFICIENT_STOCK",
        "there is not enough of this product",
    )
    .fact("product_id", product)
    .fact("requested", quantity)
    .fact("available", available))
}

async fn remove(rt: &Rt, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    let user = owner(request)?;
    let product = seed::product_id(request.param("product_id")).to_owned();
    let cart = CARTS
        .update(rt, &user, move |stored| {
            let mut cart = read(stored)?;
            let before = cart.lines.len();
            cart.lines.retain(|line| line.product_id != product);
            if cart.lines.len() == before {
                return Err(ApiError::not_found(
                    "CART_ITEM_NOT_FOUND",
                    "the cart holds no such product",
                ));
            }
            Ok((Some(write(&cart)?), cart))
        })
        .await?;
    Ok(HttpReply::json(200, cart_json(rt, &user, &cart).await?))
}

/// What checkout does with a cart that became an order.
async fn empty(rt: &Rt, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    let user = owner(request)?;
    CARTS.delete(rt, &user).await?;
    Ok(HttpReply::json(
        200,
        json!({ "cart_id": format!("{CART_PREFIX}{user}"), "items": [] }),
    ))
}

fn read(stored: Option<String>) -> Result<Cart, ApiError> {
    match stored {
        None => Ok(Cart::default()),
        Some(text) => serde_json::from_str(&text)
            .map_err(|_| ApiError::internal("the stored cart is not readable")),
    }
}

fn write(cart: &Cart) -> Result<String, ApiError> {
    serde_json::to_string(cart).map_err(|error| ApiError::internal(error.to_string()))
}

async fn price_of(rt: &Rt, product: &str) -> Result<Option<i64>, ApiError> {
    let product = product.to_owned();
    let found = rt
        .store()?
        .read::<_, StoreError, _>(move |tx| price(tx, &product))
        .await?;
    Ok(found)
}

fn price(tx: &Tx<'_>, product: &str) -> Result<Option<i64>, StoreError> {
    tx.one(
        "SELECT prices",
        "SELECT price_cents FROM prices WHERE product_id = ?1",
        [product],
        |row| row.get(0),
    )
}

async fn cart_json(rt: &Rt, user: &str, cart: &Cart) -> Result<Value, ApiError> {
    let lines = cart.lines.clone();
    let priced = rt
        .store()?
        .read::<_, StoreError, _>(move |tx| {
            lines
                .into_iter()
                .map(|line| Ok((price(tx, &line.product_id)?.unwrap_or(0), line)))
                .collect::<Result<Vec<_>, StoreError>>()
        })
        .await?;
    // One user always pays by the same rule, whichever process answers.
    let reduced = flags::is_on_for(rt, flags::NEW_PRICING, user);
    let mut total = 0;
    let mut items = Vec::new();
    for (price, line) in priced {
        let price: i64 = if reduced { price - price / 20 } else { price };
        total += price * line.quantity;
        items.push(json!({
            "product_id": line.product_id,
            "quantity": line.quantity,
            "unit_price_cents": price,
            "total_cents": price * line.quantity,
        }));
    }
    Ok(json!({
        "cart_id": format!("{CART_PREFIX}{user}"),
        "user_id": user,
        "items": items,
        "total_cents": total,
        "currency": "USD",
        "expires_at": (!cart.expires_at.is_empty()).then_some(&cart.expires_at),
    }))
}
