//! Every importer over excerpts of real captures and over damaged input.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod csv;
mod jaeger;
mod logs;
mod mutations;
mod otlp;
mod recognising;
mod streaming;
mod zipkin;

use ::case::{Receipt, Signal};
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use super::{Failure, Input, Options, Report, import};

/// What an import gave to its sink.
#[derive(Default)]
struct Taken {
    requests: Vec<(Signal, Bytes)>,
}

impl Taken {
    /// Spans with their service.
    fn spans(&self) -> Vec<(String, Span)> {
        self.of(Signal::Traces)
            .flat_map(|payload| {
                ExportTraceServiceRequest::decode(payload)
                    .unwrap()
                    .resource_spans
            })
            .flat_map(|resource| {
                let service = service(resource.resource.map(|r| r.attributes).unwrap_or_default());
                let spans = resource
                    .scope_spans
                    .into_iter()
                    .flat_map(|scope| scope.spans);
                spans
                    .map(|span| (service.clone(), span))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    /// Records with their service.
    fn logs(&self) -> Vec<(String, LogRecord)> {
        self.of(Signal::Logs)
            .flat_map(|payload| {
                ExportLogsServiceRequest::decode(payload)
                    .unwrap()
                    .resource_logs
            })
            .flat_map(|resource| {
                let service = service(resource.resource.map(|r| r.attributes).unwrap_or_default());
                let records = resource
                    .scope_logs
                    .into_iter()
                    .flat_map(|scope| scope.log_records);
                records
                    .map(|record| (service.clone(), record))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    /// Metrics with their service.
    fn metrics(&self) -> Vec<(String, Metric)> {
        self.of(Signal::Metrics)
            .flat_map(|payload| {
                ExportMetricsServiceRequest::decode(payload)
                    .unwrap()
                    .resource_metrics
            })
            .flat_map(|resource| {
                let service = service(resource.resource.map(|r| r.attributes).unwrap_or_default());
                let metrics = resource
                    .scope_metrics
                    .into_iter()
                    .flat_map(|scope| scope.metrics);
                metrics
                    .map(|metric| (service.clone(), metric))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    fn points(&self) -> usize {
        self.metrics()
            .iter()
            .map(|(_, metric)| match &metric.data {
                Some(metric::Data::Gauge(data)) => data.data_points.len(),
                Some(metric::Data::Sum(data)) => data.data_points.len(),
                Some(metric::Data::Histogram(data)) => data.data_points.len(),
                Some(metric::Data::ExponentialHistogram(data)) => data.data_points.len(),
                Some(metric::Data::Summary(data)) => data.data_points.len(),
                None => 0,
            })
            .sum()
    }

    fn of(&self, signal: Signal) -> impl Iterator<Item = &[u8]> {
        self.requests
            .iter()
            .filter(move |(of, _)| *of == signal)
            .map(|(_, payload)| payload.as_ref())
    }
}

fn service(attributes: Vec<KeyValue>) -> String {
    text(&attributes, "service.name").unwrap_or_default()
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes
        .iter()
        .find(|pair| pair.key == key)?
        .value
        .clone()?
        .value?;
    match value {
        any_value::Value::StringValue(text) => Some(text),
        other => panic!("{key} is no text: {other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn run_with(input: Input, options: &Options) -> Result<(Report, Taken), Failure> {
    let mut taken = Taken::default();
    let mut sink = |signal, payload: Bytes| {
        taken.requests.push((signal, payload));
        Ok(Receipt::default())
    };
    let report = import(input, options, &mut sink, &mut |_| {})?;
    Ok((report, taken))
}

/// Imports bytes with nothing said about them.
fn run(bytes: impl Into<Bytes>) -> (Report, Taken) {
    run_with(Input::memory("the file", bytes), &Options::default()).unwrap()
}

/// Imports bytes that must be refused.
fn refused(bytes: &[u8]) -> String {
    match run_with(
        Input::memory("the file", bytes.to_vec()),
        &Options::default(),
    ) {
        Ok((report, _)) => panic!("taken for {}", report.format),
        Err(failure) => failure.to_string(),
    }
}

/// The bad records as they are shown.
fn bad(report: &Report) -> Vec<String> {
    report.bad.shown.iter().map(ToString::to_string).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ::zstd::encode_all(bytes, 1).unwrap()
}

/// Every excerpt of a capture, by name.
const CAPTURES: [(&str, &[u8]); 17] = [
    (
        "example-events",
        include_bytes!("../../../tests/fixtures/otlp/example-events.json"),
    ),
    (
        "example-logs",
        include_bytes!("../../../tests/fixtures/otlp/example-logs.json"),
    ),
    (
        "example-metrics",
        include_bytes!("../../../tests/fixtures/otlp/example-metrics.json"),
    ),
    (
        "example-trace",
        include_bytes!("../../../tests/fixtures/otlp/example-trace.json"),
    ),
    (
        "otel-tui-demo",
        include_bytes!("../../../tests/fixtures/otlp/otel-tui-demo-excerpt.jsonl"),
    ),
    (
        "otlp2jaeger-in",
        include_bytes!("../../../tests/fixtures/jaeger/otlp2jaeger-in.json"),
    ),
    (
        "otlp2jaeger-out",
        include_bytes!("../../../tests/fixtures/jaeger/otlp2jaeger-out.json"),
    ),
    (
        "crisp-1",
        include_bytes!("../../../tests/fixtures/jaeger/crisp-1.json"),
    ),
    (
        "crisp-2",
        include_bytes!("../../../tests/fixtures/jaeger/crisp-2.json"),
    ),
    (
        "crisp-10",
        include_bytes!("../../../tests/fixtures/jaeger/crisp-10.json"),
    ),
    (
        "crisp-14",
        include_bytes!("../../../tests/fixtures/jaeger/crisp-14.json"),
    ),
    (
        "messaging2",
        include_bytes!("../../../tests/fixtures/zipkin/messaging2.json"),
    ),
    (
        "skew",
        include_bytes!("../../../tests/fixtures/zipkin/skew.json"),
    ),
    (
        "nezha-trace",
        include_bytes!("../../../tests/fixtures/nezha/trace.csv"),
    ),
    (
        "nezha-log",
        include_bytes!("../../../tests/fixtures/nezha/log.csv"),
    ),
    (
        "nezha-pod",
        include_bytes!("../../../tests/fixtures/nezha/pod_metric.csv"),
    ),
    (
        "nezha-front",
        include_bytes!("../../../tests/fixtures/nezha/front_metric.csv"),
    ),
];

fn capture(name: &str) -> &'static [u8] {
    CAPTURES.iter().find(|(known, _)| *known == name).unwrap().1
}
