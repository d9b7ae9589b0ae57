//! Rows of the case as OTLP protobuf: the one place where our model becomes a request.
//!
//! Rows keep their order; those of one resource and scope are gathered under it, in the order in which each is first
//! met, so the same rows always give the same bytes. Importers build their requests here too.

use std::collections::HashMap;
use std::sync::Arc;

use case::model::{
    Attributes, Buckets, Exemplar, LogRecord, MetricPoint, Origin, PointData, Resource, Scope,
    Span, SpanEvent, SpanLink, StatusCode, Value,
};
use case::{SpanId, TraceId};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value,
};
use opentelemetry_proto::tonic::logs::v1 as logs;
use opentelemetry_proto::tonic::metrics::v1 as metrics;
use opentelemetry_proto::tonic::resource::v1 as resource;
use opentelemetry_proto::tonic::trace::v1 as trace;
use prost::Message;

/// An `ExportTraceServiceRequest` of these spans.
pub fn encode_spans(spans: Vec<Span>) -> Vec<u8> {
    let resource_spans = gather(spans.into_iter().map(|span| (span.origin.clone(), span)))
        .into_iter()
        .map(|(resource, scopes)| trace::ResourceSpans {
            schema_url: resource.schema_url.clone(),
            resource: resource_message(&resource),
            scope_spans: scopes
                .into_iter()
                .map(|(scope, spans)| trace::ScopeSpans {
                    schema_url: scope.schema_url.clone(),
                    scope: scope_message(&scope),
                    spans: spans.into_iter().map(span_message).collect(),
                })
                .collect(),
        })
        .collect();
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

/// An `ExportLogsServiceRequest` of these records.
pub fn encode_logs(records: Vec<LogRecord>) -> Vec<u8> {
    let resource_logs = gather(
        records
            .into_iter()
            .map(|record| (record.origin.clone(), record)),
    )
    .into_iter()
    .map(|(resource, scopes)| logs::ResourceLogs {
        schema_url: resource.schema_url.clone(),
        resource: resource_message(&resource),
        scope_logs: scopes
            .into_iter()
            .map(|(scope, records)| logs::ScopeLogs {
                schema_url: scope.schema_url.clone(),
                scope: scope_message(&scope),
                log_records: records.into_iter().map(log_message).collect(),
            })
            .collect(),
    })
    .collect();
    ExportLogsServiceRequest { resource_logs }.encode_to_vec()
}

/// An `ExportMetricsServiceRequest` of these points. Points of one metric stand under it together.
pub fn encode_metrics(points: Vec<MetricPoint>) -> Vec<u8> {
    let resource_metrics = gather(
        points
            .into_iter()
            .map(|point| (point.origin.clone(), point)),
    )
    .into_iter()
    .map(|(resource, scopes)| metrics::ResourceMetrics {
        schema_url: resource.schema_url.clone(),
        resource: resource_message(&resource),
        scope_metrics: scopes
            .into_iter()
            .map(|(scope, points)| metrics::ScopeMetrics {
                schema_url: scope.schema_url.clone(),
                scope: scope_message(&scope),
                metrics: metric_messages(points),
            })
            .collect(),
    })
    .collect();
    ExportMetricsServiceRequest { resource_metrics }.encode_to_vec()
}

type Gathered<T> = Vec<(Arc<Resource>, Vec<(Arc<Scope>, Vec<T>)>)>;

/// Rows under their resource, then under their scope. Shared resources are told apart by address first: rows of one
/// sender mostly share them, and comparing them by content for every row would cost more than encoding the row.
fn gather<T>(rows: impl Iterator<Item = (Origin, T)>) -> Gathered<T> {
    let mut gathered: Gathered<T> = Vec::new();
    // The origin is kept beside its place so that its address can't be given to another while we look it up.
    let mut seen: HashMap<(usize, usize), (Origin, usize, usize)> = HashMap::new();
    let mut resources: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut scopes: HashMap<(usize, Vec<u8>), usize> = HashMap::new();
    for (origin, row) in rows {
        let address = (
            Arc::as_ptr(&origin.resource) as usize,
            Arc::as_ptr(&origin.scope) as usize,
        );
        let (r, s) = match seen.get(&address) {
            Some((_, r, s)) => (*r, *s),
            None => {
                let r = *resources
                    .entry(resource_key(&origin.resource))
                    .or_insert_with(|| {
                        gathered.push((origin.resource.clone(), Vec::new()));
                        gathered.len() - 1
                    });
                let under = &mut gathered[r].1;
                let s = *scopes
                    .entry((r, scope_key(&origin.scope)))
                    .or_insert_with(|| {
                        under.push((origin.scope.clone(), Vec::new()));
                        under.len() - 1
                    });
                seen.insert(address, (origin, r, s));
                (r, s)
            }
        };
        gathered[r].1[s].1.push(row);
    }
    gathered
}

fn resource_key(resource: &Resource) -> Vec<u8> {
    trace::ResourceSpans {
        resource: resource_message(resource),
        scope_spans: Vec::new(),
        schema_url: resource.schema_url.clone(),
    }
    .encode_to_vec()
}

fn scope_key(scope: &Scope) -> Vec<u8> {
    trace::ScopeSpans {
        scope: scope_message(scope),
        spans: Vec::new(),
        schema_url: scope.schema_url.clone(),
    }
    .encode_to_vec()
}

/// Everything of a row that travels, as bytes: what rows with equal times and ids are ordered by, so that an export
/// doesn't depend on the order in which a case happens to keep them.
pub(super) mod fingerprint {
    use super::*;

    fn with_origin(origin: &Origin, mut row: Vec<u8>) -> Vec<u8> {
        row.extend(resource_key(&origin.resource));
        row.extend(scope_key(&origin.scope));
        row
    }

    pub(in crate::export) fn span(span: &Span) -> Vec<u8> {
        with_origin(&span.origin, span_message(span.clone()).encode_to_vec())
    }

    pub(in crate::export) fn log(record: &LogRecord) -> Vec<u8> {
        with_origin(&record.origin, log_message(record.clone()).encode_to_vec())
    }

    pub(in crate::export) fn point(point: &MetricPoint) -> Vec<u8> {
        let origin = point.origin.clone();
        let row: Vec<u8> = metric_messages(vec![point.clone()])
            .iter()
            .flat_map(Message::encode_to_vec)
            .collect();
        with_origin(&origin, row)
    }
}

fn resource_message(resource: &Resource) -> Option<resource::Resource> {
    if resource.attributes.is_empty() && resource.dropped_attributes == 0 {
        return None;
    }
    Some(resource::Resource {
        attributes: key_values(resource.attributes.clone()),
        dropped_attributes_count: resource.dropped_attributes,
        entity_refs: Vec::new(),
    })
}

fn scope_message(scope: &Scope) -> Option<InstrumentationScope> {
    if scope.name.is_empty()
        && scope.version.is_empty()
        && scope.attributes.is_empty()
        && scope.dropped_attributes == 0
    {
        return None;
    }
    Some(InstrumentationScope {
        name: scope.name.clone(),
        version: scope.version.clone(),
        attributes: key_values(scope.attributes.clone()),
        dropped_attributes_count: scope.dropped_attributes,
    })
}

fn span_message(span: Span) -> trace::Span {
    let status = (span.status != StatusCode::Unset || !span.status_message.is_empty()).then(|| {
        trace::Status {
            message: span.status_message,
            code: i32::from(span.status.number()),
        }
    });
    trace::Span {
        trace_id: trace_id(span.trace_id),
        span_id: span_id(span.span_id),
        trace_state: span.trace_state,
        parent_span_id: span_id(span.parent_span_id),
        flags: span.flags,
        name: span.name,
        kind: i32::from(span.kind.number()),
        start_time_unix_nano: span.start.0,
        end_time_unix_nano: span.end.0,
        attributes: key_values(span.attributes),
        dropped_attributes_count: span.dropped_attributes,
        events: span.events.into_iter().map(event_message).collect(),
        dropped_events_count: span.dropped_events,
        links: span.links.into_iter().map(link_message).collect(),
        dropped_links_count: span.dropped_links,
        status,
    }
}

fn event_message(event: SpanEvent) -> trace::span::Event {
    trace::span::Event {
        time_unix_nano: event.at.0,
        name: event.name,
        attributes: key_values(event.attributes),
        dropped_attributes_count: event.dropped_attributes,
    }
}

fn link_message(link: SpanLink) -> trace::span::Link {
    trace::span::Link {
        trace_id: trace_id(link.trace_id),
        span_id: span_id(link.span_id),
        trace_state: link.trace_state,
        attributes: key_values(link.attributes),
        dropped_attributes_count: link.dropped_attributes,
        flags: link.flags,
    }
}

fn log_message(record: LogRecord) -> logs::LogRecord {
    logs::LogRecord {
        time_unix_nano: record.time.0,
        observed_time_unix_nano: record.observed.0,
        severity_number: record.severity_number,
        severity_text: record.severity_text,
        body: (record.body != Value::Empty).then(|| any_value(record.body)),
        attributes: key_values(record.attributes),
        dropped_attributes_count: record.dropped_attributes,
        flags: record.flags,
        trace_id: trace_id(record.trace_id),
        span_id: span_id(record.span_id),
        event_name: record.event_name,
    }
}

/// Points under their metrics, in the order in which each metric is first met.
fn metric_messages(points: Vec<MetricPoint>) -> Vec<metrics::Metric> {
    let mut messages: Vec<metrics::Metric> = Vec::new();
    let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
    for mut point in points {
        let mut head = metrics::Metric {
            name: std::mem::take(&mut point.name),
            description: std::mem::take(&mut point.description),
            unit: std::mem::take(&mut point.unit),
            metadata: key_values(std::mem::take(&mut point.metadata)),
            data: Some(empty_data(&point.data)),
        };
        // An empty gauge still encodes its field, so kinds are told apart.
        let key = head.encode_to_vec();
        let place = *places.entry(key).or_insert_with(|| {
            messages.push(std::mem::take(&mut head));
            messages.len() - 1
        });
        if let Some(data) = &mut messages[place].data {
            push_point(data, point);
        }
    }
    messages
}

fn empty_data(data: &PointData) -> metrics::metric::Data {
    use metrics::metric::Data;
    match data {
        PointData::Gauge(_) => Data::Gauge(metrics::Gauge::default()),
        PointData::Sum {
            temporality,
            monotonic,
            ..
        } => Data::Sum(metrics::Sum {
            data_points: Vec::new(),
            aggregation_temporality: i32::from(temporality.number()),
            is_monotonic: *monotonic,
        }),
        PointData::Histogram { temporality, .. } => Data::Histogram(metrics::Histogram {
            data_points: Vec::new(),
            aggregation_temporality: i32::from(temporality.number()),
        }),
        PointData::ExponentialHistogram { temporality, .. } => {
            Data::ExponentialHistogram(metrics::ExponentialHistogram {
                data_points: Vec::new(),
                aggregation_temporality: i32::from(temporality.number()),
            })
        }
        PointData::Summary { .. } => Data::Summary(metrics::Summary::default()),
    }
}

fn push_point(data: &mut metrics::metric::Data, point: MetricPoint) {
    use metrics::metric::Data;
    let attributes = key_values(point.attributes);
    let (start_time_unix_nano, time_unix_nano, flags) = (point.start.0, point.at.0, point.flags);
    let exemplars: Vec<_> = point.exemplars.into_iter().map(exemplar_message).collect();
    match (data, point.data) {
        (Data::Gauge(metrics::Gauge { data_points }), PointData::Gauge(value))
        | (Data::Sum(metrics::Sum { data_points, .. }), PointData::Sum { value, .. }) => {
            data_points.push(metrics::NumberDataPoint {
                attributes,
                start_time_unix_nano,
                time_unix_nano,
                exemplars,
                flags,
                value: match value {
                    Value::Int(value) => Some(metrics::number_data_point::Value::AsInt(value)),
                    Value::Double(value) => {
                        Some(metrics::number_data_point::Value::AsDouble(value))
                    }
                    _ => None,
                },
            });
        }
        (
            Data::Histogram(histogram),
            PointData::Histogram {
                count,
                sum,
                min,
                max,
                bounds,
                counts,
                ..
            },
        ) => histogram.data_points.push(metrics::HistogramDataPoint {
            attributes,
            start_time_unix_nano,
            time_unix_nano,
            count,
            sum,
            bucket_counts: counts,
            explicit_bounds: bounds,
            exemplars,
            flags,
            min,
            max,
        }),
        (
            Data::ExponentialHistogram(histogram),
            PointData::ExponentialHistogram {
                count,
                sum,
                min,
                max,
                scale,
                zero_count,
                zero_threshold,
                positive,
                negative,
                ..
            },
        ) => histogram
            .data_points
            .push(metrics::ExponentialHistogramDataPoint {
                attributes,
                start_time_unix_nano,
                time_unix_nano,
                count,
                sum,
                scale,
                zero_count,
                positive: buckets_message(positive),
                negative: buckets_message(negative),
                flags,
                exemplars,
                min,
                max,
                zero_threshold,
            }),
        (
            Data::Summary(summary),
            PointData::Summary {
                count,
                sum,
                quantiles,
            },
        ) => {
            summary.data_points.push(metrics::SummaryDataPoint {
                attributes,
                start_time_unix_nano,
                time_unix_nano,
                count,
                sum,
                quantile_values: quantiles
                    .into_iter()
                    .map(|q| metrics::summary_data_point::ValueAtQuantile {
                        quantile: q.quantile,
                        value: q.value,
                    })
                    .collect(),
                flags,
            });
        }
        // A metric is looked up by its kind, so its points are of that kind.
        _ => {}
    }
}

fn buckets_message(buckets: Buckets) -> Option<metrics::exponential_histogram_data_point::Buckets> {
    if buckets == Buckets::default() {
        return None;
    }
    Some(metrics::exponential_histogram_data_point::Buckets {
        offset: buckets.offset,
        bucket_counts: buckets.counts,
    })
}

fn exemplar_message(exemplar: Exemplar) -> metrics::Exemplar {
    metrics::Exemplar {
        filtered_attributes: key_values(exemplar.attributes),
        time_unix_nano: exemplar.at.0,
        span_id: span_id(exemplar.span_id),
        trace_id: trace_id(exemplar.trace_id),
        value: match exemplar.value {
            Value::Int(value) => Some(metrics::exemplar::Value::AsInt(value)),
            Value::Double(value) => Some(metrics::exemplar::Value::AsDouble(value)),
            _ => None,
        },
    }
}

fn trace_id(id: TraceId) -> Vec<u8> {
    if id.is_some() {
        id.0.to_vec()
    } else {
        Vec::new()
    }
}

fn span_id(id: SpanId) -> Vec<u8> {
    if id.is_some() {
        id.0.to_vec()
    } else {
        Vec::new()
    }
}

fn key_values(attributes: Attributes) -> Vec<KeyValue> {
    attributes
        .0
        .into_iter()
        .map(|(key, value)| KeyValue {
            key,
            value: Some(any_value(value)),
            ..KeyValue::default()
        })
        .collect()
}

fn any_value(value: Value) -> AnyValue {
    use any_value::Value as Any;
    AnyValue {
        value: match value {
            Value::Empty => None,
            Value::Text(text) => Some(Any::StringValue(text)),
            Value::Bool(value) => Some(Any::BoolValue(value)),
            Value::Int(value) => Some(Any::IntValue(value)),
            Value::Double(value) => Some(Any::DoubleValue(value)),
            Value::Bytes(bytes) => Some(Any::BytesValue(bytes)),
            Value::Array(values) => Some(Any::ArrayValue(ArrayValue {
                values: values.into_iter().map(any_value).collect(),
            })),
            Value::Map(pairs) => Some(Any::KvlistValue(KeyValueList {
                values: key_values(pairs),
            })),
        },
    }
}
