//! The metrics files, one for each OTLP type, in the order of their times.

use std::path::Path;

use super::Written;
use super::attributes::{AttributeLists, AttributeTables, list_levels};
use super::intern::Interner;
use super::origins::{Origins, RESOURCE_SCHEMA};
use super::parquet::{Levels, TableFile, Texts, Values};
use super::spans::span_ids;
use crate::CaseError;
use crate::ids::hex_into;
use crate::manifest::Content;
use crate::model::{Exemplar, MetricPoint, PointData, Temporality, Value};
use crate::time::Nanos;

/// Points gathered, one table for each type.
#[derive(Default)]
pub(super) struct MetricTables {
    gauge: MetricTable,
    sum: MetricTable,
    histogram: MetricTable,
    exponential: MetricTable,
    summary: MetricTable,
}

#[derive(Default)]
pub(super) struct MetricTable {
    points: Vec<MetricPoint>,
}

const HEAD: &str = "message metrics {
    required int64 TimeUnix (TIMESTAMP(NANOS,true));
    required binary MetricName (STRING);
    required binary MetricDescription (STRING);
    required binary MetricUnit (STRING);
    {resource}
    required group Attributes (MAP) { repeated group key_value { required binary key (STRING); required binary value (STRING); } }
    required binary AttributeTypes (STRING);
    required group MetricMetadata (MAP) { repeated group key_value { required binary key (STRING); required binary value (STRING); } }
    required binary MetricMetadataTypes (STRING);
    required int64 StartTimeUnix (TIMESTAMP(NANOS,true));
    required int32 Flags (INTEGER(32,false));
    required group Exemplars.FilteredAttributes (LIST) { repeated group list { required group element (MAP) { repeated group key_value { required binary key (STRING); required binary value (STRING); } } } }
    required group Exemplars.FilteredAttributeTypes (LIST) { repeated group list { required binary element (STRING); } }
    required group Exemplars.TimeUnix (LIST) { repeated group list { required int64 element (TIMESTAMP(NANOS,true)); } }
    required group Exemplars.Value (LIST) { repeated group list { required double element; } }
    required group Exemplars.ValueInt (LIST) { repeated group list { required int64 element; } }
    required group Exemplars.ValueType (LIST) { repeated group list { required binary element (STRING); } }
    required group Exemplars.SpanId (LIST) { repeated group list { required binary element (STRING); } }
    required group Exemplars.TraceId (LIST) { repeated group list { required binary element (STRING); } }
";
const NUMBER: &str = "
    required double Value;
    required int64 ValueInt;
    required binary ValueType (STRING);
";
const SUM: &str = "
    required int32 AggregationTemporality;
    required int32 IsMonotonic;
";
const DISTRIBUTION: &str = "
    required int32 AggregationTemporality;
    required int64 Count (INTEGER(64,false));
    required double Sum;
    required double Min;
    required double Max;
    required int32 Present;
";
const HISTOGRAM: &str = "
    required group ExplicitBounds (LIST) { repeated group list { required double element; } }
    required group BucketCounts (LIST) { repeated group list { required int64 element (INTEGER(64,false)); } }
";
const EXPONENTIAL: &str = "
    required int32 Scale;
    required int64 ZeroCount (INTEGER(64,false));
    required double ZeroThreshold;
    required int32 PositiveOffset;
    required group PositiveBucketCounts (LIST) { repeated group list { required int64 element (INTEGER(64,false)); } }
    required int32 NegativeOffset;
    required group NegativeBucketCounts (LIST) { repeated group list { required int64 element (INTEGER(64,false)); } }
";
const SUMMARY: &str = "
    required int64 Count (INTEGER(64,false));
    required double Sum;
    required group ValueAtQuantiles.Quantile (LIST) { repeated group list { required double element; } }
    required group ValueAtQuantiles.Value (LIST) { repeated group list { required double element; } }
";

impl MetricTables {
    pub(super) fn push(&mut self, point: MetricPoint) {
        let table = match &point.data {
            PointData::Gauge(_) => &mut self.gauge,
            PointData::Sum { .. } => &mut self.sum,
            PointData::Histogram { .. } => &mut self.histogram,
            PointData::ExponentialHistogram { .. } => &mut self.exponential,
            PointData::Summary { .. } => &mut self.summary,
        };
        table.points.push(point);
    }

    /// The tables that hold anything.
    pub(super) fn tables(&self) -> impl Iterator<Item = (Content, &MetricTable)> {
        [
            (Content::MetricsGauge, &self.gauge),
            (Content::MetricsSum, &self.sum),
            (Content::MetricsHistogram, &self.histogram),
            (Content::MetricsExpHistogram, &self.exponential),
            (Content::MetricsSummary, &self.summary),
        ]
        .into_iter()
        .filter(|(_, table)| !table.points.is_empty())
    }
}

/// A point's number as columns: as a double, as an integer, and which of them it was.
fn number(value: &Value) -> (f64, i64, &'static [u8]) {
    match value {
        Value::Int(value) => (*value as f64, *value, b"i"),
        Value::Double(value) => (*value, 0, b"d"),
        _ => (0.0, 0, b"e"),
    }
}

fn temporality(data: &PointData) -> Temporality {
    match data {
        PointData::Sum { temporality, .. }
        | PointData::Histogram { temporality, .. }
        | PointData::ExponentialHistogram { temporality, .. } => *temporality,
        _ => Temporality::Unspecified,
    }
}

/// Count, sum, minimum and maximum; a bit each for the last three being there.
fn distribution(data: &PointData) -> (u64, f64, f64, f64, i32) {
    let (count, sum, min, max) = match data {
        PointData::Histogram {
            count,
            sum,
            min,
            max,
            ..
        }
        | PointData::ExponentialHistogram {
            count,
            sum,
            min,
            max,
            ..
        } => (*count, *sum, *min, *max),
        PointData::Summary { count, sum, .. } => (*count, Some(*sum), None, None),
        _ => (0, None, None, None),
    };
    let present =
        i32::from(sum.is_some()) | i32::from(min.is_some()) << 1 | i32::from(max.is_some()) << 2;
    (
        count,
        sum.unwrap_or(0.0),
        min.unwrap_or(0.0),
        max.unwrap_or(0.0),
        present,
    )
}

impl MetricTable {
    pub(super) fn window(&self) -> (Nanos, Nanos) {
        let first = self
            .points
            .iter()
            .map(|point| point.at)
            .min()
            .unwrap_or_default();
        let last = self
            .points
            .iter()
            .map(|point| point.at)
            .max()
            .unwrap_or_default();
        (first, last)
    }

    pub(super) fn write(&self, path: &Path) -> Result<Written, CaseError> {
        let mut order: Vec<&MetricPoint> = self.points.iter().collect();
        order.sort_by(|a, b| (a.at, &a.name).cmp(&(b.at, &b.name)));
        let kind = order.first().map_or("", |point| point.data.kind());
        let schema = HEAD.replace("{resource}", RESOURCE_SCHEMA)
            + &match kind {
                "gauge" => NUMBER.to_owned(),
                "sum" => format!("{NUMBER}{SUM}"),
                "histogram" => format!("{DISTRIBUTION}{HISTOGRAM}"),
                "exponential_histogram" => format!("{DISTRIBUTION}{EXPONENTIAL}"),
                _ => SUMMARY.to_owned(),
            }
            + "}";
        let mut file = Columns {
            file: TableFile::create(path, &schema, order.len())?,
            points: &order,
        };
        file.head()?;
        match kind {
            "gauge" => file.number()?,
            "sum" => file.sum()?,
            "histogram" => file.histogram()?,
            "exponential_histogram" => file.exponential()?,
            _ => file.summary()?,
        }
        file.file.finish()
    }
}

/// Column by column over the points in order.
struct Columns<'a> {
    file: TableFile,
    points: &'a [&'a MetricPoint],
}

impl Columns<'_> {
    fn i32s(&mut self, of: impl Fn(&MetricPoint) -> i32) -> Result<(), CaseError> {
        let values = self.points.iter().map(|point| of(point)).collect();
        self.file.plain(&Values::I32(values))
    }

    fn i64s(&mut self, of: impl Fn(&MetricPoint) -> i64) -> Result<(), CaseError> {
        let values = self.points.iter().map(|point| of(point)).collect();
        self.file.plain(&Values::I64(values))
    }

    fn f64s(&mut self, of: impl Fn(&MetricPoint) -> f64) -> Result<(), CaseError> {
        let values = self.points.iter().map(|point| of(point)).collect();
        self.file.plain(&Values::F64(values))
    }

    fn texts<'p>(
        &mut self,
        texts: impl Iterator<Item = &'p [u8]>,
        levels: &Levels,
    ) -> Result<(), CaseError> {
        let mut table = Interner::default();
        let numbers = texts.map(|text| table.intern(text)).collect();
        self.file.column(
            &Values::Texts(Texts {
                table: &table,
                numbers,
            }),
            levels,
        )
    }

    fn list_of_f64(&mut self, of: impl Fn(&MetricPoint) -> Vec<f64>) -> Result<(), CaseError> {
        let lists: Vec<Vec<f64>> = self.points.iter().map(|point| of(point)).collect();
        let levels = list_levels(lists.iter().map(Vec::len));
        self.file.column(&Values::F64(lists.concat()), &levels)
    }

    fn list_of_counts(&mut self, of: impl Fn(&MetricPoint) -> &[u64]) -> Result<(), CaseError> {
        let levels = list_levels(self.points.iter().map(|point| of(point).len()));
        let values = self
            .points
            .iter()
            .flat_map(|point| of(point))
            .map(|count| count.cast_signed());
        let values = Values::I64(values.collect());
        self.file.column(&values, &levels)
    }

    fn head(&mut self) -> Result<(), CaseError> {
        let points = self.points;
        let flat = Levels::default();
        self.i64s(|point| point.at.0.cast_signed())?;
        self.texts(points.iter().map(|point| point.name.as_bytes()), &flat)?;
        self.texts(
            points.iter().map(|point| point.description.as_bytes()),
            &flat,
        )?;
        self.texts(points.iter().map(|point| point.unit.as_bytes()), &flat)?;
        let mut origins = Origins::default();
        let numbers: Vec<u32> = points
            .iter()
            .map(|point| origins.of_owned(&point.origin))
            .collect();
        origins.write(numbers.into_iter(), &mut self.file)?;
        let (mut attributes, mut tables) = (AttributeLists::default(), AttributeTables::default());
        for point in points {
            attributes.push_owned(&point.attributes, &mut tables);
        }
        attributes.write(0..points.len(), &tables, &mut self.file)?;
        let (mut metadata, mut tables) = (AttributeLists::default(), AttributeTables::default());
        for point in points {
            metadata.push_owned(&point.metadata, &mut tables);
        }
        metadata.write(0..points.len(), &tables, &mut self.file)?;
        self.i64s(|point| point.start.0.cast_signed())?;
        self.i32s(|point| point.flags.cast_signed())?;
        self.exemplars()
    }

    fn exemplars(&mut self) -> Result<(), CaseError> {
        let points = self.points;
        let flat: Vec<&Exemplar> = points.iter().flat_map(|point| &point.exemplars).collect();
        let levels = list_levels(points.iter().map(|point| point.exemplars.len()));
        let (mut lists, mut tables) = (AttributeLists::default(), AttributeTables::default());
        let mut ranges = Vec::new();
        for point in points {
            let from = lists.len();
            for exemplar in &point.exemplars {
                lists.push_owned(&exemplar.attributes, &mut tables);
            }
            ranges.push(from..lists.len());
        }
        lists.write_nested(ranges.into_iter(), &tables, &mut self.file)?;
        let times = flat
            .iter()
            .map(|exemplar| exemplar.at.0.cast_signed())
            .collect();
        self.file.column(&Values::I64(times), &levels)?;
        let doubles = flat
            .iter()
            .map(|exemplar| number(&exemplar.value).0)
            .collect();
        self.file.column(&Values::F64(doubles), &levels)?;
        let integers = flat
            .iter()
            .map(|exemplar| number(&exemplar.value).1)
            .collect();
        self.file.column(&Values::I64(integers), &levels)?;
        self.texts(
            flat.iter().map(|exemplar| number(&exemplar.value).2),
            &levels,
        )?;
        self.file.column(
            &span_ids(flat.iter().map(|exemplar| exemplar.span_id)),
            &levels,
        )?;
        let ids: Vec<Vec<u8>> = flat
            .iter()
            .map(|exemplar| {
                let mut hex = [0; 32];
                hex_into(&exemplar.trace_id.0, &mut hex);
                if exemplar.trace_id.is_some() {
                    hex.to_vec()
                } else {
                    Vec::new()
                }
            })
            .collect();
        self.texts(ids.iter().map(Vec::as_slice), &levels)
    }

    fn number(&mut self) -> Result<(), CaseError> {
        fn value(point: &MetricPoint) -> &Value {
            match &point.data {
                PointData::Gauge(value) | PointData::Sum { value, .. } => value,
                _ => &Value::Empty,
            }
        }
        self.f64s(|point| number(value(point)).0)?;
        self.i64s(|point| number(value(point)).1)?;
        let points = self.points;
        self.texts(
            points.iter().map(|point| number(value(point)).2),
            &Levels::default(),
        )
    }

    fn sum(&mut self) -> Result<(), CaseError> {
        self.number()?;
        self.i32s(|point| i32::from(temporality(&point.data).number()))?;
        self.i32s(|point| {
            i32::from(matches!(
                point.data,
                PointData::Sum {
                    monotonic: true,
                    ..
                }
            ))
        })
    }

    fn distribution(&mut self) -> Result<(), CaseError> {
        self.i32s(|point| i32::from(temporality(&point.data).number()))?;
        self.i64s(|point| distribution(&point.data).0.cast_signed())?;
        self.f64s(|point| distribution(&point.data).1)?;
        self.f64s(|point| distribution(&point.data).2)?;
        self.f64s(|point| distribution(&point.data).3)?;
        self.i32s(|point| distribution(&point.data).4)
    }

    fn histogram(&mut self) -> Result<(), CaseError> {
        self.distribution()?;
        self.list_of_f64(|point| match &point.data {
            PointData::Histogram { bounds, .. } => bounds.clone(),
            _ => Vec::new(),
        })?;
        self.list_of_counts(|point| match &point.data {
            PointData::Histogram { counts, .. } => counts,
            _ => &[],
        })
    }

    fn exponential(&mut self) -> Result<(), CaseError> {
        self.distribution()?;
        macro_rules! of {
            ($field:ident, $default:expr) => {
                |point: &MetricPoint| match &point.data {
                    PointData::ExponentialHistogram { $field, .. } => *$field,
                    _ => $default,
                }
            };
        }
        macro_rules! buckets {
            ($field:ident, $what:ident, $default:expr) => {
                |point: &MetricPoint| match &point.data {
                    PointData::ExponentialHistogram { $field, .. } => $field.$what,
                    _ => $default,
                }
            };
        }
        self.i32s(of!(scale, 0))?;
        self.i64s(|point| of!(zero_count, 0)(point).cast_signed())?;
        self.f64s(of!(zero_threshold, 0.0))?;
        self.i32s(buckets!(positive, offset, 0))?;
        self.list_of_counts(|point| match &point.data {
            PointData::ExponentialHistogram { positive, .. } => &positive.counts,
            _ => &[],
        })?;
        self.i32s(buckets!(negative, offset, 0))?;
        self.list_of_counts(|point| match &point.data {
            PointData::ExponentialHistogram { negative, .. } => &negative.counts,
            _ => &[],
        })
    }

    fn summary(&mut self) -> Result<(), CaseError> {
        self.i64s(|point| distribution(&point.data).0.cast_signed())?;
        self.f64s(|point| distribution(&point.data).1)?;
        let quantiles =
            |point: &MetricPoint, of: fn(&crate::model::Quantile) -> f64| match &point.data {
                PointData::Summary { quantiles, .. } => quantiles.iter().map(of).collect(),
                _ => Vec::new(),
            };
        self.list_of_f64(|point| quantiles(point, |at| at.quantile))?;
        self.list_of_f64(|point| quantiles(point, |at| at.value))
    }
}
