use super::*;
use crate::engine::Certainty;
use crate::testing::{Scene, SpanOf, event, gauge, log, probe, span};

const ID: &str = "payment-h-1-a";
const ADDRESS: &str = "10.0.0.7:9200";

fn call(seconds: f64, caller: &str) -> SpanOf {
    span("orders", caller, "payment/Process", seconds)
        .client()
        .to(ADDRESS)
}

fn scene() -> Scene {
    Scene::new()
        .event(event(0.0, "registered", "payment", ID, ADDRESS))
        .metric(gauge("payment", ID, 1.0, "process.uptime", 1.0, &[]))
        .metric(gauge("payment", ID, 500.0, "process.uptime", 1.0, &[]))
        .span(call(5.0, "orders-0"))
}

fn failing(scene: Scene, kind: &str, number: usize) -> Scene {
    scene.spans(
        [10.0, 20.0, 30.0, 40.0]
            .into_iter()
            .take(number)
            .map(|s| call(s, "orders-0").error(kind)),
    )
}

fn probed(scene: Scene, connect: Option<&str>, live: Option<&str>) -> Scene {
    scene
        .probe(probe(35.0, "payment", ID, ADDRESS, "connect", connect))
        .probe(probe(35.0, "payment", ID, "10.0.0.7:8200", "live", live))
}

fn listening(scene: Scene, at: &str) -> Scene {
    let mut line = log("payment", ID, 1.0, "INFO", "listening", &[("address", at)]);
    line.event_name = "service.listening".into();
    scene.log(line)
}

#[test]
fn a_broken_route_is_one_that_others_have() {
    let elsewhere = failing(scene(), "timeout", 4).spans([15.0, 25.0].map(|s| call(s, "orders-1")));
    let found = elsewhere.finding(&AddressUnreachable);
    assert_eq!((found.cause_id, found.certainty), (ROUTE, Certainty::Sure));
    let probes = probed(failing(scene(), "host_unreachable", 4), None, None);
    assert_eq!(probes.finding(&AddressUnreachable).cause_id, ROUTE);
}

#[test]
fn a_dark_port_beside_one_that_answers_is_a_filter() {
    let drop =
        probed(failing(scene(), "timeout", 4), Some("timeout"), None).finding(&AddressUnreachable);
    assert_eq!((drop.cause_id, drop.certainty), (FIREWALL, Certainty::Sure));
    let reject = probed(failing(scene(), "reset", 4), None, None).finding(&AddressUnreachable);
    assert_eq!(reject.cause_id, FIREWALL);
    let blind = failing(scene(), "timeout", 4).finding(&AddressUnreachable);
    assert_eq!(blind.alternatives[0].cause_id, ROUTE);
    assert!(blind.alternatives[0].missing.contains("probes"));
}

#[test]
fn everybody_refused_and_listening_elsewhere_is_the_wrong_interface() {
    let found =
        listening(failing(scene(), "refused", 4), "127.0.0.1:9200").finding(&AddressUnreachable);
    assert_eq!(
        (found.cause_id, found.certainty),
        (INTERFACE, Certainty::Sure)
    );
    let blind = failing(scene(), "refused", 4).finding(&AddressUnreachable);
    assert_eq!(blind.alternatives[0].cause_id, FIREWALL);
    // It listens where it says: then it was down, or is about to be.
    listening(failing(scene(), "refused", 4), ADDRESS).passes(&AddressUnreachable);
}

#[test]
fn near_misses_and_other_peoples_matters_pass() {
    failing(scene(), "timeout", 3).passes(&AddressUnreachable);
    failing(scene(), "timeout", 4)
        .span(call(45.0, "orders-0"))
        .passes(&AddressUnreachable);
    failing(scene(), "dns", 4).passes(&AddressUnreachable);
    failing(scene(), "503", 4).passes(&AddressUnreachable);
    // Dead with all its ports.
    probed(
        failing(scene(), "timeout", 4),
        Some("timeout"),
        Some("timeout"),
    )
    .passes(&AddressUnreachable);
    // Taken in and never worked on.
    probed(failing(scene(), "timeout", 4), None, None)
        .metric(gauge(
            "payment",
            ID,
            60.0,
            "testservice_active_requests",
            3.0,
            &[],
        ))
        .passes(&AddressUnreachable);
    // Answered, and the answer was lost.
    probed(failing(scene(), "timeout", 4), None, None)
        .span(span("payment", ID, "payment/Process", 20.0).server())
        .passes(&AddressUnreachable);
    assert!(!Scene::new().cannot_tell(&AddressUnreachable).is_empty());
}
