//! Reading JSON of others: bounded fetching, and fields found under the names and in the shapes they come in.

use case::Nanos;
use serde_json::{Map, Value};

use super::source::SourceError;
use crate::fetch::{self, Bounds, Endpoint};

/// JSON values in one answer. A value takes some 32 bytes in memory where two may do on the wire.
const MAX_VALUES: usize = 4_000_000;

/// Fetches a JSON document.
pub(super) async fn get_json(endpoint: &Endpoint, bounds: &Bounds) -> Result<Value, SourceError> {
    let answer = fetch::get(endpoint, "application/json", bounds).await?;
    if answer.status != 200 {
        return Err(SourceError::Status {
            url: endpoint.to_string(),
            status: answer.status,
            said: said(&answer.body),
        });
    }
    parse(&answer.body).map_err(|reason| SourceError::Unreadable {
        url: endpoint.to_string(),
        reason,
    })
}

/// Parses JSON, refusing what would take far more memory than it takes on the wire. Depth is bounded by the parser.
pub fn parse(body: &[u8]) -> Result<Value, String> {
    if memchr::memchr2_iter(b',', b'[', body).count() > MAX_VALUES {
        return Err(format!("more than {MAX_VALUES} values"));
    }
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

/// The start of an answer's text, for a message.
pub(super) fn said(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..400).unwrap_or(body));
    let text: String = text.trim().chars().take(200).collect();
    if text.is_empty() {
        text
    } else {
        format!(": {text}")
    }
}

/// The rows of an answer: an array, or an object that holds one under one of `names`.
pub(super) fn rows(document: Value, names: &[&str]) -> Result<Vec<Value>, String> {
    match document {
        Value::Array(rows) => Ok(rows),
        Value::Object(mut object) => {
            let found = names.iter().find_map(|name| match object.remove(*name) {
                Some(Value::Array(rows)) => Some(rows),
                _ => None,
            });
            found.ok_or_else(|| {
                format!("neither an array nor an object with {}", names.join(" or "))
            })
        }
        _ => Err("neither an array nor an object".into()),
    }
}

/// A field as text; numbers and truth values as they are written.
pub(super) fn text(object: &Map<String, Value>, name: &str) -> Option<String> {
    match object.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

/// A text that must be there and say something.
pub(super) fn required(object: &Map<String, Value>, name: &str) -> Result<String, String> {
    text(object, name)
        .filter(|text| !text.is_empty())
        .ok_or_else(|| format!("no {name}"))
}

pub(super) fn number(object: &Map<String, Value>, name: &str) -> Option<u64> {
    match object.get(name)? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// A moment: RFC 3339, or a number of seconds, milliseconds, microseconds or nanoseconds since 1970, told by its size.
pub(super) fn moment(object: &Map<String, Value>, name: &str) -> Option<Nanos> {
    match object.get(name)? {
        Value::String(text) => match chrono::DateTime::parse_from_rfc3339(text) {
            Ok(_) => case::time::parse_time(text, Nanos(0)).ok(),
            Err(_) => text.parse().ok().and_then(since_epoch),
        },
        Value::Number(number) => number.as_f64().and_then(|float| match number.as_u64() {
            Some(whole) => since_epoch(whole),
            None if float > 0.0 && float < 1e11 => Some(Nanos((float * 1e9) as u64)),
            None => None,
        }),
        _ => None,
    }
}

fn since_epoch(number: u64) -> Option<Nanos> {
    // Any moment between 1973 and 5138 falls in one band only.
    let scale = match number {
        0 => return None,
        1..=99_999_999_999 => 1_000_000_000,
        100_000_000_000..=99_999_999_999_999 => 1_000_000,
        100_000_000_000_000..=99_999_999_999_999_999 => 1_000,
        _ => 1,
    };
    number.checked_mul(scale).map(Nanos)
}

/// The trace a row belongs to, from its own field or the trace context it carries.
pub(super) fn trace_id(object: &Map<String, Value>) -> Option<String> {
    let found = match text(object, "trace_id") {
        Some(id) if !id.is_empty() => id,
        _ => text(object, "traceparent")?.split('-').nth(1)?.to_owned(),
    };
    let fine = found.len() == 32
        && found.bytes().all(|b| b.is_ascii_hexdigit())
        && found.bytes().any(|b| b != b'0');
    fine.then(|| found.to_ascii_lowercase())
}
