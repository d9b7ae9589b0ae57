//! A few minutes of a made-up shop in which something goes wrong: payment's instance leaves the registry and is called
//! on. Always the same signals.

use std::sync::Arc;

use analyzers::evidence::Signals;
use case::model::{
    Attributes, LogRecord, Origin, Resource, Span, SpanKind, SpanLink, StatusCode, Value,
};
use case::signal::{
    JournalRecord, LedgerRow, ProbeResult, RegistryEvent, RegistryInstance, RegistrySnapshot,
};
use case::{Nanos, SpanId, TraceId};
use serde_json::json;

pub(crate) const S: u64 = 1_000_000_000;
pub(crate) const BEGIN: u64 = 1_792_405_802 * S;
const PAYMENT: (&str, u16) = ("127.0.0.1", 9201);

fn at(millis: u64) -> Nanos {
    Nanos(BEGIN + millis * 1_000_000)
}

fn text(key: &str, value: &str) -> (String, Value) {
    (key.to_owned(), Value::Text(value.to_owned()))
}

/// Who sends: a service's first instance.
pub(crate) fn origin(service: &str) -> Origin {
    Origin {
        resource: Arc::new(Resource {
            attributes: Attributes(vec![
                text("service.name", service),
                text("service.instance.id", &format!("{service}-1")),
            ]),
            ..Resource::default()
        }),
        ..Origin::default()
    }
}

fn span(
    origin: &Origin,
    name: &str,
    kind: SpanKind,
    ids: (u64, u64, u64),
    (start, end): (u64, u64),
) -> Span {
    Span {
        origin: origin.clone(),
        trace_id: TraceId(u128::from(ids.0 + 1).to_be_bytes()),
        span_id: SpanId((ids.0 * 100 + ids.1).to_be_bytes()),
        parent_span_id: match ids.2 {
            0 => SpanId::NONE,
            parent => SpanId((ids.0 * 100 + parent).to_be_bytes()),
        },
        name: name.to_owned(),
        kind,
        start: at(start),
        end: at(end),
        flags: 1,
        ..Span::default()
    }
}

/// `number` checkouts, four a second; payment-1 leaves after half of them.
pub(crate) fn shop(number: u64) -> Signals {
    let mut signals = Signals::default();
    let gateway = origin("api-gateway");
    let orders = origin("order-management");
    let payment = origin("payment");
    let notification = origin("notification");
    for n in 0..number {
        let t = n * 250;
        let gone = n >= number / 2;
        let mut spans = vec![
            span(
                &gateway,
                "POST /api/v1/checkout",
                SpanKind::Server,
                (n, 1, 0),
                (t, t + 90),
            ),
            span(
                &gateway,
                "Orders/Create",
                SpanKind::Client,
                (n, 2, 1),
                (t + 5, t + 85),
            ),
            span(
                &orders,
                "Orders/Create",
                SpanKind::Server,
                (n, 3, 2),
                (t + 6, t + 84),
            ),
            span(
                &orders,
                "Payments/Pay",
                SpanKind::Client,
                (n, 4, 3),
                (t + 10, t + 80),
            ),
        ];
        let to = |span: &mut Span, (host, port): (&str, u16)| {
            span.attributes
                .push("server.address", Value::Text(host.to_owned()));
            span.attributes
                .push("server.port", Value::Int(i64::from(port)));
        };
        to(&mut spans[1], ("127.0.0.1", 9101));
        to(&mut spans[2], ("127.0.0.1", 9101));
        to(&mut spans[3], PAYMENT);
        if gone {
            for span in &mut spans {
                span.status = StatusCode::Error;
            }
            spans[3]
                .attributes
                .push("error.type", Value::Text("refused".to_owned()));
        } else {
            let mut served = span(
                &payment,
                "Payments/Pay",
                SpanKind::Server,
                (n, 5, 4),
                (t + 12, t + 78),
            );
            to(&mut served, PAYMENT);
            spans.push(served);
            let mut told = span(
                &notification,
                "process Paid",
                SpanKind::Consumer,
                (n + 10_000, 1, 0),
                (t + 95, t + 120),
            );
            told.links.push(SpanLink {
                trace_id: spans[0].trace_id,
                span_id: spans[2].span_id,
                ..SpanLink::default()
            });
            spans.push(told);
        }
        let order = format!("ord_{n:05}");
        spans[2]
            .attributes
            .push("shop.order.id", Value::Text(order.clone()));
        for span in spans.iter().filter(|span| span.kind == SpanKind::Server) {
            let failed = span.status == StatusCode::Error;
            signals.logs.push(LogRecord {
                origin: span.origin.clone(),
                time: span.end,
                observed: span.end,
                severity_number: if failed { 17 } else { 9 },
                severity_text: if failed { "ERROR" } else { "INFO" }.to_owned(),
                body: Value::Text(
                    if failed {
                        "request failed"
                    } else {
                        "request done"
                    }
                    .to_owned(),
                ),
                trace_id: span.trace_id,
                span_id: span.span_id,
                attributes: Attributes(vec![text("order_id", &order)]),
                ..LogRecord::default()
            });
        }
        signals.spans.extend(spans);
        for (kind, seq, when) in [
            ("started", 1, t + 6),
            ("step_intent", 2, t + 8),
            ("finished", 3, t + 84),
        ] {
            signals.journal.push(JournalRecord {
                at: at(when),
                seen_at: at(when + 5),
                source: "order-management-1".to_owned(),
                kind: kind.to_owned(),
                saga_id: format!("sg_{n:05}"),
                seq: Some(n * 3 + seq),
                order_id: Some(order.clone()),
                trace_id: None,
                fields: json!({"model": "shopflow", "step": "process_payment"}),
            });
        }
        signals.ledger.push(LedgerRow {
            at: at(t + 100),
            source: "order-management-1".to_owned(),
            ledger: "orders".to_owned(),
            key: order.clone(),
            order_id: Some(order),
            fields: json!({"status": if gone { "FAILED" } else { "CONFIRMED" }, "total_cents": 12_999}),
        });
    }
    registry(&mut signals, number * 250);
    signals
}

fn registry(signals: &mut Signals, end: u64) {
    let event = |millis: u64, seq: u64, kind: &str| RegistryEvent {
        at: at(millis),
        registry: "http://127.0.0.1:8081".to_owned(),
        seq,
        kind: kind.to_owned(),
        id: "payment-1".to_owned(),
        name: "payment".to_owned(),
        address: format!("{}:{}", PAYMENT.0, PAYMENT.1),
        reason: None,
    };
    signals.registry_events = vec![
        event(0, 1, "registered"),
        event(end / 2, 2, "expired"),
        event(end / 2, 3, "removed"),
    ];
    for millis in (0..end).step_by(5000) {
        let instances = if millis < end / 2 {
            vec!["payment-1"]
        } else {
            Vec::new()
        };
        signals.snapshots.push(RegistrySnapshot {
            at: at(millis),
            as_of: Some(at(millis)),
            registry: "http://127.0.0.1:8081".to_owned(),
            seq: Some(1),
            config: json!({"heartbeat_ms": 1500, "expire_after_ms": 2250}),
            instances: instances
                .into_iter()
                .map(|id| RegistryInstance {
                    id: id.to_owned(),
                    name: "payment".to_owned(),
                    address: format!("{}:{}", PAYMENT.0, PAYMENT.1),
                    status: "healthy".to_owned(),
                    last_seen: Some(at(millis)),
                    registered_at: Some(at(0)),
                    seq: Some(1),
                    health_path: Some("/health/ready".to_owned()),
                    metadata: Default::default(),
                })
                .collect(),
        });
        let gone = millis >= end / 2;
        signals.probes.push(ProbeResult {
            at: at(millis + 1),
            instance: Some("payment-1".to_owned()),
            service: Some("payment".to_owned()),
            address: format!("{}:{}", PAYMENT.0, PAYMENT.1),
            check: "ready".to_owned(),
            ok: !gone,
            status: (!gone).then_some(200),
            duration_nano: 1_000_000,
            error: gone.then(|| "refused".to_owned()),
            raw: serde_json::Value::Null,
        });
    }
}
