//! Owns the consuming side: the route that the bus delivers to, the `process` span, and the inbox that makes a repeated
//! delivery harmless. What an event does is the service's own.

use std::sync::Arc;

use http::Method;
use serde_json::json;

use super::envelope::Envelope;
use super::publisher::{Publisher, Staged};
use crate::context::in_span;
use crate::error::ApiError;
use crate::runtime::Rt;
use crate::server::http::{Class, HttpReply, HttpRequest, Router};
use crate::server::parse;
use crate::store::{StoreError, Tx};
use crate::telemetry::{Attributes, Kind};

pub const SCHEMA: &str = "
CREATE TABLE inbox (
    event_id TEXT PRIMARY KEY,
    type TEXT NOT NULL,
    order_id TEXT,
    received_at TEXT NOT NULL,
    duplicate_count INTEGER NOT NULL DEFAULT 0
);
CREATE VIEW ledger_inbox AS SELECT *, received_at AS changed_at FROM inbox;
";

/// What a new event does, in the transaction that notes it in the inbox.
pub type Effect = Arc<dyn Fn(&Tx<'_>, &Envelope) -> Result<Vec<Staged>, StoreError> + Send + Sync>;

/// An effect for services that only keep a record.
#[must_use]
pub fn record_only() -> Effect {
    Arc::new(|_, _| Ok(Vec::new()))
}

/// `POST /events/{type}`.
#[must_use]
pub fn router(rt: &Rt, publisher: Option<Arc<Publisher>>, effect: Effect) -> Router {
    let rt = Arc::clone(rt);
    Router::new().route(
        Method::POST,
        "/events/{type}",
        Class::Business,
        move |request| {
            let (rt, publisher, effect) = (Arc::clone(&rt), publisher.clone(), Arc::clone(&effect));
            async move { take(&rt, publisher, effect, &request).await }
        },
    )
}

async fn take(
    rt: &Rt,
    publisher: Option<Arc<Publisher>>,
    effect: Effect,
    request: &HttpRequest,
) -> Result<HttpReply, ApiError> {
    let envelope: Envelope = parse(&request.body)?;
    if envelope.event_type != request.param("type") {
        return Err(ApiError::invalid(
            "the event is of another type than its path",
        ));
    }
    let started = std::time::Instant::now();
    let span = rt
        .telemetry
        .span(format!("process {}", envelope.event_type), Kind::Consumer);
    span.set("messaging.system", "shop_bus");
    span.set("messaging.operation.name", "process");
    span.set("messaging.operation.type", "process");
    span.set("messaging.destination.name", &envelope.event_type);
    span.set("messaging.message.id", &envelope.event_id);
    if let Some(origin) = envelope.origin() {
        span.link(origin);
    }
    let event = envelope.clone();
    let outcome = in_span(&span, async {
        let store = rt.store()?;
        // An event that is lost with the machine's power comes again; one that causes others must not be forgotten.
        let stored = if publisher.is_some() {
            store.write(move |tx| note(tx, &event, &effect)).await
        } else {
            store.note(move |tx| note(tx, &event, &effect)).await
        };
        let (duplicate, staged) = stored.map_err(|error: StoreError| {
            let error = ApiError::from(error);
            span.fail(&error.reason, &error.message);
            error
        })?;
        span.set("shop.inbox.duplicate", duplicate);
        let about = Attributes::new()
            .with("event_id", &envelope.event_id)
            .with("type", &envelope.event_type)
            .with_some("order_id", envelope.order_id());
        if duplicate {
            rt.telemetry
                .info("event.duplicate", "event was received before", about);
        } else {
            rt.telemetry
                .debug("event.delivered", "event processed", about);
        }
        if let Some(publisher) = publisher {
            publisher.publish_and_wait(staged).await?;
        }
        Ok::<_, ApiError>(duplicate)
    })
    .await;
    let labels = [
        ("messaging.system", "shop_bus"),
        ("messaging.destination.name", envelope.event_type.as_str()),
    ];
    rt.telemetry.metrics().observe(
        "messaging.process.duration",
        &labels,
        started.elapsed().as_secs_f64(),
    );
    let duplicate = outcome?;
    Ok(HttpReply::json(
        200,
        json!({ "event_id": envelope.event_id, "duplicate": duplicate }),
    ))
}

fn note(tx: &Tx<'_>, event: &Envelope, effect: &Effect) -> Result<(bool, Vec<Staged>), StoreError> {
    let fresh = tx.execute(
        "INSERT inbox",
        "INSERT INTO inbox (event_id, type, order_id, received_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
        (&event.event_id, &event.event_type, event.order_id(), tx.now_text()),
    )?;
    if fresh == 0 {
        tx.execute(
            "UPDATE inbox",
            "UPDATE inbox SET duplicate_count = duplicate_count + 1 WHERE event_id = ?1",
            [&event.event_id],
        )?;
        return Ok((true, Vec::new()));
    }
    Ok((false, effect(tx, event)?))
}
