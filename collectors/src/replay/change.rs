//! What happens to rows before they are sent again: one constant added to every time, ids renewed everywhere at once.

use case::model::{Exemplar, LogRecord, MetricPoint, Span, SpanLink};
use case::{Nanos, SpanId, TraceId};

use super::renew::Renewal;

/// A change of rows. The default changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Change {
    /// Nanoseconds added to every time that is given; 0 means "not given" in OTLP and stays.
    pub shift: i128,
    pub renewal: Option<Renewal>,
}

impl Change {
    /// Whether every time up to `last`, and from `first` on, still is one after the change.
    pub fn fits(&self, first: Nanos, last: Nanos) -> bool {
        let moved = |at: Nanos| i128::from(at.0) + self.shift;
        moved(first) > 0 && moved(last) <= i128::from(u64::MAX)
    }

    pub fn time(&self, at: Nanos) -> Nanos {
        if at.0 == 0 {
            return at;
        }
        self.moved(at)
    }

    fn moved(&self, at: Nanos) -> Nanos {
        let moved = (i128::from(at.0) + self.shift).clamp(0, i128::from(u64::MAX));
        Nanos(u64::try_from(moved).unwrap_or(u64::MAX))
    }

    fn trace_id(&self, id: TraceId) -> TraceId {
        self.renewal.map_or(id, |renewal| renewal.trace_id(id))
    }

    fn span_id(&self, trace: TraceId, id: SpanId) -> SpanId {
        self.renewal
            .map_or(id, |renewal| renewal.span_id(trace, id))
    }

    pub fn span(&self, mut span: Span) -> Span {
        // A span's times belong together: one that begins at 0 really does, or its length would change.
        span.start = self.moved(span.start);
        span.end = self.moved(span.end);
        for event in &mut span.events {
            event.at = self.time(event.at);
        }
        for link in &mut span.links {
            self.link(link);
        }
        let trace = span.trace_id;
        span.trace_id = self.trace_id(trace);
        span.span_id = self.span_id(trace, span.span_id);
        span.parent_span_id = self.span_id(trace, span.parent_span_id);
        span
    }

    fn link(&self, link: &mut SpanLink) {
        link.span_id = self.span_id(link.trace_id, link.span_id);
        link.trace_id = self.trace_id(link.trace_id);
    }

    pub fn log(&self, mut record: LogRecord) -> LogRecord {
        record.time = self.time(record.time);
        record.observed = self.time(record.observed);
        record.span_id = self.span_id(record.trace_id, record.span_id);
        record.trace_id = self.trace_id(record.trace_id);
        record
    }

    pub fn point(&self, mut point: MetricPoint) -> MetricPoint {
        point.start = self.time(point.start);
        point.at = self.time(point.at);
        for exemplar in &mut point.exemplars {
            self.exemplar(exemplar);
        }
        point
    }

    fn exemplar(&self, exemplar: &mut Exemplar) {
        exemplar.at = self.time(exemplar.at);
        exemplar.span_id = self.span_id(exemplar.trace_id, exemplar.span_id);
        exemplar.trace_id = self.trace_id(exemplar.trace_id);
    }
}
