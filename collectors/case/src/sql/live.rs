//! The rows that are in logs and not in segments yet: one request at a time, decoded into whole rows.
//!
//! A join looks at a table again for every row of the other. From the second look on the requests are kept, as far as
//! they fit, with an index by trace; what does not fit is read from the logs each time.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use super::cells::CellRef;
use super::live_rows::Rows;
use super::table::{Table, Test, Want};
use crate::TraceId;
use crate::log::{LogReader, TornKind};
use crate::manifest::Content;
use crate::signal::Signal;

/// Bytes of requests kept for further looks.
const KEPT_BYTES: usize = 256 << 20;
/// Requests kept decoded.
const KEPT_DECODED: usize = 16;

/// What is kept between one look at the live rows and the next.
#[derive(Default)]
pub(super) struct LiveIndex(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    looks: u32,
    too_large: bool,
    requests: Option<Arc<Vec<Vec<u8>>>>,
    by_trace: Option<Arc<HashMap<TraceId, Vec<u32>>>>,
    decoded: VecDeque<(u32, Arc<Rows>)>,
}

/// Walks the live rows of a table.
pub(super) struct LiveScan {
    requests: Requests,
    trace: Option<TraceId>,
    rows: Arc<Rows>,
    next: usize,
}

enum Requests {
    Streamed {
        readers: VecDeque<LogReader>,
        payload: Vec<u8>,
    },
    Kept {
        all: Arc<Vec<Vec<u8>>>,
        wanted: std::vec::IntoIter<u32>,
    },
}

/// The signal whose requests hold a table's rows.
pub(super) fn signal_of(content: Content) -> Signal {
    match content {
        Content::Traces | Content::TraceIndex => Signal::Traces,
        Content::Logs => Signal::Logs,
        Content::MetricsGauge
        | Content::MetricsSum
        | Content::MetricsHistogram
        | Content::MetricsExpHistogram
        | Content::MetricsSummary => Signal::Metrics,
        Content::RegistrySnapshots => Signal::RegistrySnapshots,
        Content::RegistryEvents => Signal::RegistryEvents,
        Content::Probes => Signal::Probes,
        Content::Journal => Signal::Journal,
        Content::Ledger | Content::Requests => Signal::Ledger,
    }
}

impl LiveScan {
    pub(super) fn start(table: &Table, wants: &[Want]) -> LiveScan {
        let trace =
            match table.content {
                Content::Traces | Content::Logs => wants.iter().find_map(|want| {
                    match (&want.test, table.columns.get(want.column)) {
                        (Test::Text(id), Some(column)) if column.name == "TraceId" => {
                            TraceId::from_hex(id.as_bytes())
                        }
                        _ => None,
                    }
                }),
                _ => None,
            };
        LiveScan {
            requests: table.live.requests(table, trace),
            trace,
            rows: Arc::new(Rows::default()),
            next: 0,
        }
    }

    /// Goes to the next row; false at the end, or when the query has to stop.
    pub(super) fn advance(&mut self, table: &Table) -> bool {
        loop {
            if self.next < self.rows.len() {
                self.next += 1;
                return true;
            }
            if table.stop.now() {
                return false;
            }
            match self.next_rows(table) {
                Some(rows) => {
                    self.rows = rows;
                    self.next = 0;
                }
                None => return false,
            }
        }
    }

    fn next_rows(&mut self, table: &Table) -> Option<Arc<Rows>> {
        match &mut self.requests {
            Requests::Streamed { readers, payload } => loop {
                if table.stop.now() || !next_request(table, readers, payload) {
                    return None;
                }
                let worth = self
                    .trace
                    .is_none_or(|id| memchr::memmem::find(payload, &id.0).is_some());
                if worth {
                    return Some(Arc::new(Rows::read(table, payload)));
                }
            },
            Requests::Kept { all, wanted } => {
                let number = wanted.next()?;
                let request = all.get(number as usize)?;
                Some(table.live.decoded(number, || Rows::read(table, request)))
            }
        }
    }

    pub(super) fn cell<R>(
        &self,
        table: &Table,
        column: usize,
        sink: impl FnOnce(CellRef<'_>) -> R,
    ) -> R {
        match (table.columns.get(column), self.next.checked_sub(1)) {
            (Some(column), Some(row)) => sink(self.rows.cell(row, column)),
            _ => sink(CellRef::Null),
        }
    }
}

/// Reads the next request that holds rows of the table.
fn next_request(table: &Table, readers: &mut VecDeque<LogReader>, payload: &mut Vec<u8>) -> bool {
    let signal = signal_of(table.content);
    while let Some(reader) = readers.front_mut() {
        match reader.next(payload) {
            Ok(Some(head)) if head.signal == signal => return true,
            Ok(Some(_)) => {}
            Ok(None) => {
                // What is cut short is a write under way; behind damage more may follow.
                match reader.gap() {
                    Ok(Some(torn)) if torn.kind == TornKind::Damaged => {
                        table.case.note(format!(
                            "{}: {} ({} bytes at byte {})",
                            reader.path().display(),
                            torn.reason,
                            torn.bytes,
                            torn.offset
                        ));
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => drop(readers.pop_front()),
                    Err(error) => {
                        table.case.note(error.to_string());
                        readers.pop_front();
                    }
                }
            }
            Err(error) => {
                table.case.note(error.to_string());
                readers.pop_front();
            }
        }
    }
    false
}

impl LiveIndex {
    fn requests(&self, table: &Table, trace: Option<TraceId>) -> Requests {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.looks = kept.looks.saturating_add(1);
        let mut readers = match table.case.open_live() {
            Ok(readers) => VecDeque::from(readers),
            Err(error) => {
                table.case.note(error.to_string());
                VecDeque::new()
            }
        };
        if kept.looks > 1 && kept.requests.is_none() && !kept.too_large {
            match keep(table, &mut readers) {
                Some(requests) => kept.requests = Some(Arc::new(requests)),
                None => {
                    kept.too_large = true;
                    readers = table.case.open_live().unwrap_or_default().into();
                }
            }
        }
        let Some(all) = kept.requests.clone() else {
            return Requests::Streamed {
                readers,
                payload: Vec::new(),
            };
        };
        let wanted: Vec<u32> = match trace {
            Some(id) => kept
                .by_trace
                .get_or_insert_with(|| Arc::new(by_trace(table.content, &all)))
                .get(&id)
                .cloned()
                .unwrap_or_default(),
            None => (0..all.len() as u32).collect(),
        };
        Requests::Kept {
            all,
            wanted: wanted.into_iter(),
        }
    }

    fn decoded(&self, number: u32, read: impl FnOnce() -> Rows) -> Arc<Rows> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, rows)) = kept.decoded.iter().find(|(known, _)| *known == number) {
            return Arc::clone(rows);
        }
        let rows = Arc::new(read());
        kept.decoded.push_front((number, Arc::clone(&rows)));
        kept.decoded.truncate(KEPT_DECODED);
        rows
    }
}

/// All requests of the table, if they fit.
fn keep(table: &Table, readers: &mut VecDeque<LogReader>) -> Option<Vec<Vec<u8>>> {
    let (mut all, mut bytes) = (Vec::new(), 0);
    let mut payload = Vec::new();
    while !table.stop.now() && next_request(table, readers, &mut payload) {
        bytes += payload.len();
        if bytes > KEPT_BYTES {
            return None;
        }
        all.push(payload.clone());
    }
    Some(all)
}

/// The requests that hold anything of each trace.
fn by_trace(content: Content, all: &[Vec<u8>]) -> HashMap<TraceId, Vec<u32>> {
    let mut index: HashMap<TraceId, Vec<u32>> = HashMap::new();
    for (number, request) in all.iter().enumerate() {
        let number = number as u32;
        let mut note = |id: TraceId| {
            let requests = index.entry(id).or_default();
            if requests.last() != Some(&number) {
                requests.push(number);
            }
        };
        // Requests were checked before they were logged.
        let walked = match content {
            Content::Traces => {
                crate::wire::spans::walk(request, |_, span, _| note(span.trace_id), |_| {})
            }
            _ => crate::wire::logs::walk(request, |_, record, _| note(record.trace_id)),
        };
        debug_assert!(walked.is_ok());
    }
    index
}
