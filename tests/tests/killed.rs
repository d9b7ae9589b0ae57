//! `casefile collect` is killed at thirty moments while two clients send over OTLP/HTTP: nothing acknowledged is
//! missing, nothing is there twice.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use support::{Collector, run};

const KILLS: u32 = 30;
const CLIENTS: u64 = 2;
const SPANS: u64 = 20;

/// Spans whose ids are their numbers.
fn request(number: u64) -> Vec<u8> {
    let spans = (number * SPANS..(number + 1) * SPANS)
        .map(|n| Span {
            trace_id: u128::from(n / 4 + 1).to_be_bytes().to_vec(),
            span_id: (n + 1).to_be_bytes().to_vec(),
            name: "sent until it is acknowledged".to_owned(),
            start_time_unix_nano: 1_790_000_000_000_000_000 + n * 1_000,
            end_time_unix_nano: 1_790_000_000_000_000_500 + n * 1_000,
            ..Span::default()
        })
        .collect();
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
    .encode_to_vec()
}

/// Posts one request; true once it is acknowledged.
fn post(connection: &mut BufReader<TcpStream>, body: &[u8]) -> std::io::Result<bool> {
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: collector\r\ncontent-type: application/x-protobuf\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    connection.get_mut().write_all(head.as_bytes())?;
    connection.get_mut().write_all(body)?;
    let mut line = String::new();
    connection.read_line(&mut line)?;
    let acknowledged = line.starts_with("HTTP/1.1 200");
    let mut len = 0;
    loop {
        let mut header = String::new();
        if connection.read_line(&mut header)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if header == "\r\n" {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            len = value.trim().parse().unwrap();
        }
    }
    std::io::copy(&mut connection.by_ref().take(len), &mut std::io::sink())?;
    Ok(acknowledged)
}

/// Sends its numbers in order, each until it is acknowledged, to wherever the collector listens at the moment. Returns
/// how many were.
fn client(first: u64, address: &Mutex<String>, stop: &AtomicBool, count: &AtomicU64) -> u64 {
    let mut connection: Option<BufReader<TcpStream>> = None;
    let mut number = first;
    while !stop.load(Ordering::SeqCst) {
        let body = request(number);
        let outcome = match &mut connection {
            Some(open) => post(open, &body),
            None => {
                let to = address.lock().unwrap().clone();
                match TcpStream::connect(to) {
                    Ok(stream) => {
                        stream.set_nodelay(true).unwrap();
                        stream
                            .set_read_timeout(Some(Duration::from_secs(30)))
                            .unwrap();
                        post(connection.insert(BufReader::new(stream)), &body)
                    }
                    Err(error) => Err(error),
                }
            }
        };
        match outcome {
            Ok(true) => {
                number += CLIENTS;
                count.fetch_add(1, Ordering::SeqCst);
            }
            Ok(false) => {}
            Err(_) => {
                connection = None;
                std::thread::yield_now();
            }
        }
    }
    (number - first) / CLIENTS
}

#[test]
fn killed_at_thirty_moments_it_loses_nothing_acknowledged_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let case = folder.path().join("killed.case");
    let mut collector = Collector::start(&case, &[]);
    let address = Mutex::new(collector.http.clone());
    let (stop, count) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut moment = 20_261_120u64;
    let acknowledged: Vec<u64> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|first| {
                let (address, stop, count) = (&address, &stop, &count);
                scope.spawn(move || client(first, address, stop, count))
            })
            .collect();
        for _ in 0..KILLS {
            let before = count.load(Ordering::SeqCst);
            support::wait_for("requests go on", || {
                (count.load(Ordering::SeqCst) >= before + 4).then_some(())
            });
            moment ^= moment << 13;
            moment ^= moment >> 7;
            moment ^= moment << 17;
            // The moment itself, not something waited for.
            std::thread::sleep(Duration::from_micros(moment % 40_000));
            collector.kill();
            collector = Collector::start(&case, &[]);
            *address.lock().unwrap() = collector.http.clone();
        }
        let before = count.load(Ordering::SeqCst);
        support::wait_for("requests go on after the last start", || {
            (count.load(Ordering::SeqCst) >= before + 20).then_some(())
        });
        stop.store(true, Ordering::SeqCst);
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect()
    });
    collector.stop();
    assert!(
        acknowledged.iter().all(|count| *count > 100),
        "{acknowledged:?}"
    );

    let case = case.to_str().unwrap();
    let output = run(&[
        "query",
        "--case",
        case,
        "--format",
        "json",
        "SELECT SpanId AS id FROM otel_traces",
    ]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut found: BTreeMap<u64, u32> = BTreeMap::new();
    for line in output.stdout.split(|byte| *byte == b'\n') {
        if !line.is_empty() {
            let row: serde_json::Value = serde_json::from_slice(line).unwrap();
            let id = u64::from_str_radix(row["id"].as_str().unwrap(), 16).unwrap();
            *found.entry(id - 1).or_default() += 1;
        }
    }
    let doubled: Vec<_> = found.iter().filter(|(_, times)| **times > 1).collect();
    assert!(doubled.is_empty(), "there twice: {doubled:?}");
    for (first, count) in (0..CLIENTS).zip(&acknowledged) {
        for number in (0..*count).map(|nth| first + nth * CLIENTS) {
            for span in number * SPANS..(number + 1) * SPANS {
                assert!(
                    found.contains_key(&span),
                    "request {number} was acknowledged, and span {span} is gone"
                );
            }
        }
    }
    // At most what each client was sending when it stopped is there beyond that.
    let sent = acknowledged.iter().sum::<u64>() * SPANS;
    assert!(found.len() as u64 <= sent + CLIENTS * SPANS);
    let verified = run(&["verify", case]);
    assert!(
        verified.status.success(),
        "{}",
        String::from_utf8_lossy(&verified.stdout)
    );
}
