//! A row that is a span, a log record or a metric point.

use ::case::model::{
    Attributes, LogRecord, MetricPoint, PointData, Span, SpanEvent, SpanKind, SpanLink, StatusCode,
    Value,
};
use ::case::{Nanos, SpanId, TraceId};
use serde::Deserialize;

use super::mapping::FieldName;
use super::plan::Plan;
use super::split::Record;
use crate::export::csv::data::{DataCell, ExemplarCell};
use crate::import::any::Any;
use crate::import::ids;
use crate::import::logs::fields;
use crate::import::report::clip;

pub(super) fn span(record: &Record, plan: &mut Plan) -> Result<Span, String> {
    let required = |name: FieldName| {
        plan.text(name, record)?.ok_or_else(|| {
            format!(
                "the {} is empty",
                if name == FieldName::TraceId {
                    "trace id"
                } else {
                    "span id"
                }
            )
        })
    };
    let trace_id = ids::trace_id(&required(FieldName::TraceId)?)?;
    let span_id = ids::span_id(&required(FieldName::SpanId)?)?;
    let parent_span_id = match plan.text(FieldName::ParentSpanId, record)? {
        Some(text) => ids::parent_id(&text)?,
        None => SpanId::NONE,
    };
    let start = plan
        .time(FieldName::Start, record)?
        .ok_or("the start is empty")?;
    let end = match plan.time(FieldName::End, record)? {
        Some(end) => end,
        None => {
            let duration = plan.time(FieldName::Duration, record)?.unwrap_or_default();
            Nanos(
                start
                    .0
                    .checked_add(duration.0)
                    .ok_or("start and duration reach beyond the year 2554")?,
            )
        }
    };
    let attributes = plan.attributes(record)?;
    Ok(Span {
        trace_id,
        span_id,
        parent_span_id,
        trace_state: plan.owned(FieldName::TraceState, record)?,
        flags: plan.number(FieldName::Flags, record)?,
        name: plan.owned(FieldName::Name, record)?,
        kind: named(plan, FieldName::Kind, record, SpanKind::ALL, SpanKind::name)?,
        start,
        end,
        status: named(
            plan,
            FieldName::Status,
            record,
            StatusCode::ALL,
            StatusCode::name,
        )?,
        status_message: plan.owned(FieldName::StatusMessage, record)?,
        attributes,
        events: list::<EventCell>(plan, FieldName::EventsJson, record)?
            .into_iter()
            .map(|event| {
                Ok(SpanEvent {
                    at: Nanos(event.time_unix_nano),
                    name: event.name,
                    attributes: pairs(event.attributes)?,
                    ..SpanEvent::default()
                })
            })
            .collect::<Result<_, String>>()?,
        links: list::<LinkCell>(plan, FieldName::LinksJson, record)?
            .into_iter()
            .map(|link| {
                Ok(SpanLink {
                    trace_id: ids::trace_id(&link.trace_id)?,
                    span_id: ids::span_id(&link.span_id)?,
                    trace_state: link.trace_state,
                    attributes: pairs(link.attributes)?,
                    ..SpanLink::default()
                })
            })
            .collect::<Result<_, String>>()?,
        origin: plan.origin(record)?,
        ..Span::default()
    })
}

pub(super) fn log(
    record: &Record,
    plan: &mut Plan,
    at: Option<Nanos>,
) -> Result<LogRecord, String> {
    let observed = plan.time(FieldName::Observed, record)?;
    let time = match plan.time(FieldName::Time, record)?.or(at) {
        Some(time) => time,
        None if observed.is_some() => Nanos(0),
        None => return Err("the time is empty".to_owned()),
    };
    let trace_id = match plan.text(FieldName::TraceId, record)? {
        Some(text) => ids::trace_id(&text)?,
        None => TraceId::NONE,
    };
    let span_id = match plan.text(FieldName::SpanId, record)? {
        Some(text) => ids::span_id(&text)?,
        None => SpanId::NONE,
    };
    let severity_text = plan.owned(FieldName::Level, record)?;
    let severity_number = match plan.text(FieldName::SeverityNumber, record)? {
        Some(_) => plan.number(FieldName::SeverityNumber, record)?,
        None => fields::severity(&severity_text).unwrap_or(0),
    };
    let body = match plan.text(FieldName::Message, record)? {
        Some(text) => Value::Text(text.into_owned()),
        None => plan.json(FieldName::MessageJson, record)?,
    };
    Ok(LogRecord {
        time,
        observed: observed.unwrap_or_default(),
        severity_number,
        severity_text,
        body,
        trace_id,
        span_id,
        flags: plan.number(FieldName::Flags, record)?,
        event_name: plan.owned(FieldName::EventName, record)?,
        attributes: plan.attributes(record)?,
        origin: plan.origin(record)?,
        ..LogRecord::default()
    })
}

pub(super) fn point(record: &Record, plan: &mut Plan) -> Result<MetricPoint, String> {
    let at = plan.time(FieldName::Time, record)?.unwrap_or_default();
    let data = match plan.text(FieldName::DataJson, record)? {
        Some(text) => {
            let cell: DataCell = serde_json::from_str(&text)
                .map_err(|error| format!("Data: {}", crate::import::json_reason(&error)))?;
            cell.into_data(&plan.owned(FieldName::PointKind, record)?)?
        }
        None => match plan.text(FieldName::Value, record)? {
            Some(text) => PointData::Gauge(number(&text)?),
            None => return Err("the value is empty".to_owned()),
        },
    };
    let exemplars = list::<ExemplarCell>(plan, FieldName::ExemplarsJson, record)?
        .into_iter()
        .map(ExemplarCell::into_exemplar)
        .collect::<Result<_, String>>()?;
    Ok(MetricPoint {
        name: plan.owned(FieldName::Metric, record)?,
        description: plan.owned(FieldName::Description, record)?,
        unit: plan.owned(FieldName::Unit, record)?,
        metadata: Attributes::default(),
        attributes: plan.attributes(record)?,
        start: plan.time(FieldName::Start, record)?.unwrap_or_default(),
        at,
        flags: plan.number(FieldName::Flags, record)?,
        data,
        exemplars,
        origin: plan.origin(record)?,
    })
}

/// A number as text: an integer where it is one.
pub(super) fn number(text: &str) -> Result<Value, String> {
    if let Ok(value) = text.parse::<i64>() {
        return Ok(Value::Int(value));
    }
    text.parse::<f64>()
        .map(Value::Double)
        .map_err(|_| format!("{} is no number", clip(text)))
}

fn named<T: Copy + Default, const N: usize>(
    plan: &Plan,
    field: FieldName,
    record: &Record,
    all: [T; N],
    name: fn(T) -> &'static str,
) -> Result<T, String> {
    let Some(text) = plan.text(field, record)? else {
        return Ok(T::default());
    };
    all.into_iter()
        .find(|one| name(*one).eq_ignore_ascii_case(&text))
        .ok_or_else(|| format!("{} is no known {field:?}", clip(&text)))
}

fn list<T: serde::de::DeserializeOwned>(
    plan: &Plan,
    name: FieldName,
    record: &Record,
) -> Result<Vec<T>, String> {
    match plan.text(name, record)? {
        Some(text) => serde_json::from_str(&text)
            .map_err(|error| format!("{name:?}: {}", crate::import::json_reason(&error))),
        None => Ok(Vec::new()),
    }
}

fn pairs(any: Option<Any>) -> Result<Attributes, String> {
    match any {
        Some(Any(Value::Map(pairs))) => Ok(pairs),
        None | Some(Any(Value::Empty)) => Ok(Attributes::default()),
        Some(_) => Err("attributes are no JSON object".to_owned()),
    }
}

#[derive(Deserialize)]
struct EventCell {
    time_unix_nano: u64,
    #[serde(default)]
    name: String,
    #[serde(default)]
    attributes: Option<Any>,
}

#[derive(Deserialize)]
struct LinkCell {
    trace_id: String,
    span_id: String,
    #[serde(default)]
    trace_state: String,
    #[serde(default)]
    attributes: Option<Any>,
}
