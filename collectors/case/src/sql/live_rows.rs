//! Whole rows of one live request, and their values column by column: the same that a segment would give.

use std::borrow::Cow;

use super::cells::{self, CellRef};
use super::live::signal_of;
use super::schema::{Column, Kind};
use super::table::Table;
use crate::manifest::Content;
use crate::model::{
    Attributes, Buckets, Exemplar, LogRecord, MetricPoint, Origin, PointData, Span, Value,
};
use crate::signal::Signal;
use crate::time::Nanos;
use crate::wire::{logs, metrics, owned, spans, text};

/// The rows that one request holds of a table.
#[derive(Default)]
pub(super) enum Rows {
    #[default]
    None,
    Spans(Vec<Span>),
    Logs(Vec<LogRecord>),
    Points(Vec<MetricPoint>),
    Watched(Vec<WatchedRow>),
}

pub(super) struct WatchedRow {
    at: Nanos,
    subject: String,
    kind: String,
    order_id: String,
    row: Vec<u8>,
}

fn kind_of(content: Content) -> &'static str {
    match content {
        Content::MetricsGauge => "gauge",
        Content::MetricsSum => "sum",
        Content::MetricsHistogram => "histogram",
        Content::MetricsExpHistogram => "exponential_histogram",
        _ => "summary",
    }
}

impl Rows {
    pub(super) fn read(table: &Table, request: &[u8]) -> Rows {
        let mut origins = owned::Origins::default();
        let (rows, walked) = match signal_of(table.content) {
            Signal::Traces => {
                let mut rows = Vec::new();
                let walked = spans::walk(
                    request,
                    |view, span, lists| {
                        if let Ok(origin) = origins.of(view) {
                            rows.push(owned::span(origin, span, lists));
                        }
                    },
                    |_| {},
                );
                (
                    Rows::Spans(rows),
                    walked.map_err(|error| error.reason.to_owned()),
                )
            }
            Signal::Logs => {
                let mut rows = Vec::new();
                let walked = logs::walk(request, |view, record, pairs| {
                    if let Ok(origin) = origins.of(view) {
                        rows.push(owned::log(origin, record, pairs));
                    }
                });
                (
                    Rows::Logs(rows),
                    walked.map_err(|error| error.reason.to_owned()),
                )
            }
            Signal::Metrics => {
                let mut rows = Vec::new();
                let kind = kind_of(table.content);
                let walked = metrics::walk(
                    request,
                    |point| {
                        if point.data.kind() == kind {
                            rows.push(point);
                        }
                    },
                    |_, _| {},
                );
                (
                    Rows::Points(rows),
                    walked.map_err(|error| error.reason.to_owned()),
                )
            }
            signal => {
                let mut rows = Vec::new();
                let read = crate::segment::watched::each_row(signal, request, |key, line| {
                    rows.push(WatchedRow {
                        at: key.at,
                        subject: key.subject.to_owned(),
                        kind: key.kind.to_owned(),
                        order_id: key.order_id.unwrap_or("").to_owned(),
                        row: line.to_vec(),
                    });
                });
                (Rows::Watched(rows), read.map_err(str::to_owned))
            }
        };
        if let Err(reason) = walked {
            table.case.note(format!(
                "a request in the log of {}: {reason}",
                table.content.table()
            ));
        }
        rows
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Rows::None => 0,
            Rows::Spans(rows) => rows.len(),
            Rows::Logs(rows) => rows.len(),
            Rows::Points(rows) => rows.len(),
            Rows::Watched(rows) => rows.len(),
        }
    }

    pub(super) fn cell(&self, row: usize, column: &Column) -> CellRef<'_> {
        let named = |name: &str| match self {
            Rows::None => CellRef::Null,
            Rows::Spans(rows) => rows.get(row).map_or(CellRef::Null, |row| span(row, name)),
            Rows::Logs(rows) => rows.get(row).map_or(CellRef::Null, |row| log(row, name)),
            Rows::Points(rows) => rows.get(row).map_or(CellRef::Null, |row| point(row, name)),
            Rows::Watched(rows) => rows
                .get(row)
                .map_or(CellRef::Null, |row| watched(row, name)),
        };
        match &column.kind {
            Kind::Attribute { map, key } => self
                .map(row, map)
                .and_then(|pairs| pairs.get(key))
                .map_or(CellRef::Null, cells::typed),
            Kind::Map { .. } => self.map(row, &column.name).map_or(CellRef::Null, object),
            Kind::Text => match self.map_of_letters(row, &column.name) {
                Some(pairs) => CellRef::owned(cells::letters(pairs)),
                None => named(&column.name),
            },
            _ => named(&column.name),
        }
    }

    /// The attributes behind a map column.
    fn map(&self, row: usize, name: &str) -> Option<&Attributes> {
        let origin = match self {
            Rows::Spans(rows) => &rows.get(row)?.origin,
            Rows::Logs(rows) => &rows.get(row)?.origin,
            Rows::Points(rows) => &rows.get(row)?.origin,
            _ => return None,
        };
        match (name, self) {
            ("ResourceAttributes", _) => Some(&origin.resource.attributes),
            ("ScopeAttributes", _) => Some(&origin.scope.attributes),
            ("SpanAttributes", Rows::Spans(rows)) => Some(&rows.get(row)?.attributes),
            ("LogAttributes", Rows::Logs(rows)) => Some(&rows.get(row)?.attributes),
            ("Attributes", Rows::Points(rows)) => Some(&rows.get(row)?.attributes),
            ("MetricMetadata", Rows::Points(rows)) => Some(&rows.get(row)?.metadata),
            _ => None,
        }
    }

    /// The attributes whose letters a column holds.
    fn map_of_letters(&self, row: usize, name: &str) -> Option<&Attributes> {
        let stem = name.strip_suffix("Types")?;
        self.map(row, stem)
            .or_else(|| self.map(row, &format!("{stem}s")))
    }
}

fn object(pairs: &Attributes) -> CellRef<'static> {
    let mut out = String::new();
    cells::object(pairs, &mut out);
    CellRef::owned(out)
}

fn int(value: impl Into<i64>) -> CellRef<'static> {
    CellRef::Int(value.into())
}

fn id(is_some: bool, id: impl std::fmt::Display) -> CellRef<'static> {
    if is_some {
        CellRef::owned(id.to_string())
    } else {
        CellRef::from("")
    }
}

fn quoted(text: &str, out: &mut String) {
    text::quoted(text, out);
}

fn plain(number: impl std::fmt::Display, out: &mut String) {
    use std::fmt::Write as _;
    // Writing to a String can't fail.
    let _ = write!(out, "{number}");
}

fn quoted_id(is_some: bool, id: impl std::fmt::Display, out: &mut String) {
    quoted(
        &if is_some {
            id.to_string()
        } else {
            String::new()
        },
        out,
    );
}

fn origin<'a>(origin: &'a Origin, name: &str) -> CellRef<'a> {
    let (resource, scope) = (&origin.resource, &origin.scope);
    match name {
        "ServiceName" => CellRef::from(resource.service()),
        "ResourceDroppedAttributesCount" => int(resource.dropped_attributes),
        "ResourceSchemaUrl" => CellRef::from(resource.schema_url.as_str()),
        "ScopeName" => CellRef::from(scope.name.as_str()),
        "ScopeVersion" => CellRef::from(scope.version.as_str()),
        "ScopeDroppedAttributesCount" => int(scope.dropped_attributes),
        "ScopeSchemaUrl" => CellRef::from(scope.schema_url.as_str()),
        _ => CellRef::Null,
    }
}

fn span<'a>(span: &'a Span, name: &str) -> CellRef<'a> {
    use cells::array;
    match name {
        "Timestamp" => CellRef::unsigned(span.start.0),
        "TraceId" => id(true, span.trace_id),
        "SpanId" => id(span.span_id.is_some(), span.span_id),
        "ParentSpanId" => id(span.parent_span_id.is_some(), span.parent_span_id),
        "TraceState" => CellRef::from(span.trace_state.as_str()),
        "SpanName" => CellRef::from(span.name.as_str()),
        "SpanKind" => CellRef::from(span.kind.name()),
        "Duration" => CellRef::unsigned(span.duration()),
        "StatusCode" => CellRef::from(span.status.name()),
        "StatusMessage" => CellRef::from(span.status_message.as_str()),
        "Events.Timestamp" => array(&span.events, |event, out| plain(event.at.0, out)),
        "Events.Name" => array(&span.events, |event, out| quoted(&event.name, out)),
        "Events.Attributes" => array(&span.events, |event, out| {
            cells::object(&event.attributes, out);
        }),
        "Events.AttributeTypes" => array(&span.events, |event, out| {
            quoted(&cells::letters(&event.attributes), out);
        }),
        "Events.DroppedAttributesCount" => array(&span.events, |event, out| {
            plain(event.dropped_attributes, out);
        }),
        "Links.TraceId" => array(&span.links, |link, out| {
            quoted_id(link.trace_id.is_some(), link.trace_id, out);
        }),
        "Links.SpanId" => array(&span.links, |link, out| {
            quoted_id(link.span_id.is_some(), link.span_id, out);
        }),
        "Links.TraceState" => array(&span.links, |link, out| quoted(&link.trace_state, out)),
        "Links.Attributes" => array(&span.links, |link, out| {
            cells::object(&link.attributes, out);
        }),
        "Links.AttributeTypes" => array(&span.links, |link, out| {
            quoted(&cells::letters(&link.attributes), out);
        }),
        "Links.Flags" => array(&span.links, |link, out| plain(link.flags, out)),
        "Links.DroppedAttributesCount" => array(&span.links, |link, out| {
            plain(link.dropped_attributes, out);
        }),
        "Flags" => int(span.flags),
        "EndsBeforeStartBy" => CellRef::unsigned(span.start.0.saturating_sub(span.end.0)),
        "DroppedAttributesCount" => int(span.dropped_attributes),
        "DroppedEventsCount" => int(span.dropped_events),
        "DroppedLinksCount" => int(span.dropped_links),
        _ => origin(&span.origin, name),
    }
}

fn log<'a>(record: &'a LogRecord, name: &str) -> CellRef<'a> {
    match name {
        "Timestamp" => CellRef::unsigned(record.at().0),
        "TraceId" => id(record.trace_id.is_some(), record.trace_id),
        "SpanId" => id(record.span_id.is_some(), record.span_id),
        "TraceFlags" => int(record.flags),
        "SeverityText" => CellRef::from(record.severity_text.as_str()),
        "SeverityNumber" => int(record.severity_number),
        "Body" => cells::body(&record.body),
        "BodyType" => CellRef::owned(cells::letter(&record.body).to_string()),
        "EventName" => CellRef::from(record.event_name.as_str()),
        "ObservedTimestamp" => CellRef::unsigned(record.observed.0),
        "TimeUnixNano" => CellRef::unsigned(record.time.0),
        "DroppedAttributesCount" => int(record.dropped_attributes),
        _ => origin(&record.origin, name),
    }
}

fn watched<'a>(row: &'a WatchedRow, name: &str) -> CellRef<'a> {
    match name {
        "Timestamp" => CellRef::unsigned(row.at.0),
        "Subject" => CellRef::from(row.subject.as_str()),
        "Kind" => CellRef::from(row.kind.as_str()),
        "OrderId" => CellRef::from(row.order_id.as_str()),
        "Row" => CellRef::Text(Cow::Borrowed(&row.row)),
        _ => CellRef::Null,
    }
}

/// A number as segments keep it: as a double, as an integer, and the letter that says which it was.
fn number(value: &Value) -> (f64, i64, &'static str) {
    match value {
        Value::Int(value) => (*value as f64, *value, "i"),
        Value::Double(value) => (*value, 0, "d"),
        _ => (0.0, 0, "e"),
    }
}

fn optional(value: Option<f64>) -> CellRef<'static> {
    value.map_or(CellRef::Null, CellRef::Real)
}

fn counts(counts: &[u64]) -> CellRef<'static> {
    cells::array(counts, plain)
}

fn point<'a>(point: &'a MetricPoint, name: &str) -> CellRef<'a> {
    match name {
        "TimeUnix" => CellRef::unsigned(point.at.0),
        "MetricName" => CellRef::from(point.name.as_str()),
        "MetricDescription" => CellRef::from(point.description.as_str()),
        "MetricUnit" => CellRef::from(point.unit.as_str()),
        "StartTimeUnix" => CellRef::unsigned(point.start.0),
        "Flags" => int(point.flags),
        name if name.starts_with("Exemplars.") => exemplars(&point.exemplars, name),
        _ => match data(&point.data, name) {
            CellRef::Null => origin(&point.origin, name),
            cell => cell,
        },
    }
}

fn exemplars(exemplars: &[Exemplar], name: &str) -> CellRef<'static> {
    use cells::array;
    match name {
        "Exemplars.FilteredAttributes" => array(exemplars, |exemplar, out| {
            cells::object(&exemplar.attributes, out);
        }),
        "Exemplars.FilteredAttributeTypes" => array(exemplars, |exemplar, out| {
            quoted(&cells::letters(&exemplar.attributes), out);
        }),
        "Exemplars.TimeUnix" => array(exemplars, |exemplar, out| plain(exemplar.at.0, out)),
        "Exemplars.Value" => array(exemplars, |exemplar, out| {
            cells::number(number(&exemplar.value).0, out);
        }),
        "Exemplars.ValueInt" => array(exemplars, |exemplar, out| {
            plain(number(&exemplar.value).1, out);
        }),
        "Exemplars.ValueType" => array(exemplars, |exemplar, out| {
            quoted(number(&exemplar.value).2, out);
        }),
        "Exemplars.SpanId" => array(exemplars, |exemplar, out| {
            quoted_id(exemplar.span_id.is_some(), exemplar.span_id, out);
        }),
        "Exemplars.TraceId" => array(exemplars, |exemplar, out| {
            quoted_id(exemplar.trace_id.is_some(), exemplar.trace_id, out);
        }),
        _ => CellRef::Null,
    }
}

fn data(data: &PointData, name: &str) -> CellRef<'static> {
    let buckets = |buckets: &Buckets, name: &str| match name {
        "Offset" => int(buckets.offset),
        _ => counts(&buckets.counts),
    };
    match (data, name) {
        (PointData::Gauge(value) | PointData::Sum { value, .. }, "Value") => match value {
            Value::Int(value) => CellRef::Int(*value),
            Value::Double(value) => CellRef::Real(*value),
            _ => CellRef::Null,
        },
        (PointData::Gauge(value) | PointData::Sum { value, .. }, "ValueInt") => {
            CellRef::Int(number(value).1)
        }
        (PointData::Gauge(value) | PointData::Sum { value, .. }, "ValueType") => {
            CellRef::from(number(value).2)
        }
        (
            PointData::Sum { temporality, .. }
            | PointData::Histogram { temporality, .. }
            | PointData::ExponentialHistogram { temporality, .. },
            "AggregationTemporality",
        ) => int(temporality.number()),
        (PointData::Sum { monotonic, .. }, "IsMonotonic") => int(*monotonic),
        (
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
            },
            "Count" | "Sum" | "Min" | "Max" | "Present",
        ) => match name {
            "Count" => CellRef::unsigned(*count),
            "Sum" => optional(*sum),
            "Min" => optional(*min),
            "Max" => optional(*max),
            _ => int(i32::from(sum.is_some())
                | i32::from(min.is_some()) << 1
                | i32::from(max.is_some()) << 2),
        },
        (PointData::Histogram { bounds, .. }, "ExplicitBounds") => {
            cells::array(bounds, |bound, out| cells::number(*bound, out))
        }
        (PointData::Histogram { counts: list, .. }, "BucketCounts") => counts(list),
        (PointData::ExponentialHistogram { scale, .. }, "Scale") => int(*scale),
        (PointData::ExponentialHistogram { zero_count, .. }, "ZeroCount") => {
            CellRef::unsigned(*zero_count)
        }
        (PointData::ExponentialHistogram { zero_threshold, .. }, "ZeroThreshold") => {
            CellRef::Real(*zero_threshold)
        }
        (PointData::ExponentialHistogram { positive, .. }, name)
            if name.starts_with("Positive") =>
        {
            buckets(positive, &name["Positive".len()..])
        }
        (PointData::ExponentialHistogram { negative, .. }, name)
            if name.starts_with("Negative") =>
        {
            buckets(negative, &name["Negative".len()..])
        }
        (PointData::Summary { count, .. }, "Count") => CellRef::unsigned(*count),
        (PointData::Summary { sum, .. }, "Sum") => CellRef::Real(*sum),
        (PointData::Summary { quantiles, .. }, "ValueAtQuantiles.Quantile") => {
            cells::array(quantiles, |at, out| cells::number(at.quantile, out))
        }
        (PointData::Summary { quantiles, .. }, "ValueAtQuantiles.Value") => {
            cells::array(quantiles, |at, out| cells::number(at.value, out))
        }
        _ => CellRef::Null,
    }
}
