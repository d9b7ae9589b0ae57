//! Jaeger JSON: the captures, the conventions, the packagings, what is damaged.

use super::*;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

#[test]
fn the_captures_have_the_spans_they_say() {
    for (name, spans) in [
        ("crisp-1", 1),
        ("crisp-2", 2),
        ("crisp-10", 4),
        ("crisp-14", 4),
        ("otlp2jaeger-out", 2),
    ] {
        let (report, taken) = run(capture(name));
        assert_eq!(
            (report.spans, report.bad.total),
            (spans, 0),
            "{name}: {:?}",
            report.bad
        );
        assert_eq!(taken.spans().len() as u64, spans);
    }
}

#[test]
fn one_letter_ids_and_a_start_of_zero_are_kept() {
    let (_, taken) = run(capture("crisp-10"));
    let spans = taken.spans();
    assert_eq!(
        hex(&spans[0].1.trace_id),
        "0000000000000000000000000000000a"
    );
    assert_eq!(
        (
            spans[0].1.start_time_unix_nano,
            spans[0].1.end_time_unix_nano
        ),
        (0, 1_000_000)
    );
    assert_eq!(hex(&spans[1].1.parent_span_id), "000000000000000a");
    assert_eq!(
        spans
            .iter()
            .map(|(service, _)| service.as_str())
            .collect::<Vec<_>>(),
        ["S1", "S2", "S3", "S4"]
    );
}

#[test]
fn the_conversion_pair_reads_as_the_same_spans() {
    let (_, otlp) = run(capture("otlp2jaeger-in"));
    let (_, jaeger) = run(capture("otlp2jaeger-out"));
    let plain = |taken: &Taken| {
        let mut spans = taken.spans();
        // An empty status says nothing.
        spans
            .iter_mut()
            .for_each(|(_, span)| span.status = span.status.take().filter(|s| s.code != 0));
        spans
    };
    assert_eq!(plain(&jaeger), plain(&otlp));
}

const SPAN: &str = r#"{"traceID":"1","spanID":"2","operationName":"op","references":[
  {"refType":"FOLLOWS_FROM","traceID":"1","spanID":"9"},{"refType":"CHILD_OF","traceID":"1","spanID":"3"},{"refType":"FOLLOWS_FROM","traceID":"8","spanID":"7"}],
  "startTime":10,"duration":5,"processID":"p1","flags":1,"warnings":["clock skew"],
  "tags":[{"key":"span.kind","type":"string","value":"client"},{"key":"error","type":"bool","value":true},
          {"key":"otel.status_description","type":"string","value":"boom"},{"key":"n","type":"int64","value":9007199254740993},
          {"key":"raw","type":"binary","value":"AQI="},{"key":"w3c.tracestate","type":"string","value":"a=b"},
          {"key":"otel.scope.name","type":"string","value":"lib"},{"key":"otel.scope.version","type":"string","value":"2"}],
  "logs":[{"timestamp":11,"fields":[{"key":"event","type":"string","value":"retry"},{"key":"try","type":"int64","value":2}]}]}"#;

#[test]
fn conventions_become_fields() {
    let (report, taken) = run(format!(
        r#"{{"data":[{{"traceID":"1","processes":{{"p1":{{"serviceName":"s","tags":[{{"key":"host","type":"string","value":"h"}}]}}}},"spans":[{SPAN}]}}]}}"#
    ));
    assert_eq!(report.bad.total, 0, "{:?}", report.bad);
    let (service, span) = taken.spans().remove(0);
    assert_eq!(service, "s");
    assert_eq!(span.kind, SpanKind::Client as i32);
    assert_eq!(
        span.status
            .as_ref()
            .map(|status| (status.code, status.message.as_str())),
        Some((2, "boom"))
    );
    assert_eq!(hex(&span.parent_span_id), "0000000000000003");
    let links: Vec<String> = span.links.iter().map(|link| hex(&link.span_id)).collect();
    assert_eq!(links, ["0000000000000009", "0000000000000007"]);
    assert_eq!((span.trace_state.as_str(), span.flags), ("a=b", 1));
    assert_eq!(span.events[0].name, "retry");
    let keys: Vec<&str> = span
        .attributes
        .iter()
        .map(|pair| pair.key.as_str())
        .collect();
    assert_eq!(keys, ["n", "raw", "jaeger.warnings"]);
    let value = |at: usize| span.attributes[at].value.clone().unwrap().value.unwrap();
    assert_eq!(value(0), any_value::Value::IntValue(9_007_199_254_740_993));
    assert_eq!(value(1), any_value::Value::BytesValue(vec![1, 2]));
}

#[test]
fn follows_from_is_the_parent_where_there_is_no_other() {
    let (_, taken) = run(
        r#"{"traceID":"1","spans":[{"traceID":"1","spanID":"2","operationName":"o","startTime":1,"duration":1,"references":[{"refType":"FOLLOWS_FROM","traceID":"1","spanID":"9"}]}]}"#,
    );
    let span = taken.spans().remove(0).1;
    assert_eq!(hex(&span.parent_span_id), "0000000000000009");
    assert!(span.links.is_empty());
    assert_eq!(
        text(&span.attributes, "opentracing.ref_type").as_deref(),
        Some("follows_from")
    );
}

#[test]
fn traces_come_in_every_packaging() {
    let span = r#"{"traceID":"1","spanID":"2","operationName":"o","startTime":1,"duration":1}"#;
    let trace = format!(r#"{{"traceID":"1","spans":[{span}],"processes":{{}}}}"#);
    for text in [
        trace.clone(),
        format!("[{trace},{trace}]"),
        format!("{trace}\n{trace}\n"),
        format!(r#"{{"data":[{trace},{trace}],"total":0,"errors":null}}"#),
        format!(r#"{{"total":0,"data":[{trace}]}}"#),
    ] {
        let (report, taken) = run(text.clone());
        assert_eq!(report.bad.total, 0, "{text}: {:?}", report.bad);
        assert_eq!(
            taken.spans().len(),
            text.matches("spanID").count(),
            "{text}"
        );
    }
}

#[test]
fn bad_spans_are_named_by_their_line_and_cost_only_themselves() {
    let text = r#"{"data":[
{"traceID":"1","processes":{"p1":{"serviceName":"s"}},"spans":[
  {"traceID":"1","spanID":"2","operationName":"good","startTime":1,"duration":1,"processID":"p1"},
  {"traceID":"1","operationName":"no id","startTime":1,"duration":1,"processID":"p1"},
  {"traceID":"1","spanID":"zz","operationName":"no hex","startTime":1,"duration":1},
  {"traceID":"1","spanID":"4","operationName":"text for time","startTime":"soon","duration":1},
  {"traceID":"1","spanID":"5","operationName":"good","startTime":2,"duration":1,"processID":"p9"}
]},
{"traceID":"2","spans":[
  {"traceID":"2","spanID":"6","operationName":"good","startTime":18446744073709551615,"duration":1}
]},
{"traceID":"3"}
]}"#;
    let (report, taken) = run(text);
    assert_eq!(taken.spans().len(), 2);
    assert_eq!(
        bad(&report),
        [
            "line 4: missing field `spanID`",
            "line 5: the span id \"zz\" is not hexadecimal",
            "line 6: invalid type: string \"soon\", expected u64",
            "line 10: 18446744073709551615 microseconds reach beyond the year 2554",
            "line 12: no trace: it has no spans",
        ]
    );
    assert_eq!(report.notes.len(), 1, "the unknown process is noted");
}

#[test]
fn an_answer_that_ends_early_keeps_the_traces_before() {
    let whole = r#"{"data":[{"traceID":"1","spans":[{"traceID":"1","spanID":"2","operationName":"o","startTime":1,"duration":1}]},
{"traceID":"2","spans":[{"traceID":"2","sp"#;
    let (report, taken) = run(whole);
    assert_eq!(taken.spans().len(), 1);
    assert_eq!(
        bad(&report),
        ["line 2: the file ends in the middle of a trace"]
    );
}
