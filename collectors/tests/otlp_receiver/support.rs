//! A sink that remembers, clients that speak raw, and the requests they send.

use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use case::{AppendError, Receipt, Signal};
use collectors::otlp::receiver::{Done, Receiver, ReceiverOptions, Sink};
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric,
};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tokio::net::TcpStream;

type Answer = Box<dyn Fn(Signal, &Bytes) -> Option<Result<Receipt, AppendError>> + Send + Sync>;

/// Answers as it is told to, and keeps what it was given; `None` keeps the sender waiting.
pub(crate) struct Memory {
    answer: Answer,
    pub(crate) received: Mutex<Vec<(Signal, Bytes)>>,
    waiting: Mutex<Vec<Done>>,
}

impl Memory {
    pub(crate) fn answering(
        answer: impl Fn(Signal, &Bytes) -> Option<Result<Receipt, AppendError>> + Send + Sync + 'static,
    ) -> Arc<Memory> {
        Arc::new(Memory {
            answer: Box::new(answer),
            received: Mutex::default(),
            waiting: Mutex::default(),
        })
    }

    /// Takes what prost can decode, as a case takes what it can walk.
    pub(crate) fn accepting() -> Arc<Memory> {
        Memory::answering(|signal, payload| Some(checked(signal, payload)))
    }

    pub(crate) fn holding() -> Arc<Memory> {
        Memory::answering(|_, _| None)
    }

    pub(crate) fn refusing(error: AppendError) -> Arc<Memory> {
        Memory::answering(move |_, _| Some(Err(error.clone())))
    }

    pub(crate) fn taken(&self) -> Vec<(Signal, Bytes)> {
        self.received.lock().unwrap().clone()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.lock().unwrap().len()
    }

    pub(crate) fn release(&self) {
        for done in self.waiting.lock().unwrap().drain(..) {
            done(Ok(Receipt::default()));
        }
    }
}

impl Sink for Memory {
    fn submit(&self, signal: Signal, payload: Bytes, done: Done) {
        self.received
            .lock()
            .unwrap()
            .push((signal, payload.clone()));
        match (self.answer)(signal, &payload) {
            Some(outcome) => done(outcome),
            None => self.waiting.lock().unwrap().push(done),
        }
    }
}

fn checked(signal: Signal, payload: &Bytes) -> Result<Receipt, AppendError> {
    let decoded = match signal {
        Signal::Logs => ExportLogsServiceRequest::decode(payload.clone()).is_ok(),
        Signal::Metrics => ExportMetricsServiceRequest::decode(payload.clone()).is_ok(),
        _ => ExportTraceServiceRequest::decode(payload.clone()).is_ok(),
    };
    if decoded {
        Ok(Receipt {
            accepted: 1,
            ..Receipt::default()
        })
    } else {
        Err(AppendError::Malformed {
            signal: signal.name(),
            reason: "not a message",
            offset: 7,
        })
    }
}

/// Both listeners on ports of their own.
pub(crate) fn options() -> ReceiverOptions {
    let any = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    ReceiverOptions {
        grpc: any,
        http: any,
        ..ReceiverOptions::default()
    }
}

pub(crate) fn start(options: ReceiverOptions, sink: &Arc<Memory>) -> Receiver {
    let sink: Arc<dyn Sink> = Arc::clone(sink) as Arc<dyn Sink>;
    Receiver::start(options, sink).unwrap()
}

/// Waits until it is so; fails the test when it does not come true.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Fails the test instead of hanging it.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(60), future).await {
        Ok(value) => value,
        Err(_) => panic!("took too long: {what}"),
    }
}

fn attributes() -> Vec<KeyValue> {
    let value = AnyValue {
        value: Some(Value::StringValue("värde".to_owned())),
    };
    vec![KeyValue {
        key: "k".to_owned(),
        value: Some(value),
        ..KeyValue::default()
    }]
}

pub(crate) fn traces(spans: usize) -> ExportTraceServiceRequest {
    let span = |n: usize| Span {
        trace_id: vec![7; 16],
        span_id: (n as u64 + 1).to_be_bytes().to_vec(),
        name: format!("span {n}"),
        kind: 2,
        start_time_unix_nano: 1_763_640_000_000_000_000 + n as u64,
        end_time_unix_nano: 1_763_640_000_000_001_000 + n as u64,
        attributes: attributes(),
        ..Span::default()
    };
    let scope = ScopeSpans {
        spans: (0..spans).map(span).collect(),
        ..ScopeSpans::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![scope],
            ..ResourceSpans::default()
        }],
    }
}

pub(crate) fn logs() -> ExportLogsServiceRequest {
    let record = LogRecord {
        time_unix_nano: 5,
        severity_number: 9,
        attributes: attributes(),
        ..LogRecord::default()
    };
    let scope = ScopeLogs {
        log_records: vec![record],
        ..ScopeLogs::default()
    };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            scope_logs: vec![scope],
            ..ResourceLogs::default()
        }],
    }
}

pub(crate) fn metrics() -> ExportMetricsServiceRequest {
    let point = NumberDataPoint {
        time_unix_nano: 5,
        attributes: attributes(),
        ..NumberDataPoint::default()
    };
    let gauge = Gauge {
        data_points: vec![point],
    };
    let metric = Metric {
        name: "m".to_owned(),
        data: Some(metric::Data::Gauge(gauge)),
        ..Metric::default()
    };
    let scope = ScopeMetrics {
        metrics: vec![metric],
        ..ScopeMetrics::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            scope_metrics: vec![scope],
            ..ResourceMetrics::default()
        }],
    }
}

/// One request of each signal as protobuf.
pub(crate) fn samples() -> [(Signal, &'static str, Vec<u8>); 3] {
    [
        (Signal::Traces, "/v1/traces", traces(3).encode_to_vec()),
        (Signal::Logs, "/v1/logs", logs().encode_to_vec()),
        (Signal::Metrics, "/v1/metrics", metrics().encode_to_vec()),
    ]
}

pub(crate) const EXPORT_TRACES: &str =
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 1).unwrap()
}

/// A gRPC message with its prefix.
pub(crate) fn framed(compressed: bool, message: &[u8]) -> Vec<u8> {
    let mut out = vec![u8::from(compressed)];
    out.extend((message.len() as u32).to_be_bytes());
    out.extend(message);
    out
}

/// An answer, whichever way it came.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: HeaderMap,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// From trailers, or from headers when there is nothing but a status.
    pub(crate) fn grpc(&self, name: &str) -> &str {
        let value = self.trailers.get(name).or_else(|| self.headers.get(name));
        value.map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        assert_eq!(self.header("content-type"), "application/json", "{self:?}");
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The `google.rpc.Status` of a protobuf answer.
    pub(crate) fn status_body(&self) -> Status {
        assert_eq!(
            self.header("content-type"),
            "application/x-protobuf",
            "{self:?}"
        );
        Status::decode(&self.body[..]).unwrap()
    }
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Status {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Any {
    #[prost(string, tag = "1")]
    pub(crate) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) value: Vec<u8>,
}

impl Status {
    /// The delay in milliseconds that a `RetryInfo` asks for.
    pub(crate) fn retry_millis(&self) -> Option<i64> {
        #[derive(Clone, PartialEq, Message)]
        struct Delay {
            #[prost(int64, tag = "1")]
            seconds: i64,
            #[prost(int32, tag = "2")]
            nanos: i32,
        }
        #[derive(Clone, PartialEq, Message)]
        struct RetryInfo {
            #[prost(message, optional, tag = "1")]
            delay: Option<Delay>,
        }
        let detail = self.details.first()?;
        assert_eq!(detail.type_url, "type.googleapis.com/google.rpc.RetryInfo");
        let delay = RetryInfo::decode(&detail.value[..]).unwrap().delay.unwrap();
        Some(delay.seconds * 1000 + i64::from(delay.nanos) / 1_000_000)
    }
}

pub(crate) fn request(
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(body.into())).unwrap()
}

/// A connection that, like those of real clients, doesn't wait to fill packets.
pub(crate) async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// One HTTP/1.1 request on a connection of its own.
pub(crate) async fn send(address: SocketAddr, mut request: Request<Full<Bytes>>) -> Reply {
    let host = address.to_string();
    request
        .headers_mut()
        .entry("host")
        .or_insert(host.parse().unwrap());
    let stream = connect(address).await;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let response = soon("an HTTP/1 answer", sender.send_request(request))
        .await
        .unwrap();
    collect(response).await
}

pub(crate) async fn post(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Reply {
    send(address, request(Method::POST, path, headers, body)).await
}

/// A connection that speaks HTTP/2 without asking first.
pub(crate) async fn http2(address: SocketAddr) -> http2::SendRequest<Full<Bytes>> {
    let stream = connect(address).await;
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

/// One gRPC call with bytes as they are given.
pub(crate) async fn call(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Reply {
    let mut all = vec![("content-type", "application/grpc"), ("te", "trailers")];
    all.extend(headers);
    let mut request = request(Method::POST, path, &all, body);
    *request.uri_mut() = format!("http://{address}{path}").parse().unwrap();
    let mut sender = http2(address).await;
    let response = soon("an HTTP/2 answer", sender.send_request(request))
        .await
        .unwrap();
    collect(response).await
}

pub(crate) async fn collect(response: http::Response<hyper::body::Incoming>) -> Reply {
    let (parts, body) = response.into_parts();
    let collected = soon("the answer's body", body.collect()).await.unwrap();
    let trailers = collected.trailers().cloned().unwrap_or_default();
    Reply {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: collected.to_bytes(),
        trailers,
    }
}
