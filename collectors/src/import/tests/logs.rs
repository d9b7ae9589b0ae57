//! Logs as JSON lines and logfmt.

use super::*;
use ::case::Nanos;

#[test]
fn fields_are_found_under_their_usual_names() {
    let text = concat!(
        r#"{"@timestamp":"2024-01-02T03:04:05.678Z","Level":"WARN","service":{"name":"cart","version":"2"},"trace":{"id":"5b8efff798038103d269b633813fc60c"},"span_id":"eee19b7ec3c1b174","message":"slow","user":"u1","n":7}"#,
        "\n",
        r#"{"ts":1704164645.678,"lvl":"info","app":"pay","traceID":"5B8EFFF7-9803-8103-D269-B633813FC60C","msg":"ok"}"#,
        "\n",
    );
    let (report, taken) = run(text);
    assert_eq!((report.logs, report.bad.total), (2, 0), "{:?}", report.bad);
    let logs = taken.logs();
    let (service, first) = &logs[0];
    assert_eq!(service, "cart");
    assert_eq!(first.time_unix_nano, 1_704_164_645_678_000_000);
    assert_eq!(
        (first.severity_number, first.severity_text.as_str()),
        (13, "WARN")
    );
    assert_eq!(hex(&first.trace_id), "5b8efff798038103d269b633813fc60c");
    assert_eq!(hex(&first.span_id), "eee19b7ec3c1b174");
    assert_eq!(
        first.body.clone().unwrap().value,
        Some(any_value::Value::StringValue("slow".to_owned()))
    );
    let keys: Vec<&str> = first
        .attributes
        .iter()
        .map(|pair| pair.key.as_str())
        .collect();
    assert_eq!(keys, ["service.version", "user", "n"]);
    let (service, second) = &logs[1];
    assert_eq!(service, "pay");
    assert_eq!(second.time_unix_nano, 1_704_164_645_678_000_000);
    assert_eq!(second.trace_id, first.trace_id);
    let mapped: Vec<(&str, &str, u64)> = report
        .mapping
        .iter()
        .map(|m| (m.role.as_str(), m.from.as_str(), m.records))
        .collect();
    assert_eq!(
        mapped,
        [
            ("time", "@timestamp", 1),
            ("time", "ts", 1),
            ("level", "Level", 1),
            ("level", "lvl", 1),
            ("service", "app", 1),
            ("service", "service.name", 1),
            ("trace id", "trace.id", 1),
            ("trace id", "traceID", 1),
            ("span id", "span_id", 1),
            ("message", "message", 1),
            ("message", "msg", 1),
        ]
    );
}

#[test]
fn logfmt_has_the_same_roles() {
    let (report, taken) = run(
        "time=2024-01-02T03:04:05Z level=error service=cart trace_id=1f msg=\"it \\\"failed\\\"\" code=7\nts=1704164646 level=info msg=fine verbose\n",
    );
    assert_eq!((report.logs, report.bad.total), (2, 0), "{:?}", report.bad);
    let logs = taken.logs();
    assert_eq!(logs[0].0, "cart");
    assert_eq!(logs[0].1.severity_number, 17);
    assert_eq!(hex(&logs[0].1.trace_id), "0000000000000000000000000000001f");
    assert_eq!(text(&logs[0].1.attributes, "code").as_deref(), Some("7"));
    assert_eq!(logs[1].1.attributes[0].key, "verbose");
}

#[test]
fn bad_lines_are_named_with_the_reason() {
    let text = "{\"ts\":1704164645,\"msg\":\"a\"}\n{\"ts\":\"noon\",\"msg\":\"b\"}\n{\"msg\":\"c\"}\n\n{\"ts\":1704164645,\n[{\"ts\":1704164645,\"msg\":\"d\"}]\n";
    let (report, taken) = run(text);
    assert_eq!(taken.logs().len(), 2);
    assert_eq!(
        bad(&report),
        [
            "line 2: ts: \"noon\" is no time that is known here",
            "line 3: no field holds a time; --at TIME gives one to records without",
            "line 5: EOF while parsing a value",
        ]
    );
    let (report, _) = run("ts=1704164645 msg=a\njust words\nts=1704164645 msg=\"open\n");
    assert_eq!(
        bad(&report),
        [
            "line 2: no key=value pair in \"just words\"",
            "line 3: the quote at column 19 is never closed",
        ]
    );
}

#[test]
fn a_time_and_a_service_can_be_given() {
    let options = Options {
        at: Some(Nanos(9)),
        service: Some("given".to_owned()),
        ..Options::default()
    };
    let (_, taken) = run_with(
        Input::memory("f", "{\"level\":\"info\",\"msg\":\"a\"}\n"),
        &options,
    )
    .unwrap();
    let (service, record) = taken.logs().remove(0);
    assert_eq!((service.as_str(), record.time_unix_nano), ("given", 9));
}

#[test]
fn ids_that_are_none_or_no_hex_lose_nothing() {
    let (report, taken) = run(
        "{\"ts\":1,\"msg\":\"a\",\"trace_id\":\"00000000000000000000000000000000\",\"span_id\":\"0\"}\n{\"ts\":1,\"msg\":\"b\",\"trace_id\":\"order-17\",\"span_id\":\"aa\"}\n",
    );
    let logs = taken.logs();
    assert!(logs[0].1.trace_id.is_empty() && logs[0].1.attributes.is_empty());
    assert_eq!(
        text(&logs[1].1.attributes, "trace_id").as_deref(),
        Some("order-17")
    );
    assert_eq!(
        text(&logs[1].1.attributes, "span_id").as_deref(),
        Some("aa")
    );
    assert!(
        report.notes.keys().any(|note| note.contains("trace ids")),
        "{:?}",
        report.notes
    );
}
