use super::*;
use crate::engine::Certainty;
use crate::testing::{Scene, SpanOf, event, log, snapshot, span};

fn live(scene: Scene, service: &str, instance: &str) -> Scene {
    scene
        .log(log(service, instance, 1.0, "INFO", "alive", &[]))
        .log(log(service, instance, 500.0, "INFO", "alive", &[]))
}

/// Two catalog instances, one id.
fn collision(id: &str) -> Scene {
    let scene = Scene::new()
        .event(event(0.0, "registered", "catalog", id, "127.0.0.1:1"))
        .event(event(1.0, "replaced", "catalog", id, "127.0.0.1:2"))
        .snapshot(snapshot(
            100.0,
            &[("catalog", id, "127.0.0.1:2", "healthy")],
        ));
    live(
        live(scene, "catalog", "catalog-h-1-a"),
        "catalog",
        "catalog-h-2-b",
    )
}

#[test]
fn one_row_for_several_live_instances_is_an_identical_id() {
    let found = collision("catalog").finding(&InstanceIdCollision);
    assert_eq!(
        (found.cause_id, found.certainty),
        (IDENTICAL, Certainty::Sure)
    );
    // A copied id of the right form, and one without its host, belong to the rule of the field.
    for id in ["catalog-h-1-0a1b2c3d", "catalog-8080"] {
        collision(id).passes(&InstanceIdCollision);
    }
}

#[test]
fn an_id_that_moved_with_its_process_is_no_collision() {
    let scene = Scene::new()
        .event(event(
            0.0,
            "registered",
            "catalog",
            "catalog",
            "127.0.0.1:1",
        ))
        .event(event(
            300.0,
            "replaced",
            "catalog",
            "catalog",
            "127.0.0.1:2",
        ))
        .log(log("catalog", "catalog-h-1-a", 1.0, "INFO", "alive", &[]))
        .log(log("catalog", "catalog-h-1-a", 290.0, "INFO", "alive", &[]));
    live(scene, "catalog", "catalog-h-2-b").passes(&InstanceIdCollision);
}

fn call(number: u32, caller: &str, to: &str) -> SpanOf {
    span(
        "api-gateway",
        caller,
        "orders/Get",
        31.0 + f64::from(number),
    )
    .client()
    .to(to)
}

fn two_rows() -> Scene {
    Scene::new()
        .event(event(
            0.0,
            "registered",
            "orders",
            "orders-h-1-a",
            "127.0.0.1:1",
        ))
        .event(event(
            0.0,
            "registered",
            "orders",
            "orders-h-2-b",
            "127.0.0.1:2",
        ))
}

#[test]
fn twenty_calls_to_one_of_two_are_a_caller_that_takes_the_first() {
    let only = |number| two_rows().spans((0..number).map(|n| call(n, "g", "127.0.0.1:1")));
    only(19).passes(&InstanceIdCollision);
    let found = only(20).finding(&InstanceIdCollision);
    assert_eq!(
        (found.cause_id, found.certainty),
        (FIRST, Certainty::Likely)
    );
    let sure = only(20)
        .spans((0..4).map(|n| {
            call(
                n,
                "other",
                if n % 2 == 0 {
                    "127.0.0.1:1"
                } else {
                    "127.0.0.1:2"
                },
            )
        }))
        .finding(&InstanceIdCollision);
    assert_eq!(sure.certainty, Certainty::Sure);
    // What was looked up before the second was listed may be gone by for as long as it is cached.
    Scene::new()
        .event(event(
            0.0,
            "registered",
            "orders",
            "orders-h-1-a",
            "127.0.0.1:1",
        ))
        .event(event(
            2.0,
            "registered",
            "orders",
            "orders-h-2-b",
            "127.0.0.1:2",
        ))
        .spans((0..20).map(|n| call(n, "g", "127.0.0.1:1")))
        .passes(&InstanceIdCollision);
    two_rows()
        .spans((0..60).map(|n| {
            call(
                n,
                "g",
                if n % 2 == 0 {
                    "127.0.0.1:1"
                } else {
                    "127.0.0.1:2"
                },
            )
        }))
        .passes(&InstanceIdCollision);
}

#[test]
fn a_caller_that_selects_by_metadata_may_be_left_with_one() {
    let lookup = span("api-gateway", "g", "GET /services/{name}", 5.0)
        .client()
        .text("http.request.method", "GET")
        .text("url.template", "/services/{name}")
        .text("url.full", "http://127.0.0.1:8081/services/orders?env=prod");
    two_rows()
        .spans((0..40).map(|n| call(n, "g", "127.0.0.1:1")))
        .span(lookup)
        .passes(&InstanceIdCollision);
}

#[test]
fn with_one_left_there_is_nothing_to_choose() {
    two_rows()
        .event(event(
            5.0,
            "removed",
            "orders",
            "orders-h-2-b",
            "127.0.0.1:2",
        ))
        .spans((0..60).map(|n| call(n, "g", "127.0.0.1:1")))
        .passes(&InstanceIdCollision);
    assert!(!Scene::new().cannot_tell(&InstanceIdCollision).is_empty());
}

#[test]
fn ids_are_read_by_their_parts() {
    assert_eq!(
        missing_part("catalog-h-8080-1e80b869-61e5", "catalog"),
        None
    );
    assert_eq!(missing_part("catalog-8080", "catalog"), Some("host"));
    assert_eq!(missing_part("catalog", "catalog"), Some("host"));
    assert_eq!(missing_part("catalog-h-8080", "catalog"), Some("uuid"));
    assert_eq!(missing_part("x-h-8080-1", "catalog"), Some("service"));
    assert_eq!(missing_part("catalog-h-abcdef", "catalog"), Some("port"));
}
