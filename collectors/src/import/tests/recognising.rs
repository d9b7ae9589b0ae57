//! Formats told from content, and refusals with their reasons.

use super::*;
use crate::import::recognise::recognise;
use crate::import::{Compression, Format};

#[test]
fn every_capture_is_recognised_by_its_content() {
    for (name, bytes) in CAPTURES {
        let format = recognise(bytes, true).unwrap();
        let expected = match name {
            "otlp2jaeger-in" => Format::OtlpJson,
            _ if name.starts_with("example") || name.starts_with("otel") => Format::OtlpJson,
            _ if name.starts_with("crisp") || name == "otlp2jaeger-out" => Format::Jaeger,
            _ if name.starts_with("nezha") => Format::Csv,
            _ => Format::Zipkin,
        };
        assert_eq!(format, expected, "{name}");
    }
}

#[test]
fn packed_files_are_unpacked_first() {
    for (packed, compression) in [
        (gzip(capture("example-trace")), Compression::Gzip),
        (zstd(capture("example-trace")), Compression::Zstd),
    ] {
        let (report, taken) = run(packed);
        assert_eq!(
            (report.format, report.compression),
            (Format::OtlpJson, compression)
        );
        assert_eq!(taken.spans().len(), 1);
    }
}

#[test]
fn small_inputs_of_each_kind() {
    let of = |text: &str| recognise(text.as_bytes(), true).map(|format| format.name());
    assert_eq!(of("{\"resourceSpans\":[]}"), Ok("otlp-json"));
    assert_eq!(of("[{\"resource_logs\":[]}]"), Ok("otlp-json"));
    assert_eq!(of("{\"result\":{\"resourceSpans\":[]}}"), Ok("otlp-json"));
    assert_eq!(of("{\"traceID\":\"1\",\"spans\":[]}"), Ok("jaeger"));
    assert_eq!(of("{\"total\":0,\"data\":[]}"), Ok("jaeger"));
    assert_eq!(of("[[{\"traceId\":\"1\",\"id\":\"2\"}]]"), Ok("zipkin"));
    assert_eq!(of("{\"ts\":1,\"msg\":\"x\"}"), Ok("json-logs"));
    assert_eq!(
        of("{\"traceId\":\"1\",\"id\":\"2\",\"message\":\"x\"}"),
        Ok("json-logs")
    );
    assert_eq!(of("ts=1 level=info msg=x\n"), Ok("logfmt-logs"));
    assert_eq!(of("\u{feff}{\"resourceSpans\":[]}"), Ok("otlp-json"));
}

#[test]
fn what_is_not_known_is_refused_with_the_reason() {
    for (bytes, reason) in [
        (b"".as_slice(), "it is empty"),
        (b"  \n", "nothing but white space"),
        (
            b"Jan 02 03:04:05 host app[1]: it is raining\n",
            "plain text",
        ),
        (
            b"a,b,c\n1,2,3\n",
            "looks like CSV with the header \"a,b,c\"",
        ),
        (b"{\"colour\":\"red\"}", "keys \"colour\""),
        (b"{\"batches\":[]}", "Grafana Tempo"),
        (b"[]", "empty JSON array"),
        (b"[1,2]", "not of objects"),
        (b"PAR1\0\0\0\0", "Parquet"),
        (b"PK\x03\x04\0\0", "zip archive"),
        (b"\xfd7zXZ\0\0\0", "xz archive"),
        (b"\x7fELF\0\0\0\0\0", "binary, but no OTLP protobuf"),
    ] {
        let said = refused(bytes);
        assert!(said.contains(reason), "{said}");
        assert!(said.contains("the file"), "{said}");
    }
}

#[test]
fn a_refusal_comes_with_advice() {
    let failure = run_with(Input::memory("f", "plain words\n"), &Options::default())
        .err()
        .unwrap();
    assert!(failure.error.hint().unwrap().contains("logfmt"));
}
