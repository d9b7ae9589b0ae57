//! Snapshots: what is written when, and what becomes of answers that are none.

use case::signal::{ProbeResult, RegistryInstance, RegistrySnapshot};
use case::{Nanos, Signal};

use super::*;

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
