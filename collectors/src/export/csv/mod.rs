//! CSV: one signal a file, the column names of the OpenTelemetry ClickHouse schema, nested things as JSON in a cell.
//!
//! The headers are those of the built-in mappings `casefile-spans`, `casefile-logs` and `casefile-metrics`, by which
//! the importer reads such a file back. Schema addresses, dropped counts, and the attributes of scopes have no column.

pub(crate) mod data;
mod json;

use std::io::Write;

use ::case::Signal;
use ::case::model::{LogRecord, MetricPoint, Span, StatusCode};
use ::csv::Writer;

use super::source::Rows;
use super::{ExportError, Report, Selection, order};
use data::{DataCell, ExemplarCell};
use json::{array, attributes, resource_attributes, value};

const SPANS: [&str; 17] = [
    "Timestamp",
    "TraceId",
    "SpanId",
    "ParentSpanId",
    "TraceState",
    "SpanName",
    "SpanKind",
    "ServiceName",
    "ResourceAttributes",
    "ScopeName",
    "ScopeVersion",
    "SpanAttributes",
    "Duration",
    "StatusCode",
    "StatusMessage",
    "Events",
    "Links",
];
const LOGS: [&str; 14] = [
    "Timestamp",
    "ObservedTimestamp",
    "TraceId",
    "SpanId",
    "TraceFlags",
    "SeverityText",
    "SeverityNumber",
    "ServiceName",
    "Body",
    "ResourceAttributes",
    "ScopeName",
    "ScopeVersion",
    "LogAttributes",
    "EventName",
];
const POINTS: [&str; 14] = [
    "TimeUnix",
    "StartTimeUnix",
    "ServiceName",
    "MetricName",
    "MetricDescription",
    "MetricUnit",
    "Type",
    "Data",
    "Attributes",
    "ResourceAttributes",
    "ScopeName",
    "ScopeVersion",
    "Flags",
    "Exemplars",
];
/// How often progress is told, in rows.
const TELL: u64 = 4_096;

pub(super) fn write(
    rows: &dyn Rows,
    selection: &Selection,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(u64),
) -> Result<Report, ExportError> {
    let [signal] = selection.signals.as_slice() else {
        return Err(ExportError::OneSignal(selection.signals.len()));
    };
    let mut report = Report::default();
    let mut writer = Writer::from_writer(out);
    let mut tell = |rows: u64| {
        if rows.is_multiple_of(TELL) {
            progress(rows);
        }
    };
    match signal {
        Signal::Logs => {
            writer.write_record(LOGS).map_err(io)?;
            order::logs(rows, selection, &mut |record| {
                report.logs += 1;
                tell(report.logs);
                writer
                    .write_record(log_cells(&record))
                    .map_err(|error| ExportError::Write(io(error)))
            })?;
        }
        Signal::Metrics => {
            writer.write_record(POINTS).map_err(io)?;
            order::points(rows, selection, &mut |point| {
                report.points += 1;
                tell(report.points);
                writer
                    .write_record(point_cells(&point))
                    .map_err(|error| ExportError::Write(io(error)))
            })?;
        }
        _ => {
            writer.write_record(SPANS).map_err(io)?;
            order::spans(rows, selection, &mut |span| {
                report.spans += 1;
                tell(report.spans);
                writer
                    .write_record(span_cells(&span))
                    .map_err(|error| ExportError::Write(io(error)))
            })?;
        }
    }
    writer.flush()?;
    Ok(report)
}

fn io(error: ::csv::Error) -> std::io::Error {
    match error.into_kind() {
        ::csv::ErrorKind::Io(error) => error,
        other => std::io::Error::other(format!("{other:?}")),
    }
}

fn id(id: impl ToString, is_some: bool) -> String {
    if is_some {
        id.to_string()
    } else {
        String::new()
    }
}

fn span_cells(span: &Span) -> [String; 17] {
    let resource = &span.origin.resource;
    let events = array(span.events.iter().map(|event| {
        format!(
            "{{\"time_unix_nano\":{},\"name\":{},\"attributes\":{}}}",
            event.at.0,
            json::text(&event.name),
            attributes(&event.attributes)
        )
    }));
    let links = array(span.links.iter().map(|link| {
        format!(
            "{{\"trace_id\":\"{}\",\"span_id\":\"{}\",\"trace_state\":{},\"attributes\":{}}}",
            link.trace_id,
            link.span_id,
            json::text(&link.trace_state),
            attributes(&link.attributes)
        )
    }));
    [
        span.start.to_string(),
        span.trace_id.to_string(),
        span.span_id.to_string(),
        id(span.parent_span_id, span.parent_span_id.is_some()),
        span.trace_state.clone(),
        span.name.clone(),
        span.kind.name().to_owned(),
        resource.service().to_owned(),
        resource_attributes(resource),
        span.origin.scope.name.clone(),
        span.origin.scope.version.clone(),
        attributes(&span.attributes),
        span.duration().to_string(),
        match span.status {
            StatusCode::Unset => String::new(),
            status => status.name().to_owned(),
        },
        span.status_message.clone(),
        events,
        links,
    ]
}

fn log_cells(record: &LogRecord) -> [String; 14] {
    let time = |at: ::case::Nanos| {
        if at.0 == 0 {
            String::new()
        } else {
            at.to_string()
        }
    };
    let resource = &record.origin.resource;
    [
        time(record.time),
        time(record.observed),
        id(record.trace_id, record.trace_id.is_some()),
        id(record.span_id, record.span_id.is_some()),
        record.flags.to_string(),
        record.severity_text.clone(),
        record.severity_number.to_string(),
        resource.service().to_owned(),
        value(&record.body),
        resource_attributes(resource),
        record.origin.scope.name.clone(),
        record.origin.scope.version.clone(),
        attributes(&record.attributes),
        record.event_name.clone(),
    ]
}

fn point_cells(point: &MetricPoint) -> [String; 14] {
    let time = |at: ::case::Nanos| {
        if at.0 == 0 {
            String::new()
        } else {
            at.to_string()
        }
    };
    let resource = &point.origin.resource;
    [
        time(point.at),
        time(point.start),
        resource.service().to_owned(),
        point.name.clone(),
        point.description.clone(),
        point.unit.clone(),
        point.data.kind().to_owned(),
        DataCell::from(&point.data).to_json(),
        attributes(&point.attributes),
        resource_attributes(resource),
        point.origin.scope.name.clone(),
        point.origin.scope.version.clone(),
        point.flags.to_string(),
        array(
            point
                .exemplars
                .iter()
                .map(|exemplar| ExemplarCell::from(exemplar).to_json()),
        ),
    ]
}
