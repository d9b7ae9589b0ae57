//! OTLP JSON to protobuf. What is accepted must be valid protobuf, and mean the same after a round trip.

use case::Signal;
use collectors::otlp::json::{json_to_protobuf_within, protobuf_to_json};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use crate::harness::{Target, files};

const LIMIT: usize = 1 << 20;

pub(super) fn target() -> Target {
    Target {
        name: "otlp-json",
        about: "OTLP JSON requests of all three signals",
        seeds: || files("src/otlp/json/corpus"),
        words: &[
            b"\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{",
            b"{\"arrayValue\":{\"values\":[",
            b"{\"kvlistValue\":{\"values\":[{\"key\":\"\",\"value\":",
            b"\"doubleValue\":",
            b"\"intValue\":",
            b"\"bytesValue\":\"_-8\"",
            b"\"NaN\"",
            b"\"-Infinity\"",
            b"null",
            b"{}",
            b"[]",
            b"1e308",
            b"-0.0",
            b"5.0",
            b"9007199254740993",
            b"\"18446744073709551615\"",
            b"\\ud83d",
            b"\\ude00",
            b"\\u0000",
            b"\xed\xa0\xbd",
            b"\xff",
            b"\"SPAN_KIND_SERVER\"",
            b"\"bucket_counts\":[0,1]",
        ],
        run,
    }
}

fn run(input: &[u8]) -> Result<String, String> {
    let mut answers = String::new();
    for signal in [Signal::Traces, Signal::Logs, Signal::Metrics] {
        match json_to_protobuf_within(signal, input, LIMIT) {
            Ok(protobuf) => {
                if protobuf.len() > LIMIT + 64 {
                    return Err(format!("{} bytes got past the limit", protobuf.len()));
                }
                decodes(signal, &protobuf)?;
                round_trip(signal, &protobuf)?;
                answers.push_str("taken;");
            }
            Err(error) => {
                // Reasons quote the input; what is quoted makes no other kind of answer.
                answers.extend(error.reason.split(['"', '`']).step_by(2));
                answers.extend(error.path.rsplit('.').next());
            }
        }
    }
    Ok(answers)
}

fn decodes(signal: Signal, protobuf: &[u8]) -> Result<(), String> {
    let decoded = match signal {
        Signal::Logs => ExportLogsServiceRequest::decode(protobuf).map(drop),
        Signal::Metrics => ExportMetricsServiceRequest::decode(protobuf).map(drop),
        _ => ExportTraceServiceRequest::decode(protobuf).map(drop),
    };
    decoded.map_err(|error| format!("prost can't read what was written: {error}"))
}

/// Canonical JSON must come back as itself.
pub(super) fn round_trip(signal: Signal, protobuf: &[u8]) -> Result<(), String> {
    let json =
        protobuf_to_json(signal, protobuf).map_err(|error| format!("not written back: {error}"))?;
    let again = json_to_protobuf_within(signal, json.as_bytes(), usize::MAX)
        .map_err(|error| format!("canonical JSON refused: {error}"))?;
    let twice = protobuf_to_json(signal, &again)
        .map_err(|error| format!("not written back twice: {error}"))?;
    if json == twice {
        Ok(())
    } else {
        Err("canonical JSON changed on its way".to_owned())
    }
}
