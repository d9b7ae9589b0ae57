//! How long it takes to have one trace, by its id, from a large case nobody has read yet.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use case::{Case, TraceId, Window};

use super::{Figure, process};
use crate::error::CliError;

/// Looks `lookups` traces up, each with cold files, and one by reading every span as the reference.
pub fn run(path: &Path, lookups: usize) -> Result<Vec<Figure>, CliError> {
    let case = Case::open(path)?;
    let table = case.skeleton(Window::ALL)?;
    let spans = table.len();
    let step = (table.traces.len() / lookups.max(1)).max(1);
    let ids: Vec<TraceId> = table
        .traces
        .iter()
        .copied()
        .step_by(step)
        .take(lookups)
        .collect();
    drop(table);
    let mut times = Vec::new();
    let mut found = 0;
    for id in &ids {
        process::forget_cached(path);
        let begun = Instant::now();
        let case = Case::open(path)?;
        found = case.trace(*id)?.len();
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        if found == 0 {
            return Err(CliError::new(format!(
                "trace {id} is in the case and was not found"
            )));
        }
    }
    times.sort_by(f64::total_cmp);
    let Some(last) = ids.last() else {
        return Err(CliError::new("the case holds no traces"));
    };
    let begun = Instant::now();
    let mut scanned = 0;
    case.spans(Window::ALL, &mut |span| {
        scanned += usize::from(span.trace_id == *last);
        ControlFlow::Continue(())
    })?;
    let scan = begun.elapsed().as_secs_f64() * 1e3;
    if scanned != found {
        return Err(CliError::new(format!(
            "reading everything finds {scanned} spans of {last}, the index {found}"
        )));
    }
    let median = times.get(times.len() / 2).copied().unwrap_or(0.0);
    let worst = times.last().copied().unwrap_or(0.0);
    Ok(vec![
        Figure::new("spans", spans as f64, "spans"),
        Figure::new("one trace by id, cold, median", median, "ms").bar("≤ 50"),
        Figure::new("one trace by id, cold, worst", worst, "ms"),
        Figure::new("reference: reading every span", scan, "ms"),
        Figure::new("casefile against the reference", scan / median, "times"),
    ])
}
