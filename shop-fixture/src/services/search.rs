//! Owns search: an index of the products that follows the catalogue by events, and recommendations from what was bought.

use std::sync::Arc;

use http::Method;
use rusqlite::Row;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Served;
use crate::error::{ApiError, ShopError};
use crate::flags;
use crate::messaging::{Envelope, consumer};
use crate::runtime::Rt;
use crate::seed;
use crate::server::http::{Class, HttpReply, HttpRequest, Router};
use crate::server::{admin, parse};
use crate::store::{Store, StoreError, Tx};

const SCHEMA: &str = "
CREATE TABLE documents (
    product_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    brand TEXT NOT NULL,
    category TEXT NOT NULL,
    price_cents INTEGER NOT NULL,
    words TEXT NOT NULL,
    price_at TEXT NOT NULL,
    text_at TEXT NOT NULL
);
CREATE TABLE bought (
    order_id TEXT NOT NULL,
    product_id TEXT NOT NULL,
    quantity INTEGER NOT NULL,
    PRIMARY KEY (order_id, product_id)
);
CREATE INDEX bought_product ON bought (product_id);
";
const MAX_QUERY: usize = 200;
const MAX_WORDS: usize = 16;
const RECOMMENDED: i64 = 5;

pub fn start(rt: &Rt) -> Result<Served, ShopError> {
    let seed = seed_sql();
    let migrations = [SCHEMA, seed.as_str(), consumer::SCHEMA];
    rt.set_store(Store::open(
        &rt.config.db_path(rt.spec.name),
        &migrations,
        Arc::clone(&rt.clock),
        rt.telemetry.clone(),
    )?);
    let effect: consumer::Effect = Arc::new(|tx, event: &Envelope| {
        follow(tx, event)?;
        Ok(Vec::new())
    });
    let (find, learn) = (Arc::clone(rt), Arc::clone(rt));
    let router = Router::new()
        .route(Method::GET, "/search", Class::Business, move |request| {
            let rt = Arc::clone(&find);
            async move { search(&rt, &request).await }
        })
        .route(
            Method::POST,
            "/internal/recommendations",
            Class::Business,
            move |request| {
                let rt = Arc::clone(&learn);
                async move { note_order(&rt, &request).await }
            },
        )
        .merge(consumer::router(rt, None, effect))
        .merge(admin::health(rt));
    Ok(Served {
        grpc: None,
        http: Some(router),
        background: Vec::new(),
    })
}

fn words(name: &str, description: &str, brand: &str, category: &str) -> String {
    format!("{name} {description} {brand} {category}").to_lowercase()
}

/// The make is the first word of a product's name.
fn brand(name: &str) -> &str {
    name.split(' ').next().unwrap_or_default()
}

fn seed_sql() -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let long_ago = "'1970-01-01T00:00:00.000000000Z'";
    let rows: Vec<String> = seed::products()
        .iter()
        .map(|product| {
            let brand = brand(&product.name);
            let words = words(&product.name, &product.description, brand, product.category);
            format!(
                "({}, {}, {}, {}, {}, {}, {}, {long_ago}, {long_ago})",
                quoted(&product.id),
                quoted(&product.name),
                quoted(&product.description),
                quoted(brand),
                quoted(product.category),
                product.price_cents,
                quoted(&words),
            )
        })
        .collect();
    format!("INSERT INTO documents VALUES {};", rows.join(", "))
}

/// An older change that arrives late never undoes a newer one.
fn follow(tx: &Tx<'_>, event: &Envelope) -> Result<(), StoreError> {
    let Some(product) = event.data["product_id"].as_str() else {
        return Ok(());
    };
    if let Some(price) = event.data["price_cents"].as_i64() {
        tx.execute(
            "UPDATE documents",
            "UPDATE documents SET price_cents = ?2, price_at = ?3 WHERE product_id = ?1 AND price_at < ?3",
            (product, price, &event.timestamp),
        )?;
        return Ok(());
    }
    let before = tx.one(
        "SELECT documents",
        "SELECT name, description, category FROM documents WHERE product_id = ?1 AND text_at < ?2",
        (product, &event.timestamp),
        |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, String>(2)?,
            ))
        },
    )?;
    let Some(before) = before else {
        return Ok(());
    };
    let changed = |field: &str, old: String| {
        event.data["changed"][field]
            .as_str()
            .map_or(old, str::to_owned)
    };
    let (name, description, category) = (
        changed("name", before.0),
        changed("description", before.1),
        changed("category", before.2),
    );
    let brand = brand(&name);
    tx.execute(
        "UPDATE documents",
        "UPDATE documents SET name = ?2, description = ?3, category = ?4, brand = ?5, words = ?6, text_at = ?7
         WHERE product_id = ?1",
        (
            product,
            &name,
            &description,
            &category,
            brand,
            words(&name, &description, brand, &category),
            &event.timestamp,
        ),
    )?;
    Ok(())
}

/// What is looked for.
#[derive(Debug, Clone)]
struct Wanted {
    words: Vec<String>,
    brand: String,
    category: String,
    price_min: i64,
    price_max: i64,
    limit: i64,
}

impl Wanted {
    fn of(request: &HttpRequest) -> Result<Self, ApiError> {
        let text = |name: &str| request.query(name).unwrap_or_default().to_lowercase();
        let number = |name: &str, unsaid: i64| match request.query(name) {
            None => Ok(unsaid),
            Some(text) => text
                .parse::<i64>()
                .ok()
                .filter(|number| *number >= 0)
                .ok_or_else(|| ApiError::invalid(format!("{name} must be a number from 0"))),
        };
        let query = text("q");
        if query.len() > MAX_QUERY {
            return Err(ApiError::invalid(format!(
                "q has at most {MAX_QUERY} bytes"
            )));
        }
        let (price_min, price_max) = (number("price_min", 0)?, number("price_max", i64::MAX)?);
        if price_min > price_max {
            return Err(ApiError::invalid("price_min is above price_max"));
        }
        Ok(Self {
            words: query
                .split_whitespace()
                .take(MAX_WORDS)
                .map(str::to_owned)
                .collect(),
            brand: text("brand"),
            category: text("category"),
            price_min,
            price_max,
            limit: number("limit", 20)?.clamp(1, 100),
        })
    }
}

async fn search(rt: &Rt, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    let wanted = Wanted::of(request)?;
    let together = flags::is_on(rt, flags::SEARCH_RECOMMENDATIONS);
    let (found, recommended) = rt
        .store()?
        .read::<_, StoreError, _>(move |tx| {
            let found = find(tx, &wanted)?;
            let first = found
                .first()
                .and_then(|row| row["product_id"].as_str())
                .filter(|_| together)
                .unwrap_or_default();
            let recommended = recommend(tx, first)?;
            Ok((found, recommended))
        })
        .await?;
    Ok(HttpReply::json(
        200,
        json!({ "results": found, "count": found.len(), "recommendations": recommended }),
    ))
}

fn find(tx: &Tx<'_>, wanted: &Wanted) -> Result<Vec<Value>, StoreError> {
    let mut rows: Vec<(Value, String, String)> = tx.all(
        "SELECT documents",
        "SELECT product_id, name, brand, category, price_cents, words FROM documents
         WHERE (?1 = '' OR lower(brand) = ?1) AND (?2 = '' OR lower(category) = ?2)
           AND price_cents BETWEEN ?3 AND ?4 ORDER BY product_id",
        (
            &wanted.brand,
            &wanted.category,
            wanted.price_min,
            wanted.price_max,
        ),
        |row| Ok((document(row)?, row.get(1)?, row.get(5)?)),
    )?;
    rows.retain(|(_, _, text)| wanted.words.iter().all(|word| text.contains(word)));
    // What is called so comes before what is only described so.
    rows.sort_by_key(|(_, name, _)| {
        let name = name.to_lowercase();
        !wanted.words.iter().all(|word| name.contains(word))
    });
    rows.truncate(wanted.limit as usize);
    Ok(rows.into_iter().map(|(row, _, _)| row).collect())
}

fn document(row: &Row<'_>) -> rusqlite::Result<Value> {
    Ok(json!({
        "product_id": row.get::<_, String>(0)?,
        "name": row.get::<_, String>(1)?,
        "brand": row.get::<_, String>(2)?,
        "category": row.get::<_, String>(3)?,
        "price_cents": row.get::<_, i64>(4)?,
    }))
}

/// What others bought along with a product; without one, or when nobody bought it, what sells best.
fn recommend(tx: &Tx<'_>, product: &str) -> Result<Vec<String>, StoreError> {
    let id = |row: &Row<'_>| row.get::<_, String>(0);
    let along = tx.all(
        "SELECT bought",
        "SELECT other.product_id FROM bought AS this JOIN bought AS other USING (order_id)
         WHERE this.product_id = ?1 AND other.product_id <> ?1
         GROUP BY other.product_id ORDER BY count(*) DESC, other.product_id LIMIT ?2",
        (product, RECOMMENDED),
        id,
    )?;
    if !along.is_empty() {
        return Ok(along);
    }
    tx.all(
        "SELECT bought",
        "SELECT product_id FROM bought WHERE product_id <> ?1
         GROUP BY product_id ORDER BY sum(quantity) DESC, product_id LIMIT ?2",
        (product, RECOMMENDED),
        id,
    )
}

/// Whoever tells of an order may tell more of it than is of use here.
#[derive(Deserialize)]
struct Order {
    order_id: String,
    items: Vec<Bought>,
}

#[derive(Deserialize)]
struct Bought {
    product_id: String,
    quantity: i64,
}

/// One row for each product of an order, so that telling it twice changes nothing.
async fn note_order(rt: &Rt, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    let order: Order = parse(&request.body)?;
    if order.order_id.is_empty() || order.items.is_empty() || order.items.len() > 100 {
        return Err(ApiError::invalid(
            "an order has an id and from 1 to 100 items",
        ));
    }
    let id = order.order_id.clone();
    rt.store()?
        .write::<_, StoreError, _>(move |tx| {
            for item in &order.items {
                tx.execute(
                    "INSERT bought",
                    "INSERT INTO bought VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                    (
                        &order.order_id,
                        seed::product_id(&item.product_id),
                        item.quantity.max(1),
                    ),
                )?;
            }
            Ok(())
        })
        .await?;
    Ok(HttpReply::json(200, json!({ "order_id": id })))
}
