//! Memory stays at a record or a trace however long the input: shown by how much is read before rows come out.

use std::cell::Cell;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// Makes input as it is read.
struct Generated {
    make: Box<dyn FnMut(u64) -> Option<Vec<u8>> + Send>,
    next: u64,
    held: Vec<u8>,
    at: usize,
    read: Arc<AtomicU64>,
}

impl Generated {
    fn new(
        make: impl FnMut(u64) -> Option<Vec<u8>> + Send + 'static,
    ) -> (Generated, Arc<AtomicU64>) {
        let read = Arc::new(AtomicU64::new(0));
        let generated = Generated {
            make: Box::new(make),
            next: 0,
            held: Vec::new(),
            at: 0,
            read: read.clone(),
        };
        (generated, read)
    }
}

impl Read for Generated {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.held.len() {
            let Some(piece) = (self.make)(self.next) else {
                return Ok(0);
            };
            self.next += 1;
            self.held = piece;
            self.at = 0;
        }
        let n = out.len().min(self.held.len() - self.at);
        out[..n].copy_from_slice(&self.held[self.at..self.at + n]);
        self.at += n;
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

const PIECES: u64 = 60_000;
/// More than the head, the read-ahead and a request of rows; far less than the input.
const MOST_AHEAD: u64 = 8 << 20;

/// Imports a generated input and watches how far reading runs ahead of what has come out.
fn watch(make: impl FnMut(u64) -> Option<Vec<u8>> + Send + 'static) -> (Report, u64) {
    let (generated, read) = Generated::new(make);
    let out_at = Cell::new(0u64);
    let most = Cell::new(0u64);
    let mut sink = |_, _: Bytes| {
        most.set(most.get().max(read.load(Ordering::Relaxed) - out_at.get()));
        out_at.set(read.load(Ordering::Relaxed));
        Ok(Receipt::default())
    };
    let input = Input::once("generated", Box::new(generated));
    let report = import(input, &Options::default(), &mut sink, &mut |_| {}).unwrap();
    assert!(
        most.get() <= MOST_AHEAD,
        "{} bytes were read without a row coming out",
        most.get()
    );
    (report, read.load(Ordering::Relaxed))
}

fn padding() -> String {
    "x".repeat(300)
}

#[test]
fn one_jaeger_answer_of_many_traces() {
    let (report, read) = watch(|n| {
        let trace = format!(
            r#"{{"traceID":"{:x}","spans":[{{"traceID":"{:x}","spanID":"1","operationName":"{}","startTime":{n},"duration":1}}],"processes":{{}}}}"#,
            n + 1,
            n + 1,
            padding()
        );
        match n {
            0 => Some(format!("{{\"data\":[{trace}").into_bytes()),
            PIECES => Some(b"]}".to_vec()),
            n if n < PIECES => Some(format!(",{trace}").into_bytes()),
            _ => None,
        }
    });
    assert_eq!((report.spans, report.bad.total), (PIECES, 0));
    assert!(
        read > 20 << 20,
        "the input is long enough to show it: {read}"
    );
}

#[test]
fn one_otlp_document_of_many_resources() {
    let (report, read) = watch(|n| {
        let resource = format!(
            r#"{{"scopeSpans":[{{"spans":[{{"traceId":"{:032x}","spanId":"0000000000000001","name":"{}"}}]}}]}}"#,
            n + 1,
            padding()
        );
        match n {
            0 => Some(format!("{{\n\"resourceSpans\":[{resource}").into_bytes()),
            PIECES => Some(b"]}".to_vec()),
            n if n < PIECES => Some(format!(",\n{resource}").into_bytes()),
            _ => None,
        }
    });
    assert_eq!((report.spans, report.bad.total), (PIECES, 0));
    assert!(read > 20 << 20);
}

#[test]
fn log_lines_and_rows() {
    let (report, _) = watch(|n| {
        (n < PIECES).then(|| {
            format!(
                "{{\"ts\":{},\"msg\":\"{}\"}}\n",
                1_700_000_000 + n,
                padding()
            )
            .into_bytes()
        })
    });
    assert_eq!((report.logs, report.bad.total), (PIECES, 0));
    let (report, _) = watch(|n| {
        match n {
        0 => Some(b"TraceID,SpanID,ParentID,PodName,OperationName,StartTimeUnixNano,EndTimeUnixNano,Duration\n".to_vec()),
        n if n <= PIECES => Some(format!("{n:x},1,root,a-b-c,{},{n},{n},0\n", padding()).into_bytes()),
        _ => None,
    }
    });
    assert_eq!((report.spans, report.bad.total), (PIECES, 0));
}

#[test]
fn zipkin_from_a_pipe_is_held_only_up_to_a_limit() {
    let piece = format!(
        "{{\"traceId\":\"1\",\"id\":\"2\",\"timestamp\":1,\"name\":\"{}\"}},",
        "y".repeat(1 << 20)
    );
    let (generated, read) = Generated::new(move |n| {
        Some(if n == 0 {
            b"[".to_vec()
        } else {
            piece.clone().into_bytes()
        })
    });
    let mut sink = |_, _: Bytes| Ok(Receipt::default());
    let input = Input::once("a pipe", Box::new(generated));
    let report = import(input, &Options::default(), &mut sink, &mut |_| {}).unwrap();
    assert_eq!(report.bad.total, 1);
    assert!(
        report.bad.shown[0]
            .reason
            .contains("save them to a file first"),
        "{:?}",
        report.bad
    );
    assert!(read.load(Ordering::Relaxed) < 300 << 20);
}
