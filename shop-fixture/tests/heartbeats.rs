//! What tells a heartbeat task that has ended from one that waits for ever, and health routes that take up a trace.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/collector.rs"]
mod collector;
mod support;

use std::time::Duration;

use collector::{Collector, text};
use serde_json::{Value, json};
use support::{LIMIT, Running, eventually, start};

fn admin(shop: &Running, service: &str) -> String {
    let found = shop.ports.instances.iter();
    let port = found
        .clone()
        .find(|ports| ports.service == service)
        .unwrap()
        .admin;
    format!("http://127.0.0.1:{port}")
}

/// A series of an instance's metrics page.
async fn series(shop: &Running, service: &str, name: &str) -> Option<f64> {
    let url = format!("{}/metrics", admin(shop, service));
    let page = shop.client.get(url).send().await.unwrap();
    let page = page.text().await.unwrap();
    let line = page.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().parse().ok()
}

const ALIVE: &str = "shop_task_alive{task=\"heartbeat\"}";
const AGE: &str = "shop_task_last_tick_age_seconds{task=\"heartbeat\"}";

#[tokio::test]
async fn an_ended_heartbeat_task_is_not_alive_and_a_deadlocked_one_is() {
    let shop = start(|_| {}).await;
    assert_eq!(series(&shop, "payment", ALIVE).await, Some(1.0));
    for (kind, alive) in [("heartbeat_stop", 0.0), ("heartbeat_deadlock", 1.0)] {
        let fault = shop
            .fault(json!({ "kind": kind, "target": { "service": "payment" }, "ttl_s": 600 }))
            .await;
        // Two intervals of the twenty times faster clock without a beat.
        eventually("no beat comes any more", LIMIT, async || {
            series(&shop, "payment", AGE).await.filter(|age| *age > 1.6)
        })
        .await;
        assert_eq!(series(&shop, "payment", ALIVE).await, Some(alive), "{kind}");
        eventually("payment is no longer looked up", LIMIT, async || {
            (shop.registry("/services/payment").await == json!([])).then_some(())
        })
        .await;
        shop.end_fault(&fault).await;
        eventually("payment beats again", LIMIT, async || {
            let beats = series(&shop, "payment", AGE).await.unwrap() < 0.8;
            let listed = shop.registry("/services/payment").await != json!([]);
            (beats && listed).then_some(())
        })
        .await;
    }
    shop.shop.stop().await;
}

#[tokio::test]
async fn health_takes_up_a_trace_that_it_is_sent_and_is_silent_otherwise() {
    let (collector, url) = Collector::start().await;
    let shop = start(|config| config.otlp_endpoint = Some(url)).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let mut urls = vec![format!("{}/health/ready", shop.gateway())];
    urls.push(format!("{}/health/live", admin(&shop, "payment")));
    for url in &urls {
        assert_eq!(shop.get(url).await.0, 200);
        let header = format!("00-{trace}-00f067aa0ba902b7-01");
        let answer = shop.client.get(url).header("traceparent", header);
        let answer = answer.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200, "{url}");
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["status"], "pass", "{body}");
    }
    let found = eventually(
        "both probes are seen",
        Duration::from_secs(10),
        async || {
            let spans: Vec<_> = collector
                .spans()
                .into_iter()
                .filter(|seen| text(&seen.span.attributes, "url.path").starts_with("/health"))
                .collect();
            (spans.len() >= urls.len()).then_some(spans)
        },
    )
    .await;
    assert_eq!(
        found.len(),
        urls.len(),
        "a probe without a context was traced"
    );
    for seen in found {
        assert_eq!(seen.span.trace_id, hex(trace));
        assert_eq!(seen.span.parent_span_id, hex("00f067aa0ba902b7"));
    }
    shop.shop.stop().await;
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(&String::from_iter(pair), 16).unwrap())
        .collect()
}
