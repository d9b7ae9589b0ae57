//! What Jaeger JSON says, as serde reads it. Everything that may be missing may be.

use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct SpanMessage {
    #[serde(rename = "traceID")]
    pub(super) trace_id: String,
    #[serde(rename = "spanID")]
    pub(super) span_id: String,
    #[serde(rename = "parentSpanID", default)]
    pub(super) parent_span_id: Option<String>,
    #[serde(rename = "operationName", default)]
    pub(super) operation_name: Option<String>,
    #[serde(default)]
    pub(super) references: Option<Vec<Reference>>,
    #[serde(default)]
    pub(super) flags: Option<u32>,
    #[serde(rename = "startTime")]
    pub(super) start_time: u64,
    #[serde(default)]
    pub(super) duration: u64,
    #[serde(default)]
    pub(super) tags: Option<Vec<Tag>>,
    #[serde(default)]
    pub(super) logs: Option<Vec<Log>>,
    #[serde(rename = "processID", default)]
    pub(super) process_id: Option<String>,
    #[serde(default)]
    pub(super) process: Option<Process>,
    #[serde(default)]
    pub(super) warnings: Option<Vec<String>>,
}

#[derive(Deserialize)]
pub(super) struct Reference {
    #[serde(rename = "refType", default)]
    pub(super) ref_type: String,
    #[serde(rename = "traceID")]
    pub(super) trace_id: String,
    #[serde(rename = "spanID")]
    pub(super) span_id: String,
}

#[derive(Deserialize)]
pub(super) struct Tag {
    pub(super) key: String,
    #[serde(rename = "type", default)]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) value: serde_json::Value,
}

#[derive(Deserialize)]
pub(super) struct Log {
    pub(super) timestamp: u64,
    #[serde(default)]
    pub(super) fields: Option<Vec<Tag>>,
}

#[derive(Deserialize)]
pub(super) struct Process {
    #[serde(rename = "serviceName", default)]
    pub(super) service_name: Option<String>,
    #[serde(default)]
    pub(super) tags: Option<Vec<Tag>>,
}
