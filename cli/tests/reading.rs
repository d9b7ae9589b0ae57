//! The real binary: what was sent comes back, errors are errors, and exit codes say what happened.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// `casefile` in a home of its own.
fn casefile(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_casefile"));
    command
        .args(args)
        .env_clear()
        .env("HOME", home)
        .current_dir(home);
    command
}

fn run(home: &Path, args: &[&str]) -> Output {
    casefile(home, args).output().expect("casefile starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("output is UTF-8")
}

fn lines(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

/// A collector that is stopped when it goes out of scope.
struct Collector {
    child: Child,
    ready: Value,
}

impl Collector {
    fn start(home: &Path, extra: &[&str]) -> Collector {
        let ready_file = home.join("ready.json");
        let mut args = vec![
            "collect",
            "--case",
            "it.case",
            "--otlp-grpc",
            "127.0.0.1:0",
            "--otlp-http",
            "127.0.0.1:0",
        ];
        args.extend(["--ready-file", "ready.json"]);
        args.extend(extra);
        let child = casefile(home, &args)
            .stderr(Stdio::piped())
            .spawn()
            .expect("casefile starts");
        let mut collector = Collector {
            child,
            ready: Value::Null,
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        while !ready_file.exists() {
            assert!(Instant::now() < deadline, "not ready in time");
            if let Some(status) = collector.child.try_wait().unwrap() {
                let mut said = String::new();
                collector
                    .child
                    .stderr
                    .take()
                    .unwrap()
                    .read_to_string(&mut said)
                    .unwrap();
                panic!("collect ended with {status}: {said}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        collector.ready = serde_json::from_slice(&std::fs::read(ready_file).unwrap()).unwrap();
        collector
    }

    fn post(&self, path: &str, body: &Value) -> String {
        let address = self.ready["otlp_http"].as_str().unwrap();
        let body = body.to_string();
        let mut stream = TcpStream::connect(address).unwrap();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut status = String::new();
        BufReader::new(stream).read_line(&mut status).unwrap();
        status.trim().to_owned()
    }

    /// Asks it to stop, and waits until it has.
    fn stop(mut self) -> i32 {
        let asked = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(asked.success());
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

const TRACE: &str = "5b8efff798038103d269b633813fc60c";

fn resource(service: &str) -> Value {
    json!({"attributes": [{"key": "service.name", "value": {"stringValue": service}}]})
}

fn traces() -> Value {
    json!({"resourceSpans": [{
        "resource": resource("payment"),
        "scopeSpans": [{"scope": {"name": "tonic", "version": "1"}, "spans": [
            {
                "traceId": TRACE.to_uppercase(), "spanId": "eee19b7ec3c1b174", "name": "Pay \u{1b}[2J\u{202e}x", "kind": 2,
                "startTimeUnixNano": "1792405802000000001", "endTimeUnixNano": "1792405802600000001",
                "status": {"code": 2, "message": "declined"},
                "attributes": [
                    {"key": "big", "value": {"intValue": "9007199254740993"}},
                    {"key": "share", "value": {"doubleValue": 0.5}},
                    {"key": "list", "value": {"arrayValue": {"values": [{"boolValue": true}, {"stringValue": "a"}]}}},
                    {"key": "map", "value": {"kvlistValue": {"values": [{"key": "k", "value": {"intValue": 1}}]}}},
                    {"key": "raw", "value": {"bytesValue": "AQL/"}}
                ]
            },
            {
                "traceId": TRACE, "spanId": "eee19b7ec3c1b175", "parentSpanId": "eee19b7ec3c1b174", "name": "INSERT payments",
                "kind": 3, "startTimeUnixNano": "1792405802100000000", "endTimeUnixNano": "1792405802150000000"
            }
        ]}]
    }]})
}

/// A case with two spans, a log record and a metric point, and a home around it.
fn home_with_case() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let collector = Collector::start(home.path(), &[]);
    assert_eq!(collector.post("/v1/traces", &traces()), "HTTP/1.1 200 OK");
    let logs = json!({"resourceLogs": [{"resource": resource("payment"), "scopeLogs": [{"logRecords": [{
        "timeUnixNano": "1792405802500000000", "severityNumber": 17, "severityText": "ERROR",
        "body": {"stringValue": "card declined"}, "traceId": TRACE, "spanId": "eee19b7ec3c1b174"
    }]}]}]});
    assert_eq!(collector.post("/v1/logs", &logs), "HTTP/1.1 200 OK");
    let metrics = json!({"resourceMetrics": [{"resource": resource("payment"), "scopeMetrics": [{"metrics": [{
        "name": "payments_total", "unit": "1", "sum": {"aggregationTemporality": 2, "isMonotonic": true,
        "dataPoints": [{"timeUnixNano": "1792405802500000000", "asInt": "3"}]}
    }]}]}]});
    assert_eq!(collector.post("/v1/metrics", &metrics), "HTTP/1.1 200 OK");
    assert_eq!(collector.stop(), 0);
    home
}

#[test]
fn what_was_sent_comes_back_with_its_types() {
    let home = home_with_case();
    // Without a path, the case last collected is meant.
    let spans = lines(&run(home.path(), &["traces", "--format", "json"]));
    assert_eq!(spans.len(), 2);
    let span = &spans[0];
    assert_eq!(span["trace_id"], TRACE);
    assert_eq!(span["span_id"], "eee19b7ec3c1b174");
    assert_eq!(span["parent_span_id"], Value::Null);
    assert_eq!(span["service"], "payment");
    assert_eq!(span["name"], "Pay \u{1b}[2J\u{202e}x");
    assert_eq!(span["kind"], "server");
    assert_eq!(span["start_unix_nano"], 1_792_405_802_000_000_001_u64);
    assert_eq!(span["duration_nano"], 600_000_000);
    assert_eq!(span["status"], "error");
    assert_eq!(
        span["attributes"],
        json!({"big": 9_007_199_254_740_993_i64, "share": 0.5, "list": [true, "a"], "map": {"k": 1}, "raw": "AQL/"})
    );
    assert_eq!(spans[1]["parent_span_id"], "eee19b7ec3c1b174");
    let log = &lines(&run(home.path(), &["logs", "it.case", "--format", "json"]))[0];
    assert_eq!(
        (&log["body"], &log["trace_id"]),
        (&json!("card declined"), &json!(TRACE))
    );
    let point = &lines(&run(
        home.path(),
        &["metrics", "--case", "it.case", "--format", "json"],
    ))[0];
    assert_eq!(
        (&point["name"], &point["value"], &point["type"]),
        (&json!("payments_total"), &json!(3), &json!("sum"))
    );
    let trace = lines(&run(home.path(), &["trace", "5b8eff", "--format", "json"])).remove(0);
    assert_eq!(trace["spans"][1]["depth"], 1);
    assert_eq!(trace["spans"][0]["self_nano"], 550_000_000);
    assert_eq!(trace["logs"].as_array().map(Vec::len), Some(1));
}

#[test]
fn no_output_can_drive_a_terminal() {
    let home = home_with_case();
    for args in [
        &["traces", "it.case"][..],
        &["trace", TRACE, "it.case"],
        &["traces", "it.case", "--format", "json"],
        &[
            "open",
            "it.case",
            "--snapshot",
            "-",
            "--keys",
            "enter enter",
        ],
    ] {
        let output = run(home.path(), args);
        let shown = text(&output.stdout);
        assert!(
            output.status.success() && !shown.is_empty(),
            "{args:?}: {}",
            text(&output.stderr)
        );
        assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{args:?}: {shown}");
    }
    let shown = text(&run(home.path(), &["trace", TRACE, "it.case"]).stdout);
    assert!(
        shown.contains("Pay \\x1b[2J\\u{202e}x") && shown.contains("card declined"),
        "{shown}"
    );
}

#[test]
fn filters_choose_and_exclude() {
    let home = home_with_case();
    let count = |args: &[&str]| {
        let all = [&["traces", "it.case", "--format", "json"], args].concat();
        lines(&run(home.path(), &all)).len()
    };
    assert_eq!(count(&["--errors"]), 1);
    assert_eq!(
        count(&["--service", "payment", "--min-duration", "100ms"]),
        1
    );
    assert_eq!(count(&["--where", "kind:client OR status:error"]), 2);
    assert_eq!(count(&["--not", "kind:client"]), 1);
    assert_eq!(count(&["--attr", "big=9007199254740993"]), 1);
    assert_eq!(count(&["--window", "2026-10-19T10:30:02.05Z.."]), 1);
    assert_eq!(count(&["--until", "2020-01-01T00:00:00Z"]), 0);
    assert_eq!(count(&["--limit", "1"]), 1);
}

#[test]
fn what_can_not_be_answered_is_an_error_with_a_hint() {
    let home = home_with_case();
    for (args, says) in [
        (
            &["traces", "it.case", "--service", "paymnt"][..],
            "did you mean payment?",
        ),
        (
            &["traces", "it.case", "--where", "servcie:x"],
            "did you mean service?",
        ),
        (
            &["traces", "it.case", "--since", "yesterday"],
            "\"yesterday\" is no time",
        ),
        (&["traces", "missing.case"], "no case at missing.case"),
        (
            &["trace", "00000000000000000000000000000001", "it.case"],
            "no trace",
        ),
        (&["trace", "xyz", "it.case"], "hexadecimal"),
        (
            &["diagnose", "it.case", "--only", "registry/cached"],
            "did you mean registry/cached-after-removal?",
        ),
        (
            &["explain", "nothing/like-it"],
            "`casefile explain` lists the rules",
        ),
        (
            &[
                "collect",
                "--case",
                "x.case",
                "--otlp-grpc",
                "off",
                "--otlp-http",
                "off",
            ],
            "nothing to collect",
        ),
        (
            &[
                "collect",
                "--case",
                "x.case",
                "--otlp-grpc",
                "0.0.0.0:0",
                "--otlp-http",
                "off",
            ],
            "other machines",
        ),
        (&["open", "it.case"], "needs a terminal"),
        (&["no-such-command"], "unrecognized subcommand"),
    ] {
        let output = run(home.path(), args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
        assert!(
            text(&output.stderr).contains(says),
            "{args:?}: {}",
            text(&output.stderr)
        );
    }
    let nobody = tempfile::tempdir().unwrap();
    assert!(text(&run(nobody.path(), &["traces"]).stderr).contains("none has been collected"));
}

#[test]
fn exit_codes_tell_what_could_not_be_told() {
    let home = home_with_case();
    let diagnosed = run(home.path(), &["diagnose", "it.case"]);
    assert_eq!(diagnosed.status.code(), Some(0));
    assert!(text(&diagnosed.stdout).starts_with("? nothing found, yet "));
    assert_eq!(
        run(home.path(), &["diagnose", "it.case", "--strict"])
            .status
            .code(),
        Some(3)
    );
    let report = &lines(&run(
        home.path(),
        &["diagnose", "it.case", "--format", "json"],
    ))[0];
    let blind = report["cannot_tell"].as_array().unwrap().iter();
    let cached = blind
        .filter(|answer| answer["rule"] == "registry/cached-after-removal")
        .collect::<Vec<_>>();
    assert_eq!(
        cached[0]["missing"][0],
        "no registry events or snapshots in the window"
    );
}

#[test]
fn a_sealed_case_stays_readable_and_takes_nothing_more() {
    let home = home_with_case();
    assert!(run(home.path(), &["seal", "it.case"]).status.success());
    assert_eq!(
        run(home.path(), &["verify", "it.case"]).status.code(),
        Some(0)
    );
    assert_eq!(
        lines(&run(
            home.path(),
            &["traces", "it.case", "--format", "json"]
        ))
        .len(),
        2
    );
    let again = run(
        home.path(),
        &[
            "collect",
            "--case",
            "it.case",
            "--otlp-grpc",
            "127.0.0.1:0",
            "--otlp-http",
            "off",
        ],
    );
    assert_eq!(again.status.code(), Some(2));
    assert!(
        text(&again.stderr).contains("sealed"),
        "{}",
        text(&again.stderr)
    );
}

#[test]
fn a_second_writer_is_refused_and_readers_are_not() {
    let home = tempfile::tempdir().unwrap();
    let collector = Collector::start(home.path(), &[]);
    assert_eq!(collector.post("/v1/traces", &traces()), "HTTP/1.1 200 OK");
    let second = run(
        home.path(),
        &[
            "collect",
            "--case",
            "it.case",
            "--otlp-grpc",
            "127.0.0.1:0",
            "--otlp-http",
            "off",
        ],
    );
    assert_eq!(second.status.code(), Some(2));
    let said = text(&second.stderr);
    assert!(
        said.contains(&collector.child.id().to_string()),
        "the holder is named: {said}"
    );
    assert_eq!(
        lines(&run(
            home.path(),
            &["traces", "it.case", "--format", "json"]
        ))
        .len(),
        2,
        "a live case is read"
    );
    assert_eq!(collector.stop(), 0);
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let home = home_with_case();
    let mut child = casefile(home.path(), &["metrics", "it.case", "--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Closed before anything can be written.
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn scripts_and_manuals_are_made_from_the_command_line_itself() {
    let home = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&run(home.path(), &["completions", shell]).stdout);
        assert!(
            script.contains("casefile") && script.contains("diagnose"),
            "{shell}"
        );
    }
    assert!(text(&run(home.path(), &["man", "collect"]).stdout).contains("otlp"));
    let folder: PathBuf = home.path().join("man");
    assert!(run(home.path(), &["man", "--all", "man"]).status.success());
    assert!(std::fs::read_dir(folder).unwrap().count() > 10);
    let rules = text(&run(home.path(), &["explain"]).stdout);
    assert!(rules.contains("registry/cached-after-removal"), "{rules}");
}
