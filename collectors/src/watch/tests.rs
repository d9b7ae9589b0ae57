//! Watching a registry and a debug API over real sockets, while they work, break and come back.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use case::signal::{
    JournalRecord, LedgerRow, ProbeResult, RegistryEvent, RegistryInstance, RegistrySnapshot,
};
use case::{AppendError, Nanos, Signal};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;
use crate::testing::{Recorder, Reply, Server, closed_port, until};

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

fn kinds(sink: &Recorder) -> Vec<(u64, String)> {
    sink.rows::<RegistryEvent>(Signal::RegistryEvents)
        .into_iter()
        .map(|event| (event.seq, event.kind))
        .collect()
}

fn told(expected: &[(u64, &str)]) -> Vec<(u64, String)> {
    expected
        .iter()
        .map(|(seq, kind)| (*seq, (*kind).to_owned()))
        .collect()
}

#[tokio::test]
async fn snapshots_are_written_when_something_changed() {
    let registry = Arc::new(Mutex::new(Registry::default()));
    registry.lock().unwrap().instances.push(instance(
        "payment-1",
        "payment",
        "127.0.0.1:9",
        json!({"version": "1", "weight": 5}),
    ));
    let server = serve(&registry).await;
    let sink = Arc::new(Recorder::default());
    let watcher = start(Some(server.url("")), None, &sink);
    let snapshots = || sink.rows::<RegistrySnapshot>(Signal::RegistrySnapshots);
    let first = until("a snapshot", || snapshots().into_iter().next()).await;
    assert_eq!(first.registry, format!("http://127.0.0.1:{}", server.port));
    assert_eq!(first.as_of, Some(Nanos(1_795_168_800_000_000_001)));
    assert_eq!(
        (first.seq, first.config["heartbeat_interval_ms"].as_u64()),
        (Some(0), Some(15_000))
    );
    let RegistryInstance {
        id,
        name,
        address,
        status,
        last_seen,
        metadata,
        ..
    } = first.instances[0].clone();
    assert_eq!(
        (
            id.as_str(),
            name.as_str(),
            address.as_str(),
            status.as_str()
        ),
        ("payment-1", "payment", "127.0.0.1:9", "healthy")
    );
    assert_eq!(last_seen, Some(Nanos(1_795_168_790_000_000_000)));
    assert_eq!(
        (metadata["version"].as_str(), metadata["weight"].as_str()),
        ("1", "5")
    );

    // Heartbeats alone are no reason to write.
    registry.lock().unwrap().instances[0]["last_seen"] = json!("2026-11-20T09:59:59Z");
    let polls = || {
        server
            .seen()
            .iter()
            .filter(|asked| asked.starts_with("/registry/snapshot"))
            .count()
    };
    let before = polls();
    until("more looks", || (polls() > before + 5).then_some(())).await;
    assert_eq!(snapshots().len(), 1);

    registry.lock().unwrap().instances[0]["status"] = json!("suspect");
    until("the change", || {
        snapshots()
            .iter()
            .any(|snapshot| snapshot.instances[0].status == "suspect")
            .then_some(())
    })
    .await;
    assert_eq!(
        watcher.registry().borrow().as_ref().unwrap().instances[0].status,
        "suspect"
    );
    watcher.stop().await;
}

#[tokio::test]
async fn an_unchanged_snapshot_is_written_every_so_often() {
    let server = serve(&Arc::default()).await;
    let sink = Arc::new(Recorder::default());
    let options = WatchOptions {
        registry: Some(server.url("")),
        snapshot_at_least_every: Duration::from_millis(40),
        ..quick()
    };
    let watcher = Watcher::start(options, sink.clone()).unwrap();
    until("three snapshots", || {
        (sink
            .rows::<RegistrySnapshot>(Signal::RegistrySnapshots)
            .len()
            >= 3)
            .then_some(())
    })
    .await;
    watcher.stop().await;
}

#[tokio::test]
async fn events_are_followed_and_gaps_told() {
    let registry = Arc::new(Mutex::new(Registry::default()));
    registry.lock().unwrap().log("registered", "payment-1");
    registry.lock().unwrap().log("suspect", "payment-1");
    let server = serve(&registry).await;
    let sink = Arc::new(Recorder::default());
    let watcher = start(Some(server.url("")), None, &sink);
    until("two events", || (kinds(&sink).len() == 2).then_some(())).await;
    registry
        .lock()
        .unwrap()
        .events
        .push(event(6, "expired", "payment-1"));
    until("the gap", || (kinds(&sink).len() == 4).then_some(())).await;
    registry.lock().unwrap().log("removed", "payment-1");
    until("the end", || (kinds(&sink).len() == 5).then_some(())).await;
    watcher.stop().await;
    assert_eq!(
        kinds(&sink),
        told(&[
            (1, "registered"),
            (2, "suspect"),
            (3, "gap"),
            (6, "expired"),
            (7, "removed")
        ])
    );
    let rows: Vec<RegistryEvent> = sink.rows(Signal::RegistryEvents);
    assert_eq!(
        rows[2].reason.as_deref(),
        Some("events 3 to 5 are missing from the registry's log")
    );
    assert_eq!(
        (rows[0].at, rows[0].id.as_str(), &rows[0].reason),
        (Nanos(1_795_168_801_500_000_000), "payment-1", &None)
    );
}

#[tokio::test]
async fn a_registry_that_comes_back_with_its_log_is_followed_on() {
    let registry = Arc::new(Mutex::new(Registry::default()));
    registry.lock().unwrap().log("registered", "a");
    registry.lock().unwrap().log("registered", "b");
    let server = serve(&registry).await;
    let port = server.port;
    let sink = Arc::new(Recorder::default());
    let watcher = start(Some(server.url("")), None, &sink);
    until("two events", || (kinds(&sink).len() == 2).then_some(())).await;
    drop(server);
    until("a refusal", || {
        watcher.status().tasks()["registry events"]
            .last_error
            .clone()
            .filter(|(_, error)| error.contains("refused"))
    })
    .await;
    let down: ProbeResult = until("the outage in the case", || {
        sink.rows::<ProbeResult>(Signal::Probes)
            .into_iter()
            .find(|row| row.check == "registry" && row.error.as_deref() == Some("refused"))
    })
    .await;
    assert_eq!(
        (down.ok, down.address),
        (false, format!("127.0.0.1:{port}"))
    );

    registry.lock().unwrap().log("restarted", "");
    let again = registry.clone();
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let server = Server::on(listener, move |path| again.lock().unwrap().answer(path));
    until("the restart", || (kinds(&sink).len() == 3).then_some(())).await;
    until("the recovery in the case", || {
        sink.rows::<ProbeResult>(Signal::Probes)
            .last()
            .is_some_and(|row| row.check == "registry" && row.ok)
            .then_some(())
    })
    .await;
    watcher.stop().await;
    drop(server);
    assert_eq!(
        kinds(&sink),
        told(&[(1, "registered"), (2, "registered"), (3, "restarted")])
    );
}

#[tokio::test]
async fn a_registry_that_lost_its_log_is_read_from_its_new_beginning() {
    for grown in [false, true] {
        let registry = Arc::new(Mutex::new(Registry::default()));
        for id in ["a", "b", "c"] {
            registry.lock().unwrap().log("registered", id);
        }
        let server = serve(&registry).await;
        let sink = Arc::new(Recorder::default());
        let watcher = start(Some(server.url("")), None, &sink);
        until("three events", || (kinds(&sink).len() == 3).then_some(())).await;
        // Broken for a moment, so that a new log that has already grown beyond the old one is met by an event poll.
        registry.lock().unwrap().broken = Some(Reply::status(500, "restarting"));
        until("a failed poll", || {
            (watcher.status().tasks()["registry events"].failing > 0).then_some(())
        })
        .await;
        {
            let mut registry = registry.lock().unwrap();
            registry.broken = None;
            registry.events.clear();
            for id in if grown {
                &["v", "w", "x", "y", "z"][..]
            } else {
                &["x"][..]
            } {
                registry.log("registered", id);
            }
        }
        let last = if grown { "z" } else { "x" };
        until("the new log", || {
            sink.rows::<RegistryEvent>(Signal::RegistryEvents)
                .iter()
                .any(|event| event.id == last)
                .then_some(())
        })
        .await;
        watcher.stop().await;
        let rows: Vec<RegistryEvent> = sink.rows(Signal::RegistryEvents);
        let marks: Vec<&RegistryEvent> = rows
            .iter()
            .filter(|event| event.kind == "restarted")
            .collect();
        assert_eq!(marks.len(), 1, "{rows:?}");
        assert!(marks[0].seq == 0 && marks[0].reason.as_ref().unwrap().contains("begin anew"));
        let after: Vec<&str> = rows
            .iter()
            .skip_while(|event| event.kind != "restarted")
            .skip(1)
            .map(|event| event.id.as_str())
            .collect();
        assert_eq!(
            after,
            if grown {
                vec!["v", "w", "x", "y", "z"]
            } else {
                vec!["x"]
            }
        );
    }
}

#[tokio::test]
async fn a_shorter_log_shows_without_any_failed_poll() {
    let registry = Arc::new(Mutex::new(Registry::default()));
    for id in ["a", "b", "c"] {
        registry.lock().unwrap().log("registered", id);
    }
    let server = serve(&registry).await;
    let sink = Arc::new(Recorder::default());
    let watcher = start(Some(server.url("")), None, &sink);
    until("three events", || (kinds(&sink).len() == 3).then_some(())).await;
    {
        let mut registry = registry.lock().unwrap();
        registry.events.clear();
        registry.log("registered", "new");
    }
    until("the new log", || (kinds(&sink).len() == 5).then_some(())).await;
    watcher.stop().await;
    assert_eq!(
        kinds(&sink)[3..],
        told(&[(0, "restarted"), (1, "registered")])[..]
    );
}

#[tokio::test]
async fn a_log_is_taken_up_behind_what_the_case_has() {
    let registry = Arc::new(Mutex::new(Registry::default()));
    for id in ["a", "b", "c"] {
        registry.lock().unwrap().log("registered", id);
    }
    let server = serve(&registry).await;
    let sink = Arc::new(Recorder::default());
    let known = RegistryEvent {
        at: Nanos(1_795_168_802_500_000_000),
        registry: server.url(""),
        seq: 2,
        kind: "registered".into(),
        id: "b".into(),
        name: "payment".into(),
        address: String::new(),
        reason: None,
    };
    let options = WatchOptions {
        registry: Some(server.url("")),
        resume_after: Some(known),
        ..quick()
    };
    let watcher = Watcher::start(options, sink.clone()).unwrap();
    until("the third event", || {
        (!kinds(&sink).is_empty()).then_some(())
    })
    .await;
    watcher.stop().await;
    assert_eq!(kinds(&sink), told(&[(3, "registered")]));
}

#[tokio::test]
async fn a_busy_case_loses_no_event() {
    let registry = Arc::new(Mutex::new(Registry::default()));
    for index in 0..20 {
        registry
            .lock()
            .unwrap()
            .log("registered", &index.to_string());
    }
    let server = serve(&registry).await;
    let busy = AppendError::Busy {
        waiting_bytes: 1,
        retry_after: Duration::from_millis(1),
    };
    let sink = Recorder::refusing(std::iter::repeat_n(busy, 30));
    let options = WatchOptions {
        registry: Some(server.url("")),
        patience: Duration::from_millis(50),
        ..quick()
    };
    let watcher = Watcher::start(options, sink.clone()).unwrap();
    until("all events", || (kinds(&sink).len() >= 20).then_some(())).await;
    watcher.stop().await;
    let seen: Vec<u64> = kinds(&sink).into_iter().map(|(seq, _)| seq).collect();
    assert_eq!(
        seen,
        (1..=20).collect::<Vec<u64>>(),
        "given up, then read again"
    );
}

#[tokio::test]
async fn answers_that_cannot_be_used_are_told_as_what_they_are() {
    let registry = Arc::new(Mutex::new(Registry::default()));
    let server = serve(&registry).await;
    for (reply, error, kind) in [
        (
            Reply::status(500, "stack trace here"),
            "answered 500: stack trace here",
            "answered 500",
        ),
        (
            Reply::text("application/json", "{\"instances\": [nonsense"),
            "unreadable",
            "unreadable",
        ),
        (Reply::json(&json!([1, 2])), "not an object", "unreadable"),
        (
            Reply::json(&json!({"instances": {}})),
            "no array of instances",
            "unreadable",
        ),
        (
            Reply::json(&json!({"instances": [{"name": "x"}]})),
            "instance 1: no id",
            "unreadable",
        ),
        (
            Reply::text("application/json", "[".repeat(100_000)),
            "recursion",
            "unreadable",
        ),
        (
            Reply::text("application/json", "x".repeat(5000)),
            "more than 4096 bytes",
            "too large",
        ),
        (
            Reply::json(&json!({})).after(Duration::from_secs(60)),
            "no answer",
            "timeout",
        ),
    ] {
        let small = kind == "too large";
        let patient = if kind == "timeout" {
            Duration::from_millis(300)
        } else {
            quick().timeout
        };
        registry.lock().unwrap().broken = Some(reply);
        let sink = Arc::new(Recorder::default());
        let options = WatchOptions {
            registry: Some(server.url("")),
            body_bytes: if small { 4096 } else { 1 << 20 },
            timeout: patient,
            ..quick()
        };
        let watcher = Watcher::start(options, sink.clone()).unwrap();
        let row = until("a probe result", || {
            sink.rows::<ProbeResult>(Signal::Probes).into_iter().next()
        })
        .await;
        assert!(
            !row.ok && row.check == "registry" && row.error.as_deref() == Some(kind),
            "{error}: {row:?}"
        );
        assert!(
            row.raw["detail"].as_str().unwrap().contains(error),
            "{error}: {row:?}"
        );
        let said = until("an error in the status", || {
            watcher
                .status()
                .tasks()
                .get("registry snapshot")?
                .last_error
                .clone()
        })
        .await;
        assert!(said.1.contains(error), "{said:?}");
        assert!(sink.payloads(Signal::RegistrySnapshots).is_empty());
        watcher.stop().await;
    }
}

#[tokio::test]
async fn probes_tell_refused_from_silent_from_unready() {
    let healthy = Server::start(|path| match path {
        "/health/live" | "/health/ready" => Reply::json(&json!({"status": "ok", "checks": []})),
        _ => Reply::status(404, "no such path"),
    })
    .await;
    let unready = Server::start(|path| match path {
        "/health/live" => Reply::json(&json!({"status": "ok"})),
        _ => Reply {
            status: 503,
            ..Reply::json(&json!({"status": "fail", "checks": [
                {"name": "migrations", "status": "ok"}, {"name": "upstream payment", "status": "fail", "error": "no live instance"}]}))
        },
    })
    .await;
    let slow = Server::start(|_| Reply::json(&json!({})).after(Duration::from_secs(60))).await;
    let closed = closed_port().await;
    let registry = Arc::new(Mutex::new(Registry::default()));
    let at = |port: u16| format!("127.0.0.1:{port}");
    let http = |port: u16| json!({"http_port": port.to_string()});
    let mut wrong = instance(
        "6",
        "wrong-path",
        &at(healthy.port),
        json!({"metrics_port": healthy.port}),
    );
    wrong["health_path"] = json!("ready");
    registry.lock().unwrap().instances = vec![
        instance("1", "fine", &at(healthy.port), http(healthy.port)),
        instance("2", "unready", &at(unready.port), http(unready.port)),
        instance("3", "slow", &at(slow.port), http(slow.port)),
        instance("4", "closed", &at(closed), http(closed)),
        instance("5", "no-port", &at(healthy.port), json!({})),
        wrong,
        instance("7", "elsewhere", "192.0.2.1:80", http(80)),
        instance("8", "named", "payment", http(80)),
    ];
    let server = serve(&registry).await;
    let sink = Arc::new(Recorder::default());
    let watcher = start(Some(server.url("")), None, &sink);
    let rows: Vec<ProbeResult> = until("a round of probes", || {
        let rows: Vec<ProbeResult> = sink.rows(Signal::Probes);
        rows.iter()
            .any(|row| row.instance.is_some())
            .then_some(rows)
    })
    .await;
    watcher.stop().await;
    let found = |service: &str, check: &str| {
        let row = rows
            .iter()
            .find(|row| row.service.as_deref() == Some(service) && row.check == check);
        row.map(|row| (row.ok, row.status, row.error.clone().unwrap_or_default()))
            .unwrap()
    };
    let fine = |status| (true, status, String::new());
    assert_eq!(found("fine", "connect"), fine(None));
    assert_eq!(found("fine", "live"), fine(Some(200)));
    assert_eq!(found("fine", "ready"), fine(Some(200)));
    assert_eq!(found("unready", "live"), fine(Some(200)));
    assert_eq!(
        found("unready", "ready"),
        (
            false,
            Some(503),
            "answered 503: upstream payment (no live instance)".into()
        )
    );
    assert_eq!(found("slow", "connect"), fine(None));
    assert_eq!(found("slow", "ready"), (false, None, "timeout".into()));
    assert_eq!(found("closed", "connect"), (false, None, "refused".into()));
    assert_eq!(found("closed", "live"), (false, None, "refused".into()));
    assert_eq!(
        found("no-port", "ready"),
        (
            false,
            None,
            "not asked: its registration names no http_port or metrics_port".into()
        )
    );
    assert_eq!(found("wrong-path", "live"), fine(Some(200)));
    assert!(
        found("wrong-path", "ready")
            .2
            .starts_with("its health path \"ready\" is no path")
    );
    assert_eq!(
        found("elsewhere", "connect"),
        (false, None, "not allowed".into())
    );
    assert!(found("named", "connect").2.contains("has no port"));
    let slow_row = rows
        .iter()
        .find(|row| row.service.as_deref() == Some("slow") && row.check == "ready")
        .unwrap();
    assert!(slow_row.duration_nano >= 2_000_000_000 && slow_row.at.0 > 0);
    let ready = rows
        .iter()
        .find(|row| row.service.as_deref() == Some("unready") && row.check == "ready")
        .unwrap();
    assert_eq!(ready.raw["body"]["checks"][1]["error"], "no live instance");
}

/// A debug API whose answers the test sets by path.
fn debug_api(
    pages: &Arc<Mutex<std::collections::BTreeMap<String, Reply>>>,
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
async fn who_still_caches_an_instance_is_kept_whole() {
    let row = json!({
        "id": "payment-1", "name": "payment", "address": "127.0.0.1:9110", "status": "removed", "reachable": false,
        "response_time_ms": 1.5, "error": "connection refused",
        "cached_by": [{"instance": "order-management-1", "age_ms": 12000}]
    });
    let pages = Arc::new(Mutex::new(
        [(
            "/debug/registry/health".to_owned(),
            Reply::json(&json!([row])),
        )]
        .into(),
    ));
    let server = Server::start(debug_api(&pages)).await;
    let sink = Arc::new(Recorder::default());
    let watcher = start(None, Some(server.url("/debug")), &sink);
    let found = until("the caches", || {
        sink.rows::<ProbeResult>(Signal::Probes).into_iter().next()
    })
    .await;
    watcher.stop().await;
    assert_eq!(
        (found.check.as_str(), found.ok, found.error.as_deref()),
        ("caches", false, Some("connection refused"))
    );
    assert_eq!(
        (found.instance.as_deref(), found.service.as_deref()),
        (Some("payment-1"), Some("payment"))
    );
    assert_eq!(found.duration_nano, 1_500_000);
    assert_eq!(found.raw, row);
}

#[tokio::test]
async fn sagas_are_kept_row_by_row_when_they_change() {
    let saga = |status: &str, age: u64, step: &str| {
        json!({
            "saga_id": "sg_1", "order_id": "ord_1", "status": status, "age_ms": age, "manual_intervention_required": false,
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "created_at": "2026-11-20T10:00:00Z", "updated_at": "2026-11-20T10:00:01Z", "lease_expires_at": format!("2026-11-20T10:00:{age:02}Z"),
            "steps": [{"saga_id": "sg_1", "step_id": "st_1", "step_name": "process_payment", "status": step, "started_at": "2026-11-20T10:00:00.5Z"}],
            "log": [{"seq": 4, "saga_id": "sg_1", "at": "2026-11-20T10:00:00.6Z", "kind": "step_intent", "step_id": "st_1"}]
        })
    };
    let list = |sagas: Vec<Value>| Reply::json(&json!(sagas));
    let pages = Arc::new(Mutex::new(std::collections::BTreeMap::from([
        (
            "/debug/sagas/active".to_owned(),
            list(vec![saga("running", 1, "in_progress")]),
        ),
        ("/debug/sagas/failed".to_owned(), list(vec![])),
    ])));
    let server = Server::start(debug_api(&pages)).await;
    let sink = Arc::new(Recorder::default());
    let watcher = start(None, Some(server.url("")), &sink);
    let rows = || sink.rows::<JournalRecord>(Signal::Journal);
    until("three records", || (rows().len() == 3).then_some(())).await;
    let first = rows();
    let kinds: Vec<&str> = first.iter().map(|row| row.kind.as_str()).collect();
    assert_eq!(kinds, ["saga", "step", "step_intent"]);
    assert!(
        first
            .iter()
            .all(|row| row.saga_id == "sg_1" && row.order_id.as_deref() == Some("ord_1"))
    );
    assert!(
        first
            .iter()
            .all(|row| row.trace_id.as_deref() == Some("0af7651916cd43dd8448eb211c80319c"))
    );
    let times: Vec<u64> = first
        .iter()
        .map(|row| row.at.0 - 1_795_168_800_000_000_000)
        .collect();
    assert_eq!(times, [1_000_000_000, 500_000_000, 600_000_000]);
    assert_eq!(
        (first[2].seq, &first[1].fields["status"]),
        (Some(4), &json!("in_progress"))
    );
    assert!(first[0].fields.get("steps").is_none() && first[0].fields["age_ms"] == 1);

    // Only its age moves: nothing new. Then one step changes: that step's record alone.
    pages.lock().unwrap().insert(
        "/debug/sagas/active".into(),
        list(vec![saga("running", 9, "in_progress")]),
    );
    let asked = server.seen().len();
    until("more looks", || {
        (server.seen().len() > asked + 20).then_some(())
    })
    .await;
    assert_eq!(rows().len(), 3);
    pages.lock().unwrap().insert(
        "/debug/sagas/active".into(),
        list(vec![saga("running", 10, "completed")]),
    );
    until("the step", || (rows().len() == 4).then_some(())).await;
    assert_eq!(
        (rows()[3].kind.as_str(), &rows()[3].fields["status"]),
        ("step", &json!("completed"))
    );

    // While one list can't be read, absence from the other means nothing.
    pages
        .lock()
        .unwrap()
        .insert("/debug/sagas/failed".into(), Reply::status(500, "oops"));
    pages
        .lock()
        .unwrap()
        .insert("/debug/sagas/active".into(), list(vec![]));
    until("the failure", || {
        watcher.status().tasks()["sagas"]
            .last_error
            .clone()
            .filter(|(_, error)| error.contains("500"))
    })
    .await;
    assert_eq!(rows().len(), 4);
    pages
        .lock()
        .unwrap()
        .insert("/debug/sagas/failed".into(), list(vec![]));
    until("the end of the saga", || (rows().len() == 5).then_some(())).await;
    assert_eq!(
        (rows()[4].kind.as_str(), rows()[4].saga_id.as_str()),
        ("left_active", "sg_1")
    );
    watcher.stop().await;
}

#[tokio::test]
async fn ledger_rows_are_kept_when_new_or_changed() {
    let order =
        |id: &str, status: &str| json!({"order_id": id, "status": status, "total_cents": 100});
    let rows_of = |rows: Vec<Value>| Reply::json(&json!(rows));
    let pages = Arc::new(Mutex::new(std::collections::BTreeMap::from([
        (
            "/debug/ledgers/orders".to_owned(),
            rows_of(vec![order("o1", "PAID"), order("o2", "PAID")]),
        ),
        (
            "/debug/ledgers/inbox".to_owned(),
            rows_of(vec![
                json!({"event_id": "e", "type": "A"}),
                json!({"event_id": "e", "type": "B"}),
            ]),
        ),
    ])));
    let server = Server::start(debug_api(&pages)).await;
    let sink = Arc::new(Recorder::default());
    let watcher = start(None, Some(server.url("")), &sink);
    let rows = |ledger: &str| -> Vec<LedgerRow> {
        sink.rows::<LedgerRow>(Signal::Ledger)
            .into_iter()
            .filter(|row| row.ledger == ledger)
            .collect()
    };
    until("four rows", || {
        (rows("orders").len() + rows("inbox").len() == 4).then_some(())
    })
    .await;
    let first = &rows("orders")[0];
    assert_eq!(
        (
            first.key.as_str(),
            first.order_id.as_deref(),
            &first.fields["status"]
        ),
        ("o1", Some("o1"), &json!("PAID"))
    );
    assert_eq!(first.source, format!("http://127.0.0.1:{}", server.port));

    pages.lock().unwrap().insert(
        "/debug/ledgers/orders".into(),
        rows_of(vec![
            order("o1", "PAID"),
            order("o2", "SHIPPED"),
            order("o3", "PENDING"),
        ]),
    );
    until("the changes", || (rows("orders").len() == 4).then_some(())).await;
    let asked = server.seen().len();
    until("many more looks", || {
        (server.seen().len() > asked + 100).then_some(())
    })
    .await;
    assert_eq!(
        rows("orders")[2..]
            .iter()
            .map(|row| row.key.as_str())
            .collect::<Vec<_>>(),
        ["o2", "o3"]
    );
    assert_eq!(
        rows("inbox").len(),
        2,
        "two rows with one key don't overwrite each other for ever"
    );
    let seen = server.seen();
    assert!(
        seen.iter()
            .any(|asked| asked.starts_with("/debug/ledgers/orders?since=20")),
        "reads on from the last look"
    );
    let whole = seen
        .iter()
        .filter(|asked| asked.starts_with("/debug/ledgers/orders "))
        .count();
    assert!(whole >= 2, "and whole now and then: {whole}");
    let tasks = watcher.status().tasks();
    assert!(
        tasks["ledger payments"]
            .last_error
            .as_ref()
            .unwrap()
            .1
            .contains("answered 404: no such ledger")
    );
    assert_eq!(tasks["ledger orders"].failures, 0);
    watcher.stop().await;
}

#[tokio::test]
async fn a_server_that_does_not_understand_since_is_read_whole() {
    let server = Server::start(|path| match path {
        "/debug/ledgers/orders" => Reply::json(&json!({"rows": [{"order_id": "o1"}]})),
        path if path.contains("since") => Reply::status(400, "since must be a number"),
        _ => Reply::status(404, ""),
    })
    .await;
    let sink = Arc::new(Recorder::default());
    let options = WatchOptions {
        debug: Some(server.url("")),
        ledgers: vec!["orders".into()],
        ledger_sweep_every: Duration::from_secs(3600),
        ..quick()
    };
    let watcher = Watcher::start(options, sink.clone()).unwrap();
    let whole = || {
        server
            .seen()
            .iter()
            .filter(|asked| asked.starts_with("/debug/ledgers/orders "))
            .count()
    };
    until("reads without since", || (whole() >= 4).then_some(())).await;
    let tasks = watcher.status().tasks();
    watcher.stop().await;
    assert_eq!(
        server
            .seen()
            .iter()
            .filter(|asked| asked.contains("since"))
            .count(),
        1
    );
    assert!(
        tasks["ledger orders"]
            .last_error
            .as_ref()
            .unwrap()
            .1
            .contains("since must be a number")
    );
    assert_eq!(sink.rows::<LedgerRow>(Signal::Ledger).len(), 1);
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
