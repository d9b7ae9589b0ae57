//! Keys, times and memory of rows.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;

use case::Nanos;
use serde_json::{Value, json};

use super::super::fields::{self, moment, trace_id};
use super::super::memory::print;
use super::VOLATILE;
use super::ledgers::{ledger_key, listed_names};
use super::sagas::read_saga;
use crate::watch::memory::Memory;

#[test]
fn rows_are_known_by_their_columns() {
    let key = |ledger: &str, row: Value| ledger_key(ledger, &row, 0xab);
    assert_eq!(key("orders", json!({"order_id": "o1"})), "o1");
    assert_eq!(
        key(
            "reservations",
            json!({"reservation_id": "r", "product_id": "p"})
        ),
        "r/p"
    );
    assert_eq!(
        key("inbox", json!({"service": "notification", "event_id": "e"})),
        "notification/e"
    );
    assert_eq!(key("outbox", json!({"id": 7})), "7");
    assert_eq!(key("other", json!({"x": 1})), "content-00000000000000ab");
    assert_eq!(
        key("orders", json!("no object")),
        "content-00000000000000ab"
    );
}

#[test]
fn the_memory_is_bounded_and_forgets_the_oldest() {
    let mut memory = Memory::new(200);
    for index in 0..10_000_u64 {
        memory.remember(index.to_string(), index);
        assert!(memory.knows("0", 0) || index > 0, "just remembered");
    }
    let known = (0..10_000_u64)
        .filter(|index| memory.knows(&index.to_string(), *index))
        .count();
    assert!((1..=200).contains(&known), "{known} of 200");
    assert!(!memory.knows("9999", 1), "another content is news");
}

#[test]
fn a_key_that_keeps_being_met_is_not_forgotten() {
    let mut memory = Memory::new(20);
    memory.remember("kept".into(), 1);
    for index in 0..1000_u64 {
        memory.remember(index.to_string(), index);
        assert!(memory.knows("kept", 1), "after {index} others");
    }
}

#[test]
fn prints_tell_contents_apart_but_not_ages() {
    let print = |value: Value| print(&value, VOLATILE);
    assert_eq!(
        print(json!({"a": 1, "age_ms": 5})),
        print(json!({"age_ms": 9, "a": 1}))
    );
    let apart = [
        json!({"a": 1}),
        json!({"a": "1"}),
        json!({"a": [1]}),
        json!({"a": null}),
        json!({}),
        json!([]),
        json!([{}]),
        json!({"a": {"b": 1}}),
        json!({"a": {}, "b": 1}),
        json!(["ab", "c"]),
        json!(["a", "bc"]),
    ];
    let prints: BTreeSet<u64> = apart.iter().cloned().map(print).collect();
    assert_eq!(prints.len(), apart.len());
}

#[test]
fn moments_are_read_in_every_usual_unit() {
    let read = |value: Value| {
        let object = json!({ "at": value });
        moment(object.as_object().unwrap(), "at").map(|at| at.0)
    };
    let at = Some(1_795_168_800_500_000_000);
    assert_eq!(read(json!("2026-11-20T10:00:00.5Z")), at);
    assert_eq!(read(json!("2026-11-20T12:00:00.5+02:00")), at);
    assert_eq!(read(json!(1_795_168_800.5)), at);
    assert_eq!(read(json!(1_795_168_800_500_u64)), at);
    assert_eq!(read(json!(1_795_168_800_500_000_u64)), at);
    assert_eq!(read(json!("1795168800500000000")), at);
    for value in [
        json!(null),
        json!(0),
        json!(-5),
        json!("soon"),
        json!([1]),
        json!("1950-01-01T00:00:00Z"),
    ] {
        assert_eq!(read(value.clone()), None, "{value}");
    }
}

#[test]
fn traces_come_from_either_field_and_only_real_ones() {
    let read = |value: Value| trace_id(value.as_object().unwrap());
    let id = "0af7651916cd43dd8448eb211c80319c";
    assert_eq!(
        read(json!({"trace_id": id.to_uppercase()})).as_deref(),
        Some(id)
    );
    assert_eq!(
        read(json!({"trace_id": "", "traceparent": format!("00-{id}-b7ad6b7169203331-01")}))
            .as_deref(),
        Some(id)
    );
    assert_eq!(read(json!({"trace_id": "0".repeat(32)})), None);
    assert_eq!(read(json!({"traceparent": "garbage"})), None);
    assert_eq!(read(json!({})), None);
}

#[test]
fn a_saga_that_is_none_is_refused_with_the_reason() {
    let read = |value: Value| read_saga(value, Nanos(1), "s", &mut Vec::new());
    assert_eq!(read(json!(5)), Err("not an object".into()));
    assert_eq!(read(json!({"status": "running"})), Err("no saga_id".into()));
    assert_eq!(
        read(json!({"saga_id": "s", "steps": [1]})),
        Err("step 1 is not an object".into())
    );
    let mut found = Vec::new();
    assert_eq!(
        read_saga(
            json!({"saga_id": "s", "steps": {"odd": 1}}),
            Nanos(7),
            "s",
            &mut found
        ),
        Ok("s".into())
    );
    assert_eq!((found.len(), found[0].row.at), (1, Nanos(7)));
    assert_eq!(
        found[0].row.fields["steps"]["odd"], 1,
        "what isn't understood is kept"
    );
    let mut found = Vec::new();
    let text = json!({"saga_id": "s", "steps": "[{\"step_id\": \"s-1\"}]", "log": "nonsense"});
    assert_eq!(read_saga(text, Nanos(7), "s", &mut found), Ok("s".into()));
    let kinds: Vec<&str> = found.iter().map(|found| found.row.kind.as_str()).collect();
    assert_eq!(kinds, ["saga", "step"], "a list written as text is a list");
    assert_eq!(found[0].row.fields["log"], "nonsense");
}

#[test]
fn json_that_would_fill_the_memory_is_refused() {
    let many = format!("[{}0]", "0,".repeat(4_000_001));
    assert!(
        fields::parse(many.as_bytes())
            .unwrap_err()
            .contains("more than 4000000 values")
    );
    assert!(fields::parse("[".repeat(10_000).as_bytes()).is_err());
    assert_eq!(
        fields::rows(json!({"sagas": [1]}), &["sagas"]),
        Ok(vec![json!(1)])
    );
    assert!(
        fields::rows(json!({"sagas": 1}), &["sagas"])
            .unwrap_err()
            .contains("sagas")
    );
}

#[test]
fn ledger_names_are_read_in_every_shape_and_only_those_fit_for_a_path() {
    let read = |value: Value| listed_names(&value);
    let both = Ok(vec!["orders".to_owned(), "stock".to_owned()]);
    assert_eq!(read(json!(["orders", "stock"])), both);
    assert_eq!(
        read(json!({"ledgers": ["orders", "../x", "", 5, "stock", "check"]})),
        both
    );
    assert_eq!(read(json!({"orders": [], "stock": {"rows": 1}})), both);
    for value in [json!([]), json!({}), json!("orders"), json!({"ledgers": 5})] {
        assert!(read(value.clone()).is_err(), "{value}");
    }
}
