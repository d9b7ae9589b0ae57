use std::sync::Arc;

use case::model::{Attributes, Origin, Resource, Span, SpanKind, StatusCode, Value};
use case::signal::{ProbeResult, RegistryEvent, RegistrySnapshot};
use case::{SpanId, TraceId, Window};

use super::*;
use crate::engine::{Verdict, ask};

const S: u64 = 1_000_000_000;
const ADDRESS: &str = "127.0.0.1:9201";

fn at(seconds: u64) -> Nanos {
    Nanos(1_792_405_802 * S + seconds * S)
}

fn event(seconds: u64, kind: &str, id: &str, address: &str) -> RegistryEvent {
    RegistryEvent {
        at: at(seconds),
        registry: "http://127.0.0.1:8081".into(),
        seq: 100 + seconds,
        kind: kind.into(),
        id: id.into(),
        name: "payment".into(),
        address: address.into(),
        reason: (kind == "expired").then(|| "no heartbeat".to_owned()),
    }
}

/// payment-2 is registered at 0 s, last beats before 50 s and expires at 100 s.
fn expiry() -> Vec<RegistryEvent> {
    vec![
        event(0, "registered", "payment-2", ADDRESS),
        event(80, "suspect", "payment-2", ADDRESS),
        event(100, "expired", "payment-2", ADDRESS),
        event(100, "draining", "payment-2", ADDRESS),
        event(130, "removed", "payment-2", ADDRESS),
    ]
}

fn attribute(key: &str, value: Value) -> (String, Value) {
    (key.to_owned(), value)
}

fn origin(service: &str, instance: &str) -> Origin {
    Origin {
        resource: Arc::new(Resource {
            attributes: Attributes(vec![
                attribute("service.name", Value::Text(service.into())),
                attribute("service.instance.id", Value::Text(instance.into())),
            ]),
            ..Resource::default()
        }),
        ..Origin::default()
    }
}

fn call(seconds: u64, failed: bool) -> Span {
    call_by("order-management", "order-management-1", seconds, failed)
}

fn call_by(service: &str, instance: &str, seconds: u64, failed: bool) -> Span {
    let start = at(seconds);
    Span {
        origin: origin(service, instance),
        trace_id: TraceId([1; 16]),
        span_id: SpanId(start.0.to_be_bytes()),
        name: "payments.v1.PaymentsService/ProcessPayment".into(),
        kind: SpanKind::Client,
        start,
        end: start.saturating_add(S / 10),
        status: if failed {
            StatusCode::Error
        } else {
            StatusCode::Unset
        },
        attributes: Attributes(vec![
            attribute("server.address", Value::Text("127.0.0.1".into())),
            attribute("server.port", Value::Int(9201)),
            attribute("error.type", Value::Text("UNAVAILABLE".into())),
        ]),
        ..Span::default()
    }
}

fn lookup(seconds: u64) -> Span {
    Span {
        origin: origin("order-management", "order-management-1"),
        name: "resolve payment".into(),
        start: at(seconds),
        end: at(seconds),
        attributes: Attributes(vec![attribute(
            "shop.registry.cache",
            Value::Text("miss".into()),
        )]),
        ..Span::default()
    }
}

fn evidence(events: Vec<RegistryEvent>, spans: &[Span]) -> Evidence {
    let window = Window {
        from: at(0),
        until: at(1000),
    };
    Evidence::of(window, spans, events, Vec::new(), Vec::new())
}

fn judged(events: Vec<RegistryEvent>, spans: &[Span]) -> Judgement {
    CachedAfterRemoval.judge(&evidence(events, spans))
}

fn failing(seconds: impl IntoIterator<Item = u64>) -> Vec<Span> {
    seconds.into_iter().map(|s| call(s, true)).collect()
}

#[test]
fn calls_to_a_departed_address_that_go_on_failing_are_a_finding() {
    let judgement = judged(expiry(), &failing([90, 110, 120, 140, 250]));
    let [finding] = judgement.findings.as_slice() else {
        panic!("{judgement:?}");
    };
    assert_eq!(
        finding.headline,
        "payment (127.0.0.1:9201) left the registry at 10:31:42 and is still called by order-management: 4 calls failed \
         since."
    );
    assert_eq!(
        finding.cause,
        "order-management has kept payment's address for 2m30s after it left, longer than a cache should: 60.0s"
    );
    assert_eq!(
        (finding.severity, finding.certainty),
        (Severity::Error, Certainty::Sure)
    );
    assert_eq!((finding.since, finding.until), (at(100), None));
    assert_eq!(finding.subjects[0].instance, "payment-2");
    assert_eq!(finding.subjects[1].instance, "order-management-1");
    assert_eq!(
        finding.evidence[0].what,
        "registry event 200: expired payment-2 (no heartbeat)"
    );
}

#[test]
fn a_caller_that_lets_go_passes() {
    // Killed at 60 s: calls fail until the registry notices, then stop.
    let judgement = judged(expiry(), &failing([61, 65, 70, 75, 80, 85, 90, 95, 99]));
    assert!(judgement.findings.is_empty());
    assert_eq!(
        judgement.distance.as_deref(),
        Some("at most 0 failed calls in vain by one caller; 3 make a finding")
    );
}

#[test]
fn two_calls_in_vain_are_a_near_miss_and_the_third_is_not() {
    let judgement = judged(expiry(), &failing([90, 110, 120]));
    assert!(judgement.findings.is_empty());
    assert_eq!(
        judgement.distance.as_deref(),
        Some("at most 2 failed calls in vain by one caller; 3 make a finding")
    );
    assert!(
        judgement.seen[1].contains("2 failed, 2 of them in vain"),
        "{:?}",
        judgement.seen
    );
    assert_eq!(
        judged(expiry(), &failing([90, 110, 120, 121]))
            .findings
            .len(),
        1
    );
}

#[test]
fn calls_under_way_before_the_first_failure_was_known_do_not_count() {
    // Twenty at once, none before: each could only find out by itself.
    let judgement = judged(expiry(), &failing(std::iter::repeat_n(110, 20)));
    assert!(judgement.findings.is_empty(), "{judgement:?}");
}

#[test]
fn calls_that_hang_count_once_no_cache_should_hold_the_address() {
    // Each waits 100 s for an answer, so no failure is known before the last call has begun.
    let hanging = |seconds: std::ops::Range<u64>| -> Vec<Span> {
        failing(seconds)
            .into_iter()
            .map(|mut span| {
                span.end = span.start.saturating_add(100 * S);
                span
            })
            .collect()
    };
    assert!(
        judged(expiry(), &hanging(105..160)).findings.is_empty(),
        "within the time a cache may hold it"
    );
    assert!(judged(expiry(), &hanging(105..162)).findings.is_empty());
    assert_eq!(judged(expiry(), &hanging(105..163)).findings.len(), 1);
}

#[test]
fn calls_that_are_answered_are_no_harm() {
    let spans: Vec<Span> = (100..200).map(|s| call(s, false)).collect();
    assert!(
        judged(expiry(), &spans).findings.is_empty(),
        "a draining instance may answer"
    );
}

#[test]
fn an_address_somebody_took_again_is_not_gone() {
    let mut events = expiry();
    events.push(event(131, "registered", "payment-3", ADDRESS));
    let judgement = judged(events.clone(), &failing((132..200).step_by(5)));
    assert!(
        judgement.findings.is_empty(),
        "its failures have another cause: {judgement:?}"
    );
    let judgement = judged(events, &failing([105, 110, 115, 120, 150, 160]));
    assert_eq!(judgement.findings.len(), 1);
    assert_eq!(judgement.findings[0].until, Some(at(131)));
    assert!(
        judgement.findings[0]
            .headline
            .ends_with("4 calls failed since.")
    );
}

#[test]
fn another_address_and_another_callers_failures_stay_apart() {
    let spans: Vec<Span> = (0..3u64)
        .flat_map(|i| {
            [
                call_by(
                    "order-management",
                    &format!("order-management-{i}"),
                    105 + 10 * i,
                    true,
                ),
                call_by(
                    "order-management",
                    &format!("order-management-{i}"),
                    150 + 10 * i,
                    true,
                ),
            ]
        })
        .collect();
    assert!(
        judged(expiry(), &spans).findings.is_empty(),
        "one call in vain each"
    );
    let elsewhere = vec![
        event(0, "registered", "x", "127.0.0.1:1"),
        event(100, "expired", "x", "127.0.0.1:1"),
    ];
    assert!(judged(elsewhere, &failing(105..150)).findings.is_empty());
}

#[test]
fn held_shortly_it_is_the_failed_call_that_should_have_told() {
    let finding = judged(expiry(), &failing([101, 102, 103, 104]))
        .findings
        .remove(0);
    assert_eq!(
        finding.cause,
        "order-management does not drop payment's address when calls to it fail"
    );
}

#[test]
fn the_registrys_own_limit_is_the_measure_where_it_states_one() {
    let mut evidence = evidence(expiry(), &failing([101, 102, 103, 104]));
    evidence.snapshots.push(RegistrySnapshot {
        at: at(1),
        as_of: None,
        registry: "http://127.0.0.1:8081".into(),
        seq: None,
        config: serde_json::json!({"expire_after_ms": 2250}),
        instances: Vec::new(),
    });
    let finding = CachedAfterRemoval.judge(&evidence).findings.remove(0);
    assert_eq!(
        finding.cause,
        "order-management has kept payment's address for 4.00s after it left, longer than the registry's own time \
         limit of 2.25s"
    );
}

#[test]
fn a_lookup_since_leaves_room_for_doubt_unless_the_cache_was_seen() {
    let mut spans = failing([101, 102, 103, 104]);
    spans.push(lookup(102));
    let mut evidence = evidence(expiry(), &spans);
    assert_eq!(
        CachedAfterRemoval.judge(&evidence).findings[0].certainty,
        Certainty::Likely
    );
    evidence.probes.push(ProbeResult {
        at: at(103),
        instance: Some("payment-2".into()),
        service: Some("payment".into()),
        address: ADDRESS.into(),
        check: "caches".into(),
        ok: false,
        status: None,
        duration_nano: 0,
        error: Some("refused".into()),
        raw: serde_json::json!({"cached_by": [{"instance": "order-management-1", "age_ms": 12000}]}),
    });
    let finding = CachedAfterRemoval.judge(&evidence).findings.remove(0);
    assert_eq!(finding.certainty, Certainty::Sure);
    let texts: Vec<&str> = finding
        .evidence
        .iter()
        .map(|seen| seen.what.as_str())
        .collect();
    assert!(
        texts.contains(&"still in the cache of order-management-1"),
        "{texts:?}"
    );
    assert!(
        texts.contains(&"1 probes of 127.0.0.1:9201 failed since"),
        "{texts:?}"
    );
}

#[test]
fn without_its_signals_it_cannot_tell() {
    let no_registry = ask(
        &CachedAfterRemoval,
        &evidence(Vec::new(), &failing([101, 102, 103, 104])),
    );
    assert_eq!(no_registry.verdict, Verdict::CannotTell);
    assert_eq!(
        no_registry.missing,
        ["no registry events or snapshots in the window"]
    );
    let no_spans = ask(&CachedAfterRemoval, &evidence(expiry(), &[]));
    assert_eq!(no_spans.missing, ["no client spans in the window"]);
    let mut nameless = failing([101, 102, 103, 104]);
    nameless
        .iter_mut()
        .for_each(|span| span.attributes.0.clear());
    let nameless = ask(&CachedAfterRemoval, &evidence(expiry(), &nameless));
    assert_eq!(
        nameless.missing,
        ["no client span in the window says which address it called"]
    );
    assert_eq!(
        ask(&CachedAfterRemoval, &evidence(expiry(), &failing([50]))).verdict,
        Verdict::Pass
    );
}

#[test]
fn the_answer_does_not_depend_on_the_order_of_spans() {
    let spans = failing([90, 110, 120, 140, 250]);
    let mut reversed = spans.clone();
    reversed.reverse();
    assert_eq!(judged(expiry(), &spans), judged(expiry(), &reversed));
}
