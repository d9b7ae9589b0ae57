#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use super::*;

const GOOD: &str = r#"
title = "payment-2's heartbeat task stops"
watch = "90s"

[shop]
time_scale = 20

[[fault]]
at = "15s"
kind = "heartbeat_stop"
target = "payment:1"
params = { share = 0.5 }

[expect]
cause = "registration/traffic-stops-later#heartbeat-task-stopped"
subjects = ["payment-2"]
"#;

fn wrong(text: &str) -> String {
    Incident::parse("a/b--c", "a/b--c.toml", text)
        .unwrap_err()
        .to_string()
}

#[test]
fn a_file_says_what_to_do_and_what_to_find() {
    let incident = Incident::parse("a/b--c", "a/b--c.toml", GOOD).unwrap();
    assert_eq!(incident.workflow(), "a");
    assert_eq!(incident.watch, Duration::from_secs(90));
    assert_eq!(incident.strikes(), Duration::from_secs(15));
    assert_eq!(incident.shop[0].value, serde_json::json!(20));
    assert_eq!(
        (
            incident.faults[0].service.as_str(),
            incident.faults[0].instance
        ),
        ("payment", Some(1))
    );
    assert_eq!(incident.faults[0].params, serde_json::json!({"share": 0.5}));
    assert_eq!(
        incident.expect.symptom(),
        "registration/traffic-stops-later"
    );
}

#[test]
fn mistakes_are_told_with_their_place() {
    assert_eq!(
        wrong(&GOOD.replace("watch = \"90s\"", "watch = \"soon\"")),
        "a/b--c.toml:3:9: \"soon\" is no duration (such as 250ms, 10m or 1h30m)"
    );
    assert!(
        wrong(&GOOD.replace("target =", "aim ="))
            .starts_with("a/b--c.toml:11:1: unknown field `aim`")
    );
    assert!(
        wrong(&GOOD.replace("payment:1", "payment:x"))
            .starts_with("a/b--c.toml:11:10: 'x' is no instance")
    );
    assert!(wrong(&GOOD.replace("#heartbeat-task-stopped", "")).contains(":15:9: "));
    assert!(
        wrong(&GOOD.replace("at = \"15s\"", "at = \"90s\""))
            .starts_with("a/b--c.toml:9:6: the fault strikes")
    );
    let also = format!("{GOOD}also = [\"registry/cached-after-remowal\"]\n");
    let error = Incident::parse("a/b--c", "f", &also).unwrap_err();
    assert_eq!((error.line, error.column), (17, 9));
    assert_eq!(
        error.hint.unwrap(),
        "did you mean registry/cached-after-removal?"
    );
    assert!(wrong("title = ").starts_with("a/b--c.toml:1:"));
}

#[test]
fn every_built_in_incident_reads_and_is_named_after_its_cause() {
    let all = all().unwrap();
    assert!(!all.is_empty());
    let mut causes = BTreeSet::new();
    for incident in &all {
        let (symptom, cause) = incident.expect.cause.split_once('#').unwrap();
        assert_eq!(incident.id, format!("{symptom}--{cause}"));
        assert!(causes.insert(&incident.expect.cause), "{}", incident.id);
        let named = analyzers::rules::ALL.iter().any(|rule| {
            rule.about()
                .causes
                .iter()
                .any(|known| known.id == incident.expect.cause)
        });
        assert!(
            named,
            "{}: no rule names {}",
            incident.id, incident.expect.cause
        );
    }
}

/// The keys of a schema's object at a pointer.
fn properties(schema: &serde_json::Value, pointer: &str) -> BTreeSet<String> {
    let found = schema
        .pointer(pointer)
        .and_then(serde_json::Value::as_object);
    found.unwrap().keys().cloned().collect()
}

#[test]
fn the_schema_allows_what_the_reader_allows() {
    let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
    // The reader names the fields it knows when it meets one that it does not.
    let told = |text: &str| -> BTreeSet<String> {
        let message = wrong(text);
        let (_, list) = message.split_once("expected one of").unwrap();
        list.split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect()
    };
    let unknown_on_top = format!("unknown = 1\n{GOOD}");
    assert_eq!(told(&unknown_on_top), properties(&schema, "/properties"));
    assert_eq!(
        told(&GOOD.replace("kind =", "unknown =")),
        properties(&schema, "/properties/fault/items/properties")
    );
    assert_eq!(
        told(&format!("{GOOD}unknown = 1\n")),
        properties(&schema, "/properties/expect/properties")
    );
}
