//! Owns the message bus: one row per subscriber, stored before the answer, then pushed; retries, and dead letters for
//! what nobody took.

mod delivery;
mod queue;

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::Served;
use crate::error::{ApiError, ShopError};
use crate::messaging::{Envelope, routes};
use crate::runtime::Rt;
use crate::server::http::{Class, HttpReply, HttpRequest, Router};
use crate::server::{admin, parse};
use crate::store::{Store, StoreError};

pub(super) struct Bus {
    rt: Rt,
    wake: Notify,
}

pub fn start(rt: &Rt) -> Result<Served, ShopError> {
    let path = rt.config.db_path(rt.spec.name);
    rt.set_store(Store::open(
        &path,
        &[queue::SCHEMA],
        Arc::clone(&rt.clock),
        rt.telemetry.clone(),
    )?);
    let bus = Arc::new(Bus {
        rt: Arc::clone(rt),
        wake: Notify::new(),
    });
    let mut background = Vec::new();
    for subscriber in routes::all_subscribers() {
        background.push(super::background(delivery::run(
            Arc::clone(&bus),
            subscriber,
        )));
    }
    Ok(Served {
        grpc: None,
        http: Some(router(&bus).merge(admin::health(rt))),
        background,
    })
}

fn router(bus: &Arc<Bus>) -> Router {
    let mut router = Router::new();
    macro_rules! route {
        ($method:ident $path:literal $class:ident $handler:expr) => {
            let bus = Arc::clone(bus);
            router = router.route(
                Method::$method,
                $path,
                Class::$class,
                move |request: HttpRequest| {
                    let bus = Arc::clone(&bus);
                    async move { $handler(bus, request).await }
                },
            );
        };
    }
    route!(POST "/events/{type}" Business take);
    route!(GET "/admin/queues" Silent queues);
    route!(GET "/admin/dlq" Silent dead_letters);
    route!(POST "/admin/dlq/{id}/redrive" Silent redrive);
    router
}

async fn take(bus: Arc<Bus>, request: HttpRequest) -> Result<HttpReply, ApiError> {
    let Some(event_type) = routes::known(request.param("type")) else {
        return Err(ApiError::not_found(
            "UNKNOWN_EVENT_TYPE",
            "there is no such event type",
        ));
    };
    let envelope: Envelope = parse(&request.body)?;
    if envelope.event_type != event_type {
        return Err(ApiError::invalid(
            "the event is of another type than its path",
        ));
    }
    if envelope.event_id.is_empty() || envelope.aggregate.id.is_empty() {
        return Err(ApiError::invalid("an event needs an id and an aggregate"));
    }
    let subscribers = routes::subscribers(event_type);
    let event_id = envelope.event_id.clone();
    let told = subscribers.clone();
    bus.rt
        .store()?
        .write::<_, StoreError, _>(move |tx| queue::insert(tx, &envelope, &told))
        .await?;
    bus.wake.notify_waiters();
    Ok(HttpReply::json(
        202,
        json!({ "event_id": event_id, "subscribers": subscribers }),
    ))
}

async fn queues(bus: Arc<Bus>, _request: HttpRequest) -> Result<HttpReply, ApiError> {
    let rows = bus
        .rt
        .store()?
        .read::<_, StoreError, _>(queue::depths)
        .await?;
    Ok(HttpReply::json(200, Value::Array(rows)))
}

async fn dead_letters(bus: Arc<Bus>, _request: HttpRequest) -> Result<HttpReply, ApiError> {
    let rows = bus
        .rt
        .store()?
        .read::<_, StoreError, _>(queue::dead)
        .await?;
    Ok(HttpReply::json(200, Value::Array(rows)))
}

async fn redrive(bus: Arc<Bus>, request: HttpRequest) -> Result<HttpReply, ApiError> {
    let id: i64 = request
        .param("id")
        .parse()
        .map_err(|_| ApiError::invalid("a dead letter is named by its number"))?;
    let found = bus
        .rt
        .store()?
        .write::<_, StoreError, _>(move |tx| queue::redrive(tx, id))
        .await?;
    if !found {
        return Err(ApiError::not_found(
            "DEAD_LETTER_NOT_FOUND",
            "there is no such dead letter",
        ));
    }
    bus.wake.notify_waiters();
    Ok(HttpReply::json(202, json!({ "id": id, "redriven": true })))
}
