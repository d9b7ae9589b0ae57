//! Pages turned into OTLP, value for value.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use opentelemetry_proto::tonic::metrics::v1::{HistogramDataPoint, SummaryDataPoint};

use super::super::exposition::{Format, Limits, parse};
use super::*;

const NOW: u64 = 1_700_000_000_000_000_000;

/// Converts a page as the scraper does; also what the mutated pages go through.
pub(crate) fn convert(page: &Page) -> (ExportMetricsServiceRequest, Remarks) {
    let mut remarks = Remarks::default();
    let context = Context {
        at: NOW,
        resource: &[
            ("service.name".into(), "payment".into()),
            ("service.instance.id".into(), "payment-1".into()),
        ],
    };
    let measured = Measured {
        up: true,
        seconds: 0.25,
        samples: page.samples(),
    };
    let request = request(page, &measured, &context, &mut remarks);
    (request, remarks)
}

fn metrics(format: Format, text: &str) -> (Vec<Metric>, Remarks) {
    let page = parse(format, text.as_bytes(), &Limits::default()).unwrap();
    let (request, remarks) = convert(&page);
    let scopes = &request.resource_metrics[0].scope_metrics;
    assert_eq!(scopes.len(), 1);
    let mut metrics = scopes[0].metrics.clone();
    let own: Vec<String> = metrics
        .split_off(metrics.len() - 3)
        .into_iter()
        .map(|metric| metric.name)
        .collect();
    assert_eq!(
        own,
        ["up", "scrape_duration_seconds", "scrape_samples_scraped"]
    );
    (metrics, remarks)
}

fn numbers(metric: &Metric) -> Vec<NumberDataPoint> {
    match metric.data.clone().unwrap() {
        Data::Gauge(gauge) => gauge.data_points,
        Data::Sum(sum) => sum.data_points,
        other => panic!("{other:?}"),
    }
}

fn histograms(metric: &Metric) -> Vec<HistogramDataPoint> {
    match metric.data.clone().unwrap() {
        Data::Histogram(histogram) => histogram.data_points,
        other => panic!("{other:?}"),
    }
}

fn summaries(metric: &Metric) -> Vec<SummaryDataPoint> {
    match metric.data.clone().unwrap() {
        Data::Summary(summary) => summary.data_points,
        other => panic!("{other:?}"),
    }
}

fn double(point: &NumberDataPoint) -> f64 {
    match point.value.unwrap() {
        Number::AsDouble(value) => value,
        Number::AsInt(value) => panic!("{value} as an integer"),
    }
}

#[test]
fn counters_are_cumulative_monotonic_sums_from_their_start() {
    let (metrics, remarks) = metrics(
        Format::OpenMetrics,
        "# TYPE req_seconds counter\n# UNIT req_seconds seconds\n# HELP req_seconds busy\nreq_seconds_total{m=\"get\"} 5 1699999999.5 # {trace_id=\"0AF7651916cd43dd8448eb211c80319c\",span_id=\"b7ad6b7169203331\",user=\"u\"} 0.5 1699999998\nreq_seconds_created{m=\"get\"} 1600000000.25 1699999999.5\nreq_seconds_total{m=\"put\"} 1\n# EOF\n",
    );
    assert_eq!(remarks, Remarks::default());
    let metric = &metrics[0];
    assert_eq!(
        (
            metric.name.as_str(),
            metric.unit.as_str(),
            metric.description.as_str()
        ),
        ("req_seconds_total", "s", "busy")
    );
    let Some(Data::Sum(sum)) = &metric.data else {
        panic!()
    };
    assert!(sum.is_monotonic && sum.aggregation_temporality == 2);
    let [get, put] = &sum.data_points[..] else {
        panic!()
    };
    assert_eq!(get.attributes, [text("m", "get")]);
    assert_eq!(
        (get.start_time_unix_nano, get.time_unix_nano),
        (1_600_000_000_250_000_000, 1_699_999_999_500_000_000)
    );
    assert_eq!(
        (put.start_time_unix_nano, put.time_unix_nano, double(put)),
        (0, NOW, 1.0)
    );
    let exemplar = &get.exemplars[0];
    assert_eq!(
        exemplar.trace_id,
        [
            0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd, 0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80,
            0x31, 0x9c
        ]
    );
    assert_eq!(
        exemplar.span_id,
        [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]
    );
    assert_eq!(exemplar.filtered_attributes, [text("user", "u")]);
    assert_eq!(exemplar.time_unix_nano, 1_699_999_998_000_000_000);
}

#[test]
fn an_exemplar_without_real_ids_keeps_them_as_attributes() {
    let (metrics, _) = metrics(
        Format::OpenMetrics,
        "# TYPE c counter\nc_total 5 # {trace_id=\"xyz\",span_id=\"0000000000000000\"} 1\n# EOF\n",
    );
    let exemplar = &numbers(&metrics[0])[0].exemplars[0];
    assert!(exemplar.trace_id.is_empty() && exemplar.span_id.is_empty());
    assert_eq!(
        exemplar.filtered_attributes,
        [text("trace_id", "xyz"), text("span_id", "0000000000000000")]
    );
    assert_eq!(
        exemplar.time_unix_nano, NOW,
        "an exemplar without a time has its point's"
    );
}

#[test]
fn a_start_after_the_point_is_no_start() {
    let (metrics, _) = metrics(
        Format::OpenMetrics,
        "# TYPE c counter\nc_total 5\nc_created 99999999999\n# EOF\n",
    );
    assert_eq!(numbers(&metrics[0])[0].start_time_unix_nano, 0);
}

#[test]
fn gauges_keep_what_is_no_number_and_unknowns_say_so() {
    let (metrics, _) = metrics(
        Format::Classic,
        "# TYPE g gauge\ng{x=\"nan\"} NaN\ng{x=\"inf\"} +Inf 5\ng{x=\"-inf\"} -Inf\nu 1\n# TYPE c counter\nc 7\n",
    );
    let points = numbers(&metrics[0]);
    assert!(double(&points[0]).is_nan());
    assert_eq!(
        (double(&points[1]), points[1].time_unix_nano),
        (f64::INFINITY, 5_000_000)
    );
    assert_eq!(double(&points[2]), f64::NEG_INFINITY);
    assert!(metrics[0].metadata.is_empty());
    assert_eq!(metrics[1].metadata, [text("prometheus.type", "unknown")]);
    assert_eq!(
        metrics[2].name, "c",
        "a classic counter is named as it names itself"
    );
    assert!(matches!(&metrics[2].data, Some(Data::Sum(sum)) if sum.is_monotonic));
}

#[test]
fn histograms_lose_their_accumulation() {
    let (metrics, remarks) = metrics(
        Format::Classic,
        "# TYPE h histogram\nh_bucket{le=\"+Inf\",p=\"1\"} 10\nh_bucket{p=\"1\",le=\"0.5\"} 4\nh_bucket{p=\"1\",le=\"0.1\"} 1\nh_sum{p=\"1\"} 7.5\nh_count{p=\"1\"} 10\nh_bucket{p=\"2\",le=\"1\"} 2\nh_count{p=\"2\"} 5\n",
    );
    assert_eq!(remarks, Remarks::default());
    let [whole, without_inf] = &histograms(&metrics[0])[..] else {
        panic!()
    };
    assert_eq!(
        (
            whole.explicit_bounds.as_slice(),
            whole.bucket_counts.as_slice()
        ),
        (&[0.1, 0.5][..], &[1, 3, 6][..])
    );
    assert_eq!((whole.count, whole.sum), (10, Some(7.5)));
    assert_eq!(whole.attributes, [text("p", "1")]);
    assert_eq!(
        (without_inf.bucket_counts.as_slice(), without_inf.sum),
        (&[2, 3][..], None)
    );
}

#[test]
fn histograms_that_make_none_are_left_out_by_line() {
    for (page, why) in [
        (
            "h_bucket{le=\"1\"} 5\nh_bucket{le=\"+Inf\"} 4\n",
            "its bucket counts fall",
        ),
        (
            "h_bucket{le=\"1\"} 0.5\nh_bucket{le=\"+Inf\"} 4\n",
            "no whole number",
        ),
        ("h_bucket{le=\"1\"} 5\nh_count 4\n", "below a bucket's"),
        ("h_bucket{le=\"1\"} 5\n", "neither a count"),
        (
            "h_bucket{le=\"1\"} 5\nh_bucket{le=\"1.0\"} 5\nh_count 6\n",
            "the same bound",
        ),
        ("h_bucket{le=\"NaN\"} 5\nh_count 6\n", "bound is no number"),
    ] {
        let (metrics, remarks) = metrics(Format::Classic, &format!("# TYPE h histogram\n{page}"));
        assert!(metrics.is_empty(), "{page:?}: {metrics:?}");
        assert!(
            remarks.first[0].starts_with("line 2: histogram left out: "),
            "{remarks:?}"
        );
        assert!(remarks.first[0].contains(why), "{page:?}: {remarks:?}");
    }
    let (metrics, remarks) = metrics(
        Format::Classic,
        "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 4\nh_count 5\nh 3\n",
    );
    assert_eq!(histograms(&metrics[0])[0].count, 4);
    assert_eq!(remarks.count, 2, "{remarks:?}");
}

#[test]
fn summaries_states_and_infos() {
    let (metrics, _) = metrics(
        Format::OpenMetrics,
        "# TYPE s summary\ns{quantile=\"0.9\"} 3\ns{quantile=\"0.5\"} 2\ns_count 4\ns_sum 5\ns_created 1600000000\n# TYPE st stateset\nst{st=\"on\",k=\"v\"} 1\n# TYPE i info\ni_info{v=\"1\"} 1\n# TYPE gh gaugehistogram\ngh_bucket{le=\"+Inf\"} 2\ngh_gcount 2\ngh_gsum 3\n# EOF\n",
    );
    let point = &summaries(&metrics[0])[0];
    assert_eq!(
        (point.count, point.sum, point.start_time_unix_nano),
        (4, 5.0, 1_600_000_000_000_000_000)
    );
    let quantiles: Vec<(f64, f64)> = point
        .quantile_values
        .iter()
        .map(|at| (at.quantile, at.value))
        .collect();
    assert_eq!(quantiles, [(0.5, 2.0), (0.9, 3.0)]);
    let kinds: Vec<(String, Vec<KeyValue>)> = metrics[1..]
        .iter()
        .map(|metric| (metric.name.clone(), metric.metadata.clone()))
        .collect();
    assert_eq!(
        kinds,
        [
            ("st".to_owned(), vec![text("prometheus.type", "stateset")]),
            ("i_info".to_owned(), vec![text("prometheus.type", "info")]),
            (
                "gh".to_owned(),
                vec![text("prometheus.type", "gaugehistogram")]
            ),
        ]
    );
    assert!(matches!(&metrics[1].data, Some(Data::Sum(sum)) if !sum.is_monotonic));
    assert_eq!(
        numbers(&metrics[1])[0].attributes,
        [text("st", "on"), text("k", "v")]
    );
    assert!(
        matches!(&metrics[3].data, Some(Data::Histogram(histogram)) if histogram.aggregation_temporality == 0)
    );
}

#[test]
fn target_info_and_scope_labels_go_where_otlp_has_them() {
    let page = parse(
        Format::OpenMetrics,
        b"# TYPE target info\ntarget_info{job=\"x\",host=\"h1\",service.name=\"no\"} 1\n# EOF\n"
            .as_slice(),
        &Limits::default(),
    );
    assert!(page.is_err(), "a dot needs quotes");
    let page = parse(
        Format::OpenMetrics,
        b"# TYPE target info\ntarget_info{job=\"x\",host=\"h1\",\"service.name\"=\"no\"} 1\n# TYPE g gauge\ng{otel_scope_name=\"lib\",otel_scope_version=\"2\",otel_scope_x=\"y\",k=\"1\"} 1\ng{k=\"2\"} 2\n# EOF\n".as_slice(),
        &Limits::default(),
    )
    .unwrap();
    let (request, _) = convert(&page);
    let resource = &request.resource_metrics[0];
    assert_eq!(
        resource.resource.as_ref().unwrap().attributes,
        [
            text("service.name", "payment"),
            text("service.instance.id", "payment-1"),
            text("host", "h1")
        ]
    );
    let [own, lib] = &resource.scope_metrics[..] else {
        panic!()
    };
    let named = own.scope.as_ref().unwrap();
    assert_eq!(named.name, SCOPE);
    assert_eq!(
        own.metrics
            .iter()
            .map(|metric| metric.name.as_str())
            .collect::<Vec<_>>(),
        [
            "g",
            "up",
            "scrape_duration_seconds",
            "scrape_samples_scraped"
        ]
    );
    let named = lib.scope.as_ref().unwrap();
    assert_eq!(
        (
            named.name.as_str(),
            named.version.as_str(),
            named.attributes.clone()
        ),
        ("lib", "2", vec![text("x", "y")])
    );
    assert_eq!(numbers(&lib.metrics[0])[0].attributes, [text("k", "1")]);
}

#[test]
fn times_otlp_cannot_hold_are_left_out_and_told() {
    let (metrics, remarks) = metrics(
        Format::Classic,
        "# TYPE g gauge\ng{a=\"1\"} 1 -5\ng{a=\"2\"} 2 9\n",
    );
    assert_eq!(numbers(&metrics[0]).len(), 1);
    assert_eq!(
        remarks.first,
        ["line 2: left out: its time is outside 1970 to 2554"]
    );
}

#[test]
fn as_many_scopes_as_samples_take_time_in_proportion() {
    let mut page = String::from("# TYPE g gauge\n");
    for index in 0..40_000 {
        page.push_str(&format!("g{{otel_scope_name=\"lib{index}\"}} 1\n"));
    }
    for index in 0..2_000 {
        page.push_str(&format!("target_info{{label{index}=\"x\"}} 1\n"));
    }
    let page = parse(Format::Classic, page.as_bytes(), &Limits::default()).unwrap();
    let (request, _) = convert(&page);
    let resource = &request.resource_metrics[0];
    assert_eq!(resource.scope_metrics.len(), 40_001);
    assert_eq!(resource.resource.as_ref().unwrap().attributes.len(), 3);
}
