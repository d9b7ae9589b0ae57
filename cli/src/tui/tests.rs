//! The real workbench on a real case: keys in, screen out.

#![allow(clippy::unwrap_used)]

use case::{CaseWriter, Signal, WriterOptions};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

const MS: u64 = 1_000_000;
const BEGIN: u64 = 1_792_405_802_000_000_000;

fn pair(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value.to_owned())),
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
    failed: bool,
) -> Span {
    Span {
        trace_id: vec![trace; 16],
        span_id: vec![0, 0, 0, 0, 0, 0, trace, id],
        parent_span_id: if parent == 0 {
            Vec::new()
        } else {
            vec![0, 0, 0, 0, 0, 0, trace, parent]
        },
        name: name.to_owned(),
        kind,
        start_time_unix_nano: BEGIN + from * MS,
        end_time_unix_nano: BEGIN + until * MS,
        status: failed.then(|| Status {
            code: 2,
            message: "payment refused the connection".to_owned(),
        }),
        attributes: vec![
            pair("server.address", "127.0.0.1"),
            pair("server.port", "9200"),
        ],
        ..Span::default()
    }
}

fn of(service: &str, spans: Vec<Span>) -> ResourceSpans {
    ResourceSpans {
        resource: Some(Resource {
            attributes: vec![pair("service.name", service)],
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans {
            spans,
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    }
}

/// Ten checkouts, one of which fails at the payment.
fn case(folder: &std::path::Path) -> std::path::PathBuf {
    let path = folder.join("shop.case");
    let writer = CaseWriter::open(&path, WriterOptions::default()).unwrap();
    for trace in 1..=10u8 {
        let at = u64::from(trace) * 1000;
        let failed = trace == 7;
        let request = ExportTraceServiceRequest {
            resource_spans: vec![
                of(
                    "api-gateway",
                    vec![span(
                        trace,
                        1,
                        0,
                        2,
                        "POST /api/v1/checkout",
                        at,
                        at + 200,
                        failed,
                    )],
                ),
                of(
                    "order-management",
                    vec![
                        span(
                            trace,
                            2,
                            1,
                            2,
                            "orders.v1.OrdersService/CreateOrder",
                            at + 10,
                            at + 190,
                            false,
                        ),
                        span(
                            trace,
                            3,
                            2,
                            3,
                            "payments.v1.PaymentsService/ProcessPayment",
                            at + 20,
                            at + 150,
                            failed,
                        ),
                    ],
                ),
            ],
        };
        writer
            .append(Signal::Traces, request.encode_to_vec().into())
            .unwrap();
    }
    writer.close().unwrap();
    path
}

fn screen(keys: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let text = super::snapshot(&case(folder.path()), keys, 118, 24).unwrap();
    without_number_of_rules(&text)
}

/// A screen with the number of rules that could not tell taken out: rules come and go, the screens stay.
fn without_number_of_rules(text: &str) -> String {
    let (before, after) = ("nothing found, yet ", " could not be told");
    let Some((start, rest)) = text.split_once(before) else {
        return text.to_owned();
    };
    let (_, rest) = rest.split_once(after).unwrap();
    format!("{start}{before}N questions{after}{rest}")
}

#[test]
fn the_overview_shows_services_and_what_could_not_be_told() {
    assert_eq!(screen(""), include_str!("screens/overview.txt"));
}

#[test]
fn from_a_service_to_its_traces() {
    assert_eq!(screen("enter"), include_str!("screens/traces.txt"));
}

#[test]
fn from_a_filter_to_the_failed_span() {
    assert_eq!(
        screen("/ status:error enter enter e"),
        include_str!("screens/trace.txt")
    );
}

#[test]
fn a_filter_that_is_wrong_says_so_and_suggests() {
    let text = screen("/ servcie:x enter");
    assert!(
        text.contains("spans have no key \"servcie\"; did you mean service?"),
        "{text}"
    );
    let text = screen("/ service:paymnt enter");
    assert!(text.contains("no service \"paymnt\""), "{text}");
}

#[test]
fn the_same_keys_give_the_same_screen() {
    assert_eq!(screen("f"), screen("f"));
    assert!(screen("?").contains("traces with a span that a filter means"));
}

#[test]
fn lists_open_their_rows_and_close_them_again() {
    let map = screen("4");
    assert!(map.contains("▸ api-gateway"), "{map}");
    assert!(map.contains("(outside)"), "{map}");
    // From the list into a service and back, the selection kept.
    let node = screen("4 j enter");
    assert!(
        node.contains("orders.v1.OrdersService/CreateOrder"),
        "{node}"
    );
    assert_eq!(screen("4 j enter esc"), screen("4 j"));
    assert!(
        screen("5").contains("api-gateway"),
        "who serves is listed, registry or not"
    );
    let sagas = screen("6");
    assert!(sagas.contains("no journal was watched"), "{sagas}");
    assert_eq!(screen("6 enter"), sagas, "there is nothing to open");
}
