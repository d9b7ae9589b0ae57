//! Owns reviews: what customers say of products, and the requests to say something that follow a delivery.

use std::sync::Arc;

use http::Method;
use rusqlite::Row;
use serde::Deserialize;
use serde_json::{Value, json};
use tonic::Code;

use super::{Served, keyed};
use crate::error::{ApiError, ShopError};
use crate::flags;
use crate::idempotency;
use crate::ids::ulid;
use crate::messaging::{Envelope, consumer};
use crate::runtime::Rt;
use crate::seed;
use crate::server::http::{Class, HttpReply, HttpRequest, Router};
use crate::server::{admin, parse};
use crate::store::{Store, StoreError, Tx};

const SCHEMA: &str = "
CREATE TABLE reviews (
    review_id TEXT PRIMARY KEY,
    product_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    rating INTEGER NOT NULL CHECK (rating BETWEEN 1 AND 5),
    comment TEXT NOT NULL,
    order_id TEXT,
    created_at TEXT NOT NULL
);
CREATE INDEX reviews_product ON reviews (product_id, created_at);
CREATE TABLE review_requests (
    order_id TEXT PRIMARY KEY,
    requested_at TEXT NOT NULL,
    answered_at TEXT
);
CREATE VIEW ledger_reviews AS SELECT *, created_at AS changed_at FROM reviews;
CREATE VIEW ledger_review_requests AS SELECT *, coalesce(answered_at, requested_at) AS changed_at FROM review_requests;
";
const MAX_COMMENT: usize = 4_000;
const MAX_LIST: i64 = 200;

pub fn start(rt: &Rt) -> Result<Served, ShopError> {
    let migrations = [SCHEMA, idempotency::SCHEMA, consumer::SCHEMA];
    rt.set_store(Store::open(
        &rt.config.db_path(rt.spec.name),
        &migrations,
        Arc::clone(&rt.clock),
        rt.telemetry.clone(),
    )?);
    let effect: consumer::Effect = Arc::new(|tx, event: &Envelope| {
        if let Some(order_id) = event.order_id().filter(|id| !id.is_empty()) {
            tx.execute(
                "INSERT review_requests",
                "INSERT INTO review_requests (order_id, requested_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                (order_id, tx.now_text()),
            )?;
        }
        Ok(Vec::new())
    });
    let (list, submit) = (Arc::clone(rt), Arc::clone(rt));
    let router = Router::new()
        .route(Method::GET, "/reviews", Class::Business, move |request| {
            let rt = Arc::clone(&list);
            async move { show(&rt, &request).await }
        })
        .route(Method::POST, "/reviews", Class::Business, move |request| {
            let rt = Arc::clone(&submit);
            async move { take(&rt, &request).await }
        })
        .merge(consumer::router(rt, None, effect))
        .merge(admin::health(rt));
    Ok(Served {
        grpc: None,
        http: Some(router),
        background: vec![super::background(idempotency::purge(Arc::clone(rt)))],
    })
}

fn known_product(id: &str) -> Result<String, ApiError> {
    let id = seed::product_id(id);
    if seed::price_cents(id).is_some() {
        return Ok(id.to_owned());
    }
    Err(ApiError::not_found("PRODUCT_NOT_FOUND", "there is no such product").fact("product_id", id))
}

/// The newest reviews of a product, or of all; an empty section while the flag is off.
async fn show(rt: &Rt, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    let product = match request.query("product_id").filter(|id| !id.is_empty()) {
        Some(id) => known_product(id)?,
        None => String::new(),
    };
    let limit = match request.query("limit") {
        None => 20,
        Some(text) => text
            .parse::<i64>()
            .ok()
            .filter(|limit| *limit > 0)
            .ok_or_else(|| ApiError::invalid("limit must be a number from 1"))?
            .min(MAX_LIST),
    };
    if !flags::is_on(rt, flags::REVIEWS_ENABLED) {
        return Ok(HttpReply::json(
            200,
            json!({ "reviews": [], "enabled": false }),
        ));
    }
    let (count, average, rows) = rt
        .store()?
        .read::<_, StoreError, _>(move |tx| {
            let summary = tx.one(
                "SELECT reviews",
                "SELECT count(*), avg(rating) FROM reviews WHERE ?1 = '' OR product_id = ?1",
                [&product],
                |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<f64>>(1)?)),
            )?;
            let rows = tx.all(
                "SELECT reviews",
                "SELECT review_id, product_id, user_id, rating, comment, order_id, created_at FROM reviews
                 WHERE ?1 = '' OR product_id = ?1 ORDER BY created_at DESC, review_id DESC LIMIT ?2",
                (&product, limit),
                read,
            )?;
            let (count, average) = summary.unwrap_or_default();
            Ok((count, average, rows))
        })
        .await?;
    Ok(HttpReply::json(
        200,
        json!({ "reviews": rows, "count": count, "average_rating": average, "enabled": true }),
    ))
}

fn read(row: &Row<'_>) -> rusqlite::Result<Value> {
    Ok(json!({
        "review_id": row.get::<_, String>(0)?,
        "product_id": row.get::<_, String>(1)?,
        "user_id": row.get::<_, String>(2)?,
        "rating": row.get::<_, i64>(3)?,
        "comment": row.get::<_, String>(4)?,
        "order_id": row.get::<_, Option<String>>(5)?,
        "created_at": row.get::<_, String>(6)?,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Submitted {
    product_id: String,
    rating: i64,
    #[serde(default)]
    comment: String,
    /// The order whose delivery asked for it.
    order_id: Option<String>,
}

async fn take(rt: &Rt, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    let ask: Submitted = parse(&request.body)?;
    if !(1..=5).contains(&ask.rating) {
        return Err(ApiError::invalid("rating must be from 1 to 5"));
    }
    if ask.comment.len() > MAX_COMMENT {
        return Err(ApiError::invalid(format!(
            "a comment has at most {MAX_COMMENT} bytes"
        )));
    }
    let product = known_product(&ask.product_id)?;
    let user = request
        .query("user_id")
        .or_else(|| request.header("x-user-id"))
        .filter(|user| !user.is_empty() && user.len() <= 128)
        .map(|user| seed::user_id(user).to_owned())
        .ok_or_else(|| ApiError::invalid("user_id must be given"))?;
    if !flags::is_on(rt, flags::REVIEWS_ENABLED) {
        return Err(ApiError::new(
            Code::FailedPrecondition,
            "REVIEWS_DISABLED",
            "reviews are not taken at present",
        ));
    }
    let payload = json!({
        "product_id": product, "user_id": user, "rating": ask.rating, "comment": ask.comment, "order_id": ask.order_id,
    });
    let written = keyed::run_json(rt, "POST /reviews", &payload, move |tx| {
        let review = insert(tx, &product, &user, &ask)?;
        Ok(Ok(keyed::Changed::new(review)))
    })
    .await?;
    Ok(HttpReply::json(201, written.answer))
}

fn insert(tx: &Tx<'_>, product: &str, user: &str, ask: &Submitted) -> Result<Value, StoreError> {
    let id = ulid("rev_");
    tx.execute(
        "INSERT reviews",
        "INSERT INTO reviews VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        (
            &id,
            product,
            user,
            ask.rating,
            &ask.comment,
            &ask.order_id,
            tx.now_text(),
        ),
    )?;
    if let Some(order_id) = &ask.order_id {
        tx.execute(
            "UPDATE review_requests",
            "UPDATE review_requests SET answered_at = ?2 WHERE order_id = ?1",
            (order_id, tx.now_text()),
        )?;
    }
    let row = tx.one(
        "SELECT reviews",
        "SELECT review_id, product_id, user_id, rating, comment, order_id, created_at FROM reviews WHERE review_id = ?1",
        [&id],
        read,
    )?;
    Ok(row.unwrap_or_default())
}
