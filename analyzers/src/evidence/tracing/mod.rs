//! Trace context as it went through a system: all spans, log lines and own counts in compact rows, gathered in one pass
//! each and settled once. The rules on propagation, span relations and log correlation look at the tables made here and
//! at nothing else; causes are theirs to tell apart.

pub mod blame;
pub mod counts;
pub mod edges;
pub mod growing;
pub mod headers;
#[cfg(test)]
pub(crate) mod kit;
pub mod lines;
pub mod rows;
pub mod shape;
pub mod tell;
pub mod words;

use case::model::{LogRecord, MetricPoint, Span};

use super::{Basis, Domain, Intake};

pub use blame::{Blame, Scope, Side};
pub use counts::{Counts, What};
pub use edges::{Edges, Pair};
pub use lines::{Fault, LineTable, Lines};
pub use rows::{Rows, Transport, Who};
pub use shape::{Aspect, Seen, Shape};

/// What is known of trace context in a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Tracing {
    pub rows: Rows,
    pub lines: Lines,
    pub counts: Counts,
    /// Filled in by `settle`, as everything below.
    pub served: Vec<bool>,
    pub edges: Edges,
    pub shape: Shape,
    pub table: LineTable,
    /// Whom torn calls have in common.
    pub blames: Vec<Blame>,
}

impl Default for Tracing {
    fn default() -> Tracing {
        Tracing {
            rows: Rows::new(),
            lines: Lines::new(),
            counts: Counts::default(),
            served: Vec::new(),
            edges: Edges::default(),
            shape: Shape::default(),
            table: LineTable::default(),
            blames: Vec::new(),
        }
    }
}

impl Domain for Tracing {
    fn take_span(&mut self, span: &Span, _: &mut Intake<'_>) {
        self.rows.take(span);
    }

    fn take_log(&mut self, record: &LogRecord, _: &mut Intake<'_>) {
        let who = self.rows.who(&record.origin.resource);
        self.lines.take(who, record);
    }

    fn take_metric(&mut self, point: &MetricPoint, _: &mut Intake<'_>) {
        let who = self.rows.who(&point.origin.resource);
        self.counts.take(who, point);
    }

    fn settle(&mut self, _: &Basis) {
        self.rows.settle();
        let became = std::mem::take(&mut self.rows.peers_became);
        self.counts.settle(&became);
        self.served = edges::served(&self.rows);
        self.edges = edges::edges(&self.rows, &self.served);
        self.shape = shape::shape(&self.rows, &self.served);
        self.table = self.lines.settle(&became, &self.rows);
        self.blames = blame::blame(&self.rows, &self.edges, &self.shape, &self.table);
    }
}
