//! No way out of the case, no end to patience, and errors that say where.

use crate::cases::*;
use case::sql::{self, Limits};
use case::writer::seal_case;
use case::{Case, SealMode};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

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
