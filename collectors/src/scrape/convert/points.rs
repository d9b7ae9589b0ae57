//! The metrics of one family: each kind's points.

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
    Summary, SummaryDataPoint,
};

use super::super::exposition::{Family, Kind, Remarks, Sample};
use super::series::Series;
use super::text;

/// Kinds that OTLP has no type for keep their name here.
const KIND_KEY: &str = "prometheus.type";

const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;

pub(super) fn metrics(
    family: &Family,
    samples: &[&Sample],
    now: u64,
    remarks: &mut Remarks,
) -> Vec<Metric> {
    let with = |suffix: &str, data: Data| {
        let metadata = match family.kind {
            Kind::Unknown | Kind::Info | Kind::StateSet | Kind::GaugeHistogram => {
                vec![text(KIND_KEY, family.kind.name())]
            }
            _ => Vec::new(),
        };
        vec![Metric {
            name: format!("{}{suffix}", family.name),
            description: family.help.clone(),
            unit: unit(&family.unit),
            metadata,
            data: Some(data),
        }]
    };
    match family.kind {
        Kind::Unknown | Kind::Gauge => {
            let data_points = numbers(samples, now, remarks);
            if data_points.is_empty() {
                return Vec::new();
            }
            with("", Data::Gauge(Gauge { data_points }))
        }
        Kind::Counter | Kind::Info | Kind::StateSet => {
            let suffix = samples
                .iter()
                .map(|sample| sample.suffix)
                .find(|suffix| *suffix != "_created");
            let data_points = numbers(samples, now, remarks);
            if data_points.is_empty() {
                return Vec::new();
            }
            with(
                suffix.unwrap_or(""),
                Data::Sum(Sum {
                    data_points,
                    aggregation_temporality: CUMULATIVE,
                    is_monotonic: family.kind == Kind::Counter,
                }),
            )
        }
        Kind::Histogram | Kind::GaugeHistogram => {
            let points: Vec<HistogramDataPoint> = Series::group(samples, Some("le"), now, remarks)
                .iter()
                .filter_map(|series| match histogram(series, remarks) {
                    Ok(point) => Some(point),
                    Err(reason) => {
                        remarks.add(series.line, format!("histogram left out: {reason}"));
                        None
                    }
                })
                .collect();
            if points.is_empty() {
                return Vec::new();
            }
            with(
                "",
                Data::Histogram(Histogram {
                    data_points: points,
                    // A gauge histogram is a state, neither counted from a start nor from the last point.
                    aggregation_temporality: match family.kind {
                        Kind::Histogram => CUMULATIVE,
                        _ => AggregationTemporality::Unspecified as i32,
                    },
                }),
            )
        }
        Kind::Summary => {
            let points: Vec<SummaryDataPoint> =
                Series::group(samples, Some("quantile"), now, remarks)
                    .iter()
                    .map(|series| summary(series, remarks))
                    .collect();
            if points.is_empty() {
                return Vec::new();
            }
            with(
                "",
                Data::Summary(Summary {
                    data_points: points,
                }),
            )
        }
    }
}

fn numbers(samples: &[&Sample], now: u64, remarks: &mut Remarks) -> Vec<NumberDataPoint> {
    Series::group(samples, None, now, remarks)
        .iter()
        .filter_map(|series| {
            let sample = series.samples.first()?;
            Some(NumberDataPoint {
                attributes: series.attributes(None),
                start_time_unix_nano: series.start,
                time_unix_nano: series.at,
                value: Some(Number::AsDouble(sample.value)),
                exemplars: series.exemplars(),
                flags: 0,
            })
        })
        .collect()
}

/// A count as OTLP wants it, if it is one.
fn whole(value: f64) -> Option<u64> {
    (value >= 0.0 && value.fract() == 0.0 && value < u64::MAX as f64).then_some(value as u64)
}

fn labelled(sample: &Sample, label: &str) -> Option<f64> {
    let (_, text) = sample.labels.iter().find(|(name, _)| name == label)?;
    text.parse().ok()
}

fn histogram(
    series: &Series<'_>,
    remarks: &mut Remarks,
) -> Result<HistogramDataPoint, &'static str> {
    let mut buckets: Vec<(f64, u64)> = Vec::new();
    let (mut count, mut sum) = (None, None);
    for sample in &series.samples {
        match sample.suffix {
            "_bucket" => {
                let bound = labelled(sample, "le")
                    .filter(|bound| !bound.is_nan())
                    .ok_or("a bucket's bound is no number")?;
                buckets.push((
                    bound,
                    whole(sample.value).ok_or("a bucket's count is no whole number")?,
                ));
            }
            "_count" | "_gcount" => {
                count = Some(whole(sample.value).ok_or("its count is no whole number")?)
            }
            "_sum" | "_gsum" => sum = Some(sample.value),
            _ => remarks.add(
                sample.line,
                "left out: a histogram's sample without _bucket, _sum or _count",
            ),
        }
    }
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    if buckets
        .windows(2)
        .any(|pair| matches!(pair, [a, b] if a.0 == b.0))
    {
        return Err("two buckets have the same bound");
    }
    let total = match buckets.last() {
        Some((bound, total)) if *bound == f64::INFINITY => *total,
        last => {
            let total = count.ok_or("neither a count nor a +Inf bucket")?;
            if last.is_some_and(|(_, counted)| *counted > total) {
                return Err("its count is below a bucket's");
            }
            if last.is_some() {
                buckets.push((f64::INFINITY, total));
            }
            total
        }
    };
    if count.is_some_and(|count| count != total) {
        remarks.add(
            series.line,
            "a histogram's count is not its +Inf bucket's, which was kept",
        );
    }
    let mut before = 0;
    let mut counts = Vec::with_capacity(buckets.len());
    for (_, cumulative) in &buckets {
        counts.push(
            cumulative
                .checked_sub(before)
                .ok_or("its bucket counts fall")?,
        );
        before = *cumulative;
    }
    let bounds = buckets
        .iter()
        .map(|(bound, _)| *bound)
        .filter(|bound| *bound != f64::INFINITY)
        .collect();
    Ok(HistogramDataPoint {
        attributes: series.attributes(Some("le")),
        start_time_unix_nano: series.start,
        time_unix_nano: series.at,
        count: total,
        sum,
        bucket_counts: counts,
        explicit_bounds: bounds,
        exemplars: series.exemplars(),
        ..HistogramDataPoint::default()
    })
}

fn summary(series: &Series<'_>, remarks: &mut Remarks) -> SummaryDataPoint {
    let mut point = SummaryDataPoint {
        attributes: series.attributes(Some("quantile")),
        start_time_unix_nano: series.start,
        time_unix_nano: series.at,
        ..SummaryDataPoint::default()
    };
    for sample in &series.samples {
        match sample.suffix {
            "_count" => match whole(sample.value) {
                Some(count) => point.count = count,
                None => remarks.add(
                    sample.line,
                    "left out: a summary's count is no whole number",
                ),
            },
            "_sum" => point.sum = sample.value,
            _ => match labelled(sample, "quantile") {
                Some(quantile) => point.quantile_values.push(ValueAtQuantile {
                    quantile,
                    value: sample.value,
                }),
                None => remarks.add(
                    sample.line,
                    "left out: a summary's sample without a quantile",
                ),
            },
        }
    }
    point
        .quantile_values
        .sort_by(|a, b| a.quantile.total_cmp(&b.quantile));
    point
}

/// OpenMetrics spells units out, OTLP writes them by UCUM.
fn unit(spelt: &str) -> String {
    match spelt {
        "seconds" => "s",
        "milliseconds" => "ms",
        "microseconds" => "us",
        "nanoseconds" => "ns",
        "minutes" => "min",
        "hours" => "h",
        "days" => "d",
        "bytes" => "By",
        "kibibytes" => "KiBy",
        "mebibytes" => "MiBy",
        "gibibytes" => "GiBy",
        "kilobytes" => "KBy",
        "megabytes" => "MBy",
        "gigabytes" => "GBy",
        "meters" => "m",
        "volts" => "V",
        "amperes" => "A",
        "joules" => "J",
        "watts" => "W",
        "grams" => "g",
        "celsius" => "Cel",
        "hertz" => "Hz",
        "ratio" => "1",
        "percent" => "%",
        other => other,
    }
    .to_owned()
}
