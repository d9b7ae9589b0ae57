//! A small case read through every view: two checkouts, one of whose payments is refused by an instance that has left the
//! registry.

#![allow(clippy::unwrap_used)]

use case::filter::SpanFilter;
use case::model::StatusCode;
use case::{CaseWriter, Signal, WriterOptions};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;

use super::*;
use crate::output::Line;
use crate::reading::Reading;
use crate::render;

const MS: u64 = 1_000_000;
/// 2026-09-21T13:46:40Z.
const BEGIN: u64 = 1_790_000_000_000_000_000;

fn pair(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(any_value::Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}

#[allow(clippy::too_many_arguments)]
fn span(
    trace: u8,
    id: u8,
    parent: u8,
    kind: i32,
    name: &str,
    from: u64,
    until: u64,
    pairs: &[(&str, &str)],
) -> Span {
    let failed = pairs.iter().any(|(key, _)| *key == "error.type");
    Span {
        trace_id: vec![trace; 16],
        span_id: vec![trace, 0, 0, 0, 0, 0, 0, id],
        parent_span_id: match parent {
            0 => Vec::new(),
            parent => vec![trace, 0, 0, 0, 0, 0, 0, parent],
        },
        name: name.to_owned(),
        kind,
        start_time_unix_nano: BEGIN + from * MS,
        end_time_unix_nano: BEGIN + until * MS,
        attributes: pairs.iter().map(|(key, value)| pair(key, value)).collect(),
        status: failed.then(|| Status {
            code: i32::from(StatusCode::Error.number()),
            message: String::new(),
        }),
        ..Span::default()
    }
}

fn of(service: &str, instance: &str, spans: Vec<Span>) -> ResourceSpans {
    ResourceSpans {
        resource: Some(Resource {
            attributes: vec![
                pair("service.name", service),
                pair("service.instance.id", instance),
                pair("service.version", "1.0.0"),
            ],
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans {
            spans,
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    }
}

fn spans() -> ExportTraceServiceRequest {
    let one = [("server.address", "10.0.0.1"), ("server.port", "1")];
    let two = [
        ("server.address", "10.0.0.2"),
        ("server.port", "2"),
        ("error.type", "CONNECTION_REFUSED"),
    ];
    let store = [("db.system.name", "sqlite"), ("db.namespace", "payment")];
    ExportTraceServiceRequest {
        resource_spans: vec![
            of(
                "checkout",
                "checkout-1",
                vec![
                    span(1, 1, 0, 2, "POST /checkout", 0, 100, &[]),
                    span(1, 2, 1, 3, "Pay/Charge", 10, 90, &one),
                    span(
                        2,
                        1,
                        0,
                        2,
                        "POST /checkout",
                        20_000,
                        20_050,
                        &[("error.type", "502")],
                    ),
                    span(2, 2, 1, 3, "Pay/Charge", 20_010, 20_040, &two),
                ],
            ),
            of(
                "payment",
                "payment-1",
                vec![
                    span(1, 3, 2, 2, "Pay/Charge", 20, 80, &one),
                    span(1, 4, 3, 3, "INSERT payments", 30, 40, &store),
                ],
            ),
        ],
    }
}

fn registry() -> String {
    let event = |at: u64, seq: u64, kind: &str, id: &str, name: &str, address: &str| {
        format!(
            r#"{{"at":{},"registry":"http://r","seq":{seq},"kind":"{kind}","id":"{id}","name":"{name}","address":"{address}"}}"#,
            BEGIN + at * MS
        )
    };
    [
        event(0, 1, "registered", "checkout-1", "checkout", "10.0.0.9:9"),
        event(0, 2, "registered", "payment-1", "payment", "10.0.0.1:1"),
        event(0, 3, "registered", "payment-2", "payment", "10.0.0.2:2"),
        event(10_000, 4, "expired", "payment-2", "payment", "10.0.0.2:2"),
    ]
    .join("\n")
}

fn probes() -> String {
    format!(
        r#"{{"at":{},"instance":"payment-2","service":"payment","address":"10.0.0.2:2","check":"caches","ok":false,"duration_nano":5,"error":"refused","raw":{{"cached_by":[{{"caller":"checkout-1","age_ms":71000}}]}}}}"#,
        BEGIN + 19_000 * MS
    )
}

fn journal() -> String {
    let row = |at: u64, kind: &str, seq: Option<u64>, fields: &str| {
        let seq = seq.map_or(String::new(), |seq| format!(r#""seq":{seq},"#));
        format!(
            r#"{{"at":{at},"seen_at":{at},"source":"s","kind":"{kind}",{seq}"saga_id":"sg_1","order_id":"ord_1","trace_id":"{}","fields":{fields}}}"#,
            "01".repeat(16),
            at = BEGIN + at * MS,
        )
    };
    [
        row(5, "started", Some(1), r#"{"kind":"started"}"#),
        row(6, "step", None, r#"{"ordinal":1,"step_id":"sg_1-1","step_name":"process_payment","service_name":"payment","status":"completed","retry_count":0}"#),
        row(10, "step_intent", Some(2), r#"{"step_id":"sg_1-1","attempt":1}"#),
        row(90, "step_result", Some(3), r#"{"step_id":"sg_1-1","attempt":1,"outcome":"ok"}"#),
        row(95, "saga", None, r#"{"status":"completed","model":"shopflow","created_at":"2026-09-21T13:46:40.005000000Z","current_state":"completed"}"#),
    ]
    .join("\n")
}

fn ledger() -> String {
    format!(
        r#"{{"at":{},"source":"s","ledger":"payments","key":"pay_1","order_id":"ord_1","fields":{{"status":"COMPLETED","amount_cents":129900,"refund_cents":0}}}}"#,
        BEGIN + 100 * MS
    )
}

fn reading() -> (tempfile::TempDir, Reading) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.case");
    let writer = CaseWriter::open(&path, WriterOptions::default()).unwrap();
    let spans = spans().encode_to_vec();
    for (signal, payload) in [
        (Signal::Traces, spans),
        (Signal::RegistryEvents, registry().into_bytes()),
        (Signal::Probes, probes().into_bytes()),
        (Signal::Journal, journal().into_bytes()),
        (Signal::Ledger, ledger().into_bytes()),
    ] {
        writer.append(signal, payload.into()).unwrap();
    }
    writer.close().unwrap();
    let reading = Reading::at(&path, Window::ALL).unwrap();
    (folder, reading)
}

fn texts(lines: &[Line]) -> Vec<String> {
    lines
        .iter()
        .map(|line| line.text().trim_end().to_owned())
        .collect()
}

#[test]
fn the_map_places_a_refused_call_by_the_registry() {
    let (_folder, reading) = reading();
    let all = SpanFilter::parse("").unwrap();
    let map = super::map(&reading.case, Window::ALL, &all)
        .unwrap()
        .settle(10);
    let edge = map
        .out_of("checkout")
        .find(|edge| edge.to == "payment")
        .unwrap();
    assert_eq!(
        (edge.red.stats.requests, edge.red.stats.errors, edge.unseen),
        (2, 1, 1)
    );
    let text = texts(&render::map::lines(&map, None, None, 200)).join("\n");
    assert!(
        text.contains("1 call left no span there CONNECTION_REFUSED ×1"),
        "{text}"
    );
    assert!(text.contains("⊟ sqlite payment"), "{text}");
    // A filter chooses whole traces.
    let failed = SpanFilter::parse("status:error").unwrap();
    let map = super::map(&reading.case, Window::ALL, &failed)
        .unwrap()
        .settle(10);
    assert_eq!(map.spans, 2);
}

#[test]
fn the_registry_is_shown_beside_reality() {
    let (_folder, reading) = reading();
    let roster = roster(&reading.case, Window::ALL).unwrap();
    let text = texts(&render::roster::table(
        &roster,
        roster.instances.iter(),
        200,
    ));
    let gone = &text[1];
    for part in [
        "payment-2",
        "draining",
        "refused",
        "gone, yet cached by checkout-1 (71.0s)",
    ] {
        assert!(gone.contains(part), "{part}: {gone}");
    }
    assert!(
        text.iter().skip(2).all(|line| !line.contains("yet cached")),
        "{text:?}"
    );
}

#[test]
fn a_saga_stands_beside_its_ledgers() {
    let (_folder, reading) = reading();
    let sagas = sagas(&reading.case, Window::ALL, true, Models::bundled()).unwrap();
    let text = texts(&render::saga::story(&sagas, &sagas.stories[0], 200)).join("\n");
    for part in [
        "sg_1  shopflow  order ord_1  completed",
        "process_payment",
        "pay_1 COMPLETED 1,299.00",
        "step_result  process_payment ok",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let object = crate::output::sagas::whole(&sagas, &sagas.stories[0]);
    assert_eq!(object["ledgers"]["payments"][0]["amount_cents"], 129_900);
    assert_eq!(object["journal"].as_array().unwrap().len(), 3);
}

#[test]
fn around_a_trace_stands_who_left_no_span() {
    use analyzers::gaps::GapKind;
    let (_folder, reading) = reading();
    let spans = reading.case.trace(TraceId([2; 16])).unwrap();
    let asked = AroundTrace {
        clocks: true,
        links: true,
    };
    let known = around_trace(&reading, &spans, asked).unwrap();
    assert_eq!(known.gaps.len(), 1);
    let gap = &known.gaps[0];
    assert_eq!(
        (gap.kind, gap.instance.as_str(), gap.leaves_spans),
        (GapKind::NeverReached, "payment-2", true)
    );
    assert!(known.clocks.unwrap().off().next().is_none());
    assert_eq!(known.linked, []);
    let whole = reading.case.trace(TraceId([1; 16])).unwrap();
    let known = around_trace(&reading, &whole, AroundTrace::default()).unwrap();
    assert_eq!(known.gaps, []);
}

#[test]
fn what_belongs_together_is_counted() {
    let (_folder, reading) = reading();
    let found = correlation(&reading.case, Window::ALL).unwrap();
    assert_eq!((found.journal.total, found.journal.with["a trace"]), (5, 5));
    assert_eq!((found.ledger.total, found.ledger.with["an order"]), (1, 1));
    assert_eq!(found.registry.without["its instance sent no spans"], 2);
}
