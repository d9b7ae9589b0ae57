//! One system's signals, read as they came, sealed, imported from OTLP and imported from Jaeger: the same findings each
//! time. What a format can't carry is missed by name, never passed over.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;

use serde_json::{Value, json};
use support::{Collector, run};

const BEGIN: u64 = 1_790_000_000_000_000_000;
/// Requests that the system was sent.
const REQUESTS: u64 = 40;

fn attribute(key: &str, value: Value) -> Value {
    match value {
        Value::Number(number) => json!({"key": key, "value": {"intValue": number.to_string()}}),
        text => json!({"key": key, "value": {"stringValue": text}}),
    }
}

fn resource(service: &str) -> Value {
    json!({"attributes": [
        attribute("service.name", json!(service)),
        attribute("service.instance.id", json!(format!("{service}-1"))),
    ]})
}

/// A span of a call by RPC to a port, or of the request it leads to.
fn span(name: &str, kind: u64, port: u64, ids: (u64, u64, u64), from: u64, until: u64) -> Value {
    let (trace, id, parent) = ids;
    let mut span = json!({
        "traceId": format!("{trace:032x}"), "spanId": format!("{id:016x}"), "name": name, "kind": kind,
        "startTimeUnixNano": (BEGIN + from).to_string(), "endTimeUnixNano": (BEGIN + until).to_string(),
        "attributes": [
            attribute("rpc.system", json!("grpc")),
            attribute("rpc.method", json!(name)),
            attribute("server.address", json!("10.0.0.9")),
            attribute("server.port", json!(port)),
        ],
        "status": {},
    });
    if parent > 0 {
        span["parentSpanId"] = json!(format!("{parent:016x}"));
    }
    span
}

/// A gateway that calls a catalogue, which goes on with its traces, and orders, which begins new ones.
fn spans() -> Value {
    const MS: u64 = 1_000_000;
    let (mut gateway, mut catalogue, mut orders) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..REQUESTS {
        let (trace, id) = (n + 1, 100 * (n + 1));
        let at = n * 300 * MS;
        let mut of_gateway = |name, kind, port, id, parent, from: u64, until: u64| {
            gateway.push(span(
                name,
                kind,
                port,
                (trace, id, parent),
                at + from * MS,
                at + until * MS,
            ));
        };
        of_gateway("shop.Front/Buy", 2, 7000, id + 1, 0, 0, 100);
        of_gateway("shop.Catalogue/Find", 3, 7001, id + 2, id + 1, 5, 40);
        of_gateway("shop.Orders/Place", 3, 7002, id + 3, id + 1, 45, 95);
        catalogue.push(span(
            "shop.Catalogue/Find",
            2,
            7001,
            (trace, id + 4, id + 2),
            at + 10 * MS,
            at + 35 * MS,
        ));
        orders.push(span(
            "shop.Orders/Place",
            2,
            7002,
            (trace + 10_000, id + 5, 0),
            at + 50 * MS,
            at + 90 * MS,
        ));
    }
    let of = |service: &str, spans: Vec<Value>| json!({"resource": resource(service), "scopeSpans": [{"spans": spans}]});
    json!({"resourceSpans": [of("gateway", gateway), of("catalogue", catalogue), of("orders", orders)]})
}

/// A line of the gateway for each request, with its trace.
fn logs() -> Value {
    let records: Vec<Value> = (0..REQUESTS)
        .map(|n| {
            json!({
                "timeUnixNano": (BEGIN + n * 300_000_000 + 20_000_000).to_string(),
                "severityNumber": 9, "severityText": "INFO", "body": {"stringValue": "a request"},
                "traceId": format!("{:032x}", n + 1), "spanId": format!("{:016x}", 100 * (n + 1) + 1),
            })
        })
        .collect();
    json!({"resourceLogs": [{"resource": resource("gateway"), "scopeLogs": [{"logRecords": records}]}]})
}

fn post(address: &str, path: &str, body: &Value) {
    let body = body.to_string();
    let address = address.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: collector\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    assert!(line.starts_with("HTTP/1.1 200"), "{path}: {line}");
}

/// Runs what has to work, and returns its standard output.
fn works(args: &[&str]) -> Vec<u8> {
    let output = run(args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
    output.stdout
}

struct Report {
    /// Each finding whole, less what the case is called.
    findings: Value,
    passed: Vec<String>,
    cannot_tell: Vec<String>,
}

fn diagnose(case: &str) -> Report {
    let output = run(&["diagnose", case, "--format", "json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let names = |list: &Value, of: &dyn Fn(&Value) -> Value| -> Vec<String> {
        let names = list.as_array().unwrap().iter();
        names
            .map(|one| of(one).as_str().unwrap().to_owned())
            .collect()
    };
    Report {
        findings: report["findings"].clone(),
        passed: names(&report["passed"], &Value::clone),
        cannot_tell: names(&report["cannot_tell"], &|blind| blind["rule"].clone()),
    }
}

#[test]
fn live_sealed_and_imported_say_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (case, otlp, jaeger) = (place("a.case"), place("otlp.case"), place("jaeger.case"));
    let collector = Collector::start(Path::new(&case), &[]);
    post(&collector.http, "/v1/traces", &spans());
    post(&collector.http, "/v1/logs", &logs());
    let live = diagnose(&case);
    let findings = live.findings.as_array().unwrap();
    assert_eq!(
        findings
            .iter()
            .map(|finding| &finding["cause_id"])
            .collect::<Vec<_>>(),
        ["propagation/new-trace-per-service#extract-missing"],
        "{findings:?}"
    );
    collector.stop();
    works(&["seal", &case]);
    let sealed = diagnose(&case);
    assert_eq!(sealed.findings, live.findings);
    assert_eq!(
        (&sealed.passed, &sealed.cannot_tell),
        (&live.passed, &live.cannot_tell)
    );

    let file = place("a.otlp.json");
    std::fs::write(&file, works(&["export", &case, "--format", "otlp-json"])).unwrap();
    works(&["import", &file, "--case", &otlp]);
    let imported = diagnose(&otlp);
    assert_eq!(imported.findings, live.findings);
    assert_eq!(
        (&imported.passed, &imported.cannot_tell),
        (&live.passed, &live.cannot_tell)
    );

    let file = place("a.jaeger.json");
    std::fs::write(&file, works(&["export", &case, "--format", "jaeger"])).unwrap();
    works(&["import", &file, "--case", &jaeger]);
    let without_logs = diagnose(&jaeger);
    assert_eq!(without_logs.findings, live.findings);
    let about_logs =
        |rules: &[String]| rules.iter().filter(|rule| rule.starts_with("log/")).count();
    assert!(about_logs(&live.passed) > 0, "{:?}", live.passed);
    assert_eq!(
        about_logs(&without_logs.passed),
        0,
        "rules about log lines can't pass where there are none"
    );
    for rule in &live.passed {
        let kept = without_logs.passed.contains(rule) || without_logs.cannot_tell.contains(rule);
        assert!(kept, "{rule} is neither passed nor named as untold");
    }
}
