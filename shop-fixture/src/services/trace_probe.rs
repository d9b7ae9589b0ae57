//! Owns the way on which propagation of trace context is tested from outside: `POST /test/trace-context` takes a list of
//! calls to make, passes it on over gRPC and the bus, and the last of the three services makes the calls, within the
//! trace that has come all that way. The form of the list is that of the W3C test suite.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, Method};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tonic::{Code, Request, Response, Status};

use crate::call::{CallOptions, grpc};
use crate::catalog::CATALOG;
use crate::context::{current, in_span};
use crate::error::ApiError;
use crate::ids::{ulid, uuid};
use crate::messaging::{Envelope, Event, Publisher};
use crate::propagation;
use crate::proto::probe as proto;
use crate::proto::probe::probe_service_server::{ProbeService, ProbeServiceServer};
use crate::resilience::retry;
use crate::runtime::Rt;
use crate::server::http::{Class, HttpReply, HttpRequest, Router};
use crate::server::{parse, parse_any};
use crate::telemetry::Kind;

/// The event that carries the calls over the bus.
pub const EVENT: &str = "TraceContextProbed";
const MAX_CALLS: usize = 32;
/// How long the calls may take in all.
const PATIENCE: Duration = Duration::from_secs(10);
const CALL: Duration = Duration::from_secs(3);

/// One call to make: a POST of the arguments.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    url: String,
    #[serde(default)]
    arguments: Value,
}

/// What travels in the event.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    id: String,
    reply_to: String,
    calls: Vec<Call>,
}

/// Requests that wait for the end of their calls.
type Waiting = Arc<Mutex<HashMap<String, oneshot::Sender<Value>>>>;

/// The gateway's part.
pub fn entrance(rt: &Rt) -> Router {
    let waiting = Waiting::default();
    let (enter, told) = (Arc::clone(rt), Arc::clone(&waiting));
    Router::new()
        .route(
            Method::POST,
            "/test/trace-context",
            Class::Traced,
            move |request| {
                let (rt, waiting) = (Arc::clone(&enter), Arc::clone(&waiting));
                async move { take(&rt, &waiting, &request).await }
            },
        )
        .route(
            Method::POST,
            "/test/trace-context/{id}/done",
            Class::Silent,
            move |request| {
                let waiting = Arc::clone(&told);
                async move {
                    let outcome: Value = parse_any(&request.body)?;
                    let found = lock(&waiting).remove(request.param("id"));
                    let Some(sender) = found else {
                        return Err(ApiError::not_found("PROBE_UNKNOWN", "nobody waits for it"));
                    };
                    // Whoever gave up waiting needs no answer.
                    let _ = sender.send(outcome);
                    Ok(HttpReply::json(200, json!({})))
                }
            },
        )
}

fn lock(waiting: &Waiting) -> std::sync::MutexGuard<'_, HashMap<String, oneshot::Sender<Value>>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn take(rt: &Rt, waiting: &Waiting, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    let calls: Vec<Call> = parse_any(&request.body)?;
    if calls.len() > MAX_CALLS {
        return Err(ApiError::invalid(format!(
            "at most {MAX_CALLS} calls are made at once"
        )));
    }
    for call in &calls {
        check(&call.url)?;
    }
    let id = uuid();
    let (sender, done) = oneshot::channel();
    lock(waiting).insert(id.clone(), sender);
    let own = rt.ports.http.unwrap_or_default();
    let order = proto::RelayRequest {
        reply_to: format!("http://127.0.0.1:{own}/test/trace-context/{id}/done"),
        id: id.clone(),
        calls: calls
            .into_iter()
            .map(|call| proto::Call {
                url: call.url,
                arguments: call.arguments.to_string(),
            })
            .collect(),
    };
    let options = CallOptions {
        service: CATALOG,
        timeout: CALL,
        retry: retry::Class::None,
        key: None,
    };
    let relayed: Result<proto::RelayResponse, _> =
        grpc::unary(rt, "probe.v1.ProbeService/Relay", options, order).await;
    let outcome = match relayed {
        Ok(_) => tokio::time::timeout(PATIENCE, done)
            .await
            .ok()
            .and_then(Result::ok),
        Err(error) => {
            lock(waiting).remove(&id);
            return Err(error.api);
        }
    };
    lock(waiting).remove(&id);
    outcome
        .map(|calls| HttpReply::json(200, calls))
        .ok_or_else(|| {
            ApiError::new(
                Code::DeadlineExceeded,
                "TIMEOUT",
                "the calls were not made in time",
            )
        })
}

/// The shop may be made to call its own machine, and nobody else's.
fn check(url: &str) -> Result<(), ApiError> {
    let refuse = || ApiError::invalid("url must be http:// on this machine's loopback");
    let uri: http::Uri = url.parse().map_err(|_| refuse())?;
    let local = matches!(uri.host(), Some("127.0.0.1" | "localhost" | "[::1]"));
    if uri.scheme_str() == Some("http") && local {
        Ok(())
    } else {
        Err(refuse())
    }
}

/// The part of the service behind the gateway: from gRPC to the bus.
pub fn relay(publisher: &Arc<Publisher>) -> ProbeServiceServer<impl ProbeService> {
    ProbeServiceServer::new(Relay {
        publisher: Arc::clone(publisher),
    })
}

struct Relay {
    publisher: Arc<Publisher>,
}

#[tonic::async_trait]
impl ProbeService for Relay {
    async fn relay(
        &self,
        request: Request<proto::RelayRequest>,
    ) -> Result<Response<proto::RelayResponse>, Status> {
        let request = request.into_inner();
        let calls = request.calls.into_iter().map(|call| {
            json!({
                "url": call.url,
                "arguments": serde_json::from_str::<Value>(&call.arguments).unwrap_or_default(),
            })
        });
        let event = Event {
            event_type: EVENT,
            aggregate_type: "probe",
            aggregate_id: request.id.clone(),
            order_id: None,
            saga_id: None,
            data: json!({
                "id": request.id, "reply_to": request.reply_to, "calls": calls.collect::<Vec<_>>(),
            }),
        };
        let event_id = ulid("evt_");
        self.publisher
            .publish_now(&event_id, event)
            .await
            .map_err(|error| error.api.to_status())?;
        Ok(Response::new(proto::RelayResponse { event_id }))
    }
}

/// The part of the service at the end of the bus: makes the calls, and tells the gateway.
pub fn end(rt: &Rt) -> Router {
    let rt = Arc::clone(rt);
    Router::new().route(
        Method::POST,
        "/events/TraceContextProbed",
        Class::Traced,
        move |request| {
            let rt = Arc::clone(&rt);
            async move { finish(&rt, &request).await }
        },
    )
}

async fn finish(rt: &Rt, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    let envelope: Envelope = parse(&request.body)?;
    let order: Order = serde_json::from_value(envelope.data.clone())
        .map_err(|error| ApiError::invalid(format!("the event holds no calls: {error}")))?;
    check(&order.reply_to)?;
    // Other consumers link to the message's trace; here going on in it is the whole point.
    let name = format!("process {EVENT}");
    let span = match envelope.origin() {
        Some(origin) => rt.telemetry.child_of(&origin, name, Kind::Consumer),
        None => rt.telemetry.root(name, Kind::Consumer),
    };
    span.set("messaging.system", "shop_bus");
    span.set("messaging.operation.name", "process");
    span.set("messaging.operation.type", "process");
    span.set("messaging.message.id", &envelope.event_id);
    let made = in_span(&span, async {
        let mut made = Vec::new();
        for call in &order.calls {
            check(&call.url)?;
            made.push(json!({ "url": call.url, "status": post(rt, call).await }));
        }
        Ok::<_, ApiError>(made)
    })
    .await?;
    let told = rt.connections.http.post(&order.reply_to).json(&made);
    told.timeout(CALL)
        .send()
        .await
        .map_err(|_| ApiError::internal("the gateway could not be told of the end"))?;
    Ok(HttpReply::json(200, json!({ "calls": made.len() })))
}

/// One call inside its client span; the status, if an answer came.
async fn post(rt: &Rt, call: &Call) -> Option<u16> {
    let span = rt.telemetry.span("POST", Kind::Client);
    span.set("http.request.method", "POST");
    span.set("url.full", &call.url);
    let mut headers = HeaderMap::new();
    propagation::inject(&mut headers, span.context(), &current().shared.baggage);
    let request = rt.connections.http.post(&call.url).headers(headers);
    let sent = request.json(&call.arguments).timeout(CALL).send().await;
    let status = match sent {
        Ok(answer) => Some(answer.status().as_u16()),
        Err(error) => {
            span.fail(crate::call::transport_kind(&error), &error.to_string());
            None
        }
    };
    if let Some(status) = status {
        span.set("http.response.status_code", status);
    }
    span.end();
    status
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn only_this_machine_is_called() {
        for url in [
            "http://127.0.0.1:80/a",
            "http://localhost:1/",
            "http://[::1]:7777/callback/1",
        ] {
            assert!(check(url).is_ok(), "{url}");
        }
        for url in [
            "http://example.org/",
            "https://127.0.0.1/",
            "http://127.0.0.1.example.org/",
            "http://user@example.org:80/",
            "file:///etc/passwd",
            "//127.0.0.1/",
            "127.0.0.1",
            "",
        ] {
            assert!(check(url).is_err(), "{url}");
        }
    }
}
