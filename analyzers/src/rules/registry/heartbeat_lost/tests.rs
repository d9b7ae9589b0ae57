use super::*;
use crate::testing::{Scene, SpanOf, event, gauge, probe, span};

const ID: &str = "payment-h-1-a";
const ADDRESS: &str = "127.0.0.1:9200";

fn beat(seconds: f64) -> SpanOf {
    span("payment", ID, "POST /heartbeat", seconds)
        .client()
        .text("http.request.method", "POST")
        .text("url.template", "/heartbeat")
}

fn expired(seconds: f64) -> [case::signal::RegistryEvent; 2] {
    let mut expired = event(seconds, "expired", "payment", ID, ADDRESS);
    expired.reason = Some("no heartbeat for 45000 ms".into());
    let mut draining = event(seconds, "draining", "payment", ID, ADDRESS);
    draining.reason = Some("expired".into());
    [expired, draining]
}

/// Registered, beats to 45 s, expired at 90 s; heard by its metrics to 300 s.
fn scene() -> Scene {
    let scene = Scene::new()
        .event(event(0.0, "registered", "payment", ID, ADDRESS))
        .events(expired(90.0))
        .spans([15.0, 30.0, 45.0].map(|s| beat(s).int("http.response.status_code", 200)));
    (0..=20).fold(scene, |scene, step| {
        scene.metric(gauge(
            "payment",
            ID,
            f64::from(step) * 15.0,
            "process.uptime",
            1.0,
            &[],
        ))
    })
}

fn task(scene: Scene, alive: f64) -> Scene {
    scene.metric(gauge(
        "payment",
        ID,
        200.0,
        "shop.task.alive",
        alive,
        &[("task", "heartbeat")],
    ))
}

#[test]
fn a_task_that_ended_is_told_from_one_that_waits_by_its_metric() {
    let stopped = task(scene(), 0.0).finding(&HeartbeatLost);
    assert_eq!(
        (stopped.cause_id, stopped.certainty),
        (STOPPED, Certainty::Sure)
    );
    let stuck = task(scene(), 1.0).finding(&HeartbeatLost);
    assert_eq!(
        (stuck.cause_id, stuck.certainty),
        (DEADLOCKED, Certainty::Sure)
    );
    let blind = scene().finding(&HeartbeatLost);
    assert_eq!(blind.cause_id, STOPPED);
    assert_eq!(blind.alternatives[0].cause_id, DEADLOCKED);
    assert!(blind.alternatives[0].missing.contains("shop.task.alive"));
}

#[test]
fn heartbeats_that_fail_on_the_way_are_a_cut_path() {
    let found = task(scene(), 1.0)
        .spans([60.0, 75.0, 90.0].map(|s| beat(s).error("timeout")))
        .finding(&HeartbeatLost);
    assert_eq!((found.cause_id, found.certainty), (CUT, Certainty::Sure));
}

#[test]
fn two_rounds_of_expiring_and_coming_back_are_an_interval_too_long() {
    let round = |scene: Scene, start: f64| {
        let mut back = event(start + 60.0, "status_changed", "payment", ID, ADDRESS);
        back.reason = Some("draining to healthy".into());
        scene
            .events(expired(start + 45.0))
            .event(back)
            .span(beat(start + 60.0).int("http.response.status_code", 200))
    };
    let start = Scene::new()
        .event(event(0.0, "registered", "payment", ID, ADDRESS))
        .span(beat(0.0).int("http.response.status_code", 200))
        .metric(gauge("payment", ID, 0.0, "process.uptime", 1.0, &[]))
        .metric(gauge("payment", ID, 300.0, "process.uptime", 1.0, &[]));
    let once = round(start, 0.0);
    once.passes(&HeartbeatLost);
    let found = round(once, 60.0).finding(&HeartbeatLost);
    assert_eq!((found.cause_id, found.certainty), (RARE, Certainty::Sure));
}

#[test]
fn three_heartbeats_answered_404_are_a_registry_that_forgot() {
    let unknown = |number: u32| {
        let scene = Scene::new()
            .event(event(0.0, "registered", "payment", ID, ADDRESS))
            .event(event(50.0, "restarted", "", "", ""))
            .metric(gauge("payment", ID, 0.0, "process.uptime", 1.0, &[]));
        (0..number).fold(scene, |scene, step| {
            let beat = beat(60.0 + 15.0 * f64::from(step));
            scene.span(beat.int("http.response.status_code", 404).error("404"))
        })
    };
    unknown(2).passes(&HeartbeatLost);
    let found = unknown(3).finding(&HeartbeatLost);
    assert_eq!(found.cause_id, FORGOT);
    let again = span("payment", ID, "POST /register", 61.0)
        .client()
        .text("http.request.method", "POST")
        .text("url.template", "/register")
        .int("http.response.status_code", 201);
    unknown(3).span(again).passes(&HeartbeatLost);
}

#[test]
fn who_died_with_its_heartbeats_is_no_matter_of_this_rule() {
    let died = Scene::new()
        .event(event(0.0, "registered", "payment", ID, ADDRESS))
        .events(expired(90.0))
        .metric(gauge("payment", ID, 0.0, "process.uptime", 1.0, &[]));
    // Heard for 44 s after it was expired: less than the registry's 45 s.
    died.clone()
        .metric(gauge("payment", ID, 134.0, "process.uptime", 1.0, &[]))
        .passes(&HeartbeatLost);
    died.metric(gauge("payment", ID, 135.0, "process.uptime", 1.0, &[]))
        .finding(&HeartbeatLost);
    scene()
        .probe(probe(
            120.0,
            "payment",
            ID,
            ADDRESS,
            "live",
            Some("timeout"),
        ))
        .passes(&HeartbeatLost);
    scene()
        .event(event(95.0, "deregistered", "payment", ID, ADDRESS))
        .passes(&HeartbeatLost);
    assert!(!Scene::new().cannot_tell(&HeartbeatLost).is_empty());
}

#[test]
fn a_registry_that_expires_everybody_blames_nobody() {
    let others = |scene: Scene, number: u32| {
        (0..number).fold(scene, |scene, n| {
            let id = format!("other-h-{n}-a");
            let mut expired = event(90.0, "expired", "other", &id, "127.0.0.1:7");
            expired.reason = Some("no heartbeat for 45000 ms".into());
            scene
                .event(event(0.0, "registered", "other", &id, "127.0.0.1:7"))
                .event(expired)
                .metric(gauge("other", &id, 1.0, "process.uptime", 1.0, &[]))
        })
    };
    others(scene(), 2).finding(&HeartbeatLost);
    others(scene(), 3).passes(&HeartbeatLost);
}
