//! Exports against the captures, and out, in and out again through a real case.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod parquet;

use std::collections::HashSet;
use std::sync::Arc;

use ::case::model::{
    Attributes, Buckets, Exemplar, LogRecord, MetricPoint, Origin, PointData, Quantile, Resource,
    Scope, Span, SpanEvent, SpanKind, SpanLink, StatusCode, Temporality, Value,
};
use ::case::{Case, CaseWriter, Nanos, Signal, SpanId, TraceId, Window, WriterOptions};
use tempfile::TempDir;

use super::*;
use crate::import::{Input, Options, import};

/// A case of its own in a folder that goes with it.
struct Kept {
    folder: TempDir,
    imported: u64,
}

impl Kept {
    fn of(files: &[&[u8]]) -> Kept {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.case");
        let writer = CaseWriter::open(&path, WriterOptions::default()).unwrap();
        let mut imported = 0;
        for file in files {
            let input = Input::memory("f", file.to_vec());
            let mut sink = |signal, payload| writer.append(signal, payload);
            let report = import(input, &Options::default(), &mut sink, &mut |_| {}).unwrap();
            assert_eq!((report.bad.total, report.refused), (0, 0), "{report:?}");
            imported += report.items();
        }
        writer.close().unwrap();
        Kept { folder, imported }
    }

    fn open(&self) -> Case {
        Case::open(&self.folder.path().join("a.case")).unwrap()
    }

    fn export(&self, format: Format, selection: &Selection) -> (Vec<u8>, Report) {
        let mut out = Vec::new();
        let report = export(&self.open(), selection, format, &mut out, &mut |_| {}).unwrap();
        assert_eq!(report.bytes, out.len() as u64);
        (out, report)
    }
}

fn only(signal: Signal) -> Selection {
    Selection {
        signals: vec![signal],
        ..Selection::of(Window::ALL)
    }
}

const TRACE: &[u8] = include_bytes!("../../../tests/fixtures/otlp/example-trace.json");
const LOGS: &[u8] = include_bytes!("../../../tests/fixtures/otlp/example-logs.json");
const EVENTS: &[u8] = include_bytes!("../../../tests/fixtures/otlp/example-events.json");
const METRICS: &[u8] = include_bytes!("../../../tests/fixtures/otlp/example-metrics.json");
const DEMO: &[u8] = include_bytes!("../../../tests/fixtures/otlp/otel-tui-demo-excerpt.jsonl");
const PAIR_IN: &[u8] = include_bytes!("../../../tests/fixtures/jaeger/otlp2jaeger-in.json");
const PAIR_OUT: &[u8] = include_bytes!("../../../tests/fixtures/jaeger/otlp2jaeger-out.json");
const SKEW: &[u8] = include_bytes!("../../../tests/fixtures/zipkin/skew.json");
const MESSAGING: &[u8] = include_bytes!("../../../tests/fixtures/zipkin/messaging2.json");
const NEZHA: &[u8] = include_bytes!("../../../tests/fixtures/nezha/trace.csv");

#[test]
fn otlp_as_jaeger_matches_the_given_pair() {
    let (out, report) = Kept::of(&[PAIR_IN]).export(Format::Jaeger, &only(Signal::Traces));
    assert_eq!(report.spans, 2);
    let ours: serde_json::Value = serde_json::from_slice(&out).unwrap();
    let given: serde_json::Value = serde_json::from_slice(PAIR_OUT).unwrap();
    assert_eq!(ours, given);
}

/// Spans that use everything a span can say.
fn rich_spans() -> Vec<Span> {
    let attributes = Attributes(vec![
        ("text".into(), Value::Text("é \" \\ \n,".into())),
        ("int".into(), Value::Int(i64::MIN)),
        ("double".into(), Value::Double(0.1)),
        ("whole".into(), Value::Double(5.0)),
        ("nan".into(), Value::Double(f64::NAN)),
        ("bool".into(), Value::Bool(false)),
        ("bytes".into(), Value::Bytes(vec![0, 255])),
        (
            "list".into(),
            Value::Array(vec![Value::Int(1), Value::Text("b".into()), Value::Empty]),
        ),
        (
            "map".into(),
            Value::Map(Attributes(vec![
                ("z".into(), Value::Int(1)),
                ("a".into(), Value::Bool(true)),
            ])),
        ),
        ("empty".into(), Value::Empty),
    ]);
    let resource = |name: &str| {
        Arc::new(Resource {
            attributes: Attributes(vec![
                ("service.name".into(), Value::Text(name.into())),
                ("host.name".into(), Value::Text("h".into())),
            ]),
            dropped_attributes: 1,
            schema_url: "https://example.org/r".into(),
        })
    };
    let scope = Arc::new(Scope {
        name: "lib".into(),
        version: "1.2".into(),
        attributes: Attributes(vec![("s".into(), Value::Int(1))]),
        dropped_attributes: 2,
        schema_url: "https://example.org/s".into(),
    });
    let (a, b) = (resource("a"), resource("b"));
    let root = Span {
        origin: Origin {
            resource: a.clone(),
            scope: scope.clone(),
        },
        trace_id: TraceId([7; 16]),
        span_id: SpanId([1; 8]),
        trace_state: "k=v".into(),
        flags: 0x101,
        name: "GET /".into(),
        kind: SpanKind::Server,
        start: Nanos(1_700_000_000_000_000_001),
        end: Nanos(1_700_000_000_500_000_999),
        status: StatusCode::Error,
        status_message: "boom".into(),
        attributes: attributes.clone(),
        dropped_attributes: 3,
        events: vec![SpanEvent {
            at: Nanos(1_700_000_000_000_000_777),
            name: "retry".into(),
            attributes: Attributes(vec![("n".into(), Value::Int(2))]),
            dropped_attributes: 4,
        }],
        dropped_events: 5,
        links: vec![SpanLink {
            trace_id: TraceId([9; 16]),
            span_id: SpanId([9; 8]),
            trace_state: "l=m".into(),
            flags: 1,
            attributes: Attributes(vec![("why".into(), Value::Text("batch".into()))]),
            dropped_attributes: 6,
        }],
        dropped_links: 7,
        ..Span::default()
    };
    let mut spans = vec![root.clone()];
    for n in 2..200u8 {
        spans.push(Span {
            origin: Origin {
                resource: if n % 3 == 0 { a.clone() } else { b.clone() },
                scope: if n % 5 == 0 {
                    Arc::default()
                } else {
                    scope.clone()
                },
            },
            trace_id: TraceId([n % 4 + 1; 16]),
            span_id: SpanId([n; 8]),
            parent_span_id: SpanId([n / 2; 8]),
            // Many begin in the same nanosecond, and more in the same microsecond.
            start: Nanos(root.start.0 + u64::from(n / 8) * 100),
            end: Nanos(root.start.0 + u64::from(n) * 1_000),
            status: StatusCode::ALL[usize::from(n) % 3],
            kind: SpanKind::ALL[usize::from(n) % 6],
            links: Vec::new(),
            ..root.clone()
        });
    }
    spans
}

fn rich_points() -> Vec<MetricPoint> {
    let origin = rich_spans()[0].origin.clone();
    let data = [
        PointData::Gauge(Value::Double(f64::INFINITY)),
        PointData::Gauge(Value::Empty),
        PointData::Sum {
            value: Value::Int(-5),
            temporality: Temporality::Delta,
            monotonic: true,
        },
        PointData::Histogram {
            temporality: Temporality::Cumulative,
            count: 3,
            sum: Some(1.5),
            min: None,
            max: Some(1.0),
            bounds: vec![0.5, 1.0],
            counts: vec![1, 1, 1],
        },
        PointData::ExponentialHistogram {
            temporality: Temporality::Delta,
            count: 4,
            sum: None,
            min: Some(0.0),
            max: None,
            scale: -3,
            zero_count: 1,
            zero_threshold: 0.25,
            positive: Buckets {
                offset: -2,
                counts: vec![1, 0, 2],
            },
            negative: Buckets::default(),
        },
        PointData::Summary {
            count: 2,
            sum: 3.0,
            quantiles: vec![Quantile {
                quantile: 0.5,
                value: 1.5,
            }],
        },
    ];
    data.into_iter()
        .enumerate()
        .flat_map(|(n, data)| {
            let origin = origin.clone();
            (0..3u64).map(move |at| MetricPoint {
                origin: origin.clone(),
                name: format!("metric.{n}"),
                description: "what it is".into(),
                unit: "By".into(),
                metadata: Attributes(vec![("m".into(), Value::Bool(true))]),
                attributes: Attributes(vec![("k".into(), Value::Int(at as i64))]),
                start: Nanos(1_000),
                at: Nanos(2_000 + at / 2),
                flags: 1,
                // A summary has no exemplars.
                exemplars: if n == 5 {
                    Vec::new()
                } else {
                    vec![Exemplar {
                        at: Nanos(1_500),
                        value: Value::Double(0.5),
                        trace_id: TraceId([7; 16]),
                        span_id: SpanId([1; 8]),
                        attributes: Attributes(vec![("e".into(), Value::Int(1))]),
                    }]
                },
                data: data.clone(),
            })
        })
        .collect()
}

fn rich_logs() -> Vec<LogRecord> {
    let spans = rich_spans();
    (0..30u64)
        .map(|n| LogRecord {
            origin: spans[n as usize].origin.clone(),
            time: Nanos(if n % 7 == 0 { 0 } else { 5_000 + n / 4 }),
            observed: Nanos(6_000),
            severity_number: 9,
            severity_text: "INFO".into(),
            body: match n % 3 {
                0 => Value::Text(format!("line {n},\n\"quoted\"")),
                1 => Value::Map(Attributes(vec![
                    ("b".into(), Value::Int(1)),
                    ("a".into(), Value::Empty),
                ])),
                _ => Value::Empty,
            },
            trace_id: if n % 2 == 0 {
                TraceId([7; 16])
            } else {
                TraceId::NONE
            },
            span_id: if n % 2 == 0 {
                SpanId([1; 8])
            } else {
                SpanId::NONE
            },
            flags: 1,
            event_name: "e".into(),
            attributes: spans[0].attributes.clone(),
            dropped_attributes: 2,
        })
        .collect()
}

/// A case of rows that use everything OTLP can say, and of the captures.
fn rich() -> Kept {
    let mut stream = Vec::new();
    for payload in [
        otlp::encode_spans(rich_spans()),
        otlp::encode_logs(rich_logs()),
        otlp::encode_metrics(rich_points()),
    ] {
        length_prefixed(&payload, &mut stream).unwrap();
    }
    Kept::of(&[
        &stream, TRACE, LOGS, EVENTS, METRICS, DEMO, SKEW, MESSAGING, NEZHA,
    ])
}

#[test]
fn otlp_goes_out_in_and_out_again_byte_for_byte() {
    let first = rich();
    for format in [Format::OtlpJson, Format::OtlpProtobuf] {
        let all = Selection::of(Window::ALL);
        let (out, report) = first.export(format, &all);
        assert_eq!(report.spans + report.logs + report.points, first.imported);
        let second = Kept::of(&[&out]);
        let (again, second_report) = second.export(format, &all);
        assert_eq!(second_report, report);
        assert!(out == again, "{} differs", format.name());
    }
}

#[test]
fn both_otlp_formats_say_the_same() {
    let first = rich();
    let all = Selection::of(Window::ALL);
    let (json, _) = first.export(Format::OtlpJson, &all);
    let (protobuf, _) = first.export(Format::OtlpProtobuf, &all);
    let (from_protobuf, _) = Kept::of(&[&protobuf]).export(Format::OtlpJson, &all);
    assert!(json == from_protobuf);
}

#[test]
fn nothing_of_a_row_is_lost_on_the_way_through_otlp() {
    let mut stream = Vec::new();
    length_prefixed(&otlp::encode_spans(rich_spans()), &mut stream).unwrap();
    let (out, _) = Kept::of(&[&stream]).export(Format::OtlpProtobuf, &only(Signal::Traces));
    let case = Kept::of(&[&out]).open_rows();
    let mut expected = rich_spans();
    expected.sort_by_key(|span| (span.start, span.trace_id, span.span_id));
    // NaN is not itself; its text is.
    assert_eq!(format!("{case:?}"), format!("{expected:?}"));
}

impl Kept {
    fn open_rows(&self) -> Vec<Span> {
        let mut spans = Vec::new();
        order::spans(&self.open(), &only(Signal::Traces), &mut |span| {
            spans.push(span);
            Ok(())
        })
        .unwrap();
        spans
    }
}

#[test]
fn jaeger_and_csv_go_out_in_and_out_again_as_far_as_they_carry() {
    let first = rich();
    for (format, signal) in [
        (Format::Jaeger, Signal::Traces),
        (Format::Csv, Signal::Traces),
        (Format::Csv, Signal::Logs),
        (Format::Csv, Signal::Metrics),
    ] {
        let (out, report) = first.export(format, &only(signal));
        let second = Kept::of(&[&out]);
        let (again, second_report) = second.export(format, &only(signal));
        assert_eq!(second_report, report, "{} {}", format.name(), signal.name());
        assert!(
            out == again,
            "{} {} differs:\n{}\n{}",
            format.name(),
            signal.name(),
            first_difference(&out, &again).0,
            first_difference(&out, &again).1
        );
    }
}

fn first_difference(a: &[u8], b: &[u8]) -> (String, String) {
    let at = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let cut = |bytes: &[u8]| {
        let from = at.saturating_sub(80);
        String::from_utf8_lossy(&bytes[from.min(bytes.len())..(at + 80).min(bytes.len())])
            .into_owned()
    };
    (cut(a), cut(b))
}

/// Rows in memory, shown in the given order.
struct Memory(Vec<Span>);

impl Rows for Memory {
    fn spans(
        &self,
        window: Window,
        each: &mut dyn FnMut(Span) -> std::ops::ControlFlow<()>,
    ) -> Result<(), CaseError> {
        for span in &self.0 {
            if window.contains(span.start) && each(span.clone()).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn logs(
        &self,
        _: Window,
        _: &mut dyn FnMut(LogRecord) -> std::ops::ControlFlow<()>,
    ) -> Result<(), CaseError> {
        Ok(())
    }

    fn metrics(
        &self,
        _: Window,
        _: &mut dyn FnMut(MetricPoint) -> std::ops::ControlFlow<()>,
    ) -> Result<(), CaseError> {
        Ok(())
    }
}

#[test]
fn the_order_in_which_a_case_shows_rows_changes_nothing() {
    let spans = rich_spans();
    let mut turned = spans.clone();
    turned.reverse();
    turned.rotate_left(17);
    for format in [Format::OtlpJson, Format::Jaeger, Format::Csv] {
        let bytes = |spans: &[Span]| {
            let mut out = Vec::new();
            export(
                &Memory(spans.to_vec()),
                &only(Signal::Traces),
                format,
                &mut out,
                &mut |_| {},
            )
            .unwrap();
            out
        };
        assert!(bytes(&spans) == bytes(&turned), "{}", format.name());
    }
}

#[test]
fn more_rows_than_a_slice_holds_come_out_once_and_in_order() {
    let spans: Vec<Span> = (0..250_000u64)
        .map(|n| Span {
            trace_id: TraceId([1; 16]),
            span_id: SpanId((n + 1).to_be_bytes()),
            // Falling times, and runs of equal ones.
            start: Nanos((250_000 - n) / 3),
            ..Span::default()
        })
        .collect();
    let mut seen = Vec::new();
    order::spans(&Memory(spans), &only(Signal::Traces), &mut |span| {
        seen.push((span.start, span.span_id));
        Ok(())
    })
    .unwrap();
    assert_eq!(seen.len(), 250_000);
    assert!(seen.is_sorted());
}

#[test]
fn a_window_and_a_choice_of_traces_limit_what_goes_out() {
    let kept = rich();
    let from = Nanos(1_700_000_000_000_000_500);
    let window = Window {
        from,
        until: Nanos(1_700_000_000_000_001_000),
    };
    let (_, report) = kept.export(
        Format::OtlpJson,
        &Selection {
            window,
            ..only(Signal::Traces)
        },
    );
    let expected = rich_spans()
        .iter()
        .filter(|span| window.contains(span.start))
        .count();
    assert!(expected > 0);
    assert_eq!(report.spans, expected as u64);

    let (_, report) = kept.export(
        Format::OtlpJson,
        &Selection {
            traces: Some(HashSet::from([TraceId([7; 16])])),
            ..Selection::of(window)
        },
    );
    assert_eq!((report.spans, report.logs, report.points), (1, 15, 0));
    assert_eq!(report.left_out, ["metrics: they belong to no trace"]);
}

#[test]
fn what_a_format_can_not_hold_is_said() {
    let kept = Kept::of(&[TRACE]);
    let (_, report) = kept.export(Format::Jaeger, &Selection::of(Window::ALL));
    assert_eq!(report.left_out.len(), 2);
    let refused = export(
        &kept.open(),
        &Selection::of(Window::ALL),
        Format::Csv,
        &mut Vec::new(),
        &mut |_| {},
    )
    .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "a CSV file holds one signal, and 3 were asked for"
    );
    assert!(refused.hint().unwrap().contains("--signal"));
}

#[test]
fn a_full_disk_is_an_error() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let kept = Kept::of(&[TRACE]);
    for format in Format::ALL {
        let failed = export(
            &kept.open(),
            &only(Signal::Traces),
            format,
            &mut Full,
            &mut |_| {},
        );
        assert!(
            matches!(failed, Err(ExportError::Write(_))),
            "{}",
            format.name()
        );
    }
}
