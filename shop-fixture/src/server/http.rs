//! Owns serving HTTP/1.1: limits, the shapes of request and reply, and the tracing around handlers. Routes are `router`'s.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::filter::Filter;
pub use super::router::{Class, Edge, Router};
use super::router::{Found, Handler, parse_query};
use super::{Begun, Done, begin, while_hanging};
use crate::error::ApiError;
use crate::faults::saga;
use crate::propagation::TRACEPARENT;
use crate::report::{HTTP_HEADER, Part};
use crate::runtime::Rt;

/// Larger request bodies are refused with 413.
pub const MAX_BODY: usize = 1_024 * 1_024;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A request as handlers see it.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    pub method: Method,
    pub path: String,
    pub query: Vec<(String, String)>,
    pub headers: HeaderMap,
    pub body: Bytes,
    params: Vec<(&'static str, String)>,
}

impl HttpRequest {
    /// A variable of the route, such as `id` in `/shipments/{id}`.
    #[must_use]
    pub fn param(&self, name: &str) -> &str {
        self.params
            .iter()
            .find(|(known, _)| *known == name)
            .map_or("", |(_, value)| value)
    }

    /// The last value of a query parameter.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .rev()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The same request with one more query parameter.
    #[must_use]
    pub fn with_query(&self, name: &str, value: &str) -> Self {
        let mut copy = self.clone();
        copy.query.push((name.to_owned(), value.to_owned()));
        copy
    }

    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

#[derive(Debug, Clone)]
pub struct HttpReply {
    pub status: u16,
    pub headers: HeaderMap,
    pub content_type: &'static str,
    pub body: Bytes,
    /// The JSON that `body` was written from, for the gateway's envelope.
    pub json: Option<Value>,
}

impl HttpReply {
    #[must_use]
    pub fn json(status: u16, value: Value) -> Self {
        let body = serde_json::to_vec(&value).unwrap_or_default().into();
        Self {
            status,
            headers: HeaderMap::new(),
            content_type: "application/json",
            body,
            json: Some(value),
        }
    }

    #[must_use]
    pub fn text(status: u16, content_type: &'static str, text: String) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            content_type,
            body: text.into(),
            json: None,
        }
    }

    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    #[must_use]
    pub fn from_error(error: &ApiError, trace_id: Option<&str>) -> Self {
        let reply = Self::json(error.http_status(), error.body(trace_id));
        match error.retry_after_s {
            Some(seconds) => reply.with_header("retry-after", &seconds.to_string()),
            None => reply,
        }
    }
}

/// Serves until `stop` changes, then lets running requests end.
pub async fn serve(
    rt: Option<Rt>,
    listener: TcpListener,
    router: Router,
    mut stop: watch::Receiver<bool>,
) {
    let router = Arc::new(router);
    let filter = Filter::before(rt.as_ref(), &listener);
    loop {
        filter.until_open(&listener).await;
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                // Out of descriptors, or a peer that left at once: the listener itself is still good.
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            },
            () = filter.changed() => continue,
            () = super::stopped(&mut stop) => return,
        };
        let Some(stream) = filter.pass(stream) else {
            continue;
        };
        tokio::spawn(serve_connection(
            filter.clone(),
            rt.clone(),
            stream,
            Arc::clone(&router),
            stop.clone(),
        ));
    }
}

async fn serve_connection(
    filter: Filter,
    rt: Option<Rt>,
    stream: TcpStream,
    router: Arc<Router>,
    mut stop: watch::Receiver<bool>,
) {
    // Small answers must not wait for acknowledgements.
    let _ = stream.set_nodelay(true);
    let before = filter.clone();
    let peer = stream
        .peer_addr()
        .map(|address| address.ip().to_string())
        .unwrap_or_default();
    let service = service_fn(move |request| {
        let (rt, router, peer) = (rt.clone(), Arc::clone(&router), peer.clone());
        let filter = before.clone();
        async move {
            filter.swallow().await;
            Ok::<_, std::convert::Infallible>(answer(rt, router, peer, request).await)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(64 * 1_024)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // A connection that breaks concerns its client alone.
        _ = connection.as_mut() => return,
        () = filter.cut() => return,
        () = super::stopped(&mut stop) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

async fn answer(
    rt: Option<Rt>,
    router: Arc<Router>,
    peer: String,
    request: http::Request<Incoming>,
) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let body = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await;
    let body = match body {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) => {
            let too_large = error
                .downcast_ref::<http_body_util::LengthLimitError>()
                .is_some();
            let (status, reason) = if too_large {
                (413, "BODY_TOO_LARGE")
            } else {
                (400, "BODY_UNREADABLE")
            };
            let message = format!("a body of at most {MAX_BODY} bytes is taken");
            let error =
                ApiError::new(tonic::Code::InvalidArgument, reason, message).with_http(status);
            return write(HttpReply::from_error(&error, None));
        }
        Err(_) => {
            let error = ApiError::new(
                tonic::Code::InvalidArgument,
                "BODY_TOO_SLOW",
                "the body did not arrive in time",
            );
            return write(HttpReply::from_error(&error.with_http(408), None));
        }
    };
    let mut request = HttpRequest {
        method: parts.method,
        query: parse_query(parts.uri.query().unwrap_or_default()),
        path,
        headers: parts.headers,
        body,
        params: Vec::new(),
    };
    let (template, class, handler) = match router.find(&request.method, &request.path) {
        Found::Route(route, params) => {
            request.params = params;
            (route.template, route.class, Arc::clone(&route.handler))
        }
        Found::OtherMethod => {
            let error = ApiError::new(
                tonic::Code::InvalidArgument,
                "METHOD_NOT_ALLOWED",
                "this path takes another method",
            );
            refusal("", error.with_http(405))
        }
        Found::Nothing => {
            let reason = router.not_found.unwrap_or("NOT_FOUND");
            refusal(
                "",
                ApiError::not_found(reason, "there is nothing at this path"),
            )
        }
    };
    let class = if template.is_empty() && router.edge.is_some() {
        Class::Traced
    } else if class == Class::Probed {
        if request.headers.contains_key(TRACEPARENT) {
            Class::Traced
        } else {
            Class::Silent
        }
    } else {
        class
    };
    match rt {
        Some(rt) if class != Class::Silent => {
            // The handler runs in a task of its own: a client that goes away must not stop work half-way.
            let edge = router.edge.clone();
            let name = format!("{} {template}", request.method);
            let task = tokio::spawn(handle(
                Arc::clone(&rt),
                edge,
                peer,
                template,
                class,
                handler,
                request,
            ));
            match task.await {
                Ok(reply) => {
                    super::lose_reply(&rt, &name).await;
                    write(reply)
                }
                Err(_) => write(HttpReply::from_error(
                    &ApiError::internal("the request could not be handled"),
                    None,
                )),
            }
        }
        rt => {
            if let Some(rt) = rt
                && !request.path.starts_with("/admin")
            {
                while_hanging(&rt).await;
            }
            write(
                handler(request)
                    .await
                    .unwrap_or_else(|error| HttpReply::from_error(&error, None)),
            )
        }
    }
}

fn refusal(template: &'static str, error: ApiError) -> (&'static str, Class, Handler) {
    let handler: Handler = Arc::new(move |_| {
        let error = error.clone();
        Box::pin(async move { Err(error) })
    });
    (template, Class::Silent, handler)
}

async fn handle(
    rt: Rt,
    edge: Option<Arc<dyn Edge>>,
    peer: String,
    template: &'static str,
    class: Class,
    handler: Handler,
    mut request: HttpRequest,
) -> HttpReply {
    while_hanging(&rt).await;
    super::spoil::share_context(&rt, &mut request.headers).await;
    let started = rt.clock.now();
    let route = if template.is_empty() {
        request.method.to_string()
    } else {
        format!("{} {template}", request.method)
    };
    let mut admitted = Ok(());
    let mut begun = begin(&rt, &request.headers, route.clone(), |baggage| {
        if let Some(edge) = &edge {
            admitted = edge.admit(&rt, &request, baggage);
        }
    });
    describe(&rt, &begun, &request, template, &peer);
    let (extra, entered) = match &edge {
        Some(edge) => edge.enter(&rt, &request, &begun),
        None => (Vec::new(), Ok(())),
    };
    let outcome = begun
        .context
        .clone()
        .scope(async {
            entered?;
            admitted?;
            if class == Class::Business {
                begun.disturb(&rt).await?;
            }
            saga::die_as_callee(&rt, &route, saga::Done::Nothing);
            let answered = handler(request.clone()).await;
            saga::die_as_callee(&rt, &route, saga::Done::All);
            answered
        })
        .await;
    let error = outcome.as_ref().err().cloned();
    let mut reply = match &edge {
        Some(edge) => edge.dress(&rt, &request, &begun, started, outcome),
        None => outcome.unwrap_or_else(|error| {
            let trace = begun.span.context().trace_hex();
            HttpReply::from_error(&error, Some(&trace))
        }),
    };
    for (name, value) in &extra {
        reply = reply.with_header(name, value);
    }
    if begun.context.wants_report() && edge.is_none() {
        let (upstream_calls, behaviors_applied) = begun.context.gathered();
        let part = Part {
            behaviors_applied,
            upstream_calls,
            truncated: false,
        };
        reply = reply.with_header(HTTP_HEADER, &part.to_header());
    }
    if edge.is_some()
        && let Ok(value) = HeaderValue::from_str(&begun.span.context().to_traceparent())
    {
        reply.headers.insert(TRACEPARENT, value);
    }
    finish(&rt, begun, &request, template, &route, &reply, error);
    reply
}

fn describe(rt: &Rt, begun: &Begun, request: &HttpRequest, template: &'static str, peer: &str) {
    let span = &begun.span;
    span.set("http.request.method", request.method.as_str());
    if !template.is_empty() {
        span.set("http.route", template);
    }
    if let Some(key) = &begun.context.shared.idempotency_key {
        span.set("shop.idempotency.key", key);
    }
    span.set("url.path", &request.path);
    span.set("url.scheme", "http");
    if !request.query.is_empty() {
        // In blind mode no trace of an injected behaviour may leave the shop.
        let shown = request.query.iter().map(|(name, value)| {
            let value = if rt.config.blind && name == "behavior" {
                "REDACTED"
            } else {
                value.as_str()
            };
            format!(
                "{name}={}",
                crate::propagation::baggage::percent_encode(value)
            )
        });
        span.set("url.query", shown.collect::<Vec<_>>().join("&"));
    }
    span.set("client.address", peer);
    span.set("server.address", "127.0.0.1");
    if let Some(port) = rt.ports.http {
        span.set("server.port", port);
    }
    if let Some(agent) = request.header("user-agent") {
        span.set("user_agent.original", agent);
    }
}

fn finish(
    rt: &Rt,
    begun: Begun,
    request: &HttpRequest,
    template: &'static str,
    route: &str,
    reply: &HttpReply,
    error: Option<ApiError>,
) {
    let failed = reply.status >= 500;
    begun.span.set("http.response.status_code", reply.status);
    if failed {
        let reason = error
            .as_ref()
            .map_or_else(|| reply.status.to_string(), |error| error.reason.clone());
        begun
            .span
            .fail(&reason, error.as_ref().map_or("", |error| &error.message));
    }
    let status = reply.status.to_string();
    let seconds = begun.seconds();
    let metrics = rt.telemetry.metrics();
    let shown = if template.is_empty() {
        "unmatched"
    } else {
        template
    };
    metrics.observe(
        "http.server.request.duration",
        &[
            ("http.request.method", request.method.as_str()),
            ("http.route", shown),
            ("http.response.status_code", &status),
            ("url.scheme", "http"),
        ],
        seconds,
    );
    let labels = [
        ("service", rt.spec.name),
        ("method", request.method.as_str()),
        ("status", status.as_str()),
    ];
    metrics.add("http_requests_total", &labels, 1.0);
    metrics.observe("http_request_duration_seconds", &labels, seconds);
    let method = if template.is_empty() {
        "unmatched"
    } else {
        route
    };
    begun.finish(
        rt,
        &Done {
            protocol: "http",
            method,
            status: reply.status,
            failed,
            error,
        },
    );
}

fn write(reply: HttpReply) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(reply.body));
    *response.status_mut() =
        http::StatusCode::from_u16(reply.status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = reply.headers;
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static(reply.content_type),
    );
    response
}
