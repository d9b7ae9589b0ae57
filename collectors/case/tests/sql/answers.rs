//! The same answers live and sealed, exact numbers, typed attributes.

use crate::cases::*;
use crate::common;
use crate::common::T0;
use case::sql::{self, Cell};
use case::{Case, SealMode, Window};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

#[test]
fn the_cases_are_what_they_are_meant_to_be() {
    let cases = cases();
    let segments: BTreeMap<&str, usize> = cases
        .cases
        .iter()
        .map(|(name, case)| (*name, case.manifest().segments.len()))
        .collect();
    assert_eq!(segments["live"], 0);
    assert_eq!(segments["sealed"], 1);
    assert!(segments["segments"] > 3, "{segments:?}");
    assert!(cases.folder.path().join("sealed/manifest.json").exists());
}

#[test]
fn every_column_of_every_table_is_the_same_live_and_sealed() {
    let cases = cases();
    for table in sql::tables() {
        let columns: Vec<String> = table
            .columns
            .iter()
            .map(|column| format!("\"{}\"", column.name))
            .collect();
        let order = if table.columns.iter().any(|column| column.name == "SpanId") {
            "SpanId, Timestamp, SeverityNumber"
        } else {
            "1, 2, Attributes"
        };
        let order = match table.name {
            "otel_traces" => "SpanId, Timestamp",
            name if name.starts_with("otel_metrics") => "1, 2",
            "otel_logs" => order,
            _ => "1, 2, 3",
        };
        let rows = cases.answer(&format!(
            "SELECT {} FROM {} ORDER BY {order}",
            columns.join(","),
            table.name
        ));
        assert!(!rows.is_empty(), "{} is empty", table.name);
        // Each column has something to show in at least one row, or the comparison would say nothing.
        for (at, column) in table.columns.iter().enumerate() {
            // The signals the tests are fed have none of these.
            let absent = [
                ("otel_metrics_histogram", "Max"),
                ("otel_metrics_exponential_histogram", "Sum"),
            ]
            .contains(&(table.name, &column.name));
            assert!(
                absent || rows.iter().any(|row| row[at] != Cell::Null),
                "{}.{} is always NULL",
                table.name,
                column.name
            );
        }
    }
}

#[test]
fn every_row_is_there_once() {
    let cases = cases();
    assert_eq!(cases.one("SELECT count(*) FROM spans"), int(4_006));
    assert_eq!(
        cases.one(
            "SELECT count(*) FROM (SELECT DISTINCT TraceId, SpanId, Timestamp FROM otel_traces)"
        ),
        int(4_006)
    );
    assert_eq!(cases.one("SELECT count(*) FROM logs"), int(5));
    assert_eq!(cases.one("SELECT count(*) FROM registry_events"), int(2));
    let by_service = cases.answer(
        "SELECT ServiceName, count(*), sum(StatusCode = 'Error') FROM spans GROUP BY 1 ORDER BY 1",
    );
    let mut expected: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    cases.cases[1]
        .1
        .spans(Window::ALL, &mut |span| {
            let entry = expected.entry(span.service().to_owned()).or_default();
            entry.0 += 1;
            entry.1 += i64::from(span.status == case::model::StatusCode::Error);
            ControlFlow::Continue(())
        })
        .unwrap();
    let expected: Vec<Vec<Cell>> = expected
        .into_iter()
        .map(|(name, (count, errors))| vec![text(&name), int(count), int(errors)])
        .collect();
    assert_eq!(by_service, expected);
}

#[test]
fn attributes_keep_their_types() {
    let cases = cases();
    let typed = cases.answer(
        "SELECT typeof(a), a FROM (SELECT SpanAttributes['http.response.status_code'] a FROM spans
         WHERE SpanAttributes['order.id'] = 'ord_000000000001')",
    );
    assert_eq!(typed, [[text("integer"), int(201)]]);
    for reach in ["SpanAttributes['{}']", "attr(SpanAttributes, '{}')"] {
        for (key, kind, value) in [
            ("int", "integer", int(i64::MIN)),
            ("double", "real", Cell::Real(0.1 + 0.2)),
            ("tiny", "real", Cell::Real(5e-324)),
            ("infinite", "real", Cell::Real(f64::NEG_INFINITY)),
            ("bool", "integer", int(1)),
            ("bytes", "text", text("AP8HAw==")),
            ("text", "text", text("grüße \u{1b}[31m")),
            ("", "text", text("")),
            ("empty", "null", Cell::Null),
            ("missing", "null", Cell::Null),
            ("map", "text", text(r#"{"a":"b","n":false}"#)),
            (
                "list",
                "text",
                text(r#"[9007199254740993,"\"quoted\"\n",null,1e-7,[]]"#),
            ),
        ] {
            let expression = reach.replace("{}", key);
            let rows = cases.answer(&format!(
                "SELECT typeof({expression}), {expression} FROM spans WHERE SpanName = 'POST /checkout'"
            ));
            assert_eq!(rows, [[text(kind), value]], "{expression}");
        }
    }
    // Through a subquery, with a join's aliases, and by JSON functions.
    assert_eq!(
        cases.one(
            "WITH slow AS (SELECT * FROM spans) SELECT count(*) FROM slow s WHERE s.SpanAttributes['http.response.status_code'] = 202"
        ),
        cases.one("SELECT count(*) FROM spans WHERE SpanAttributes['http.response.status_code'] = 202")
    );
    assert_eq!(
        cases.one("SELECT json_extract(SpanAttributes, '$.list[0]') FROM spans WHERE SpanName = 'POST /checkout'"),
        int(9_007_199_254_740_993)
    );
    assert_eq!(
        cases.one("SELECT json_extract(Events.Attributes, '$[0].int') FROM spans WHERE json_array_length(Events.Name) = 2"),
        int(i64::MIN)
    );
    assert_eq!(
        cases.answer("SELECT value FROM spans s, json_each(s.Events.Name) WHERE s.SpanName = 'POST /checkout'"),
        [[text("exception")], [text("bare")]]
    );
    assert_eq!(
        cases.one("SELECT json_extract(Row, '$.fields.total') FROM ledger WHERE OrderId = 'o-1'"),
        int(9_007_199_254_740_993)
    );
    assert_eq!(
        cases.one("SELECT DISTINCT ResourceAttributes['service.instance.id'] FROM spans WHERE ServiceName = 'inventory'"),
        text("inventory-1")
    );
}

#[test]
fn conditions_find_what_a_full_look_finds() {
    let cases = cases();
    // `+` keeps a condition from being settled early, and so says what is true.
    for (early, late) in [
        ("ServiceName = 'payment'", "+ServiceName = 'payment'"),
        (
            "ServiceName IN ('payment','checkout','none')",
            "+ServiceName IN ('payment','checkout','none')",
        ),
        (
            "SpanName = 'operation 3' AND SpanKind = 'Server'",
            "+SpanName = 'operation 3' AND +SpanKind = 'Server'",
        ),
        (
            "Timestamp >= 1790000000001000000 AND Timestamp < 1790000000003000000",
            "+Timestamp >= 1790000000001000000 AND +Timestamp < 1790000000003000000",
        ),
        (
            "Timestamp > 1790000000003999000",
            "+Timestamp > 1790000000003999000",
        ),
        (
            "Timestamp = 1790000000000077000",
            "+Timestamp = 1790000000000077000",
        ),
        ("Timestamp <= 0", "+Timestamp <= 0"),
        (
            "Timestamp > 9223372036854775806",
            "+Timestamp > 9223372036854775806",
        ),
        (
            "Duration BETWEEN 1000 AND 5000",
            "+Duration BETWEEN 1000 AND 5000",
        ),
        ("TraceId = 'not an id'", "+TraceId = 'not an id'"),
        ("TraceId = 7", "+TraceId = 7"),
        ("TraceId = NULL", "+TraceId = NULL"),
        (
            "ServiceName = 'PAYMENT' COLLATE NOCASE",
            "+ServiceName = 'PAYMENT' COLLATE NOCASE",
        ),
        ("ParentSpanId = ''", "+ParentSpanId = ''"),
        ("Flags = 769", "+Flags = 769"),
    ] {
        let count = |condition: &str| {
            cases.answer(&format!(
                "SELECT count(*), min(SpanId), max(SpanId) FROM spans WHERE {condition}"
            ))
        };
        assert_eq!(count(early), count(late), "{early}");
    }
    assert_eq!(
        cases.one("SELECT count(*) FROM spans WHERE Timestamp > 9223372036854775806"),
        int(1),
        "a time beyond 2^63 stays the latest"
    );
}

#[test]
fn a_trace_is_found_by_its_id() {
    let cases = cases();
    for (_, case) in &cases.cases {
        for trace in [0u64, 17, 250, 499] {
            let id: String = common::id16(trace)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            let expected = case.trace(id.parse().unwrap()).unwrap();
            assert!(expected.len() >= 8);
            let rows = answer(
                case,
                &format!(
                    "SELECT SpanId FROM spans WHERE TraceId = '{id}' ORDER BY Timestamp, SpanId"
                ),
            );
            let expected: Vec<Vec<Cell>> = expected
                .iter()
                .map(|span| vec![text(&span.span_id.to_string())])
                .collect();
            assert_eq!(rows, expected);
        }
    }
}

#[test]
fn logs_join_spans_and_spans_their_parents() {
    let cases = cases();
    let joined = cases.answer(
        "SELECT l.Body, s.SpanName FROM logs l JOIN spans s ON s.TraceId = l.TraceId AND s.SpanId = l.SpanId
         WHERE l.BodyType = 's'",
    );
    assert_eq!(joined, [[text("order placed"), text("POST /checkout")]]);
    assert_eq!(
        cases.one("SELECT count(*) FROM spans c JOIN spans p ON p.TraceId = c.TraceId AND p.SpanId = c.ParentSpanId"),
        int(4_000 - 500)
    );
    assert_eq!(
        cases.one("SELECT count(*) FROM spans s LEFT JOIN logs l ON l.TraceId = s.TraceId WHERE s.SpanName = 'POST /checkout'"),
        int(4)
    );
}

#[test]
fn metrics_are_exact_and_absent_numbers_are_null() {
    let cases = cases();
    assert_eq!(
        cases.answer(
            "SELECT typeof(Value), Value, ValueType FROM otel_metrics_sum ORDER BY TimeUnix"
        ),
        [
            [text("integer"), int(9_007_199_254_740_993), text("i")],
            [text("real"), Cell::Real(-0.0), text("d")],
            [text("null"), Cell::Null, text("e")],
        ]
    );
    assert_eq!(
        cases.answer("SELECT Sum, Min, Max, BucketCounts, ExplicitBounds FROM otel_metrics_histogram ORDER BY TimeUnix"),
        [
            [Cell::Real(1.5), Cell::Real(0.01), Cell::Null, text("[1,2,3]"), text("[0.1,0.5]")],
            [Cell::Null, Cell::Null, Cell::Null, text("[]"), text("[]")],
        ]
    );
    assert_eq!(
        cases.answer("SELECT Max, PositiveBucketCounts, PositiveOffset FROM otel_metrics_exponential_histogram"),
        [[Cell::Real(f64::INFINITY), text("[1,0,300]"), int(-7)]]
    );
    assert_eq!(
        cases.one("SELECT ValueAtQuantiles.Quantile FROM otel_metrics_summary"),
        text("[0.5,0.99]")
    );
}

#[test]
fn quantiles_are_values_that_occur() {
    let cases = cases();
    let mut durations = Vec::new();
    cases.cases[0]
        .1
        .spans(Window::ALL, &mut |span| {
            if span.service() == "inventory" {
                durations.push(i64::try_from(span.duration()).unwrap());
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    durations.sort_unstable();
    let nearest = |share: f64| durations[(share * durations.len() as f64).ceil() as usize - 1];
    assert_eq!(
        cases.answer("SELECT p50(Duration), p95(Duration), p99(Duration), quantile(Duration, 0.25), quantile(Duration, 0), quantile(Duration, 1) FROM spans WHERE ServiceName = 'inventory'"),
        [[
            int(nearest(0.5)),
            int(nearest(0.95)),
            int(nearest(0.99)),
            int(nearest(0.25)),
            int(durations[0]),
            int(durations[durations.len() - 1]),
        ]]
    );
    assert_eq!(
        cases.answer("SELECT p50(Duration), p50(NULL) FROM spans WHERE SpanName = 'no such'"),
        [[Cell::Null, Cell::Null]]
    );
    let case = &cases.cases[0].1;
    for (sql, reason) in [
        (
            "SELECT quantile(Duration, 95) FROM spans",
            "quantile takes a share between 0 and 1",
        ),
        (
            "SELECT p50(SpanName) FROM spans",
            "quantiles are of numbers, got Text",
        ),
    ] {
        assert_eq!(ask(case, sql).unwrap_err().message, reason);
    }
}

#[test]
fn functions_say_what_they_are_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c");
    writer(&path, SealMode::Manual, 64 << 20).close().unwrap();
    let case = Case::open(&path).unwrap();
    for (expression, expected) in [
        (
            "ts(1790000000000000001)",
            text("2026-09-21T14:13:20.000000001Z"),
        ),
        ("ts(NULL)", Cell::Null),
        (
            "nanos('2026-09-21T14:13:20.000000001Z')",
            int(T0 as i64 + 1),
        ),
        (
            "nanos(ts(1790000000123456789))",
            int(1_790_000_000_123_456_789),
        ),
        ("duration('1.5s')", int(1_500_000_000)),
        ("'order-management' REGEXP '^order-'", int(1)),
        ("'payment' REGEXP '^order-'", int(0)),
        ("NULL REGEXP 'a'", Cell::Null),
        ("attr('{\"a\":1,\"a\":2}', 'a')", int(1)),
        ("attr('{\"a\":[1,2]}', 'a')", text("[1,2]")),
        ("attr('{\"a\":true}', 'b')", Cell::Null),
        ("x'00ff'", Cell::Bytes(vec![0, 255])),
    ] {
        assert_eq!(
            one(&case, &format!("SELECT {expression}")),
            expected,
            "{expression}"
        );
    }
    for (expression, reason) in [
        ("ts('noon')", "ts takes nanoseconds since 1970, got Text"),
        ("ts(-1)", "ts(-1) lies before 1970"),
        ("nanos('10m')", "\"10m\" is no RFC 3339 time"),
        (
            "attr('[]', 'a')",
            "attr takes a map column (a JSON object) and a key",
        ),
        (
            "duration('soon')",
            "\"soon\" is no duration (such as 250ms, 10m or 1h30m)",
        ),
    ] {
        let error = ask(&case, &format!("SELECT {expression}")).unwrap_err();
        assert_eq!(error.message, reason, "{expression}");
    }
    let error = ask(&case, "SELECT 'a' REGEXP '('").unwrap_err();
    assert!(
        error.message.contains("is no regular expression"),
        "{error}"
    );
}
