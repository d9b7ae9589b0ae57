//! Metrics pages. What is read must become OTLP that is consistent in itself, and no line may be named that isn't there.

use collectors::scrape::exposition::{Format, Limits, Page, Remarks, parse};
use collectors::scrape::{Context, page_to_otlp};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;

use crate::harness::{Target, files};

pub(super) fn target() -> Target {
    Target {
        name: "exposition",
        about: "Prometheus text and OpenMetrics pages, and their OTLP",
        seeds: || files("src/scrape/exposition/corpus"),
        words: &[
            b"# TYPE a histogram\n",
            b"# TYPE a counter\n",
            b"# TYPE a summary\n",
            b"# TYPE a stateset\n",
            b"# HELP a \\n\n",
            b"# UNIT a_seconds seconds\n",
            b"# EOF\n",
            b"a_bucket{le=\"+Inf\"} 1\n",
            b"a_created 1\n",
            b" # {trace_id=\"0af7651916cd43dd8448eb211c80319c\"} 1 1\n",
            b"{\"a.b\",\"c d\"=\"e\"} 1\n",
            b"otel_scope_name=\"x\"",
            b"target_info{a=\"b\"} 1\n",
            b"quantile=\"0.5\"",
            b"NaN",
            b"-Inf",
            b"1e999",
            b"-0.000000001",
            b"99999999999999999999999",
            b"\\",
            b"\xff",
        ],
        run,
    }
}

fn run(input: &[u8]) -> Result<String, String> {
    let limits = Limits {
        samples: 5_000,
        ..Limits::default()
    };
    let mut answers = String::new();
    for format in [Format::Classic, Format::OpenMetrics] {
        match parse(format, input, &limits) {
            Ok(page) => {
                consistent(&page)?;
                answers.push_str("taken;");
            }
            Err(error) => {
                let lines = input.iter().filter(|byte| **byte == b'\n').count() + 1;
                if !(1..=lines).contains(&error.line) {
                    return Err(format!("line {} of {lines} is blamed", error.line));
                }
                // Reasons quote the page; what is quoted makes no other kind of answer.
                answers.extend(error.reason.split('"').step_by(2));
            }
        }
    }
    Ok(answers)
}

fn consistent(page: &Page) -> Result<(), String> {
    let mut remarks = Remarks::default();
    let context = Context {
        at: 1_700_000_000_000_000_000,
        resource: &[],
    };
    let request = page_to_otlp(page, &context, &mut remarks);
    let mut points = 0;
    let metrics = request
        .resource_metrics
        .iter()
        .flat_map(|resource| &resource.scope_metrics)
        .flat_map(|scope| &scope.metrics);
    for metric in metrics {
        points += match metric.data.as_ref() {
            Some(Data::Gauge(gauge)) => gauge.data_points.len(),
            Some(Data::Sum(sum)) => sum.data_points.len(),
            Some(Data::Summary(summary)) => summary.data_points.len(),
            Some(Data::Histogram(histogram)) => {
                for point in &histogram.data_points {
                    let counted: u64 = point.bucket_counts.iter().sum();
                    if !point.bucket_counts.is_empty()
                        && (counted != point.count
                            || point.bucket_counts.len() != point.explicit_bounds.len() + 1)
                    {
                        return Err(format!(
                            "{} has buckets that don't fit its count",
                            metric.name
                        ));
                    }
                    if point
                        .explicit_bounds
                        .windows(2)
                        .any(|pair| pair[0] >= pair[1])
                    {
                        return Err(format!("{} has bounds that don't rise", metric.name));
                    }
                }
                histogram.data_points.len()
            }
            _ => return Err(format!("{} has no data", metric.name)),
        };
    }
    if points > page.samples() {
        return Err(format!("{points} points of {} samples", page.samples()));
    }
    Ok(())
}
