//! From families of samples to OTLP metrics, by the Prometheus compatibility rules of OpenTelemetry.
//!
//! Counters become monotonic cumulative sums, histograms lose their accumulation, `_created` becomes the start time,
//! `target_info` describes the resource, `otel_scope_*` labels name the scope. What OTLP can't hold is left out with a
//! remark that names the line.

mod points;
mod series;

use std::collections::HashMap;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics,
};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::exposition::{Family, Kind, Page, Remarks, Sample, label_key};

/// The scope of metrics that name none, and of what the scraper measures itself.
pub(crate) const SCOPE: &str = "casefile.scrape";

/// What is known of a page beside its text.
pub struct Context<'a> {
    /// When the page was asked for, nanoseconds since 1970: the time of samples that say none.
    pub at: u64,
    pub resource: &'a [(String, String)],
}

/// What the scraper measured itself.
pub(super) struct Measured {
    pub up: bool,
    pub seconds: f64,
    pub samples: usize,
}

/// Everything one scrape found, in one request; what could not be carried over is added to `remarks`.
pub(super) fn request(
    page: &Page,
    measured: &Measured,
    context: &Context<'_>,
    remarks: &mut Remarks,
) -> ExportMetricsServiceRequest {
    let mut request = page_to_otlp(page, context, remarks);
    let own = request
        .resource_metrics
        .first_mut()
        .and_then(|resource| resource.scope_metrics.first_mut());
    if let Some(own) = own {
        own.metrics.extend(own_metrics(measured, context.at));
    }
    request
}

/// A page as OTLP. The first scope is the one of metrics that name none.
pub fn page_to_otlp(
    page: &Page,
    context: &Context<'_>,
    remarks: &mut Remarks,
) -> ExportMetricsServiceRequest {
    let mut resource: Vec<(String, String)> = context.resource.to_vec();
    let mut scopes: Vec<ScopeMetrics> = vec![scope(&[])];
    let mut places: HashMap<String, usize> = HashMap::from([(String::new(), 0)]);
    for family in &page.families {
        if is_target_info(family) {
            describe_resource(family, &mut resource);
            continue;
        }
        for part in by_scope(&family.samples) {
            let metrics = points::metrics(family, &part.samples, context.at, remarks);
            let place = *places.entry(part.key).or_insert(scopes.len());
            match scopes.get_mut(place) {
                Some(known) => known.metrics.extend(metrics),
                None => scopes.push(ScopeMetrics {
                    metrics,
                    ..scope(&part.labels)
                }),
            }
        }
    }
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Resource {
                attributes: resource
                    .iter()
                    .map(|(name, value)| text(name, value))
                    .collect(),
                ..Resource::default()
            }),
            scope_metrics: scopes,
            schema_url: String::new(),
        }],
    }
}

fn own_metrics(measured: &Measured, at: u64) -> [Metric; 3] {
    let gauge = |name: &str, unit: &str, description: &str, value: f64| Metric {
        name: name.into(),
        unit: unit.into(),
        description: description.into(),
        data: Some(Data::Gauge(Gauge {
            data_points: vec![NumberDataPoint {
                time_unix_nano: at,
                value: Some(Number::AsDouble(value)),
                ..NumberDataPoint::default()
            }],
        })),
        ..Metric::default()
    };
    [
        gauge(
            "up",
            "1",
            "Whether the target answered with a readable page.",
            f64::from(u8::from(measured.up)),
        ),
        gauge(
            "scrape_duration_seconds",
            "s",
            "How long the scrape took.",
            measured.seconds,
        ),
        gauge(
            "scrape_samples_scraped",
            "1",
            "Samples on the page.",
            measured.samples as f64,
        ),
    ]
}

fn is_target_info(family: &Family) -> bool {
    matches!(
        (family.kind, family.name.as_str()),
        (Kind::Info, "target") | (Kind::Gauge | Kind::Unknown, "target_info")
    )
}

/// What the scraper knows of a target stands above what the target says of itself. One sample is enough for that.
fn describe_resource(family: &Family, resource: &mut Vec<(String, String)>) {
    let labels = family
        .samples
        .first()
        .map_or(&[][..], |sample| &sample.labels);
    for (name, value) in labels {
        if !matches!(name.as_str(), "job" | "instance")
            && !resource.iter().any(|(known, _)| known == name)
        {
            resource.push((name.clone(), value.clone()));
        }
    }
}

fn is_scope_label(name: &str) -> bool {
    name.starts_with("otel_scope_")
}

/// The samples of a family that name the same scope.
struct ScopePart<'a> {
    key: String,
    labels: Vec<(String, String)>,
    samples: Vec<&'a Sample>,
}

/// The samples of a family apart by the scope their labels name. Nearly always there is one.
fn by_scope(samples: &[Sample]) -> Vec<ScopePart<'_>> {
    let mut parts: Vec<ScopePart<'_>> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for sample in samples {
        let labels = || {
            sample
                .labels
                .iter()
                .filter(|(name, _)| is_scope_label(name))
        };
        let key = label_key(labels().map(|(name, value)| (name.as_str(), value.as_str())));
        let place = places.get(&key).copied().unwrap_or(parts.len());
        match parts.get_mut(place) {
            Some(part) => part.samples.push(sample),
            None => {
                places.insert(key.clone(), place);
                parts.push(ScopePart {
                    key,
                    labels: labels().cloned().collect(),
                    samples: vec![sample],
                });
            }
        }
    }
    parts
}

fn scope(labels: &[(String, String)]) -> ScopeMetrics {
    let mut scope = InstrumentationScope {
        name: SCOPE.into(),
        ..InstrumentationScope::default()
    };
    for (name, value) in labels {
        match name.as_str() {
            "otel_scope_name" => scope.name.clone_from(value),
            "otel_scope_version" => scope.version.clone_from(value),
            other => scope
                .attributes
                .push(text(other.trim_start_matches("otel_scope_"), value)),
        }
    }
    scope.attributes.sort_by(|a, b| a.key.cmp(&b.key));
    ScopeMetrics {
        scope: Some(scope),
        ..ScopeMetrics::default()
    }
}

fn text(name: &str, value: &str) -> KeyValue {
    KeyValue {
        key: name.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}

#[cfg(test)]
pub(super) mod tests;
