#![allow(clippy::unwrap_used)]

use case::model::{Origin, Resource, Span, SpanKind, StatusCode, Value};
use case::{Nanos, SpanId, TraceId, Window};

use super::*;
use crate::gaps::Directory;
use crate::map::Gather;

const SECOND: u64 = 1_000_000_000;

/// A minute-by-minute service: for each second its requests, how many fail, and how long they take in milliseconds.
fn gather(seconds: u64, each: impl Fn(u64) -> (u64, u64, u64)) -> Gather {
    let mut resource = Resource::default();
    let name = Value::Text("payment".to_owned());
    resource.attributes.push("service.name", name);
    let origin = Origin {
        resource: resource.into(),
        ..Origin::default()
    };
    let window = Window {
        from: Nanos(0),
        until: Nanos(seconds * SECOND),
    };
    let mut gather = Gather::new(window, Directory::default());
    let mut id = 0u64;
    for second in 0..seconds {
        let (requests, failed, millis) = each(second);
        for i in 0..requests {
            id += 1;
            gather.take(&Span {
                origin: origin.clone(),
                trace_id: TraceId([7; 16]),
                span_id: SpanId(id.to_be_bytes()),
                kind: SpanKind::Server,
                name: "Charge".into(),
                start: Nanos(second * SECOND + i),
                end: Nanos(second * SECOND + i + millis * 1_000_000),
                status: if i < failed {
                    StatusCode::Error
                } else {
                    StatusCode::Unset
                },
                ..Span::default()
            });
        }
    }
    gather
}

fn verdicts(now: Gather, before: Option<Gather>) -> Verdicts {
    let objectives = Objectives::shop().unwrap();
    let series = now.series(objectives.slot);
    let baseline = before.map(|gather| gather.settle(1));
    judge(&objectives, &now.settle(1), &series, baseline.as_ref())
}

fn alerts(verdicts: &Verdicts) -> Vec<(&str, u64)> {
    verdicts
        .breaches
        .iter()
        .map(|breach| (breach.alert.as_str(), breach.since.0 / SECOND))
        .collect()
}

#[test]
fn what_ships_is_read_and_fits_its_own_schema() {
    let shop = Objectives::shop().unwrap();
    assert_eq!((shop.alerts.len(), shop.objectives.len()), (9, 4));
    let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
    // Every key and every measure the schema names is one the reader knows, and the other way round.
    let measures = schema["properties"]["alert"]["items"]["properties"]["measure"]["enum"]
        .as_array()
        .unwrap();
    for measure in measures {
        let parsed: Measure = serde_json::from_value(measure.clone()).unwrap();
        assert_eq!(parsed.name(), measure.as_str().unwrap());
    }
    assert_eq!(measures.len(), 8);
}

#[test]
fn faults_say_where_they_are() {
    let faults = |text: &str| {
        Objectives::parse(text)
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        faults("version = 2\n"),
        ["line 1, column 11: only version 1 is known"]
    );
    assert!(
        faults("version = 1\nslto = \"1s\"\n")[0]
            .starts_with("line 2, column 1: unknown field `slto`")
    );
    let alert = "version = 1\n[[alert]]\nname = \"a\"\nmeasure = \"p95\"\nabove = -1\nbelow = 2.0\nfor = \"x\"\n";
    assert_eq!(
        faults(alert),
        [
            "line 3, column 8: an alert has exactly one of above, below, above_baseline and below_baseline"
        ]
    );
    let alert =
        "version = 1\n[[alert]]\nname = \"a\"\nmeasure = \"p95\"\nabove = -1.0\nfor = \"x\"\n";
    let found = faults(alert);
    assert_eq!(found[0], "line 5, column 9: a bound is a number from 0 on");
    assert!(found[1].starts_with("line 6, column 7: "), "{found:?}");
    let twice = "version = 1\n[[objective]]\nname = \"a\"\nservice = \"s\"\nover = \"1d\"\n";
    assert_eq!(
        faults(twice),
        ["line 3, column 8: an objective has success, or at least one of p50, p95 and p99"]
    );
}

#[test]
fn errors_are_an_alert_once_they_last() {
    // Six in a hundred from second 60 on, for two minutes and a little; then for ten seconds less.
    let bad = |from, until| {
        move |at| {
            if (from..until).contains(&at) {
                (100, 6, 5)
            } else {
                (100, 0, 5)
            }
        }
    };
    let found = verdicts(gather(300, bad(60, 190)), None);
    let of_errors: Vec<_> = alerts(&found)
        .into_iter()
        .filter(|(alert, _)| *alert == "errors")
        .collect();
    assert_eq!(of_errors, [("errors", 60)]);
    let breach = found
        .breaches
        .iter()
        .find(|breach| breach.alert == "errors")
        .unwrap();
    assert_eq!(
        (breach.until.0 / SECOND, breach.subject.as_str()),
        (190, "payment")
    );
    let found = verdicts(gather(300, bad(60, 170)), None);
    assert!(
        alerts(&found).iter().all(|(alert, _)| *alert != "errors"),
        "{found:?}"
    );
    // Five in a hundred is at the threshold, not above it.
    let found = verdicts(gather(300, |_| (100, 5, 5)), None);
    assert!(alerts(&found).iter().all(|(alert, _)| *alert != "errors"));
}

#[test]
fn slowness_and_rates_are_held_against_the_baseline() {
    let before = || Some(gather(300, |_| (20, 0, 10)));
    let found = verdicts(gather(400, |_| (20, 0, 21)), before());
    assert_eq!(alerts(&found), [("slow", 0)]);
    assert!(alerts(&verdicts(gather(400, |_| (20, 0, 20)), before())).is_empty());
    let found = verdicts(gather(400, |_| (9, 0, 10)), before());
    assert_eq!(alerts(&found), [("quieter", 10)]);
    // Silence is as quiet as it gets.
    let silent = gather(400, |at| if at < 100 { (20, 0, 10) } else { (0, 0, 0) });
    assert_eq!(alerts(&verdicts(silent, before())), [("quieter", 100)]);
    let alone = verdicts(gather(400, |_| (20, 0, 10)), None);
    assert_eq!(alone.breaches, []);
    assert!(
        alone
            .cannot_tell
            .contains(&"slow: no baseline to compare with".to_owned())
    );
}

#[test]
fn no_success_for_a_minute_is_told_from_no_requests() {
    let found = verdicts(gather(200, |at| (5, if at < 100 { 0 } else { 5 }, 5)), None);
    assert!(alerts(&found).contains(&("no-success", 100)), "{found:?}");
    let found = verdicts(gather(200, |at| (if at < 100 { 5 } else { 0 }, 0, 5)), None);
    assert_eq!(found.breaches, []);
}

#[test]
fn objectives_say_how_much_of_their_room_was_used() {
    let found = verdicts(gather(100, |at| (100, u64::from(at == 5), 5)), None);
    let kept = found
        .objectives
        .iter()
        .find(|kept| kept.objective == "payment-success")
        .unwrap();
    assert!(kept.kept && (kept.found - 0.9999).abs() < 1e-9);
    assert!((kept.budget_used.unwrap() - 0.2).abs() < 1e-6);
    assert!(
        found
            .cannot_tell
            .contains(&"gateway-success: no requests to api-gateway".to_owned())
    );
    let found = verdicts(gather(100, |_| (10, 1, 5)), None);
    assert!(!found.objectives[0].kept);
}
