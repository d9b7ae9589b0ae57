//! What is recorded with the SDK, and the rows that should be read for it.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{
    Link, Span, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId,
    TraceState, Tracer, TracerProvider,
};
use opentelemetry::{Array, Context, InstrumentationScope, KeyValue, Value as Attribute};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use serde_json::{Value, json};

const START: u64 = 1_790_000_000_123_456_789;
const REMOTE_TRACE: u128 = 0x0123_4567_89ab_cdef_0011_2233_4455_6677;
const REMOTE_SPAN: u64 = 0xfeed_face_cafe_beef;

fn at(nanos: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(nanos)
}

/// Attributes of every kind the SDK has.
fn attributes() -> Vec<KeyValue> {
    let texts = Array::String(vec!["one".into(), "".into(), "dreißig".into()]);
    vec![
        KeyValue::new("text", "some \"quoted\" text\nof two lines"),
        KeyValue::new("nothing", ""),
        KeyValue::new("yes", true),
        KeyValue::new("no", false),
        KeyValue::new("int", i64::MIN),
        KeyValue::new("beyond.a.double", 9_007_199_254_740_993i64),
        KeyValue::new("double", 0.1),
        KeyValue::new("whole.double", 3.0),
        KeyValue::new("texts", Attribute::Array(texts)),
        KeyValue::new("bools", Attribute::Array(vec![true, false].into())),
        KeyValue::new("ints", Attribute::Array(vec![1i64, -2].into())),
        KeyValue::new("doubles", Attribute::Array(vec![1.5, -2.0].into())),
    ]
}

fn attributes_read() -> Value {
    json!({
        "text": "some \"quoted\" text\nof two lines", "nothing": "", "yes": true, "no": false,
        "int": i64::MIN, "beyond.a.double": 9_007_199_254_740_993i64, "double": 0.1, "whole.double": 3.0,
        "texts": ["one", "", "dreißig"], "bools": [true, false], "ints": [1, -2], "doubles": [1.5, -2.0],
    })
}

pub fn resource() -> Resource {
    Resource::builder_empty()
        .with_service_name("till")
        .with_attribute(KeyValue::new("service.instance.id", "till-7"))
        .with_attributes(attributes())
        .build()
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("till.instrumentation")
        .with_version("2.1.0")
        .with_attributes(attributes())
        .build()
}

/// A row as it should be read: what is common to all signals, and `more`.
fn row(more: Value) -> Value {
    let mut resource = attributes_read();
    resource["service.name"] = json!("till");
    resource["service.instance.id"] = json!("till-7");
    let mut row = json!({
        "service": "till",
        "instance": "till-7",
        "resource": resource,
        "scope": {"name": "till.instrumentation", "version": "2.1.0", "attributes": attributes_read()},
    });
    row.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    row
}

pub fn record_spans(provider: &SdkTracerProvider) -> Vec<Value> {
    let tracer = provider.tracer_with_scope(scope());
    let state = TraceState::from_key_value([("vendor", "opaque:7"), ("other", "x")]).unwrap();
    let remote = SpanContext::new(
        TraceId::from(REMOTE_TRACE),
        SpanId::from(REMOTE_SPAN),
        TraceFlags::SAMPLED,
        true,
        state,
    );
    let outside = Context::new().with_remote_span_context(remote.clone());
    let mut root = tracer
        .span_builder("POST /pay")
        .with_kind(SpanKind::Server)
        .with_start_time(at(START))
        .with_attributes(attributes())
        .with_links(vec![Link::new(remote, attributes(), 0)])
        .start_with_context(&tracer, &outside);
    root.add_event_with_timestamp("card read", at(START + 10), attributes());
    root.add_event_with_timestamp("card read", at(START + 20), vec![]);
    let context = root.span_context().clone();
    let (trace, root_id) = (
        context.trace_id().to_string(),
        context.span_id().to_string(),
    );
    root.end_with_timestamp(at(START + 5_000));
    let mut expected = vec![row(json!({
        "trace_id": trace, "span_id": root_id, "parent_span_id": format!("{REMOTE_SPAN:016x}"),
        "name": "POST /pay", "kind": "server", "status": "unset", "status_message": "",
        "start_unix_nano": START, "end_unix_nano": START + 5_000, "duration_nano": 5_000,
        "attributes": attributes_read(),
        "events": [
            {"time_unix_nano": START + 10, "name": "card read", "attributes": attributes_read()},
            {"time_unix_nano": START + 20, "name": "card read", "attributes": {}},
        ],
        "links": [{
            "trace_id": format!("{REMOTE_TRACE:032x}"), "span_id": format!("{REMOTE_SPAN:016x}"),
            "attributes": attributes_read(), "trace_state": "vendor=opaque:7,other=x", "flags": 0x301,
        }],
        "trace_state": "vendor=opaque:7,other=x", "flags": 0x301,
    }))];

    let inside = Context::new().with_remote_span_context(SpanContext::new(
        context.trace_id(),
        context.span_id(),
        TraceFlags::SAMPLED,
        false,
        TraceState::NONE,
    ));
    for (number, kind, kind_read, status, status_read, message) in [
        (
            1,
            SpanKind::Client,
            "client",
            Status::error("refused"),
            "error",
            "refused",
        ),
        (2, SpanKind::Producer, "producer", Status::Ok, "ok", ""),
        (
            3,
            SpanKind::Consumer,
            "consumer",
            Status::Unset,
            "unset",
            "",
        ),
        (
            4,
            SpanKind::Internal,
            "internal",
            Status::Unset,
            "unset",
            "",
        ),
    ] {
        let mut span = tracer
            .span_builder(format!("step {number}"))
            .with_kind(kind)
            .with_start_time(at(START + number))
            .start_with_context(&tracer, &inside);
        span.set_status(status);
        let id = span.span_context().span_id().to_string();
        span.end_with_timestamp(at(START + number + 40));
        expected.push(row(json!({
            "trace_id": trace, "span_id": id, "parent_span_id": root_id,
            "name": format!("step {number}"), "kind": kind_read, "status": status_read,
            "status_message": message, "start_unix_nano": START + number,
            "end_unix_nano": START + number + 40, "duration_nano": 40,
            "attributes": {}, "events": [], "links": [], "flags": 0x101,
        })));
    }
    expected
}

pub fn record_logs(provider: &SdkLoggerProvider) -> Vec<Value> {
    let logger = provider.logger_with_scope(scope());
    let mut plain = logger.create_log_record();
    plain.set_timestamp(at(START + 1));
    plain.set_observed_timestamp(at(START + 2));
    plain.set_severity_number(Severity::Error);
    plain.set_severity_text("FEHLER");
    plain.set_body("the terminal does not answer".into());
    plain.set_trace_context(
        TraceId::from(REMOTE_TRACE),
        SpanId::from(REMOTE_SPAN),
        Some(TraceFlags::SAMPLED),
    );
    plain.add_attributes([("text", "a"), ("nothing", "")]);
    plain.add_attribute("int", i64::MAX);
    plain.add_attribute("double", 2.5);
    plain.add_attribute("yes", true);
    plain.add_attribute("bytes", AnyValue::from(&[0u8, 255, 16][..]));
    plain.add_attribute("list", AnyValue::from_iter([1i64, 2]));
    let inner = AnyValue::from_iter([("deep", AnyValue::from_iter(["x"]))]);
    plain.add_attribute("map", AnyValue::from_iter([("inner", inner)]));
    logger.emit(plain);
    let mut event = logger.create_log_record();
    event.set_event_name("drawer.opened");
    event.set_timestamp(at(START + 3));
    event.set_observed_timestamp(at(START + 3));
    event.set_severity_number(Severity::Trace2);
    event.set_severity_text("TRACE2");
    event.set_body(AnyValue::from_iter([("drawer", AnyValue::Int(2))]));
    logger.emit(event);
    vec![
        row(json!({
            "time_unix_nano": START + 1, "observed_unix_nano": START + 2, "severity": "FEHLER",
            "severity_number": 17, "event": "", "body": "the terminal does not answer",
            "trace_id": format!("{REMOTE_TRACE:032x}"), "span_id": format!("{REMOTE_SPAN:016x}"),
            "attributes": {
                "text": "a", "nothing": "", "int": i64::MAX, "double": 2.5, "yes": true, "bytes": "AP8Q",
                "list": [1, 2], "map": {"inner": {"deep": ["x"]}},
            },
            "flags": 1,
        })),
        row(json!({
            "time_unix_nano": START + 3, "observed_unix_nano": START + 3, "severity": "TRACE2",
            "severity_number": 2, "event": "drawer.opened", "body": {"drawer": 2},
            "trace_id": null, "span_id": null, "attributes": {},
        })),
    ]
}

pub fn record_metrics(provider: &SdkMeterProvider) -> Vec<Value> {
    let meter = provider.meter_with_scope(scope());
    let sales = meter.u64_counter("sales").with_unit("{sale}");
    let sales = sales.with_description("What was sold").build();
    sales.add(40, &attributes());
    sales.add(2, &attributes());
    let turnover = meter.f64_counter("turnover").with_unit("EUR").build();
    turnover.add(0.5, &[]);
    let queue = meter.i64_up_down_counter("queue").build();
    queue.add(-3, &[]);
    let level = meter.f64_gauge("level").build();
    level.record(1.25, &attributes());
    let waits = meter.f64_histogram("wait").with_unit("s");
    let waits = waits.with_boundaries(vec![1.0, 10.0]).build();
    for wait in [0.5, 5.0, 50.0, 70.0] {
        waits.record(wait, &attributes());
    }
    let sum = |name: &str, unit: &str, value: Value, monotonic: bool, attributes: Value| {
        row(json!({
            "name": name, "type": "sum", "unit": unit, "value": value, "temporality": "cumulative",
            "monotonic": monotonic, "attributes": attributes,
        }))
    };
    let mut sold = sum("sales", "{sale}", json!(42), true, attributes_read());
    sold["description"] = json!("What was sold");
    vec![
        row(json!({
            "name": "level", "type": "gauge", "unit": "", "value": 1.25, "attributes": attributes_read(),
        })),
        sum("queue", "", json!(-3), false, json!({})),
        sold,
        sum("turnover", "EUR", json!(0.5), true, json!({})),
        row(json!({
            "name": "wait", "type": "histogram", "unit": "s", "temporality": "cumulative", "count": 4,
            "sum": 125.5, "min": 0.5, "max": 70.0, "bounds": [1.0, 10.0], "bucket_counts": [1, 1, 2],
            "attributes": attributes_read(),
        })),
    ]
}
