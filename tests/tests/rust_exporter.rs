//! The OpenTelemetry SDK and exporter for Rust, as services use them, against the real collector: what was recorded is
//! what is read, attribute for attribute, while it collects and after it stopped.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod recorded;
mod support;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_otlp::{LogExporter, MetricExporter, Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::SdkTracerProvider;
use recorded::{record_logs, record_metrics, record_spans, resource};
use serde_json::Value;
use support::{Collector, run};

/// Records through the exporters, and shuts the SDK down, which sends everything once. Returns what should be read of
/// each signal.
fn send(
    (spans, logs, metrics): (SpanExporter, LogExporter, MetricExporter),
) -> [(&'static str, Vec<Value>); 3] {
    let tracers = SdkTracerProvider::builder()
        .with_batch_exporter(spans)
        .with_resource(resource())
        .build();
    let loggers = SdkLoggerProvider::builder()
        .with_batch_exporter(logs)
        .with_resource(resource())
        .build();
    // Only the shutdown collects: what is cumulative would otherwise be there more than once.
    let reader = PeriodicReader::builder(metrics).with_interval(Duration::from_secs(3_600));
    let meters = SdkMeterProvider::builder()
        .with_reader(reader.build())
        .with_resource(resource())
        .build();
    let expected = [
        ("traces", record_spans(&tracers)),
        ("logs", record_logs(&loggers)),
        ("metrics", record_metrics(&meters)),
    ];
    tracers.shutdown().unwrap();
    loggers.shutdown().unwrap();
    meters.shutdown().unwrap();
    expected
}

/// All rows of a signal. In what order points come depends on how they are kept, and is no matter here.
fn read(command: &str, case: &str) -> Vec<Value> {
    let output = run(&[command, case, "--format", "json"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {said}");
    let lines = output.stdout.split(|byte| *byte == b'\n');
    let mut rows: Vec<Value> = lines
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    rows.sort_by_key(key);
    rows
}

/// What tells the rows of one signal apart here.
fn key(row: &Value) -> String {
    format!("{} {}", row["name"], row["event"])
}

/// The SDK takes the times of metric points from the clock: checks them, and takes them out.
fn take_times(point: &mut Value, recorded: (u64, u64)) {
    let point = point.as_object_mut().unwrap();
    let end = point.remove("time_unix_nano").unwrap().as_u64().unwrap();
    let start = point.remove("start_unix_nano").unwrap().as_u64().unwrap();
    assert!(recorded.0 <= end && end <= recorded.1, "{end} {recorded:?}");
    assert!(start <= end && (start == 0 || recorded.0 <= start));
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_nanos()).unwrap()
}

fn arrives(exporters: impl FnOnce(&Collector) -> (SpanExporter, LogExporter, MetricExporter)) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("exported.case");
    let case = path.to_str().unwrap();
    let collector = Collector::start_with_grpc(&path);
    let before = now();
    let expected = send(exporters(&collector));
    let recorded = (before, now());

    let live: BTreeMap<_, _> = expected
        .iter()
        .map(|(command, _)| (*command, read(command, case)))
        .collect();
    for (command, rows) in expected {
        let mut found: BTreeMap<String, Value> = BTreeMap::new();
        for mut row in live[command].clone() {
            if command == "metrics" {
                take_times(&mut row, recorded);
            }
            let twice = found.insert(key(&row), row);
            assert!(twice.is_none(), "{command}: there twice: {twice:?}");
        }
        for row in rows {
            let found = found.remove(&key(&row));
            assert_eq!(found, Some(row), "{command}");
        }
        assert!(found.is_empty(), "{command}: nobody sent {found:?}");
    }

    collector.stop();
    for (command, rows) in live {
        assert_eq!(read(command, case), rows, "{command} after the end");
    }
}

#[test]
fn what_is_exported_over_grpc_is_read_attribute_for_attribute() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let _inside = runtime.enter();
    arrives(|collector| {
        let to = format!("http://{}", collector.grpc.as_ref().unwrap());
        let spans = SpanExporter::builder().with_tonic().with_endpoint(&to);
        let logs = LogExporter::builder().with_tonic().with_endpoint(&to);
        let metrics = MetricExporter::builder().with_tonic().with_endpoint(&to);
        (
            spans.build().unwrap(),
            logs.build().unwrap(),
            metrics.build().unwrap(),
        )
    });
}

#[test]
fn what_is_exported_over_http_is_read_attribute_for_attribute() {
    arrives(|collector| {
        let to = |signal: &str| format!("http://{}/v1/{signal}", collector.http);
        let spans = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(to("traces"));
        let logs = LogExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(to("logs"));
        let metrics = MetricExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(to("metrics"));
        (
            spans.build().unwrap(),
            logs.build().unwrap(),
            metrics.build().unwrap(),
        )
    });
}
