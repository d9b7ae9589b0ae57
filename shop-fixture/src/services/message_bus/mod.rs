//! Owns the message bus: one row per subscriber, stored before the answer, then pushed; retries, and dead letters for
//! what nobody took.

mod delivery;
mod lanes;
mod queue;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

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
use crate::telemetry::Attributes;

pub(super) struct Bus {
    rt: Rt,
    lanes: lanes::Lanes,
    /// Deliveries that were made and are not noted yet.
    done: Mutex<Vec<i64>>,
    wake: Notify,
}

impl Bus {
    /// Whose rows this process delivers: those that it accepted, or an earlier process of the same instance.
    fn owner(&self) -> &str {
        &self.rt.telemetry.identity().label
    }

    fn is_done(&self, id: i64) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.push(id);
        self.wake.notify_one();
    }

    /// How long an event stands aside under the fault that changes the order.
    fn reorder_delay(&self) -> Duration {
        let params = self.rt.faults.find("bus_reorder");
        let ms = params.and_then(|params| params["ms"].as_u64());
        Duration::from_millis(ms.unwrap_or(2_000).min(600_000))
    }

    fn complain(&self, what: &'static str, error: &StoreError) {
        self.rt.telemetry.error(
            "exception",
            what,
            Attributes::new()
                .with("error.code", "STORE_FAILED")
                .with("error.details", error.to_string()),
        );
    }
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
        lanes: lanes::Lanes::new(&routes::all_subscribers()),
        done: Mutex::new(Vec::new()),
        wake: Notify::new(),
    });
    let background = vec![super::background(delivery::keep_books(Arc::clone(&bus)))];
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
    let body: Value = parse(&request.body)?;
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
    let message = queue::Message::new(envelope, body);
    let (stored, told) = (Arc::clone(&message), subscribers.clone());
    let owner = bus.owner().to_owned();
    // Not flushed by itself: journal and outbox are what must survive the loss of power, and this is neither.
    let ids = bus
        .rt
        .store()?
        .note::<_, StoreError, _>(move |tx| queue::insert(tx, &stored, &told, &owner))
        .await?;
    for (subscriber, id) in subscribers.iter().copied().zip(ids) {
        let delivery = queue::Delivery {
            id,
            message: Arc::clone(&message),
            attempts: 0,
            due: 0,
        };
        lanes::add(&bus, subscriber, delivery);
    }
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
    let owner = bus.owner().to_owned();
    let found = bus
        .rt
        .store()?
        .note::<_, StoreError, _>(move |tx| queue::redrive(tx, id, &owner))
        .await?;
    let Some((subscriber, delivery)) = found else {
        return Err(ApiError::not_found(
            "DEAD_LETTER_NOT_FOUND",
            "there is no such dead letter",
        ));
    };
    if let Some(known) = routes::all_subscribers()
        .into_iter()
        .find(|known| *known == subscriber)
    {
        lanes::add_now(&bus, known, delivery);
    }
    Ok(HttpReply::json(202, json!({ "id": id, "redriven": true })))
}
