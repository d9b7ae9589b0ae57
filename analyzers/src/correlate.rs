//! What belongs together across kinds of signal: logs with spans, metrics with spans, journals and ledgers with orders,
//! registry rows with instances. What could not be brought together is counted, with why.

use std::collections::{BTreeMap, BTreeSet};

use case::model::{LogRecord, MetricPoint, Span, Value};
use case::signal::{JournalRecord, LedgerRow, ProbeResult, RegistryEvent};
use case::{SpanId, TraceId};
use serde::Serialize;

/// How many signals of one kind were brought together, and how.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Tally {
    pub total: u64,
    /// By how they were, in the order of texts.
    pub with: BTreeMap<&'static str, u64>,
    /// By why they were not.
    pub without: BTreeMap<&'static str, u64>,
}

impl Tally {
    fn with(&mut self, how: &'static str) {
        self.total += 1;
        *self.with.entry(how).or_default() += 1;
    }

    fn without(&mut self, why: &'static str) {
        self.total += 1;
        *self.without.entry(why).or_default() += 1;
    }
}

/// Every kind of signal but spans, which the others are held against.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Correlation {
    pub logs: Tally,
    pub metrics: Tally,
    pub exemplars: Tally,
    pub journal: Tally,
    pub ledger: Tally,
    pub registry: Tally,
    pub probes: Tally,
}

/// What spans can be held against: ids, orders, services, instances. Spans come first, then the rest.
#[derive(Debug, Default)]
pub struct Correlator {
    /// Trace and span folded into one number: some eight bytes a span, and a chance of one in billions to be wrong.
    spans: Vec<u64>,
    traces: BTreeSet<TraceId>,
    orders: BTreeSet<String>,
    sagas: BTreeSet<String>,
    services: BTreeSet<String>,
    instances: BTreeSet<String>,
    out: Correlation,
}

/// Names of an order's id, as senders spell it.
const ORDER_KEYS: [&str; 5] = [
    "shop.order.id",
    "order_id",
    "order.id",
    "orderId",
    "app.order.id",
];
const SAGA_KEYS: [&str; 4] = ["shop.saga.id", "saga_id", "saga.id", "sagaId"];
/// Ids remembered at most of each kind.
const MOST_IDS: usize = 2_000_000;

fn folded(trace: TraceId, span: SpanId) -> u64 {
    let half = |bytes: &[u8]| {
        let number = bytes
            .iter()
            .fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    };
    let (high, low) = trace.0.split_at(8);
    let trace = half(high).rotate_left(23) ^ half(low);
    trace.wrapping_mul(0xd6e8_feb8_6659_fd93) ^ u64::from_be_bytes(span.0)
}

/// The order a signal is about, if its attributes name one.
pub fn order_of(attributes: &case::model::Attributes) -> Option<&str> {
    first(attributes, &ORDER_KEYS)
}

/// The saga a signal is about.
pub fn saga_of(attributes: &case::model::Attributes) -> Option<&str> {
    first(attributes, &SAGA_KEYS)
}

fn first<'a>(attributes: &'a case::model::Attributes, keys: &[&str]) -> Option<&'a str> {
    keys.iter()
        .find_map(|key| attributes.get(key))
        .and_then(Value::as_text)
        .filter(|text| !text.is_empty())
}

fn keep(set: &mut BTreeSet<String>, text: &str) {
    if !text.is_empty() && set.len() < MOST_IDS && !set.contains(text) {
        set.insert(text.to_owned());
    }
}

impl Correlator {
    pub fn take_span(&mut self, span: &Span) {
        self.spans.push(folded(span.trace_id, span.span_id));
        self.traces.insert(span.trace_id);
        let resource = &span.origin.resource;
        keep(&mut self.services, resource.service());
        keep(&mut self.instances, resource.instance());
        if let Some(order) = order_of(&span.attributes) {
            keep(&mut self.orders, order);
        }
        if let Some(saga) = saga_of(&span.attributes) {
            keep(&mut self.sagas, saga);
        }
    }

    /// All spans have come; the rest may follow, in any order.
    pub fn spans_done(&mut self) {
        self.spans.sort_unstable();
        self.spans.dedup();
    }

    fn has_span(&self, trace: TraceId, span: SpanId) -> bool {
        self.spans.binary_search(&folded(trace, span)).is_ok()
    }

    pub fn take_log(&mut self, log: &LogRecord) {
        let service = log.origin.resource.service();
        let tally = &mut self.out.logs;
        if !log.trace_id.is_some() {
            match order_of(&log.attributes).or_else(|| saga_of(&log.attributes)) {
                Some(order) if self.orders.contains(order) || self.sagas.contains(order) => {
                    tally.with("an order or saga");
                }
                _ if self.services.contains(service) => tally.with("a service and a time"),
                _ => tally.without("no trace id, and its service left no spans"),
            }
        } else if self
            .spans
            .binary_search(&folded(log.trace_id, log.span_id))
            .is_ok()
        {
            tally.with("a span");
        } else if self.traces.contains(&log.trace_id) {
            // The trace is known, the span is not: lost, unfinished or of another process.
            tally.with("a trace whose span is missing");
        } else {
            tally.without("its trace is not in the window");
        }
    }

    pub fn take_metric(&mut self, point: &MetricPoint) {
        let known = self.services.contains(point.origin.resource.service());
        let mut linked = false;
        for exemplar in &point.exemplars {
            if self.has_span(exemplar.trace_id, exemplar.span_id) {
                linked = true;
                self.out.exemplars.with("a span");
            } else if !exemplar.trace_id.is_some() {
                self.out.exemplars.without("no trace id");
            } else {
                self.out.exemplars.without("its span is not in the window");
            }
        }
        let tally = &mut self.out.metrics;
        if linked {
            tally.with("a span, by exemplar");
        } else if known {
            tally.with("a service and a time");
        } else {
            tally.without("its service left no spans");
        }
    }

    pub fn take_journal(&mut self, record: &JournalRecord) {
        let trace = record.trace_id.as_ref().and_then(|id| id.parse().ok());
        let order = record.order_id.as_deref().unwrap_or("");
        keep(&mut self.sagas, &record.saga_id);
        let in_traces = trace.is_some_and(|trace| self.traces.contains(&trace));
        let of_spans = self.orders.contains(order);
        let tally = &mut self.out.journal;
        if in_traces {
            tally.with("a trace");
        } else if of_spans {
            tally.with("an order");
        } else if trace.is_some() {
            tally.without("its trace is not in the window");
        } else {
            tally.without("no trace id, and no span names its order");
        }
        keep(&mut self.orders, order);
    }

    pub fn take_ledger(&mut self, row: &LedgerRow) {
        let tally = &mut self.out.ledger;
        match row.order_id.as_deref().filter(|order| !order.is_empty()) {
            Some(order) if self.orders.contains(order) => tally.with("an order"),
            Some(_) => tally.without("no span or journal record names its order"),
            None => match named_saga(row) {
                Some(saga) if self.sagas.contains(saga) => tally.with("a saga, by its key"),
                _ => tally.without("it names no order (stock, and the like)"),
            },
        }
    }

    pub fn take_registry(&mut self, event: &RegistryEvent) {
        let tally = &mut self.out.registry;
        if event.id.is_empty() {
            tally.without("it names no instance");
        } else if self.instances.contains(&event.id) {
            tally.with("an instance that sent spans");
        } else {
            tally.without("its instance sent no spans");
        }
    }

    pub fn take_probe(&mut self, probe: &ProbeResult) {
        let tally = &mut self.out.probes;
        match &probe.instance {
            Some(instance) if self.instances.contains(instance) => {
                tally.with("an instance that sent spans");
            }
            Some(_) => tally.without("its instance sent no spans"),
            None => tally.without("it names no instance"),
        }
    }

    pub fn settle(self) -> Correlation {
        self.out
    }
}

/// The saga within an idempotency key such as `saga:ID:payment:ORDER`.
fn named_saga(row: &LedgerRow) -> Option<&str> {
    let (_, key) = row.key.split_once("saga:")?;
    key.split(':').next()
}

#[cfg(test)]
mod tests {
    use case::Nanos;
    use case::model::{Attributes, Exemplar, Origin, PointData, Resource};

    use super::*;

    fn origin(service: &str) -> Origin {
        let mut resource = Resource::default();
        for key in ["service.name", "service.instance.id"] {
            resource.attributes.push(key, Value::Text(service.into()));
        }
        Origin {
            resource: resource.into(),
            ..Origin::default()
        }
    }

    fn correlator() -> Correlator {
        let mut correlator = Correlator::default();
        correlator.take_span(&Span {
            origin: origin("pay"),
            trace_id: TraceId([1; 16]),
            span_id: SpanId([1; 8]),
            attributes: Attributes(vec![("shop.order.id".into(), Value::Text("o1".into()))]),
            ..Span::default()
        });
        correlator.spans_done();
        correlator
    }

    fn log(service: &str, trace: u8, span: u8, order: &str) -> LogRecord {
        LogRecord {
            origin: origin(service),
            trace_id: TraceId([trace; 16]),
            span_id: SpanId([span; 8]),
            attributes: Attributes(vec![("order_id".into(), Value::Text(order.into()))]),
            ..LogRecord::default()
        }
    }

    #[test]
    fn logs_are_counted_by_what_ties_them() {
        let mut correlator = correlator();
        for log in [
            log("pay", 1, 1, ""),
            log("pay", 1, 9, ""),
            log("pay", 7, 1, ""),
            log("x", 0, 0, "o1"),
            log("pay", 0, 0, "o2"),
            log("x", 0, 0, ""),
        ] {
            correlator.take_log(&log);
        }
        let logs = correlator.settle().logs;
        assert_eq!(
            logs.with,
            BTreeMap::from([
                ("a service and a time", 1),
                ("a span", 1),
                ("a trace whose span is missing", 1),
                ("an order or saga", 1),
            ])
        );
        assert_eq!(
            logs.without,
            BTreeMap::from([
                ("its trace is not in the window", 1),
                ("no trace id, and its service left no spans", 1)
            ])
        );
        assert_eq!(logs.total, 6);
    }

    #[test]
    fn metrics_by_exemplar_then_by_service() {
        let mut correlator = correlator();
        let point = |service: &str, exemplar: Option<u8>| MetricPoint {
            origin: origin(service),
            name: "m".into(),
            description: String::new(),
            unit: String::new(),
            metadata: Attributes::default(),
            attributes: Attributes::default(),
            start: Nanos(0),
            at: Nanos(1),
            flags: 0,
            data: PointData::Gauge(Value::Int(1)),
            exemplars: exemplar
                .map(|id| Exemplar {
                    trace_id: TraceId([id; 16]),
                    span_id: SpanId([id; 8]),
                    ..Exemplar::default()
                })
                .into_iter()
                .collect(),
        };
        for point in [
            point("pay", Some(1)),
            point("pay", Some(2)),
            point("pay", None),
            point("x", Some(0)),
        ] {
            correlator.take_metric(&point);
        }
        let out = correlator.settle();
        assert_eq!(out.metrics.with["a span, by exemplar"], 1);
        assert_eq!(out.metrics.with["a service and a time"], 2);
        assert_eq!(out.metrics.without["its service left no spans"], 1);
        assert_eq!(
            (out.exemplars.total, out.exemplars.without["no trace id"]),
            (3, 1)
        );
    }

    #[test]
    fn journals_and_ledgers_by_trace_order_and_saga() {
        let mut correlator = correlator();
        let record = |trace: Option<&str>, order: &str| JournalRecord {
            at: Nanos(0),
            seen_at: Nanos(0),
            source: String::new(),
            kind: "saga".into(),
            saga_id: "s1".into(),
            seq: None,
            order_id: Some(order.into()),
            trace_id: trace.map(str::to_owned),
            fields: serde_json::Value::Null,
        };
        let trace = "01".repeat(16);
        correlator.take_journal(&record(Some(&trace), "o5"));
        correlator.take_journal(&record(None, "o1"));
        correlator.take_journal(&record(None, "o9"));
        let row = |key: &str, order: Option<&str>| LedgerRow {
            at: Nanos(0),
            source: String::new(),
            ledger: "x".into(),
            key: key.into(),
            order_id: order.map(str::to_owned),
            fields: serde_json::Value::Null,
        };
        correlator.take_ledger(&row("a", Some("o5")));
        correlator.take_ledger(&row("a", Some("nobody's")));
        correlator.take_ledger(&row("pay/saga:s1:payment:o1", None));
        correlator.take_ledger(&row("laptop", None));
        let out = correlator.settle();
        assert_eq!(
            out.journal.with,
            BTreeMap::from([("a trace", 1), ("an order", 1)])
        );
        assert_eq!(out.journal.total, 3);
        assert_eq!(
            out.ledger.with,
            BTreeMap::from([("a saga, by its key", 1), ("an order", 1)])
        );
        assert_eq!(out.ledger.total, 4);
    }
}
