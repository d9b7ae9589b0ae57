//! What the workbench takes: the first screen of a sealed case, frames while spans arrive, a trace of forty thousand spans.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use case::{CaseWriter, Signal, WriterOptions};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;

use super::client::{Encoding, Requests};
use super::payload::SPANS_PER_REQUEST;
use super::{Figure, process};
use crate::error::CliError;
use crate::tui::Bare;

const SIZE: (u16, u16) = (160, 50);
/// Spans that arrive in a second.
const RATE: u64 = 20_000;
const LARGE_TRACE: u64 = 40_000;
/// How long frames are drawn, and how often.
const WATCHED: Duration = Duration::from_secs(20);
const FRAME: Duration = Duration::from_millis(16);
const PATIENCE: Duration = Duration::from_secs(300);

fn late(what: &str) -> CliError {
    CliError::new(format!(
        "{what} did not come within {} s",
        PATIENCE.as_secs()
    ))
}

/// Measures on a sealed case, and on two that it makes in the folder.
pub fn run(sealed: &Path, folder: &Path, rounds: usize) -> Result<Vec<Figure>, CliError> {
    let mut out = Vec::new();
    let mut first = Vec::new();
    for _ in 0..rounds.max(1) {
        process::forget_cached(sealed);
        let began = Instant::now();
        let mut bare = Bare::open(sealed, SIZE)?;
        bare.wait(PATIENCE)?
            .ok_or_else(|| late("the first screen"))?;
        first.push(ms(began.elapsed()));
    }
    first.sort_by(f64::total_cmp);
    out.push(
        Figure::new(
            "sealed case, first screen, files cold, median",
            at(&first, 0.5),
            "ms",
        )
        .bar("≤ 1000"),
    );
    out.extend(idle(sealed)?);
    out.extend(large_trace(&folder.join("large.case"))?);
    out.extend(arriving(&folder.join("arriving.case"))?);
    Ok(out)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The value that a share of sorted ones does not exceed.
fn at(sorted: &[f64], share: f64) -> f64 {
    let rank = ((sorted.len() as f64 * share).ceil() as usize).max(1) - 1;
    sorted.get(rank).copied().unwrap_or(0.0)
}

/// Processor time once everything is there and nothing arrives. Frames are drawn as often as the terminal's loop looks.
fn idle(sealed: &Path) -> Result<Vec<Figure>, CliError> {
    const LOOKED_AT: Duration = Duration::from_secs(10);
    let mut bare = Bare::open(sealed, SIZE)?;
    bare.wait(PATIENCE)?
        .ok_or_else(|| late("the first screen"))?;
    let report = bare
        .wait_for_report(PATIENCE)?
        .ok_or_else(|| late("the diagnosis"))?;
    let (began, before) = (Instant::now(), process::own_cpu_seconds());
    while began.elapsed() < LOOKED_AT {
        std::thread::sleep(Duration::from_secs(1));
        bare.frame("")?;
    }
    let used = (process::own_cpu_seconds() - before) / began.elapsed().as_secs_f64();
    Ok(vec![
        Figure::new("the same, its diagnosis", report.as_secs_f64(), "s"),
        Figure::new("idle", used * 100.0, "% of a processor").bar("≤ 1"),
        Figure::new("resident, peak", process::own_peak_memory() / 1e6, "MB").bar("≤ 1500"),
    ])
}

/// One trace, wide and deep.
fn large(spans: u64) -> Vec<u8> {
    const START: u64 = 1_790_000_000_000_000_000;
    let span = |number: u64| Span {
        trace_id: vec![7; 16],
        span_id: (number + 1).to_be_bytes().to_vec(),
        // A tree of eight children each.
        parent_span_id: match number {
            0 => Vec::new(),
            number => ((number - 1) / 8 + 1).to_be_bytes().to_vec(),
        },
        name: format!("step {}", number % 50),
        kind: 2,
        start_time_unix_nano: START + number * 1_000,
        end_time_unix_nano: START + 100_000_000 - number * 1_000,
        attributes: vec![KeyValue {
            key: "number".to_owned(),
            value: Some(AnyValue {
                value: Some(Value::IntValue(number as i64)),
            }),
            ..KeyValue::default()
        }],
        ..Span::default()
    };
    let service = KeyValue {
        key: "service.name".to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue("large".to_owned())),
        }),
        ..KeyValue::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: vec![service],
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                spans: (0..spans).map(span).collect(),
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
    .encode_to_vec()
}

fn large_trace(path: &Path) -> Result<Vec<Figure>, CliError> {
    let writer = CaseWriter::open(path, WriterOptions::default())?;
    let refused = |error| CliError::new(format!("can't fill the case: {error}"));
    writer
        .append(Signal::Traces, large(LARGE_TRACE).into())
        .map_err(refused)?;
    writer.close()?;
    let mut bare = Bare::open(path, SIZE)?;
    bare.wait(PATIENCE)?
        .ok_or_else(|| late("the first screen"))?;
    bare.frame("2")?;
    bare.wait(PATIENCE)?.ok_or_else(|| late("the list"))?;
    let began = Instant::now();
    bare.frame("enter")?;
    bare.wait(PATIENCE)?.ok_or_else(|| late("the trace"))?;
    let opened = ms(began.elapsed());
    let mut frames = Vec::new();
    for keys in ["j", "pgdn", "G", "k", "g", "z", "z", "Z", "Z", "e", "s"]
        .into_iter()
        .cycle()
        .take(550)
    {
        frames.push(ms(bare.frame(keys)?));
    }
    frames.sort_by(f64::total_cmp);
    Ok(vec![
        Figure::new("a trace of 40,000 spans opens", opened, "ms").bar("≤ 200"),
        Figure::new("moving and folding in it, median", at(&frames, 0.5), "ms"),
        Figure::new("moving and folding in it, p99", at(&frames, 0.99), "ms").bar("≤ 16"),
    ])
}

/// Frames while spans arrive, with keys that scroll and filter.
fn arriving(path: &Path) -> Result<Vec<Figure>, CliError> {
    let writer = CaseWriter::open(path, WriterOptions::default())?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopping = Arc::clone(&stop);
    let writing = std::thread::spawn(move || -> Result<u64, CliError> {
        let requests = Requests::new(1, Encoding::None);
        let began = Instant::now();
        let mut sent = 0;
        while !stopping.load(Ordering::Relaxed) {
            let due = (began.elapsed().as_secs_f64() * RATE as f64) as u64;
            if sent >= due {
                std::thread::sleep(Duration::from_millis(2));
                continue;
            }
            writer
                .append(Signal::Traces, requests.message().freeze())
                .map_err(|error| CliError::new(format!("can't fill the case: {error}")))?;
            sent += SPANS_PER_REQUEST as u64;
        }
        writer.close()?;
        Ok(sent)
    });
    // Something to look at first.
    std::thread::sleep(Duration::from_secs(2));
    let mut bare = Bare::open(path, SIZE)?;
    bare.wait(PATIENCE)?
        .ok_or_else(|| late("the first screen"))?;
    let keys = [
        "j",
        "j",
        "k",
        "2",
        "j",
        "pgdn",
        "pgdn",
        "g",
        "/ s e r v i c e : p a y m e n t enter",
        "j",
        "j",
        "enter",
        "j",
        "e",
        "esc",
        "1",
        "j",
        "4",
        "j",
        "1",
    ];
    let mut frames = Vec::new();
    let began = Instant::now();
    let mut next = keys.iter().cycle();
    while began.elapsed() < WATCHED {
        // A key on every fourth frame is as fast as anybody presses them.
        let pressed = if frames.len() % 4 == 0 {
            next.next().copied().unwrap_or("")
        } else {
            ""
        };
        let took = bare.frame(pressed)?;
        frames.push(ms(took));
        std::thread::sleep(FRAME.saturating_sub(took));
    }
    let length = began.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    let sent = writing
        .join()
        .map_err(|_| CliError::new("the writer failed"))??;
    frames.sort_by(f64::total_cmp);
    Ok(vec![
        Figure::new(
            "spans that arrived a second",
            sent as f64 / (length + 2.0),
            "spans/s",
        ),
        Figure::new("frames meanwhile", frames.len() as f64, "frames"),
        Figure::new("a frame with its keys, median", at(&frames, 0.5), "ms"),
        Figure::new("a frame with its keys, p99", at(&frames, 0.99), "ms").bar("≤ 16"),
    ])
}
