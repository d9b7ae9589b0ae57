//! Owns W3C trace context and baggage: reading them from headers or metadata, and writing them for the next hop. Written
//! against the specification itself, because it is what the shop is trusted to get right. Knows nothing of spans.

pub mod baggage;
pub mod misread;
mod traceparent;
mod tracestate;

pub use baggage::Baggage;
use traceparent::hex_bytes;
pub use traceparent::{FLAG_RANDOM, FLAG_SAMPLED, TraceContext};
pub use tracestate::TraceState;

use http::{HeaderMap, HeaderName, HeaderValue};

pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
pub const BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// What a request said about the trace it belongs to.
#[derive(Debug, Clone, Default)]
pub struct Extracted {
    /// The caller's context; `None` starts a new trace.
    pub parent: Option<TraceContext>,
    pub baggage: Baggage,
    /// Why a `traceparent` that was there could not be used.
    pub invalid: Option<&'static str>,
}

/// Reads the caller's context. A repeated or malformed `traceparent` is as good as none, and takes `tracestate` with it.
#[must_use]
pub fn extract(headers: &HeaderMap) -> Extracted {
    let baggage = Baggage::from_headers(
        headers
            .get_all(BAGGAGE)
            .iter()
            .filter_map(|value| value.to_str().ok()),
    );
    let mut values = headers.get_all(TRACEPARENT).iter();
    let Some(first) = values.next() else {
        return Extracted {
            baggage,
            ..Extracted::default()
        };
    };
    if values.next().is_some() {
        return Extracted {
            parent: None,
            baggage,
            invalid: Some("several traceparent headers"),
        };
    }
    match first
        .to_str()
        .map_err(|_| "not ASCII")
        .and_then(TraceContext::parse)
    {
        Ok(mut parent) => {
            parent.state = TraceState::from_headers(
                headers
                    .get_all(TRACESTATE)
                    .iter()
                    .map(|value| value.to_str().unwrap_or("\u{0}")),
            );
            Extracted {
                parent: Some(parent),
                baggage,
                invalid: None,
            }
        }
        Err(reason) => Extracted {
            parent: None,
            baggage,
            invalid: Some(reason),
        },
    }
}

/// Writes the context of the span that makes the call.
pub fn inject(headers: &mut HeaderMap, context: &TraceContext, baggage: &Baggage) {
    if let Ok(value) = HeaderValue::from_str(&context.to_traceparent()) {
        headers.insert(TRACEPARENT, value);
    }
    let state = context.state.to_header();
    if !state.is_empty()
        && let Ok(value) = HeaderValue::from_str(&state)
    {
        headers.insert(TRACESTATE, value);
    }
    let text = baggage.to_header();
    if !text.is_empty()
        && let Ok(value) = HeaderValue::from_str(&text)
    {
        headers.insert(BAGGAGE, value);
    }
}

#[cfg(test)]
mod tests;
