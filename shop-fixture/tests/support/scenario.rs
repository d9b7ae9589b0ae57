//! What the tests of the behaviour scenarios share: a shop as the scenarios want it, rounds of requests, and the times
//! that services took by their own spans.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code, unreachable_pub)]

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};
use shop_fixture::config::{Latency, Publish, Resilience};
use shop_fixture::ids::hex;
use shop_fixture::propagation::baggage::percent_encode;

use super::collector::{Collector, Seen, text};
use super::support::{LIMIT, Running, eventually, start};

/// Kind of a span that serves a request.
const SERVER: i32 = 2;
/// Every process sends what has ended within a second.
const SENT: Duration = Duration::from_millis(1_500);

pub struct Scene {
    pub shop: Running,
    pub collector: Collector,
}

/// The shop that the scenarios are told of; without base latencies where a fact is not about time.
pub async fn scene(latency: Latency, publish: Publish) -> Scene {
    let (collector, url) = Collector::start().await;
    let shop = start(|config| {
        config.resilience = Resilience::Observe;
        config.publish = publish;
        config.latency = latency;
        config.otlp_endpoint = Some(url);
    })
    .await;
    // The first request of a process also looks up and connects.
    let _ = shop.checkout(json!({}), "").await;
    Scene { shop, collector }
}

impl Scene {
    /// Checkouts, so many at a time.
    pub async fn checkouts(
        &self,
        count: usize,
        at_a_time: usize,
        behaviour: &str,
    ) -> Vec<(u16, Value)> {
        let query = format!("?behavior={}", percent_encode(behaviour));
        let query = query.as_str();
        stream::iter(0..count)
            .map(|_| self.shop.checkout(json!({}), query))
            .buffer_unordered(at_a_time)
            .collect()
            .await
    }

    /// The spans of these answers' traces by trace id, once they have arrived.
    pub async fn spans(&self, answers: &[(u16, Value)]) -> HashMap<String, Vec<Seen>> {
        let wanted: HashSet<String> = answers.iter().map(|(_, answer)| trace_id(answer)).collect();
        // The gateway's own span comes last of what the client waited for; what goes on after that takes a moment.
        eventually("the traces arrive", LIMIT, async || {
            let known = self.collector.traces_with("api-gateway", SERVER);
            let known: HashSet<String> = known.iter().map(|id| hex(id)).collect();
            wanted.is_subset(&known).then_some(())
        })
        .await;
        tokio::time::sleep(SENT).await;
        let mut found: HashMap<String, Vec<Seen>> = HashMap::new();
        for seen in self.collector.spans() {
            let id = hex(&seen.span.trace_id);
            if wanted.contains(&id) {
                found.entry(id).or_default().push(seen);
            }
        }
        assert_eq!(found.len(), wanted.len(), "traces that never arrived");
        found
    }

    pub async fn ledger(&self, name: &str) -> Vec<Value> {
        let rows = self
            .shop
            .debug(&format!("/ledgers/{name}?limit=100000"))
            .await;
        rows.as_array().unwrap().clone()
    }

    /// Violations of the invariants, but for those that do not apply.
    pub async fn violations(&self, but: &[&str]) -> Vec<Value> {
        let check = self.shop.debug("/ledgers/check").await;
        assert!(check["orders"].as_u64().unwrap() > 0, "{check}");
        check["violations"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|violation| !but.contains(&violation["invariant"].as_str().unwrap()))
            .cloned()
            .collect()
    }
}

pub fn trace_id(answer: &Value) -> String {
    let inside = answer["trace_id"].as_str();
    let id = inside.or_else(|| answer["error"]["trace_id"].as_str());
    id.expect("an answer without a trace id").to_owned()
}

/// The order of an answer, whether it went well or not.
pub fn order_id(answer: &Value) -> String {
    let inside = answer["body"]["order_id"].as_str();
    let id = inside.or_else(|| answer["error"]["details"]["order_id"].as_str());
    id.unwrap_or_else(|| panic!("no order: {answer}"))
        .to_owned()
}

pub fn calls<'a>(answer: &'a Value, service: &str) -> Vec<&'a Value> {
    answer["all_calls"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|call| call["name"] == service)
        .collect()
}

pub fn share(hits: usize, of: usize) -> f64 {
    hits as f64 / of as f64
}

/// The spans with which a service served requests.
pub fn served<'a>(spans: &'a [Seen], service: &str) -> Vec<&'a Seen> {
    spans
        .iter()
        .filter(|seen| seen.service == service && seen.span.kind == SERVER)
        .collect()
}

pub fn code(seen: &Seen) -> String {
    let http = text(&seen.span.attributes, "http.response.status_code");
    if http.is_empty() {
        text(&seen.span.attributes, "rpc.response.status_code")
    } else {
        http
    }
}

pub fn millis(seen: &Seen) -> f64 {
    (seen.span.end_time_unix_nano - seen.span.start_time_unix_nano) as f64 / 1e6
}

/// What a service took by itself: the spans with which it served, without what their children cover.
pub fn self_times(spans: &[Seen], service: &str) -> Vec<f64> {
    served(spans, service)
        .into_iter()
        .map(|server| {
            let mut below: Vec<(u64, u64)> = spans
                .iter()
                .filter(|seen| seen.span.parent_span_id == server.span.span_id)
                .map(|seen| (seen.span.start_time_unix_nano, seen.span.end_time_unix_nano))
                .collect();
            below.sort_unstable();
            let (mut covered, mut until) = (0, server.span.start_time_unix_nano);
            for (start, end) in below {
                let (start, end) = (start.max(until), end.min(server.span.end_time_unix_nano));
                if end > start {
                    covered += end - start;
                    until = end;
                }
            }
            millis(server) - covered as f64 / 1e6
        })
        .collect()
}

pub fn median(mut times: Vec<f64>) -> f64 {
    assert!(!times.is_empty());
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
