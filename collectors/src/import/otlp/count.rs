//! What an OTLP request holds: decoded once, counted, its times and services entered into the report.

use std::sync::Arc;

use ::case::model::{Attributes, LogRecord, MetricPoint, Origin, PointData, Resource, Span, Value};
use ::case::{Nanos, Signal, TraceId};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::metrics::v1::{metric, number_data_point};
use opentelemetry_proto::tonic::resource::v1::Resource as ResourceMessage;
use prost::Message;

use crate::import::batch::Batch;

/// Decodes a request and enters what it holds into the report; the number of its items.
pub(super) fn count(signal: Signal, payload: &[u8], batch: &mut Batch<'_>) -> Result<u64, String> {
    let before = batch.report.items();
    let undecodable =
        |error: prost::DecodeError| format!("undecodable {} request: {error}", signal.name());
    match signal {
        Signal::Traces => traces(
            &ExportTraceServiceRequest::decode(payload).map_err(undecodable)?,
            batch,
        ),
        Signal::Logs => logs(
            &ExportLogsServiceRequest::decode(payload).map_err(undecodable)?,
            batch,
        ),
        Signal::Metrics => metrics(
            &ExportMetricsServiceRequest::decode(payload).map_err(undecodable)?,
            batch,
        ),
        other => return Err(format!("{} is no OTLP signal", other.name())),
    }
    Ok(batch.report.items() - before)
}

fn origin(resource: Option<&ResourceMessage>) -> Origin {
    let service = resource
        .and_then(|resource| {
            resource
                .attributes
                .iter()
                .find(|pair| pair.key == "service.name")
        })
        .and_then(|pair| pair.value.as_ref()?.value.as_ref())
        .and_then(|value| match value {
            any_value::Value::StringValue(text) => Some(text.clone()),
            _ => None,
        });
    let mut attributes = Attributes::default();
    if let Some(service) = service {
        attributes.push("service.name", Value::Text(service));
    }
    Origin {
        resource: Arc::new(Resource {
            attributes,
            ..Resource::default()
        }),
        ..Origin::default()
    }
}

fn traces(request: &ExportTraceServiceRequest, batch: &mut Batch<'_>) {
    for resource in &request.resource_spans {
        let origin = origin(resource.resource.as_ref());
        for span in resource.scope_spans.iter().flat_map(|scope| &scope.spans) {
            batch.saw_span(&Span {
                origin: origin.clone(),
                trace_id: TraceId::from_slice(&span.trace_id).unwrap_or_default(),
                name: span.name.clone(),
                start: Nanos(span.start_time_unix_nano),
                end: Nanos(span.end_time_unix_nano),
                ..Span::default()
            });
        }
    }
}

fn logs(request: &ExportLogsServiceRequest, batch: &mut Batch<'_>) {
    for resource in &request.resource_logs {
        let origin = origin(resource.resource.as_ref());
        for record in resource
            .scope_logs
            .iter()
            .flat_map(|scope| &scope.log_records)
        {
            batch.saw_log(&LogRecord {
                origin: origin.clone(),
                time: Nanos(record.time_unix_nano),
                observed: Nanos(record.observed_time_unix_nano),
                severity_text: record.severity_text.clone(),
                body: match record.body.as_ref().and_then(|body| body.value.as_ref()) {
                    Some(any_value::Value::StringValue(text)) => Value::Text(text.clone()),
                    _ => Value::Empty,
                },
                ..LogRecord::default()
            });
        }
    }
}

fn metrics(request: &ExportMetricsServiceRequest, batch: &mut Batch<'_>) {
    for resource in &request.resource_metrics {
        let origin = origin(resource.resource.as_ref());
        for metric in resource
            .scope_metrics
            .iter()
            .flat_map(|scope| &scope.metrics)
        {
            batch.report.metrics += 1;
            let mut saw = |at: u64, data: PointData| {
                batch.saw_point(&MetricPoint {
                    origin: origin.clone(),
                    name: metric.name.clone(),
                    description: String::new(),
                    unit: String::new(),
                    metadata: Attributes::default(),
                    attributes: Attributes::default(),
                    start: Nanos(0),
                    at: Nanos(at),
                    flags: 0,
                    data,
                    exemplars: Vec::new(),
                });
            };
            let number = |value: &Option<number_data_point::Value>| match value {
                Some(number_data_point::Value::AsInt(value)) => Value::Int(*value),
                Some(number_data_point::Value::AsDouble(value)) => Value::Double(*value),
                None => Value::Empty,
            };
            let distribution = |count: u64, sum: Option<f64>| PointData::Summary {
                count,
                sum: sum.unwrap_or(0.0),
                quantiles: Vec::new(),
            };
            match &metric.data {
                None => {}
                Some(metric::Data::Gauge(data)) => data
                    .data_points
                    .iter()
                    .for_each(|p| saw(p.time_unix_nano, PointData::Gauge(number(&p.value)))),
                Some(metric::Data::Sum(data)) => data
                    .data_points
                    .iter()
                    .for_each(|p| saw(p.time_unix_nano, PointData::Gauge(number(&p.value)))),
                Some(metric::Data::Histogram(data)) => data
                    .data_points
                    .iter()
                    .for_each(|p| saw(p.time_unix_nano, distribution(p.count, p.sum))),
                Some(metric::Data::ExponentialHistogram(data)) => data
                    .data_points
                    .iter()
                    .for_each(|p| saw(p.time_unix_nano, distribution(p.count, p.sum))),
                Some(metric::Data::Summary(data)) => data
                    .data_points
                    .iter()
                    .for_each(|p| saw(p.time_unix_nano, distribution(p.count, Some(p.sum)))),
            }
        }
    }
}
