//! Owns inventory: stock, its reservations, the read replica for browsing, and the events about them.

mod replica;
mod spoilt;
mod stock;

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use serde_json::json;
use tonic::{Code, Request, Response, Status};

use super::Served;
use crate::context;
use crate::error::{ApiError, ShopError};
use crate::idempotency::{self, Begin};
use crate::messaging::publisher::Cause;
use crate::messaging::{Envelope, Publisher, Staged, consumer, outbox};
use crate::proto::inventory as proto;
use crate::proto::inventory::inventory_service_server::{InventoryService, InventoryServiceServer};
use crate::runtime::Rt;
use crate::server::http::Router;
use crate::store::{Store, StoreError};
use crate::telemetry::Attributes;
use replica::Replica;

const SWEEP: Duration = Duration::from_secs(10);
const DEFAULT_TTL_S: i64 = 600;
const MAX_LINES: usize = 100;
const WATCH: Duration = Duration::from_millis(200);

pub fn start(rt: &Rt) -> Result<Served, ShopError> {
    let seed = stock::seed_sql();
    let migrations = [
        stock::SCHEMA,
        seed.as_str(),
        idempotency::SCHEMA,
        outbox::SCHEMA,
        consumer::SCHEMA,
    ];
    let store = Store::open(
        &rt.config.db_path(rt.spec.name),
        &migrations,
        Arc::clone(&rt.clock),
        rt.telemetry.clone(),
    )?;
    rt.set_store(store);
    let replica = Replica::open(rt)?;
    let publisher = Publisher::new(rt);
    let service = Inventory {
        rt: Arc::clone(rt),
        publisher: Arc::clone(&publisher),
        replica: replica.clone(),
    };
    let background = vec![
        super::background(outbox::relay(Arc::clone(&publisher))),
        super::background(idempotency::purge(Arc::clone(rt))),
        super::background(sweep(Arc::clone(rt))),
        super::background(replica.follow(Arc::clone(rt))),
    ];
    let grpc = super::with_health(rt, InventoryServiceServer::new(service));
    Ok(Served {
        grpc: Some(grpc),
        http: Some(events(rt, &publisher)),
        background,
    })
}

/// A shipped order's stock leaves the shelf; everything else is only noted.
fn events(rt: &Rt, publisher: &Arc<Publisher>) -> Router {
    let shared = Arc::clone(publisher);
    let effect: consumer::Effect = Arc::new(move |tx, event: &Envelope| {
        if event.event_type != "OrderShipped" {
            return Ok(Vec::new());
        }
        let Some(order_id) = event.order_id().filter(|id| !id.is_empty()) else {
            return Ok(Vec::new());
        };
        let low = stock::settle(tx, "", order_id, "COMMITTED")?;
        low.into_iter()
            .map(|event| shared.stage(tx, event, &Cause::here()))
            .collect()
    });
    consumer::router(rt, Some(Arc::clone(publisher)), effect)
}

async fn sweep(rt: Rt) {
    let mut stopping = rt.stopping();
    loop {
        tokio::select! {
            () = tokio::time::sleep(rt.clock.scaled(SWEEP)) => {}
            _ = stopping.changed() => return,
        }
        let Ok(store) = rt.store() else { return };
        match store.write::<_, StoreError, _>(stock::expire).await {
            Ok(expired) => {
                for (reservation_id, order_id) in expired {
                    rt.telemetry.warn(
                        "inventory.expired",
                        "reservation expired",
                        Attributes::new()
                            .with("reservation_id", reservation_id)
                            .with("order_id", order_id),
                    );
                }
            }
            Err(error) => rt.telemetry.warn(
                "exception",
                "expired reservations could not be released",
                Attributes::new()
                    .with("error.code", "STORE_FAILED")
                    .with("error.details", error.to_string()),
            ),
        }
    }
}

struct Inventory {
    rt: Rt,
    publisher: Arc<Publisher>,
    replica: Replica,
}

impl Inventory {
    async fn reserve(
        &self,
        request: proto::ReserveRequest,
    ) -> Result<proto::Reservation, ApiError> {
        check(&request)?;
        crate::faults::refusal(&self.rt)?;
        let lines: Vec<_> = request
            .items
            .iter()
            .map(|line| json!([line.product_id, line.quantity]))
            .collect();
        let payload = json!({ "order_id": request.order_id, "items": lines });
        let key = context::current().shared.idempotency_key.clone();
        let ticket =
            match idempotency::begin(&self.rt, key.as_deref(), "ReserveStock", &payload).await? {
                Begin::Replay(outcome) => return decode(&outcome?),
                Begin::Run(ticket) => ticket,
            };
        let seconds = if request.reservation_ttl_seconds > 0 {
            request.reservation_ttl_seconds
        } else {
            DEFAULT_TTL_S
        };
        let ttl = self
            .rt
            .clock
            .scaled(Duration::from_secs(seconds.min(86_400) as u64))
            .as_nanos() as u64;
        let (publisher, cause, ask, settle) = (
            Arc::clone(&self.publisher),
            Cause::here(),
            request.clone(),
            ticket.clone(),
        );
        let stored = self
            .rt
            .store()?
            .write::<_, StoreError, _>(move |tx| {
                let (outcome, events) = stock::reserve(tx, &ask, ttl)?;
                match &outcome {
                    Ok(reservation) => settle.complete(tx, &reservation.encode_to_vec())?,
                    Err(error) => settle.refuse(tx, error)?,
                }
                let staged: Result<Vec<Staged>, StoreError> = events
                    .into_iter()
                    .map(|event| publisher.stage(tx, event, &cause))
                    .collect();
                Ok((outcome, staged?))
            })
            .await;
        let (outcome, staged) = match stored {
            Ok(stored) => stored,
            Err(error) => {
                let error = ApiError::from(error);
                ticket.settle_failure(&self.rt, &error).await?;
                return Err(error);
            }
        };
        let about = Attributes::new().with("order_id", &request.order_id);
        match &outcome {
            Ok(reservation) => {
                self.rt.telemetry.info(
                    "inventory.reserved",
                    "stock reserved",
                    about.with("reservation_id", &reservation.reservation_id),
                );
                spoilt::after_reserving(&self.rt, &request.order_id);
            }
            Err(error) => {
                let labels = [("reason", error.reason.as_str())];
                self.rt.telemetry.metrics().add(
                    "inventory_reservation_failures_total",
                    &labels,
                    1.0,
                );
                self.rt.telemetry.error(
                    "inventory.reservation_failed",
                    "stock could not be reserved",
                    about
                        .with("error.code", &error.reason)
                        .with("error.details", &error.message),
                );
            }
        }
        self.publisher.publish_and_wait(staged).await?;
        outcome
    }

    /// Commits or releases a reservation.
    async fn settle(
        &self,
        request: proto::ReservationRef,
        method: &'static str,
        to: &'static str,
    ) -> Result<proto::Reservation, ApiError> {
        if request.order_id.is_empty() && request.reservation_id.is_empty() {
            return Err(ApiError::invalid("name the reservation or its order"));
        }
        let payload =
            json!({ "reservation_id": request.reservation_id, "order_id": request.order_id });
        let key = context::current().shared.idempotency_key.clone();
        let ticket = match idempotency::begin(&self.rt, key.as_deref(), method, &payload).await? {
            Begin::Replay(outcome) => return decode(&outcome?),
            Begin::Run(ticket) => ticket,
        };
        let (ask, settle) = (request.clone(), ticket.clone());
        let (publisher, cause) = (Arc::clone(&self.publisher), Cause::here());
        let mut released = false;
        if to == "RELEASED" {
            if let Err(error) = spoilt::refusal(&self.rt, &request).await {
                ticket.settle_failure(&self.rt, &error).await?;
                return Err(error);
            }
            released = spoilt::release(&self.rt, &request).await?;
        }
        let stored = self
            .rt
            .store()?
            .write::<_, StoreError, _>(move |tx| {
                let events = if released {
                    Vec::new()
                } else {
                    stock::settle(tx, &ask.reservation_id, &ask.order_id, to)?
                };
                let reservation = stock::find(tx, &ask.reservation_id, &ask.order_id)?
                    .unwrap_or_else(|| {
                        // Nothing was ever held: undoing it has succeeded.
                        proto::Reservation {
                            order_id: ask.order_id.clone(),
                            status: "ABSENT".to_owned(),
                            ..proto::Reservation::default()
                        }
                    });
                settle.complete(tx, &reservation.encode_to_vec())?;
                let staged: Result<Vec<Staged>, StoreError> = events
                    .into_iter()
                    .map(|event| publisher.stage(tx, event, &cause))
                    .collect();
                Ok((reservation, staged?))
            })
            .await;
        match stored {
            Ok((reservation, staged)) => {
                if to == "RELEASED" {
                    self.rt.telemetry.info(
                        "inventory.released",
                        "reservation released",
                        Attributes::new()
                            .with("order_id", &reservation.order_id)
                            .with("reservation_id", &reservation.reservation_id),
                    );
                }
                self.publisher.publish_and_wait(staged).await?;
                Ok(reservation)
            }
            Err(error) => {
                let error = ApiError::from(error);
                ticket.settle_failure(&self.rt, &error).await?;
                Err(error)
            }
        }
    }

    async fn stock_of(&self, product_id: String) -> Result<proto::Stock, ApiError> {
        let found = self
            .rt
            .store()?
            .read::<_, StoreError, _>(move |tx| stock::stock_of(tx, &product_id))
            .await?;
        found.ok_or_else(|| {
            ApiError::not_found("PRODUCT_NOT_FOUND", "there is no stock of such a product")
        })
    }
}

fn check(request: &proto::ReserveRequest) -> Result<(), ApiError> {
    if request.order_id.is_empty() {
        return Err(ApiError::invalid("a reservation needs an order"));
    }
    if request.items.is_empty() || request.items.len() > MAX_LINES {
        return Err(ApiError::invalid(format!(
            "a reservation has from 1 to {MAX_LINES} lines"
        )));
    }
    if request
        .items
        .iter()
        .any(|line| line.product_id.is_empty() || !(1..=10_000).contains(&line.quantity))
    {
        return Err(ApiError::invalid(
            "each line needs a product and a quantity from 1 to 10000",
        ));
    }
    Ok(())
}

fn decode(bytes: &[u8]) -> Result<proto::Reservation, ApiError> {
    proto::Reservation::decode(bytes)
        .map_err(|_| ApiError::internal("the stored answer is not readable"))
}

fn answer<T>(outcome: Result<T, ApiError>) -> Result<Response<T>, Status> {
    outcome
        .map(Response::new)
        .map_err(|error| error.to_status())
}

#[tonic::async_trait]
impl InventoryService for Inventory {
    async fn check_availability(
        &self,
        request: Request<proto::AvailabilityRequest>,
    ) -> Result<Response<proto::AvailabilityReply>, Status> {
        let lines = request.into_inner().items;
        if lines.len() > MAX_LINES {
            return answer(Err(ApiError::invalid(format!(
                "at most {MAX_LINES} lines are checked at once"
            ))));
        }
        answer(
            self.replica
                .availability(lines)
                .await
                .map_err(ApiError::from),
        )
    }

    async fn reserve_stock(
        &self,
        request: Request<proto::ReserveRequest>,
    ) -> Result<Response<proto::Reservation>, Status> {
        answer(self.reserve(request.into_inner()).await)
    }

    async fn commit_reservation(
        &self,
        request: Request<proto::ReservationRef>,
    ) -> Result<Response<proto::Reservation>, Status> {
        answer(
            self.settle(request.into_inner(), "CommitReservation", "COMMITTED")
                .await,
        )
    }

    async fn release_reservation(
        &self,
        request: Request<proto::ReservationRef>,
    ) -> Result<Response<proto::Reservation>, Status> {
        answer(
            self.settle(request.into_inner(), "ReleaseReservation", "RELEASED")
                .await,
        )
    }

    async fn get_stock(
        &self,
        request: Request<proto::StockRef>,
    ) -> Result<Response<proto::Stock>, Status> {
        answer(self.stock_of(request.into_inner().product_id).await)
    }

    async fn adjust_stock(
        &self,
        request: Request<proto::AdjustRequest>,
    ) -> Result<Response<proto::Stock>, Status> {
        let ask = request.into_inner();
        let adjusted = async {
            let id = ask.product_id.clone();
            let stored = self
                .rt
                .store()?
                .write::<_, StoreError, _>(move |tx| stock::adjust(tx, &id, ask.delta))
                .await?;
            if !stored {
                return Err(ApiError::new(
                    Code::FailedPrecondition,
                    "INSUFFICIENT_STOCK",
                    "there is no such product, or less than is to be taken away",
                ));
            }
            self.stock_of(ask.product_id).await
        };
        answer(adjusted.await)
    }

    async fn watch_stock(
        &self,
        request: Request<proto::StockRef>,
    ) -> Result<Response<tonic::codegen::BoxStream<proto::Stock>>, Status> {
        let product_id = request.into_inner().product_id;
        let first = self
            .stock_of(product_id.clone())
            .await
            .map_err(|error| error.to_status())?;
        let (rt, last) = (Arc::clone(&self.rt), first.version);
        let changes = futures_util::stream::unfold(
            (rt, product_id, last),
            |(rt, product_id, last)| async move {
                let mut stopping = rt.stopping();
                loop {
                    tokio::select! {
                        () = tokio::time::sleep(WATCH) => {}
                        _ = stopping.changed() => return None,
                    }
                    if rt.faults.is_on("stream_stall") {
                        continue;
                    }
                    let id = product_id.clone();
                    let now = rt
                        .store()
                        .ok()?
                        .read::<_, StoreError, _>(move |tx| stock::stock_of(tx, &id))
                        .await
                        .ok()??;
                    if now.version != last {
                        let version = now.version;
                        return Some((Ok(now), (rt, product_id, version)));
                    }
                }
            },
        );
        let stream =
            futures_util::StreamExt::chain(futures_util::stream::iter([Ok(first)]), changes);
        Ok(Response::new(Box::pin(stream)))
    }
}
