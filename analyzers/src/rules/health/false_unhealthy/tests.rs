use super::*;
use crate::engine::Certainty;
use crate::testing::{Scene, SpanOf, event, probe, snapshot, span};

const ID: &str = "catalog-h-1-a";
const ADDRESS: &str = "127.0.0.1:1";

fn scene(why: &str, failing: u32) -> Scene {
    let mut ill = event(100.0, "status_changed", "catalog", ID, ADDRESS);
    ill.reason = Some(format!(
        "healthy to unhealthy: 3 probes failed, the last one {why}"
    ));
    Scene::new()
        .event(event(0.0, "registered", "catalog", ID, ADDRESS))
        .event(ill)
        .spans((0..20).map(|n| {
            let served = span("catalog", ID, "GET /products", 90.0 + f64::from(n)).server();
            if n < failing {
                served.error("500")
            } else {
                served
            }
        }))
}

fn page(scene: Scene, name: &str, error: &str) -> Scene {
    let mut failed = probe(101.0, "catalog", ID, ADDRESS, "ready", Some("answered 503"));
    failed.status = Some(503);
    failed.raw = serde_json::json!({"body": {"checks": [
        {"name": "worker", "status": "pass"},
        {"name": name, "status": "fail", "error": error},
    ]}});
    scene.probe(failed)
}

fn cause(name: &str, error: &str) -> &'static str {
    page(scene("answered 503", 0), name, error)
        .finding(&FalseUnhealthy)
        .cause_id
}

#[test]
fn the_health_page_tells_the_cause() {
    assert_eq!(cause("upstream reviews", "reviews: refused"), DEPENDENCY);
    assert_eq!(
        cause("store", "timed out waiting for a database connection"),
        DATABASE
    );
    assert_eq!(cause("cpu", "61% is above the threshold of 50%"), STRICT);
}

#[test]
fn good_answers_that_come_late_are_a_tight_timeout() {
    let look = |s: f64| -> SpanOf {
        span("registry", "r", "GET {health_path}", s)
            .client()
            .ids(s as u64, s as u64, 0)
            .text("shop.instance.target", ID)
            .error("timeout")
            .lasting(0.1)
    };
    let told = |s: f64, took: f64| {
        span("catalog", ID, "GET /health/ready", s)
            .server()
            .ids(s as u64, 1000 + s as u64, s as u64)
            .text("http.route", "/health/ready")
            .int("http.response.status_code", 200)
            .lasting(took)
    };
    let found = scene("gave no answer within 100 ms", 0)
        .spans([96.0, 97.0, 98.0].map(look))
        .spans([96.0, 97.0, 98.0].map(|s| told(s, 0.15)))
        .finding(&FalseUnhealthy);
    assert_eq!((found.cause_id, found.certainty), (TIGHT, Certainty::Sure));
    // Probes that were lost on the way have no answer at all.
    scene("gave no answer within 100 ms", 0)
        .spans([96.0, 97.0, 98.0].map(look))
        .passes(&FalseUnhealthy);
    let mut rows = snapshot(5.0, &[("catalog", ID, ADDRESS, "healthy")]);
    rows.config = serde_json::json!({"probe_timeout_ms": 100});
    let mut good = probe(101.0, "catalog", ID, ADDRESS, "ready", None);
    good.duration_nano = 150_000_000;
    let blind = scene("gave no answer within 100 ms", 0)
        .snapshot(rows)
        .probe(good)
        .finding(&FalseUnhealthy);
    assert_eq!((blind.cause_id, blind.alternatives.len()), (TIGHT, 1));
}

#[test]
fn an_instance_whose_requests_fail_is_rightly_marked() {
    page(scene("answered 503", 1), "upstream reviews", "refused").finding(&FalseUnhealthy);
    page(scene("answered 503", 2), "upstream reviews", "refused").passes(&FalseUnhealthy);
    scene("answered 404", 0).passes(&FalseUnhealthy);
    assert!(!Scene::new().cannot_tell(&FalseUnhealthy).is_empty());
}
