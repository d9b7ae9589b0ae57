//! The registry's listing at intervals: written when it changed, and at least every so often.
//!
//! A registry that gives no snapshot is a finding of its own: each failed look is written as a probe result.

use std::sync::Arc;
use std::time::Duration;

use case::Signal;
use case::signal::{ProbeResult, RegistryInstance, RegistrySnapshot};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

use super::source::{RegistrySource, SourceError};
use super::watcher::{Shared, stopping, unless_stopped};
use crate::status::now;

const TASK: &str = "registry snapshot";

pub(super) async fn watch(
    shared: Arc<Shared>,
    registry: Arc<dyn RegistrySource>,
    mut stop: watch::Receiver<bool>,
) {
    let mut written: Option<(RegistrySnapshot, Instant)> = None;
    let mut reachable: Option<bool> = None;
    loop {
        let (at, started) = (now(), Instant::now());
        let log = *shared.log.borrow();
        let Some(answer) = unless_stopped(&mut stop, registry.snapshot()).await else {
            return;
        };
        let took = started.elapsed();
        let ok = answer.is_ok();
        if !ok || reachable != Some(true) {
            let row = reach_row(registry.url(), at, took, answer.as_ref().err());
            // A failed delivery is counted and said where it happens.
            let _ = shared
                .delivery
                .bring_rows(TASK, Signal::Probes, &[row])
                .await;
        }
        reachable = Some(ok);
        match answer {
            Err(error) => shared.board.failed(TASK, error.to_string()),
            Ok(snapshot) => {
                shared.board.worked(TASK);
                if snapshot.seq.is_some_and(|seq| seq < log.cursor) {
                    shared.went_back.send_replace(Some(log));
                }
                let changed = written.as_ref().is_none_or(|(last, since)| {
                    since.elapsed() >= shared.options.snapshot_at_least_every
                        || differs(last, &snapshot)
                });
                publish(&shared, &snapshot);
                if changed
                    && shared
                        .delivery
                        .bring_rows(
                            TASK,
                            Signal::RegistrySnapshots,
                            std::slice::from_ref(&snapshot),
                        )
                        .await
                        .is_ok()
                {
                    written = Some((snapshot, Instant::now()));
                }
            }
        }
        if stopping(
            &mut stop,
            shared.options.snapshot_every.max(Duration::from_millis(10)),
        )
        .await
        {
            return;
        }
    }
}

/// Whether anything but heartbeats happened.
fn differs(last: &RegistrySnapshot, now: &RegistrySnapshot) -> bool {
    last.seq != now.seq
        || last.config != now.config
        || !same_instances(&last.instances, &now.instances)
}

fn same_instances(a: &[RegistryInstance], b: &[RegistryInstance]) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| {
            (
                &a.id,
                &a.name,
                &a.address,
                &a.status,
                &a.registered_at,
                &a.seq,
                &a.health_path,
                &a.metadata,
            ) == (
                &b.id,
                &b.name,
                &b.address,
                &b.status,
                &b.registered_at,
                &b.seq,
                &b.health_path,
                &b.metadata,
            )
        })
}

fn publish(shared: &Shared, snapshot: &RegistrySnapshot) {
    shared.latest.send_if_modified(|latest| {
        let same = latest
            .as_ref()
            .is_some_and(|last| same_instances(&last.instances, &snapshot.instances));
        if !same {
            *latest = Some(Arc::new(snapshot.clone()));
        }
        !same
    });
}

fn reach_row(
    url: String,
    at: case::Nanos,
    took: Duration,
    error: Option<&SourceError>,
) -> ProbeResult {
    ProbeResult {
        at,
        instance: None,
        service: Some("registry".into()),
        address: url
            .trim_start_matches("http://")
            .trim_end_matches('/')
            .to_owned(),
        check: "registry".into(),
        ok: error.is_none(),
        status: error.map_or(Some(200), SourceError::status),
        duration_nano: u64::try_from(took.as_nanos()).unwrap_or(u64::MAX),
        error: error.map(SourceError::kind),
        raw: error.map_or(
            serde_json::Value::Null,
            |error| json!({ "detail": error.to_string() }),
        ),
    }
}
