//! Owns the report that answers of the gateway carry: which calls were made below, nested, and what was applied. Children
//! return their part beside the payload, in a gRPC trailer or an HTTP header.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub const GRPC_TRAILER: &str = "shop-report-bin";
pub const HTTP_HEADER: &str = "x-shop-report";
/// A child's part beyond this many bytes is cut to its own line.
const MAX_BYTES: usize = 16 * 1_024;

/// One call to another service, with the calls that it made in turn.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UpstreamCall {
    pub name: String,
    pub uri: String,
    pub protocol: String,
    /// Always an HTTP status.
    pub code: u16,
    pub duration: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub behaviors_applied: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstream_calls: Vec<UpstreamCall>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

/// What a callee says of itself to its caller.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Part {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub behaviors_applied: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstream_calls: Vec<UpstreamCall>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

impl Part {
    #[must_use]
    pub fn to_header(&self) -> String {
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        if STANDARD_NO_PAD.encode(&bytes).len() > MAX_BYTES {
            let cut = Part {
                behaviors_applied: self.behaviors_applied.iter().take(16).cloned().collect(),
                upstream_calls: Vec::new(),
                truncated: true,
            };
            bytes = serde_json::to_vec(&cut).unwrap_or_default();
        }
        STANDARD_NO_PAD.encode(bytes)
    }

    /// Reads a part; one that is too long or malformed counts as absent.
    #[must_use]
    pub fn from_header(text: &str) -> Option<Self> {
        if text.len() > MAX_BYTES + 4 {
            return None;
        }
        let bytes = STANDARD_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
        serde_json::from_slice(&bytes).ok()
    }
}

/// The same tree, depth first, each with its path and depth.
#[must_use]
pub fn flatten(root: &str, calls: &[UpstreamCall]) -> Vec<Value> {
    let mut flat = Vec::new();
    walk(root, 1, calls, &mut flat);
    flat
}

fn walk(path: &str, depth: usize, calls: &[UpstreamCall], flat: &mut Vec<Value>) {
    for call in calls {
        let path = format!("{path}/{}", call.name);
        let mut line = json!({
            "path": path,
            "depth": depth,
            "name": call.name,
            "uri": call.uri,
            "protocol": call.protocol,
            "code": call.code,
            "duration": call.duration,
        });
        if let Some(error) = &call.error {
            line["error"] = error.as_str().into();
        }
        if !call.behaviors_applied.is_empty() {
            line["behaviors_applied"] = json!(call.behaviors_applied);
        }
        flat.push(line);
        walk(&path, depth + 1, &call.upstream_calls, flat);
    }
}

/// A duration as reports write it.
#[must_use]
pub fn duration_text(nanos: u64) -> String {
    format!("{:.3}ms", nanos as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn call(name: &str, below: Vec<UpstreamCall>) -> UpstreamCall {
        UpstreamCall {
            name: name.to_owned(),
            code: 200,
            upstream_calls: below,
            ..UpstreamCall::default()
        }
    }

    #[test]
    fn a_part_survives_its_header() {
        let part = Part {
            upstream_calls: vec![call("a", vec![call("b", Vec::new())])],
            ..Part::default()
        };
        assert_eq!(Part::from_header(&part.to_header()).unwrap(), part);
        assert_eq!(Part::from_header("?"), None);
    }

    #[test]
    fn a_part_that_is_too_long_says_so() {
        let part = Part {
            upstream_calls: (0..400).map(|_| call("inventory", Vec::new())).collect(),
            ..Part::default()
        };
        let read = Part::from_header(&part.to_header()).unwrap();
        assert!(read.truncated && read.upstream_calls.is_empty());
    }

    #[test]
    fn flattening_is_depth_first() {
        let flat = flatten(
            "gw",
            &[
                call("a", vec![call("b", Vec::new())]),
                call("c", Vec::new()),
            ],
        );
        let paths: Vec<_> = flat
            .iter()
            .map(|line| line["path"].as_str().unwrap())
            .collect();
        assert_eq!(paths, ["gw/a", "gw/a/b", "gw/c"]);
    }
}
