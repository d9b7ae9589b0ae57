//! From one log to the files of one segment.

use std::collections::BTreeMap;
use std::path::Path;

use super::Written;
use super::logs::LogTable;
use super::metrics::MetricTables;
use super::spans::SpanTable;
use super::watched::WatchedTable;
use crate::log::{FrameHead, LogReader, Parts, TornKind};
use crate::manifest::{Content, Segment, SegmentFile};
use crate::signal::Signal;
use crate::time::Nanos;
use crate::wire::{logs, metrics};
use crate::{CaseError, files};

/// Gathers requests and writes them as files.
#[derive(Default)]
pub(crate) struct SegmentBuilder {
    spans: SpanTable,
    logs: LogTable,
    metrics: MetricTables,
    watched: BTreeMap<Signal, WatchedTable>,
    requests: Vec<u8>,
    items: BTreeMap<Signal, u64>,
}

impl SegmentBuilder {
    /// Takes one request. It was checked before it was logged, so what can't be walked now is a fault of the log.
    /// `parts` says which of its parts are the same.
    pub(crate) fn push(
        &mut self,
        head: &FrameHead,
        payload: &[u8],
        parts: &Parts,
    ) -> Result<(), &'static str> {
        self.requests.extend_from_slice(&head.hash.to_le_bytes());
        self.requests.extend_from_slice(&head.items.to_le_bytes());
        *self.items.entry(head.signal).or_default() += u64::from(head.items);
        let walked = match head.signal {
            Signal::Traces => self.spans.take(payload, parts),
            Signal::Logs => {
                self.logs.next_request();
                logs::walk(payload, |origin, record, pairs| {
                    self.logs.push(origin, record, pairs)
                })
            }
            Signal::Metrics => metrics::walk(payload, |point| self.metrics.push(point), |_, _| {}),
            watched => {
                return self
                    .watched
                    .entry(watched)
                    .or_insert_with(|| WatchedTable::new(watched))
                    .push(payload);
            }
        };
        walked.map_err(|error| error.reason)
    }

    /// Writes what was gathered under `segments/`, each file's name beginning with `stem`.
    pub(crate) fn write_as(&self, case: &Path, id: u64, stem: &str) -> Result<Segment, CaseError> {
        let mut segment = Segment {
            id,
            items: self.items.clone(),
            first: Nanos::MAX,
            last: Nanos(0),
            files: Vec::new(),
            pinned: Vec::new(),
        };
        let name = |content: Content, ending: &str| {
            format!("segments/{stem}-{}.{ending}", content.table())
        };
        let mut add =
            |content: Content, path: String, written: Written, window: Option<(Nanos, Nanos)>| {
                if let Some((first, last)) = window {
                    segment.first = segment.first.min(first);
                    segment.last = segment.last.max(last);
                }
                segment.files.push(SegmentFile {
                    path,
                    content,
                    bytes: written.bytes,
                    rows: written.rows,
                    hash: written.hash,
                    footer: written.footer,
                });
            };
        if !self.spans.is_empty() {
            let path = name(Content::Traces, "parquet");
            let index = name(Content::TraceIndex, "bin");
            let (spans, ranges) = self.spans.write(&case.join(&path), &case.join(&index))?;
            add(Content::Traces, path, spans, Some(self.spans.window()));
            add(Content::TraceIndex, index, ranges, None);
        }
        if !self.logs.is_empty() {
            let path = name(Content::Logs, "parquet");
            add(
                Content::Logs,
                path.clone(),
                self.logs.write(&case.join(&path))?,
                Some(self.logs.window()),
            );
        }
        for (content, table) in self.metrics.tables() {
            let path = name(content, "parquet");
            add(
                content,
                path.clone(),
                table.write(&case.join(&path))?,
                Some(table.window()),
            );
        }
        for table in self.watched.values() {
            let path = name(table.content(), "parquet");
            add(
                table.content(),
                path.clone(),
                table.write(&case.join(&path))?,
                Some(table.window()),
            );
        }
        let path = name(Content::Requests, "bin");
        let written = Written {
            bytes: self.requests.len() as u64,
            rows: self.requests.len() as u64 / 20,
            hash: blake3::hash(&self.requests).to_hex().to_string(),
            footer: None,
        };
        files::replace(&case.join(&path), &self.requests)?;
        add(Content::Requests, path, written, None);
        if segment.first > segment.last {
            (segment.first, segment.last) = (Nanos(0), Nanos(0));
        }
        files::sync_folder(&case.join("segments"))?;
        Ok(segment)
    }
}

/// What a log became, and what of it could not be read.
pub(crate) struct Built {
    pub(crate) segment: Segment,
    pub(crate) unreadable: Vec<String>,
}

/// Makes a segment of log `id`. `pause` is called between requests, so that the caller can yield.
pub(crate) fn build(case: &Path, id: u64, mut pause: impl FnMut()) -> Result<Built, CaseError> {
    let mut builder = SegmentBuilder::default();
    let mut unreadable = Vec::new();
    let mut reader = LogReader::open(case, id)?;
    let mut payload = Vec::new();
    loop {
        while let Some(head) = reader.next(&mut payload)? {
            if let Err(reason) = builder.push(&head, &payload, reader.parts()) {
                unreadable.push(format!("request before byte {}: {reason}", reader.offset()));
            }
            pause();
        }
        let Some(torn) = reader.gap()? else { break };
        // What a crash cut short was never acknowledged.
        if torn.kind == TornKind::Damaged {
            unreadable.push(format!(
                "{} bytes at byte {}: {}",
                torn.bytes, torn.offset, torn.reason
            ));
        }
    }
    drop(payload);
    Ok(Built {
        segment: builder.write_as(case, id, &format!("{id:010}"))?,
        unreadable,
    })
}
