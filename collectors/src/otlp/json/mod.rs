//! OTLP JSON to OTLP protobuf bytes and back, without building messages in between.
//!
//! Owns the descriptor table both directions walk, what is accepted from clients that bend the encoding, and the one
//! canonical form that is written. Leaves to the case what the fields mean: an id of the wrong length passes through,
//! and the case refuses that span alone.
//!
//! Accepted beyond the specification, because clients send it: `snake_case` keys, enums by name, 64-bit integers as
//! numbers, integers written as `5.0`, `null` for any field, base64 in both alphabets, strings cut in the middle of a
//! surrogate pair (the half becomes U+FFFD). `doubleValue: null` and `asDouble: null` standing alone are what
//! JavaScript writes for a number that JSON has no word for, and are read as NaN.

mod read;
mod scalar;
// A table reads best with a field a line, however long.
#[rustfmt::skip]
mod schema;
#[cfg(test)]
mod tests;
mod wire;
mod write;

use case::Signal;

/// Messages inside messages that are followed before the input is called hostile.
const DEEPEST: usize = 64;

/// JSON that is not a request of its signal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}{} at line {line} column {column}", within(path))]
pub struct JsonError {
    /// One-based; 0 when the input as a whole is meant.
    pub line: usize,
    pub column: usize,
    /// The field, as `resourceSpans[0].scopeSpans[2].scope`; empty at the top.
    pub path: String,
    pub reason: String,
}

fn within(path: &str) -> String {
    if path.is_empty() {
        String::new()
    } else {
        format!(" in {path}")
    }
}

/// Protobuf bytes that are not a request of their signal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at byte {offset}")]
pub struct ProtobufError {
    pub offset: usize,
    pub reason: &'static str,
}

/// An OTLP JSON request as protobuf bytes, of whatever size they turn out.
pub fn json_to_protobuf(signal: Signal, json: &[u8]) -> Result<Vec<u8>, JsonError> {
    json_to_protobuf_within(signal, json, usize::MAX)
}

/// The same, refused as soon as the bytes written exceed `limit`: packed numbers take up to four times their JSON.
pub fn json_to_protobuf_within(
    signal: Signal,
    json: &[u8],
    limit: usize,
) -> Result<Vec<u8>, JsonError> {
    let message = root(signal).ok_or_else(|| JsonError {
        line: 0,
        column: 0,
        path: String::new(),
        reason: format!("{} don't travel as OTLP", signal.name()),
    })?;
    read::transcode(message, json, limit)
}

/// An OTLP protobuf request as canonical JSON: one line, lowerCamel keys in a fixed order, ids in lower hex, 64-bit
/// integers as strings, enums as numbers, defaults left out.
pub fn protobuf_to_json(signal: Signal, protobuf: &[u8]) -> Result<String, ProtobufError> {
    let message = root(signal).ok_or(ProtobufError {
        offset: 0,
        reason: "this signal doesn't travel as OTLP",
    })?;
    write::transcode(message, protobuf)
}

fn root(signal: Signal) -> Option<&'static schema::Message> {
    match signal {
        Signal::Traces => Some(&schema::TRACES),
        Signal::Logs => Some(&schema::LOGS),
        Signal::Metrics => Some(&schema::METRICS),
        _ => None,
    }
}
