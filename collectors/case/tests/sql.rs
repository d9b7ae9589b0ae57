//! Questions in SQL: the same answers live and sealed, exact numbers, and no way out of the case.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use case::sql::{self, Cell, Limits, QueryError};
use case::writer::seal_case;
use case::{Case, CaseWriter, SealMode, Signal, Window, WriterOptions};
use common::T0;

fn writer(path: &Path, seal: SealMode, segment_bytes: u64) -> CaseWriter {
    CaseWriter::open(
        path,
        WriterOptions {
            seal,
            segment_bytes,
            ..WriterOptions::default()
        },
    )
    .unwrap()
}

fn ask(case: &Case, sql: &str) -> Result<Vec<Vec<Cell>>, QueryError> {
    let mut rows = Vec::new();
    sql::query(case, sql, &Limits::default(), &mut |_, row| {
        rows.push(row.to_vec());
        ControlFlow::Continue(())
    })?;
    Ok(rows)
}

fn answer(case: &Case, sql: &str) -> Vec<Vec<Cell>> {
    ask(case, sql).unwrap_or_else(|error| panic!("{sql}: {error} ({:?})", error.hint))
}

/// The one value of an answer with one row of one column.
fn one(case: &Case, sql: &str) -> Cell {
    let rows = answer(case, sql);
    assert_eq!(
        (rows.len(), rows[0].len()),
        (1, 1),
        "{sql} answered {rows:?}"
    );
    rows[0][0].clone()
}

fn int(value: i64) -> Cell {
    Cell::Int(value)
}

fn text(value: &str) -> Cell {
    Cell::Text(value.to_owned())
}

const WATCHED: [(Signal, &str); 5] = [
    (
        Signal::RegistrySnapshots,
        r#"{"at":1790000000000000001,"registry":"http://r","instances":[{"id":"p-1","name":"payment","address":"h:1","status":"UP"}]}"#,
    ),
    (
        Signal::RegistryEvents,
        "{\"at\":1790000000000000002,\"registry\":\"http://r\",\"seq\":1,\"kind\":\"registered\",\"id\":\"p-1\"}\n{\"at\":1790000000000000003,\"registry\":\"http://r\",\"seq\":2,\"kind\":\"expired\",\"id\":\"p-1\"}\n",
    ),
    (
        Signal::Probes,
        r#"{"at":1790000000000000004,"address":"h:1","check":"connect","ok":false,"duration_nano":5,"error":"refused"}"#,
    ),
    (
        Signal::Journal,
        r#"{"at":1790000000000000005,"seen_at":1790000000000000009,"source":"s","kind":"step","saga_id":"g-1","order_id":"o-1","fields":{"a":1}}"#,
    ),
    (
        Signal::Ledger,
        r#"{"at":1790000000000000006,"source":"s","ledger":"orders","key":"o-1","order_id":"o-1","fields":{"total":9007199254740993}}"#,
    ),
];

/// A case with every signal and 4,000 spans of traffic.
fn fill(path: &Path, seal: SealMode, segment_bytes: u64) -> CaseWriter {
    let writer = writer(path, seal, segment_bytes);
    writer
        .append(Signal::Traces, common::awkward_spans())
        .unwrap();
    writer.append(Signal::Logs, common::logs()).unwrap();
    writer.append(Signal::Metrics, common::metrics()).unwrap();
    for (signal, line) in WATCHED {
        let receipt = writer
            .append(signal, bytes::Bytes::from_static(line.as_bytes()))
            .unwrap();
        assert!(receipt.accepted > 0);
    }
    for request in common::traffic(40, 100) {
        writer.append(Signal::Traces, request).unwrap();
    }
    writer
}

/// The same signals in a live case, in a sealed one, and in one of many segments with a live rest.
struct Cases {
    folder: tempfile::TempDir,
    cases: Vec<(&'static str, Case)>,
}

fn cases() -> Cases {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| -> PathBuf { folder.path().join(name) };
    fill(&at("live"), SealMode::Manual, 64 << 20)
        .close()
        .unwrap();
    fill(&at("sealed"), SealMode::Manual, 64 << 20)
        .close()
        .unwrap();
    seal_case(&at("sealed"), |_| {}).unwrap();
    fill(&at("segments"), SealMode::Auto, 40 << 10)
        .close()
        .unwrap();
    let cases = ["live", "sealed", "segments"]
        .map(|name| (name, Case::open(&at(name)).unwrap()))
        .into();
    Cases { folder, cases }
}

impl Cases {
    /// Asks every case; they must agree.
    fn answer(&self, sql: &str) -> Vec<Vec<Cell>> {
        let mut first: Option<Vec<Vec<Cell>>> = None;
        for (name, case) in &self.cases {
            let rows = answer(case, sql);
            assert_eq!(case.damage(), Vec::<String>::new(), "{name}: {sql}");
            match &first {
                None => first = Some(rows),
                Some(first) => assert_eq!(*first, rows, "{name} differs: {sql}"),
            }
        }
        first.unwrap()
    }

    fn one(&self, sql: &str) -> Cell {
        let rows = self.answer(sql);
        assert_eq!((rows.len(), rows[0].len()), (1, 1), "{sql}: {rows:?}");
        rows[0][0].clone()
    }
}

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

#[test]
fn nothing_but_reading_is_possible() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c");
    fill(&path, SealMode::Manual, 64 << 20).close().unwrap();
    let case = Case::open(&path).unwrap();
    let loot = folder.path().join("loot");
    let loot_path = loot.display();
    for hostile in [
        format!("ATTACH DATABASE '{loot_path}' AS x"),
        format!("ATTACH DATABASE 'file:{loot_path}?mode=rwc' AS x"),
        format!("VACUUM INTO '{loot_path}'"),
        format!("SELECT load_extension('{loot_path}')"),
        format!("SELECT writefile('{loot_path}', 'x')"),
        "SELECT readfile('/etc/passwd')".to_owned(),
        "SELECT fts3_tokenizer('simple')".to_owned(),
        "CREATE TABLE t(a)".to_owned(),
        "CREATE TEMP TABLE t AS SELECT 1".to_owned(),
        "CREATE VIEW v AS SELECT * FROM spans".to_owned(),
        "CREATE VIRTUAL TABLE t USING fts5(a)".to_owned(),
        "INSERT INTO spans(SpanName) VALUES ('x')".to_owned(),
        "UPDATE spans SET SpanName = 'x'".to_owned(),
        "DELETE FROM spans".to_owned(),
        "DROP TABLE spans".to_owned(),
        "INSERT INTO sqlite_schema VALUES (1,1,1,1,1)".to_owned(),
        "PRAGMA writable_schema = 1".to_owned(),
        "PRAGMA hard_heap_limit = 0".to_owned(),
        format!(
            "PRAGMA temp_store_directory = '{}'",
            folder.path().display()
        ),
        "PRAGMA journal_mode = WAL".to_owned(),
        "BEGIN".to_owned(),
        "COMMIT".to_owned(),
        "SAVEPOINT a".to_owned(),
        "REINDEX".to_owned(),
        "ANALYZE".to_owned(),
        "DETACH main".to_owned(),
        "SELECT 1; SELECT 2".to_owned(),
        "SELECT 1; DROP TABLE spans".to_owned(),
        "SELECT ?".to_owned(),
        "-- nothing".to_owned(),
        String::new(),
        "SELECT 1\0".to_owned(),
    ] {
        let error = ask(&case, &hostile)
            .err()
            .unwrap_or_else(|| panic!("{hostile:?} was answered"));
        assert!(!error.message.is_empty());
    }
    assert!(!loot.exists());
    let names: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["c"]);
    let error = ask(&case, "ATTACH 'x' AS x").unwrap_err();
    assert_eq!(
        error.message,
        "ATTACH is not allowed: a query only reads the case"
    );
    // What only describes is fine.
    assert!(answer(&case, "SELECT name FROM pragma_table_info('spans')").len() > 30);
    assert!(!answer(&case, "EXPLAIN QUERY PLAN SELECT * FROM spans").is_empty());
    assert_eq!(one(&case, "SELECT 1; -- done"), int(1));
}

#[test]
fn endless_and_huge_questions_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c");
    fill(&path, SealMode::Manual, 64 << 20).close().unwrap();
    let case = Case::open(&path).unwrap();
    let limits = Limits {
        time: Some(Duration::from_millis(200)),
        ..Limits::default()
    };
    for endless in [
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
        "SELECT count(*) FROM spans a, spans b, spans c, spans d",
        "SELECT count(*) FROM spans a, spans b, spans c WHERE c.SpanName = a.SpanId || b.SpanId",
    ] {
        let begun = Instant::now();
        let error = sql::query(&case, endless, &limits, &mut |_, _| {
            ControlFlow::Continue(())
        })
        .unwrap_err();
        assert_eq!(
            error.message, "the query took longer than it may",
            "{endless}"
        );
        assert!(begun.elapsed() < Duration::from_secs(20), "{endless}");
    }
    for huge in [
        "SELECT zeroblob(2000000000)",
        "SELECT length(printf('%2000000000d', 1))",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000000) SELECT group_concat(hex(zeroblob(1000))) FROM n",
    ] {
        assert!(ask(&case, huge).is_err(), "{huge}");
    }
    let mut seen = 0;
    let cut = sql::query(
        &case,
        "SELECT SpanId FROM spans",
        &Limits {
            rows: Some(10),
            ..Limits::default()
        },
        &mut |columns, row| {
            assert_eq!((columns, row.len()), (&["SpanId".to_owned()][..], 1));
            seen += 1;
            ControlFlow::Continue(())
        },
    )
    .unwrap();
    assert_eq!((seen, cut.rows, cut.cut), (10, 10, true));
    assert_eq!(cut.notes, Vec::<String>::new());
    let typed = "SELECT 1 FROM spans WHERE SpanAttributes['http.response.status_code'] = '200'";
    let none = sql::query(&case, typed, &Limits::default(), &mut |_, _| {
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!((none.rows, none.notes.len()), (0, 1));
}

#[test]
fn errors_say_where_and_what_was_probably_meant() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c");
    writer(&path, SealMode::Manual, 64 << 20).close().unwrap();
    let case = Case::open(&path).unwrap();
    for (sql, message, hint) in [
        (
            "SELECT * FROM span",
            "no such table: span (column 15)",
            "did you mean spans?",
        ),
        (
            "SELECT * FROM nowhere",
            "no such table: nowhere (column 15)",
            "`--tables` lists the tables and their columns",
        ),
        (
            "SELECT SpanNam FROM spans",
            "no such column: SpanNam (column 8)",
            "did you mean SpanName?",
        ),
        (
            "SELECT\n  s.Servicename2 FROM spans s",
            "no such column: s.Servicename2 (line 2, column 3)",
            "did you mean ServiceName?",
        ),
        (
            "SELECT SpanAttributes['a'], Duratoin FROM spans",
            "no such column: Duratoin (column 29)",
            "did you mean Duration?",
        ),
        (
            "SELECT * FROM spans WHERE ServiceName = \"payment\"",
            "no such column: \"payment\" (column 41)",
            "texts stand in single quotes: 'payment'",
        ),
        (
            "SELECT quantle(Duration, 1) FROM spans",
            "no such function: quantle (column 8)",
            "did you mean quantile?",
        ),
    ] {
        let error = ask(&case, sql).unwrap_err();
        assert_eq!(error.to_string(), message, "{sql}");
        assert_eq!(error.hint.as_deref(), Some(hint), "{sql}");
    }
    let error = ask(&case, "SELEC 1").unwrap_err();
    assert_eq!(error.to_string(), "near \"SELEC\": syntax error (column 1)");
}

#[test]
fn a_damaged_column_is_told_and_the_rest_stays_readable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c");
    fill(&path, SealMode::Manual, 64 << 20).close().unwrap();
    seal_case(&path, |_| {}).unwrap();
    let case = Case::open(&path).unwrap();
    let logs = case.manifest().segments[0]
        .files
        .iter()
        .find(|file| file.content == case::manifest::Content::Logs)
        .unwrap();
    std::fs::write(path.join(&logs.path), b"no parquet").unwrap();
    assert_eq!(one(&case, "SELECT count(*) FROM logs"), int(0));
    let damage = case.damage();
    assert_eq!(damage.len(), 1, "{damage:?}");
    assert!(damage[0].contains(&logs.path), "{damage:?}");
    assert_eq!(one(&case, "SELECT count(*) FROM spans"), int(4_006));
}
