//! Sends OTLP requests over HTTP or gRPC, and asks again where the answer allows it.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use case::Signal;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::{Ascii, MetadataKey, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

/// The first wait before a request is sent again; it doubles from there.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How much of an answer is read.
const ANSWER_BYTES: usize = 64 << 10;
/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(10);

/// Where and how to send.
#[derive(Debug, Clone)]
pub struct Target {
    /// `http://host:port`, with a path before `/v1/…` if there is one.
    pub to: String,
    pub grpc: bool,
    /// Sent with every request, such as `authorization`.
    pub headers: Vec<(String, String)>,
    /// How long a request is tried again before it counts as failed.
    pub patience: Duration,
}

/// A target that can't be one.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    #[error("{to:?} is no address to send to: {reason}")]
    Address { to: String, reason: String },
    #[error("header {name:?}: {reason}")]
    Header { name: String, reason: String },
}

impl TargetError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            TargetError::Address { .. } => {
                "give a URL such as http://127.0.0.1:4318 (HTTP) or, with --grpc, http://127.0.0.1:4317"
            }
            TargetError::Header { .. } => "give headers as NAME=VALUE",
        }
    }
}

/// What became of a request in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) verdict: Verdict,
    /// How often it was sent again.
    pub(super) retries: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Taken, but for so many of its items.
    Taken {
        rejected: u64,
        message: String,
    },
    Failed(String),
}

enum Attempt {
    Done(Verdict),
    Again {
        after: Option<Duration>,
        reason: String,
    },
}

/// A connection to a target; clones share it.
#[derive(Clone)]
pub(super) struct Outbox {
    transport: Transport,
    patience: Duration,
}

#[derive(Clone)]
enum Transport {
    Http {
        client: reqwest::Client,
        base: String,
        headers: Vec<(String, String)>,
    },
    Grpc {
        channel: Channel,
        metadata: Vec<(MetadataKey<Ascii>, MetadataValue<Ascii>)>,
    },
}

impl Outbox {
    /// Nothing is connected yet; must be called within a tokio runtime.
    pub(super) fn new(target: &Target) -> Result<Outbox, TargetError> {
        let address = |reason: String| TargetError::Address {
            to: target.to.clone(),
            reason,
        };
        let rest = target.to.strip_prefix("http://").ok_or_else(|| {
            address(if target.to.starts_with("https://") {
                "sending over TLS is not built in; send to a collector on this machine that forwards".to_owned()
            } else {
                "it does not begin with http://".to_owned()
            })
        })?;
        if rest.trim_end_matches('/').is_empty() {
            return Err(address("it names no host".to_owned()));
        }
        let base = target.to.trim_end_matches('/').to_owned();
        let transport = if target.grpc {
            let endpoint =
                Endpoint::from_shared(base).map_err(|error| address(error.to_string()))?;
            let metadata = target
                .headers
                .iter()
                .map(|(name, value)| {
                    let bad = |reason: String| TargetError::Header {
                        name: name.clone(),
                        reason,
                    };
                    let key = name
                        .to_ascii_lowercase()
                        .parse()
                        .map_err(|_| bad("it is no header name".to_owned()))?;
                    let value = value
                        .parse()
                        .map_err(|_| bad("its value can't be sent".to_owned()))?;
                    Ok((key, value))
                })
                .collect::<Result<_, TargetError>>()?;
            Transport::Grpc {
                channel: endpoint
                    .connect_timeout(ATTEMPT)
                    .tcp_nodelay(true)
                    .connect_lazy(),
                metadata,
            }
        } else {
            base.parse::<http::Uri>()
                .map_err(|error| address(error.to_string()))?;
            let client = reqwest::Client::builder()
                .timeout(ATTEMPT)
                .tcp_nodelay(true)
                .build()
                .map_err(|error| address(error.to_string()))?;
            for (name, value) in &target.headers {
                let bad = |reason: &str| TargetError::Header {
                    name: name.clone(),
                    reason: reason.to_owned(),
                };
                http::HeaderName::try_from(name.as_str())
                    .map_err(|_| bad("it is no header name"))?;
                http::HeaderValue::try_from(value.as_str())
                    .map_err(|_| bad("its value can't be sent"))?;
            }
            Transport::Http {
                client,
                base,
                headers: target.headers.clone(),
            }
        };
        Ok(Outbox {
            transport,
            patience: target.patience,
        })
    }

    /// Sends until it is taken, refused for good, or patience ends.
    pub(super) async fn send(&self, signal: Signal, payload: Bytes) -> Outcome {
        let begun = tokio::time::Instant::now();
        let mut wait = FIRST_WAIT;
        let mut retries = 0;
        loop {
            let attempt = match &self.transport {
                Transport::Http {
                    client,
                    base,
                    headers,
                } => over_http(client, base, headers, signal, payload.clone()).await,
                Transport::Grpc { channel, metadata } => {
                    over_grpc(channel, metadata, signal, payload.clone()).await
                }
            };
            match attempt {
                Attempt::Done(verdict) => return Outcome { verdict, retries },
                Attempt::Again { after, reason } => {
                    let pause = after.unwrap_or(wait);
                    if begun.elapsed() + pause > self.patience {
                        let verdict = Verdict::Failed(format!(
                            "{reason}; given up after {:.1} s",
                            begun.elapsed().as_secs_f64()
                        ));
                        return Outcome { verdict, retries };
                    }
                    tokio::time::sleep(pause).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                    retries += 1;
                }
            }
        }
    }
}

async fn over_http(
    client: &reqwest::Client,
    base: &str,
    headers: &[(String, String)],
    signal: Signal,
    payload: Bytes,
) -> Attempt {
    let mut request = client
        .post(format!("{base}/v1/{}", signal.name()))
        .header("content-type", "application/x-protobuf")
        .body(payload);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let mut answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => {
            return Attempt::Again {
                after: None,
                reason: root_cause(&error),
            };
        }
    };
    let status = answer.status();
    let after = answer
        .headers()
        .get("retry-after")
        .and_then(|value| value.to_str().ok()?.trim().parse().ok())
        .map(Duration::from_secs);
    let mut body = Vec::new();
    // What is beyond the limit is not worth reading; a body that breaks off leaves the status to go by.
    while let Ok(Some(chunk)) = answer.chunk().await {
        body.extend_from_slice(&chunk[..chunk.len().min(ANSWER_BYTES - body.len())]);
        if body.len() == ANSWER_BYTES {
            break;
        }
    }
    if status.is_success() {
        return Attempt::Done(taken(&body));
    }
    let reason = format!("{}{}", status, said(&body));
    if matches!(status.as_u16(), 429 | 502 | 503 | 504) {
        Attempt::Again { after, reason }
    } else {
        Attempt::Done(Verdict::Failed(reason))
    }
}

/// Answers to all three signals have one shape.
fn taken(body: &[u8]) -> Verdict {
    let partial = ExportTraceServiceResponse::decode(body)
        .ok()
        .and_then(|answer| answer.partial_success);
    match partial {
        Some(partial) => Verdict::Taken {
            rejected: u64::try_from(partial.rejected_spans).unwrap_or(0),
            message: partial.error_message,
        },
        None => Verdict::Taken {
            rejected: 0,
            message: String::new(),
        },
    }
}

/// The message of a `google.rpc.Status`.
fn said(body: &[u8]) -> String {
    #[derive(Clone, PartialEq, prost::Message)]
    struct StatusMessage {
        #[prost(string, tag = "2")]
        message: String,
    }
    match StatusMessage::decode(body) {
        Ok(status) if !status.message.is_empty() => format!(": {}", status.message),
        _ => String::new(),
    }
}

/// The innermost cause: "connection refused" says more than "error sending request".
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    if error.is_timeout() {
        format!("no answer within {} s", ATTEMPT.as_secs())
    } else {
        cause.to_string()
    }
}

async fn over_grpc(
    channel: &Channel,
    metadata: &[(MetadataKey<Ascii>, MetadataValue<Ascii>)],
    signal: Signal,
    payload: Bytes,
) -> Attempt {
    let path = http::uri::PathAndQuery::from_static(match signal {
        Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        _ => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    });
    let mut client = tonic::client::Grpc::new(channel.clone());
    let mut request = tonic::Request::new(payload);
    for (name, value) in metadata {
        request.metadata_mut().insert(name.clone(), value.clone());
    }
    request.set_timeout(ATTEMPT);
    let call = async {
        client
            .ready()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        client.unary(request, path, RawCodec).await
    };
    match tokio::time::timeout(ATTEMPT, call).await {
        Ok(Ok(answer)) => Attempt::Done(taken(answer.get_ref())),
        Ok(Err(status)) => {
            let reason = format!("{:?}: {}", status.code(), status.message());
            let again = match status.code() {
                Code::Cancelled
                | Code::DeadlineExceeded
                | Code::Aborted
                | Code::OutOfRange
                | Code::Unavailable
                | Code::DataLoss => true,
                // Only with a RetryInfo among the details is it worth another try.
                Code::ResourceExhausted => {
                    memchr::memmem::find(status.details(), b"google.rpc.RetryInfo").is_some()
                }
                _ => false,
            };
            if again {
                Attempt::Again {
                    after: None,
                    reason,
                }
            } else {
                Attempt::Done(Verdict::Failed(reason))
            }
        }
        Err(_) => Attempt::Again {
            after: None,
            reason: format!("no answer within {} s", ATTEMPT.as_secs()),
        },
    }
}

/// Requests are bytes already, and of answers only bytes are wanted.
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = RawCodec;
    type Decoder = RawCodec;

    fn encoder(&mut self) -> RawCodec {
        RawCodec
    }

    fn decoder(&mut self) -> RawCodec {
        RawCodec
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = from.remaining();
        Ok(Some(from.copy_to_bytes(length)))
    }
}
