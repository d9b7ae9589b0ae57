#![allow(clippy::unwrap_used)]

use case::model::{Attributes, Origin, Resource, Value};
use case::signal::RegistryEvent;
use case::{SpanTable, TraceId};

use super::*;
use crate::tree::shapes;

fn span(service: &str, id: u8, parent: u8, kind: SpanKind, name: &str) -> Span {
    let mut resource = Resource::default();
    for (key, value) in [
        ("service.name", service.to_owned()),
        ("service.instance.id", format!("{service}-1")),
    ] {
        resource.attributes.push(key, Value::Text(value));
    }
    Span {
        origin: Origin {
            resource: resource.into(),
            ..Origin::default()
        },
        trace_id: TraceId([1; 16]),
        span_id: SpanId([id; 8]),
        parent_span_id: SpanId([parent; 8]),
        kind,
        name: name.into(),
        start: Nanos(u64::from(id) * 10),
        end: Nanos(1_000 - u64::from(id) * 10),
        ..Span::default()
    }
}

fn with(mut span: Span, pairs: &[(&str, &str)]) -> Span {
    span.attributes = Attributes(
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), Value::Text((*value).to_owned())))
            .collect(),
    );
    span
}

fn failed(mut span: Span) -> Span {
    span.status = StatusCode::Error;
    span
}

fn found(spans: &[Span], directory: &Directory) -> Vec<(GapKind, String, Known)> {
    gaps(spans, &Tree::build(spans), directory)
        .into_iter()
        .map(|gap| (gap.kind, gap.service, gap.known))
        .collect()
}

/// A directory from other traces: checkout calls payment at h:1.
fn directory() -> Directory {
    let mut directory = Directory::default();
    let server = with(
        span("payment", 3, 2, SpanKind::Server, "Pay/Charge"),
        &[("server.address", "h"), ("server.port", "1")],
    );
    directory.take_span(&server);
    let mut table = SpanTable::default();
    for (id, service, name, kind) in [
        (1, "checkout", "POST /checkout", SpanKind::Server),
        (2, "checkout", "Pay/Charge", SpanKind::Client),
        (3, "payment", "Pay/Charge", SpanKind::Server),
    ] {
        table.push(&span(service, id, id - 1, kind, name));
    }
    let shapes = shapes(&table);
    directory.take_table(&table, &shapes);
    directory
}

#[test]
fn a_call_with_its_other_side_leaves_no_gap() {
    let spans = [
        span("checkout", 1, 0, SpanKind::Server, "POST /checkout"),
        span("checkout", 2, 1, SpanKind::Client, "Pay/Charge"),
        span("payment", 3, 2, SpanKind::Server, "Pay/Charge"),
        with(
            span("payment", 4, 3, SpanKind::Client, "INSERT payments"),
            &[("db.system.name", "sqlite")],
        ),
    ];
    assert!(found(&spans, &directory()).is_empty());
}

#[test]
fn who_answered_and_left_nothing_is_named_by_address_or_by_habit() {
    let call = span("checkout", 2, 1, SpanKind::Client, "Pay/Charge");
    let root = span("checkout", 1, 0, SpanKind::Server, "POST /checkout");
    let at = [("server.address", "h"), ("server.port", "1")];
    let elsewhere = [("server.address", "h"), ("server.port", "2")];
    let payment = |known| vec![(GapKind::Answered, "payment".to_owned(), known)];
    let spans = |call: Span| [root.clone(), call];
    let directory = directory();
    assert_eq!(
        found(&spans(with(call.clone(), &at)), &directory),
        payment(Known::ByAddress)
    );
    assert_eq!(
        found(&spans(with(call.clone(), &elsewhere)), &directory),
        payment(Known::Usually)
    );
    assert_eq!(
        found(
            &spans(with(call.clone(), &[("peer.service", "payment")])),
            &directory
        ),
        payment(Known::Named)
    );
    let gaps = gaps(
        &spans(call.clone()),
        &Tree::build(&spans(call)),
        &Directory::default(),
    );
    assert_eq!(gaps.len(), 1);
    assert_eq!((gaps[0].known, gaps[0].leaves_spans), (Known::Not, false));
}

#[test]
fn a_call_nobody_could_answer_is_no_absence() {
    let call = failed(span("checkout", 2, 0, SpanKind::Client, "Pay/Charge"));
    let kind = |pairs: &[(&str, &str)]| {
        let spans = [with(call.clone(), pairs)];
        found(&spans, &Directory::default())[0].0
    };
    assert_eq!(
        kind(&[("error.type", "connection refused")]),
        GapKind::NeverReached
    );
    assert_eq!(kind(&[("error.type", "timeout")]), GapKind::GivenUp);
    assert_eq!(
        kind(&[("rpc.response.status_code", "DEADLINE_EXCEEDED")]),
        GapKind::GivenUp
    );
    assert_eq!(
        kind(&[("rpc.response.status_code", "UNAVAILABLE")]),
        GapKind::GivenUp
    );
    assert_eq!(kind(&[]), GapKind::GivenUp);
    assert_eq!(
        kind(&[("rpc.response.status_code", "NOT_FOUND")]),
        GapKind::Answered
    );
    assert_eq!(
        kind(&[("http.response.status_code", "503"), ("error.type", "503")]),
        GapKind::Answered
    );
}

#[test]
fn a_lost_parent_is_the_usual_caller_or_the_process_itself() {
    let orphan = span("payment", 3, 2, SpanKind::Server, "Pay/Charge");
    assert_eq!(
        found(std::slice::from_ref(&orphan), &directory()),
        [(GapKind::ParentLost, "checkout".to_owned(), Known::Usually)]
    );
    assert_eq!(
        found(&[orphan], &Directory::default()),
        [(GapKind::ParentLost, String::new(), Known::Not)]
    );
    let inner = span("payment", 3, 2, SpanKind::Internal, "work");
    assert_eq!(
        found(&[inner], &Directory::default()),
        [(GapKind::ParentLost, "payment".to_owned(), Known::Named)]
    );
}

#[test]
fn an_address_belongs_to_whom_it_belonged_then() {
    let mut directory = Directory::default();
    let event = |at, id: &str, name: &str| RegistryEvent {
        at: Nanos(at),
        registry: "r".into(),
        seq: at,
        kind: "registered".into(),
        id: id.into(),
        name: name.into(),
        address: "h:1".into(),
        reason: None,
    };
    directory.take_event(&event(10, "a-1", "a"));
    directory.take_event(&event(20, "b-1", "b"));
    let at = |at| {
        directory
            .resident("h:1", Nanos(at))
            .unwrap()
            .service
            .clone()
    };
    assert_eq!([at(5), at(10), at(19), at(20)], ["a", "a", "a", "b"]);
    assert_eq!(directory.service_of("b-1"), Some("b"));
    assert!(directory.resident("h:2", Nanos(0)).is_none());
}
