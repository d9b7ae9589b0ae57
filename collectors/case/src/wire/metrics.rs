//! Metric points in place. Metrics come seldom compared with spans, so points are read into owned rows at once.

use super::any::{KeyValueView, owned};
use super::origin::each_item;
use super::owned::Origins;
use super::proto::{Fields, Raw, WireError, packed_fixed64, packed_varints, zigzag};
use crate::ids::{SpanId, TraceId};
use crate::model::{
    Attributes, Buckets, Exemplar, MetricPoint, Origin, PointData, Quantile, Temporality, Value,
};
use crate::time::Nanos;

/// Why a point that reads well can't be kept.
pub const NO_NAME: &str = "metric without a name";
pub const NO_DATA: &str = "metric of no known type";
pub const BAD_BUCKETS: &str = "histogram whose bucket counts and bounds do not fit";

/// Calls `each` with every point of an `ExportMetricsServiceRequest`, or `refused` with how many points can't be kept
/// and why.
pub fn walk(
    request: &[u8],
    mut each: impl FnMut(MetricPoint),
    mut refused: impl FnMut(u64, &'static str),
) -> Result<(), WireError> {
    let mut origins = Origins::default();
    each_item(request, |view, message| {
        let origin = origins.of(view)?;
        read_metric(message, &origin, &mut each, &mut refused)
    })
}

fn read_metric(
    message: &[u8],
    origin: &Origin,
    each: &mut impl FnMut(MetricPoint),
    refused: &mut impl FnMut(u64, &'static str),
) -> Result<(), WireError> {
    let (mut name, mut description, mut unit) = ("", "", "");
    let mut metadata = Vec::new();
    let mut data = None;
    let mut fields = Fields::new(message);
    while let Some((number, raw)) = fields.step()? {
        match number {
            1 => name = raw.text(&fields)?,
            2 => description = raw.text(&fields)?,
            3 => unit = raw.text(&fields)?,
            5 | 7 | 9 | 10 | 11 => data = Some((number, raw.bytes(&fields)?)),
            12 => metadata.push(KeyValueView::read(raw.bytes(&fields)?)?),
            _ => {}
        }
    }
    let Some((kind, body)) = data else {
        refused(1, NO_DATA);
        return Ok(());
    };
    let metadata = owned(&metadata);
    let mut list = List::read(kind, body)?;
    for point in std::mem::take(&mut list.points) {
        let Some(point) = list.point(point)? else {
            refused(1, BAD_BUCKETS);
            continue;
        };
        if name.is_empty() {
            refused(1, NO_NAME);
            continue;
        }
        each(MetricPoint {
            origin: origin.clone(),
            name: name.to_owned(),
            description: description.to_owned(),
            unit: unit.to_owned(),
            metadata: metadata.clone(),
            attributes: point.attributes,
            start: Nanos(point.start),
            at: Nanos(point.at),
            flags: point.flags,
            data: point.data,
            exemplars: point.exemplars,
        });
    }
    Ok(())
}

/// The body of a `Gauge`, `Sum`, `Histogram`, `ExponentialHistogram` or `Summary`.
struct List<'a> {
    kind: u32,
    points: Vec<&'a [u8]>,
    temporality: Temporality,
    monotonic: bool,
}

#[derive(Default)]
struct Point {
    attributes: Attributes,
    start: u64,
    at: u64,
    flags: u32,
    exemplars: Vec<Exemplar>,
    data: PointData,
}

impl Default for PointData {
    fn default() -> Self {
        PointData::Gauge(Value::Empty)
    }
}

impl<'a> List<'a> {
    fn read(kind: u32, body: &'a [u8]) -> Result<List<'a>, WireError> {
        let mut list = List {
            kind,
            points: Vec::new(),
            temporality: Temporality::Unspecified,
            monotonic: false,
        };
        let mut fields = Fields::new(body);
        while let Some((number, raw)) = fields.step()? {
            match number {
                1 => list.points.push(raw.bytes(&fields)?),
                2 => list.temporality = Temporality::from_number(raw.varint(&fields)?),
                3 => list.monotonic = raw.varint(&fields)? != 0,
                _ => {}
            }
        }
        Ok(list)
    }

    fn point(&self, body: &[u8]) -> Result<Option<Point>, WireError> {
        match self.kind {
            5 | 7 => self.number(body).map(Some),
            9 => self.histogram(body),
            10 => self.exponential(body).map(Some),
            _ => summary(body).map(Some),
        }
    }

    fn number(&self, body: &[u8]) -> Result<Point, WireError> {
        let mut point = Point::default();
        let mut attributes = Vec::new();
        let mut value = Value::Empty;
        let mut fields = Fields::new(body);
        while let Some((number, raw)) = fields.step()? {
            match number {
                2 => point.start = raw.fixed64(&fields)?,
                3 => point.at = raw.fixed64(&fields)?,
                4 => value = Value::Double(raw.double(&fields)?),
                5 => point.exemplars.push(exemplar(raw.bytes(&fields)?)?),
                6 => value = Value::Int(raw.fixed64(&fields)?.cast_signed()),
                7 => attributes.push(KeyValueView::read(raw.bytes(&fields)?)?),
                8 => point.flags = raw.uint32(&fields)?,
                _ => {}
            }
        }
        point.attributes = owned(&attributes);
        point.data = if self.kind == 5 {
            PointData::Gauge(value)
        } else {
            PointData::Sum {
                value,
                temporality: self.temporality,
                monotonic: self.monotonic,
            }
        };
        Ok(point)
    }

    fn histogram(&self, body: &[u8]) -> Result<Option<Point>, WireError> {
        let mut point = Point::default();
        let mut attributes = Vec::new();
        let (mut count, mut sum, mut min, mut max) = (0, None, None, None);
        let (mut bounds, mut counts) = (Vec::new(), Vec::new());
        let mut fields = Fields::new(body);
        while let Some((number, raw)) = fields.step()? {
            match number {
                2 => point.start = raw.fixed64(&fields)?,
                3 => point.at = raw.fixed64(&fields)?,
                4 => count = raw.fixed64(&fields)?,
                5 => sum = Some(raw.double(&fields)?),
                6 => fixed64s(raw, &fields, |word| counts.push(word))?,
                7 => fixed64s(raw, &fields, |word| bounds.push(f64::from_bits(word)))?,
                8 => point.exemplars.push(exemplar(raw.bytes(&fields)?)?),
                9 => attributes.push(KeyValueView::read(raw.bytes(&fields)?)?),
                10 => point.flags = raw.uint32(&fields)?,
                11 => min = Some(raw.double(&fields)?),
                12 => max = Some(raw.double(&fields)?),
                _ => {}
            }
        }
        if counts.len() != bounds.len() + 1 && !(counts.is_empty() && bounds.is_empty()) {
            return Ok(None);
        }
        point.attributes = owned(&attributes);
        point.data = PointData::Histogram {
            temporality: self.temporality,
            count,
            sum,
            min,
            max,
            bounds,
            counts,
        };
        Ok(Some(point))
    }

    fn exponential(&self, body: &[u8]) -> Result<Point, WireError> {
        let mut point = Point::default();
        let mut attributes = Vec::new();
        let (mut count, mut sum, mut min, mut max) = (0, None, None, None);
        let (mut scale, mut zero_count, mut zero_threshold) = (0, 0, 0.0);
        let (mut positive, mut negative) = (Buckets::default(), Buckets::default());
        let mut fields = Fields::new(body);
        while let Some((number, raw)) = fields.step()? {
            match number {
                1 => attributes.push(KeyValueView::read(raw.bytes(&fields)?)?),
                2 => point.start = raw.fixed64(&fields)?,
                3 => point.at = raw.fixed64(&fields)?,
                4 => count = raw.fixed64(&fields)?,
                5 => sum = Some(raw.double(&fields)?),
                6 => scale = zigzag(raw.varint(&fields)?),
                7 => zero_count = raw.fixed64(&fields)?,
                8 => positive = buckets(raw.bytes(&fields)?)?,
                9 => negative = buckets(raw.bytes(&fields)?)?,
                10 => point.flags = raw.uint32(&fields)?,
                11 => point.exemplars.push(exemplar(raw.bytes(&fields)?)?),
                12 => min = Some(raw.double(&fields)?),
                13 => max = Some(raw.double(&fields)?),
                14 => zero_threshold = raw.double(&fields)?,
                _ => {}
            }
        }
        point.attributes = owned(&attributes);
        point.data = PointData::ExponentialHistogram {
            temporality: self.temporality,
            count,
            sum,
            min,
            max,
            scale,
            zero_count,
            zero_threshold,
            positive,
            negative,
        };
        Ok(point)
    }
}

fn summary(body: &[u8]) -> Result<Point, WireError> {
    let mut point = Point::default();
    let mut attributes = Vec::new();
    let (mut count, mut sum, mut quantiles) = (0, 0.0, Vec::new());
    let mut fields = Fields::new(body);
    while let Some((number, raw)) = fields.step()? {
        match number {
            2 => point.start = raw.fixed64(&fields)?,
            3 => point.at = raw.fixed64(&fields)?,
            4 => count = raw.fixed64(&fields)?,
            5 => sum = raw.double(&fields)?,
            6 => {
                let mut at = Quantile {
                    quantile: 0.0,
                    value: 0.0,
                };
                let mut inner = Fields::new(raw.bytes(&fields)?);
                while let Some((number, raw)) = inner.step()? {
                    match number {
                        1 => at.quantile = raw.double(&inner)?,
                        2 => at.value = raw.double(&inner)?,
                        _ => {}
                    }
                }
                quantiles.push(at);
            }
            7 => attributes.push(KeyValueView::read(raw.bytes(&fields)?)?),
            8 => point.flags = raw.uint32(&fields)?,
            _ => {}
        }
    }
    point.attributes = owned(&attributes);
    point.data = PointData::Summary {
        count,
        sum,
        quantiles,
    };
    Ok(point)
}

/// Repeated 8-byte numbers, packed or one by one.
fn fixed64s<'a>(
    raw: Raw<'a>,
    near: &Fields<'a>,
    mut each: impl FnMut(u64),
) -> Result<(), WireError> {
    match raw {
        Raw::Fixed64(word) => {
            each(word);
            Ok(())
        }
        raw => packed_fixed64(raw.bytes(near)?, each),
    }
}

fn buckets(body: &[u8]) -> Result<Buckets, WireError> {
    let mut buckets = Buckets::default();
    let mut fields = Fields::new(body);
    while let Some((number, raw)) = fields.step()? {
        match (number, raw) {
            (1, raw) => buckets.offset = zigzag(raw.varint(&fields)?),
            (2, Raw::Varint(count)) => buckets.counts.push(count),
            (2, raw) => packed_varints(raw.bytes(&fields)?, |count| buckets.counts.push(count))?,
            _ => {}
        }
    }
    Ok(buckets)
}

fn exemplar(body: &[u8]) -> Result<Exemplar, WireError> {
    let mut exemplar = Exemplar::default();
    let mut attributes = Vec::new();
    let mut fields = Fields::new(body);
    while let Some((number, raw)) = fields.step()? {
        match number {
            2 => exemplar.at = Nanos(raw.fixed64(&fields)?),
            3 => exemplar.value = Value::Double(raw.double(&fields)?),
            4 => exemplar.span_id = SpanId::from_slice(raw.bytes(&fields)?).unwrap_or_default(),
            5 => exemplar.trace_id = TraceId::from_slice(raw.bytes(&fields)?).unwrap_or_default(),
            6 => exemplar.value = Value::Int(raw.fixed64(&fields)?.cast_signed()),
            7 => attributes.push(KeyValueView::read(raw.bytes(&fields)?)?),
            _ => {}
        }
    }
    exemplar.attributes = owned(&attributes);
    Ok(exemplar)
}
