//! Gathers rows into OTLP requests, hands them to the sink, and keeps the report.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use case::model::{LogRecord, MetricPoint, PointData, Span};
use case::{AppendError, Nanos, Receipt, Signal};

use super::report::{BadRecord, PREVIEW_ROWS, Place, Report, SHOWN_BAD_RECORDS};
use super::{ImportError, Progress};
use crate::export::otlp::{encode_logs, encode_metrics, encode_spans};

/// Rows to a request: small enough to hold, large enough that waiting for each flush doesn't set the pace.
const ROWS: usize = 8_192;
/// Bytes of requests that are sent together.
const TOGETHER: usize = 2 << 20;
/// How often a busy case is asked again before the import gives up.
const PATIENCE: u32 = 600;

/// Takes requests: a case's writer, or nothing in a dry run.
pub type Sink<'a> = dyn FnMut(Signal, Bytes) -> Result<Receipt, AppendError> + 'a;

pub(super) struct Batch<'a> {
    sink: &'a mut Sink<'a>,
    progress: &'a mut dyn FnMut(Progress),
    taken: Rc<Cell<u64>>,
    total: Option<u64>,
    strict: bool,
    spans: Vec<Span>,
    logs: Vec<LogRecord>,
    points: Vec<MetricPoint>,
    /// Requests of the input that wait to be sent together, by signal.
    waiting: [Waiting; 3],
    previewed: [usize; 3],
    pub(super) report: Report,
}

#[derive(Default)]
struct Waiting {
    parts: Vec<Part>,
    bytes: usize,
}

/// A request as it stood in the input.
struct Part {
    payload: Vec<u8>,
    items: u64,
    place: Place,
}

impl<'a> Batch<'a> {
    pub(super) fn new(
        sink: &'a mut Sink<'a>,
        progress: &'a mut dyn FnMut(Progress),
        taken: Rc<Cell<u64>>,
        total: Option<u64>,
        strict: bool,
        report: Report,
    ) -> Batch<'a> {
        Batch {
            sink,
            progress,
            taken,
            total,
            strict,
            spans: Vec::new(),
            logs: Vec::new(),
            points: Vec::new(),
            waiting: Default::default(),
            previewed: [0; 3],
            report,
        }
    }

    /// Tells progress by another reading of the input.
    pub(super) fn follow(&mut self, taken: Rc<Cell<u64>>) {
        self.taken = taken;
    }

    pub(super) fn span(&mut self, span: Span) -> Result<(), ImportError> {
        self.saw_span(&span);
        self.spans.push(span);
        if self.spans.len() >= ROWS {
            self.send_spans()
        } else {
            Ok(())
        }
    }

    pub(super) fn log(&mut self, record: LogRecord) -> Result<(), ImportError> {
        self.saw_log(&record);
        self.logs.push(record);
        if self.logs.len() >= ROWS {
            self.send_logs()
        } else {
            Ok(())
        }
    }

    pub(super) fn point(&mut self, point: MetricPoint) -> Result<(), ImportError> {
        self.saw_point(&point);
        self.points.push(point);
        if self.points.len() >= ROWS {
            self.send_points()
        } else {
            Ok(())
        }
    }

    /// A record that can't be read. Ends a strict import.
    pub(super) fn bad(
        &mut self,
        place: Place,
        reason: impl Into<String>,
    ) -> Result<(), ImportError> {
        let bad = BadRecord {
            place,
            reason: reason.into(),
        };
        if self.strict {
            return Err(ImportError::Strict(bad));
        }
        self.report.bad.total += 1;
        if self.report.bad.shown.len() < SHOWN_BAD_RECORDS {
            self.report.bad.shown.push(bad);
        }
        Ok(())
    }

    /// A request as it stands in the input, whose items are already counted. Requests laid end to end are one request,
    /// so small ones wait for each other: every append costs a flush.
    pub(super) fn request(
        &mut self,
        signal: Signal,
        payload: Vec<u8>,
        items: u64,
        place: Place,
    ) -> Result<(), ImportError> {
        let waiting = &mut self.waiting[slot(signal)];
        waiting.bytes += payload.len();
        waiting.parts.push(Part {
            payload,
            items,
            place,
        });
        if waiting.bytes >= TOGETHER || waiting.parts.len() >= ROWS {
            self.send_waiting(signal)
        } else {
            Ok(())
        }
    }

    fn send_waiting(&mut self, signal: Signal) -> Result<(), ImportError> {
        let parts = std::mem::take(&mut self.waiting[slot(signal)]).parts;
        let items = parts.iter().map(|part| part.items).sum();
        if parts.is_empty() {
            return Ok(());
        }
        let together: Vec<u8> = parts
            .iter()
            .flat_map(|part| part.payload.iter().copied())
            .collect();
        match self.send(signal, together.into(), items) {
            // One of them is not what it says; the others are sent alone.
            Err(ImportError::Append(AppendError::Malformed { .. })) => {}
            other => return other,
        }
        for part in parts {
            match self.send(signal, part.payload.into(), part.items) {
                Err(ImportError::Append(AppendError::Malformed { reason, offset, .. })) => {
                    self.bad(
                        part.place,
                        format!("the case can't read it: {reason} at byte {offset}"),
                    )?;
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// Sends what is still held.
    pub(super) fn finish(&mut self) -> Result<(), ImportError> {
        for signal in [Signal::Traces, Signal::Logs, Signal::Metrics] {
            self.send_waiting(signal)?;
        }
        self.send_spans()?;
        self.send_logs()?;
        self.send_points()?;
        self.tell();
        Ok(())
    }

    pub(super) fn tell(&mut self) {
        (self.progress)(Progress {
            read: self.taken.get(),
            total: self.total,
            items: self.report.items(),
            bad: self.report.bad.total,
        });
    }

    fn send_spans(&mut self) -> Result<(), ImportError> {
        let rows = std::mem::take(&mut self.spans);
        let items = rows.len() as u64;
        if items == 0 {
            return Ok(());
        }
        self.send(Signal::Traces, encode_spans(rows).into(), items)
    }

    fn send_logs(&mut self) -> Result<(), ImportError> {
        let rows = std::mem::take(&mut self.logs);
        let items = rows.len() as u64;
        if items == 0 {
            return Ok(());
        }
        self.send(Signal::Logs, encode_logs(rows).into(), items)
    }

    fn send_points(&mut self) -> Result<(), ImportError> {
        let rows = std::mem::take(&mut self.points);
        let items = rows.len() as u64;
        if items == 0 {
            return Ok(());
        }
        self.send(Signal::Metrics, encode_metrics(rows).into(), items)
    }

    fn send(&mut self, signal: Signal, payload: Bytes, items: u64) -> Result<(), ImportError> {
        let mut tries = 0;
        let receipt = loop {
            match (self.sink)(signal, payload.clone()) {
                Err(AppendError::Busy { retry_after, .. }) if tries < PATIENCE => {
                    tries += 1;
                    std::thread::sleep(
                        retry_after.clamp(Duration::from_millis(1), Duration::from_millis(100)),
                    );
                }
                other => break other.map_err(ImportError::Append)?,
            }
        };
        if receipt.duplicate {
            self.report.duplicates += items;
        }
        if receipt.rejected > 0 {
            self.report.refused += receipt.rejected;
            if self.report.refusal.is_none() {
                self.report.refusal = receipt.message;
            }
        }
        self.tell();
        Ok(())
    }

    pub(super) fn saw_span(&mut self, span: &Span) {
        self.report.spans += 1;
        self.report.saw(span.start, span.end.max(span.start));
        self.report.of_service(span.service(), 1);
        if self.show(0) {
            let row = format!(
                "span   {}  {}  {}  {}  {}",
                span.start,
                span.trace_id,
                or_dash(span.service()),
                case::time::human_duration(span.duration()),
                span.name
            );
            self.report.preview.push(row);
        }
    }

    pub(super) fn saw_log(&mut self, record: &LogRecord) {
        self.report.logs += 1;
        self.report.saw(record.at(), record.at());
        let service = record.origin.resource.service();
        self.report.of_service(service, 1);
        if self.show(1) {
            let row = format!(
                "log    {}  {}  {}  {}",
                record.at(),
                or_dash(&record.severity_text),
                or_dash(service),
                record.body
            );
            self.report.preview.push(row);
        }
    }

    pub(super) fn saw_point(&mut self, point: &MetricPoint) {
        self.report.points += 1;
        if point.at != Nanos(0) {
            self.report.saw(point.at, point.at);
        }
        let service = point.origin.resource.service();
        self.report.of_service(service, 1);
        if self.show(2) {
            let value = match &point.data {
                PointData::Gauge(value) | PointData::Sum { value, .. } => value.to_string(),
                other => other.kind().to_owned(),
            };
            let row = format!(
                "point  {}  {}  {}  {value}",
                point.at,
                or_dash(service),
                point.name
            );
            self.report.preview.push(row);
        }
    }

    fn show(&mut self, kind: usize) -> bool {
        self.previewed[kind] += 1;
        self.previewed[kind] <= PREVIEW_ROWS
    }
}

fn slot(signal: Signal) -> usize {
    match signal {
        Signal::Logs => 1,
        Signal::Metrics => 2,
        _ => 0,
    }
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}
