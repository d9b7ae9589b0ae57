//! What was seen in one window: spans, log lines and series of metrics, cut down to what ranking needs.
//!
//! The only way in for signals, whether they come from a case or stand in memory. Nothing is judged here.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use case::model::{
    Attributes, LogRecord, MetricPoint, PointData, Span, SpanKind, Temporality, Value,
};
use case::{Case, CaseError, Nanos, SpanId, SpanTable, TraceId, Window};

use super::template;
use crate::callee::Target;
use crate::names::{Name, Names};

/// More is left out and said to be: a window of a minute or an hour has less.
const MOST_SPANS: usize = 4_000_000;
const MOST_LINES: usize = 2_000_000;
const MOST_SERIES: usize = 50_000;
const MOST_POINTS: usize = 20_000;
/// How long before the incident metrics still say what is usual.
pub const HISTORY: u64 = 3600 * 1_000_000_000;

/// From when on metrics say what is usual: the baseline, and the hour before the incident.
pub fn history(baseline: Window, incident: Window) -> Window {
    let hour_before = incident.from.saturating_sub(HISTORY);
    if baseline.from > incident.from {
        return baseline;
    }
    Window {
        from: baseline.from.min(hour_before),
        until: incident.from,
    }
}

/// A log line.
#[derive(Debug, Clone)]
pub struct Line {
    pub at: Nanos,
    pub trace: TraceId,
    pub span: SpanId,
    pub service: Name,
    pub template: Name,
    pub trouble: bool,
}

/// What one series of a metric is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeriesId {
    pub service: Name,
    pub instance: Name,
    pub metric: Name,
    /// `key=value`, sorted.
    pub attributes: Name,
}

/// What was seen in a window.
#[derive(Debug, Default)]
pub struct Sight {
    pub window: Window,
    pub table: SpanTable,
    /// Of each row of the table.
    pub instance: Vec<Name>,
    pub version: Vec<Name>,
    /// The store, broker or address a client span names.
    pub target: Vec<Option<Name>>,
    pub lines: Vec<Line>,
    pub series: BTreeMap<SeriesId, Vec<(Nanos, f64)>>,
    /// Who calls whom, where that is declared rather than seen.
    pub calls: BTreeSet<(Name, Name)>,
    /// Signals beyond what is kept.
    pub left_out: u64,
    names: Names,
}

impl Sight {
    pub fn new(window: Window) -> Sight {
        Sight {
            window,
            ..Sight::default()
        }
    }

    /// Gathers a window of a case, its metrics from another if that is given.
    pub fn gather(
        case: &Case,
        window: Window,
        metrics: Option<Window>,
    ) -> Result<Sight, CaseError> {
        let mut sight = Sight::new(window);
        case.spans(window, &mut |span| {
            sight.take_span(&span);
            ControlFlow::Continue(())
        })?;
        case.logs(window, &mut |log| {
            sight.take_log(&log);
            ControlFlow::Continue(())
        })?;
        case.metrics(metrics.unwrap_or(window), &mut |point| {
            sight.take_metric(&point);
            ControlFlow::Continue(())
        })?;
        Ok(sight)
    }

    pub fn take_span(&mut self, span: &Span) {
        if self.table.len() >= MOST_SPANS {
            self.left_out += 1;
            return;
        }
        self.table.push(span);
        let resource = &span.origin.resource;
        self.instance.push(self.names.of(resource.instance()));
        let version = resource.attributes.text("service.version").unwrap_or("");
        self.version.push(self.names.of(version));
        let target = match span.kind {
            SpanKind::Client | SpanKind::Producer => match Target::of(span) {
                Target::Store { system, name } if name.is_empty() => Some(system),
                Target::Store { system, name } => Some(format!("{system} {name}")),
                Target::Broker { system, .. } => Some(system),
                Target::Named(name) => Some(name),
                Target::Address(_) | Target::Unknown => None,
            },
            _ => None,
        };
        self.target.push(target.map(|text| self.names.of(&text)));
    }

    pub fn take_log(&mut self, log: &LogRecord) {
        if self.lines.len() >= MOST_LINES {
            self.left_out += 1;
            return;
        }
        let shown;
        let text = match &log.body {
            Value::Text(text) => text.as_str(),
            Value::Empty => log.event_name.as_str(),
            other => {
                shown = other.to_string();
                &shown
            }
        };
        let template = template::of(text, log.severity_number, &log.severity_text);
        self.lines.push(Line {
            at: log.at(),
            trace: log.trace_id,
            span: log.span_id,
            service: self.names.of(log.origin.resource.service()),
            template: self.names.of(&template.text),
            trouble: template.trouble,
        });
    }

    pub fn take_metric(&mut self, point: &MetricPoint) {
        let Some(value) = value_of(point) else {
            return;
        };
        let id = SeriesId {
            service: self.names.of(point.origin.resource.service()),
            instance: self.names.of(point.origin.resource.instance()),
            metric: self.names.of(&point.name),
            attributes: self.names.of(&spelt(&point.attributes)),
        };
        if !self.series.contains_key(&id) && self.series.len() >= MOST_SERIES {
            self.left_out += 1;
            return;
        }
        let points = self.series.entry(id).or_default();
        if points.len() < MOST_POINTS {
            points.push((point.at, value));
        } else {
            self.left_out += 1;
        }
    }

    /// Declares that one service calls another.
    pub fn take_call(&mut self, caller: &str, callee: &str) {
        let call = (self.names.of(caller), self.names.of(callee));
        self.calls.insert(call);
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(value) => Some(*value as f64),
        Value::Double(value) => Some(*value),
        _ => None,
    }
    .filter(|value| value.is_finite())
}

/// Only what stands for a state or for what happened since the last point; running totals say nothing by themselves.
fn value_of(point: &MetricPoint) -> Option<f64> {
    match &point.data {
        PointData::Gauge(value) => number(value),
        PointData::Sum {
            value,
            temporality,
            monotonic,
        } => number(value).filter(|_| !monotonic || *temporality == Temporality::Delta),
        _ => None,
    }
}

fn spelt(attributes: &Attributes) -> String {
    let mut pairs: Vec<String> = attributes
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.sort_unstable();
    pairs.join(" ")
}
