#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;

use case::Signal;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use super::{json_to_protobuf, json_to_protobuf_within, protobuf_to_json};

mod refusals;

fn corpus() -> Vec<(Signal, String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/otlp/json/corpus");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "json"))
        .collect();
    files.sort();
    assert!(files.len() >= 9, "the corpus has gone missing");
    files
        .into_iter()
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let signal = match name.split('-').next().unwrap() {
                "traces" => Signal::Traces,
                "logs" => Signal::Logs,
                "metrics" => Signal::Metrics,
                other => panic!("{other} is no signal"),
            };
            (signal, name, std::fs::read(path).unwrap())
        })
        .collect()
}

fn from_corpus(name: &str) -> Vec<u8> {
    let (signal, _, json) = corpus()
        .into_iter()
        .find(|(_, file, _)| file == name)
        .unwrap();
    json_to_protobuf(signal, &json).unwrap()
}

fn spans(protobuf: &[u8]) -> Vec<Span> {
    let request = ExportTraceServiceRequest::decode(protobuf).unwrap();
    let scopes = request
        .resource_spans
        .into_iter()
        .flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

fn span(fields: &str) -> Result<Span, super::JsonError> {
    let json = format!("{{\"resourceSpans\":[{{\"scopeSpans\":[{{\"spans\":[{{{fields}}}]}}]}}]}}");
    json_to_protobuf(Signal::Traces, json.as_bytes()).map(|bytes| spans(&bytes).remove(0))
}

fn value(json: &str) -> Result<Option<Value>, super::JsonError> {
    let span = span(&format!(
        "\"attributes\":[{{\"key\":\"k\",\"value\":{json}}}]"
    ))?;
    Ok(span.attributes[0].value.clone().unwrap().value)
}

fn attribute<'a>(attributes: &'a [KeyValue], key: &str) -> &'a Option<Value> {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    &found.unwrap().value.as_ref().unwrap().value
}

#[test]
fn the_corpus_means_the_same_after_a_round_trip() {
    for (signal, name, json) in corpus() {
        let first = json_to_protobuf(signal, &json).unwrap_or_else(|e| panic!("{name}: {e}"));
        let canonical = protobuf_to_json(signal, &first).unwrap();
        let second = json_to_protobuf(signal, canonical.as_bytes()).unwrap();
        assert_eq!(
            canonical,
            protobuf_to_json(signal, &second).unwrap(),
            "{name}"
        );
        // Debug text, because NaN is not equal to itself.
        let (a, b) = match signal {
            Signal::Traces => (
                format!(
                    "{:?}",
                    ExportTraceServiceRequest::decode(&first[..]).unwrap()
                ),
                format!(
                    "{:?}",
                    ExportTraceServiceRequest::decode(&second[..]).unwrap()
                ),
            ),
            Signal::Logs => (
                format!(
                    "{:?}",
                    ExportLogsServiceRequest::decode(&first[..]).unwrap()
                ),
                format!(
                    "{:?}",
                    ExportLogsServiceRequest::decode(&second[..]).unwrap()
                ),
            ),
            _ => (
                format!(
                    "{:?}",
                    ExportMetricsServiceRequest::decode(&first[..]).unwrap()
                ),
                format!(
                    "{:?}",
                    ExportMetricsServiceRequest::decode(&second[..]).unwrap()
                ),
            ),
        };
        assert_eq!(a, b, "{name}");
    }
}

#[test]
fn what_prost_encodes_gives_the_same_json() {
    for (signal, name, json) in corpus() {
        let ours = json_to_protobuf(signal, &json).unwrap();
        let theirs = match signal {
            Signal::Traces => ExportTraceServiceRequest::decode(&ours[..])
                .unwrap()
                .encode_to_vec(),
            Signal::Logs => ExportLogsServiceRequest::decode(&ours[..])
                .unwrap()
                .encode_to_vec(),
            _ => ExportMetricsServiceRequest::decode(&ours[..])
                .unwrap()
                .encode_to_vec(),
        };
        assert_eq!(
            ours.len(),
            theirs.len(),
            "{name}: not the shortest encoding"
        );
        assert_eq!(
            protobuf_to_json(signal, &ours).unwrap(),
            protobuf_to_json(signal, &theirs).unwrap(),
            "{name}"
        );
    }
}

#[test]
fn python_spans_arrive_attribute_for_attribute() {
    let span = spans(&from_corpus("traces-python-json.json")).remove(0);
    assert_eq!(
        span.trace_id,
        [
            0x5b, 0x8e, 0xff, 0xf7, 0x98, 3, 0x81, 3, 0xd2, 0x69, 0xb6, 0x33, 0x81, 0x3f, 0xc6,
            0x0c
        ]
    );
    assert_eq!((span.kind, span.flags), (2, 256));
    assert_eq!(span.start_time_unix_nano, 1_763_640_000_000_000_001);
    assert!(
        matches!(attribute(&span.attributes, "ratio"), Some(Value::DoubleValue(v)) if v.is_nan())
    );
    assert_eq!(
        *attribute(&span.attributes, "limit"),
        Some(Value::DoubleValue(f64::NEG_INFINITY))
    );
    assert!(
        matches!(attribute(&span.attributes, "tags"), Some(Value::ArrayValue(v)) if v.values.is_empty())
    );
    assert!(
        matches!(attribute(&span.attributes, "options"), Some(Value::KvlistValue(v)) if v.values.is_empty())
    );
    assert_eq!(*attribute(&span.attributes, "empty"), None);
    assert_eq!(
        *attribute(&span.attributes, "blob"),
        Some(Value::BytesValue(vec![0, 1, 2, 255]))
    );
    assert_eq!(
        *attribute(&span.attributes, "huge"),
        Some(Value::IntValue(i64::MIN))
    );
    let message = attribute(&span.events[0].attributes, "exception.message");
    assert_eq!(
        *message,
        Some(Value::StringValue("\u{1b}[31mno stock\u{1b}[0m".to_owned()))
    );
    assert_eq!(span.status.unwrap().code, 2);
}

#[test]
fn node_spans_arrive_with_numbers_as_numbers() {
    let span = spans(&from_corpus("traces-node-json.json")).remove(0);
    assert_eq!(
        *attribute(&span.attributes, "http.response.status_code"),
        Some(Value::IntValue(200))
    );
    assert!(
        matches!(attribute(&span.attributes, "ratio"), Some(Value::DoubleValue(v)) if v.is_nan())
    );
    assert_eq!(
        *attribute(&span.attributes, "whole"),
        Some(Value::DoubleValue(4.0))
    );
    let cut = attribute(&span.attributes, "cut");
    assert_eq!(
        *cut,
        Some(Value::StringValue("half a pair \u{fffd}".to_owned()))
    );
    assert_eq!(span.links[0].flags, 257);
}

#[test]
fn spans_of_other_agents_arrive_with_snake_case_nulls_and_large_numbers() {
    let request =
        ExportTraceServiceRequest::decode(&from_corpus("traces-other-agents.json")[..]).unwrap();
    let resource = request.resource_spans[0].resource.as_ref().unwrap();
    assert_eq!(
        *attribute(&resource.attributes, "service.name"),
        Some(Value::StringValue("gateway".to_owned())),
        "a null beside a value leaves the value"
    );
    let span = &request.resource_spans[0].scope_spans[0].spans[0];
    assert_eq!(span.trace_id[..3], [0xab, 0xcd, 0xef]);
    assert!(span.parent_span_id.is_empty());
    assert_eq!(span.start_time_unix_nano, 1_763_640_000_000_000_123);
    assert_eq!(span.end_time_unix_nano, 1_763_640_000_500_000_000);
    assert_eq!(
        *attribute(&span.attributes, "retries"),
        Some(Value::IntValue(5))
    );
    assert_eq!(
        *attribute(&span.attributes, "big"),
        Some(Value::IntValue(9_007_199_254_740_993))
    );
    let Some(Value::KvlistValue(nested)) = attribute(&span.attributes, "nested") else {
        panic!("no map");
    };
    let Some(Value::ArrayValue(list)) = attribute(&nested.values, "list") else {
        panic!("no list");
    };
    assert_eq!(
        list.values,
        [
            AnyValue {
                value: Some(Value::BoolValue(false))
            },
            AnyValue { value: None },
            AnyValue {
                value: Some(Value::StringValue(String::new()))
            },
        ]
    );
}

#[test]
fn logs_keep_severity_names_bodies_and_both_base64_alphabets() {
    let request =
        ExportLogsServiceRequest::decode(&from_corpus("logs-collector-snake.json")[..]).unwrap();
    let records = &request.resource_logs[0].scope_logs[0].log_records;
    assert_eq!(records[0].severity_number, 14);
    assert_eq!(
        records[0].observed_time_unix_nano,
        1_763_640_000_000_000_001
    );
    assert_eq!(
        *attribute(&records[0].attributes, "user"),
        Some(Value::BytesValue(vec![0xff, 0xff, 0xbf]))
    );
    assert_eq!(records[0].event_name, "feature_flag.evaluation");
    assert_eq!(
        records[1].body.as_ref().unwrap().value,
        Some(Value::StringValue(String::new()))
    );
}

#[test]
fn every_kind_of_metric_arrives() {
    let request =
        ExportMetricsServiceRequest::decode(&from_corpus("metrics-all-kinds.json")[..]).unwrap();
    let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
    let Some(Data::Gauge(gauge)) = &metrics[0].data else {
        panic!()
    };
    let values: Vec<_> = gauge.data_points.iter().map(|point| point.value).collect();
    assert!(matches!(values[0], Some(number_data_point::Value::AsDouble(v)) if v.is_nan()));
    assert_eq!(values[1], Some(number_data_point::Value::AsInt(-7)));
    assert_eq!(values[2], Some(number_data_point::Value::AsDouble(0.0)));
    let Some(Data::Histogram(histogram)) = &metrics[2].data else {
        panic!()
    };
    let point = &histogram.data_points[0];
    assert_eq!((point.sum, point.max), (Some(0.0), None));
    assert_eq!(point.min.map(f64::to_bits), Some((-0.0f64).to_bits()));
    assert_eq!(
        (&point.bucket_counts[..], &point.explicit_bounds[..]),
        (&[1, 2, 3][..], &[0.5, 1.0][..])
    );
    let Some(Data::ExponentialHistogram(exponential)) = &metrics[3].data else {
        panic!()
    };
    let point = &exponential.data_points[0];
    assert_eq!(point.scale, -3);
    let positive = point.positive.as_ref().unwrap();
    assert_eq!(
        (positive.offset, &positive.bucket_counts[..]),
        (-2, &[1, 2][..])
    );
    assert!(point.negative.is_some());
    let Some(Data::Summary(summary)) = &metrics[4].data else {
        panic!()
    };
    assert!(summary.data_points[0].quantile_values[0].value.is_nan());
    assert_eq!(
        request.resource_metrics[0]
            .resource
            .as_ref()
            .unwrap()
            .entity_refs[0]
            .id_keys
            .len(),
        2
    );
}

#[test]
fn canonical_json_is_what_the_specification_asks() {
    let json = protobuf_to_json(Signal::Traces, &from_corpus("traces-python-json.json")).unwrap();
    assert!(json.contains(r#""traceId":"5b8efff798038103d269b633813fc60c""#));
    assert!(json.contains(r#""kind":2"#));
    assert!(json.contains(r#""startTimeUnixNano":"1763640000000000001""#));
    assert!(json.contains(r#"{"doubleValue":"NaN"}"#));
    assert!(json.contains(r#"{"intValue":"-9223372036854775808"}"#));
    assert!(json.contains(r#"{"arrayValue":{}}"#));
    assert!(json.contains(r#"\u001b[31m"#));
    assert!(
        !json.contains("droppedAttributesCount"),
        "defaults are left out"
    );
}

#[test]
fn the_order_on_the_wire_does_not_change_the_json() {
    // A span with its name twice, status in two parts, attributes apart, written backwards.
    let tail = Span {
        name: "first".to_owned(),
        ..Span::default()
    };
    let key = |key: &str| KeyValue {
        key: key.to_owned(),
        ..KeyValue::default()
    };
    let parts = [
        Span {
            attributes: vec![key("a")],
            ..Span::default()
        },
        tail,
        Span {
            status: Some(opentelemetry_proto::tonic::trace::v1::Status {
                message: "m".to_owned(),
                code: 0,
            }),
            ..Span::default()
        },
        Span {
            attributes: vec![key("b")],
            name: "second".to_owned(),
            ..Span::default()
        },
        Span {
            status: Some(opentelemetry_proto::tonic::trace::v1::Status {
                message: String::new(),
                code: 2,
            }),
            ..Span::default()
        },
    ];
    let span: Vec<u8> = parts.iter().flat_map(Message::encode_to_vec).collect();
    let nest = |inner: Vec<u8>, number: u8| {
        let mut out = vec![number << 3 | 2, inner.len() as u8];
        out.extend(inner);
        out
    };
    let request = nest(nest(nest(span, 2), 2), 1);
    assert_eq!(
        protobuf_to_json(Signal::Traces, &request).unwrap(),
        r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"second","attributes":[{"key":"a"},{"key":"b"}],"status":{"message":"m","code":2}}]}]}]}"#
    );
}

#[test]
fn of_alternatives_the_last_one_wins() {
    assert_eq!(
        value(r#"{"stringValue":"x","intValue":1}"#).unwrap(),
        Some(Value::IntValue(1))
    );
    // The same on the way out: string, then int.
    let any = [0x0a, 1, b'x', 0x18, 1];
    let mut attribute = vec![0x12, any.len() as u8];
    attribute.extend(any);
    let mut bytes = attribute;
    for number in [9u8, 2, 2, 1] {
        let mut outer = vec![number << 3 | 2, bytes.len() as u8];
        outer.extend(bytes);
        bytes = outer;
    }
    let json = protobuf_to_json(Signal::Traces, &bytes).unwrap();
    assert!(json.contains(r#""value":{"intValue":"1"}"#), "{json}");
    assert!(!json.contains("stringValue"), "{json}");
}

#[test]
fn numbers_are_taken_in_every_spelling_and_never_narrowed() {
    assert_eq!(
        value(r#"{"intValue":"9223372036854775807"}"#).unwrap(),
        Some(Value::IntValue(i64::MAX))
    );
    assert_eq!(
        value(r#"{"intValue":"5.0"}"#).unwrap(),
        Some(Value::IntValue(5))
    );
    assert_eq!(
        value(r#"{"intValue":-1e3}"#).unwrap(),
        Some(Value::IntValue(-1000))
    );
    for refused in [
        "5.5",
        "9223372036854775808",
        "\"1e40\"",
        "\"\"",
        "\"x\"",
        "true",
        "[1]",
        "1e400",
    ] {
        assert!(
            value(&format!("{{\"intValue\":{refused}}}")).is_err(),
            "{refused}"
        );
    }
    assert_eq!(
        span(r#""startTimeUnixNano":18446744073709551615"#)
            .unwrap()
            .start_time_unix_nano,
        u64::MAX
    );
    assert!(span(r#""startTimeUnixNano":-1"#).is_err());
    assert!(span(r#""flags":4294967296"#).is_err());
    assert!(value(r#"{"doubleValue":"inf"}"#).is_err());
    assert_eq!(
        value(r#"{"doubleValue":"1e3"}"#).unwrap(),
        Some(Value::DoubleValue(1000.0))
    );
}

#[test]
fn ids_of_any_length_pass_but_only_as_hex() {
    assert_eq!(span(r#""traceId":"AbCd""#).unwrap().trace_id, [0xab, 0xcd]);
    assert_eq!(span(r#""traceId":"""#).unwrap().trace_id, Vec::<u8>::new());
    for refused in ["abc", "zz", "5b8e fff", "W47/95gDgQPSabYzgT/GDA=="] {
        let error = span(&format!("\"traceId\":\"{refused}\"")).unwrap_err();
        assert!(error.reason.contains("id"), "{error}");
        assert_eq!(
            error.path,
            "resourceSpans[0].scopeSpans[0].spans[0].traceId"
        );
    }
}
