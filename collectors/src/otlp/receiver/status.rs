//! The small messages that answers consist of: export responses, `Status`, `RetryInfo`; as protobuf and as JSON.

use case::{Receipt, Signal};
use prost::Message;

use super::refusal::Refusal;

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

#[derive(Clone, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// The three signals' responses differ in names only, which protobuf does not carry.
#[derive(Clone, PartialEq, Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// What a refusal says, as `google.rpc.Status`.
pub(super) fn status_protobuf(refusal: &Refusal, code: i32) -> Vec<u8> {
    let details = refusal.retry_after().map(|after| Any {
        type_url: RETRY_INFO.to_owned(),
        value: RetryInfo {
            retry_delay: Some(Delay {
                seconds: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
                nanos: after.subsec_nanos() as i32,
            }),
        }
        .encode_to_vec(),
    });
    Status {
        code,
        message: refusal.message(),
        details: details.into_iter().collect(),
    }
    .encode_to_vec()
}

pub(super) fn status_json(refusal: &Refusal, code: i32) -> Vec<u8> {
    let mut status = serde_json::json!({ "code": code, "message": refusal.message() });
    if let Some(after) = refusal.retry_after() {
        let delay = format!("{}.{:09}s", after.as_secs(), after.subsec_nanos());
        status["details"] = serde_json::json!([{ "@type": RETRY_INFO, "retryDelay": delay }]);
    }
    status.to_string().into_bytes()
}

/// Partial success is told when something was rejected or there is something to say, and left unset otherwise.
fn partial_success(receipt: &Receipt) -> Option<PartialSuccess> {
    (receipt.rejected > 0 || receipt.message.is_some()).then(|| PartialSuccess {
        rejected: i64::try_from(receipt.rejected).unwrap_or(i64::MAX),
        error_message: receipt.message.clone().unwrap_or_default(),
    })
}

pub(super) fn response_protobuf(receipt: &Receipt) -> Vec<u8> {
    ExportResponse {
        partial_success: partial_success(receipt),
    }
    .encode_to_vec()
}

pub(super) fn response_json(signal: Signal, receipt: &Receipt) -> Vec<u8> {
    let Some(partial) = partial_success(receipt) else {
        return b"{}".to_vec();
    };
    let rejected = match signal {
        Signal::Logs => "rejectedLogRecords",
        Signal::Metrics => "rejectedDataPoints",
        _ => "rejectedSpans",
    };
    let mut fields = serde_json::Map::new();
    if partial.rejected > 0 {
        fields.insert(rejected.to_owned(), partial.rejected.to_string().into());
    }
    if !partial.error_message.is_empty() {
        fields.insert("errorMessage".to_owned(), partial.error_message.into());
    }
    serde_json::json!({ "partialSuccess": fields })
        .to_string()
        .into_bytes()
}
