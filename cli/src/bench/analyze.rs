//! How long it takes to shape every trace of a case and to have exact quantiles of every service, over rows that are in
//! memory. The same over the same rows in another engine: `tests/clients/analyze.py`.

use std::path::Path;
use std::time::Instant;

use analyzers::{exact, tree};
use case::{Case, Window};

use super::load::median;
use super::{Figure, process};
use crate::error::CliError;

/// Runs both several times over one skeleton and keeps the medians.
pub fn run(path: &Path, rounds: usize) -> Result<Vec<Figure>, CliError> {
    let case = Case::open(path)?;
    let table = case.skeleton(Window::ALL)?;
    let million = table.len() as f64 / 1e6;
    let mut shaping = Vec::new();
    let mut deepest = 0;
    let mut critical = 0u64;
    for _ in 0..rounds.max(1) {
        let begun = Instant::now();
        let shapes = tree::shapes(&table);
        shaping.push(begun.elapsed().as_secs_f64() * 1e3);
        deepest = shapes.depth.iter().copied().max().unwrap_or(0);
        critical = shapes
            .critical
            .iter()
            .fold(0, |sum, nanos| sum.wrapping_add(*nanos));
    }
    let mut quantiles = Vec::new();
    let used = process::own_cpu_seconds();
    let mut services = 0;
    for _ in 0..rounds.max(1) {
        let begun = Instant::now();
        let stats = exact::by_service(&table);
        quantiles.push(begun.elapsed().as_secs_f64() * 1e3);
        services = stats.len();
        std::hint::black_box(&stats);
    }
    let processor = (process::own_cpu_seconds() - used) * 1e3 / rounds.max(1) as f64;
    std::hint::black_box(critical);
    Ok(vec![
        Figure::new("spans", table.len() as f64, "spans"),
        Figure::new("traces", table.traces.len() as f64, "traces"),
        Figure::new("deepest", f64::from(deepest), "levels"),
        Figure::new(
            "trees, self time, critical path, one thread",
            median(&mut shaping) / million,
            "ms per million spans",
        ),
        Figure::new("services", services as f64, "services"),
        Figure::new(
            "exact p50, p95, p99 and errors by service, one thread",
            median(&mut quantiles) / million,
            "ms per million spans",
        ),
        Figure::new(
            "the same, processor time, mean",
            processor / million,
            "ms per million spans",
        ),
    ])
}
