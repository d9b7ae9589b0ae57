//! Owns the instances of a deployment and where calls go: starting and retiring a release's processes, and telling the
//! registry how to split.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tonic::Code;

use crate::catalog::{REGISTRY, ServiceSpec};
use crate::clock::Clock;
use crate::discovery::token;
use crate::error::ApiError;
use crate::release::Release;
use crate::supervisor::Supervisor;
use crate::supervisor::process::{self, Managed};

/// Instances of a service, the ones of deployments included: ports are dealt out for so many.
const MOST: u16 = 10;
const TIMEOUT: Duration = Duration::from_secs(5);
/// A new instance is asked so often, so far apart.
const ATTEMPTS: u32 = 30;
const APART: Duration = Duration::from_secs(5);
/// No host starts a process in less.
const AT_LEAST: Duration = Duration::from_secs(20);
/// A split is known everywhere within this time of the shop's, which no host makes too short.
const HEARD: Duration = Duration::from_secs(5);
const HEARD_AT_LEAST: Duration = Duration::from_millis(500);
const DRAIN: Duration = Duration::from_secs(30);

pub(super) fn running(supervisor: &Supervisor, service: &str) -> Vec<Arc<Managed>> {
    let mut found = supervisor.instances();
    found.retain(|managed| managed.service() == service);
    found
}

/// Starts so many processes of a release; answers once each is ready.
pub(super) async fn start(
    supervisor: &Arc<Supervisor>,
    spec: &'static ServiceSpec,
    release: &Release,
    count: usize,
) -> Result<Vec<Arc<Managed>>, ApiError> {
    let mut started = Vec::new();
    for _ in 0..count {
        let known = running(supervisor, spec.name);
        let number = (0..MOST)
            .find(|number| !known.iter().any(|managed| managed.instance() == *number))
            .ok_or_else(|| {
                ApiError::invalid(format!("{} has {MOST} instances already", spec.name))
            })?;
        let internal = |error: crate::ShopError| ApiError::internal(error.to_string());
        let label = format!("{}-{number}", spec.name);
        release
            .save(&supervisor.config.run_dir, &label)
            .map_err(internal)?;
        let managed = process::start(supervisor, spec, number).map_err(internal)?;
        supervisor.lock().push(Arc::clone(&managed));
        started.push(managed);
    }
    match until_ready(supervisor, &started).await {
        Ok(()) => Ok(started),
        Err(error) => {
            retire(supervisor, &started).await;
            Err(error)
        }
    }
}

pub(super) async fn until_ready(
    supervisor: &Supervisor,
    instances: &[Arc<Managed>],
) -> Result<(), ApiError> {
    let mut moved = supervisor.moved.subscribe();
    let limit = supervisor.config.scaled(APART * ATTEMPTS).max(AT_LEAST);
    let all = async {
        loop {
            if let Some(how) = instances.iter().find_map(|managed| managed.gave_up()) {
                return Err(ApiError::internal(format!("a new instance ended: {how}")));
            }
            if instances.iter().all(|managed| managed.is_ready()) {
                return Ok(());
            }
            if moved.changed().await.is_err() {
                return Err(ApiError::internal("the supervisor stops"));
            }
        }
    };
    match tokio::time::timeout(limit, all).await {
        Ok(outcome) => outcome,
        Err(_) => Err(ApiError::new(
            Code::DeadlineExceeded,
            "NOT_READY",
            format!("a new instance was not ready within {limit:?}"),
        )),
    }
}

/// Gives every caller the time to hear that calls go elsewhere now, and calls under way the time to end.
pub(super) async fn settle(supervisor: &Supervisor) {
    let heard = supervisor.config.scaled(HEARD).max(HEARD_AT_LEAST);
    tokio::time::sleep(heard).await;
}

/// Ends instances in order, and forgets them.
pub(super) async fn retire(supervisor: &Arc<Supervisor>, instances: &[Arc<Managed>]) {
    for managed in instances {
        managed.expect_end();
        managed.ask_to_stop();
    }
    let deadline = tokio::time::Instant::now() + DRAIN;
    for managed in instances {
        managed.until_gone(deadline).await;
        supervisor
            .lock()
            .retain(|known| !Arc::ptr_eq(known, managed));
        Release::forget(&supervisor.config.run_dir, &managed.label());
    }
    supervisor.touch();
    // The same file is written again at the next change.
    let _ = supervisor.write_ports();
}

/// Lets instances that were registered as starting take calls.
pub(super) async fn admit(
    supervisor: &Supervisor,
    instances: &[Arc<Managed>],
) -> Result<(), ApiError> {
    for managed in instances {
        let url = admin_url(managed, "/admin/go")?;
        let sent = supervisor.client.post(url).timeout(TIMEOUT).send().await;
        let sent = sent.map_err(|error| unreachable(managed, &error))?;
        if !sent.status().is_success() {
            return Err(ApiError::internal(format!(
                "{} answered {}",
                managed.label(),
                sent.status().as_u16()
            )));
        }
    }
    Ok(())
}

pub(super) fn admin_url(managed: &Managed, path: &str) -> Result<String, ApiError> {
    let ports = managed.ports().ok_or_else(|| {
        ApiError::new(
            Code::Unavailable,
            "INSTANCE_UNREACHABLE",
            format!("{} is not up", managed.label()),
        )
    })?;
    Ok(format!("http://127.0.0.1:{}{path}", ports.admin))
}

pub(super) fn unreachable(managed: &Managed, error: &reqwest::Error) -> ApiError {
    ApiError::new(
        Code::Unavailable,
        "INSTANCE_UNREACHABLE",
        format!("{} does not answer: {error}", managed.label()),
    )
}

/// A split, and what it is told for.
#[derive(Debug, Clone, Default)]
pub(super) struct Split {
    pub(super) active_track: String,
    pub(super) canary_percent: u8,
    pub(super) salt: Option<String>,
    pub(super) phase: Option<String>,
    pub(super) rolled_back: Option<String>,
}

/// Sets how calls to a service are split: at one registry node, which tells the others.
pub(super) async fn split(
    supervisor: &Supervisor,
    service: &str,
    split: &Split,
) -> Result<(), ApiError> {
    let body = json!({
        "active_track": split.active_track, "canary_percent": split.canary_percent, "salt": split.salt,
        "phase": split.phase, "rolled_back": split.rolled_back,
    });
    let now_s = Clock::new(1.0).now() / 1_000_000_000;
    let secret = &supervisor.config.registry_secret;
    let shown = token::issue(secret, "supervisor", now_s + token::VALIDITY_S);
    let mut why = "no registry runs".to_owned();
    for managed in running(supervisor, REGISTRY) {
        let Some(port) = managed.ports().and_then(|ports| ports.http) else {
            continue;
        };
        let url = format!("http://127.0.0.1:{port}/registry/routes/{service}");
        let asked = supervisor.client.put(url).bearer_auth(&shown).json(&body);
        match asked.timeout(TIMEOUT).send().await {
            Ok(answer) if answer.status().is_success() => return Ok(()),
            Ok(answer) => why = format!("it answered {}", answer.status().as_u16()),
            Err(error) => why = error.to_string(),
        }
    }
    Err(ApiError::new(
        Code::Unavailable,
        "REGISTRY_UNAVAILABLE",
        format!("the registry did not take the split: {why}"),
    ))
}

/// The track that a service's calls go to now.
pub(super) async fn active_track(
    supervisor: &Supervisor,
    service: &str,
) -> Result<String, ApiError> {
    for managed in running(supervisor, REGISTRY) {
        let Some(port) = managed.ports().and_then(|ports| ports.http) else {
            continue;
        };
        let url = format!("http://127.0.0.1:{port}/registry/routes/{service}");
        if let Ok(answer) = supervisor.client.get(url).timeout(TIMEOUT).send().await
            && let Ok(route) = answer.json::<Value>().await
            && let Some(track) = route["active_track"].as_str()
        {
            return Ok(track.to_owned());
        }
    }
    Err(ApiError::new(
        Code::Unavailable,
        "REGISTRY_UNAVAILABLE",
        "no registry node answers",
    ))
}
