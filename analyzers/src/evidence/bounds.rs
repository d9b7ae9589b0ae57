//! Times as rules may reckon with them. A sender may claim any time up to the end of 64 bits; what lies beyond the year
//! 2116 is brought back to it once, here, so that no rule's sum overflows. The case keeps what was sent.

use std::borrow::Cow;

use case::model::{LogRecord, MetricPoint, Span};
use case::signal::{JournalRecord, LedgerRow, ProbeResult, RegistryEvent, RegistrySnapshot};
use case::{Nanos, Window};

/// Twice this still fits a signed number.
const LATEST: Nanos = Nanos(i64::MAX as u64 / 2);

fn bound(at: &mut Nanos) {
    *at = (*at).min(LATEST);
}

fn bound_some(at: &mut Option<Nanos>) {
    *at = at.map(|at| at.min(LATEST));
}

pub(super) fn window(window: Window) -> Window {
    Window {
        from: window.from.min(LATEST),
        // The window's end is not part of it.
        until: window.until.min(LATEST.saturating_add(1)),
    }
}

pub(super) fn span(span: &Span) -> Cow<'_, Span> {
    let odd = span.start > LATEST
        || span.end > LATEST
        || span.events.iter().any(|event| event.at > LATEST);
    if !odd {
        return Cow::Borrowed(span);
    }
    let mut span = span.clone();
    bound(&mut span.start);
    bound(&mut span.end);
    span.events
        .iter_mut()
        .for_each(|event| bound(&mut event.at));
    Cow::Owned(span)
}

pub(super) fn log(log: &LogRecord) -> Cow<'_, LogRecord> {
    if log.time.max(log.observed) <= LATEST {
        return Cow::Borrowed(log);
    }
    let mut log = log.clone();
    bound(&mut log.time);
    bound(&mut log.observed);
    Cow::Owned(log)
}

pub(super) fn metric(point: &MetricPoint) -> Cow<'_, MetricPoint> {
    if point.at.max(point.start) <= LATEST {
        return Cow::Borrowed(point);
    }
    let mut point = point.clone();
    bound(&mut point.at);
    bound(&mut point.start);
    Cow::Owned(point)
}

pub(super) fn journal(record: &JournalRecord) -> Cow<'_, JournalRecord> {
    if record.at.max(record.seen_at) <= LATEST {
        return Cow::Borrowed(record);
    }
    let mut record = record.clone();
    bound(&mut record.at);
    bound(&mut record.seen_at);
    Cow::Owned(record)
}

pub(super) fn ledger(row: &LedgerRow) -> Cow<'_, LedgerRow> {
    if row.at <= LATEST {
        return Cow::Borrowed(row);
    }
    let mut row = row.clone();
    bound(&mut row.at);
    Cow::Owned(row)
}

pub(super) fn registry(
    events: &mut [RegistryEvent],
    snapshots: &mut [RegistrySnapshot],
    probes: &mut [ProbeResult],
) {
    events.iter_mut().for_each(|event| bound(&mut event.at));
    for snapshot in snapshots {
        bound(&mut snapshot.at);
        bound_some(&mut snapshot.as_of);
        for instance in &mut snapshot.instances {
            bound_some(&mut instance.last_seen);
            bound_some(&mut instance.registered_at);
        }
    }
    for probe in probes {
        bound(&mut probe.at);
        probe.duration_nano = probe.duration_nano.min(LATEST.0);
    }
}
