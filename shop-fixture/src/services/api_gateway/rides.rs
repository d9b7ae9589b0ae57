//! Owns the gateway's route for ride events: they come from outside the shop, so the gateway puts them into the envelope
//! that the bus takes, and refuses what a ride does not know.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::call::CallOptions;
use crate::call::http::{HttpAsk, send};
use crate::catalog::BUS;
use crate::context::{current, in_span};
use crate::error::ApiError;
use crate::ids::ulid;
use crate::messaging::{Envelope, Event};
use crate::resilience::retry;
use crate::runtime::Rt;
use crate::server::http::{Class, HttpReply, HttpRequest, Router};
use crate::server::parse;
use crate::telemetry::Kind;

/// Each event of a ride with the fields that it must have.
const EVENTS: &[(&str, &[&str])] = &[
    ("RideRequested", &["ride_id", "passenger_id"]),
    ("DriverAssigned", &["ride_id", "driver_id"]),
    ("DriverEnroute", &["ride_id", "eta"]),
    ("RideStarted", &["ride_id", "start_location"]),
    ("RideCompleted", &["ride_id", "end_location", "fare"]),
];

pub(super) fn router(rt: &Rt) -> Router {
    let shared = Arc::clone(rt);
    Router::new().route(
        Method::POST,
        "/api/v1/rides/events/{type}",
        Class::Business,
        move |request: HttpRequest| {
            let rt = Arc::clone(&shared);
            async move { take(&rt, &request).await }
        },
    )
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RideEvent {
    ride_id: String,
    data: Value,
}

fn check(event_type: &str, body: &RideEvent) -> Result<&'static str, ApiError> {
    let Some((known, fields)) = EVENTS.iter().find(|(name, _)| *name == event_type) else {
        let names: Vec<&str> = EVENTS.iter().map(|(name, _)| *name).collect();
        return Err(ApiError::not_found(
            "UNKNOWN_EVENT_TYPE",
            format!("a ride knows the events {}", names.join(", ")),
        ));
    };
    if body.ride_id.is_empty() || body.ride_id.len() > 128 || body.data["ride_id"] != *body.ride_id
    {
        return Err(ApiError::invalid("the event must name its ride"));
    }
    if let Some(missing) = fields.iter().find(|field| body.data[**field].is_null()) {
        return Err(ApiError::invalid(format!("the field {missing} is missing")));
    }
    let fare = &body.data["fare"];
    if !fare.is_null() && fare.as_i64().is_none_or(|cents| cents < 0) {
        return Err(ApiError::invalid("fare must be a number of cents"));
    }
    Ok(known)
}

async fn take(rt: &Rt, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    let body: RideEvent = parse(&request.body)?;
    let event_type = check(request.param("type"), &body)?;
    let event = Event {
        event_type,
        aggregate_type: "ride",
        aggregate_id: body.ride_id,
        order_id: None,
        saga_id: None,
        data: body.data,
    };
    let span = rt
        .telemetry
        .span(format!("send {event_type}"), Kind::Producer);
    let event_id = ulid("evt_");
    span.set("messaging.system", "shop_bus");
    span.set("messaging.operation.name", "send");
    span.set("messaging.operation.type", "send");
    span.set("messaging.destination.name", event_type);
    span.set("messaging.message.id", &event_id);
    span.set("shop.publish.mode", "direct");
    let baggage = current().shared.baggage.clone();
    let envelope = Envelope::seal(
        rt,
        &event_id,
        &event,
        rt.clock.now_text(),
        span.context(),
        &baggage,
        1,
    );
    let path = format!("/events/{event_type}");
    let sealed = json!(envelope);
    let ask = HttpAsk {
        method: Method::POST,
        template: "/events/{type}",
        path: &path,
        body: Some(&sealed),
    };
    let options = CallOptions {
        service: BUS,
        timeout: Duration::from_secs(5),
        retry: retry::Class::None,
        key: None,
    };
    let answer = in_span(&span, async {
        let answer = send(rt, &ask, options).await;
        if let Err(error) = &answer {
            span.fail(&error.api.reason, &error.api.message);
        }
        answer
    })
    .await?;
    Ok(HttpReply::json(answer.status, answer.body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_needs_its_fields() {
        let body = |data: Value| RideEvent {
            ride_id: "r".to_owned(),
            data,
        };
        let good = body(json!({ "ride_id": "r", "end_location": "x", "fare": 12 }));
        assert!(check("RideCompleted", &good).is_ok());
        for bad in [
            json!({ "ride_id": "r", "end_location": "x" }),
            json!({ "ride_id": "r", "end_location": "x", "fare": "much" }),
            json!({ "ride_id": "other", "end_location": "x", "fare": 12 }),
            json!("r"),
        ] {
            assert!(check("RideCompleted", &body(bad.clone())).is_err(), "{bad}");
        }
        assert!(check("OrderCreated", &good).is_err());
    }
}
