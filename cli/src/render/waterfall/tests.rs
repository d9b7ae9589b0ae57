#![allow(clippy::unwrap_used)]

use case::model::{Attributes, Origin, Resource, Value};
use case::{SpanId, TraceId};

use super::*;

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

fn origin(service: &str) -> Origin {
    let mut resource = Resource::default();
    resource.attributes.push("service.name", text(service));
    Origin {
        resource: resource.into(),
        ..Origin::default()
    }
}

const MS: u64 = 1_000_000;
const BEGIN: u64 = 1_792_405_802_000_000_000;

fn span(
    id: u8,
    parent: u8,
    service: &str,
    name: &str,
    kind: SpanKind,
    from: u64,
    until: u64,
) -> Span {
    Span {
        origin: origin(service),
        trace_id: TraceId([0x4b; 16]),
        span_id: SpanId([0, 0, 0, 0, 0, 0, 0, id]),
        parent_span_id: SpanId([0, 0, 0, 0, 0, 0, 0, parent]),
        name: name.to_owned(),
        kind,
        start: Nanos(BEGIN + from * MS),
        end: Nanos(BEGIN + until * MS),
        ..Span::default()
    }
}

fn failing(code: (&str, Value), mut span: Span) -> Span {
    span.status = StatusCode::Error;
    span.attributes.push(code.0, code.1);
    span
}

/// A checkout that waits for a payment instance which is gone.
fn checkout() -> Vec<Span> {
    let mut refused = failing(
        ("rpc.response.status_code", text("UNAVAILABLE")),
        span(
            4,
            3,
            "order-management",
            "payments.v1.PaymentsService/ProcessPayment",
            SpanKind::Client,
            30,
            430,
        ),
    );
    refused.attributes.push("server.address", text("127.0.0.1"));
    refused.attributes.push("server.port", Value::Int(9200));
    refused
        .attributes
        .push("error.type", text("connection_refused"));
    vec![
        refused,
        failing(
            ("http.response.status_code", Value::Int(503)),
            span(
                1,
                0,
                "api-gateway",
                "POST /api/v1/checkout",
                SpanKind::Server,
                0,
                500,
            ),
        ),
        span(
            2,
            1,
            "api-gateway",
            "orders.v1.OrdersService/CreateOrder",
            SpanKind::Client,
            5,
            495,
        ),
        span(
            3,
            2,
            "order-management",
            "orders.v1.OrdersService/CreateOrder",
            SpanKind::Server,
            10,
            490,
        ),
        span(
            5,
            3,
            "order-management",
            "INSERT orders",
            SpanKind::Client,
            12,
            14,
        ),
        span(
            6,
            9,
            "notification",
            "process PaymentFailed",
            SpanKind::Consumer,
            440,
            480,
        ),
    ]
}

fn drawn(spans: &[Span], logs: &[LogRecord], width: usize) -> String {
    let mut out: String = Waterfall::new(spans.to_vec())
        .lines(logs, width)
        .iter()
        .map(|line| format!("{}\n", line.text().trim_end()))
        .collect();
    out.insert(0, '\n');
    out
}

#[test]
fn a_failed_checkout() {
    let log = LogRecord {
        origin: origin("order-management"),
        time: Nanos(BEGIN + 430 * MS),
        severity_number: 17,
        severity_text: "error".into(),
        body: text("upstream failed"),
        attributes: Attributes(vec![("upstream".into(), text("payment"))]),
        ..LogRecord::default()
    };
    let expected = include_str!("checkout.txt");
    assert_eq!(drawn(&checkout(), &[log], 120), format!("\n{expected}"));
}

#[test]
fn any_order_draws_the_same() {
    let spans = checkout();
    let mut reversed = spans.clone();
    reversed.reverse();
    assert_eq!(drawn(&spans, &[], 100), drawn(&reversed, &[], 100));
}

#[test]
fn hostile_names_and_odd_widths_stay_inside() {
    let mut spans = checkout();
    spans[1].name = format!("\x1b[2J\u{202e}{}", "支".repeat(500));
    spans[2].origin = origin("");
    spans[3].end = Nanos(0);
    spans[4].start = Nanos(u64::MAX);
    spans[4].end = Nanos(u64::MAX);
    for width in [10, 60, 61, 80, 97, 120, 400] {
        for line in Waterfall::new(spans.clone()).lines(&[], width) {
            assert!(line.columns() <= width, "{width}: {}", line.text());
            assert!(!line.text().contains('\x1b'));
        }
    }
    assert_eq!(Waterfall::new(Vec::new()).lines(&[], 80).len(), 3);
}

#[test]
fn deep_traces_keep_their_text() {
    let spans: Vec<Span> = (1..=60u8)
        .map(|i| {
            span(
                i,
                i - 1,
                "svc",
                "op",
                SpanKind::Internal,
                u64::from(i),
                200 - u64::from(i),
            )
        })
        .collect();
    let text = drawn(&spans, &[], 100);
    assert!(text.contains("+47 svc"), "{text}");
    let waterfall = Waterfall::new(spans.clone());
    assert_eq!(waterfall.critical_time(59), 80 * MS);
    assert_eq!(waterfall.duration(), 198 * MS);
}
