#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

mod hostile;

use super::*;
use crate::ids::{SpanId, TraceId};
use crate::model::{
    Attributes, Origin, PointData, Resource, Scope, SpanEvent, SpanKind, SpanLink, StatusCode,
    Value,
};
use crate::time::Nanos;

fn attributes(pairs: &[(&str, Value)]) -> Attributes {
    Attributes(
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect(),
    )
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

fn origin() -> Origin {
    Origin {
        resource: Arc::new(Resource {
            attributes: attributes(&[
                ("service.name", text("payment")),
                ("service.instance.id", text("payment-2")),
                ("host.name", text("box")),
            ]),
            ..Resource::default()
        }),
        scope: Arc::new(Scope {
            name: "tonic".to_owned(),
            ..Scope::default()
        }),
    }
}

fn span() -> Span {
    Span {
        origin: origin(),
        trace_id: TraceId([0xab; 16]),
        span_id: SpanId([0x01; 8]),
        parent_span_id: SpanId([0x02; 8]),
        name: "payments.v1.PaymentsService/ProcessPayment".to_owned(),
        kind: SpanKind::Server,
        start: Nanos(1_700_000_000_000_000_000),
        end: Nanos(1_700_000_000_600_000_000),
        status: StatusCode::Error,
        status_message: "connection refused".to_owned(),
        attributes: attributes(&[
            ("http.route", text("/api/v1/checkout")),
            ("http.response.status_code", Value::Int(503)),
            ("port", text("10101")),
            ("ratio", Value::Double(0.25)),
            ("big", Value::Int(9_007_199_254_740_993)),
            ("flag", Value::Bool(true)),
            ("tags", Value::Array(vec![text("gold"), Value::Int(7)])),
            ("path", text(r"C:\dir*")),
            ("nan", Value::Double(f64::NAN)),
        ]),
        events: vec![SpanEvent {
            name: "exception".to_owned(),
            attributes: attributes(&[("exception.type", text("Refused"))]),
            ..SpanEvent::default()
        }],
        links: vec![SpanLink {
            trace_id: TraceId([0xcd; 16]),
            ..SpanLink::default()
        }],
        ..Span::default()
    }
}

fn log() -> LogRecord {
    LogRecord {
        origin: origin(),
        time: Nanos(5),
        severity_number: 14,
        severity_text: "Warning".to_owned(),
        body: text("upstream failed"),
        trace_id: TraceId([0xab; 16]),
        event_name: "upstream.failed".to_owned(),
        attributes: attributes(&[("upstream", text("payment")), ("attempt", Value::Int(2))]),
        ..LogRecord::default()
    }
}

fn metric() -> MetricPoint {
    MetricPoint {
        origin: origin(),
        name: "shop_breaker_state".to_owned(),
        description: String::new(),
        unit: "1".to_owned(),
        metadata: Attributes::default(),
        attributes: attributes(&[("upstream", text("inventory"))]),
        start: Nanos(0),
        at: Nanos(9),
        flags: 0,
        data: PointData::Gauge(Value::Int(2)),
        exemplars: Vec::new(),
    }
}

/// Asserts that every filter means, or does not mean, the row of its signal.
fn spans(expected: bool, filters: &[&str]) {
    for filter in filters {
        let parsed = SpanFilter::parse(filter).unwrap_or_else(|error| panic!("{filter}: {error}"));
        assert_eq!(parsed.matches(&span()), expected, "{filter}");
    }
}

fn logs(expected: bool, filters: &[&str]) {
    for filter in filters {
        let parsed = LogFilter::parse(filter).unwrap_or_else(|error| panic!("{filter}: {error}"));
        assert_eq!(parsed.matches(&log()), expected, "{filter}");
    }
}

fn error(filter: &str) -> FilterError {
    SpanFilter::parse(filter).expect_err(filter)
}

#[test]
fn nothing_asked_means_everything() {
    spans(true, &["", "   ", "\t\n"]);
    assert!(SpanFilter::parse(" ").unwrap().is_empty());
}

#[test]
fn each_key_reads_its_field() {
    spans(
        true,
        &[
            "service:payment",
            "service=payment",
            "instance:payment-2",
            "name:payments.v1.PaymentsService/ProcessPayment",
            "operation:*/ProcessPayment",
            "kind:server",
            "kind:SERVER",
            "status:error",
            "message:\"connection refused\"",
            "duration:600ms",
            "duration>500ms",
            "duration>=600ms",
            "duration<=600ms",
            "duration<1s",
            "start:2023-11-14T22:13:20Z",
            "time>=1700000000000000000",
            "start<2023-11-14T22:13:21Z",
            "trace:abababababababababababababababab",
            "trace_id:ABABABABABABABABABABABABABABABAB",
            "trace:abab*",
            "span:0101010101010101",
            "parent:0202*",
            "scope:tonic",
            "event:exception",
            "event.exception.type:Refused",
            "link:cdcd*",
            "attr.http.route:/api/v1/checkout",
            "attr.http.response.status_code:503",
            "attributes.http.response.status_code:503",
            "resource.host.name:box",
        ],
    );
    spans(
        false,
        &[
            "service:pay",
            "service:Payment",
            "instance:payment",
            "kind:client",
            "status:ok",
            "duration:601ms",
            "duration>600ms",
            "duration<600ms",
            "start>2023-11-14T22:13:20Z",
            "trace:cd*",
            "parent:\"\"",
            "scope:hyper",
            "event:retry",
            "event.exception.type:Timeout",
            "link:abab*",
            "attr.missing:x",
            "attr.missing:*",
            "resource.service:payment",
        ],
    );
}

#[test]
fn a_root_is_a_span_without_parent() {
    let mut root = span();
    root.parent_span_id = SpanId::NONE;
    assert!(SpanFilter::parse("parent:\"\"").unwrap().matches(&root));
    assert!(!SpanFilter::parse("parent:*0*").is_ok_and(|filter| filter.matches(&root)));
}

#[test]
fn wildcards_and_escapes() {
    spans(
        true,
        &[
            "service:*",
            "service:pay*",
            "service:*ment",
            "service:p*y*t",
            "service:\"pay*\"",
            "name:*.PaymentsService/*",
            "attr.http.route:*",
            r"attr.path:C:\dir\*",
            r#"attr.path:"C:\dir*""#,
            "attr.path:C*",
        ],
    );
    spans(
        false,
        &[
            r"service:pay\*",
            "service:*paymentx",
            "service:payment*payment",
            "service:p*x*t",
            "attr.none:*",
        ],
    );
}

#[test]
fn numbers_compare_as_numbers_whatever_way_they_were_sent() {
    spans(
        true,
        &[
            "attr.http.response.status_code>=500",
            "attr.http.response.status_code<504",
            "attr.port>10000",
            "attr.ratio<0.5",
            "attr.ratio:0.25",
            "attr.big>9007199254740992",
            "attr.big:9007199254740993",
            "attr.flag:true",
            "attr.tags:gold",
            "attr.tags:7",
            "attr.tags>6",
        ],
    );
    spans(
        false,
        &[
            "attr.http.response.status_code>503",
            "attr.big>9007199254740993",
            "attr.big:9007199254740992",
            "attr.http.route>1",
            "attr.nan>0",
            "attr.nan<0",
            "attr.flag>0",
            "attr.tags>7",
            "attr.missing<5",
        ],
    );
}

#[test]
fn regular_expressions() {
    spans(
        true,
        &[
            r#"name~"Process\w+$""#,
            "name~^payments",
            "service~(payment|inventory)",
            "name!~Refund",
            r#"attr.http.route~"^/api/v\d+/""#,
            r#"attr.http.response.status_code~"^5..$""#,
        ],
    );
    spans(
        false,
        &["name~^Process", "service!~pay", "(service~inv(e|x)ntory)"],
    );
}

#[test]
fn combining_terms() {
    spans(
        true,
        &[
            "service:payment status:error",
            "service:payment AND status:error",
            "service:x OR status:error",
            "service:x OR service:y OR kind:server",
            "-service:x",
            "NOT service:x",
            "-(service:x OR kind:client)",
            "--service:payment",
            "service!=x",
            "(service:payment)",
            "(service:x OR service:payment) (kind:client OR kind:server)",
            "service:payment (-status:ok -status:unset)",
            // AND binds tighter than OR.
            "service:payment OR service:x status:ok",
            "service:x status:ok OR service:payment",
        ],
    );
    spans(
        false,
        &[
            "service:payment status:ok",
            "service:payment AND NOT kind:server",
            "-service:payment",
            "service!=payment",
            "(service:payment OR service:x) status:ok",
            "NOT (service:payment OR service:x)",
            "-service:payment OR -kind:server",
        ],
    );
}

#[test]
fn bare_words_look_where_a_person_would() {
    spans(
        true,
        &[
            "refused",
            "REFUSED",
            "\"connection refused\"",
            "processpayment",
            "checkout",
            "pay*refuse OR v1*process",
        ],
    );
    spans(false, &["timeout", "\"refused connection\"", "-refused"]);
    // Keywords are upper case; in lower case, or in quotes, they are words.
    spans(false, &["or", "\"AND\""]);
}

#[test]
fn log_records() {
    logs(
        true,
        &[
            "severity:warn",
            "level:WARNING",
            "severity:14",
            "severity>=warn",
            "severity<=warn",
            "severity<error",
            "body:\"upstream failed\"",
            "body~^upstream",
            "event:upstream.failed",
            "attr.attempt>1",
            "trace:abab*",
            "failed",
            "service:payment",
        ],
    );
    logs(
        false,
        &[
            "severity:error",
            "severity>warn",
            "severity<warn",
            "body:upstream",
            "span:0*",
            "event:x",
            "attr.attempt>2",
        ],
    );
    let mut unnumbered = log();
    unnumbered.severity_number = 0;
    assert!(
        LogFilter::parse("severity>=warn")
            .unwrap()
            .matches(&unnumbered)
    );
    unnumbered.severity_text.clear();
    assert!(
        !LogFilter::parse("severity>=trace")
            .unwrap()
            .matches(&unnumbered)
    );
    assert!(LogFilter::parse("kind:server").is_err());
}

#[test]
fn metric_points() {
    for (filter, expected) in [
        ("name:shop_breaker_*", true),
        ("type:gauge", true),
        ("type:sum", false),
        ("unit:1", true),
        ("attr.upstream:inventory", true),
        ("breaker", true),
        ("breakfast", false),
    ] {
        assert_eq!(
            MetricFilter::parse(filter).unwrap().matches(&metric()),
            expected,
            "{filter}"
        );
    }
}

#[test]
fn errors_say_where_and_what() {
    for (filter, column, reason) in [
        ("servcie:payment", 1, "spans have no key \"servcie\""),
        (
            "service:payment (kind:server",
            17,
            "a parenthesis that is never closed",
        ),
        (
            "service:payment)",
            16,
            "a closing parenthesis that nothing opened",
        ),
        ("service:", 9, "service is compared with nothing"),
        ("service: payment", 9, "service is compared with nothing"),
        (":payment", 1, "an operator without a key before it"),
        ("\"payment", 1, "a quotation mark without its partner"),
        ("a OR", 5, "the filter ends where a term should stand"),
        ("OR a", 1, "AND and OR stand between two terms"),
        ("a AND OR b", 7, "AND and OR stand between two terms"),
        ("()", 2, "a closing parenthesis where a term should stand"),
        ("a - b", 3, "`-` stands before nothing"),
        (
            "status:broken",
            8,
            "status is one of unset, ok, error, not \"broken\"",
        ),
        (
            "duration>fast",
            10,
            "\"fast\" is no duration (such as 250ms, 10m or 1h30m)",
        ),
        (
            "duration>10",
            10,
            "\"10\" is no duration (such as 250ms, 10m or 1h30m)",
        ),
        (
            "start>10m",
            7,
            "\"10m\" is no time (RFC 3339, or nanoseconds); durations go into --since",
        ),
        ("name>5", 6, "name is a text; ask with :, != or ~"),
        (
            "attr.x>five",
            8,
            "attr.x can only be compared with a number, not \"five\"",
        ),
        (
            "trace:xyz",
            7,
            "trace is 32 hexadecimal digits, or the first of them and a *; got \"xyz\"",
        ),
        (
            "duration~5",
            10,
            "duration is a number; compare it with <, <=, >, >= or :",
        ),
        ("\"\"", 1, "an empty word is in everything"),
        ("支付 servic:x", 4, "spans have no key \"servic\""),
    ] {
        let error = error(filter);
        assert_eq!(
            (error.column, error.reason.as_str()),
            (column, reason),
            "{filter}"
        );
    }
    assert!(
        error("name~(")
            .reason
            .starts_with("no regular expression: ")
    );
    assert_eq!(
        error("servcie:x").to_string(),
        "filter, column 1: spans have no key \"servcie\""
    );
}

#[test]
fn unknown_keys_come_with_a_suggestion() {
    assert_eq!(error("servcie:x").hint.unwrap(), "did you mean service?");
    assert_eq!(
        error("operatoin:x").hint.unwrap(),
        "did you mean operation?"
    );
    assert_eq!(
        error("http.route:x").hint.unwrap(),
        "an attribute is asked for as attr.http.route, one of the resource as resource.http.route"
    );
    let all = error("colour:x").hint.unwrap();
    assert!(
        all.starts_with("keys are service, instance, ") && all.ends_with("attr.colour"),
        "{all}"
    );
}

#[test]
fn services_asked_for_are_told() {
    let filter =
        SpanFilter::parse("service:payment OR -(service:inventory name:x) service:ord* service~x")
            .unwrap();
    assert_eq!(filter.services(), ["payment", "inventory"]);
}

#[test]
fn a_skeleton_answers_what_it_can_as_the_span_would() {
    let span = span();
    for filter in [
        "",
        "service:payment -status:ok duration>500ms",
        "name:*/ProcessPayment OR kind:client",
        "trace:abab* span:01* parent:02* start>2020-01-01T00:00:00Z",
        "NOT (status:error OR parent:\"\")",
        "duration<1ms",
    ] {
        let parsed = SpanFilter::parse(filter).unwrap();
        assert!(parsed.is_brief(), "{filter}");
        assert_eq!(
            parsed.matches_brief(&Brief::from(&span)),
            parsed.matches(&span),
            "{filter}"
        );
    }
    for filter in ["refused", "attr.x:1", "service:x OR instance:y", "-event:z"] {
        assert!(!SpanFilter::parse(filter).unwrap().is_brief(), "{filter}");
    }
}

#[test]
fn filters_combine() {
    let both = SpanFilter::parse("service:payment")
        .unwrap()
        .and(SpanFilter::parse("status:ok").unwrap());
    assert!(!both.matches(&span()));
    assert!(
        !SpanFilter::parse("service:payment")
            .unwrap()
            .negated()
            .matches(&span())
    );
    assert!(
        SpanFilter::default()
            .and(SpanFilter::parse("service:payment").unwrap())
            .matches(&span())
    );
    assert!(!SpanFilter::default().negated().matches(&span()));
}
