//! A look at a table: segment after segment, then what is still in logs.

use std::collections::VecDeque;
use std::sync::Arc;

use super::cells::CellRef;
use super::live::LiveScan;
use super::segment::SegmentScan;
use super::table::{Table, Want};

/// Walks the rows of a table that may meet the conditions of a plan.
pub(super) struct Scan {
    table: Arc<Table>,
    wants: Arc<Vec<Want>>,
    /// Places of the segments still to come, among those of the manifest.
    segments: VecDeque<usize>,
    live: bool,
    at: At,
    row: i64,
}

enum At {
    Segment(Box<SegmentScan>),
    Live(LiveScan),
    End,
}

impl Scan {
    pub(super) fn new(table: Arc<Table>) -> Scan {
        Scan {
            table,
            wants: Arc::default(),
            segments: VecDeque::new(),
            live: false,
            at: At::End,
            row: 0,
        }
    }

    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    /// Begins anew; `None` means that no row can be wanted.
    pub(super) fn start(&mut self, wants: Option<Vec<Want>>) {
        self.leave();
        self.table.look();
        self.row = 0;
        let any = wants.is_some();
        self.wants = Arc::new(wants.unwrap_or_default());
        self.segments = if any {
            (0..self.table.case.manifest().segments.len()).collect()
        } else {
            VecDeque::new()
        };
        self.live = any;
        self.advance();
    }

    /// Goes to the next row, if there is one.
    pub(super) fn advance(&mut self) {
        let table = Arc::clone(&self.table);
        loop {
            let found = match &mut self.at {
                At::Segment(scan) => scan.advance(&table),
                At::Live(scan) => scan.advance(&table),
                At::End => false,
            };
            if found {
                self.row += 1;
                return;
            }
            self.leave();
            if table.stop.now() {
                return;
            }
            if let Some(segment) = self.segments.pop_front() {
                if let Some(segment) = table.case.manifest().segments.get(segment)
                    && let Some(scan) = SegmentScan::start(&table, segment, &self.wants)
                {
                    self.at = At::Segment(Box::new(scan));
                }
            } else if self.live {
                self.live = false;
                self.at = At::Live(LiveScan::start(&table, &self.wants));
            } else {
                return;
            }
        }
    }

    fn leave(&mut self) {
        if let At::Segment(scan) = &mut self.at {
            scan.finish(&self.table);
        }
        self.at = At::End;
    }

    pub(super) fn is_at_end(&self) -> bool {
        matches!(self.at, At::End)
    }

    pub(super) fn row(&self) -> i64 {
        self.row
    }

    pub(super) fn cell<R>(&mut self, column: usize, sink: impl FnOnce(CellRef<'_>) -> R) -> R {
        match &mut self.at {
            At::Segment(scan) => scan.cell(&self.table, column, sink),
            At::Live(scan) => scan.cell(&self.table, column, sink),
            At::End => sink(CellRef::Null),
        }
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        self.leave();
    }
}
