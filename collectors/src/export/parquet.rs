//! Parquet: the tables a sealed case has, with the same columns, of the selected rows alone.
//!
//! The rows go through a case of their own beside the target, so that there is one writer of these tables and not two;
//! its segments then become the files, and the rest of it goes away. Watched signals have tables too and go along.

use std::path::{Path, PathBuf};

use ::case::manifest::Content;
use ::case::{AppendError, Case, CaseError, CaseWriter, Signal, Window, WriterOptions};
use bytes::Bytes;
use serde::Serialize;

use super::{ExportError, Report, Selection, requests};

/// Rows of watched signals travel in payloads of about this size.
const PAYLOAD_BYTES: usize = 1 << 20;

/// Writes the tables into `folder`, which is made; the files, in the order of tables.
pub fn write(
    case: &Case,
    selection: &Selection,
    folder: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<(Report, Vec<PathBuf>), ExportError> {
    std::fs::create_dir_all(folder)?;
    let scratch = Scratch(folder.join(format!(".{}.case", std::process::id())));
    let writer = CaseWriter::open(&scratch.0, WriterOptions::default())?;
    let append = |signal: Signal, payload: Bytes| loop {
        match writer.append(signal, payload.clone()) {
            Ok(receipt) if receipt.rejected > 0 => {
                let reason = receipt.message.unwrap_or_default();
                return Err(ExportError::Encode(format!(
                    "{} rows were refused: {reason}",
                    receipt.rejected
                )));
            }
            Ok(receipt) => return Ok(receipt.duplicate),
            Err(AppendError::Busy { retry_after, .. }) => std::thread::sleep(retry_after),
            Err(error) => return Err(ExportError::Write(std::io::Error::other(error.to_string()))),
        }
    };
    let mut folded = 0u64;
    let mut report = requests(
        case,
        selection,
        &mut |signal, payload| {
            folded += u64::from(append(signal, payload)?);
            Ok(())
        },
        progress,
    )?;
    if selection.traces.is_none() {
        let window = selection.window;
        for signal in &selection.signals {
            let rows = watched(case, *signal, window)?;
            let mut payload = Vec::new();
            for (at, row) in rows.iter().enumerate() {
                payload.extend_from_slice(row.as_bytes());
                payload.push(b'\n');
                if payload.len() >= PAYLOAD_BYTES || at + 1 == rows.len() {
                    folded += u64::from(append(*signal, std::mem::take(&mut payload).into())?);
                }
            }
            report.watched += rows.len() as u64;
        }
    }
    if folded > 0 {
        report.left_out.push(format!(
            "{folded} requests whose rows are all in the tables already, byte for byte"
        ));
    }
    writer.close()?;
    drop(writer);
    let files = gather(&scratch.0, folder, &mut report)?;
    Ok((report, files))
}

/// The rows of a watched signal as JSON; none for the others.
fn watched(case: &Case, signal: Signal, window: Window) -> Result<Vec<String>, ExportError> {
    fn lines<T: Serialize>(rows: Result<Vec<T>, CaseError>) -> Result<Vec<String>, ExportError> {
        rows?
            .iter()
            .map(|row| {
                serde_json::to_string(row).map_err(|error| ExportError::Encode(error.to_string()))
            })
            .collect()
    }
    match signal {
        Signal::RegistrySnapshots => lines(case.registry_snapshots(window)),
        Signal::RegistryEvents => lines(case.registry_events(window)),
        Signal::Probes => lines(case.probes(window)),
        Signal::Journal => lines(case.journal(window)),
        Signal::Ledger => lines(case.ledger(window)),
        Signal::Traces | Signal::Logs | Signal::Metrics => Ok(Vec::new()),
    }
}

/// Moves the tables out of the scratch case: one file a table, numbered where there are more.
fn gather(scratch: &Path, folder: &Path, report: &mut Report) -> Result<Vec<PathBuf>, ExportError> {
    let written = Case::open(scratch)?;
    let mut out = Vec::new();
    for table in Content::TABLES {
        let files: Vec<&str> = written
            .manifest()
            .segments
            .iter()
            .flat_map(|segment| &segment.files)
            .filter(|file| file.content == table)
            .map(|file| file.path.as_str())
            .collect();
        for (n, path) in files.iter().enumerate() {
            let name = match files.len() {
                1 => format!("{}.parquet", table.table()),
                _ => format!("{}-{:04}.parquet", table.table(), n + 1),
            };
            let target = folder.join(name);
            std::fs::rename(scratch.join(path), &target)?;
            report.bytes += std::fs::metadata(&target)?.len();
            out.push(target);
        }
    }
    Ok(out)
}

/// A folder that goes away, whatever happens.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}
