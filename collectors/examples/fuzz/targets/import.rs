//! Files to import, of any format. Whatever they hold, what is counted must be what was handed on.

use bytes::Bytes;
use case::{Receipt, Signal};
use collectors::import::{Input, Options, import};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use crate::harness::{Target, files};

pub(super) fn target() -> Target {
    Target {
        name: "import",
        about: "OTLP, Jaeger, Zipkin, log and CSV files",
        seeds: || {
            let mut seeds = Vec::new();
            for folder in ["otlp", "jaeger", "zipkin", "nezha"] {
                seeds.extend(files(&format!("tests/fixtures/{folder}"))?);
            }
            Ok(seeds)
        },
        words: &[
            b"{\"resourceSpans\":[",
            b"{\"data\":[{\"traceID\":\"1\",\"spans\":[",
            b"[{\"traceId\":\"1\",\"id\":\"2\",\"shared\":true,",
            b"{\"ts\":1,\"msg\":\"",
            b"ts=1 level=info msg=\"",
            b"\"startTime\":18446744073709551615",
            b"\x28\xb5\x2f\xfd",
            b"\x1f\x8b",
            b"\0\0\0\x08",
            b"\"\"\"",
            b"null",
            b"\n",
            b"\xff",
        ],
        run,
    }
}

fn run(input: &[u8]) -> Result<String, String> {
    let (mut spans, mut logs) = (0, 0);
    let mut undecodable = None;
    let mut sink = |signal, payload: Bytes| {
        match signal {
            Signal::Traces => match ExportTraceServiceRequest::decode(payload) {
                Ok(request) => {
                    spans += request
                        .resource_spans
                        .iter()
                        .flat_map(|resource| &resource.scope_spans)
                        .map(|scope| scope.spans.len() as u64)
                        .sum::<u64>();
                }
                Err(error) => undecodable = Some(error.to_string()),
            },
            Signal::Logs => match ExportLogsServiceRequest::decode(payload) {
                Ok(request) => {
                    logs += request
                        .resource_logs
                        .iter()
                        .flat_map(|resource| &resource.scope_logs)
                        .map(|scope| scope.log_records.len() as u64)
                        .sum::<u64>();
                }
                Err(error) => undecodable = Some(error.to_string()),
            },
            _ => {}
        }
        Ok(Receipt::default())
    };
    let input = Input::memory("input", input.to_vec());
    let outcome = import(input, &Options::default(), &mut sink, &mut |_| {});
    if let Some(reason) = undecodable {
        return Err(format!("an undecodable request was handed on: {reason}"));
    }
    match outcome {
        Ok(report) if (report.spans, report.logs) != (spans, logs) => Err(format!(
            "counted {} spans and {} records, handed on {spans} and {logs}",
            report.spans, report.logs
        )),
        Ok(report) => {
            let reason = report.bad.shown.first().map(|bad| bad.reason.as_str());
            Ok(format!(
                "{} {}",
                report.format.name(),
                reason.unwrap_or("whole")
            ))
        }
        Err(failure) => Ok(failure.to_string()),
    }
}
