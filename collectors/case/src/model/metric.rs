//! Metric points of the five OTLP types, with exemplars.

use super::{Attributes, Origin, Value};
use crate::ids::{SpanId, TraceId};
use crate::time::Nanos;

/// One data point together with what its metric says.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricPoint {
    pub origin: Origin,
    pub name: String,
    pub description: String,
    pub unit: String,
    /// The metric's own metadata (not the point's attributes).
    pub metadata: Attributes,
    pub attributes: Attributes,
    pub start: Nanos,
    pub at: Nanos,
    pub flags: u32,
    pub data: PointData,
    pub exemplars: Vec<Exemplar>,
}

/// What a point measures.
#[derive(Debug, Clone, PartialEq)]
pub enum PointData {
    /// `Value::Int`, `Value::Double`, or `Value::Empty` for a point without a value.
    Gauge(Value),
    Sum {
        value: Value,
        temporality: Temporality,
        monotonic: bool,
    },
    Histogram {
        temporality: Temporality,
        count: u64,
        sum: Option<f64>,
        min: Option<f64>,
        max: Option<f64>,
        bounds: Vec<f64>,
        counts: Vec<u64>,
    },
    ExponentialHistogram {
        temporality: Temporality,
        count: u64,
        sum: Option<f64>,
        min: Option<f64>,
        max: Option<f64>,
        scale: i32,
        zero_count: u64,
        zero_threshold: f64,
        positive: Buckets,
        negative: Buckets,
    },
    Summary {
        count: u64,
        sum: f64,
        quantiles: Vec<Quantile>,
    },
}

impl PointData {
    /// gauge, sum, histogram, exponential_histogram or summary.
    pub fn kind(&self) -> &'static str {
        match self {
            PointData::Gauge(_) => "gauge",
            PointData::Sum { .. } => "sum",
            PointData::Histogram { .. } => "histogram",
            PointData::ExponentialHistogram { .. } => "exponential_histogram",
            PointData::Summary { .. } => "summary",
        }
    }
}

/// Buckets of an exponential histogram.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Buckets {
    pub offset: i32,
    pub counts: Vec<u64>,
}

/// One quantile of a summary.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantile {
    pub quantile: f64,
    pub value: f64,
}

/// Whether a sum counts from the start or from the last point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Temporality {
    #[default]
    Unspecified,
    Delta,
    Cumulative,
}

impl Temporality {
    pub const ALL: [Temporality; 3] = [
        Temporality::Unspecified,
        Temporality::Delta,
        Temporality::Cumulative,
    ];

    pub fn from_number(number: u64) -> Temporality {
        usize::try_from(number)
            .ok()
            .and_then(|number| Temporality::ALL.get(number).copied())
            .unwrap_or_default()
    }

    pub fn number(self) -> u8 {
        self as u8
    }
}

/// A measurement that went into a point, with the span it was taken in.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Exemplar {
    pub at: Nanos,
    pub value: Value,
    pub trace_id: TraceId,
    pub span_id: SpanId,
    pub attributes: Attributes,
}
