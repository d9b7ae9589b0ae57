//! Files through the real binary: what is imported comes out again byte for byte, a dry run leaves no trace, a bad
//! record is named, and a replayed case arrives whole.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use support::{Collector, casefile, run};

fn fixtures(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("../collectors/tests/fixtures").join(folder);
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs what has to work, and returns its standard output.
fn works(args: &[&str]) -> Vec<u8> {
    let output = run(args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
    output.stdout
}

fn lines(output: &[u8]) -> Vec<Value> {
    output
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

/// How many spans, log records and metric points stand in some JSON, told without any of our readers.
fn items_in(value: &Value) -> usize {
    match value {
        Value::Array(values) => values.iter().map(items_in).sum(),
        Value::Object(members) => members
            .iter()
            .map(|(key, value)| match (key.as_str(), value) {
                ("spans" | "logRecords" | "dataPoints", Value::Array(items)) => items.len(),
                _ => items_in(value),
            })
            .sum(),
        _ => 0,
    }
}

fn items_in_file(path: &Path) -> usize {
    let bytes = std::fs::read(path).unwrap();
    match serde_json::from_slice::<Value>(&bytes) {
        // Zipkin has its spans in one bare array.
        Ok(Value::Array(spans)) => spans.len(),
        Ok(value) => items_in(&value),
        Err(_) => lines(&bytes).iter().map(items_in).sum(),
    }
}

/// Imports into a new case, and returns how many items it says it took.
fn import(case: &Path, files: &[&Path]) -> usize {
    let mut args = vec!["import", "--format", "json", "--case", text(case)];
    args.extend(files.iter().map(|file| text(file)));
    let said = lines(&works(&args));
    let items = said.last().unwrap()["items"].as_u64().unwrap();
    usize::try_from(items).unwrap()
}

fn export(case: &Path) -> Vec<u8> {
    works(&["export", text(case), "--format", "otlp-json"])
}

/// Import, export, import of that, export of that.
fn round_trip(name: &str, files: &[&Path]) {
    let folder = tempfile::tempdir().unwrap();
    let items: usize = files.iter().map(|file| items_in_file(file)).sum();
    assert!(items > 0, "{name}: nothing in it");
    let first = folder.path().join("first.case");
    assert_eq!(import(&first, files), items, "{name}");
    let written = export(&first);
    let there: usize = lines(&written).iter().map(items_in).sum();
    assert_eq!(there, items, "{name}: exported");
    let file = folder.path().join("first.jsonl");
    std::fs::write(&file, &written).unwrap();
    let second = folder.path().join("second.case");
    assert_eq!(import(&second, &[&file]), items, "{name}: imported again");
    assert!(
        export(&second) == written,
        "{name}: the second export differs from the first"
    );
}

#[test]
fn what_was_imported_is_exported_byte_for_byte_the_same_again() {
    for folder in ["otlp", "jaeger", "zipkin"] {
        let files = fixtures(folder);
        assert!(files.len() > 1, "{folder}: {files:?}");
        for file in &files {
            round_trip(text(file), &[file]);
        }
    }
}

#[test]
fn files_of_several_tools_in_one_case_are_exported_byte_for_byte_the_same_again() {
    let files: Vec<PathBuf> = ["otlp", "jaeger", "zipkin"]
        .iter()
        .flat_map(|folder| fixtures(folder))
        .collect();
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    round_trip("all in one", &files);
}

/// Every file below a folder, with its content.
fn content(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(content(&path));
            found.insert(path, None);
        } else {
            let bytes = std::fs::read(&path).unwrap();
            found.insert(path, Some(bytes));
        }
    }
    found
}

/// Runs with everything that it could write to by itself inside `home`.
fn run_at_home(home: &Path, args: &[&str]) -> Output {
    Command::new(casefile())
        .args(args)
        .current_dir(home)
        .env("HOME", home)
        .env("XDG_DATA_HOME", home)
        .env("XDG_STATE_HOME", home)
        .env("XDG_CACHE_HOME", home)
        .env("XDG_CONFIG_HOME", home)
        .env_remove("CASEFILE_CASE")
        .output()
        .unwrap()
}

#[test]
fn a_dry_run_writes_nothing() {
    let capture = demo();
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let dry = ["import", "--dry-run", text(&capture)];
    let output = run_at_home(home, &dry);
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("3 spans · 3 log records · 2 metric points"),
        "{said}"
    );
    assert_eq!(content(home), BTreeMap::new());

    // The same without --dry-run writes, into the folder that was looked at.
    let output = run_at_home(home, &["import", text(&capture)]);
    assert_eq!(output.status.code(), Some(0));
    let before = content(home);
    assert!(!before.is_empty());

    let other = fixtures("zipkin").remove(0);
    let output = run_at_home(home, &["import", "--dry-run", "--join", text(&other)]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(content(home) == before, "a dry run changed the case");
}

fn demo() -> PathBuf {
    let files = fixtures("otlp");
    let is_demo = |file: &PathBuf| file.ends_with("otel-tui-demo-excerpt.jsonl");
    files.into_iter().find(is_demo).unwrap()
}

/// The demo capture with its fourth line cut short.
fn damaged(folder: &Path) -> (PathBuf, usize) {
    let capture = std::fs::read_to_string(demo()).unwrap();
    let mut rows: Vec<&str> = capture.lines().collect();
    let whole: usize = items_in_file(&demo());
    let lost = items_in(&serde_json::from_str(rows[3]).unwrap());
    assert!(lost > 0);
    rows[3] = &rows[3][..rows[3].len() / 2];
    let file = folder.join("damaged.jsonl");
    std::fs::write(&file, rows.join("\n")).unwrap();
    (file, whole - lost)
}

#[test]
fn a_bad_record_is_named_by_its_line_and_the_rest_is_imported() {
    let folder = tempfile::tempdir().unwrap();
    let (file, good) = damaged(folder.path());
    let case = folder.path().join("lenient.case");
    let output = run(&["import", "--case", text(&case), text(&file)]);
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("1 record could not be read"), "{said}");
    assert!(said.contains("line 4: "), "{said}");
    assert_eq!(
        lines(&export(&case)).iter().map(items_in).sum::<usize>(),
        good
    );

    let case = folder.path().join("told.case");
    let args = [
        "import",
        "--format",
        "json",
        "--case",
        text(&case),
        text(&file),
    ];
    let bad = &lines(&works(&args))[0]["report"]["bad"];
    assert_eq!(bad["total"], 1, "{bad}");
    assert_eq!(bad["shown"][0]["place"]["line"], 4, "{bad}");
}

#[test]
fn a_bad_record_ends_a_strict_import_with_an_error_that_names_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let (file, good) = damaged(folder.path());
    let case = folder.path().join("strict.case");
    let output = run(&["import", "--strict", "--case", text(&case), text(&file)]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("damaged.jsonl: line 4: "), "{said}");
    let there = lines(&export(&case)).iter().map(items_in).sum::<usize>();
    assert!(there < good, "it went on after the bad record: {there}");
}

#[test]
fn what_cannot_be_imported_is_an_error_and_leaves_no_case() {
    let folder = tempfile::tempdir().unwrap();
    let case = folder.path().join("none.case");
    let unknown = folder.path().join("unknown.json");
    std::fs::write(&unknown, "{\"hello\":1}\n").unwrap();
    for file in [folder.path().join("missing.json"), unknown] {
        let output = run(&["import", "--case", text(&case), text(&file)]);
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(text(&file)), "{said}");
        assert!(!case.exists());
    }
}

#[test]
fn a_replayed_case_arrives_whole_over_http_and_grpc() {
    let folder = tempfile::tempdir().unwrap();
    let from = folder.path().join("from.case");
    let files: Vec<PathBuf> = ["otlp", "zipkin"]
        .iter()
        .flat_map(|f| fixtures(f))
        .collect();
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    import(&from, &files);
    for transport in ["http", "grpc"] {
        let case = folder.path().join(format!("{transport}.case"));
        let collector = Collector::start_with_grpc(&case);
        let (address, more) = match transport {
            "grpc" => (collector.grpc.clone().unwrap(), Some("--grpc")),
            _ => (collector.http.clone(), None),
        };
        let to = format!("http://{address}");
        let mut args = vec!["replay", text(&from), "--to", &to, "--speed", "max"];
        args.extend(more);
        works(&args);
        collector.stop();
        for (signal, at_least) in [("traces", 19), ("logs", 5), ("metrics", 6)] {
            let rows = |case: &Path| {
                let output = works(&[signal, text(case), "--format", "json"]);
                let mut rows: Vec<String> = lines(&output).iter().map(Value::to_string).collect();
                rows.sort();
                rows
            };
            let (sent, there) = (rows(&from), rows(&case));
            assert!(sent.len() >= at_least, "{signal}: {}", sent.len());
            assert_eq!(there.len(), sent.len(), "{signal} over {transport}");
            assert_eq!(there, sent, "{signal} over {transport}");
        }
    }
}
