#![allow(clippy::unwrap_used)]

use case::model::{Attributes, Origin, Resource, Span, SpanKind, SpanLink, StatusCode, Value};
use case::{Nanos, SpanId, TraceId};

use super::*;
use crate::gaps::Directory;

struct Shop {
    spans: Vec<Span>,
    next: u64,
}

impl Shop {
    fn new() -> Shop {
        Shop {
            spans: Vec::new(),
            next: 0,
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn span(
        &mut self,
        trace: u8,
        parent: u64,
        service: &str,
        kind: SpanKind,
        name: &str,
        length: u64,
        pairs: &[(&str, &str)],
    ) -> u64 {
        self.next += 1;
        let mut resource = Resource::default();
        for (key, value) in [
            ("service.name", service),
            ("service.version", "1.0.0"),
            ("service.instance.id", &format!("{service}-1")),
        ] {
            resource.attributes.push(key, Value::Text(value.to_owned()));
        }
        let failed = pairs.iter().any(|(key, _)| *key == "error.type");
        self.spans.push(Span {
            origin: Origin {
                resource: resource.into(),
                ..Origin::default()
            },
            trace_id: TraceId([trace; 16]),
            span_id: SpanId(self.next.to_be_bytes()),
            parent_span_id: SpanId(parent.to_be_bytes()),
            kind,
            name: name.into(),
            start: Nanos(1_000 + self.next),
            end: Nanos(1_000 + self.next + length),
            status: if failed {
                StatusCode::Error
            } else {
                StatusCode::Unset
            },
            attributes: Attributes(
                pairs
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), Value::Text((*value).to_owned())))
                    .collect(),
            ),
            ..Span::default()
        });
        self.next
    }

    fn map(&self) -> ServiceMap {
        map(&self.spans)
    }
}

fn map(spans: &[Span]) -> ServiceMap {
    let window = Window {
        from: Nanos(1_000),
        until: Nanos(1_000_001_000),
    };
    let mut gather = Gather::new(window, Directory::default());
    spans.iter().for_each(|span| gather.take(span));
    gather.settle(4)
}

/// Two checkouts: one that works with a message at its end, one whose payment is refused.
fn shop() -> Shop {
    use SpanKind::{Client, Consumer, Producer, Server};
    let mut shop = Shop::new();
    let root = shop.span(1, 0, "checkout", Server, "POST /checkout", 100, &[]);
    let call = shop.span(1, root, "checkout", Client, "Pay/Charge", 80, &[]);
    let pay = shop.span(
        1,
        call,
        "payment",
        Server,
        "Pay/Charge",
        60,
        &[("server.address", "h"), ("server.port", "1")],
    );
    let store = [("db.system.name", "sqlite"), ("db.namespace", "payment")];
    shop.span(1, pay, "payment", Client, "INSERT payments", 9, &store);
    let bus = [
        ("messaging.system", "bus"),
        ("messaging.destination.name", "Paid"),
    ];
    let sent = shop.span(1, pay, "payment", Producer, "send Paid", 5, &bus);
    let lost = [
        ("messaging.system", "bus"),
        ("messaging.destination.name", "Lost"),
    ];
    shop.span(1, pay, "payment", Producer, "send Lost", 5, &lost);
    shop.span(2, 0, "mail", Consumer, "process Paid", 30, &bus);
    shop.spans.last_mut().unwrap().links.push(SpanLink {
        trace_id: TraceId([1; 16]),
        span_id: SpanId(sent.to_be_bytes()),
        ..SpanLink::default()
    });
    let root = shop.span(
        3,
        0,
        "checkout",
        Server,
        "POST /checkout",
        50,
        &[("error.type", "500")],
    );
    shop.span(
        3,
        root,
        "checkout",
        Client,
        "Pay/Charge",
        40,
        &[
            ("server.address", "h"),
            ("server.port", "1"),
            ("error.type", "refused"),
        ],
    );
    shop.span(
        3,
        root,
        "checkout",
        Client,
        "GET /tax",
        7,
        &[("server.address", "tax.example"), ("server.port", "443")],
    );
    shop.span(3, root, "checkout", Client, "mystery", 7, &[]);
    shop
}

fn edges(map: &ServiceMap) -> Vec<String> {
    map.edges
        .iter()
        .map(|edge| {
            let stats = edge.red.stats;
            format!(
                "{} > {} {:?} {} {} {} p95 {}",
                edge.from, edge.to, edge.kind, stats.requests, stats.errors, edge.unseen, stats.p95
            )
        })
        .collect()
}

#[test]
fn edges_are_what_callers_got_and_reach_beyond_the_services() {
    let map = shop().map();
    assert_eq!(
        edges(&map),
        [
            "checkout > payment Call 2 1 1 p95 80",
            "checkout > tax.example:443 Call 1 0 0 p95 7",
            "payment > mail Message 1 0 0 p95 30",
            "payment > sqlite payment Store 1 0 0 p95 9",
            "payment > bus Lost Message 1 0 0 p95 5",
            "(outside) > checkout Call 2 1 0 p95 100",
        ]
    );
    assert_eq!(map.unattributed, 1);
    let kinds: Vec<(&str, NodeKind)> = map
        .nodes
        .iter()
        .map(|node| (node.name.as_str(), node.kind))
        .collect();
    use NodeKind::{Broker, Outside, Service, Store};
    assert_eq!(
        kinds,
        [
            ("checkout", Service),
            ("mail", Service),
            ("payment", Service),
            ("sqlite payment", Store),
            ("bus Lost", Broker),
            ("(outside)", Outside),
            ("tax.example:443", Outside),
        ]
    );
}

#[test]
fn a_service_is_judged_by_what_it_serves() {
    let map = shop().map();
    let checkout = map.node("checkout").unwrap();
    let stats = checkout.red.stats;
    assert_eq!(
        (stats.requests, stats.errors, stats.p50, stats.max),
        (2, 1, 50, 100)
    );
    assert!((checkout.red.rate - 2.0).abs() < 1e-9);
    assert_eq!(
        checkout.red.error_kinds,
        [ErrorKind {
            kind: "500".into(),
            count: 1
        }]
    );
    assert_eq!((checkout.instances, checkout.versions.len()), (1, 1));
    assert_eq!(checkout.versions[0].name, "1.0.0");
    assert_eq!(checkout.operations[0].name, "POST /checkout");
    let total: u64 = checkout.over_time.iter().map(|slot| slot.requests).sum();
    assert_eq!(total, 2);
    assert_eq!(map.node("mail").unwrap().red.stats.requests, 1);
}

#[test]
fn the_order_of_arrival_does_not_matter() {
    let shop = shop();
    let expected = shop.map();
    let mut spans = shop.spans.clone();
    spans.reverse();
    assert_eq!(map(&spans), expected);
    spans.rotate_left(3);
    assert_eq!(map(&spans), expected);
}

#[test]
fn few_requests_are_not_compared() {
    let map = shop().map();
    let red = &map.node("checkout").unwrap().red;
    assert_eq!(against(red, &map, "checkout"), None);
    let mut busy = Shop::new();
    for i in 0..40 {
        busy.span(1, 0, "checkout", SpanKind::Server, "x", 10 + i, &[]);
    }
    let now = busy.map();
    let found = against(&now.node("checkout").unwrap().red, &now, "checkout").unwrap();
    assert!((found.p95 - 1.0).abs() < 1e-9 && found.error_share.abs() < 1e-9);
    assert!((found.rate - 1.0).abs() < 1e-9);
}
