//! Owns an HTTP call to another service.

use std::time::Instant;

use http::{HeaderMap, Method};
use serde_json::Value;
use tonic::Code;

use super::grpc::outgoing_headers;
use super::{Attempted, Attempts, CallError, CallOptions, Verdict, transport_kind};
use crate::discovery::Instance;
use crate::error::{ApiError, grpc_of};
use crate::report::{HTTP_HEADER, Part};
use crate::runtime::Rt;
use crate::telemetry::Kind;

/// Answers larger than this are refused.
const MAX_REPLY: usize = 8 * 1_024 * 1_024;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct HttpAsk<'a> {
    pub method: Method,
    /// The path with its variables still named, for span names and metrics.
    pub template: &'static str,
    /// The path and query as sent.
    pub path: &'a str,
    pub body: Option<&'a Value>,
}

#[derive(Debug, Clone)]
pub struct HttpAnswer {
    pub status: u16,
    pub body: Value,
}

pub async fn send(
    rt: &Rt,
    ask: &HttpAsk<'_>,
    options: CallOptions<'_>,
) -> Result<HttpAnswer, CallError> {
    let mut attempts = Attempts::new(rt, options);
    let mut number = 0;
    loop {
        let verdict = match attempts.next_instance().await {
            Err(error) => attempts.failed(error).await,
            Ok((instance, place)) => {
                let attempted = attempt(rt, ask, &options, &instance, number).await;
                drop(place);
                attempts.settle(&instance.id, attempted).await
            }
        };
        match verdict {
            Verdict::Done(outcome) => return outcome,
            Verdict::Again => number += 1,
        }
    }
}

async fn attempt(
    rt: &Rt,
    ask: &HttpAsk<'_>,
    options: &CallOptions<'_>,
    instance: &Instance,
    number: u32,
) -> Attempted<HttpAnswer> {
    let url = format!(
        "http://{}:{}{}",
        instance.host, instance.http_port, ask.path
    );
    let span = rt
        .telemetry
        .span(format!("{} {}", ask.method, ask.template), Kind::Client);
    span.set("http.request.method", ask.method.as_str());
    span.set("url.template", ask.template);
    span.set("url.full", &url);
    span.set("server.address", &instance.host);
    span.set("server.port", instance.http_port);
    span.set("shop.instance.target", &instance.id);
    if number > 0 {
        span.set("http.request.resend_count", number);
    }
    let started = Instant::now();
    let mut request = rt
        .connections
        .http
        .request(ask.method.clone(), &url)
        .headers(outgoing_headers(rt, &span, options.key, "http").await);
    if let Some(body) = ask.body {
        request = request.json(body);
    }
    let cut_off = crate::faults::is_call_cut_off(rt, options.service, options.key);
    let outcome = match tokio::time::timeout(options.timeout, exchange(cut_off, request)).await {
        Ok(Ok(outcome)) => Ok(outcome),
        Ok(Err(error)) if error.is_connect() => Err(CallError::not_sent(ApiError::new(
            Code::Unavailable,
            "CONNECTION_REFUSED",
            format!("{} refused the connection", options.service),
        ))
        .by(transport_kind(&error))),
        Ok(Err(error)) => Err(CallError::unknown(ApiError::new(
            Code::Unavailable,
            "CONNECTION_LOST",
            format!("the connection to {} was lost", options.service),
        ))
        .by(transport_kind(&error))),
        Err(_) => Err(CallError::unknown(ApiError::new(
            Code::DeadlineExceeded,
            "TIMEOUT",
            format!(
                "{} did not answer within {} ms",
                options.service,
                options.timeout.as_millis()
            ),
        ))
        .by("timeout")),
    };
    let duration = started.elapsed();
    let (result, part, status) = match outcome {
        Err(error) => {
            let kind = error.transport.unwrap_or(&error.api.reason);
            span.fail(kind, &error.api.message);
            (Err(error), None, 0)
        }
        Ok((status, headers, body)) => {
            span.set("http.response.status_code", status);
            let part = headers
                .get(HTTP_HEADER)
                .and_then(|value| value.to_str().ok())
                .and_then(Part::from_header);
            if status >= 400 {
                span.fail(&status.to_string(), "");
                (
                    Err(CallError::definite(error_of(status, &body))),
                    part,
                    status,
                )
            } else {
                (Ok(HttpAnswer { status, body }), part, status)
            }
        }
    };
    span.end();
    let text = status.to_string();
    let labels = [
        ("http.request.method", ask.method.as_str()),
        ("http.response.status_code", text.as_str()),
        ("server.address", instance.host.as_str()),
    ];
    rt.telemetry.metrics().observe(
        "http.client.request.duration",
        &labels,
        duration.as_secs_f64(),
    );
    Attempted {
        result,
        part,
        uri: format!("http://{}{}", options.service, ask.path),
        protocol: "http",
        duration,
    }
}

async fn exchange(
    cut_off: bool,
    request: reqwest::RequestBuilder,
) -> Result<(u16, HeaderMap, Value), reqwest::Error> {
    if cut_off {
        std::future::pending::<()>().await;
    }
    let mut response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if bytes.len() + chunk.len() > MAX_REPLY {
            break;
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok((
        status,
        headers,
        serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    ))
}

/// Reads the error body that every service writes; another body keeps its status alone.
fn error_of(status: u16, body: &Value) -> ApiError {
    let error = &body["error"];
    let reason = error["code"].as_str().unwrap_or("HTTP_ERROR");
    let message = error["message"]
        .as_str()
        .map_or_else(|| format!("answered {status}"), str::to_owned);
    let mut api = ApiError::new(grpc_of_any(status), reason, message).with_http(status);
    if let Some(details) = error["details"].as_object() {
        api.facts = details
            .iter()
            .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
            .collect();
    }
    api
}

fn grpc_of_any(status: u16) -> Code {
    match status {
        402 | 422 => Code::FailedPrecondition,
        409 => Code::FailedPrecondition,
        405 | 413 | 415 => Code::InvalidArgument,
        501 => Code::Unimplemented,
        502 => Code::Unavailable,
        other => grpc_of(other),
    }
}
