//! Two small cases for tests of the workbench: a shop that is well, and the same with one instance of payment gone from
//! the registry and still called. And a report that stands in for the diagnosis, so that screens do not change as rules do.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use analyzers::engine::{
    Answer as RuleAnswer, Finding, Judgement, Report, Seen, Severity, Verdict,
};
use analyzers::reference::Reference;
use analyzers::rules;
use case::{CaseWriter, Nanos, Signal, TraceId, Window, WriterOptions};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span::Event};
use prost::Message as _;

use super::Rig;
use super::theme::Settings;
use super::work::{Answer, Found, Request};

const MS: u64 = 1_000_000;
/// 2026-10-19T10:30:02Z.
pub(super) const BEGIN: u64 = 1_792_405_802_000_000_000;
/// Checkouts, one a second.
pub(super) const CHECKOUTS: u64 = 80;
/// The first that can fail.
const FAULT: u64 = 50;

fn pair(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}

fn resource(service: &str) -> Option<Resource> {
    Some(Resource {
        attributes: vec![
            pair("service.name", service),
            pair("service.instance.id", &format!("{service}-1")),
        ],
        ..Resource::default()
    })
}

pub(super) fn trace_id(number: u64) -> [u8; 16] {
    let mut id = [0x4b; 16];
    id[8..].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    id
}

fn span_id(trace: u64, span: u64) -> Vec<u8> {
    (trace << 8 | span).to_be_bytes().to_vec()
}

struct Draft<'a> {
    trace: u64,
    id: u64,
    parent: u64,
    kind: i32,
    name: &'a str,
    from: u64,
    until: u64,
    failed: bool,
}

fn span(draft: Draft<'_>) -> Span {
    Span {
        trace_id: trace_id(draft.trace).to_vec(),
        span_id: span_id(draft.trace, draft.id),
        parent_span_id: if draft.parent == 0 {
            Vec::new()
        } else {
            span_id(draft.trace, draft.parent)
        },
        name: draft.name.to_owned(),
        kind: draft.kind,
        start_time_unix_nano: BEGIN + draft.from * MS,
        end_time_unix_nano: BEGIN + draft.until * MS,
        status: draft.failed.then(|| Status {
            code: 2,
            message: "payment refused the connection".to_owned(),
        }),
        attributes: if draft.kind == 3 {
            vec![
                pair("server.address", "127.0.0.1"),
                pair("server.port", "9201"),
            ]
        } else {
            Vec::new()
        },
        events: if draft.failed && draft.kind == 3 {
            vec![Event {
                time_unix_nano: BEGIN + draft.until * MS,
                name: "exception".to_owned(),
                attributes: vec![pair("exception.type", "ConnectionRefused")],
                ..Event::default()
            }]
        } else {
            Vec::new()
        },
        ..Span::default()
    }
}

fn of(service: &str, spans: Vec<Span>) -> ResourceSpans {
    ResourceSpans {
        resource: resource(service),
        scope_spans: vec![ScopeSpans {
            spans,
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    }
}

fn checkout(trace: u64, failed: bool) -> ExportTraceServiceRequest {
    let at = trace * 1000;
    // Not all alike: some take longer than others.
    let slow = 120 + (trace * 37) % 160;
    let draft = |id, parent, kind, name, from, until, failed| {
        span(Draft {
            trace,
            id,
            parent,
            kind,
            name,
            from: at + from,
            until: at + until,
            failed,
        })
    };
    let end = if failed { 420 } else { slow };
    let create = "orders.v1.OrdersService/CreateOrder";
    let pay = "payments.v1.PaymentsService/ProcessPayment";
    let mut resource_spans = vec![
        of(
            "api-gateway",
            vec![
                draft(1, 0, 2, "POST /api/v1/checkout", 0, end + 20, failed),
                draft(2, 1, 3, create, 4, end + 16, failed),
            ],
        ),
        of(
            "order-management",
            vec![
                draft(3, 2, 2, create, 6, end + 12, failed),
                draft(4, 3, 3, pay, 20, end, failed),
            ],
        ),
    ];
    if !failed {
        resource_spans.push(of(
            "payment",
            vec![
                draft(5, 4, 2, pay, 24, end - 6, false),
                draft(6, 5, 1, "charge card", 30, end - 20, false),
            ],
        ));
    }
    ExportTraceServiceRequest { resource_spans }
}

fn record(trace: u64, span: u64, severity: i32, at: u64, body: &str) -> LogRecord {
    LogRecord {
        time_unix_nano: BEGIN + at * MS,
        severity_number: severity,
        body: Some(AnyValue {
            value: Some(Value::StringValue(body.to_owned())),
        }),
        trace_id: trace_id(trace).to_vec(),
        span_id: span_id(trace, span),
        ..LogRecord::default()
    }
}

fn logs(trace: u64, failed: bool) -> ExportLogsServiceRequest {
    let at = trace * 1000;
    let mut records = vec![record(
        trace,
        3,
        9,
        at + 8,
        &format!("order ord_{trace:04} created"),
    )];
    if failed {
        records.push(record(
            trace,
            4,
            13,
            at + 200,
            "upstream slow, trying again after 200 ms",
        ));
        records.push(record(
            trace,
            4,
            17,
            at + 420,
            "upstream failed: payment-2 refused the connection",
        ));
    } else {
        records.push(record(
            trace,
            3,
            9,
            at + 60,
            &format!("order ord_{trace:04} paid"),
        ));
    }
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: resource("order-management"),
            scope_logs: vec![ScopeLogs {
                log_records: records,
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    }
}

fn registry(faulty: bool) -> String {
    let event = |at: u64, seq: u64, kind: &str, id: &str, name: &str, address: &str| {
        format!(
            r#"{{"at":{},"registry":"http://r","seq":{seq},"kind":"{kind}","id":"{id}","name":"{name}","address":"{address}"}}"#,
            BEGIN + at * MS
        )
    };
    let mut rows = vec![
        event(
            0,
            1,
            "registered",
            "api-gateway-1",
            "api-gateway",
            "127.0.0.1:9000",
        ),
        event(
            0,
            2,
            "registered",
            "order-management-1",
            "order-management",
            "127.0.0.1:9100",
        ),
        event(0, 3, "registered", "payment-1", "payment", "127.0.0.1:9200"),
        event(0, 4, "registered", "payment-2", "payment", "127.0.0.1:9201"),
    ];
    if faulty {
        rows.push(event(
            FAULT * 1000,
            5,
            "expired",
            "payment-2",
            "payment",
            "127.0.0.1:9201",
        ));
    }
    rows.join("\n")
}

fn journal(faulty: bool) -> String {
    let row = |saga: u64, at: u64, kind: &str, seq: Option<u64>, fields: &str| {
        let seq = seq.map_or(String::new(), |seq| format!(r#""seq":{seq},"#));
        let trace: String = trace_id(saga)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!(
            r#"{{"at":{at},"seen_at":{at},"source":"s","kind":"{kind}",{seq}"saga_id":"sg_{saga:04}","order_id":"ord_{saga:04}","trace_id":"{trace}","fields":{fields}}}"#,
            at = BEGIN + at * MS,
        )
    };
    let mut rows = Vec::new();
    for saga in [10u64, 20, 60, 72] {
        let at = saga * 1000;
        let (status, state) = match faulty && saga >= FAULT {
            true => ("failed", "failed"),
            false => ("completed", "completed"),
        };
        let created = format!(
            "2026-10-19T10:{:02}:{:02}.000000000Z",
            30 + (2 + saga) / 60,
            (2 + saga) % 60
        );
        rows.push(row(
            saga,
            at + 5,
            "started",
            Some(saga * 10),
            r#"{"kind":"started"}"#,
        ));
        rows.push(row(saga, at + 6, "step", None, &format!(
            r#"{{"ordinal":1,"step_id":"sg_{saga:04}-1","step_name":"process_payment","service_name":"payment","status":"{state}","retry_count":0}}"#
        )));
        rows.push(row(saga, at + 95, "saga", None, &format!(
            r#"{{"status":"{status}","model":"shopflow","created_at":"{created}","current_state":"{state}"}}"#
        )));
    }
    rows.join("\n")
}

/// Writes one of the two cases into a folder.
pub(super) fn case(folder: &Path, faulty: bool) -> PathBuf {
    let path = folder.join("shop.case");
    let writer = CaseWriter::open(&path, WriterOptions::default()).unwrap();
    let append = |signal, payload: Vec<u8>| {
        writer.append(signal, payload.into()).unwrap();
    };
    append(Signal::RegistryEvents, registry(faulty).into_bytes());
    for trace in 1..=CHECKOUTS {
        let failed = faulty && trace >= FAULT && trace % 2 == 0;
        append(Signal::Traces, checkout(trace, failed).encode_to_vec());
        append(Signal::Logs, logs(trace, failed).encode_to_vec());
    }
    append(Signal::Journal, journal(faulty).into_bytes());
    writer.close().unwrap();
    path
}

/// What stands in for the diagnosis.
pub(super) fn report(faulty: bool) -> Report {
    let window = Window {
        from: Nanos(BEGIN),
        until: Nanos(BEGIN + 81_000 * MS),
    };
    if !faulty {
        return Report::of(window, Vec::new());
    }
    let since = Nanos(BEGIN + FAULT * 1000 * MS);
    let rule = rules::find("registry/cached-after-removal").unwrap();
    let cause = rule.about().causes[0].id;
    let failed: Vec<TraceId> = (FAULT..=CHECKOUTS)
        .filter(|trace| trace % 2 == 0)
        .map(|trace| TraceId(trace_id(trace)))
        .collect();
    let follows = rules::ALL
        .iter()
        .find(|other| other.about().id != rule.about().id)
        .unwrap();
    let mut finding = Finding::of(
        rule.about(),
        cause,
        "payment-2 left the registry at 10:30:52 and is still handed out by order-management's cache",
    )
    .severity(Severity::Error)
    .sure()
    .about("payment", "payment-2", "gone")
    .about("order-management", "order-management-1", "caches it")
    .between(since, None)
    .because("order-management keeps payment's address for longer than the registry does")
    .seen(Seen::at("payment-2 as the registry knows it", Reference::Instance {
        instance: "payment-2".to_owned(),
    }))
    .seen(Seen::at("calls to 127.0.0.1:9201 were refused", Reference::Traces {
        window: Window { from: since, until: window.until },
        service: Some("order-management".to_owned()),
        to: Some("127.0.0.1:9201".to_owned()),
        errors: true,
    }))
    .seen(Seen::at("and said so", Reference::Logs {
        window: Window { from: since, until: window.until },
        service: None,
        filter: Some("severity>=error".to_owned()),
    }))
    .remedy("drop an address on the first refused call, and keep addresses for 30 s")
    .in_traces(failed);
    finding.consequences.push(
        Finding::of(
            follows.about(),
            follows.about().causes[0].id,
            "a checkout fails in two",
        )
        .severity(Severity::Warning)
        .between(since, None),
    );
    let answer = RuleAnswer {
        rule: rule.about().id,
        verdict: Verdict::Fail,
        missing: Vec::new(),
        judgement: Judgement {
            findings: vec![finding.clone()],
            seen: vec!["41 calls to 127.0.0.1:9201".to_owned()],
            distance: None,
        },
    };
    Report {
        window,
        answers: vec![answer],
        findings: vec![finding],
    }
}

/// A rig on one of the two cases, with the report in the place of the diagnosis.
pub(super) fn rig(path: &Path, faulty: bool, theme: &str, size: (u16, u16)) -> Rig {
    let settings = Settings::of_text(&format!("theme = \"{theme}\"")).unwrap();
    let report = Arc::new(report(faulty));
    let stand_in = move |ask: &super::work::Ask| {
        (ask.request == Request::Diagnosis).then(|| Answer {
            serial: ask.serial,
            took: Duration::ZERO,
            found: Found::Report(Arc::clone(&report)),
        })
    };
    Rig::with(path, settings, size, Some(Box::new(stand_in))).unwrap()
}
