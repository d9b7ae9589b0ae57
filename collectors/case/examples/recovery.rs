//! How long a writer that was killed takes to read on: `cargo run --release -p case --example recovery [GIB] [FOLDER]`.
//!
//! Writes that much log, leaves it as a kill would (half a frame at its end), opens the case again and appends.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::io::Write;
use std::time::Instant;

use bytes::Bytes;
use case::{Case, CaseWriter, SealMode, Signal, WriterOptions};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

const SPANS: u64 = 512;

fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut x = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn request(state: &mut u64) -> Bytes {
    let attribute = |key: &str, value: String| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value)),
        }),
        ..Default::default()
    };
    let spans = (0..SPANS)
        .map(|n| Span {
            trace_id: [random(state).to_be_bytes(), random(state).to_be_bytes()].concat(),
            span_id: random(state).to_be_bytes().to_vec(),
            parent_span_id: random(state).to_be_bytes().to_vec(),
            name: format!("operation {}", n % 30),
            start_time_unix_nano: 1_790_000_000_000_000_000 + random(state) % 1_000_000_000,
            end_time_unix_nano: 1_790_000_001_000_000_000 + random(state) % 1_000_000_000,
            attributes: (0..12)
                .map(|a| {
                    attribute(
                        &format!("shop.attribute.{a}"),
                        format!("value {}", random(state) % 500),
                    )
                })
                .collect(),
            ..Span::default()
        })
        .collect();
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    };
    Bytes::from(request.encode_to_vec())
}

fn main() {
    let mut args = std::env::args().skip(1);
    let gib: f64 = args.next().map_or(1.0, |text| text.parse().unwrap());
    let folder = match args.next() {
        Some(folder) => tempfile::tempdir_in(folder).unwrap(),
        None => tempfile::tempdir().unwrap(),
    };
    let path = folder.path().join("recovery.case");
    let options = || WriterOptions {
        seal: SealMode::Manual,
        ..WriterOptions::default()
    };
    let writer = CaseWriter::open(&path, options()).unwrap();
    let mut state = 1;
    let (mut requests, mut bytes) = (0u64, 0u64);
    while (bytes as f64) < gib * f64::from(1 << 30) {
        for _ in 0..64 {
            writer.submit(Signal::Traces, request(&mut state), |outcome| {
                drop(outcome.unwrap())
            });
            requests += 1;
        }
        writer.append(Signal::Traces, request(&mut state)).unwrap();
        requests += 1;
        bytes = Case::open(&path).unwrap().info().unwrap().log_bytes;
    }
    writer.close().unwrap();
    let logs = path.join("log");
    let mut names: Vec<_> = std::fs::read_dir(&logs)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    let last = names.last().unwrap();
    let whole = std::fs::metadata(last).unwrap().len();
    let file = std::fs::OpenOptions::new().append(true).open(last).unwrap();
    file.set_len(whole - 1_000).unwrap();
    println!(
        "{} requests, {} spans in {} logs, {bytes} bytes",
        requests,
        requests * SPANS,
        names.len()
    );
    for round in 1..=3 {
        let begun = Instant::now();
        let writer = CaseWriter::open(&path, options()).unwrap();
        let opened = begun.elapsed();
        writer.append(Signal::Traces, request(&mut state)).unwrap();
        let appended = begun.elapsed();
        let case = Case::open(&path).unwrap();
        let items = case.info().unwrap().items[&Signal::Traces];
        let read = begun.elapsed();
        println!(
            "start {round}: open {opened:.0?}, first request durable after {appended:.0?}, {items} spans counted after \
             {read:.0?}"
        );
        writer.close().unwrap();
    }
    std::io::stdout().flush().unwrap();
}
