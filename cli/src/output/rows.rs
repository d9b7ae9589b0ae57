//! Signals as JSON objects, with the field names that scripts rely on.
//!
//! Ids are lower-case hex, times and durations nanoseconds, attribute values keep their types, bytes are base64.

use case::model::{Attributes, LogRecord, MetricPoint, PointData, Resource, Scope, Span, Value};
use serde::Serialize;
use serde::ser::{SerializeMap, SerializeSeq, Serializer};

/// A span as one JSON object.
pub struct SpanRow<'a>(pub &'a Span);
/// A log record as one JSON object.
pub struct LogRow<'a>(pub &'a LogRecord);
/// A metric point as one JSON object.
pub struct MetricRow<'a>(pub &'a MetricPoint);

/// Attributes as a JSON object; a key that was sent twice stands twice.
struct Pairs<'a>(&'a Attributes);
struct Any<'a>(&'a Value);
struct Double(f64);

impl Serialize for Double {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_finite() {
            serializer.serialize_f64(self.0)
        } else if self.0.is_nan() {
            serializer.serialize_str("NaN")
        } else if self.0 > 0.0 {
            serializer.serialize_str("Infinity")
        } else {
            serializer.serialize_str("-Infinity")
        }
    }
}

impl Serialize for Any<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Empty => serializer.serialize_unit(),
            Value::Text(text) => serializer.serialize_str(text),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Int(value) => serializer.serialize_i64(*value),
            Value::Double(value) => Double(*value).serialize(serializer),
            Value::Bytes(bytes) => {
                let mut out = String::new();
                case::wire::text::base64(bytes, &mut out);
                serializer.serialize_str(&out)
            }
            Value::Array(values) => serializer.collect_seq(values.iter().map(Any)),
            Value::Map(pairs) => Pairs(pairs).serialize(serializer),
        }
    }
}

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, Any(value))))
    }
}

struct ResourceObject<'a>(&'a Resource);
struct ScopeObject<'a>(&'a Scope);

impl Serialize for ResourceObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Pairs(&self.0.attributes).serialize(serializer)
    }
}

impl Serialize for ScopeObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", &self.0.name)?;
        map.serialize_entry("version", &self.0.version)?;
        map.serialize_entry("attributes", &Pairs(&self.0.attributes))?;
        map.end()
    }
}

/// An id, or null where there is none.
fn id<T: ToString>(id: &T, there: bool) -> Option<String> {
    there.then(|| id.to_string())
}

/// Writes `"key": count`, unless there is nothing to count.
fn unless_zero<M: SerializeMap>(map: &mut M, key: &str, count: u32) -> Result<(), M::Error> {
    if count == 0 {
        return Ok(());
    }
    map.serialize_entry(key, &count)
}

fn unless_empty<M: SerializeMap>(map: &mut M, key: &str, text: &str) -> Result<(), M::Error> {
    if text.is_empty() {
        return Ok(());
    }
    map.serialize_entry(key, text)
}

impl Serialize for SpanRow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let span = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("trace_id", &span.trace_id)?;
        map.serialize_entry("span_id", &span.span_id)?;
        map.serialize_entry(
            "parent_span_id",
            &id(&span.parent_span_id, span.parent_span_id.is_some()),
        )?;
        map.serialize_entry("service", span.service())?;
        map.serialize_entry("instance", span.origin.resource.instance())?;
        map.serialize_entry("name", &span.name)?;
        map.serialize_entry("kind", &span.kind)?;
        map.serialize_entry("start_unix_nano", &span.start)?;
        map.serialize_entry("end_unix_nano", &span.end)?;
        map.serialize_entry("duration_nano", &span.duration())?;
        map.serialize_entry("status", &span.status)?;
        map.serialize_entry("status_message", &span.status_message)?;
        map.serialize_entry("attributes", &Pairs(&span.attributes))?;
        map.serialize_entry("events", &Events(span))?;
        map.serialize_entry("links", &Links(span))?;
        map.serialize_entry("resource", &ResourceObject(&span.origin.resource))?;
        map.serialize_entry("scope", &ScopeObject(&span.origin.scope))?;
        unless_empty(&mut map, "trace_state", &span.trace_state)?;
        unless_zero(&mut map, "flags", span.flags)?;
        unless_zero(&mut map, "dropped_attributes", span.dropped_attributes)?;
        unless_zero(&mut map, "dropped_events", span.dropped_events)?;
        unless_zero(&mut map, "dropped_links", span.dropped_links)?;
        map.end()
    }
}

struct Events<'a>(&'a Span);

impl Serialize for Events<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.0.events.len()))?;
        for event in &self.0.events {
            seq.serialize_element(&Event(event))?;
        }
        seq.end()
    }
}

struct Event<'a>(&'a case::model::SpanEvent);

impl Serialize for Event<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("time_unix_nano", &self.0.at)?;
        map.serialize_entry("name", &self.0.name)?;
        map.serialize_entry("attributes", &Pairs(&self.0.attributes))?;
        unless_zero(&mut map, "dropped_attributes", self.0.dropped_attributes)?;
        map.end()
    }
}

struct Links<'a>(&'a Span);

impl Serialize for Links<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.0.links.len()))?;
        for link in &self.0.links {
            seq.serialize_element(&Link(link))?;
        }
        seq.end()
    }
}

struct Link<'a>(&'a case::model::SpanLink);

impl Serialize for Link<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("trace_id", &self.0.trace_id)?;
        map.serialize_entry("span_id", &self.0.span_id)?;
        map.serialize_entry("attributes", &Pairs(&self.0.attributes))?;
        unless_empty(&mut map, "trace_state", &self.0.trace_state)?;
        unless_zero(&mut map, "flags", self.0.flags)?;
        unless_zero(&mut map, "dropped_attributes", self.0.dropped_attributes)?;
        map.end()
    }
}

impl Serialize for LogRow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let log = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("time_unix_nano", &log.at())?;
        map.serialize_entry("observed_unix_nano", &log.observed)?;
        map.serialize_entry("severity", &log.severity_text)?;
        map.serialize_entry("severity_number", &log.severity_number)?;
        map.serialize_entry("service", log.origin.resource.service())?;
        map.serialize_entry("instance", log.origin.resource.instance())?;
        map.serialize_entry("event", &log.event_name)?;
        map.serialize_entry("body", &Any(&log.body))?;
        map.serialize_entry("trace_id", &id(&log.trace_id, log.trace_id.is_some()))?;
        map.serialize_entry("span_id", &id(&log.span_id, log.span_id.is_some()))?;
        map.serialize_entry("attributes", &Pairs(&log.attributes))?;
        map.serialize_entry("resource", &ResourceObject(&log.origin.resource))?;
        map.serialize_entry("scope", &ScopeObject(&log.origin.scope))?;
        unless_zero(&mut map, "flags", log.flags)?;
        unless_zero(&mut map, "dropped_attributes", log.dropped_attributes)?;
        map.end()
    }
}

impl Serialize for MetricRow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let point = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("time_unix_nano", &point.at)?;
        map.serialize_entry("start_unix_nano", &point.start)?;
        map.serialize_entry("service", point.origin.resource.service())?;
        map.serialize_entry("instance", point.origin.resource.instance())?;
        map.serialize_entry("name", &point.name)?;
        map.serialize_entry("type", point.data.kind())?;
        map.serialize_entry("unit", &point.unit)?;
        unless_empty(&mut map, "description", &point.description)?;
        data(&mut map, &point.data)?;
        map.serialize_entry("attributes", &Pairs(&point.attributes))?;
        if !point.exemplars.is_empty() {
            map.serialize_entry("exemplars", &Exemplars(point))?;
        }
        map.serialize_entry("resource", &ResourceObject(&point.origin.resource))?;
        map.serialize_entry("scope", &ScopeObject(&point.origin.scope))?;
        if !point.metadata.is_empty() {
            map.serialize_entry("metadata", &Pairs(&point.metadata))?;
        }
        unless_zero(&mut map, "flags", point.flags)?;
        map.end()
    }
}

fn temporality(temporality: case::model::Temporality) -> &'static str {
    match temporality {
        case::model::Temporality::Unspecified => "unspecified",
        case::model::Temporality::Delta => "delta",
        case::model::Temporality::Cumulative => "cumulative",
    }
}

fn data<M: SerializeMap>(map: &mut M, data: &PointData) -> Result<(), M::Error> {
    let bound = |bound: &Option<f64>| bound.map(Double);
    match data {
        PointData::Gauge(value) => map.serialize_entry("value", &Any(value)),
        PointData::Sum {
            value,
            temporality: over,
            monotonic,
        } => {
            map.serialize_entry("value", &Any(value))?;
            map.serialize_entry("temporality", temporality(*over))?;
            map.serialize_entry("monotonic", monotonic)
        }
        PointData::Histogram {
            temporality: over,
            count,
            sum,
            min,
            max,
            bounds,
            counts,
        } => {
            map.serialize_entry("temporality", temporality(*over))?;
            map.serialize_entry("count", count)?;
            map.serialize_entry("sum", &bound(sum))?;
            map.serialize_entry("min", &bound(min))?;
            map.serialize_entry("max", &bound(max))?;
            map.serialize_entry(
                "bounds",
                &bounds.iter().copied().map(Double).collect::<Vec<_>>(),
            )?;
            map.serialize_entry("bucket_counts", counts)
        }
        PointData::ExponentialHistogram {
            temporality: over,
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
            map.serialize_entry("temporality", temporality(*over))?;
            map.serialize_entry("count", count)?;
            map.serialize_entry("sum", &bound(sum))?;
            map.serialize_entry("min", &bound(min))?;
            map.serialize_entry("max", &bound(max))?;
            map.serialize_entry("scale", scale)?;
            map.serialize_entry("zero_count", zero_count)?;
            map.serialize_entry("zero_threshold", &Double(*zero_threshold))?;
            map.serialize_entry("positive_offset", &positive.offset)?;
            map.serialize_entry("positive_counts", &positive.counts)?;
            map.serialize_entry("negative_offset", &negative.offset)?;
            map.serialize_entry("negative_counts", &negative.counts)
        }
        PointData::Summary {
            count,
            sum,
            quantiles,
        } => {
            map.serialize_entry("count", count)?;
            map.serialize_entry("sum", &Double(*sum))?;
            let quantiles = quantiles
                .iter()
                .map(|q| (Double(q.quantile), Double(q.value)))
                .collect::<Vec<_>>();
            map.serialize_entry("quantiles", &quantiles)
        }
    }
}

struct Exemplars<'a>(&'a MetricPoint);

impl Serialize for Exemplars<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.exemplars.iter().map(Exemplar))
    }
}

struct Exemplar<'a>(&'a case::model::Exemplar);

impl Serialize for Exemplar<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("time_unix_nano", &self.0.at)?;
        map.serialize_entry("value", &Any(&self.0.value))?;
        map.serialize_entry("trace_id", &id(&self.0.trace_id, self.0.trace_id.is_some()))?;
        map.serialize_entry("span_id", &id(&self.0.span_id, self.0.span_id.is_some()))?;
        map.serialize_entry("attributes", &Pairs(&self.0.attributes))?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use case::model::{Origin, SpanKind, StatusCode};
    use case::{Nanos, SpanId, TraceId};

    use super::*;
    use crate::output::json;

    #[test]
    fn a_span_has_the_fields_scripts_rely_on() {
        let mut attributes = Attributes::default();
        attributes.push("n", Value::Int(i64::MAX));
        attributes.push("b", Value::Bytes(vec![1, 2, 255]));
        attributes.push("nan", Value::Double(f64::NAN));
        attributes.push("list", Value::Array(vec![Value::Bool(true), Value::Empty]));
        let mut resource = Resource::default();
        resource
            .attributes
            .push("service.name", Value::Text("payment".into()));
        let span = Span {
            origin: Origin {
                resource: resource.into(),
                ..Origin::default()
            },
            trace_id: TraceId([0xab; 16]),
            span_id: SpanId([1; 8]),
            name: "x".into(),
            kind: SpanKind::Server,
            start: Nanos(10),
            end: Nanos(25),
            status: StatusCode::Error,
            attributes,
            ..Span::default()
        };
        let line = json::line(&SpanRow(&span)).unwrap();
        assert!(line.contains(
            r#""attributes":{"n":9223372036854775807,"b":"AQL/","nan":"NaN","list":[true,null]}"#
        ));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["trace_id"], "ab".repeat(16));
        assert_eq!(value["span_id"], "01".repeat(8));
        assert_eq!(value["parent_span_id"], serde_json::Value::Null);
        assert_eq!(value["service"], "payment");
        assert_eq!(value["kind"], "server");
        assert_eq!(value["start_unix_nano"], 10);
        assert_eq!(value["duration_nano"], 15);
        assert_eq!(value["status"], "error");
        assert_eq!(value["resource"]["service.name"], "payment");
    }
}
