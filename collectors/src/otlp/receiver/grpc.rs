//! Unary gRPC by hand: the export calls of OTLP over HTTP/2.
//!
//! A message is five bytes of prefix and its bytes; an answer is the same and a status in trailers; a refusal is a
//! status in headers alone.

use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use case::{Receipt, Signal};
use http::header::{ALLOW, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version};

use super::answer::Answer;
use super::body::Reading;
use super::intake::{Arrived, Form, Shared, take_in};
use super::refusal::{Refusal, code};
use super::{access, status};
use crate::otlp::compression::Compression;

const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_STATUS_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// Headers have to stay short; a longer reason is cut.
const LONGEST_MESSAGE: usize = 1024;

/// The signal a path is the export method of.
pub(super) fn route(path: &str) -> Option<Signal> {
    match path {
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => Some(Signal::Traces),
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => Some(Signal::Logs),
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" => Some(Signal::Metrics),
        _ => None,
    }
}

/// Whether the request is a gRPC call with protobuf messages.
pub(super) fn is_call(parts: &Parts) -> bool {
    let Some(content_type) = parts.headers.get(CONTENT_TYPE) else {
        return false;
    };
    let content_type = content_type.as_bytes().split(|byte| *byte == b';').next();
    let content_type = content_type.unwrap_or_default().trim_ascii();
    parts.version == Version::HTTP_2
        && (content_type.eq_ignore_ascii_case(b"application/grpc")
            || content_type.eq_ignore_ascii_case(b"application/grpc+proto"))
}

pub(super) async fn answer(
    shared: &Arc<Shared>,
    parts: &Parts,
    mut reading: Reading,
    overloaded: bool,
) -> Response<Answer> {
    let signal = route(parts.uri.path());
    match receive(shared, parts, &mut reading, signal, overloaded).await {
        Ok(receipt) => success(&receipt),
        Err(refusal) => {
            shared.counters.refused(signal, &refusal);
            refused(&refusal)
        }
    }
}

async fn receive(
    shared: &Arc<Shared>,
    parts: &Parts,
    reading: &mut Reading,
    signal: Option<Signal>,
    overloaded: bool,
) -> Result<Receipt, Refusal> {
    if let Some(signal) = signal {
        shared.counters.began(signal);
    }
    access::check(shared.token.as_deref(), &parts.headers)?;
    let signal = signal.ok_or_else(|| Refusal::UnknownPath(parts.uri.path().to_owned()))?;
    if parts.method != Method::POST {
        return Err(Refusal::WrongMethod(parts.method.to_string()));
    }
    if overloaded {
        return Err(Refusal::too_many_connections());
    }
    let named = parts
        .headers
        .get(GRPC_ENCODING)
        .map_or(&b""[..], HeaderValue::as_bytes);
    let named = String::from_utf8_lossy(named);
    let agreed = Compression::from_name(&named)
        .ok_or_else(|| Refusal::UnknownCompression(named.into_owned()))?;
    let (compressed, body) = reading.message().await?;
    let compression = match (compressed, agreed) {
        (false, _) => Compression::None,
        (true, Compression::None) => {
            return Err(Refusal::Malformed(
                "a compressed message in a call that announces no compression".to_owned(),
            ));
        }
        (true, agreed) => agreed,
    };
    let share = reading.take_share();
    take_in(
        shared,
        Arrived {
            signal,
            form: Form::Protobuf,
            compression,
            body,
            share,
        },
    )
    .await
}

fn head(status: StatusCode) -> Response<Answer> {
    let mut response = Response::new(Answer::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(
        GRPC_ACCEPT_ENCODING,
        HeaderValue::from_static("identity,gzip,zstd"),
    );
    response
}

fn success(receipt: &Receipt) -> Response<Answer> {
    let message = status::response_protobuf(receipt);
    let mut framed = Vec::with_capacity(5 + message.len());
    framed.push(0);
    framed.extend_from_slice(&(message.len() as u32).to_be_bytes());
    framed.extend_from_slice(&message);
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(GRPC_STATUS, HeaderValue::from(code::OK));
    let mut response = head(StatusCode::OK);
    *response.body_mut() = Answer::with_trailers(framed, trailers);
    response
}

fn refused(refusal: &Refusal) -> Response<Answer> {
    // The one refusal that is HTTP's and not the call's; gRPC libraries map its status themselves.
    let status = match refusal {
        Refusal::WrongMethod(_) => StatusCode::METHOD_NOT_ALLOWED,
        _ => StatusCode::OK,
    };
    let mut response = head(status);
    let headers = response.headers_mut();
    if status != StatusCode::OK {
        headers.insert(ALLOW, HeaderValue::from_static("POST"));
    }
    let code = refusal.grpc_code();
    headers.insert(GRPC_STATUS, HeaderValue::from(code));
    if let Ok(message) = HeaderValue::from_str(&percent_encoded(&refusal.message())) {
        headers.insert(GRPC_MESSAGE, message);
    }
    if refusal.retry_after().is_some() {
        let details = STANDARD_NO_PAD.encode(status::status_protobuf(refusal, code));
        if let Ok(details) = HeaderValue::from_str(&details) {
            headers.insert(GRPC_STATUS_DETAILS, details);
        }
    }
    response
}

/// Printable ASCII as it is, the rest of UTF-8 and `%` as `%XX`.
fn percent_encoded(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    for character in message.chars() {
        if out.len() >= LONGEST_MESSAGE {
            break;
        }
        if matches!(character, ' '..='~') && character != '%' {
            out.push(character);
            continue;
        }
        let mut utf8 = [0; 4];
        for byte in character.encode_utf8(&mut utf8).bytes() {
            // Writing to a String can't fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::percent_encoded;

    #[test]
    fn messages_survive_headers() {
        assert_eq!(
            percent_encoded("100% of «x»\n"),
            "100%25 of %C2%ABx%C2%BB%0A"
        );
        assert!(percent_encoded(&"é".repeat(10_000)).len() < 1100);
    }
}
