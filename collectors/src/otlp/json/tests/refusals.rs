//! What is refused, where it says so, and how far anything may grow.

use super::*;

#[test]
fn errors_say_where_and_why() {
    let json = b"{\n  \"resourceSpans\": [{}, {\"scopeSpans\": [{\"spans\": [{\"kind\": \"SERVER\"}]}]}]\n}";
    let error = json_to_protobuf(Signal::Traces, json).unwrap_err();
    assert_eq!(error.line, 2);
    assert_eq!(error.path, "resourceSpans[1].scopeSpans[0].spans[0].kind");
    assert_eq!(error.reason, "unknown enum name \"SERVER\"");
    assert_eq!(
        error.to_string(),
        "unknown enum name \"SERVER\" in resourceSpans[1].scopeSpans[0].spans[0].kind at line 2 column 69"
    );
    for broken in [
        "",
        "[]",
        "null",
        "{",
        "{}x",
        "{\"resourceSpans\":{}}",
        "{\"resourceSpans\":[1]}",
        "\u{feff}{}",
    ] {
        assert!(
            json_to_protobuf(Signal::Traces, broken.as_bytes()).is_err(),
            "{broken}"
        );
    }
    let error = json_to_protobuf(Signal::Ledger, b"{}").unwrap_err();
    assert_eq!(error.reason, "ledger don't travel as OTLP");
}

#[test]
fn long_texts_are_not_quoted_whole_in_errors() {
    let json = format!("{{\"resourceSpans\":\"{}\"}}", "x".repeat(100_000));
    let error = json_to_protobuf(Signal::Traces, json.as_bytes()).unwrap_err();
    assert!(error.reason.len() < 1000, "{} bytes", error.reason.len());
}

#[test]
fn strings_must_be_utf8_but_halves_of_pairs_are_replaced() {
    let with = |bytes: &[u8]| {
        let mut json = b"{\"resourceSpans\":[{\"schemaUrl\":\"".to_vec();
        json.extend(bytes);
        json.extend(b"\"}]}");
        json_to_protobuf(Signal::Traces, &json).map(|bytes| {
            ExportTraceServiceRequest::decode(&bytes[..])
                .unwrap()
                .resource_spans[0]
                .schema_url
                .clone()
        })
    };
    assert_eq!(with(b"\x1b[0m").unwrap(), "\u{1b}[0m");
    assert_eq!(with(br"\ud83d\ude00").unwrap(), "\u{1f600}");
    assert_eq!(
        with(br"a\ude00\ud83db\ud83d\ud83d\ude00").unwrap(),
        "a\u{fffd}\u{fffd}b\u{fffd}\u{1f600}"
    );
    assert!(with(b"\xff").unwrap_err().reason.contains("UTF-8"));
    assert!(with(b"\xe2\x82").is_err());
}

#[test]
fn nesting_is_bounded_in_both_directions() {
    let deep = |levels: usize| {
        format!(
            "{}{{}}{}",
            "{\"arrayValue\":{\"values\":[".repeat(levels),
            "]}}".repeat(levels)
        )
    };
    assert!(value(&deep(20)).is_ok());
    let error = value(&deep(40)).unwrap_err();
    assert!(error.reason.contains("inside each other"), "{error}");
    assert!(value(&deep(100_000)).is_err());
    // Unknown fields are skipped without following them.
    let unknown = format!("{{\"x\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(json_to_protobuf(Signal::Traces, unknown.as_bytes()).is_ok());

    let mut any = Vec::new();
    for _ in 0..60 {
        for key in [0x0a, 0x2a] {
            let mut outer = vec![key];
            crate::otlp::json::wire::put_varint(&mut outer, any.len() as u64);
            outer.extend(&any);
            any = outer;
        }
    }
    let mut bytes = any;
    for number in [5u8, 2, 2, 1] {
        let mut outer = vec![number << 3 | 2];
        crate::otlp::json::wire::put_varint(&mut outer, bytes.len() as u64);
        outer.extend(bytes);
        bytes = outer;
    }
    let error = protobuf_to_json(Signal::Logs, &bytes).unwrap_err();
    assert_eq!(error.reason, "messages nested too deep");
}

#[test]
fn packed_numbers_can_not_outgrow_the_limit() {
    let counts = "0,".repeat(100_000);
    let json = format!(
        "{{\"resourceMetrics\":[{{\"scopeMetrics\":[{{\"metrics\":[{{\"histogram\":{{\"dataPoints\":[{{\"bucketCounts\":[{counts}0]}}]}}}}]}}]}}]}}"
    );
    assert_eq!(
        json_to_protobuf(Signal::Metrics, json.as_bytes())
            .unwrap()
            .len(),
        800_008 + 4 * 4 + 4 + 4
    );
    let error = json_to_protobuf_within(Signal::Metrics, json.as_bytes(), 400_000).unwrap_err();
    assert_eq!(error.reason, "more than 400000 bytes as protobuf");
}

#[test]
fn broken_protobuf_is_refused_at_its_byte() {
    let good = from_corpus("metrics-all-kinds.json");
    for end in 1..good.len() {
        // Cut anywhere: an error, or (between two resources) a shorter request; never a panic.
        let _ = protobuf_to_json(Signal::Metrics, &good[..end]);
    }
    assert!(protobuf_to_json(Signal::Metrics, &good[..good.len() - 1]).is_err());
    let error = protobuf_to_json(Signal::Traces, &[0x0a, 0x05, 0x00]).unwrap_err();
    assert_eq!(error.offset, 2);
    assert_eq!(
        protobuf_to_json(Signal::Traces, &[0x0d, 0, 0, 0, 0])
            .unwrap_err()
            .reason,
        "a field of the wrong wire type"
    );
    assert_eq!(
        protobuf_to_json(Signal::Traces, &[0x7b, 0x08, 0x01, 0x7c]).unwrap(),
        "{}",
        "groups are skipped"
    );
    assert!(protobuf_to_json(Signal::Traces, &[0x7b, 0x08, 0x01]).is_err());
    assert!(protobuf_to_json(Signal::Traces, &[0xff; 11]).is_err());
}

#[test]
fn empty_requests_are_requests() {
    assert_eq!(
        json_to_protobuf(Signal::Logs, b"{}").unwrap(),
        Vec::<u8>::new()
    );
    assert_eq!(
        json_to_protobuf(Signal::Logs, b" {\"resourceLogs\": []} ").unwrap(),
        Vec::<u8>::new()
    );
    assert_eq!(protobuf_to_json(Signal::Logs, b"").unwrap(), "{}");
}
