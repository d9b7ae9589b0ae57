//! OTLP over plain HTTP: `POST /v1/{traces,logs,metrics}`, protobuf or JSON, answered in kind.

use std::sync::Arc;

use case::{Receipt, Signal};
use http::header::{
    ACCEPT_ENCODING, ALLOW, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, EXPECT, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, Version};

use super::answer::Answer;
use super::body::Reading;
use super::intake::{Arrived, Form, Shared, take_in};
use super::refusal::Refusal;
use super::{access, grpc, status};
use crate::otlp::compression::Compression;

fn route(path: &str) -> Option<Signal> {
    match path {
        "/v1/traces" => Some(Signal::Traces),
        "/v1/logs" => Some(Signal::Logs),
        "/v1/metrics" => Some(Signal::Metrics),
        _ => None,
    }
}

/// The form a content type names, parameters aside.
fn form(headers: &HeaderMap) -> Option<Form> {
    let content_type = text(headers, &CONTENT_TYPE);
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/x-protobuf") {
        Some(Form::Protobuf)
    } else if essence.eq_ignore_ascii_case("application/json") {
        Some(Form::Json)
    } else {
        None
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> &'h str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

pub(super) async fn answer(
    shared: &Arc<Shared>,
    parts: &Parts,
    mut reading: Reading,
    overloaded: bool,
) -> Response<Answer> {
    let form = form(&parts.headers);
    let signal = route(parts.uri.path());
    match receive(shared, parts, &mut reading, signal, form, overloaded).await {
        Ok((signal, receipt)) => success(signal, form, &receipt),
        Err(refusal) => {
            shared.counters.refused(signal, &refusal);
            let one_at_a_time = parts.version < Version::HTTP_2;
            // Closing on a client that is still sending would reset the connection before it reads the answer. One
            // that waits for our word (`Expect`) is not sending yet, and must not be told to.
            if one_at_a_time && !parts.headers.contains_key(EXPECT) {
                reading.drain().await;
            }
            refused(&refusal, form, one_at_a_time)
        }
    }
}

async fn receive(
    shared: &Arc<Shared>,
    parts: &Parts,
    reading: &mut Reading,
    signal: Option<Signal>,
    form: Option<Form>,
    overloaded: bool,
) -> Result<(Signal, Receipt), Refusal> {
    if let Some(signal) = signal {
        shared.counters.began(signal);
    }
    access::check(shared.token.as_deref(), &parts.headers)?;
    let path = parts.uri.path();
    let wrong_content_type =
        || Refusal::WrongContentType(text(&parts.headers, &CONTENT_TYPE).to_owned());
    let Some(signal) = signal else {
        // A gRPC path reached here carries something other than gRPC.
        return Err(match grpc::route(path) {
            Some(_) => wrong_content_type(),
            None => Refusal::UnknownPath(path.to_owned()),
        });
    };
    if parts.method != Method::POST {
        return Err(Refusal::WrongMethod(parts.method.to_string()));
    }
    if overloaded {
        return Err(Refusal::too_many_connections());
    }
    let form = form.ok_or_else(wrong_content_type)?;
    let compression = compression(&parts.headers)?;
    let body = reading.whole().await?;
    let share = reading.take_share();
    let receipt = take_in(
        shared,
        Arrived {
            signal,
            form,
            compression,
            body,
            share,
        },
    )
    .await?;
    Ok((signal, receipt))
}

fn compression(headers: &HeaderMap) -> Result<Compression, Refusal> {
    let mut named = headers.get_all(CONTENT_ENCODING).iter();
    let Some(first) = named.next() else {
        return Ok(Compression::None);
    };
    let first = String::from_utf8_lossy(first.as_bytes());
    match (Compression::from_name(first.trim()), named.next()) {
        (Some(compression), None) => Ok(compression),
        (_, None) => Err(Refusal::UnknownCompression(first.into_owned())),
        (_, Some(_)) => Err(Refusal::UnknownCompression("in several layers".to_owned())),
    }
}

fn content_type(form: Form) -> HeaderValue {
    HeaderValue::from_static(match form {
        Form::Protobuf => "application/x-protobuf",
        Form::Json => "application/json",
    })
}

fn success(signal: Signal, form: Option<Form>, receipt: &Receipt) -> Response<Answer> {
    let form = form.unwrap_or(Form::Protobuf);
    let body = match form {
        Form::Protobuf => status::response_protobuf(receipt),
        Form::Json => status::response_json(signal, receipt),
    };
    let mut response = Response::new(Answer::data(body));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, content_type(form));
    response
}

/// A `Status` in the request's own form; JSON for requests in no form we know, because a person reads those.
fn refused(refusal: &Refusal, form: Option<Form>, may_close: bool) -> Response<Answer> {
    let form = form.unwrap_or(Form::Json);
    let body = match form {
        Form::Protobuf => status::status_protobuf(refusal, refusal.code()),
        Form::Json => status::status_json(refusal, refusal.code()),
    };
    let mut response = Response::new(Answer::data(body));
    *response.status_mut() = refusal.http_status();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type(form));
    if let Some(after) = refusal.retry_after() {
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    match refusal {
        Refusal::WrongMethod(_) => {
            headers.insert(ALLOW, HeaderValue::from_static("POST"));
        }
        Refusal::Unauthenticated => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        Refusal::UnknownCompression(_) => {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd"));
        }
        Refusal::TooLarge(_) | Refusal::TooSlow(_) | Refusal::Abandoned(_) if may_close => {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
    response
}
