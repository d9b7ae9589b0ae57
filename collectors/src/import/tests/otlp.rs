//! OTLP JSON and protobuf in every packaging, whole and damaged.

use super::*;
use crate::import::{Format, ImportError};

#[test]
fn the_official_examples() {
    let counts = |name| {
        let (report, taken) = run(capture(name));
        assert_eq!(report.bad.total, 0, "{name}: {:?}", report.bad);
        assert_eq!(
            (report.spans, report.logs, report.points),
            (
                taken.spans().len() as u64,
                taken.logs().len() as u64,
                taken.points() as u64
            )
        );
        (report.spans, report.logs, report.points)
    };
    assert_eq!(counts("example-trace"), (1, 0, 0));
    assert_eq!(counts("example-logs"), (0, 1, 0));
    assert_eq!(counts("example-events"), (0, 1, 0));
    assert_eq!(counts("example-metrics"), (0, 0, 4));
    assert_eq!(counts("otel-tui-demo"), (3, 3, 2));
}

#[test]
fn a_document_says_the_same_in_every_packaging() {
    let document = capture("otlp2jaeger-in");
    let value: serde_json::Value = serde_json::from_slice(document).unwrap();
    let line = value.to_string();
    let (_, plain) = run(document);
    let expected = plain.spans();
    assert_eq!(expected.len(), 2);
    let payload = &plain.requests[0].1;
    let mut framed = Vec::new();
    framed.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
    framed.extend_from_slice(payload);
    let packed = zstd(payload);
    let mut framed_packed = u32::try_from(packed.len()).unwrap().to_be_bytes().to_vec();
    framed_packed.extend_from_slice(&packed);
    let mut framed_json = u32::try_from(line.len()).unwrap().to_be_bytes().to_vec();
    framed_json.extend_from_slice(line.as_bytes());
    for (name, bytes, format) in [
        ("one line", line.clone().into_bytes(), Format::OtlpJson),
        (
            "an array",
            format!("[{line}]").into_bytes(),
            Format::OtlpJson,
        ),
        (
            "an array over lines",
            format!("[\n{line}\n]").into_bytes(),
            Format::OtlpJson,
        ),
        (
            "wrapped",
            format!("{{\"result\":{line}}}").into_bytes(),
            Format::OtlpJson,
        ),
        (
            "snake case",
            line.replace("resourceSpans", "resource_spans").into_bytes(),
            Format::OtlpJson,
        ),
        ("protobuf", payload.to_vec(), Format::OtlpProtobuf),
        ("protobuf, zstd", zstd(payload), Format::OtlpProtobuf),
        (
            "length-prefixed",
            framed.clone(),
            Format::OtlpProtobufStream,
        ),
        (
            "length-prefixed, gzip",
            gzip(&framed),
            Format::OtlpProtobufStream,
        ),
        (
            "length-prefixed, each zstd",
            framed_packed,
            Format::OtlpProtobufStream,
        ),
        (
            "length-prefixed JSON",
            framed_json,
            Format::OtlpProtobufStream,
        ),
    ] {
        let (report, taken) = run(bytes);
        assert_eq!(report.format, format, "{name}");
        assert_eq!(report.bad.total, 0, "{name}: {:?}", report.bad);
        assert_eq!(taken.spans(), expected, "{name}");
    }
}

#[test]
fn signals_may_be_mixed_on_a_line_and_in_a_stream() {
    let join = |name: &str| {
        let value: serde_json::Value = serde_json::from_slice(capture(name)).unwrap();
        let text = value.to_string();
        text[1..text.len() - 1].to_owned()
    };
    let mixed = format!(
        "{{{},{},{}}}\n",
        join("example-trace"),
        join("example-logs"),
        join("example-metrics")
    );
    let (report, taken) = run(mixed.clone());
    assert_eq!((report.spans, report.logs, report.points), (1, 1, 4));
    let mut stream = Vec::new();
    for (_, payload) in &taken.requests {
        stream.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
        stream.extend_from_slice(payload);
    }
    let (report, again) = run(stream);
    assert_eq!((report.spans, report.logs, report.points), (1, 1, 4));
    assert_eq!(
        (again.spans(), again.logs(), again.metrics()),
        (taken.spans(), taken.logs(), taken.metrics())
    );
}

const GOOD: &str = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"a"}}]},"scopeSpans":[{"spans":[{"traceId":"00000000000000000000000000000001","spanId":"0000000000000001","name":"x","startTimeUnixNano":"1","endTimeUnixNano":"2"}]}]}]}"#;

#[test]
fn bad_lines_are_named_and_the_rest_is_kept() {
    let text =
        format!("{GOOD}\n{{\"resourceSpans\":[\n\n{GOOD}\nnonsense\n{{\"other\":1}}\n{GOOD}\n");
    let (report, taken) = run(text);
    assert_eq!(taken.spans().len(), 3);
    assert_eq!(report.records, 6);
    assert_eq!(
        bad(&report),
        [
            "line 2: it ends in the middle of a value",
            "line 5: it is no object",
            "line 6: no export object: it has none of resourceSpans, resourceLogs, resourceMetrics",
        ]
    );
}

#[test]
fn a_damaged_span_costs_only_itself() {
    let document = r#"{
  "resourceSpans": [
    {
      "resource": { "attributes": [{"key": "service.name", "value": {"stringValue": "a"}}] },
      "scopeSpans": [
        {
          "spans": [
            {"traceId": "00000000000000000000000000000001", "spanId": "0000000000000001", "name": "first"},
            {"traceId": "00000000000000000000000000000001", "spanId": "not hex", "name": "second"},
            {"traceId": "00000000000000000000000000000001", "spanId": "0000000000000003", "name": "third"}
          ]
        }
      ]
    }
  ]
}"#;
    let (report, taken) = run(document);
    let kept: Vec<(String, String)> = taken
        .spans()
        .into_iter()
        .map(|(service, span)| (service, span.name))
        .collect();
    assert_eq!(
        kept,
        [
            ("a".to_owned(), "first".to_owned()),
            ("a".to_owned(), "third".to_owned())
        ]
    );
    assert_eq!(report.bad.total, 1);
    let said = &bad(&report)[0];
    assert!(
        said.starts_with("line 9: ") && said.contains("spanId"),
        "{said}"
    );
}

#[test]
fn a_document_that_ends_early_keeps_what_was_whole() {
    let document = capture("otel-tui-demo");
    let lines: Vec<&[u8]> = document.split(|b| *b == b'\n').collect();
    let mut cut = lines[..2].join(&b'\n');
    let whole = run(cut.clone()).0.items();
    cut.extend_from_slice(b"\n");
    cut.extend_from_slice(&lines[2][..lines[2].len() / 2]);
    let (report, _) = run(cut);
    assert_eq!(report.items(), whole);
    assert_eq!(bad(&report), ["line 3: it ends in the middle of a value"]);
}

#[test]
fn a_cut_archive_keeps_what_was_whole_and_names_the_line() {
    let mut lines = String::new();
    for _ in 0..20_000 {
        lines.push_str(GOOD);
        lines.push('\n');
    }
    // Random enough that the archive has many blocks.
    let mut packed = gzip(lines.as_bytes());
    packed.truncate(packed.len() / 2);
    let (report, taken) = run(packed);
    assert!(
        report.spans > 0 && report.spans < 20_000,
        "{}",
        report.spans
    );
    assert_eq!(taken.spans().len() as u64, report.spans);
    assert!(
        bad(&report)
            .last()
            .unwrap()
            .contains("can't read on from here"),
        "{:?}",
        report.bad
    );
}

#[test]
fn broken_protobuf_is_named_by_message() {
    let (_, taken) = run(GOOD);
    let payload = &taken.requests[0].1;
    let frame = |bytes: &[u8]| {
        let mut out = u32::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
        out.extend_from_slice(bytes);
        out
    };
    let mut stream = frame(payload);
    stream.extend(frame(&[0x0a, 0xff, 0xff, 0xff, 0x01, 0x00]));
    stream.extend(frame(payload));
    let mut cut = frame(payload);
    cut.pop();
    stream.extend(cut);
    let (report, taken) = run(stream);
    assert_eq!(taken.spans().len(), 2);
    let said = bad(&report);
    assert_eq!(
        said[0],
        "message 2: it is no export request: no resource begins it"
    );
    assert!(said[1].starts_with("message 4: the file ends"), "{said:?}");
    assert_eq!(report.records, 4);
}

#[test]
fn strict_ends_at_the_first_bad_record_and_keeps_what_came_before() {
    let options = Options {
        strict: true,
        ..Options::default()
    };
    let failure = run_with(
        Input::memory("f", format!("{GOOD}\nnonsense\n{GOOD}\n")),
        &options,
    )
    .err()
    .unwrap();
    assert!(matches!(failure.error, ImportError::Strict(_)));
    assert_eq!(failure.to_string(), "line 2: it is no object");
    assert_eq!(failure.report.unwrap().spans, 1);
}

#[test]
fn bad_records_beyond_the_first_twenty_are_counted() {
    let mut text = format!("{GOOD}\n");
    for _ in 0..100 {
        text.push_str("nonsense\n");
    }
    let (report, _) = run(text);
    assert_eq!(report.bad.total, 100);
    assert_eq!(report.bad.shown.len(), crate::import::SHOWN_BAD_RECORDS);
    assert_eq!(report.bad.shown[19].to_string(), "line 21: it is no object");
}

#[test]
fn window_services_and_preview_come_from_the_spans() {
    let (report, _) = run(capture("otlp2jaeger-in"));
    assert_eq!(report.first.unwrap().0, 1_706_678_909_209_712_000);
    assert_eq!(report.last.unwrap().0, 1_706_678_909_209_835_000);
    assert_eq!(report.services["telemetrygen"], 2);
    assert_eq!(
        report.preview[0],
        "span   2024-01-31T05:28:29.209712000Z  83a9efd15c1c98a977e0711cc93ee28b  telemetrygen  123µs  okey-dokey-0"
    );
}
