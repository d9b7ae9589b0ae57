//! Watching a registry and a debug API over real sockets, while they work, break and come back.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod books;
mod events;
mod probes;
mod snapshots;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::testing::{Recorder, Reply, Server, until};

/// A registry as the shop's API describes it, with its log in the test's hands.
#[derive(Default)]
struct Registry {
    events: Vec<Value>,
    instances: Vec<Value>,
    /// Answered instead of anything else.
    broken: Option<Reply>,
}

impl Registry {
    fn log(&mut self, kind: &str, id: &str) {
        let seq = self
            .events
            .last()
            .map_or(0, |event| event["seq"].as_u64().unwrap())
            + 1;
        self.events.push(event(seq, kind, id));
    }

    fn answer(&self, path: &str) -> Reply {
        if let Some(broken) = &self.broken {
            return broken.clone();
        }
        match path.split_once("?since=") {
            None if path == "/registry/snapshot" => Reply::json(&json!({
                "as_of": "2026-11-20T10:00:00.000000001Z",
                "seq": self.events.last().map_or(json!(0), |event| event["seq"].clone()),
                "config": { "heartbeat_interval_ms": 15000 },
                "instances": self.instances,
            })),
            Some(("/registry/events", since)) => {
                let since: u64 = since.parse().unwrap();
                let newer: Vec<&Value> = self
                    .events
                    .iter()
                    .filter(|event| event["seq"].as_u64().unwrap() > since)
                    .collect();
                let wait = Duration::from_millis(if newer.is_empty() { 30 } else { 0 });
                Reply::json(&json!(newer)).after(wait)
            }
            _ => Reply::status(404, "no such page"),
        }
    }
}

fn event(seq: u64, kind: &str, id: &str) -> Value {
    json!({
        "seq": seq, "at": format!("2026-11-20T10:00:{:02}.5Z", seq % 60), "kind": kind, "id": id,
        "name": "payment", "address": "127.0.0.1:9110", "reason": ""
    })
}

fn instance(id: &str, name: &str, address: &str, metadata: Value) -> Value {
    json!({
        "id": id, "name": name, "address": address, "health_path": "/health/ready", "status": "healthy",
        "last_seen": "2026-11-20T09:59:50Z", "registered_at": "2026-11-20T09:00:00Z", "seq": 1, "metadata": metadata, "age_ms": 12
    })
}

async fn serve(registry: &Arc<Mutex<Registry>>) -> Server {
    let registry = registry.clone();
    Server::start(move |path| registry.lock().unwrap().answer(path)).await
}

fn quick() -> WatchOptions {
    WatchOptions {
        snapshot_every: Duration::from_millis(20),
        snapshot_at_least_every: Duration::from_secs(60),
        event_wait: Duration::from_millis(500),
        probe_every: Duration::from_millis(50),
        probe_timeout: Duration::from_secs(2),
        caches_every: Duration::from_millis(50),
        sagas_every: Duration::from_millis(20),
        saga_history_every: Duration::from_millis(60),
        ledgers_every: Duration::from_millis(20),
        ledger_sweep_every: Duration::from_millis(200),
        timeout: Duration::from_secs(10),
        ..WatchOptions::default()
    }
}

fn start(registry: Option<String>, debug: Option<String>, sink: &Arc<Recorder>) -> Watcher {
    Watcher::start(
        WatchOptions {
            registry,
            debug,
            ..quick()
        },
        sink.clone(),
    )
    .unwrap()
}

/// A debug API whose answers the test sets by path.
fn debug_api(
    pages: &Arc<Mutex<BTreeMap<String, Reply>>>,
) -> impl Fn(&str) -> Reply + Send + Sync + 'static {
    let pages = pages.clone();
    move |path| {
        let path = path.split('?').next().unwrap();
        pages
            .lock()
            .unwrap()
            .get(path)
            .cloned()
            .unwrap_or_else(|| Reply::status(404, "no such ledger"))
    }
}

#[tokio::test]
async fn nothing_to_watch_is_an_error_and_stopping_is_prompt() {
    let sink = Arc::new(Recorder::default());
    let refused = |registry: Option<&str>, debug: Option<&str>| {
        let options = WatchOptions {
            registry: registry.map(str::to_owned),
            debug: debug.map(str::to_owned),
            ..quick()
        };
        Watcher::start(options, sink.clone())
            .err()
            .unwrap()
            .to_string()
    };
    assert_eq!(
        refused(None, None),
        "neither a registry nor a debug API to watch"
    );
    assert!(refused(Some("127.0.0.1:8081"), None).starts_with("registry URL: "));
    assert!(refused(None, Some("https://h")).contains("needs TLS"));

    let hangs = Server::start(|_| Reply::json(&json!({})).after(Duration::from_secs(600))).await;
    let options = WatchOptions {
        registry: Some(hangs.url("")),
        debug: Some(hangs.url("")),
        timeout: Duration::from_secs(600),
        ..quick()
    };
    let watcher = Watcher::start(options, sink.clone()).unwrap();
    until("requests under way", || {
        (hangs.seen().len() >= 4).then_some(())
    })
    .await;
    tokio::time::timeout(Duration::from_secs(5), watcher.stop())
        .await
        .expect("stops although nobody answers");
}
