//! Owns a canary: more and more of the traffic for the new release as long as it does no worse than the old one, and the
//! way back.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::fleet::{self, Split};
use super::judge::{self, Counted, Verdict};
use super::plans::Plan;
use super::{Deployment, State, Wish, others, pause};
use crate::error::ApiError;
use crate::release::{CANARY, Release};
use crate::supervisor::Supervisor;
use crate::supervisor::process::Managed;

const EVALUATE: Duration = Duration::from_secs(30);
/// How long a full canary may still go back.
const STANDBY: Duration = Duration::from_secs(24 * 3_600);
/// A phase that falls back this often ends the deployment.
const FALLS: usize = 2;

struct Canary<'a> {
    supervisor: &'a Arc<Supervisor>,
    deployment: &'a Deployment,
    plan: &'static Plan,
    active_track: String,
    new: Vec<Arc<Managed>>,
    old: Vec<Arc<Managed>>,
}

/// How a phase ended.
enum End {
    Passed,
    Fell(String),
    GiveUp(String),
    StepBack(String),
}

pub(super) async fn run(
    supervisor: &Arc<Supervisor>,
    deployment: &Deployment,
    plan: &'static Plan,
) -> Result<(), ApiError> {
    let service = deployment.spec.name;
    let active_track = fleet::active_track(supervisor, service).await?;
    let old = fleet::running(supervisor, service);
    let first = Split {
        active_track: active_track.clone(),
        salt: Some(deployment.id.clone()),
        phase: Some("prepare".to_owned()),
        ..Split::default()
    };
    // Before there is a canary nobody may be sent to it.
    fleet::split(supervisor, service, &first).await?;
    let release = deployment.release(CANARY, false);
    let new = fleet::start(supervisor, deployment.spec, &release, old.len().max(1)).await?;
    let canary = Canary {
        supervisor,
        deployment,
        plan,
        active_track,
        old: others(supervisor, service, &new),
        new,
    };
    let climbed = canary.climb().await;
    if climbed.is_err() {
        // Without a canary its calls go where all others go.
        fleet::retire(supervisor, &canary.new).await;
    }
    climbed
}

impl Canary<'_> {
    async fn climb(&self) -> Result<(), ApiError> {
        let phases = self.plan.phases;
        let mut falls = vec![0; phases.len()];
        let mut at = 0;
        while at + 1 < phases.len() {
            self.set(at, "advances").await?;
            match self.phase(at).await {
                End::Passed => at += 1,
                End::GiveUp(why) => return self.back(at, false, &why).await,
                End::StepBack(why) => return self.back(at, true, &why).await,
                End::Fell(why) => {
                    falls[at] += 1;
                    if at == 0 || falls[at] >= FALLS {
                        return self.back(at, false, &why).await;
                    }
                    at -= 1;
                }
            }
        }
        self.set(at, "advances").await?;
        self.deployment.tell(
            self.supervisor,
            State::Standby,
            &format!("phase {}", at + 1),
            100,
            "all traffic is there",
        );
        let mut wish = self.deployment.wish.subscribe();
        let standby = self.supervisor.config.scaled(STANDBY);
        match pause(&mut wish, standby).await {
            Wish::RollBack => self.back(at, false, "asked to").await,
            Wish::Finish | Wish::GoOn => self.make_permanent().await,
        }
    }

    /// Gives the canary the share of a phase.
    async fn set(&self, at: usize, why: &str) -> Result<(), ApiError> {
        let percent = self.plan.phases[at].percent;
        let phase = format!("phase {}", at + 1);
        self.split(percent, &phase, None).await?;
        let deployment = self.deployment;
        deployment.tell(self.supervisor, State::Running, &phase, percent, why);
        Ok(())
    }

    async fn split(
        &self,
        percent: u8,
        phase: &str,
        rolled_back: Option<&str>,
    ) -> Result<(), ApiError> {
        let split = Split {
            active_track: self.active_track.clone(),
            canary_percent: percent,
            salt: Some(self.deployment.id.clone()),
            phase: Some(phase.to_owned()),
            rolled_back: rolled_back.map(str::to_owned),
        };
        fleet::split(self.supervisor, self.deployment.spec.name, &split).await
    }

    async fn counted(&self) -> (Counted, Counted) {
        (
            super::observe::count(self.supervisor, &self.old).await,
            super::observe::count(self.supervisor, &self.new).await,
        )
    }

    /// Watches one phase to its end, or until something speaks against the canary.
    async fn phase(&self, at: usize) -> End {
        let config = &self.supervisor.config;
        let mut wish = self.deployment.wish.subscribe();
        let until = Instant::now() + config.scaled(self.plan.phases[at].lasts);
        let before = self.counted().await;
        loop {
            if pause(&mut wish, config.scaled(EVALUATE)).await != Wish::GoOn {
                return End::GiveUp("asked to".to_owned());
            }
            let now = self.counted().await;
            let most = self.plan.most_errors_per_mille;
            let verdict = judge::canary(
                &now.0.since(&before.0),
                &now.1.since(&before.1),
                at + 1,
                most.map(|errors| f64::from(errors) / 1_000.0),
            );
            let over = Instant::now() >= until;
            match verdict {
                Verdict::GiveUp(why) => return End::GiveUp(why),
                Verdict::StepBack(why) => return End::StepBack(why),
                Verdict::Fine if over => return End::Passed,
                Verdict::NotYet(why) if over => return End::Fell(why),
                // A canary that nobody called has shown nothing: the phase goes on until enough have.
                Verdict::Fine | Verdict::NotYet(_) | Verdict::TooFew => {}
            }
        }
    }

    /// Takes the traffic away again, at once or phase by phase, and ends the canary.
    async fn back(&self, at: usize, stepwise: bool, why: &str) -> Result<(), ApiError> {
        if stepwise {
            for lower in (0..at).rev() {
                let percent = self.plan.phases[lower].percent;
                self.split(percent, "rollback", Some(why)).await?;
                self.deployment
                    .tell(self.supervisor, State::Running, "rollback", percent, why);
                let mut wish = self.deployment.wish.subscribe();
                // A step is as long as it takes to see the step before it.
                let step = self.supervisor.config.scaled(EVALUATE / 2);
                if pause(&mut wish, step).await == Wish::RollBack {
                    break;
                }
            }
        }
        self.split(0, "rollback", Some(why)).await?;
        fleet::settle(self.supervisor).await;
        fleet::retire(self.supervisor, &self.new).await;
        self.deployment
            .tell(self.supervisor, State::RolledBack, "rollback", 0, why);
        Ok(())
    }

    /// Starts the old instances again from the new release, one after the other, then ends the canary.
    async fn make_permanent(&self) -> Result<(), ApiError> {
        let release: Release = self.deployment.release(&self.active_track, false);
        let run_dir = &self.supervisor.config.run_dir;
        for managed in &self.old {
            release
                .save(run_dir, &managed.label())
                .map_err(|error| ApiError::internal(error.to_string()))?;
            managed.start_again();
            fleet::until_ready(self.supervisor, std::slice::from_ref(managed)).await?;
        }
        self.split(0, "done", None).await?;
        fleet::settle(self.supervisor).await;
        fleet::retire(self.supervisor, &self.new).await;
        let deployment = self.deployment;
        deployment.tell(self.supervisor, State::Done, "done", 0, "made permanent");
        Ok(())
    }
}
