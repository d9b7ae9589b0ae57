//! What a metric point measures, and its exemplars, as JSON in a cell: written here, read back by the importer.

use ::case::model::{Attributes, Buckets, Exemplar, PointData, Quantile, Temporality, Value};
use ::case::{Nanos, SpanId, TraceId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A double; those that JSON has no word for are texts.
#[derive(Debug, Clone, Copy)]
struct Number(f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_finite() {
            serializer.serialize_f64(self.0)
        } else {
            serializer.collect_str(&Value::Double(self.0))
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Number, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(f64),
            Text(String),
        }
        match Either::deserialize(deserializer)? {
            Either::Number(number) => Ok(Number(number)),
            Either::Text(text) => text
                .parse()
                .map(Number)
                .map_err(|_| serde::de::Error::custom(format!("{text:?} is no number"))),
        }
    }
}

/// An integer or a double, told apart.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Measured {
    Int(i64),
    Double(Number),
}

impl Measured {
    fn of(value: &Value) -> Option<Measured> {
        match value {
            Value::Int(value) => Some(Measured::Int(*value)),
            Value::Double(value) => Some(Measured::Double(Number(*value))),
            _ => None,
        }
    }

    fn value(one: Option<Measured>) -> Value {
        match one {
            Some(Measured::Int(value)) => Value::Int(value),
            Some(Measured::Double(Number(value))) => Value::Double(value),
            None => Value::Empty,
        }
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DataCell {
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Measured>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temporality: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    monotonic: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sum: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bounds: Option<Vec<Number>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<Vec<u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scale: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zero_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zero_threshold: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    positive: Option<BucketsCell>,
    #[serde(skip_serializing_if = "Option::is_none")]
    negative: Option<BucketsCell>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quantiles: Option<Vec<(Number, Number)>>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct BucketsCell {
    offset: i32,
    counts: Vec<u64>,
}

impl From<&Buckets> for BucketsCell {
    fn from(buckets: &Buckets) -> BucketsCell {
        BucketsCell {
            offset: buckets.offset,
            counts: buckets.counts.clone(),
        }
    }
}

impl From<BucketsCell> for Buckets {
    fn from(cell: BucketsCell) -> Buckets {
        Buckets {
            offset: cell.offset,
            counts: cell.counts,
        }
    }
}

impl From<&PointData> for DataCell {
    fn from(data: &PointData) -> DataCell {
        let mut cell = DataCell::default();
        match data {
            PointData::Gauge(value) => cell.value = Measured::of(value),
            PointData::Sum {
                value,
                temporality,
                monotonic,
            } => {
                cell.value = Measured::of(value);
                cell.temporality = Some(temporality.number());
                cell.monotonic = Some(*monotonic);
            }
            PointData::Histogram {
                temporality,
                count,
                sum,
                min,
                max,
                bounds,
                counts,
            } => {
                cell.temporality = Some(temporality.number());
                cell.count = Some(*count);
                (cell.sum, cell.min, cell.max) =
                    (sum.map(Number), min.map(Number), max.map(Number));
                cell.bounds = Some(bounds.iter().copied().map(Number).collect());
                cell.counts = Some(counts.clone());
            }
            PointData::ExponentialHistogram {
                temporality,
                count,
                sum,
                min,
                max,
                scale,
                zero_count,
                zero_threshold,
                positive,
                negative,
            } => {
                cell.temporality = Some(temporality.number());
                cell.count = Some(*count);
                (cell.sum, cell.min, cell.max) =
                    (sum.map(Number), min.map(Number), max.map(Number));
                cell.scale = Some(*scale);
                cell.zero_count = Some(*zero_count);
                cell.zero_threshold = Some(Number(*zero_threshold));
                cell.positive = Some(positive.into());
                cell.negative = Some(negative.into());
            }
            PointData::Summary {
                count,
                sum,
                quantiles,
            } => {
                cell.count = Some(*count);
                cell.sum = Some(Number(*sum));
                cell.quantiles = Some(
                    quantiles
                        .iter()
                        .map(|q| (Number(q.quantile), Number(q.value)))
                        .collect(),
                );
            }
        }
        cell
    }
}

impl DataCell {
    pub(super) fn to_json(&self) -> String {
        // Writing into memory can't fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The data of a point whose type is `kind`.
    pub(crate) fn into_data(self, kind: &str) -> Result<PointData, String> {
        let temporality = Temporality::from_number(u64::from(self.temporality.unwrap_or(0)));
        let double = |number: Option<Number>| number.map(|number| number.0);
        Ok(match kind {
            "gauge" => PointData::Gauge(Measured::value(self.value)),
            "sum" => PointData::Sum {
                value: Measured::value(self.value),
                temporality,
                monotonic: self.monotonic.unwrap_or(false),
            },
            "histogram" => PointData::Histogram {
                temporality,
                count: self.count.unwrap_or(0),
                sum: double(self.sum),
                min: double(self.min),
                max: double(self.max),
                bounds: self
                    .bounds
                    .unwrap_or_default()
                    .into_iter()
                    .map(|number| number.0)
                    .collect(),
                counts: self.counts.unwrap_or_default(),
            },
            "exponential_histogram" => PointData::ExponentialHistogram {
                temporality,
                count: self.count.unwrap_or(0),
                sum: double(self.sum),
                min: double(self.min),
                max: double(self.max),
                scale: self.scale.unwrap_or(0),
                zero_count: self.zero_count.unwrap_or(0),
                zero_threshold: double(self.zero_threshold).unwrap_or(0.0),
                positive: self.positive.unwrap_or_default().into(),
                negative: self.negative.unwrap_or_default().into(),
            },
            "summary" => PointData::Summary {
                count: self.count.unwrap_or(0),
                sum: double(self.sum).unwrap_or(0.0),
                quantiles: self
                    .quantiles
                    .unwrap_or_default()
                    .into_iter()
                    .map(|(quantile, value)| Quantile {
                        quantile: quantile.0,
                        value: value.0,
                    })
                    .collect(),
            },
            other => return Err(format!("{other:?} is no type of point")),
        })
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ExemplarCell {
    time_unix_nano: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<Measured>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace_id: Option<TraceId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    span_id: Option<SpanId>,
}

impl From<&Exemplar> for ExemplarCell {
    fn from(exemplar: &Exemplar) -> ExemplarCell {
        ExemplarCell {
            time_unix_nano: exemplar.at.0,
            value: Measured::of(&exemplar.value),
            trace_id: exemplar.trace_id.is_some().then_some(exemplar.trace_id),
            span_id: exemplar.span_id.is_some().then_some(exemplar.span_id),
        }
    }
}

impl ExemplarCell {
    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(crate) fn into_exemplar(self) -> Result<Exemplar, String> {
        Ok(Exemplar {
            at: Nanos(self.time_unix_nano),
            value: Measured::value(self.value),
            trace_id: self.trace_id.unwrap_or_default(),
            span_id: self.span_id.unwrap_or_default(),
            attributes: Attributes::default(),
        })
    }
}
