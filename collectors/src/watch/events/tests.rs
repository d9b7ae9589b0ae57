//! What a batch of events means for where the log stands.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use case::Nanos;

use super::*;

fn event(seq: u64, id: &str) -> RegistryEvent {
    RegistryEvent {
        at: Nanos(seq),
        registry: "http://r".into(),
        seq,
        kind: "registered".into(),
        id: id.into(),
        name: String::new(),
        address: String::new(),
        reason: None,
    }
}

fn at(cursor: u64, check: bool) -> Position {
    Position {
        cursor,
        last: Some(event(cursor, "known")),
        check,
    }
}

fn batch(events: Vec<RegistryEvent>) -> EventBatch {
    EventBatch {
        events,
        unreadable: Vec::new(),
    }
}

fn rows(reading: Reading) -> Vec<(u64, String)> {
    match reading {
        Reading::Rows(rows) => rows.into_iter().map(|row| (row.seq, row.kind)).collect(),
        Reading::Restarted(reason) => panic!("restarted: {reason}"),
    }
}

fn restarted(reading: Reading) -> bool {
    matches!(reading, Reading::Restarted(_))
}

#[test]
fn events_the_case_has_are_passed_over() {
    let sent = vec![
        event(3, "a"),
        event(4, "known"),
        event(5, "b"),
        event(5, "b"),
    ];
    assert_eq!(
        rows(read(batch(sent), &at(4, false), true)),
        [(5, "registered".into())]
    );
}

#[test]
fn missing_numbers_are_a_gap_only_where_numbers_count_events() {
    let sent = || vec![event(7, "a")];
    assert_eq!(
        rows(read(batch(sent()), &at(4, false), true)),
        [(5, "gap".into()), (7, "registered".into())]
    );
    assert_eq!(
        rows(read(batch(sent()), &at(4, false), false)),
        [(7, "registered".into())]
    );
    let unreadable = EventBatch {
        events: sent(),
        unreadable: vec!["event 1: no kind".into()],
    };
    assert_eq!(
        rows(read(unreadable, &at(4, false), true)),
        [(7, "registered".into())],
        "what can't be read is not missing"
    );
    let Reading::Rows(one) = read(batch(vec![event(6, "a")]), &at(4, false), true) else {
        panic!()
    };
    assert_eq!(
        one[0].reason.as_deref(),
        Some("event 5 is missing from the registry's log")
    );
}

#[test]
fn after_a_failure_the_log_has_to_be_the_same_one() {
    assert_eq!(
        rows(read(
            batch(vec![event(4, "known"), event(5, "b")]),
            &at(4, true),
            true
        )),
        [(5, "registered".into())]
    );
    assert!(restarted(read(
        batch(vec![event(4, "other"), event(5, "b")]),
        &at(4, true),
        true
    )));
    assert!(restarted(read(batch(Vec::new()), &at(4, true), true)));
    assert_eq!(
        rows(read(batch(vec![event(9, "later")]), &at(4, true), true)),
        [(5, "gap".into()), (9, "registered".into())],
        "a log that forgot its beginning has not begun anew"
    );
    let unreadable = EventBatch {
        events: Vec::new(),
        unreadable: vec!["event 1: no kind".into()],
    };
    assert!(!restarted(read(unreadable, &at(4, true), true)));
    assert!(
        !restarted(read(batch(Vec::new()), &at(0, true), true)),
        "nothing seen, nothing lost"
    );
}
