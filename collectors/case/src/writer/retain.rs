//! Retention: the oldest segments go when a case grows too large, and what was pinned in them stays.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;

use crate::ids::TraceId;
use crate::manifest::{Manifest, Segment};
use crate::model::{LogRecord, Span};
use crate::segment::SegmentBuilder;
use crate::signal::Signal;
use crate::time::Window;
use crate::wire::encode;
use crate::{Case, CaseError, log, pins};

/// Rows in one of the requests that carry what is kept.
const ROWS: usize = 512;

/// Takes the oldest segments out of the manifest until the rest fits, and puts one in their place that holds their
/// pinned traces and the logs of these. Returns the files that may go once the manifest is replaced.
///
/// `sealing` is the log that is becoming a segment: no two calls share it, so neither do the names of files.
pub(super) fn retain(
    case: &Path,
    manifest: &mut Manifest,
    limit: Option<u64>,
    sealing: u64,
) -> Result<Vec<String>, CaseError> {
    let Some(limit) = limit else {
        return Ok(Vec::new());
    };
    let mut bytes: u64 = manifest.segments.iter().map(Segment::bytes).sum();
    if bytes <= limit {
        return Ok(Vec::new());
    }
    let hold = pins::hold(case)?;
    let pinned = hold.traces();
    let newest = manifest.segments.len() - 1;
    let mut places = Vec::new();
    for (place, segment) in manifest.segments[..newest].iter().enumerate() {
        if bytes <= limit {
            break;
        }
        // What holds nothing but pinned traces has been through this already.
        if segment.holds_only(pinned) {
            continue;
        }
        bytes -= segment.bytes();
        places.push(place);
    }
    let Some(first) = places.first().copied() else {
        return Ok(Vec::new());
    };
    let mut gone = Vec::new();
    for place in places.into_iter().rev() {
        gone.push(manifest.segments.remove(place));
    }
    gone.reverse();
    let kept = keep(case, &gone, pinned, sealing, manifest)?;
    let dropped = &mut manifest.dropped;
    dropped.segments += gone.len() as u64;
    dropped.bytes += gone.iter().map(Segment::bytes).sum::<u64>();
    for (signal, count) in gone.iter().flat_map(|segment| &segment.items) {
        *dropped.items.entry(signal.name().to_owned()).or_default() += count;
    }
    if let Some(kept) = kept {
        dropped.bytes = dropped.bytes.saturating_sub(kept.bytes());
        for (signal, count) in &kept.items {
            if let Some(items) = dropped.items.get_mut(signal.name()) {
                *items = items.saturating_sub(*count);
            }
        }
        manifest.segments.insert(first, kept);
    }
    Ok(gone
        .into_iter()
        .flat_map(|segment| segment.files)
        .map(|file| file.path)
        .collect())
}

/// Writes what is pinned in segments that are about to go. What is damaged in them is lost, and noted.
fn keep(
    case: &Path,
    gone: &[Segment],
    pinned: &BTreeSet<TraceId>,
    sealing: u64,
    manifest: &mut Manifest,
) -> Result<Option<Segment>, CaseError> {
    let (Some(oldest), false) = (gone.first(), pinned.is_empty()) else {
        return Ok(None);
    };
    let reader = Case::of_segments(case, manifest, gone.to_vec());
    let mut builder = SegmentBuilder::default();
    let mut holds = BTreeSet::new();
    let mut spans: Batch<Span> = Batch::new(Signal::Traces, encode::traces);
    for id in pinned {
        for span in reader.trace(*id)? {
            holds.insert(*id);
            spans.push(span, &mut builder)?;
        }
    }
    spans.flush(&mut builder)?;
    let mut logs: Batch<LogRecord> = Batch::new(Signal::Logs, encode::logs);
    let mut failure = None;
    reader.logs(Window::ALL, &mut |record| {
        if pinned.contains(&record.trace_id) {
            holds.insert(record.trace_id);
            failure = logs.push(record, &mut builder).err();
        }
        match failure {
            None => ControlFlow::Continue(()),
            Some(_) => ControlFlow::Break(()),
        }
    })?;
    failure.map_or(Ok(()), Err)?;
    logs.flush(&mut builder)?;
    manifest.damaged.extend(reader.damage());
    if holds.is_empty() {
        return Ok(None);
    }
    let stem = format!("kept-{:010}-{sealing:010}", oldest.id);
    let mut segment = builder.write_as(case, oldest.id, &stem)?;
    segment.pinned = holds.into_iter().collect();
    Ok(Some(segment))
}

/// Rows on their way into a segment, as requests again.
struct Batch<T> {
    signal: Signal,
    encode: fn(&[T]) -> Vec<u8>,
    rows: Vec<T>,
}

impl<T> Batch<T> {
    fn new(signal: Signal, encode: fn(&[T]) -> Vec<u8>) -> Batch<T> {
        Batch {
            signal,
            encode,
            rows: Vec::new(),
        }
    }

    fn push(&mut self, row: T, builder: &mut SegmentBuilder) -> Result<(), CaseError> {
        self.rows.push(row);
        if self.rows.len() < ROWS {
            return Ok(());
        }
        self.flush(builder)
    }

    fn flush(&mut self, builder: &mut SegmentBuilder) -> Result<(), CaseError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let payload = (self.encode)(&self.rows);
        let hash = super::request_hash(self.signal, &payload);
        let head = log::FrameHead::of(self.signal, self.rows.len() as u32, hash);
        self.rows.clear();
        builder
            .push(&head, &payload, &log::Parts::default())
            .map_err(|reason| CaseError::damaged("a pinned trace", reason))
    }
}
