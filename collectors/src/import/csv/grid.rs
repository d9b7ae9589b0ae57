//! Files where a cell is a point: a column a metric, columns under several header rows, or a square of callers and
//! called. Empty cells and NaN are gaps: noted, not bad.

use std::collections::HashMap;
use std::sync::Arc;

use ::case::Nanos;
use ::case::model::{Attributes, MetricPoint, Origin, PointData, Resource, Value};

use super::mapping::{FieldName, Mapping, MappingError};
use super::plan::Plan;
use super::rows::number;
use super::{Row, Rows};
use crate::import::batch::Batch;
use crate::import::logs::stamp;
use crate::import::report::clip;
use crate::import::{ImportError, Stop};

/// A column that is a metric.
struct Metric {
    place: usize,
    name: String,
    unit: String,
    attributes: Attributes,
    origin: Origin,
}

impl Metric {
    fn point(&self, origin: &Origin, at: Nanos, value: Value) -> MetricPoint {
        MetricPoint {
            origin: origin.clone(),
            name: self.name.clone(),
            description: String::new(),
            unit: self.unit.clone(),
            metadata: Attributes::default(),
            attributes: self.attributes.clone(),
            start: Nanos(0),
            at,
            flags: 0,
            data: PointData::Gauge(value),
            exemplars: Vec::new(),
        }
    }
}

const GAPS: &str = "cells were empty or NaN: gaps, of which no point was made";

/// The value of a cell; `None` for a gap.
fn cell(text: &str) -> Result<Option<Value>, String> {
    match text.trim() {
        "" | "NaN" | "nan" => Ok(None),
        text => number(text).map(Some),
    }
}

/// A row a moment, a column a metric: `CpuUsage(m)` is the metric `CpuUsage` in the unit `m`.
pub(super) fn wide(
    rows: &mut Rows<'_, '_>,
    mapping: &Mapping,
    mut plan: Plan,
    header: &[String],
    batch: &mut Batch<'_>,
) -> Result<(), Stop> {
    let used: Vec<usize> = plan.used().collect();
    let metrics: Vec<Metric> = header
        .iter()
        .enumerate()
        .filter(|(place, name)| !used.contains(place) && !mapping.ignore.contains(name))
        .map(|(place, name)| {
            let (name, unit) = match name.strip_suffix(')').and_then(|name| name.split_once('(')) {
                Some((name, unit)) => (name, unit),
                None => (
                    name.as_str(),
                    mapping.units.get(name).map_or("", String::as_str),
                ),
            };
            Metric {
                place,
                name: name.to_owned(),
                unit: unit.to_owned(),
                attributes: Attributes::default(),
                origin: Origin::default(),
            }
        })
        .collect();
    rows.each(plan.width, batch, &mut |record, batch| {
        let at = plan
            .time(FieldName::Time, record)?
            .ok_or_else(|| "the time is empty".to_owned())?;
        let origin = plan.origin(record)?;
        // A row is taken whole or not at all.
        let mut values = Vec::with_capacity(metrics.len());
        for metric in &metrics {
            let value = cell(record.text(metric.place)?)
                .map_err(|reason| format!("{}: {reason}", metric.name))?;
            values.push(value);
        }
        for (metric, value) in metrics.iter().zip(values) {
            match value {
                Some(value) => batch
                    .point(metric.point(&origin, at, value))
                    .map_err(Row::Stop)?,
                None => batch.report.note(GAPS),
            }
        }
        Ok(())
    })
}

/// Several header rows say what a column is; the first column of the rows below is the time.
pub(super) fn matrix(
    rows: &mut Rows<'_, '_>,
    mapping: &Mapping,
    batch: &mut Batch<'_>,
) -> Result<(), Stop> {
    let mut headers = Vec::with_capacity(mapping.header_rows.len());
    for _ in &mapping.header_rows {
        headers.push(rows.header(mapping)?);
    }
    let incomplete = |reason: String| {
        Stop::Import(ImportError::Mapping(MappingError::Incomplete {
            mapping: mapping.name.clone(),
            reason,
        }))
    };
    // The row that names the time has nothing else to say.
    if mapping.header.len() > mapping.header_rows.len() {
        rows.header(mapping)?;
    }
    let width = headers.first().map_or(0, Vec::len);
    if let Some(n) = headers.iter().position(|row| row.len() != width) {
        return Err(incomplete(format!(
            "header row {} has {} cells, the first has {width}",
            n + 1,
            headers[n].len()
        )));
    }
    let mut resources: HashMap<String, Arc<Resource>> = HashMap::new();
    let metrics: Vec<Metric> = (1..width)
        .map(|place| {
            let mut metric = Metric {
                place,
                name: String::new(),
                unit: String::new(),
                attributes: Attributes::default(),
                origin: Origin::default(),
            };
            for (role, row) in mapping.header_rows.iter().zip(&headers) {
                let text = row[place].clone();
                match role.as_str() {
                    "metric" => metric.name = text,
                    "service" => metric.origin = with_service(&mut resources, &text),
                    attribute => metric.attributes.push(attribute, Value::Text(text)),
                }
            }
            metric.unit = mapping.units.get(&metric.name).cloned().unwrap_or_default();
            metric
        })
        .collect();
    rows.each(width, batch, &mut |record, batch| {
        let at = stamp::parse(record.text(0)?)?.at;
        let mut values = Vec::with_capacity(metrics.len());
        for metric in &metrics {
            let value = cell(record.text(metric.place)?)
                .map_err(|reason| format!("column {}: {reason}", metric.place + 1))?;
            values.push(value);
        }
        for (metric, value) in metrics.iter().zip(values) {
            match value {
                Some(value) => batch
                    .point(metric.point(&metric.origin, at, value))
                    .map_err(Row::Stop)?,
                None => batch.report.note(GAPS),
            }
        }
        Ok(())
    })
}

/// A square: the row's name calls the column's where the cell is not 0.
pub(super) fn edges(
    rows: &mut Rows<'_, '_>,
    mapping: &Mapping,
    at: Option<Nanos>,
    batch: &mut Batch<'_>,
) -> Result<(), Stop> {
    let header = rows.header(mapping)?;
    let mut resources = HashMap::new();
    rows.each(header.len(), batch, &mut |record, batch| {
        let client = record.text(0)?.to_owned();
        if !header[1..].contains(&client) {
            return Err(Row::Bad(format!(
                "{} names a row, but no column",
                clip(&client)
            )));
        }
        let mut calls = Vec::new();
        for (place, server) in header.iter().enumerate().skip(1) {
            match cell(record.text(place)?)
                .map_err(|reason| format!("column {}: {reason}", place + 1))?
            {
                None | Some(Value::Int(0)) => {}
                Some(Value::Double(0.0)) => {}
                Some(value) => calls.push((server, value)),
            }
        }
        for (server, value) in calls {
            let mut attributes = Attributes::default();
            attributes.push("client", Value::Text(client.clone()));
            attributes.push("server", Value::Text(server.clone()));
            let metric = Metric {
                place: 0,
                name: mapping.metric.clone(),
                unit: "1".to_owned(),
                attributes,
                origin: with_service(&mut resources, &client),
            };
            batch
                .point(metric.point(&metric.origin, at.unwrap_or_default(), value))
                .map_err(Row::Stop)?;
        }
        Ok(())
    })
}

fn with_service(resources: &mut HashMap<String, Arc<Resource>>, service: &str) -> Origin {
    let resource = resources
        .entry(service.to_owned())
        .or_insert_with_key(|service| {
            let mut attributes = Attributes::default();
            if !service.is_empty() {
                attributes.push("service.name", Value::Text(service.clone()));
            }
            Arc::new(Resource {
                attributes,
                ..Resource::default()
            })
        })
        .clone();
    Origin {
        resource,
        ..Origin::default()
    }
}
