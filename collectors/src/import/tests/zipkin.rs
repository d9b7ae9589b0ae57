//! Zipkin v2: shared ids, missing parents, fields, what is damaged.

use super::*;
use std::io::Cursor;

fn ids(taken: &Taken) -> Vec<(String, String, String)> {
    taken
        .spans()
        .iter()
        .map(|(service, span)| {
            (
                service.clone(),
                hex(&span.span_id),
                hex(&span.parent_span_id),
            )
        })
        .collect()
}

#[test]
fn a_shared_id_is_parted_between_client_and_server() {
    let (report, taken) = run(capture("skew"));
    assert_eq!((report.spans, report.bad.total), (4, 0));
    let spans = ids(&taken);
    let server = spans[1].1.clone();
    let expect = |service: &str, id: &str, parent: &str| {
        (service.to_owned(), id.to_owned(), parent.to_owned())
    };
    assert_ne!(server, "74280ae0c10d8062");
    assert_eq!(
        spans,
        [
            expect("serviceb", "43210ae0c10d1234", &server),
            expect("serviceb", &server, "74280ae0c10d8062"),
            expect("servicea", "bf396325699c84bf", ""),
            expect("servicea", "74280ae0c10d8062", "bf396325699c84bf"),
        ]
    );
    let shared = &taken.spans()[1].1;
    assert_eq!(
        text(&shared.attributes, "zipkin.span_id").as_deref(),
        Some("74280ae0c10d8062")
    );
    assert_eq!(
        text(&shared.attributes, "zipkin.parent_id").as_deref(),
        Some("bf396325699c84bf")
    );
}

#[test]
fn an_input_that_is_read_once_gives_the_same() {
    let once = Input::once("standard input", Box::new(Cursor::new(capture("skew"))));
    let (_, taken) = run_with(once, &Options::default()).unwrap();
    assert_eq!(ids(&taken), ids(&run(capture("skew")).1));
}

#[test]
fn missing_parents_and_a_shared_span_without_its_client_stay_as_sent() {
    let (report, taken) = run(capture("messaging2"));
    assert_eq!((report.spans, report.bad.total), (11, 0));
    let spans = ids(&taken);
    let known: Vec<&String> = spans.iter().map(|(_, id, _)| id).collect();
    let missing = spans
        .iter()
        .filter(|(_, _, parent)| !parent.is_empty() && !known.contains(&parent))
        .count();
    assert_eq!(missing, 6);
    assert!(
        spans
            .iter()
            .any(|(_, id, parent)| id == "dca1d27152851c1c" && parent == "0d1a94ebc9256244")
    );
    assert_eq!(
        hex(&taken.spans()[0].1.trace_id),
        "00000000000000000d1a94ebc9256244"
    );
}

#[test]
fn fields_of_a_span() {
    let (_, taken) = run(
        r#"[{"traceId":"1","id":"2","kind":"PRODUCER","name":"send","timestamp":5,"duration":3,"debug":true,
            "localEndpoint":{"serviceName":"a","ipv4":"10.0.0.1","port":80},"remoteEndpoint":{"serviceName":"kafka","ipv6":"::1"},
            "annotations":[{"timestamp":6,"value":"ws"}],"tags":{"error":"timed out","http.path":"/x"}},
           {"traceId":"1","id":"3","timestamp":5}]"#,
    );
    let spans = taken.spans();
    let span = &spans[0].1;
    assert_eq!(
        (
            span.start_time_unix_nano,
            span.end_time_unix_nano,
            span.kind
        ),
        (5_000, 8_000, 4)
    );
    assert_eq!(span.events[0].name, "ws");
    assert_eq!(
        span.status.as_ref().map(|s| (s.code, s.message.as_str())),
        Some((2, "timed out"))
    );
    for (key, value) in [
        ("network.local.address", "10.0.0.1"),
        ("service.peer.name", "kafka"),
        ("network.peer.address", "::1"),
        ("http.path", "/x"),
    ] {
        assert_eq!(text(&span.attributes, key).as_deref(), Some(value), "{key}");
    }
    assert_eq!(spans[1].1.kind, 1, "a span without a kind is local");
}

#[test]
fn bad_spans_are_named_by_their_line() {
    let (report, taken) = run(
        "[{\"traceId\":\"1\",\"id\":\"2\",\"timestamp\":1},\n{\"traceId\":\"1\",\"id\":\"3\"},\n{\"traceId\":\"1\",\"id\":\"4\",\"timestamp\":1,\"kind\":\"ODD\"},\n 5,\n{\"traceId\":\"1\",\"id\":\"6\",\"timestamp\":true}]",
    );
    assert_eq!(taken.spans().len(), 1);
    assert_eq!(
        bad(&report),
        [
            "line 2: it has no timestamp",
            "line 3: the kind \"ODD\" is none of CLIENT, SERVER, PRODUCER, CONSUMER",
            "line 4: no JSON object begins here",
            "line 5: invalid type: boolean `true`, expected u64",
        ]
    );
}
