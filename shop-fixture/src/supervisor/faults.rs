//! Owns switching faults on and off from outside: finding the targets, passing the order on, and the ground truth.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tonic::Code;

use super::Supervisor;
use super::process::Managed;
use crate::catalog::ServiceSpec;
use crate::clock::{Clock, rfc3339};
use crate::error::ApiError;
use crate::faults::{DEFAULT_TTL, FaultRequest, KindInfo, Reach};
use crate::ids::ulid;
use crate::truth;

#[derive(Debug, Clone)]
pub(super) struct Record {
    id: String,
    request: FaultRequest,
    started: u64,
    until: tokio::time::Instant,
    instances: Vec<String>,
}

/// `POST /admin/faults`.
pub(super) async fn start(
    supervisor: &Arc<Supervisor>,
    mut request: FaultRequest,
) -> Result<Value, ApiError> {
    let Some(kind) = KindInfo::find(&request.kind) else {
        return Err(ApiError::invalid(format!(
            "no fault kind is called '{}': see `shop fault list`",
            request.kind
        )));
    };
    if ServiceSpec::find(&request.target.service).is_none() {
        return Err(ApiError::invalid(format!(
            "no service is called '{}'",
            request.target.service
        )));
    }
    let ttl = match request.ttl_s {
        Some(seconds) if seconds.is_finite() && (0.0..=86_400.0).contains(&seconds) => {
            Duration::from_secs_f64(seconds)
        }
        Some(_) => return Err(ApiError::invalid("ttl_s must be from 0 to 86400 seconds")),
        None => supervisor.config.scaled(DEFAULT_TTL),
    };
    let targets: Vec<Arc<Managed>> = supervisor
        .instances()
        .into_iter()
        .filter(|managed| managed.service() == request.target.service)
        .filter(|managed| {
            request
                .target
                .instance
                .is_none_or(|instance| instance == managed.instance())
        })
        .filter(|managed| managed.pid().is_some())
        .collect();
    if targets.is_empty() {
        return Err(ApiError::not_found(
            "TARGET_NOT_FOUND",
            "no running instance matches the target",
        ));
    }
    let id = ulid("flt_");
    request.fault_id = Some(id.clone());
    if kind.name == "duplicate_id" && request.params["copy_from"].as_str().is_none() {
        copy_other_id(supervisor, &targets, &mut request)?;
    }
    let now = Clock::new(1.0).now();
    let labels: Vec<String> = targets.iter().map(|managed| managed.label()).collect();
    let pids: Vec<Option<u32>> = targets.iter().map(|managed| managed.pid()).collect();
    for managed in &targets {
        match kind.reach {
            Reach::Process => managed.kill(),
            Reach::Instance => pass_on(supervisor, managed, &request).await?,
        }
    }
    truth::append(
        &supervisor.config.run_dir,
        &json!({
            "at": rfc3339(now), "what": "fault_started", "fault_id": id, "kind": kind.name, "instances": labels,
            "pids": pids, "params": request.params, "ttl_s": ttl.as_secs_f64(),
        }),
    );
    let record = Record {
        id: id.clone(),
        request,
        started: now,
        until: tokio::time::Instant::now() + ttl,
        instances: labels.clone(),
    };
    if kind.reach == Reach::Instance {
        supervisor
            .faults
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(record);
        tokio::spawn(note_end(Arc::clone(supervisor), id.clone(), ttl));
    }
    Ok(
        json!({ "fault_id": id, "kind": kind.name, "instances": labels, "ttl_s": ttl.as_secs_f64() }),
    )
}

/// Fills in whose id the target is to share: that of another instance of its service.
fn copy_other_id(
    supervisor: &Supervisor,
    targets: &[Arc<Managed>],
    request: &mut FaultRequest,
) -> Result<(), ApiError> {
    let other = supervisor
        .instances()
        .into_iter()
        .filter(|managed| managed.service() == request.target.service)
        .find(|managed| {
            !targets
                .iter()
                .any(|target| target.instance() == managed.instance())
        })
        .and_then(|managed| managed.ports());
    let Some(other) = other else {
        return Err(ApiError::invalid(
            "name one instance of a service that has another one, or whose id to share with copy_from",
        ));
    };
    request.params = json!({ "copy_from": other.id });
    Ok(())
}

/// The instance ends the fault by itself; this only writes down that it did.
async fn note_end(supervisor: Arc<Supervisor>, id: String, ttl: Duration) {
    tokio::time::sleep(ttl).await;
    let mut faults = supervisor
        .faults
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let before = faults.len();
    faults.retain(|record| record.id != id);
    if faults.len() != before {
        ended(&supervisor, &id, "its time was over");
    }
}

fn ended(supervisor: &Supervisor, id: &str, why: &str) {
    let at = rfc3339(Clock::new(1.0).now());
    truth::append(
        &supervisor.config.run_dir,
        &json!({ "at": at, "what": "fault_ended", "fault_id": id, "why": why }),
    );
}

async fn pass_on(
    supervisor: &Supervisor,
    managed: &Managed,
    request: &FaultRequest,
) -> Result<(), ApiError> {
    let unreachable = |why: String| {
        ApiError::new(
            Code::Unavailable,
            "INSTANCE_UNREACHABLE",
            format!("{} did not take it: {why}", managed.label()),
        )
    };
    let Some(ports) = managed.ports() else {
        return Err(unreachable("it is not ready".to_owned()));
    };
    let url = format!("http://127.0.0.1:{}/admin/faults", ports.admin);
    let sent = supervisor
        .client
        .post(url)
        .json(request)
        .timeout(Duration::from_secs(5))
        .send()
        .await;
    let answer = match sent {
        Ok(answer) => answer,
        // `crash` takes the process down before it can answer.
        Err(_) if request.kind == "crash" => return Ok(()),
        Err(error) => return Err(unreachable(error.to_string())),
    };
    if answer.status().as_u16() == 201 {
        return Ok(());
    }
    let body: Value = answer.json().await.unwrap_or_default();
    Err(ApiError::invalid(
        body["error"]["message"]
            .as_str()
            .unwrap_or("refused")
            .to_owned(),
    ))
}

/// `DELETE /admin/faults/{id}`, or of all without one.
pub(super) async fn stop(
    supervisor: &Arc<Supervisor>,
    id: Option<&str>,
) -> Result<Value, ApiError> {
    let records: Vec<Record> = {
        let mut faults = supervisor
            .faults
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (gone, kept) = std::mem::take(&mut *faults)
            .into_iter()
            .partition(|record| id.is_none_or(|id| record.id == id));
        *faults = kept;
        gone
    };
    if records.is_empty() && id.is_some() {
        return Err(ApiError::not_found(
            "FAULT_NOT_FOUND",
            "no fault of this id is on",
        ));
    }
    for record in &records {
        for managed in supervisor.instances() {
            if !record.instances.contains(&managed.label()) {
                continue;
            }
            let Some(ports) = managed.ports() else {
                continue;
            };
            let url = format!(
                "http://127.0.0.1:{}/admin/faults/{}",
                ports.admin, record.id
            );
            // An instance that has started again since has forgotten the fault already.
            let _ = supervisor
                .client
                .delete(url)
                .timeout(Duration::from_secs(5))
                .send()
                .await;
        }
        ended(supervisor, &record.id, "switched off");
    }
    Ok(json!({ "ended": records.iter().map(|record| record.id.as_str()).collect::<Vec<_>>() }))
}

pub(super) fn list(supervisor: &Supervisor) -> Value {
    let now = tokio::time::Instant::now();
    let faults = supervisor
        .faults
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    faults
        .iter()
        .filter(|record| record.until > now)
        .map(|record| {
            json!({
                "fault_id": record.id,
                "kind": record.request.kind,
                "target": record.request.target,
                "instances": record.instances,
                "params": record.request.params,
                "started_at": rfc3339(record.started),
                "left_s": record.until.saturating_duration_since(now).as_secs_f64(),
            })
        })
        .collect()
}
