//! Requests for tests: every field of every signal, and a shop's traffic in any amount.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

pub mod kit;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value::Value,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary,
    SummaryDataPoint, exemplar, exponential_histogram_data_point::Buckets, metric::Data,
    number_data_point, summary_data_point::ValueAtQuantile,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{
    ResourceSpans, ScopeSpans, Span, Status,
    span::{Event, Link},
};
use prost::Message;

pub fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..Default::default()
    }
}

pub fn text(key: &str, value: &str) -> KeyValue {
    pair(key, Value::StringValue(value.to_owned()))
}

fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

/// One attribute of every kind, some of them awkward.
pub fn every_kind() -> Vec<KeyValue> {
    vec![
        text("text", "grüße \u{1b}[31m"),
        text("", ""),
        pair("int", Value::IntValue(i64::MIN)),
        pair("double", Value::DoubleValue(0.1 + 0.2)),
        pair("tiny", Value::DoubleValue(5e-324)),
        pair("large", Value::DoubleValue(-1.797e308)),
        pair("infinite", Value::DoubleValue(f64::NEG_INFINITY)),
        pair("bool", Value::BoolValue(true)),
        pair("bytes", Value::BytesValue(vec![0, 255, 7, 3])),
        pair("text", Value::StringValue("the key again".to_owned())),
        KeyValue {
            key: "empty".to_owned(),
            value: None,
            ..Default::default()
        },
        pair(
            "list",
            Value::ArrayValue(ArrayValue {
                values: vec![
                    any(Value::IntValue(9_007_199_254_740_993)),
                    any(Value::StringValue("\"quoted\"\n".to_owned())),
                    AnyValue { value: None },
                    any(Value::DoubleValue(1e-7)),
                    any(Value::ArrayValue(ArrayValue { values: vec![] })),
                ],
            }),
        ),
        pair(
            "map",
            Value::KvlistValue(KeyValueList {
                values: vec![text("a", "b"), pair("n", Value::BoolValue(false))],
            }),
        ),
    ]
}

fn resource(service: &str) -> Resource {
    Resource {
        attributes: vec![
            text("service.name", service),
            text("service.instance.id", &format!("{service}-1")),
            pair("process.pid", Value::IntValue(4_711)),
        ],
        dropped_attributes_count: 2,
        ..Default::default()
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "tests".to_owned(),
        version: "1.2.3".to_owned(),
        attributes: vec![text("scope.kind", "by hand")],
        dropped_attributes_count: 1,
    }
}

pub fn id16(n: u64) -> Vec<u8> {
    let mut x = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut out = Vec::new();
    for _ in 0..2 {
        x ^= x >> 29;
        x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        out.extend_from_slice(&(x | 1).to_be_bytes());
    }
    out
}

pub fn id8(n: u64) -> Vec<u8> {
    id16(n ^ 0x5555_0000_0000)[..8].to_vec()
}

pub const T0: u64 = 1_790_000_000_000_000_000;

pub fn traces(resource_spans: Vec<ResourceSpans>) -> Bytes {
    Bytes::from(ExportTraceServiceRequest { resource_spans }.encode_to_vec())
}

pub fn under(service: &str, spans: Vec<Span>) -> ResourceSpans {
    ResourceSpans {
        resource: Some(resource(service)),
        scope_spans: vec![ScopeSpans {
            scope: Some(scope()),
            spans,
            schema_url: "https://opentelemetry.io/schemas/1.44.0".to_owned(),
        }],
        schema_url: "urn:resource".to_owned(),
    }
}

/// Spans that use every field, among them times at both ends of what fits.
pub fn awkward_spans() -> Bytes {
    let full = Span {
        trace_id: id16(1),
        span_id: id8(1),
        trace_state: "a=b,c=d".to_owned(),
        parent_span_id: id8(2),
        flags: 0x301,
        name: "POST /checkout".to_owned(),
        kind: 3,
        start_time_unix_nano: T0,
        end_time_unix_nano: T0 + 1_234_567,
        attributes: every_kind(),
        dropped_attributes_count: 3,
        events: vec![
            Event {
                time_unix_nano: T0 + 5,
                name: "exception".to_owned(),
                attributes: every_kind(),
                dropped_attributes_count: 4,
            },
            Event {
                time_unix_nano: T0 + 6,
                name: "bare".to_owned(),
                attributes: vec![],
                dropped_attributes_count: 0,
            },
        ],
        dropped_events_count: 5,
        links: vec![
            Link {
                trace_id: id16(9),
                span_id: id8(9),
                trace_state: "x=y".to_owned(),
                attributes: vec![text("why", "queue")],
                dropped_attributes_count: 6,
                flags: 0x100,
            },
            Link::default(),
        ],
        dropped_links_count: 7,
        status: Some(Status {
            message: "refused".to_owned(),
            code: 2,
        }),
    };
    let bare = |n: u64, start: u64, end: u64| Span {
        trace_id: id16(n),
        span_id: id8(n + 100),
        start_time_unix_nano: start,
        end_time_unix_nano: end,
        ..Span::default()
    };
    traces(vec![
        under(
            "checkout",
            vec![full, bare(1, T0 + 9, T0 + 3), bare(2, 0, 0)],
        ),
        under(
            "payment",
            vec![bare(3, u64::MAX - 1, u64::MAX), bare(4, T0, 0)],
        ),
        ResourceSpans {
            resource: None,
            scope_spans: vec![ScopeSpans {
                scope: None,
                spans: vec![bare(5, T0 + 77, T0 + 78)],
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        },
    ])
}

pub fn logs() -> Bytes {
    let record = |n: u64, body: Option<AnyValue>| LogRecord {
        time_unix_nano: T0 + n,
        observed_time_unix_nano: T0 + n + 1,
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        body,
        attributes: every_kind(),
        dropped_attributes_count: 1,
        flags: 1,
        trace_id: id16(1),
        span_id: id8(1),
        event_name: "order.placed".to_owned(),
    };
    let records = vec![
        record(3, Some(any(Value::StringValue("order placed".to_owned())))),
        record(1, Some(any(Value::IntValue(7)))),
        record(
            2,
            Some(any(Value::KvlistValue(KeyValueList {
                values: every_kind(),
            }))),
        ),
        record(4, None),
        LogRecord {
            observed_time_unix_nano: T0 + 2,
            ..LogRecord::default()
        },
    ];
    Bytes::from(
        ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs {
                resource: Some(resource("checkout")),
                scope_logs: vec![ScopeLogs {
                    scope: Some(scope()),
                    log_records: records,
                    schema_url: String::new(),
                }],
                schema_url: String::new(),
            }],
        }
        .encode_to_vec(),
    )
}

pub fn metrics() -> Bytes {
    let exemplar = |value| Exemplar {
        filtered_attributes: vec![text("k", "v")],
        time_unix_nano: T0 + 1,
        span_id: id8(1),
        trace_id: id16(1),
        value: Some(value),
    };
    let number = |n: u64, value| NumberDataPoint {
        attributes: every_kind(),
        start_time_unix_nano: T0,
        time_unix_nano: T0 + n,
        exemplars: vec![
            exemplar(exemplar::Value::AsInt(i64::MAX)),
            exemplar(exemplar::Value::AsDouble(0.25)),
        ],
        flags: 1,
        value,
    };
    let numbers = || {
        vec![
            number(
                1,
                Some(number_data_point::Value::AsInt(9_007_199_254_740_993)),
            ),
            number(2, Some(number_data_point::Value::AsDouble(-0.0))),
            number(3, None),
        ]
    };
    let metric = |name: &str, data| Metric {
        name: name.to_owned(),
        description: "what it counts".to_owned(),
        unit: "{item}".to_owned(),
        metadata: vec![text("meta", "data")],
        data: Some(data),
    };
    let all = vec![
        metric(
            "gauge",
            Data::Gauge(Gauge {
                data_points: numbers(),
            }),
        ),
        metric(
            "sum",
            Data::Sum(Sum {
                data_points: numbers(),
                aggregation_temporality: 2,
                is_monotonic: true,
            }),
        ),
        metric(
            "histogram",
            Data::Histogram(Histogram {
                data_points: vec![
                    HistogramDataPoint {
                        attributes: vec![],
                        start_time_unix_nano: T0,
                        time_unix_nano: T0 + 9,
                        count: 6,
                        sum: Some(1.5),
                        bucket_counts: vec![1, 2, 3],
                        explicit_bounds: vec![0.1, 0.5],
                        exemplars: vec![exemplar(exemplar::Value::AsDouble(0.3))],
                        flags: 0,
                        min: Some(0.01),
                        max: None,
                    },
                    HistogramDataPoint {
                        time_unix_nano: T0 + 10,
                        ..Default::default()
                    },
                ],
                aggregation_temporality: 1,
            }),
        ),
        metric(
            "exponential",
            Data::ExponentialHistogram(ExponentialHistogram {
                data_points: vec![ExponentialHistogramDataPoint {
                    attributes: vec![text("a", "b")],
                    start_time_unix_nano: T0,
                    time_unix_nano: T0 + 11,
                    count: 9,
                    sum: None,
                    scale: -3,
                    zero_count: 2,
                    positive: Some(Buckets {
                        offset: -7,
                        bucket_counts: vec![1, 0, 300],
                    }),
                    negative: Some(Buckets {
                        offset: 4,
                        bucket_counts: vec![5],
                    }),
                    flags: 0,
                    exemplars: vec![],
                    min: Some(f64::NEG_INFINITY),
                    max: Some(f64::INFINITY),
                    zero_threshold: 1e-9,
                }],
                aggregation_temporality: 2,
            }),
        ),
        metric(
            "summary",
            Data::Summary(Summary {
                data_points: vec![SummaryDataPoint {
                    attributes: vec![],
                    start_time_unix_nano: 0,
                    time_unix_nano: T0 + 12,
                    count: 3,
                    sum: 4.5,
                    quantile_values: vec![
                        ValueAtQuantile {
                            quantile: 0.5,
                            value: 1.0,
                        },
                        ValueAtQuantile {
                            quantile: 0.99,
                            value: 2.0,
                        },
                    ],
                    flags: 0,
                }],
            }),
        ),
    ];
    Bytes::from(
        ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(resource("checkout")),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(scope()),
                    metrics: all,
                    schema_url: String::new(),
                }],
                schema_url: String::new(),
            }],
        }
        .encode_to_vec(),
    )
}

/// `count` requests of `spans` spans each; no two alike.
pub fn traffic(count: u64, spans: u64) -> impl Iterator<Item = Bytes> {
    (0..count).map(move |number| request(number, spans))
}

/// Request `number` of such traffic.
pub fn request(number: u64, spans: u64) -> Bytes {
    let from = number * spans;
    let spans = (from..from + spans)
        .map(|n| Span {
            trace_id: id16(n / 8),
            span_id: id8(n),
            parent_span_id: if n % 8 == 0 { vec![] } else { id8(n - 1) },
            name: format!("operation {}", n % 17),
            kind: (n % 6) as i32,
            start_time_unix_nano: T0 + n * 1_000,
            end_time_unix_nano: T0 + n * 1_000 + n % 977 * 1_000,
            attributes: vec![
                text("http.route", "/api/v1/checkout"),
                pair(
                    "http.response.status_code",
                    Value::IntValue(200 + (n % 3) as i64),
                ),
                text("order.id", &format!("ord_{n:012}")),
            ],
            status: Some(Status {
                message: String::new(),
                code: if n % 50 == 0 { 2 } else { 0 },
            }),
            ..Span::default()
        })
        .collect();
    let service = ["checkout", "payment", "inventory"][number as usize % 3];
    traces(vec![under(service, spans)])
}
