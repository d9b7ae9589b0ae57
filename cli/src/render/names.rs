//! Short names for things with long ones.

use case::TraceId;
use case::model::{Attributes, Span, Value};

/// The first characters of a trace id: enough to tell a few dozen apart by eye.
pub fn short_trace(id: TraceId) -> String {
    let text = id.to_string();
    format!("{}…{}", &text[..4], &text[28..])
}

/// A service's name, or a dash for a sender that did not say.
pub fn service(name: &str) -> &str {
    if name.is_empty() {
        "(no service name)"
    } else {
        name
    }
}

/// The code a call was answered with, under its current or older names: HTTP as it is, gRPC only when it is not OK.
pub fn status_code(attributes: &Attributes) -> Option<String> {
    let first = |names: &[&str]| names.iter().find_map(|name| attributes.get(name));
    if let Some(code) = first(&["http.response.status_code", "http.status_code"]) {
        return Some(code.to_string());
    }
    first(&[
        "rpc.response.status_code",
        "rpc.status_code",
        "rpc.grpc.status_code",
    ])
    .filter(|code| !matches!(code, Value::Int(0)) && code.as_text() != Some("OK"))
    .map(Value::to_string)
}

/// `host:port` a client span called, if it says so.
pub fn callee_address(span: &Span) -> Option<String> {
    let text = |names: &[&str]| {
        names
            .iter()
            .find_map(|name| span.attributes.get(name))
            .map(Value::to_string)
    };
    let host = text(&["server.address", "net.peer.name", "network.peer.address"])?;
    match text(&["server.port", "net.peer.port", "network.peer.port"]) {
        Some(port) => Some(format!("{host}:{port}")),
        None => Some(host),
    }
}
