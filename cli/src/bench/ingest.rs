//! How many spans a second of one core takes in, durably.

use std::path::Path;
use std::sync::Arc;

use super::client::{self, Encoding, Requests, Sent};
use super::payload::SPANS_PER_REQUEST;
use super::process::{Measured, bytes_below};
use super::{Figure, process};
use crate::error::CliError;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    pub spans: u64,
    pub encoding: Encoding,
    /// Seal in the background, and count processor time until the last segment is closed.
    pub sealed: bool,
    pub reference: bool,
    pub connections: usize,
    pub in_flight: usize,
}

/// Runs it in a folder of its own.
pub fn run(plan: &Plan, folder: &Path) -> Result<Vec<Figure>, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| CliError::io("start a runtime", &error))?;
    let count = plan.spans.div_ceil(SPANS_PER_REQUEST as u64);
    let spans = (count * SPANS_PER_REQUEST as u64) as f64;
    let requests = Arc::new(Requests::new(1, plan.encoding));
    let load = |address: &str, requests: Arc<Requests>, count: u64| -> Result<Sent, CliError> {
        runtime.block_on(client::send(
            address,
            requests,
            count,
            plan.connections,
            plan.in_flight,
        ))
    };

    let case = folder.join("bench.case");
    let ready = folder.join("ready.json");
    let mode = if plan.sealed { "auto" } else { "manual" };
    let (case_text, ready_text) = (case.display().to_string(), ready.display().to_string());
    let mut receiver = Measured::start(&[
        "collect",
        "--case",
        &case_text,
        "--otlp-grpc",
        "127.0.0.1:0",
        "--otlp-http",
        "127.0.0.1:0",
        "--seal",
        mode,
        "--ready-file",
        &ready_text,
    ])?;
    let address = receiver.ready(&ready)?;
    let before = receiver.cpu_seconds();
    let sent = load(&address, Arc::clone(&requests), count)?;
    let mut cpu = receiver.cpu_seconds() - before;
    let memory = receiver.peak_memory();
    let log_bytes = process::bytes_below(&case.join("log")) as f64;
    let life = receiver.stop()?;
    let mut figures = Vec::new();
    if plan.sealed {
        cpu = life - before;
        figures.push(
            Figure::new(
                "sealed, all processor time until the last segment is closed",
                spans / cpu / 1e6,
                "M spans per CPU-second",
            )
            .bar("≥ 0.3"),
        );
        figures.push(
            Figure::new(
                "on disk, sealed",
                bytes_below(&case) as f64 / spans,
                "B per span",
            )
            .bar("≤ 45"),
        );
    } else {
        let bar = if plan.encoding == Encoding::Gzip {
            "≥ 0.6"
        } else {
            "≥ 0.8"
        };
        figures.push(
            Figure::new(
                "durable before the answer",
                spans / cpu / 1e6,
                "M spans per CPU-second",
            )
            .bar(bar),
        );
        figures.push(Figure::new("on disk, log", log_bytes / spans, "B per span").bar("≤ 70"));
    }
    figures.push(Figure::new(
        "wall clock",
        spans / sent.seconds / 1e6,
        "M spans per second",
    ));
    figures.push(Figure::new(
        "acknowledged request, median",
        sent.quantile_ms(0.5),
        "ms",
    ));
    figures
        .push(Figure::new("acknowledged request, p99", sent.quantile_ms(0.99), "ms").bar("≤ 15"));
    figures.push(
        Figure::new("resident memory, peak", memory / f64::from(1 << 20), "MiB").bar("≤ 300"),
    );

    if plan.reference {
        let ready = folder.join("reference.json");
        let mut receiver = Measured::start(&[
            "bench",
            "reference",
            "--ready-file",
            &ready.display().to_string(),
        ])?;
        let address = receiver.ready(&ready)?;
        let before = receiver.cpu_seconds();
        let plain = Arc::new(Requests::new(1, Encoding::None));
        let sent = load(&address, plain, count)?;
        let reference = receiver.cpu_seconds() - before;
        receiver.stop()?;
        figures.push(Figure::new(
            "reference: tonic and prost, decode and drop",
            spans / reference / 1e6,
            "M spans per CPU-second",
        ));
        figures.push(Figure::new(
            "reference: acknowledged request, p99",
            sent.quantile_ms(0.99),
            "ms",
        ));
        let ratio = Figure::new(
            "casefile against the reference, per CPU-second",
            reference / cpu,
            "times",
        );
        figures.push(if plan.sealed {
            ratio
        } else {
            ratio.bar("≥ 1.5")
        });
    }
    Ok(figures)
}
