//! How long it takes to have a sealed case in memory as what rebuilding traces needs.

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use case::manifest::Content;
use case::{Case, CaseWriter, SealMode, Signal, Window, WriterOptions};

use super::Figure;
use super::client::{Encoding, Requests};
use super::payload::SPANS_PER_REQUEST;
use crate::error::CliError;

/// Makes a sealed case of at least `spans` spans, unless the folder holds one already.
pub fn prepare(path: &Path, spans: u64) -> Result<(), CliError> {
    if case::manifest::path(path).exists() {
        return Ok(());
    }
    let writer = CaseWriter::open(
        path,
        WriterOptions {
            seal: SealMode::Auto,
            ..WriterOptions::default()
        },
    )?;
    let requests = Requests::new(1, Encoding::None);
    for _ in 0..spans.div_ceil(SPANS_PER_REQUEST as u64) {
        writer
            .append(Signal::Traces, requests.message().freeze())
            .map_err(|error| CliError::new(format!("can't fill the case: {error}")))?;
    }
    writer.close()?;
    Ok(())
}

/// Loads it several times and keeps the median; then the same columns through the Parquet crate's own readers.
pub fn run(path: &Path, rounds: usize) -> Result<Vec<Figure>, CliError> {
    let case = Case::open(path)?;
    let mut times = Vec::new();
    let (mut rows, mut bytes) = (0, 0);
    for _ in 0..rounds.max(1) {
        let begun = Instant::now();
        let table = case.skeleton(Window::ALL)?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        (rows, bytes) = (table.len(), table.bytes());
    }
    let mut reference = Vec::new();
    for _ in 0..rounds.max(1) {
        let begun = Instant::now();
        let read = through_the_crate(&case)?;
        reference.push(begun.elapsed().as_secs_f64() * 1e3);
        if read != rows {
            return Err(CliError::new(format!(
                "the reference read {read} spans where casefile read {rows}"
            )));
        }
    }
    let million = rows as f64 / 1e6;
    let (ours, theirs) = (median(&mut times), median(&mut reference));
    Ok(vec![
        Figure::new("spans", rows as f64, "spans"),
        Figure::new(
            "load to a skeleton, one thread",
            ours / million,
            "ms per million spans",
        )
        .bar("≤ 150"),
        Figure::new("in memory", bytes as f64 / rows as f64, "B per span").bar("≤ 100"),
        Figure::new(
            "reference: the same columns through the parquet crate's readers",
            theirs / million,
            "ms per million spans",
        ),
        Figure::new("casefile against the reference", theirs / ours, "times"),
    ])
}

pub(super) fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(0.0)
}

/// Reads the columns of a skeleton with the general readers, and keeps nothing.
fn through_the_crate(case: &Case) -> Result<usize, CliError> {
    use parquet::column::reader::ColumnReader;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    const COLUMNS: [&str; 9] = [
        "Timestamp",
        "TraceId",
        "SpanId",
        "ParentSpanId",
        "SpanName",
        "SpanKind",
        "ServiceName",
        "Duration",
        "StatusCode",
    ];
    let failed = |error: parquet::errors::ParquetError| {
        CliError::new(format!("the reference can't read: {error}"))
    };
    let mut rows = 0;
    for segment in &case.manifest().segments {
        let Some(file) = segment.file(Content::Traces) else {
            continue;
        };
        let path = case.path().join(&file.path);
        let file = File::open(&path)
            .map_err(|error| CliError::io(format!("open {}", path.display()), &error))?;
        let reader = SerializedFileReader::new(file).map_err(failed)?;
        let schema = reader.metadata().file_metadata().schema_descr_ptr();
        for group in 0..reader.num_row_groups() {
            let group = reader.get_row_group(group).map_err(failed)?;
            let count = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
            for column in 0..schema.num_columns() {
                if !COLUMNS.contains(&schema.column(column).path().string().as_str()) {
                    continue;
                }
                match group.get_column_reader(column).map_err(failed)? {
                    ColumnReader::Int64ColumnReader(mut values) => {
                        let mut out = Vec::with_capacity(count);
                        values
                            .read_records(count, None, None, &mut out)
                            .map_err(failed)?;
                        std::hint::black_box(&out);
                    }
                    ColumnReader::ByteArrayColumnReader(mut values) => {
                        let mut out = Vec::with_capacity(count);
                        values
                            .read_records(count, None, None, &mut out)
                            .map_err(failed)?;
                        std::hint::black_box(&out);
                    }
                    _ => {
                        return Err(CliError::new(
                            "the reference met a column of an unexpected type",
                        ));
                    }
                }
            }
            rows += count;
        }
    }
    Ok(rows)
}
