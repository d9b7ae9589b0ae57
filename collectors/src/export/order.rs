//! Rows in export order without holding them all: times are read first, cut into slices of bounded size, and each
//! slice is read and sorted by itself. Few rows take one reading.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use ::case::model::{LogRecord, MetricPoint, Span};
use ::case::{CaseError, Nanos, Window};

use super::otlp::fingerprint;
use super::source::Rows;
use super::{ExportError, Selection};

/// Rows held at a time. More only where that many share one nanosecond.
const SLICE: usize = 100_000;

type Each<'e, T> = &'e mut dyn FnMut(T) -> Result<(), ExportError>;
/// Shows rows of a window, perhaps with others around it.
type Scan<'s, T> =
    &'s dyn Fn(Window, &mut dyn FnMut(T) -> ControlFlow<()>) -> Result<(), CaseError>;

pub(super) fn spans(
    rows: &dyn Rows,
    selection: &Selection,
    each: Each<'_, Span>,
) -> Result<(), ExportError> {
    in_order(
        &|window, each| rows.spans(window, each),
        selection.reach(),
        &|span: &Span| selection.has_trace(&span.trace_id),
        &|span| span.start,
        &mut |slice| {
            slice.sort_by(|a, b| {
                let ids = |span: &Span| (span.start, span.trace_id, span.span_id);
                ids(a)
                    .cmp(&ids(b))
                    .then_with(|| tie(a, b, fingerprint::span))
            });
        },
        each,
    )
}

pub(super) fn logs(
    rows: &dyn Rows,
    selection: &Selection,
    each: Each<'_, LogRecord>,
) -> Result<(), ExportError> {
    in_order(
        &|window, each| rows.logs(window, each),
        selection.reach(),
        &|record: &LogRecord| selection.has_trace(&record.trace_id),
        &LogRecord::at,
        &mut |slice| {
            slice.sort_by(|a, b| {
                let ids = |record: &LogRecord| (record.at(), record.trace_id, record.span_id);
                ids(a)
                    .cmp(&ids(b))
                    .then_with(|| tie(a, b, fingerprint::log))
            });
        },
        each,
    )
}

pub(super) fn points(
    rows: &dyn Rows,
    selection: &Selection,
    each: Each<'_, MetricPoint>,
) -> Result<(), ExportError> {
    in_order(
        &|window, each| rows.metrics(window, each),
        selection.reach(),
        &|_| true,
        &|point: &MetricPoint| point.at,
        // Points have no ids, and those of one scrape share their time.
        &mut |slice| slice.sort_by_cached_key(|point| (point.at, fingerprint::point(point))),
        each,
    )
}

fn tie<T>(a: &T, b: &T, fingerprint: fn(&T) -> Vec<u8>) -> Ordering {
    fingerprint(a).cmp(&fingerprint(b))
}

fn in_order<T>(
    scan: Scan<'_, T>,
    window: Window,
    takes: &dyn Fn(&T) -> bool,
    time: &dyn Fn(&T) -> Nanos,
    sort: &mut dyn FnMut(&mut Vec<T>),
    each: Each<'_, T>,
) -> Result<(), ExportError> {
    let mut times: Vec<Nanos> = Vec::new();
    let mut held: Vec<T> = Vec::new();
    scan(window, &mut |row| {
        let at = time(&row);
        if window.contains(at) && takes(&row) {
            times.push(at);
            if times.len() <= SLICE {
                held.push(row);
            } else {
                held = Vec::new();
            }
        }
        ControlFlow::Continue(())
    })?;
    if times.len() <= SLICE {
        sort(&mut held);
        return held.into_iter().try_for_each(each);
    }
    times.sort_unstable();
    let mut bounds: Vec<Nanos> = times.iter().step_by(SLICE).copied().collect();
    drop(times);
    bounds.dedup();
    for (i, from) in bounds.iter().enumerate() {
        let slice = Window {
            from: *from,
            until: bounds.get(i + 1).copied().unwrap_or(window.until),
        };
        let mut held: Vec<T> = Vec::new();
        scan(slice, &mut |row| {
            if slice.contains(time(&row)) && takes(&row) {
                held.push(row);
            }
            ControlFlow::Continue(())
        })?;
        sort(&mut held);
        held.into_iter().try_for_each(&mut *each)?;
    }
    Ok(())
}
