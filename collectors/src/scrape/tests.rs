//! Scraping real sockets: on time, from registries, through failures and back.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use case::signal::{ProbeResult, RegistryInstance, RegistrySnapshot};
use case::{AppendError, Nanos, Signal};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use prost::Message;
use tokio::sync::watch;

use super::*;
use crate::testing::{Recorder, Reply, Server, closed_port, until};

const OPEN: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

fn options(targets: &[String]) -> ScrapeOptions {
    ScrapeOptions {
        targets: targets
            .iter()
            .map(|target| target.parse().unwrap())
            .collect(),
        interval: Duration::from_millis(40),
        timeout: Duration::from_secs(5),
        ..ScrapeOptions::default()
    }
}

fn requests(sink: &Recorder) -> Vec<ExportMetricsServiceRequest> {
    sink.payloads(Signal::Metrics)
        .iter()
        .map(|payload| ExportMetricsServiceRequest::decode(&payload[..]).unwrap())
        .collect()
}

/// The resource and the single-point metrics of one request.
fn read(
    request: &ExportMetricsServiceRequest,
) -> (BTreeMap<String, String>, BTreeMap<String, f64>) {
    let resource = &request.resource_metrics[0];
    let attributes = resource.resource.as_ref().unwrap().attributes.iter();
    let attributes =
        attributes.map(
            |pair| match pair.value.as_ref().unwrap().value.as_ref().unwrap() {
                Value::StringValue(text) => (pair.key.clone(), text.clone()),
                other => panic!("{other:?}"),
            },
        );
    let metrics = resource
        .scope_metrics
        .iter()
        .flat_map(|scope| &scope.metrics);
    let values = metrics.filter_map(|metric| {
        let points = match metric.data.as_ref()? {
            Data::Gauge(gauge) => &gauge.data_points,
            Data::Sum(sum) => &sum.data_points,
            _ => return None,
        };
        match points.first()?.value? {
            Number::AsDouble(value) => Some((metric.name.clone(), value)),
            Number::AsInt(_) => None,
        }
    });
    (attributes.collect(), values.collect())
}

fn instance(name: &str, address: String, metrics_port: Option<&str>) -> RegistryInstance {
    RegistryInstance {
        id: format!("{name}-1"),
        name: name.into(),
        address,
        status: "healthy".into(),
        last_seen: None,
        registered_at: None,
        seq: None,
        health_path: None,
        metadata: metrics_port
            .map(|port| ("metrics_port".to_owned(), port.to_owned()))
            .into_iter()
            .chain([("version".to_owned(), "1.2.3".to_owned())])
            .collect(),
    }
}

fn snapshot(instances: Vec<RegistryInstance>) -> Option<Arc<RegistrySnapshot>> {
    Some(Arc::new(RegistrySnapshot {
        at: Nanos(1),
        as_of: None,
        registry: "http://r".into(),
        seq: None,
        config: serde_json::Value::Null,
        instances,
    }))
}

#[tokio::test]
async fn pages_arrive_as_metrics_of_their_target() {
    let server = Server::start(|path| match path {
        "/metrics" => Reply::text("text/plain; version=0.0.4", "# TYPE jobs gauge\njobs 7\n"),
        _ => Reply::text(OPEN, "# TYPE jobs counter\njobs_total 9\n# EOF\n"),
    })
    .await;
    let sink = Arc::new(Recorder::default());
    let plain = server.url("");
    let named = format!("worker={}", server.url("/open"));
    let scraper = Scraper::start(options(&[plain.clone(), named]), sink.clone());
    until("six scrapes", || (requests(&sink).len() >= 6).then_some(())).await;
    let tasks = scraper.status().tasks();
    scraper.stop().await;

    let all: Vec<_> = requests(&sink).iter().map(read).collect();
    let (resource, values) = all
        .iter()
        .find(|(_, values)| values.contains_key("jobs"))
        .unwrap();
    assert_eq!(
        resource["service.name"],
        format!("127.0.0.1:{}", server.port)
    );
    assert_eq!(resource["server.port"], server.port.to_string());
    assert_eq!(
        (
            values["jobs"],
            values["up"],
            values["scrape_samples_scraped"]
        ),
        (7.0, 1.0, 1.0)
    );
    assert!(values["scrape_duration_seconds"] > 0.0);
    let (resource, values) = all
        .iter()
        .find(|(_, values)| values.contains_key("jobs_total"))
        .unwrap();
    assert_eq!(
        (resource["service.name"].as_str(), values["jobs_total"]),
        ("worker", 9.0)
    );

    let asked = server.seen();
    assert!(
        asked
            .iter()
            .all(|asked| asked.contains("application/openmetrics-text;version=1.0.0")),
        "{asked:?}"
    );
    assert!(
        sink.payloads(Signal::Probes).is_empty(),
        "a scrape that works needs no probe result"
    );
    let status = &tasks[&format!("scrape {plain}/metrics")];
    assert!(
        status.polls >= 2 && status.failures == 0 && status.last_success.is_some(),
        "{status:?}"
    );

    let after = requests(&sink).len();
    tokio::time::sleep(Duration::from_millis(120)).await;
    assert_eq!(
        requests(&sink).len(),
        after,
        "a stopped scraper scrapes no more"
    );
}

#[tokio::test]
async fn every_failure_is_up_0_and_a_probe_result_that_says_why() {
    let server = Server::start(|path| match path {
        "/500" => Reply::status(500, "broken"),
        "/html" => Reply::text("text/html", "<p>"),
        "/garbage" => Reply::text("text/plain", "fine 1\nnot a page\n"),
        "/cut" => Reply::text(OPEN, "# TYPE a gauge\na 1\n"),
        "/slow" => Reply::text("text/plain", "a 1\n").after(Duration::from_secs(60)),
        _ => Reply::text("text/plain", format!("# {}\n", "x".repeat(60_000))),
    })
    .await;
    let closed = closed_port().await;
    for (target, error, status) in [
        (server.url("/500"), "answered 500", Some(500)),
        (
            server.url("/html"),
            "the answer is text/html, not a metrics page",
            Some(200),
        ),
        (
            server.url("/garbage"),
            "line 2: \"a\" is no number",
            Some(200),
        ),
        (
            server.url("/cut"),
            "line 2: the page doesn't end in # EOF; it may be cut off",
            Some(200),
        ),
        (server.url("/slow"), "timeout", None),
        (server.url("/big"), "too large", None),
        (format!("http://127.0.0.1:{closed}/"), "refused", None),
    ] {
        let sink = Arc::new(Recorder::default());
        let scraper = Scraper::start(
            ScrapeOptions {
                timeout: if error == "timeout" {
                    Duration::from_millis(300)
                } else {
                    Duration::from_secs(20)
                },
                body_bytes: 50_000,
                ..options(std::slice::from_ref(&target))
            },
            sink.clone(),
        );
        let rows: Vec<ProbeResult> = until("a probe result", || {
            let rows = sink.rows::<ProbeResult>(Signal::Probes);
            (!rows.is_empty()).then_some(rows)
        })
        .await;
        let tasks = scraper.status().tasks();
        scraper.stop().await;
        let row = &rows[0];
        assert_eq!(
            (row.check.as_str(), row.ok, row.error.as_deref(), row.status),
            ("metrics", false, Some(error), status),
            "{target}"
        );
        assert!(row.duration_nano > 0 && row.at.0 > 0);
        let (_, values) = read(&requests(&sink)[0]);
        assert_eq!(
            (values["up"], values["scrape_samples_scraped"]),
            (0.0, 0.0),
            "{target}"
        );
        let task = tasks.values().next().unwrap();
        assert!(
            task.failures >= 1 && task.last_error.is_some(),
            "{target}: {task:?}"
        );
    }
}

#[tokio::test]
async fn recovery_and_what_a_page_left_out_are_told_too() {
    let turn = Arc::new(AtomicUsize::new(0));
    let server = Server::start({
        let turn = turn.clone();
        move |_| match turn.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::status(503, ""),
            1 => Reply::text("text/plain", "a 1\n"),
            2 => Reply::text("text/plain", "a 1\na 2\n"),
            _ => Reply::text("text/plain", "a 1\n"),
        }
    })
    .await;
    let sink = Arc::new(Recorder::default());
    let scraper = Scraper::start(options(&[server.url("/m")]), sink.clone());
    until("five scrapes", || {
        (requests(&sink).len() >= 5).then_some(())
    })
    .await;
    scraper.stop().await;
    let rows: Vec<ProbeResult> = sink.rows(Signal::Probes);
    let told: Vec<(bool, serde_json::Value)> = rows
        .into_iter()
        .map(|row| (row.ok, row.raw["left_out"].clone()))
        .collect();
    assert_eq!(
        told,
        [
            (false, serde_json::Value::Null),
            (true, serde_json::Value::Null),
            (true, 1.into())
        ]
    );
}

#[tokio::test]
async fn a_registry_says_what_to_scrape_and_may_not_send_the_scraper_elsewhere() {
    let server = Server::start(|_| Reply::text("text/plain", "a 1\n")).await;
    let sink = Arc::new(Recorder::default());
    let port = server.port.to_string();
    let payment = instance("payment", "127.0.0.1:9".into(), Some(&port));
    let (tell, told) = watch::channel(None);
    let scraper = Scraper::start(
        ScrapeOptions {
            registry: Some(told),
            ..options(&[])
        },
        sink.clone(),
    );
    tell.send(snapshot(vec![
        payment.clone(),
        instance("payment-copy", "127.0.0.1:10".into(), Some(&port)),
        instance("silent", "127.0.0.1:9".into(), None),
        instance("odd", "127.0.0.1:9".into(), Some("many")),
        instance("nowhere", "localhost".into(), Some(&port)),
        instance("elsewhere", "192.0.2.1:9".into(), Some(&port)),
    ]))
    .unwrap();
    let (resource, _) = until("a scrape of payment", || {
        requests(&sink)
            .iter()
            .map(read)
            .find(|(_, values)| values.get("up") == Some(&1.0))
    })
    .await;
    assert_eq!(
        (
            resource["service.name"].as_str(),
            resource["service.instance.id"].as_str()
        ),
        ("payment", "payment-1")
    );
    assert_eq!(resource["service.version"], "1.2.3");
    let errors: BTreeMap<String, String> = until("four refusals", || {
        let rows: Vec<ProbeResult> = sink.rows(Signal::Probes);
        let errors: BTreeMap<String, String> = rows
            .into_iter()
            .map(|row| (row.service.unwrap(), row.error.unwrap()))
            .collect();
        (errors.len() == 4).then_some(errors)
    })
    .await;
    assert_eq!(
        errors["silent"],
        "not scraped: its registration names no metrics_port"
    );
    assert_eq!(
        errors["odd"],
        "not scraped: its metrics_port is \"many\", no port"
    );
    assert!(errors["nowhere"].contains("has no port"), "{errors:?}");
    assert_eq!(errors["elsewhere"], "not allowed");

    // One that leaves the registry is scraped no more; the others are told once, not every round.
    tell.send(snapshot(vec![instance(
        "silent",
        "127.0.0.1:9".into(),
        None,
    )]))
    .unwrap();
    until("the target to leave", || {
        scraper
            .status()
            .tasks()
            .keys()
            .all(|task| !task.contains(&port))
            .then_some(())
    })
    .await;
    let before = server.seen().len();
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert!(server.seen().len() <= before + 1);
    scraper.stop().await;
    let silent = sink
        .rows::<ProbeResult>(Signal::Probes)
        .into_iter()
        .filter(|row| row.service.as_deref() == Some("silent"));
    assert_eq!(silent.count(), 1);
}

#[tokio::test]
async fn a_busy_case_holds_scrapes_back_and_loses_nothing() {
    let server = Server::start(|_| Reply::text("text/plain", "a 1\n")).await;
    let busy = AppendError::Busy {
        waiting_bytes: 1,
        retry_after: Duration::from_millis(200),
    };
    let sink = Recorder::refusing([busy.clone(), busy]);
    let scraper = Scraper::start(options(&[server.url("/m")]), sink.clone());
    until("two scrapes kept", || {
        (requests(&sink).len() >= 2).then_some(())
    })
    .await;
    let tasks = scraper.status().tasks();
    scraper.stop().await;
    let task = tasks.values().next().unwrap();
    assert_eq!(task.given_up, 0);
    assert!(
        task.last_error.as_ref().unwrap().1.contains("skipped"),
        "{task:?}"
    );
}

#[test]
fn targets_are_read_or_refused_with_a_reason() {
    let target: Target = "pay=http://127.0.0.1:9300/metrics?x=1".parse().unwrap();
    assert_eq!(
        (target.service.as_str(), target.instance.as_str()),
        ("pay", "127.0.0.1:9300")
    );
    let target: Target = "http://127.0.0.1:9300".parse().unwrap();
    assert_eq!(target.endpoint.to_string(), "http://127.0.0.1:9300/metrics");
    assert!(
        "=http://h"
            .parse::<Target>()
            .unwrap_err()
            .to_string()
            .contains("empty name")
    );
    assert!(
        "https://h"
            .parse::<Target>()
            .unwrap_err()
            .to_string()
            .contains("needs TLS")
    );
}
