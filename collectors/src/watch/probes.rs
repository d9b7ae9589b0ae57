//! Looking at each registered instance from outside: does its address take connections, what do its health endpoints
//! say, who still has it cached.
//!
//! Only addresses the registry names, and of those only where probes may go.

use std::sync::Arc;
use std::time::Duration;

use case::signal::{ProbeResult, RegistryInstance};
use case::{Nanos, Signal};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::fields::{get_json, parse, rows, said, text};
use super::watcher::{Shared, stopping, unless_stopped};
use crate::fetch::{self, Bounds, Endpoint, EndpointError, HostPort};
use crate::status::now;

const TASK: &str = "probes";
const CACHES: &str = "caches";

/// A health page is a page, not a report.
const HEALTH_BYTES: usize = 256 << 10;

pub(super) async fn watch(shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    let mut latest = shared.latest.subscribe();
    if unless_stopped(&mut stop, latest.wait_for(Option::is_some))
        .await
        .is_none()
    {
        return;
    }
    let slots = Arc::new(Semaphore::new(shared.options.probe_concurrency.max(1)));
    let bounds = Bounds {
        connect: shared.options.probe_timeout,
        total: shared.options.probe_timeout,
        body: HEALTH_BYTES,
        reach: shared.options.reach,
    };
    loop {
        let snapshot = latest.borrow_and_update().clone();
        let mut round = JoinSet::new();
        let listed = snapshot
            .iter()
            .flat_map(|snapshot| &snapshot.instances)
            .filter(|instance| instance.status != "removed");
        let mut beyond = 0_usize;
        for (index, instance) in listed.enumerate() {
            if index >= shared.options.max_instances {
                beyond += 1;
                continue;
            }
            let (slots, instance) = (slots.clone(), instance.clone());
            round.spawn(async move {
                // The semaphore is never closed.
                let _slot = slots.acquire_owned().await;
                probe(&instance, &bounds).await
            });
        }
        let Some(found) = unless_stopped(&mut stop, round.join_all()).await else {
            return;
        };
        let mut found: Vec<ProbeResult> = found.into_iter().flatten().collect();
        found.sort_by(|a, b| {
            (&a.service, &a.instance, &a.check).cmp(&(&b.service, &b.instance, &b.check))
        });
        shared.board.worked(TASK);
        if beyond > 0 {
            let limit = shared.options.max_instances;
            shared.board.complain(
                TASK,
                format!("{beyond} instances beyond the limit of {limit} are not probed"),
            );
        }
        // A failed delivery is counted and said where it happens.
        let _ = shared
            .delivery
            .bring_rows(TASK, Signal::Probes, &found)
            .await;
        if stopping(
            &mut stop,
            shared.options.probe_every.max(Duration::from_millis(10)),
        )
        .await
        {
            return;
        }
    }
}

/// Looks at these instances once, all checks of each, no address outside `reach`.
pub async fn look(
    instances: &[RegistryInstance],
    reach: fetch::Reach,
    timeout: Duration,
) -> Vec<ProbeResult> {
    let bounds = Bounds {
        connect: timeout,
        total: timeout,
        body: HEALTH_BYTES,
        reach,
    };
    let mut round = JoinSet::new();
    for instance in instances {
        let instance = instance.clone();
        round.spawn(async move { probe(&instance, &bounds).await });
    }
    let mut found: Vec<ProbeResult> = round.join_all().await.into_iter().flatten().collect();
    found.sort_by(|a, b| {
        (&a.service, &a.instance, &a.check).cmp(&(&b.service, &b.instance, &b.check))
    });
    found
}

async fn probe(instance: &RegistryInstance, bounds: &Bounds) -> Vec<ProbeResult> {
    let address: HostPort = match instance.address.parse() {
        Ok(address) => address,
        Err(error) => {
            let error: EndpointError = error;
            return vec![
                result(
                    instance,
                    instance.address.clone(),
                    "connect",
                    now(),
                    Duration::ZERO,
                )
                .failed(error.to_string()),
            ];
        }
    };
    let (at, started) = (now(), Instant::now());
    let connected = fetch::connect(&address, bounds).await;
    let connect = result(
        instance,
        address.to_string(),
        "connect",
        at,
        started.elapsed(),
    );
    let connect = match connected {
        Ok(_) => connect,
        Err(error) => connect
            .failed(error.kind().to_owned())
            .with(json!({ "detail": error.to_string() })),
    };
    let registered = instance.health_path.as_deref().unwrap_or("/health/ready");
    vec![
        connect,
        health(instance, &address, "live", "/health/live", bounds).await,
        health(instance, &address, "ready", registered, bounds).await,
    ]
}

async fn health(
    instance: &RegistryInstance,
    address: &HostPort,
    check: &str,
    path: &str,
    bounds: &Bounds,
) -> ProbeResult {
    let port = ["http_port", "metrics_port"].iter().find_map(|name| {
        let port: u16 = instance.metadata.get(*name)?.trim().parse().ok()?;
        (port != 0).then_some(port)
    });
    let Some(port) = port else {
        return result(instance, address.to_string(), check, now(), Duration::ZERO)
            .failed("not asked: its registration names no http_port or metrics_port".into());
    };
    let at = HostPort::new(address.host.clone(), port);
    let endpoint = match Endpoint::new(at.clone(), path) {
        Ok(endpoint) => endpoint,
        Err(error) => {
            return result(instance, at.to_string(), check, now(), Duration::ZERO)
                .failed(format!("its health path {error}"));
        }
    };
    let (asked, started) = (now(), Instant::now());
    let answer = fetch::get(&endpoint, "application/json", bounds).await;
    let found = result(instance, at.to_string(), check, asked, started.elapsed());
    match answer {
        Err(error) => found
            .failed(error.kind().to_owned())
            .with(json!({ "url": endpoint.to_string(), "detail": error.to_string() })),
        Ok(answer) => {
            let body = parse(&answer.body).ok();
            let mut found = found;
            found.status = Some(answer.status);
            if answer.status != 200 {
                found = found.failed(
                    match body
                        .as_ref()
                        .map(failing)
                        .filter(|failing| !failing.is_empty())
                    {
                        Some(failing) => format!("answered {}: {failing}", answer.status),
                        None => format!("answered {}{}", answer.status, said(&answer.body)),
                    },
                );
            }
            found.with(match body {
                Some(body) => json!({ "url": endpoint.to_string(), "body": body }),
                None => json!({ "url": endpoint.to_string() }),
            })
        }
    }
}

/// The checks of a health page that don't pass, with what they say.
fn failing(body: &Value) -> String {
    let checks = body
        .get("checks")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let failing: Vec<String> = checks
        .iter()
        .filter_map(Value::as_object)
        .filter(|check| {
            !matches!(
                text(check, "status").as_deref(),
                Some("ok" | "pass" | "up" | "healthy" | "true")
            )
        })
        .take(10)
        .map(|check| {
            let name = text(check, "name").unwrap_or_else(|| "?".into());
            match text(check, "error").filter(|error| !error.is_empty()) {
                Some(error) => format!("{name} ({error})"),
                None => name,
            }
        })
        .collect();
    failing.join(", ").chars().take(400).collect()
}

fn result(
    instance: &RegistryInstance,
    address: String,
    check: &str,
    at: Nanos,
    took: Duration,
) -> ProbeResult {
    ProbeResult {
        at,
        instance: Some(instance.id.clone()),
        service: Some(instance.name.clone()),
        address,
        check: check.to_owned(),
        ok: true,
        status: None,
        duration_nano: u64::try_from(took.as_nanos()).unwrap_or(u64::MAX),
        error: None,
        raw: Value::Null,
    }
}

trait Outcome {
    fn failed(self, error: String) -> Self;
    fn with(self, raw: Value) -> Self;
}

impl Outcome for ProbeResult {
    fn failed(mut self, error: String) -> Self {
        self.ok = false;
        self.error = Some(error);
        self
    }

    fn with(mut self, raw: Value) -> Self {
        self.raw = raw;
        self
    }
}

/// Who still caches an instance, and whether the shop itself reaches it: `/debug/registry/health`.
pub(super) async fn watch_caches(
    shared: Arc<Shared>,
    debug: Endpoint,
    mut stop: watch::Receiver<bool>,
) {
    let endpoint = match debug.join("/debug/registry/health") {
        Ok(endpoint) => endpoint,
        Err(error) => return shared.board.failed(CACHES, error.to_string()),
    };
    loop {
        let at = now();
        let Some(answer) = unless_stopped(&mut stop, get_json(&endpoint, &shared.bounds())).await
        else {
            return;
        };
        let listed = answer
            .map_err(|error| error.to_string())
            .and_then(|document| {
                rows(document, &["instances", "services"])
                    .map_err(|reason| format!("{endpoint}: {reason}"))
            });
        match listed {
            Err(reason) => shared.board.failed(CACHES, reason),
            Ok(listed) => {
                shared.board.worked(CACHES);
                let beyond = listed.len().saturating_sub(shared.options.max_instances);
                let found: Vec<ProbeResult> = listed
                    .into_iter()
                    .take(shared.options.max_instances)
                    .map(|row| cached(row, at))
                    .collect();
                if beyond > 0 {
                    shared.board.complain(
                        CACHES,
                        format!("{beyond} instances beyond the limit are not kept"),
                    );
                }
                // A failed delivery is counted and said where it happens.
                let _ = shared
                    .delivery
                    .bring_rows(CACHES, Signal::Probes, &found)
                    .await;
            }
        }
        if stopping(
            &mut stop,
            shared.options.caches_every.max(Duration::from_millis(10)),
        )
        .await
        {
            return;
        }
    }
}

fn cached(row: Value, at: Nanos) -> ProbeResult {
    let field = |name: &str| {
        row.as_object()
            .and_then(|row| text(row, name))
            .filter(|text| !text.is_empty())
    };
    let millis = row
        .get("response_time_ms")
        .and_then(Value::as_f64)
        .unwrap_or(0.0);
    let reachable = row.get("reachable").and_then(Value::as_bool);
    ProbeResult {
        at,
        instance: field("id")
            .or_else(|| field("instance_id"))
            .or_else(|| field("instance")),
        service: field("name").or_else(|| field("service")),
        address: field("address").unwrap_or_default(),
        check: "caches".into(),
        ok: reachable.unwrap_or(false),
        status: None,
        duration_nano: (millis.max(0.0) * 1e6) as u64,
        error: field("error").or_else(|| {
            reachable
                .is_none()
                .then(|| "says nothing of being reachable".to_owned())
        }),
        raw: row,
    }
}
