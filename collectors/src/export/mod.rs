//! Files out: the rows of a window, of one trace, or of the traces a filter finds, in the formats others read.
//!
//! Every format takes rows in one order: by time, then ids, then everything else they say. The same signals therefore
//! give the same bytes, in whichever order a case keeps them. Holds a slice of the rows at a time, never all of them.
//! Parquet, which is a folder of tables and not a stream of bytes, stands by itself in [`parquet`].

pub mod csv;
pub mod jaeger;
mod order;
pub mod otlp;
pub mod parquet;
mod source;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::io::{self, Write};

use ::case::model::{LogRecord, MetricPoint, Span};
use ::case::{CaseError, Signal, TraceId, Window};
use bytes::Bytes;

use crate::otlp::json::protobuf_to_json;
pub use source::Rows;

/// Rows to a request.
const REQUEST_ROWS: usize = 512;

/// What can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One export object a line.
    OtlpJson,
    /// Export requests, each behind its length in four bytes.
    OtlpProtobuf,
    Jaeger,
    Csv,
}

impl Format {
    pub const ALL: [Format; 4] = [
        Format::OtlpJson,
        Format::OtlpProtobuf,
        Format::Jaeger,
        Format::Csv,
    ];

    /// The name it is asked for by.
    pub fn name(self) -> &'static str {
        match self {
            Format::OtlpJson => "otlp-json",
            Format::OtlpProtobuf => "otlp-protobuf",
            Format::Jaeger => "jaeger",
            Format::Csv => "csv",
        }
    }

    /// The usual end of a file's name.
    pub fn extension(self) -> &'static str {
        match self {
            Format::OtlpJson => "jsonl",
            Format::OtlpProtobuf => "binpb",
            Format::Jaeger => "json",
            Format::Csv => "csv",
        }
    }
}

/// Which rows go out.
#[derive(Debug, Clone)]
pub struct Selection {
    /// Spans by their start, records and points by their time. Chosen traces go out whole all the same.
    pub window: Window,
    /// Only these traces and their logs.
    pub traces: Option<HashSet<TraceId>>,
    /// Of [`Signal::Traces`], [`Signal::Logs`] and [`Signal::Metrics`].
    pub signals: Vec<Signal>,
}

impl Selection {
    /// Everything of a window.
    pub fn of(window: Window) -> Selection {
        Selection {
            window,
            traces: None,
            signals: vec![Signal::Traces, Signal::Logs, Signal::Metrics],
        }
    }

    fn takes(&self, signal: Signal) -> bool {
        self.signals.contains(&signal)
    }

    /// The window rows are looked for in.
    fn reach(&self) -> Window {
        if self.traces.is_some() {
            Window::ALL
        } else {
            self.window
        }
    }

    fn has_trace(&self, id: &TraceId) -> bool {
        self.traces
            .as_ref()
            .is_none_or(|traces| traces.contains(id))
    }
}

/// What went out, and what of the selection could not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub spans: u64,
    pub logs: u64,
    pub points: u64,
    /// Rows of registries, probes, sagas and ledgers.
    pub watched: u64,
    pub bytes: u64,
    /// What the format has no place for, in words.
    pub left_out: Vec<String>,
}

/// Why an export ended early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Case(#[from] CaseError),
    #[error("can't write the export: {0}")]
    Write(#[from] io::Error),
    #[error("a request read from the case can't be written as JSON: {0}")]
    Encode(String),
    #[error("a CSV file holds one signal, and {0} were asked for")]
    OneSignal(usize),
}

impl ExportError {
    /// What to do about it, where there is something to do.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            ExportError::Case(error) => error.hint(),
            ExportError::OneSignal(_) => {
                Some("choose with --signal traces, --signal logs or --signal metrics")
            }
            _ => None,
        }
    }
}

/// Writes the selected rows to `out`; `progress` is told how many have gone out.
pub fn export(
    rows: &dyn Rows,
    selection: &Selection,
    format: Format,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(u64),
) -> Result<Report, ExportError> {
    let mut out = Counted { out, bytes: 0 };
    let mut report = match format {
        Format::OtlpJson => requests(
            rows,
            selection,
            &mut |signal, payload| json_line(signal, &payload, &mut out),
            progress,
        )?,
        Format::OtlpProtobuf => requests(
            rows,
            selection,
            &mut |_, payload| length_prefixed(&payload, &mut out),
            progress,
        )?,
        Format::Jaeger => jaeger::write(rows, selection, &mut out, progress)?,
        Format::Csv => csv::write(rows, selection, &mut out, progress)?,
    };
    out.flush()?;
    report.bytes = out.bytes;
    Ok(report)
}

fn json_line(signal: Signal, payload: &[u8], out: &mut dyn Write) -> Result<(), ExportError> {
    let line = protobuf_to_json(signal, payload)
        .map_err(|error| ExportError::Encode(error.to_string()))?;
    out.write_all(line.as_bytes())?;
    out.write_all(b"\n")?;
    Ok(())
}

fn length_prefixed(payload: &[u8], out: &mut dyn Write) -> Result<(), ExportError> {
    let length = u32::try_from(payload.len())
        .map_err(|_| ExportError::Encode(format!("{} rows take more than 4 GiB", REQUEST_ROWS)))?;
    out.write_all(&length.to_be_bytes())?;
    out.write_all(payload)?;
    Ok(())
}

/// What takes one request.
pub type EachRequest<'e> = &'e mut dyn FnMut(Signal, Bytes) -> Result<(), ExportError>;

/// The selected rows as OTLP requests: spans, then logs, then metrics, each in order.
pub fn requests(
    rows: &dyn Rows,
    selection: &Selection,
    each: EachRequest<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<Report, ExportError> {
    let mut report = Report::default();
    if selection.takes(Signal::Traces) {
        let mut batch: Vec<Span> = Vec::new();
        order::spans(rows, selection, &mut |span| {
            batch.push(span);
            report.spans += 1;
            if batch.len() == REQUEST_ROWS {
                each(
                    Signal::Traces,
                    otlp::encode_spans(std::mem::take(&mut batch)).into(),
                )?;
                progress(report.spans);
            }
            Ok(())
        })?;
        if !batch.is_empty() {
            each(Signal::Traces, otlp::encode_spans(batch).into())?;
        }
    }
    if selection.takes(Signal::Logs) {
        let mut batch: Vec<LogRecord> = Vec::new();
        order::logs(rows, selection, &mut |record| {
            batch.push(record);
            report.logs += 1;
            if batch.len() == REQUEST_ROWS {
                each(
                    Signal::Logs,
                    otlp::encode_logs(std::mem::take(&mut batch)).into(),
                )?;
                progress(report.spans + report.logs);
            }
            Ok(())
        })?;
        if !batch.is_empty() {
            each(Signal::Logs, otlp::encode_logs(batch).into())?;
        }
    }
    if selection.takes(Signal::Metrics) && selection.traces.is_none() {
        let mut batch: Vec<MetricPoint> = Vec::new();
        order::points(rows, selection, &mut |point| {
            batch.push(point);
            report.points += 1;
            if batch.len() == REQUEST_ROWS {
                each(
                    Signal::Metrics,
                    otlp::encode_metrics(std::mem::take(&mut batch)).into(),
                )?;
                progress(report.spans + report.logs + report.points);
            }
            Ok(())
        })?;
        if !batch.is_empty() {
            each(Signal::Metrics, otlp::encode_metrics(batch).into())?;
        }
    }
    if selection.takes(Signal::Metrics) && selection.traces.is_some() {
        report
            .left_out
            .push("metrics: they belong to no trace".to_owned());
    }
    progress(report.spans + report.logs + report.points);
    Ok(report)
}

struct Counted<'o> {
    out: &'o mut dyn Write,
    bytes: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
