use case::model::Span;
use case::signal::RegistryEvent;

use super::*;
use crate::testing::{S, Scene, at, event, probe, reversed, snapshot, span};

const ADDRESS: &str = "127.0.0.1:9201";

/// payment-2 is registered at 0 s, last beats before 50 s and expires at 100 s.
fn expiry() -> Vec<RegistryEvent> {
    let payment = |seconds: u32, kind| event(seconds, kind, "payment", "payment-2", ADDRESS);
    let mut events = vec![
        payment(0, "registered"),
        payment(80, "suspect"),
        payment(100, "expired"),
        payment(100, "draining"),
        payment(130, "removed"),
    ];
    events[2].reason = Some("no heartbeat".into());
    events
}

fn call(seconds: u32, failed: bool) -> Span {
    call_by("order-management", "order-management-1", seconds, failed)
}

fn call_by(service: &str, instance: &str, seconds: u32, failed: bool) -> Span {
    let call = span(
        service,
        instance,
        "payments.v1.PaymentsService/ProcessPayment",
        seconds,
    )
    .client()
    .to(ADDRESS);
    let call = call.lasting(0.1);
    if failed {
        call.error("UNAVAILABLE")
    } else {
        call
    }
    .into()
}

fn lookup(seconds: u32) -> Span {
    span(
        "order-management",
        "order-management-1",
        "resolve payment",
        seconds,
    )
    .text("shop.registry.cache", "miss")
    .into()
}

fn scene(events: Vec<RegistryEvent>, spans: &[Span]) -> Scene {
    Scene::new().events(events).spans(spans.iter().cloned())
}

fn judged(events: Vec<RegistryEvent>, spans: &[Span]) -> Judgement {
    scene(events, spans).judge(&CachedAfterRemoval)
}

fn failing(seconds: impl IntoIterator<Item = u32>) -> Vec<Span> {
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
        "registry event 3: expired payment-2 (no heartbeat)"
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
    let mut at_once = failing(std::iter::repeat_n(110, 20));
    for (number, call) in (1u8..).zip(&mut at_once) {
        call.trace_id.0[0] = number;
    }
    let scene = scene(expiry(), &at_once);
    assert_eq!(scene.evidence().calls.to_departed.len(), 20);
    let judgement = scene.judge(&CachedAfterRemoval);
    assert!(judgement.findings.is_empty(), "{judgement:?}");
}

#[test]
fn calls_that_hang_count_once_no_cache_should_hold_the_address() {
    // Each waits 100 s for an answer, so no failure is known before the last call has begun.
    let hanging = |seconds: std::ops::Range<u32>| -> Vec<Span> {
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
fn an_instance_that_still_speaks_is_not_gone() {
    let failed = failing([101, 102, 103, 104]);
    let speaks = |seconds: u32| {
        let own: Span = span("payment", "payment-2", "POST /pay", seconds)
            .lasting(0.5)
            .into();
        scene(expiry(), &failed).span(own)
    };
    speaks(120).passes(&CachedAfterRemoval);
    // Silent since the first of the calls began to fail, which leaves three in vain.
    assert_eq!(speaks(100).finding(&CachedAfterRemoval).traces.len(), 1);
}

#[test]
fn an_address_somebody_took_again_is_not_gone() {
    let mut events = expiry();
    events.push(event(131, "registered", "payment", "payment-3", ADDRESS));
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
    let spans: Vec<Span> = (0..3u32)
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
        event(0, "registered", "x", "x", "127.0.0.1:1"),
        event(100, "expired", "x", "x", "127.0.0.1:1"),
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
    let mut stated = snapshot(1, &[]);
    stated.config = serde_json::json!({"expire_after_ms": 2250});
    let finding = scene(expiry(), &failing([101, 102, 103, 104]))
        .snapshot(stated)
        .finding(&CachedAfterRemoval);
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
    let unseen = scene(expiry(), &spans);
    assert_eq!(
        unseen.finding(&CachedAfterRemoval).certainty,
        Certainty::Likely
    );
    let mut cached = probe(
        103,
        "payment",
        "payment-2",
        ADDRESS,
        "caches",
        Some("refused"),
    );
    cached.raw =
        serde_json::json!({"cached_by": [{"instance": "order-management-1", "age_ms": 12000}]});
    let finding = unseen.probe(cached).finding(&CachedAfterRemoval);
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
    let failed = failing([101, 102, 103, 104]);
    assert_eq!(
        scene(Vec::new(), &failed).cannot_tell(&CachedAfterRemoval),
        ["no registry events or snapshots in the window"]
    );
    assert_eq!(
        scene(expiry(), &[]).cannot_tell(&CachedAfterRemoval),
        ["no client spans in the window"]
    );
    let mut nameless = failed;
    nameless
        .iter_mut()
        .for_each(|span| span.attributes.0.clear());
    assert_eq!(
        scene(expiry(), &nameless).cannot_tell(&CachedAfterRemoval),
        ["no client span in the window says which address it called"]
    );
    scene(expiry(), &failing([50])).passes(&CachedAfterRemoval);
}

#[test]
fn the_answer_does_not_depend_on_the_order_of_arrival() {
    let scene = scene(expiry(), &failing([90, 110, 120, 140, 250]));
    assert_eq!(
        scene.judge(&CachedAfterRemoval),
        reversed(&scene).judge(&CachedAfterRemoval)
    );
}
