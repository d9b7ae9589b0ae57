//! Owns switching faults on and off from outside: finding the targets, passing the order on, and the ground truth.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use tonic::Code;

use super::Supervisor;
use super::deploy::migration::{self, MigrateRequest};
use super::deploy::{self, DeployRequest};
use super::process::Managed;
use crate::catalog::{REGISTRY, ServiceSpec};
use crate::clock::{Clock, rfc3339};
use crate::config::write_json;
use crate::error::{ApiError, ShopError};
use crate::faults::{DEFAULT_TTL, FaultRequest, KindInfo, Reach, start_file};
use crate::ids::ulid;
use crate::services::migrations::MigrationPhase;
use crate::truth;

#[derive(Debug, Clone)]
pub(super) struct Record {
    id: String,
    kind: &'static KindInfo,
    request: FaultRequest,
    started: u64,
    /// When it is or was switched on.
    from: Instant,
    until: Instant,
    instances: Vec<String>,
}

impl Record {
    /// Whether the instances have it from their start on.
    fn starts_with_process(&self) -> bool {
        self.request.from_start || self.kind.reach == Reach::Start
    }
}

/// `POST /admin/faults`.
pub(super) async fn start(
    supervisor: &Arc<Supervisor>,
    mut request: FaultRequest,
) -> Result<Value, ApiError> {
    if ServiceSpec::find(&request.target.service).is_none() {
        return Err(ApiError::invalid(format!(
            "no service is called '{}'",
            request.target.service
        )));
    }
    let (kind, params) = request.resolve().map_err(|error| {
        let hint = if KindInfo::find(&request.kind).is_none() {
            ": see `shop fault list`"
        } else {
            ""
        };
        ApiError::invalid(format!("{error}{hint}"))
    })?;
    request.params = params;
    if request.from_start && kind.reach == Reach::Process {
        return Err(ApiError::invalid(format!(
            "{} ends the process: it cannot be there from its start",
            kind.name
        )));
    }
    let ttl = request.ttl().map_err(ApiError::invalid)?;
    let ttl = ttl.unwrap_or_else(|| supervisor.config.scaled(DEFAULT_TTL));
    let after = request.after().map_err(ApiError::invalid)?;
    let targets = targets(supervisor, &request, after.is_zero())?;
    let id = ulid("flt_");
    request.fault_id = Some(id.clone());
    if kind.name == "duplicate_id" && request.params["copy_from"].as_str().is_none() {
        copy_other_id(supervisor, &targets, &mut request)?;
    }
    let labels: Vec<String> = targets.iter().map(|managed| managed.label()).collect();
    let from = Instant::now() + after;
    let record = Record {
        id: id.clone(),
        kind,
        request,
        started: Clock::new(1.0)
            .now()
            .saturating_add(after.as_nanos() as u64),
        from,
        until: from + ttl,
        instances: labels.clone(),
    };
    supervisor.records().push(record.clone());
    let answer = json!({
        "fault_id": id, "kind": kind.name, "instances": labels, "ttl_s": ttl.as_secs_f64(),
        "after_s": after.as_secs_f64(),
    });
    if after.is_zero()
        && let Err(error) = switch_on(supervisor, &record).await
    {
        supervisor.forget(&id);
        return Err(error);
    }
    tokio::spawn(run(Arc::clone(supervisor), record, after));
    Ok(answer)
}

/// The instances that a request means.
fn targets(
    supervisor: &Supervisor,
    request: &FaultRequest,
    running: bool,
) -> Result<Vec<Arc<Managed>>, ApiError> {
    let services: Vec<&str> = match request.params["services"].as_str() {
        Some(named) => named.split(',').map(str::trim).collect(),
        None => vec![request.target.service.as_str()],
    };
    let wanted = |managed: &Arc<Managed>| {
        services.contains(&managed.service())
            && request
                .target
                .instance
                .is_none_or(|instance| instance == managed.instance())
            && (!running || managed.pid().is_some())
    };
    let targets: Vec<Arc<Managed>> = supervisor.instances().into_iter().filter(wanted).collect();
    if targets.is_empty() {
        return Err(ApiError::not_found(
            "TARGET_NOT_FOUND",
            "no running instance matches the target",
        ));
    }
    Ok(targets)
}

/// A fault's life after its request: its beginning, if that is later, and its end.
async fn run(supervisor: Arc<Supervisor>, record: Record, after: Duration) {
    if !after.is_zero() {
        tokio::time::sleep_until(record.from).await;
        if !supervisor.knows(&record.id) {
            return;
        }
        if let Err(error) = switch_on(&supervisor, &record).await {
            supervisor.forget(&record.id);
            note(
                &supervisor,
                json!({ "what": "fault_failed", "fault_id": record.id, "why": error.message }),
            );
            return;
        }
    }
    if record.kind.name == "kill9" {
        // Over as soon as it is done.
        supervisor.forget(&record.id);
        return;
    }
    tokio::time::sleep_until(record.until).await;
    if supervisor.forget(&record.id) {
        release(&supervisor, &record);
        ended(&supervisor, &record.id, "its time was over");
    }
}

async fn switch_on(supervisor: &Arc<Supervisor>, record: &Record) -> Result<(), ApiError> {
    let targets: Vec<Arc<Managed>> = supervisor.of(record);
    let pids: Vec<Option<u32>> = targets.iter().map(|managed| managed.pid()).collect();
    match record.kind.name {
        "bad_release" => deploy::start(supervisor, bad_release(&record.request)?).map(drop)?,
        "early_contract" => migrate_to_the_end(supervisor, &record.request).await?,
        _ => {}
    }
    for managed in &targets {
        match record.kind.name {
            "bad_release" | "early_contract" => {}
            "kill9" => managed.kill(),
            "down" => {
                managed.hold();
                managed.kill();
            }
            "stop" => {
                managed.hold();
                managed.ask_to_stop();
            }
            _ if record.starts_with_process() => managed.start_again(),
            _ => pass_on(supervisor, managed, &record.request).await?,
        }
    }
    let ttl = record.until.saturating_duration_since(record.from);
    note(
        supervisor,
        json!({
            "what": "fault_started", "fault_id": record.id, "kind": record.kind.name,
            "instances": record.instances, "pids": pids, "params": record.request.params,
            "ttl_s": ttl.as_secs_f64(), "from_start": record.starts_with_process(),
        }),
    );
    Ok(())
}

/// The deployment that brings a bad release out.
fn bad_release(request: &FaultRequest) -> Result<DeployRequest, ApiError> {
    let mut manifest = request.params.clone();
    manifest["service"] = json!(request.target.service);
    serde_json::from_value(manifest).map_err(|error| ApiError::invalid(error.to_string()))
}

/// Takes every step of the migration, whoever still runs.
async fn migrate_to_the_end(
    supervisor: &Arc<Supervisor>,
    request: &FaultRequest,
) -> Result<(), ApiError> {
    use MigrationPhase::{Backfill, Contract, Expand};
    for phase in [Expand, Backfill, Contract] {
        let step = MigrateRequest {
            service: request.target.service.clone(),
            phase,
        };
        migration::run(supervisor, &step, true).await?;
    }
    Ok(())
}

/// Writes what an instance is to find when it starts: the faults that it has from its start on.
pub(super) fn write_start_file(supervisor: &Supervisor, label: &str) -> Result<(), ShopError> {
    let now = Instant::now();
    let requests: Vec<FaultRequest> = supervisor
        .records()
        .iter()
        .filter(|record| record.starts_with_process() && record.from <= now && record.until > now)
        .filter(|record| record.instances.iter().any(|known| known == label))
        .map(|record| FaultRequest {
            ttl_s: Some((record.until - now).as_secs_f64()),
            ..record.request.clone()
        })
        .collect();
    let path = start_file(&supervisor.config.run_dir, label);
    if !requests.is_empty() {
        return write_json(&path, &requests);
    }
    match std::fs::remove_file(&path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(ShopError::file("remove", &path, source))
        }
        _ => Ok(()),
    }
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

fn note(supervisor: &Supervisor, mut line: Value) {
    line["at"] = json!(rfc3339(Clock::new(1.0).now()));
    truth::append(&supervisor.config.run_dir, &line);
}

fn ended(supervisor: &Supervisor, id: &str, why: &str) {
    note(
        supervisor,
        json!({ "what": "fault_ended", "fault_id": id, "why": why }),
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
    let mut request = FaultRequest {
        after_s: None,
        ..request.clone()
    };
    if request.kind == "registry_partition" {
        // What each of the services has of it.
        "partition".clone_into(&mut request.kind);
        request.params = json!({ "to": REGISTRY });
        request.target.service = managed.service().to_owned();
        request.target.instance = None;
    }
    let sent = supervisor
        .client
        .post(url)
        .json(&request)
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

/// Lets processes that a fault keeps down run again.
fn release(supervisor: &Supervisor, record: &Record) {
    if record.kind.name == "bad_release" {
        let version = record.request.params["version"].as_str();
        deploy::undo(
            supervisor,
            &record.request.target.service,
            version.unwrap_or_default(),
        );
    }
    if matches!(record.kind.name, "down" | "stop") && record.from <= Instant::now() {
        for managed in supervisor.of(record) {
            managed.release();
        }
    }
}

/// `DELETE /admin/faults/{id}`, or of all without one.
pub(super) async fn stop(
    supervisor: &Arc<Supervisor>,
    id: Option<&str>,
) -> Result<Value, ApiError> {
    let records: Vec<Record> = {
        let mut faults = supervisor.records();
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
        release(supervisor, record);
        for managed in supervisor.of(record) {
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
    let now = Instant::now();
    supervisor
        .records()
        .iter()
        .filter(|record| record.until > now)
        .map(|record| {
            json!({
                "fault_id": record.id,
                "kind": record.kind.name,
                "target": record.request.target,
                "instances": record.instances,
                "params": record.request.params,
                "started_at": rfc3339(record.started),
                "on": record.from <= now,
                "left_s": record.until.saturating_duration_since(now).as_secs_f64(),
            })
        })
        .collect()
}

impl Supervisor {
    fn records(&self) -> std::sync::MutexGuard<'_, Vec<Record>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn knows(&self, id: &str) -> bool {
        self.records().iter().any(|record| record.id == id)
    }

    /// Drops a fault from the list; false if it was not there any more.
    fn forget(&self, id: &str) -> bool {
        let mut records = self.records();
        let before = records.len();
        records.retain(|record| record.id != id);
        records.len() != before
    }

    /// The instances that a fault was meant for.
    fn of(&self, record: &Record) -> Vec<Arc<Managed>> {
        self.instances()
            .into_iter()
            .filter(|managed| record.instances.contains(&managed.label()))
            .collect()
    }
}
