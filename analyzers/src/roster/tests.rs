#![allow(clippy::unwrap_used)]

use case::model::{Attributes, Origin, Value};
use case::signal::RegistryInstance;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn window() -> Window {
    Window {
        from: Nanos(0),
        until: Nanos(300 * SECOND),
    }
}

fn event(at: u64, kind: &str, id: &str, reason: &str) -> RegistryEvent {
    RegistryEvent {
        at: Nanos(at * SECOND),
        registry: "r".into(),
        seq: at,
        kind: kind.into(),
        id: id.into(),
        name: id
            .trim_end_matches(|c: char| c == '-' || c.is_numeric())
            .into(),
        address: format!("h:{id}"),
        reason: (!reason.is_empty()).then(|| reason.to_owned()),
    }
}

fn span(instance: &str, at: u64, kind: SpanKind) -> Span {
    let mut resource = Resource::default();
    for (key, value) in [
        ("service.name", "payment"),
        ("service.instance.id", instance),
    ] {
        resource.attributes.push(key, Value::Text(value.to_owned()));
    }
    Span {
        origin: Origin {
            resource: resource.into(),
            ..Origin::default()
        },
        kind,
        start: Nanos(at * SECOND),
        attributes: Attributes(vec![
            ("server.address".into(), Value::Text("h".into())),
            ("server.port".into(), Value::Text(instance.into())),
        ]),
        ..Span::default()
    }
}

fn probe(at: u64, id: &str, ok: bool, cached_by: &[&str]) -> ProbeResult {
    ProbeResult {
        at: Nanos(at * SECOND),
        instance: Some(id.into()),
        service: None,
        address: String::new(),
        check: "caches".into(),
        ok,
        status: None,
        duration_nano: 1,
        error: (!ok).then(|| "refused".into()),
        raw: serde_json::json!({ "cached_by":
            cached_by.iter().map(|who| serde_json::json!({"caller": who, "age_ms": 71_000})).collect::<Vec<_>>() }),
    }
}

fn roster(
    spans: &[Span],
    events: &[RegistryEvent],
    snapshots: &[RegistrySnapshot],
    probes: &[ProbeResult],
) -> Roster {
    let mut gather = Gather::default();
    spans.iter().for_each(|span| gather.take(span));
    gather.settle(window(), events, snapshots, probes)
}

fn standings(roster: &Roster) -> Vec<(&str, Standing)> {
    roster
        .instances
        .iter()
        .map(|instance| (instance.id.as_str(), instance.standing))
        .collect()
}

#[test]
fn a_cache_looked_into_before_the_instance_left_holds_nothing_against_it() {
    let events = [
        event(1, "registered", "payment-1", ""),
        event(100, "removed", "payment-1", ""),
    ];
    let of = |at| {
        let roster = roster(&[], &events, &[], &[probe(at, "payment-1", true, &["a"])]);
        roster.instances[0].standing
    };
    assert_eq!(of(99), Standing::Gone);
    assert_eq!(of(101), Standing::CachedThoughGone);
}

#[test]
fn each_way_the_sides_disagree_has_a_name() {
    let events = [
        event(1, "registered", "payment-1", ""),
        event(1, "registered", "payment-2", ""),
        event(1, "registered", "payment-3", ""),
        event(1, "registered", "payment-4", ""),
        event(1, "registered", "payment-5", ""),
        event(1, "registered", "payment-6", ""),
        event(1, "registered", "payment-7", ""),
        event(100, "expired", "payment-2", "no heartbeat"),
        event(110, "removed", "payment-2", ""),
        event(100, "deregistered", "payment-4", "shutdown"),
        event(290, "suspect", "payment-5", ""),
    ];
    use SpanKind::{Client, Server};
    let spans = [
        span("payment-1", 299, Server),
        span("payment-2", 99, Server),
        span("payment-3", 150, Client),
        span("payment-4", 250, Server),
        span("payment-5", 299, Server),
        span("payment-6", 299, Server),
        span("reviews-9", 299, Server),
        span("load-1", 299, Client),
    ];
    let probes = [
        probe(299, "payment-2", false, &["order-1"]),
        probe(100, "payment-6", true, &[]),
        probe(299, "payment-6", false, &[]),
    ];
    let roster = roster(&spans, &events, &[], &probes);
    assert_eq!(
        standings(&roster),
        [
            ("payment-4", Standing::ServingUnregistered),
            ("reviews-9", Standing::ServingUnregistered),
            ("payment-2", Standing::CachedThoughGone),
            ("payment-3", Standing::RegisteredButSilent),
            ("payment-5", Standing::Ailing),
            ("payment-6", Standing::RegisteredButUnreachable),
            ("payment-7", Standing::Unheard),
            ("payment-1", Standing::Agrees),
        ]
    );
    assert_eq!((roster.only_callers, roster.names), (1, 1));
    let gone = &roster.instances[2];
    assert_eq!(gone.cached_by[0].caller, "order-1");
    assert_eq!(gone.probe.as_ref().unwrap().found, "refused");
    let states: Vec<(u64, State)> = gone
        .states
        .iter()
        .map(|stretch| (stretch.since.0 / SECOND, stretch.state))
        .collect();
    assert_eq!(
        states,
        [
            (1, State::Healthy),
            (100, State::Draining),
            (110, State::Removed)
        ]
    );
    assert_eq!(gone.states[2].until, window().until);
}

#[test]
fn snapshots_alone_tell_who_left_and_when_heartbeats_came() {
    let snapshot = |at: u64, ids: &[&str]| RegistrySnapshot {
        at: Nanos(at * SECOND),
        as_of: None,
        registry: "r".into(),
        seq: None,
        config: serde_json::Value::Null,
        instances: ids
            .iter()
            .map(|id| RegistryInstance {
                id: (*id).into(),
                name: "payment".into(),
                address: format!("h:{id}"),
                status: "healthy".into(),
                last_seen: Some(Nanos((at - 3) * SECOND)),
                registered_at: Some(Nanos(SECOND)),
                seq: None,
                health_path: None,
                metadata: [("version".to_owned(), "2".to_owned())].into(),
            })
            .collect(),
    };
    let snapshots = [snapshot(10, &["a", "b"]), snapshot(20, &["a"])];
    let roster = roster(&[], &[], &snapshots, &[]);
    let of = |id: &str| roster.instances.iter().find(|i| i.id == id).unwrap();
    assert_eq!(
        (of("a").state, of("b").state),
        (State::Healthy, State::Removed)
    );
    assert_eq!(of("b").since, Nanos(20 * SECOND));
    assert_eq!(of("a").heartbeat_age, Some(3 * SECOND));
    assert_eq!(of("a").version, "2");
    assert_eq!(of("a").states.len(), 1);
    assert_eq!(of("a").states[0].since, Nanos(SECOND));
}

#[test]
fn without_a_registry_nobody_is_unregistered() {
    let roster = roster(&[span("a", 299, SpanKind::Server)], &[], &[], &[]);
    assert_eq!(standings(&roster), [("a", Standing::Agrees)]);
}

#[test]
fn a_changed_status_is_read_from_its_reason() {
    let events = [
        event(1, "registered", "a-1", ""),
        event(2, "status_changed", "a-1", "healthy -> degraded"),
        event(3, "heartbeat_missed", "a-1", ""),
        event(4, "status_changed", "a-1", "unhealthy"),
        event(5, "status_changed", "a-1", "whatever"),
    ];
    let roster = roster(&[], &events, &[], &[]);
    let states: Vec<State> = roster.instances[0].states.iter().map(|s| s.state).collect();
    assert_eq!(states, [State::Healthy, State::Degraded, State::Unhealthy]);
}
