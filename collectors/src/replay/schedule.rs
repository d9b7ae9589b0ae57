//! Which row is due when. A span is due at its end, as it was when it was first sent; a log record and a metric point
//! at their time. Rows are read slice by slice; held are those of a slice and the spans that are still open.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::ControlFlow;

use case::model::{LogRecord, MetricPoint, Span};
use case::{CaseError, Nanos, Window};

use crate::export::Rows;

/// Rows that begin in one slice.
const SLICE: usize = 50_000;

/// A row to send.
pub(super) enum Row {
    Span(Box<Span>),
    Log(Box<LogRecord>),
    Point(Box<MetricPoint>),
}

pub(super) struct Schedule<'r> {
    rows: &'r dyn Rows,
    slices: VecDeque<Window>,
    window: Window,
    /// By when it is due, then in the order it was read.
    due: BinaryHeap<Reverse<Due>>,
    /// Everything due before this has been read.
    read_until: Nanos,
    order: u64,
    undated: Option<Nanos>,
}

struct Due {
    at: Nanos,
    order: u64,
    row: Row,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// What a window holds, found before anything is sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extent {
    /// The first moment anything is about, and the last; `None` without rows.
    pub times: Option<(Nanos, Nanos)>,
    pub rows: u64,
    /// Where slices begin.
    bounds: Vec<Nanos>,
}

impl Extent {
    /// Reads the times of everything in `window`.
    pub fn of(rows: &dyn Rows, window: Window) -> Result<Extent, CaseError> {
        let mut begins: Vec<Nanos> = Vec::new();
        let mut last = Nanos(0);
        rows.spans(window, &mut |span| {
            if window.contains(span.start) {
                begins.push(span.start);
                last = last.max(span.start).max(span.end);
            }
            ControlFlow::Continue(())
        })?;
        let mut undated = 0;
        let mut note = |at: Nanos| {
            if at.0 == 0 && window.contains(at) {
                undated += 1;
            } else if window.contains(at) {
                begins.push(at);
                last = last.max(at);
            }
            ControlFlow::Continue(())
        };
        rows.logs(window, &mut |record| note(record.at()))?;
        rows.metrics(window, &mut |point| note(point.at))?;
        begins.sort_unstable();
        let first = begins.first().copied();
        let rows = begins.len() as u64 + undated;
        let mut bounds: Vec<Nanos> = begins.into_iter().step_by(SLICE).collect();
        bounds.dedup();
        let times = match first {
            Some(first) => Some((first, last.max(first))),
            None if undated > 0 => Some((Nanos(0), Nanos(0))),
            None => None,
        };
        Ok(Extent {
            times,
            rows,
            bounds,
        })
    }
}

impl<'r> Schedule<'r> {
    pub(super) fn new(rows: &'r dyn Rows, window: Window, extent: &Extent) -> Schedule<'r> {
        let slices = extent
            .bounds
            .iter()
            .enumerate()
            .map(|(i, from)| Window {
                from: *from,
                until: extent.bounds.get(i + 1).copied().unwrap_or(window.until),
            })
            .collect();
        Schedule {
            rows,
            slices,
            window,
            due: BinaryHeap::new(),
            read_until: Nanos(0),
            order: 0,
            // Rows without a time go first, with the first that has one.
            undated: extent.times.map(|(first, _)| first),
        }
    }

    /// When the next row is due; `None` when all are taken.
    pub(super) fn next_due(&mut self) -> Result<Option<Nanos>, CaseError> {
        if let Some(first) = self.undated.take() {
            self.read_undated(first)?;
        }
        loop {
            let next = self.due.peek().map(|Reverse(due)| due.at);
            let settled = next.is_some_and(|at| at < self.read_until) || self.slices.is_empty();
            if settled {
                return Ok(next);
            }
            if let Some(slice) = self.slices.pop_front() {
                self.read(slice)?;
            }
        }
    }

    /// Takes the next row if it is due by `now`.
    pub(super) fn take(&mut self, now: Nanos) -> Result<Option<(Nanos, Row)>, CaseError> {
        match self.next_due()? {
            Some(at) if at <= now => Ok(self.due.pop().map(|Reverse(due)| (due.at, due.row))),
            _ => Ok(None),
        }
    }

    fn push(due: &mut BinaryHeap<Reverse<Due>>, order: &mut u64, at: Nanos, row: Row) {
        *order += 1;
        due.push(Reverse(Due {
            at,
            order: *order,
            row,
        }));
    }

    fn read(&mut self, slice: Window) -> Result<(), CaseError> {
        let (due, order) = (&mut self.due, &mut self.order);
        self.rows.spans(slice, &mut |span| {
            if slice.contains(span.start) {
                Self::push(
                    due,
                    order,
                    span.end.max(span.start),
                    Row::Span(Box::new(span)),
                );
            }
            ControlFlow::Continue(())
        })?;
        self.rows.logs(slice, &mut |record| {
            if record.at().0 != 0 && slice.contains(record.at()) {
                Self::push(due, order, record.at(), Row::Log(Box::new(record)));
            }
            ControlFlow::Continue(())
        })?;
        self.rows.metrics(slice, &mut |point| {
            if point.at.0 != 0 && slice.contains(point.at) {
                Self::push(due, order, point.at, Row::Point(Box::new(point)));
            }
            ControlFlow::Continue(())
        })?;
        self.read_until = slice.until;
        Ok(())
    }

    /// Log records and points that give no time.
    fn read_undated(&mut self, first: Nanos) -> Result<(), CaseError> {
        if !self.window.contains(Nanos(0)) {
            return Ok(());
        }
        let window = Window {
            from: Nanos(0),
            until: Nanos(1),
        };
        let (due, order) = (&mut self.due, &mut self.order);
        self.rows.logs(window, &mut |record| {
            if record.at().0 == 0 {
                Self::push(due, order, first, Row::Log(Box::new(record)));
            }
            ControlFlow::Continue(())
        })?;
        self.rows.metrics(window, &mut |point| {
            if point.at.0 == 0 {
                Self::push(due, order, first, Row::Point(Box::new(point)));
            }
            ControlFlow::Continue(())
        })
    }
}
