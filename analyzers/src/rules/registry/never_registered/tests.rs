use super::*;
use crate::testing::{Scene, SpanOf, at, event, gauge, log, snapshot, span};

const ID: &str = "inventory-h-2-b";

fn register(seconds: f64) -> SpanOf {
    span("inventory", ID, "POST /register", seconds)
        .client()
        .text("http.request.method", "POST")
        .text("url.template", "/register")
}

fn served(status: i64) -> SpanOf {
    span("registry", "registry-0", "POST /register", 1.0)
        .server()
        .text("http.request.method", "POST")
        .text("http.route", "/register")
        .int("http.response.status_code", status)
}

/// One inventory is registered; another one lives for 100 s.
fn scene() -> Scene {
    Scene::new()
        .event(event(
            0.0,
            "registered",
            "inventory",
            "inventory-h-1-a",
            "127.0.0.1:1",
        ))
        .snapshot(snapshot(
            200.0,
            &[("inventory", "inventory-h-1-a", "127.0.0.1:1", "healthy")],
        ))
        .metric(gauge("inventory", ID, 1.0, "process.uptime", 1.0, &[]))
        .metric(gauge("inventory", ID, 101.0, "process.uptime", 101.0, &[]))
}

#[test]
fn attempts_that_never_arrive_are_told_from_refusals() {
    let cut = scene()
        .spans([1.0, 3.0, 7.0].map(|s| register(s).error("timeout")))
        .span(served(201).ids(9, 9, 8))
        .finding(&NeverRegistered);
    assert_eq!(cut.cause_id, UNREACHABLE);
    assert_eq!(cut.certainty, crate::engine::Certainty::Sure);
    assert_eq!(cut.since, at(1));
    let blind = scene()
        .spans([1.0, 3.0, 7.0].map(|s| register(s).error("timeout")))
        .finding(&NeverRegistered);
    assert_eq!(blind.alternatives[0].cause_id, REJECTED);
    for (status, cause) in [
        (401, REJECTED),
        (403, REJECTED),
        (400, MALFORMED),
        (422, MALFORMED),
    ] {
        let found = scene()
            .span(
                register(1.0)
                    .int("http.response.status_code", status)
                    .error("4xx"),
            )
            .finding(&NeverRegistered);
        assert_eq!(found.cause_id, cause, "{status}");
    }
}

#[test]
fn the_registrys_log_names_the_field() {
    let mut refused = log(
        "registry",
        "registry-0",
        1.0,
        "WARN",
        "a registration was refused",
        &[("instance_id", ID), ("error.details", "address is missing")],
    );
    refused.event_name = "registry.refused".into();
    let found = scene()
        .span(
            register(1.0)
                .int("http.response.status_code", 400)
                .error("400"),
        )
        .log(refused)
        .finding(&NeverRegistered);
    assert!(
        found
            .evidence
            .iter()
            .any(|seen| seen.what.contains("address is missing"))
    );
}

#[test]
fn no_attempt_at_all_is_sure_only_where_attempts_show() {
    let other = span("inventory", "inventory-h-1-a", "POST /register", 0.5)
        .client()
        .text("http.request.method", "POST")
        .text("url.template", "/register")
        .int("http.response.status_code", 201);
    let found = scene().span(other).finding(&NeverRegistered);
    assert_eq!((found.cause_id, found.alternatives.len()), (NEVER, 0));
    let found = scene().finding(&NeverRegistered);
    assert_eq!(found.alternatives[0].cause_id, UNREACHABLE);
}

#[test]
fn passes_while_it_may_still_be_starting_and_when_listed() {
    let short = Scene::new()
        .event(event(
            0.0,
            "registered",
            "inventory",
            "inventory-h-1-a",
            "127.0.0.1:1",
        ))
        .event(event(
            200.0,
            "suspect",
            "inventory",
            "inventory-h-1-a",
            "127.0.0.1:1",
        ))
        .metric(gauge("inventory", ID, 1.0, "process.uptime", 1.0, &[]))
        .metric(gauge("inventory", ID, 31.0, "process.uptime", 30.0, &[]));
    short.passes(&NeverRegistered);
    short
        .metric(gauge("inventory", ID, 31.1, "process.uptime", 30.1, &[]))
        .finding(&NeverRegistered);
    scene()
        .event(event(2.0, "registered", "inventory", ID, "127.0.0.1:2"))
        .passes(&NeverRegistered);
    // Who is never registered by nature, such as a client, is none of it.
    scene()
        .event(event(2.0, "registered", "inventory", ID, "127.0.0.1:2"))
        .metric(gauge("load-generator", "l", 1.0, "x", 1.0, &[]))
        .metric(gauge("load-generator", "l", 900.0, "x", 1.0, &[]))
        .passes(&NeverRegistered);
}

#[test]
fn cannot_tell_without_a_registry() {
    let scene = Scene::new().metric(gauge("inventory", ID, 1.0, "process.uptime", 1.0, &[]));
    assert_eq!(scene.cannot_tell(&NeverRegistered).len(), 1);
}
