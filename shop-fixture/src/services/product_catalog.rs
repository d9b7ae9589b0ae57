//! Owns the catalogue: products and their prices, with the stock that inventory last told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::http::Method;
use prost::Message;
use rusqlite::Row;
use serde_json::json;
use tonic::{Request, Response, Status};

use super::{Served, trace_probe};
use crate::call::http::HttpAsk;
use crate::call::{CallOptions, grpc, http};
use crate::catalog::{INVENTORY, SEARCH};
use crate::context;
use crate::error::{ApiError, ShopError};
use crate::flags;
use crate::idempotency::{self, Begin};
use crate::messaging::publisher::Cause;
use crate::messaging::{Event, Publisher, outbox};
use crate::propagation::baggage::percent_encode;
use crate::proto::inventory;
use crate::proto::products as proto;
use crate::proto::products::products_service_server::{ProductsService, ProductsServiceServer};
use crate::resilience::retry;
use crate::runtime::Rt;
use crate::seed;
use crate::server::admin;
use crate::store::{Store, StoreError, Tx};

const SCHEMA: &str = "
CREATE TABLE products (
    product_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    price_cents INTEGER NOT NULL CHECK (price_cents > 0),
    currency TEXT NOT NULL DEFAULT 'USD',
    category TEXT NOT NULL,
    sku TEXT NOT NULL UNIQUE,
    image_url TEXT NOT NULL,
    is_active INTEGER NOT NULL DEFAULT 1,
    version INTEGER NOT NULL DEFAULT 1,
    updated_at TEXT NOT NULL
);
CREATE INDEX products_category ON products (category, product_id);
";

const COLUMNS: &str = "product_id, name, description, price_cents, currency, category, sku, image_url, is_active, version";
const MAX_LIST: i64 = 200;
const AVAILABILITY_TIMEOUT: Duration = Duration::from_secs(2);
const SEARCH_TIMEOUT: Duration = Duration::from_secs(2);

fn seed_sql() -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let rows: Vec<String> = seed::products()
        .iter()
        .map(|product| {
            format!(
                "({}, {}, {}, {}, {}, {}, {}, '1970-01-01T00:00:00.000000000Z')",
                quoted(&product.id),
                quoted(&product.name),
                quoted(&product.description),
                product.price_cents,
                quoted(product.category),
                quoted(&format!("SKU-{}", product.id)),
                quoted(&format!("/images/{}.png", product.id)),
            )
        })
        .collect();
    format!(
        "INSERT INTO products (product_id, name, description, price_cents, category, sku, image_url, updated_at)
         VALUES {};",
        rows.join(", ")
    )
}

pub fn start(rt: &Rt) -> Result<Served, ShopError> {
    let seed = seed_sql();
    let migrations = [SCHEMA, seed.as_str(), idempotency::SCHEMA, outbox::SCHEMA];
    let path = rt.config.db_path(rt.spec.name);
    rt.set_store(Store::open(
        &path,
        &migrations,
        Arc::clone(&rt.clock),
        rt.telemetry.clone(),
    )?);
    let publisher = Publisher::new(rt);
    let service = Products {
        rt: Arc::clone(rt),
        publisher: Arc::clone(&publisher),
        last_known: Mutex::new(HashMap::new()),
    };
    let background = vec![
        super::background(outbox::relay(Arc::clone(&publisher))),
        super::background(idempotency::purge(Arc::clone(rt))),
    ];
    let grpc = super::with_health(rt, ProductsServiceServer::new(service))
        .add_service(trace_probe::relay(&publisher));
    Ok(Served {
        grpc: Some(grpc),
        http: Some(admin::health(rt)),
        background,
    })
}

struct Products {
    rt: Rt,
    publisher: Arc<Publisher>,
    /// What inventory said last, for when it does not answer.
    last_known: Mutex<HashMap<String, i64>>,
}

fn read(row: &Row<'_>) -> rusqlite::Result<proto::Product> {
    Ok(proto::Product {
        product_id: row.get(0)?,
        name: row.get(1)?,
        description: row.get(2)?,
        price_cents: row.get(3)?,
        currency: row.get(4)?,
        category: row.get(5)?,
        sku: row.get(6)?,
        image_url: row.get(7)?,
        is_active: row.get(8)?,
        version: row.get(9)?,
        available: 0,
        stock_stale: false,
    })
}

fn find(tx: &Tx<'_>, product_id: &str) -> Result<Option<proto::Product>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM products WHERE product_id = ?1");
    tx.one(
        "SELECT products",
        &sql,
        [seed::product_id(product_id)],
        read,
    )
}

impl Products {
    async fn get(&self, product_id: String) -> Result<proto::Product, ApiError> {
        let found = self
            .rt
            .store()?
            .read::<_, StoreError, _>(move |tx| find(tx, &product_id))
            .await?;
        let product = found
            .ok_or_else(|| ApiError::not_found("PRODUCT_NOT_FOUND", "there is no such product"))?;
        let mut one = vec![product];
        self.fill_stock(&mut one).await;
        one.pop()
            .ok_or_else(|| ApiError::internal("the product was lost"))
    }

    /// Asks inventory; when it does not answer, the last known stock is shown and flagged as stale.
    async fn fill_stock(&self, products: &mut [proto::Product]) {
        if flags::is_on(&self.rt, flags::DEGRADED_CATALOG) {
            return self.show_last_known(products, true);
        }
        let request = inventory::AvailabilityRequest {
            items: products
                .iter()
                .take(100)
                .map(|product| inventory::Line {
                    product_id: product.product_id.clone(),
                    quantity: 1,
                })
                .collect(),
        };
        let options = CallOptions {
            service: INVENTORY,
            timeout: AVAILABILITY_TIMEOUT,
            retry: retry::Class::None,
            key: None,
        };
        let answer: Result<inventory::AvailabilityReply, _> = grpc::unary(
            &self.rt,
            "inventory.v1.InventoryService/CheckAvailability",
            options,
            request,
        )
        .await;
        if let Ok(answer) = &answer {
            let mut known = self
                .last_known
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            for item in &answer.items {
                known.insert(item.product_id.clone(), item.available);
            }
        }
        self.show_last_known(products, answer.is_err());
    }

    fn show_last_known(&self, products: &mut [proto::Product], stale: bool) {
        let known = self
            .last_known
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for product in products {
            product.available = known.get(&product.product_id).copied().unwrap_or(0);
            product.stock_stale = stale;
        }
    }

    async fn list(&self, request: proto::ListRequest) -> Result<proto::ProductList, ApiError> {
        let limit = if request.limit <= 0 {
            20
        } else {
            request.limit.min(MAX_LIST)
        };
        let sql = format!(
            "SELECT {COLUMNS} FROM products WHERE is_active AND product_id > ?1 AND (?2 = '' OR category = ?2)
             ORDER BY product_id LIMIT ?3"
        );
        let mut products = self
            .rt
            .store()?
            .read::<_, StoreError, _>(move |tx| {
                tx.all(
                    "SELECT products",
                    &sql,
                    (&request.after, &request.category, limit),
                    read,
                )
            })
            .await?;
        self.fill_stock(&mut products).await;
        let full = products.len() as i64 == limit;
        let next = products
            .last()
            .filter(|_| full)
            .map(|last| last.product_id.clone())
            .unwrap_or_default();
        Ok(proto::ProductList { products, next })
    }

    /// Search says which; what they are and cost is the catalogue's own to tell.
    async fn search(&self, request: proto::SearchRequest) -> Result<proto::ProductList, ApiError> {
        let limit = if request.limit <= 0 {
            20
        } else {
            request.limit.min(100)
        };
        let path = format!("/search?q={}&limit={limit}", percent_encode(&request.query));
        let ask = HttpAsk {
            method: Method::GET,
            template: "/search",
            path: &path,
            body: None,
        };
        let options = CallOptions {
            service: SEARCH,
            timeout: SEARCH_TIMEOUT,
            retry: retry::Class::None,
            key: None,
        };
        let found = http::send(&self.rt, &ask, options).await?.body;
        let ids: Vec<String> = found["results"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|row| row["product_id"].as_str().map(str::to_owned))
            .collect();
        let mut products = self
            .rt
            .store()?
            .read::<_, StoreError, _>(move |tx| {
                let mut products = Vec::new();
                for id in &ids {
                    products.extend(find(tx, id)?);
                }
                Ok(products)
            })
            .await?;
        self.fill_stock(&mut products).await;
        Ok(proto::ProductList {
            products,
            next: String::new(),
        })
    }

    async fn change(
        &self,
        product_id: String,
        method: &'static str,
        payload: serde_json::Value,
        update: impl FnOnce(&Tx<'_>, &proto::Product) -> Result<Option<Event>, StoreError>
        + Send
        + 'static,
    ) -> Result<proto::Product, ApiError> {
        let key = context::current().shared.idempotency_key.clone();
        let ticket = match idempotency::begin(&self.rt, key.as_deref(), method, &payload).await? {
            Begin::Replay(outcome) => {
                return proto::Product::decode(outcome?.as_slice())
                    .map_err(|_| ApiError::internal("the stored answer is not readable"));
            }
            Begin::Run(ticket) => ticket,
        };
        let (publisher, cause, settle) =
            (Arc::clone(&self.publisher), Cause::here(), ticket.clone());
        let stored = self
            .rt
            .store()?
            .write::<_, StoreError, _>(move |tx| {
                let Some(before) = find(tx, &product_id)? else {
                    let error =
                        ApiError::not_found("PRODUCT_NOT_FOUND", "there is no such product");
                    settle.refuse(tx, &error)?;
                    return Ok(Err(error));
                };
                let event = update(tx, &before)?;
                let after = find(tx, &product_id)?.unwrap_or(before);
                settle.complete(tx, &after.encode_to_vec())?;
                let staged = match event {
                    Some(event) => vec![publisher.stage(tx, event, &cause)?],
                    None => Vec::new(),
                };
                Ok(Ok((after, staged)))
            })
            .await;
        match stored {
            Ok(Ok((product, staged))) => {
                self.publisher.publish_and_wait(staged).await?;
                Ok(product)
            }
            Ok(Err(error)) => Err(error),
            Err(error) => {
                let error = ApiError::from(error);
                ticket.settle_failure(&self.rt, &error).await?;
                Err(error)
            }
        }
    }
}

fn product_event(event_type: &'static str, product_id: &str, data: serde_json::Value) -> Event {
    Event {
        event_type,
        aggregate_type: "product",
        aggregate_id: product_id.to_owned(),
        order_id: None,
        saga_id: None,
        data,
    }
}

fn answer<T>(outcome: Result<T, ApiError>) -> Result<Response<T>, Status> {
    outcome
        .map(Response::new)
        .map_err(|error| error.to_status())
}

#[tonic::async_trait]
impl ProductsService for Products {
    async fn get_product(
        &self,
        request: Request<proto::ProductRef>,
    ) -> Result<Response<proto::Product>, Status> {
        answer(self.get(request.into_inner().product_id).await)
    }

    async fn get_products(
        &self,
        request: Request<proto::ProductRefs>,
    ) -> Result<Response<proto::ProductList>, Status> {
        let ids = request.into_inner().product_ids;
        if ids.len() as i64 > MAX_LIST {
            return answer(Err(ApiError::invalid(format!(
                "at most {MAX_LIST} products are read at once"
            ))));
        }
        let found = async {
            let store = self.rt.store()?;
            let mut products = store
                .read::<_, StoreError, _>(move |tx| {
                    let mut found = Vec::new();
                    for id in &ids {
                        found.extend(find(tx, id)?);
                    }
                    Ok(found)
                })
                .await?;
            self.fill_stock(&mut products).await;
            Ok::<_, ApiError>(proto::ProductList {
                products,
                next: String::new(),
            })
        };
        answer(found.await)
    }

    async fn search_products(
        &self,
        request: Request<proto::SearchRequest>,
    ) -> Result<Response<proto::ProductList>, Status> {
        answer(self.search(request.into_inner()).await)
    }

    async fn list_products(
        &self,
        request: Request<proto::ListRequest>,
    ) -> Result<Response<proto::ProductList>, Status> {
        answer(self.list(request.into_inner()).await)
    }

    async fn check_availability(
        &self,
        request: Request<proto::ProductRef>,
    ) -> Result<Response<proto::ProductAvailability>, Status> {
        answer(
            self.get(request.into_inner().product_id)
                .await
                .map(|product| proto::ProductAvailability {
                    product_id: product.product_id,
                    available: product.available,
                    stale: product.stock_stale,
                }),
        )
    }

    async fn update_product(
        &self,
        request: Request<proto::UpdateProductRequest>,
    ) -> Result<Response<proto::Product>, Status> {
        let ask = request.into_inner();
        let payload = json!({
            "product_id": ask.product_id, "name": ask.name, "description": ask.description, "category": ask.category,
        });
        let update = {
            let ask = ask.clone();
            move |tx: &Tx<'_>, before: &proto::Product| {
                tx.execute(
                    "UPDATE products",
                    "UPDATE products SET name = iif(?2 = '', name, ?2), description = iif(?3 = '', description, ?3),
                         category = iif(?4 = '', category, ?4), version = version + 1, updated_at = ?5
                     WHERE product_id = ?1",
                    (&before.product_id, &ask.name, &ask.description, &ask.category, tx.now_text()),
                )?;
                let changed: serde_json::Map<String, serde_json::Value> = [
                    ("name", &ask.name),
                    ("description", &ask.description),
                    ("category", &ask.category),
                ]
                .into_iter()
                .filter(|(_, value)| !value.is_empty())
                .map(|(field, value)| (field.to_owned(), value.as_str().into()))
                .collect();
                let fields: Vec<&String> = changed.keys().collect();
                let data = json!({
                    "product_id": before.product_id, "changed_fields": fields, "changed": changed,
                });
                Ok(Some(product_event(
                    "ProductUpdated",
                    &before.product_id,
                    data,
                )))
            }
        };
        answer(
            self.change(ask.product_id, "UpdateProduct", payload, update)
                .await,
        )
    }

    async fn update_price(
        &self,
        request: Request<proto::UpdatePriceRequest>,
    ) -> Result<Response<proto::Product>, Status> {
        let ask = request.into_inner();
        if ask.price_cents <= 0 {
            return answer(Err(ApiError::invalid("a price must be positive")));
        }
        let price = ask.price_cents;
        let payload = json!({ "product_id": ask.product_id, "price_cents": price });
        let update = move |tx: &Tx<'_>, before: &proto::Product| {
            tx.execute(
                "UPDATE products",
                "UPDATE products SET price_cents = ?2, version = version + 1, updated_at = ?3 WHERE product_id = ?1",
                (&before.product_id, price, tx.now_text()),
            )?;
            let data = json!({
                "product_id": before.product_id, "old_price_cents": before.price_cents, "price_cents": price,
            });
            Ok((before.price_cents != price)
                .then(|| product_event("PriceChanged", &before.product_id, data)))
        };
        answer(
            self.change(ask.product_id, "UpdatePrice", payload, update)
                .await,
        )
    }
}
