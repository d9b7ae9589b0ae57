//! Owns deployments: who may begin one, how each goes on in the background, and what is told of it. `canary` and
//! `blue_green` are the two ways; a service has one deployment under way at most.

mod blue_green;
mod canary;
mod fleet;
mod judge;
pub mod migration;
mod observe;
mod plans;

use std::sync::{Arc, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::watch;
use tonic::Code;

use super::Supervisor;
use super::process::Managed;
use crate::catalog::{GATEWAY, REGISTRY, ServiceSpec};
use crate::clock::{Clock, rfc3339};
use crate::error::ApiError;
use crate::ids::ulid;
use crate::release::Release;
use crate::services::migrations::highest_level;
use crate::truth;
use plans::{PLANS, Plan};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    #[default]
    Canary,
    BlueGreen,
}

/// `POST /admin/deployments`: a release manifest, and how to bring it out.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeployRequest {
    pub service: String,
    pub version: String,
    #[serde(default)]
    pub strategy: Strategy,
    /// Of a canary: `capstone`, `short` or `cloudscale`.
    #[serde(default)]
    pub plan: Option<String>,
    #[serde(default)]
    pub behavior: String,
    #[serde(default = "one")]
    pub schema_level: u32,
    #[serde(default = "one")]
    pub proto_level: u32,
}

fn one() -> u32 {
    1
}

/// What a deployment is asked to do while it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    GoOn,
    RollBack,
    /// Make it permanent without waiting for the end of the time in which it could go back.
    Finish,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    Starting,
    Running,
    /// All traffic is there, and the way back is still open.
    Standby,
    Done,
    RolledBack,
    Failed,
}

impl State {
    fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::RolledBack | Self::Failed)
    }
}

/// One deployment as it stands.
pub(crate) struct Deployment {
    id: String,
    request: DeployRequest,
    spec: &'static ServiceSpec,
    wish: watch::Sender<Wish>,
    told: std::sync::Mutex<Told>,
}

/// What is told of a deployment.
struct Told {
    state: State,
    phase: String,
    canary_percent: u8,
    /// Every phase and decision with its time.
    history: Vec<Value>,
}

impl Deployment {
    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.told().state.is_over()
    }

    /// Notes where it stands, for whoever asks and in the truth.
    fn tell(&self, supervisor: &Supervisor, state: State, phase: &str, percent: u8, why: &str) {
        let at = rfc3339(Clock::new(1.0).now());
        let entry = json!({ "at": at, "state": state, "phase": phase, "canary_percent": percent, "why": why });
        let mut told = self.told();
        told.state = state;
        phase.clone_into(&mut told.phase);
        told.canary_percent = percent;
        told.history.push(entry);
        drop(told);
        truth::append(
            &supervisor.config.run_dir,
            &json!({
                "at": at, "what": "deployment", "deployment_id": self.id, "service": self.spec.name,
                "version": self.request.version, "behavior": self.request.behavior, "state": state,
                "phase": phase, "canary_percent": percent, "why": why,
            }),
        );
    }

    fn release(&self, track: &str, held: bool) -> Release {
        Release {
            version: self.request.version.clone(),
            track: track.to_owned(),
            behavior: self.request.behavior.clone(),
            schema_level: self.request.schema_level,
            proto_level: self.request.proto_level,
            held,
        }
    }

    fn to_json(&self) -> Value {
        let told = self.told();
        json!({
            "deployment_id": self.id, "service": self.spec.name, "version": self.request.version,
            "strategy": self.request.strategy, "state": told.state, "phase": told.phase,
            "canary_percent": told.canary_percent, "history": told.history,
        })
    }
}

impl Supervisor {
    fn deployments(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Deployment>>> {
        self.deployments
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins a deployment; it goes on in the background.
pub(super) fn start(
    supervisor: &Arc<Supervisor>,
    request: DeployRequest,
) -> Result<Value, ApiError> {
    let spec = ServiceSpec::find(&request.service)
        .ok_or_else(|| ApiError::invalid(format!("no service is called '{}'", request.service)))?;
    if matches!(spec.name, REGISTRY | GATEWAY) {
        return Err(ApiError::invalid(format!(
            "{} is what splits the traffic and is not deployed this way",
            spec.name
        )));
    }
    let plan = plan_of(&request)?;
    let highest = highest_level(spec.name);
    if !(1..=highest).contains(&request.schema_level) {
        return Err(ApiError::invalid(format!(
            "the schema of {} has levels from 1 to {highest}",
            spec.name
        )));
    }
    let deployment = Arc::new(Deployment {
        id: ulid("dep_"),
        spec,
        wish: watch::Sender::new(Wish::GoOn),
        told: std::sync::Mutex::new(Told {
            state: State::Starting,
            phase: "prepare".to_owned(),
            canary_percent: 0,
            history: Vec::new(),
        }),
        request,
    });
    deployment
        .release("stable", false)
        .check()
        .map_err(ApiError::invalid)?;
    let mut all = supervisor.deployments();
    if let Some(other) = all
        .iter()
        .find(|other| other.spec.name == spec.name && !other.is_over())
    {
        return Err(ApiError::new(
            Code::AlreadyExists,
            "DEPLOYMENT_UNDER_WAY",
            format!("{} of {} is still under way", other.id, spec.name),
        ));
    }
    all.push(Arc::clone(&deployment));
    drop(all);
    deployment.tell(supervisor, State::Starting, "prepare", 0, "asked for");
    let answer = deployment.to_json();
    let (supervisor, strategy) = (Arc::clone(supervisor), deployment.request.strategy);
    tokio::spawn(async move {
        let outcome = match strategy {
            Strategy::Canary => canary::run(&supervisor, &deployment, plan).await,
            Strategy::BlueGreen => blue_green::run(&supervisor, &deployment).await,
        };
        if let Err(error) = outcome {
            deployment.tell(&supervisor, State::Failed, "failed", 0, &error.message);
        }
    });
    Ok(answer)
}

fn plan_of(request: &DeployRequest) -> Result<&'static Plan, ApiError> {
    let name = request.plan.as_deref();
    if request.strategy == Strategy::BlueGreen && name.is_some() {
        return Err(ApiError::invalid("a plan is for canaries alone"));
    }
    Plan::find(name.unwrap_or("capstone")).ok_or_else(|| {
        let known: Vec<&str> = PLANS.iter().map(|plan| plan.name).collect();
        ApiError::invalid(format!("plan must be one of {}", known.join(", ")))
    })
}

pub(super) fn list(supervisor: &Supervisor) -> Value {
    let all = supervisor.deployments();
    all.iter().map(|deployment| deployment.to_json()).collect()
}

pub(super) fn show(supervisor: &Supervisor, id: &str) -> Result<Value, ApiError> {
    Ok(find(supervisor, id)?.to_json())
}

fn find(supervisor: &Supervisor, id: &str) -> Result<Arc<Deployment>, ApiError> {
    let all = supervisor.deployments();
    let found = all.iter().find(|deployment| deployment.id == id).cloned();
    found.ok_or_else(|| {
        ApiError::not_found("DEPLOYMENT_NOT_FOUND", "there is no deployment of this id")
    })
}

/// Asks a deployment to go back or to become permanent.
pub(super) fn wish(supervisor: &Supervisor, id: &str, wish: Wish) -> Result<Value, ApiError> {
    let deployment = find(supervisor, id)?;
    let state = deployment.told().state;
    if state.is_over() {
        return Err(ApiError::new(
            Code::FailedPrecondition,
            "DEPLOYMENT_OVER",
            "the deployment is over",
        ));
    }
    if wish == Wish::Finish && state != State::Standby {
        return Err(ApiError::new(
            Code::FailedPrecondition,
            "DEPLOYMENT_UNDER_WAY",
            "only a deployment that has all the traffic can be finished",
        ));
    }
    deployment.wish.send_replace(wish);
    Ok(deployment.to_json())
}

/// Sends every deployment of a service and version back that is not over.
pub(super) fn undo(supervisor: &Supervisor, service: &str, version: &str) {
    for deployment in supervisor.deployments().iter() {
        let same = deployment.spec.name == service && deployment.request.version == version;
        if same && !deployment.is_over() {
            deployment.wish.send_replace(Wish::RollBack);
        }
    }
}

/// Waits, but no longer than until somebody wishes something; answers what.
async fn pause(wish: &mut watch::Receiver<Wish>, time: std::time::Duration) -> Wish {
    let asked = wish.wait_for(|wish| *wish != Wish::GoOn);
    match tokio::time::timeout(time, asked).await {
        Ok(Ok(wish)) => *wish,
        Ok(Err(_)) => Wish::RollBack,
        Err(_) => Wish::GoOn,
    }
}

/// Those of a service's instances that are not of the new release.
fn others(supervisor: &Supervisor, service: &str, new: &[Arc<Managed>]) -> Vec<Arc<Managed>> {
    let mut found = fleet::running(supervisor, service);
    found.retain(|managed| !new.iter().any(|other| Arc::ptr_eq(other, managed)));
    found
}
