use super::*;
use crate::testing::{Scene, SpanOf, event, probe, span};

const ILL: &str = "inventory-h-2-b";
const ADDRESS: &str = "127.0.0.1:2";

fn scene(failed: u32) -> Scene {
    let served = |id: &'static str, n: u32| {
        span("inventory", id, "Reserve", 20.0 + 10.0 * f64::from(n)).server()
    };
    Scene::new()
        .event(event(
            0.0,
            "registered",
            "inventory",
            "inventory-h-1-a",
            "127.0.0.1:1",
        ))
        .event(event(0.0, "registered", "inventory", ILL, ADDRESS))
        .spans((0..10).map(|n| served("inventory-h-1-a", n)))
        .spans((0..failed).map(|n| served(ILL, n).error("500")))
}

fn ready(scene: Scene, seconds: &[f64], error: Option<&str>) -> Scene {
    seconds.iter().fold(scene, |scene, s| {
        scene.probe(probe(*s, "inventory", ILL, ADDRESS, "ready", error))
    })
}

fn mark(seconds: f64) -> case::signal::RegistryEvent {
    let mut ill = event(seconds, "status_changed", "inventory", ILL, ADDRESS);
    ill.reason = Some("healthy to unhealthy: 3 probes failed".into());
    ill
}

#[test]
fn a_green_page_is_told_from_a_slow_registry() {
    let green = ready(scene(8), &[25.0, 55.0, 85.0], None).finding(&DeadStillRouted);
    assert_eq!(green.cause_id, ALWAYS_OK);
    let slow = ready(scene(8), &[25.0, 55.0, 85.0], Some("answered 503")).event(mark(90.0));
    assert_eq!(slow.finding(&DeadStillRouted).cause_id, SLOW);
    let blind = scene(8).finding(&DeadStillRouted);
    assert_eq!(blind.alternatives[0].cause_id, SLOW);
}

#[test]
fn near_misses_pass() {
    ready(scene(7), &[25.0], None).passes(&DeadStillRouted);
    // Marked 44.9 s after the first red probe: within the 45 s of a registry that states nothing.
    ready(scene(8), &[25.0], Some("answered 503"))
        .event(mark(69.9))
        .passes(&DeadStillRouted);
    ready(scene(8), &[25.0], Some("answered 503"))
        .event(mark(70.0))
        .finding(&DeadStillRouted);
    // The sibling fails as well: not this instance alone.
    ready(scene(8), &[25.0], None)
        .spans((0..20).map(|n| {
            span(
                "inventory",
                "inventory-h-1-a",
                "Reserve",
                21.0 + 4.0 * f64::from(n),
            )
            .server()
            .error("500")
        }))
        .passes(&DeadStillRouted);
    assert!(!Scene::new().cannot_tell(&DeadStillRouted).is_empty());
}

fn call(seconds: f64) -> SpanOf {
    span("gateway", "g", "Reserve", seconds)
        .client()
        .to(ADDRESS)
}

fn lookup(caller: &str, seconds: f64) -> SpanOf {
    span(caller, caller, "GET /services/{name}", seconds)
        .client()
        .text("http.request.method", "GET")
        .text("url.template", "/services/{name}")
        .text("url.full", "http://127.0.0.1:8081/services/inventory")
        .int("http.response.status_code", 200)
}

#[test]
fn a_caller_that_never_asks_again_has_a_stale_cache() {
    let late = |number: u32| {
        scene(0)
            .event(mark(100.0))
            .spans((0..number).map(|n| call(145.0 + f64::from(n))))
            .span(lookup("orders", 120.0))
    };
    late(4).passes(&DeadStillRouted);
    let found = late(5).finding(&DeadStillRouted);
    assert_eq!(
        (found.cause_id, &*found.subjects[0].service),
        (CACHE, "gateway")
    );
    // Within the limit, and after asking anew, it is none of this.
    scene(0)
        .event(mark(100.0))
        .spans((0..5).map(|n| call(139.0 + f64::from(n))))
        .passes(&DeadStillRouted);
    late(5).span(lookup("g", 120.0)).finding(&DeadStillRouted);
}
