//! Whole metric points.

use std::ops::ControlFlow;

use super::origin::{OriginCache, OriginCursor};
use crate::CaseError;
use crate::ids::{SpanId, TraceId};
use crate::manifest::Content;
use crate::model::{Buckets, Exemplar, MetricPoint, PointData, Quantile, Temporality, Value};
use crate::segment::read::columns::{ListCursor, ListPage, MapCursor, NestedCursor};
use crate::segment::read::table::TableReader;
use crate::time::{Nanos, Window};

/// Points of the window, in the order of their times.
pub(crate) fn metric_points(
    table: &TableReader,
    content: Content,
    window: Window,
    mut each: impl FnMut(MetricPoint) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, CaseError> {
    let column = |name: &str| table.cursor(name, 0);
    let list = |name: &str| ListCursor::open(table, name);
    let mut at = column("TimeUnix")?;
    let mut name = column("MetricName")?;
    let mut description = column("MetricDescription")?;
    let mut unit = column("MetricUnit")?;
    let mut origin = OriginCursor::open(table)?;
    let mut attributes = MapCursor::open(table, "Attributes", Some("AttributeTypes"))?;
    let mut metadata = MapCursor::open(table, "MetricMetadata", Some("MetricMetadataTypes"))?;
    let mut start = column("StartTimeUnix")?;
    let mut flags = column("Flags")?;
    let mut exemplar_attributes = NestedCursor::open(
        table,
        "Exemplars.FilteredAttributes",
        "Exemplars.FilteredAttributeTypes",
    )?;
    let mut exemplar_at = list("Exemplars.TimeUnix")?;
    let mut exemplar_double = list("Exemplars.Value")?;
    let mut exemplar_int = list("Exemplars.ValueInt")?;
    let mut exemplar_type = list("Exemplars.ValueType")?;
    let mut exemplar_span = list("Exemplars.SpanId")?;
    let mut exemplar_trace = list("Exemplars.TraceId")?;
    let mut data = DataColumns::open(table, content)?;
    let mut cache = OriginCache::default();
    for page in 0..table.pages() {
        let times = at.i64s(page)?;
        let names = name.texts(page)?;
        let descriptions = description.texts(page)?;
        let units = unit.texts(page)?;
        let origins = origin.page(page)?;
        let attributes = attributes.page(page)?;
        let metadata = metadata.page(page)?;
        let starts = start.i64s(page)?;
        let flags = flags.i32s(page)?;
        let exemplars = Exemplars {
            attributes: exemplar_attributes.page(page)?,
            at: exemplar_at.page(page)?,
            double: exemplar_double.page(page)?,
            int: exemplar_int.page(page)?,
            letter: exemplar_type.page(page)?,
            span: exemplar_span.page(page)?,
            trace: exemplar_trace.page(page)?,
        };
        let data = data.page(page)?;
        let rows = times.len();
        if rows != table.page_range(page).len()
            || starts.len() != rows
            || flags.len() != rows
            || !data.holds(rows)
        {
            return Err(table.damaged("a page holds fewer rows than it should"));
        }
        for row in 0..rows {
            let time = Nanos(times[row].cast_unsigned());
            if !window.contains(time) {
                continue;
            }
            let point = MetricPoint {
                origin: origins.origin(row, &mut cache),
                name: names.text(row).into_owned(),
                description: descriptions.text(row).into_owned(),
                unit: units.text(row).into_owned(),
                metadata: metadata.attributes(row),
                attributes: attributes.attributes(row),
                start: Nanos(starts[row].cast_unsigned()),
                at: time,
                flags: flags[row].cast_unsigned(),
                data: data.get(row),
                exemplars: exemplars.of(row),
            };
            if each(point).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}

struct Exemplars {
    attributes: crate::segment::read::NestedPage,
    at: ListPage,
    double: ListPage,
    int: ListPage,
    letter: ListPage,
    span: ListPage,
    trace: ListPage,
}

impl Exemplars {
    fn of(&self, row: usize) -> Vec<Exemplar> {
        self.at
            .range(row)
            .map(|at| Exemplar {
                at: Nanos(self.at.i64(at).cast_unsigned()),
                value: number(self.letter.bytes(at), self.double.f64(at), self.int.i64(at)),
                trace_id: TraceId::from_hex(self.trace.bytes(at)).unwrap_or_default(),
                span_id: SpanId::from_hex(self.span.bytes(at)).unwrap_or_default(),
                attributes: self.attributes.attributes(at),
            })
            .collect()
    }
}

fn number(letter: &[u8], double: f64, int: i64) -> Value {
    match letter {
        b"i" => Value::Int(int),
        b"d" => Value::Double(double),
        _ => Value::Empty,
    }
}

/// The columns that only one type of point has, by name.
struct DataColumns<'a> {
    content: Content,
    doubles: Vec<crate::segment::read::Cursor<'a>>,
    longs: Vec<crate::segment::read::Cursor<'a>>,
    ints: Vec<crate::segment::read::Cursor<'a>>,
    letters: Vec<crate::segment::read::Cursor<'a>>,
    lists: Vec<ListCursor<'a>>,
}

/// One page of them.
struct DataPage {
    content: Content,
    doubles: Vec<Vec<f64>>,
    longs: Vec<Vec<i64>>,
    ints: Vec<Vec<i32>>,
    letters: Vec<crate::segment::read::TextPage>,
    lists: Vec<ListPage>,
}

impl<'a> DataColumns<'a> {
    fn open(table: &'a TableReader, content: Content) -> Result<Self, CaseError> {
        type Names = &'static [&'static str];
        let (doubles, longs, ints, letters, lists): (Names, Names, Names, Names, Names) =
            match content {
                Content::MetricsGauge => (&["Value"], &["ValueInt"], &[], &["ValueType"], &[]),
                Content::MetricsSum => (
                    &["Value"],
                    &["ValueInt"],
                    &["AggregationTemporality", "IsMonotonic"],
                    &["ValueType"],
                    &[],
                ),
                Content::MetricsHistogram => (
                    &["Sum", "Min", "Max"],
                    &["Count"],
                    &["AggregationTemporality", "Present"],
                    &[],
                    &["ExplicitBounds", "BucketCounts"],
                ),
                Content::MetricsExpHistogram => (
                    &["Sum", "Min", "Max", "ZeroThreshold"],
                    &["Count", "ZeroCount"],
                    &[
                        "AggregationTemporality",
                        "Present",
                        "Scale",
                        "PositiveOffset",
                        "NegativeOffset",
                    ],
                    &[],
                    &["PositiveBucketCounts", "NegativeBucketCounts"],
                ),
                _ => (
                    &["Sum"],
                    &["Count"],
                    &[],
                    &[],
                    &["ValueAtQuantiles.Quantile", "ValueAtQuantiles.Value"],
                ),
            };
        let cursors = |names: Names| {
            names
                .iter()
                .map(|name| table.cursor(name, 0))
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(DataColumns {
            content,
            doubles: cursors(doubles)?,
            longs: cursors(longs)?,
            ints: cursors(ints)?,
            letters: cursors(letters)?,
            lists: lists
                .iter()
                .map(|name| ListCursor::open(table, name))
                .collect::<Result<_, _>>()?,
        })
    }

    fn page(&mut self, page: usize) -> Result<DataPage, CaseError> {
        Ok(DataPage {
            content: self.content,
            doubles: self
                .doubles
                .iter_mut()
                .map(|column| column.f64s(page))
                .collect::<Result<_, _>>()?,
            longs: self
                .longs
                .iter_mut()
                .map(|column| column.i64s(page))
                .collect::<Result<_, _>>()?,
            ints: self
                .ints
                .iter_mut()
                .map(|column| column.i32s(page))
                .collect::<Result<_, _>>()?,
            letters: self
                .letters
                .iter_mut()
                .map(|column| column.texts(page))
                .collect::<Result<_, _>>()?,
            lists: self
                .lists
                .iter_mut()
                .map(|column| column.page(page))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl DataPage {
    fn holds(&self, rows: usize) -> bool {
        self.doubles.iter().all(|column| column.len() == rows)
            && self.longs.iter().all(|column| column.len() == rows)
            && self.ints.iter().all(|column| column.len() == rows)
    }

    fn get(&self, row: usize) -> PointData {
        let count = |which: usize| self.longs[which][row].cast_unsigned();
        let temporality = || Temporality::from_number(u64::from(self.ints[0][row].cast_unsigned()));
        let present =
            |which: usize| (self.ints[1][row] >> which & 1 == 1).then(|| self.doubles[which][row]);
        let counts = |list: usize| -> Vec<u64> {
            let list = &self.lists[list];
            list.range(row)
                .map(|at| list.i64(at).cast_unsigned())
                .collect()
        };
        let doubles = |list: usize| -> Vec<f64> {
            let list = &self.lists[list];
            list.range(row).map(|at| list.f64(at)).collect()
        };
        match self.content {
            Content::MetricsGauge => PointData::Gauge(number(
                self.letters[0].get(row),
                self.doubles[0][row],
                self.longs[0][row],
            )),
            Content::MetricsSum => PointData::Sum {
                value: number(
                    self.letters[0].get(row),
                    self.doubles[0][row],
                    self.longs[0][row],
                ),
                temporality: temporality(),
                monotonic: self.ints[1][row] != 0,
            },
            Content::MetricsHistogram => PointData::Histogram {
                temporality: temporality(),
                count: count(0),
                sum: present(0),
                min: present(1),
                max: present(2),
                bounds: doubles(0),
                counts: counts(1),
            },
            Content::MetricsExpHistogram => PointData::ExponentialHistogram {
                temporality: temporality(),
                count: count(0),
                sum: present(0),
                min: present(1),
                max: present(2),
                scale: self.ints[2][row],
                zero_count: count(1),
                zero_threshold: self.doubles[3][row],
                positive: Buckets {
                    offset: self.ints[3][row],
                    counts: counts(0),
                },
                negative: Buckets {
                    offset: self.ints[4][row],
                    counts: counts(1),
                },
            },
            _ => PointData::Summary {
                count: count(0),
                sum: self.doubles[0][row],
                quantiles: doubles(0)
                    .into_iter()
                    .zip(doubles(1))
                    .map(|(quantile, value)| Quantile { quantile, value })
                    .collect(),
            },
        }
    }
}
