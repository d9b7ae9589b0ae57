//! Telemetry is written by whoever can reach a collector: whatever it holds, there is a report, and soon.
#![allow(clippy::unwrap_used)]

mod scene;

use std::time::{Duration, Instant};

use analyzers::engine;
use analyzers::evidence::{Evidence, Signals};
use analyzers::rules;
use case::model::{Attributes, LogRecord, Span, SpanKind, SpanLink, StatusCode, Value};
use case::{Nanos, SpanId, TraceId, Window};
use serde_json::json;

/// Far beyond what it takes unoptimised on a busy machine, and far below what a quadratic rule would.
const PATIENCE: Duration = Duration::from_secs(120);

fn report_of(signals: &Signals) -> String {
    let begun = Instant::now();
    let report = engine::diagnose(&Evidence::of(Window::ALL, signals), &rules::ALL);
    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(report.answers.len(), rules::ALL.len());
    assert!(begun.elapsed() < PATIENCE, "it took {:?}", begun.elapsed());
    text
}

fn span(number: u64, parent: u64) -> Span {
    Span {
        origin: scene::origin("shop"),
        trace_id: TraceId([7; 16]),
        span_id: SpanId(number.to_be_bytes()),
        parent_span_id: SpanId(parent.to_be_bytes()),
        name: "work".to_owned(),
        kind: SpanKind::Server,
        start: Nanos(scene::BEGIN + number),
        end: Nanos(scene::BEGIN + number + scene::S),
        ..Span::default()
    }
}

fn of_spans(spans: Vec<Span>) -> Signals {
    Signals {
        spans,
        ..scene::shop(40)
    }
}

#[test]
fn circles_of_parents() {
    let spans = (1..=20_000).map(|n| span(n, n % 20_000 + 1)).collect();
    report_of(&of_spans(spans));
    report_of(&of_spans(vec![span(1, 1), span(1, 1)]));
}

#[test]
fn a_parent_of_very_many() {
    let spans = (1..=100_000).map(|n| span(n, u64::from(n > 1))).collect();
    report_of(&of_spans(spans));
}

#[test]
fn a_chain_without_end() {
    let spans = (1..=100_000).map(|n| span(n, n - 1)).collect();
    report_of(&of_spans(spans));
}

#[test]
fn one_id_for_everything() {
    let mut spans: Vec<Span> = (0..20_000).map(|n| span(n, 0)).collect();
    for span in &mut spans {
        span.span_id = SpanId([9; 8]);
        span.parent_span_id = SpanId([9; 8]);
        span.links = vec![
            SpanLink {
                trace_id: span.trace_id,
                span_id: span.span_id,
                ..SpanLink::default()
            };
            3
        ];
    }
    report_of(&of_spans(spans));
}

#[test]
fn times_at_both_ends_of_time() {
    let mut signals = scene::shop(200);
    for (number, span) in signals.spans.iter_mut().enumerate() {
        match number % 4 {
            0 => (span.start, span.end) = (Nanos(0), Nanos::MAX),
            1 => (span.start, span.end) = (Nanos(u64::MAX - 1), Nanos(0)),
            2 => (span.start, span.end) = (Nanos(u64::MAX - 1), Nanos::MAX),
            _ => {}
        }
    }
    for log in &mut signals.logs {
        log.time = Nanos(u64::MAX - 1);
        log.observed = Nanos(0);
    }
    for (number, event) in signals.registry_events.iter_mut().enumerate() {
        event.at = Nanos(if number == 0 { u64::MAX - 1 } else { 0 });
    }
    for record in &mut signals.journal {
        (record.at, record.seen_at) = (Nanos(0), Nanos::MAX);
    }
    for snapshot in &mut signals.snapshots {
        snapshot.as_of = Some(Nanos::MAX);
        for instance in &mut snapshot.instances {
            (instance.last_seen, instance.registered_at) = (Some(Nanos::MAX), Some(Nanos(0)));
        }
    }
    report_of(&signals);
}

#[test]
fn names_and_values_that_are_nothing_or_far_too_much() {
    let huge = "x".repeat(1 << 20);
    let mut signals = scene::shop(40);
    for (number, span) in signals.spans.iter_mut().enumerate() {
        match number % 3 {
            0 => {
                span.name = String::new();
                span.origin = Default::default();
                span.attributes.0.clear();
            }
            1 => span.name = format!("\u{1b}[2J\u{202e}{number}"),
            _ => {}
        }
    }
    signals.spans[1]
        .attributes
        .push("server.address", Value::Text(huge.clone()));
    signals.spans[2].attributes = Attributes(vec![
        ("error.type".to_owned(), Value::Text(huge.clone())),
        ("traceparent".to_owned(), Value::Text(huge.clone())),
        (huge.clone(), Value::Bytes(vec![0xff; 1 << 20])),
    ]);
    signals.spans[2].status = StatusCode::Error;
    signals.logs.push(LogRecord {
        body: Value::Text(huge.clone()),
        severity_number: i32::MIN,
        severity_text: huge.clone(),
        attributes: Attributes(vec![("trace_id".to_owned(), Value::Text(huge.clone()))]),
        ..LogRecord::default()
    });
    for record in &mut signals.journal {
        record.fields = json!({"step": huge, "attempt": -1, "state": null, "steps": [[[]]]});
        record.saga_id = String::new();
        record.seq = Some(u64::MAX);
    }
    for row in &mut signals.ledger {
        row.fields = json!([huge]);
        row.key = String::new();
    }
    for probe in &mut signals.probes {
        probe.raw = json!({"cached_by": [1, null, {"instance": {}}], "checks": huge});
        probe.duration_nano = u64::MAX;
    }
    for snapshot in &mut signals.snapshots {
        snapshot.config = json!({"expire_after_ms": 1e308, "heartbeat_s": -1.0});
    }
    let text = report_of(&signals);
    assert!(
        text.len() < 4 << 20,
        "a report of {} bytes is a flood",
        text.len()
    );
}
