//! The event log: followed, interrupted, lost, begun anew.

use case::signal::{ProbeResult, RegistryEvent};
use case::{AppendError, Nanos, Signal};
use tokio::net::TcpListener;

use super::*;

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
