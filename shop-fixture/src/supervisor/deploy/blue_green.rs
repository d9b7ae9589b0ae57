//! Owns a blue-green deployment: the idle colour is started and looked at, all calls are switched to it at once, and the
//! old colour waits for a while in case they have to go back.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::fleet::{self, Split};
use super::judge::{self, Counted};
use super::{Deployment, State, Wish, others, pause};
use crate::error::ApiError;
use crate::release::{BLUE, GREEN};
use crate::supervisor::Supervisor;
use crate::supervisor::process::Managed;

const EVALUATE: Duration = Duration::from_secs(30);
/// How long the new colour is watched before the old one goes: the longest of all its watches.
const WATCH: Duration = Duration::from_secs(30 * 60);
/// How long each look at the new colour may take, of the shop's time, and in any case.
const HEALTH: Duration = Duration::from_secs(30);
const REACHABLE: Duration = Duration::from_secs(60);
const SMOKE: Duration = Duration::from_secs(120);
const AT_LEAST: Duration = Duration::from_secs(5);
const SMOKE_CALLS: u32 = 10;
/// Answers of a health page differ by this much by themselves.
const HOST: Duration = Duration::from_millis(20);

struct Switch<'a> {
    supervisor: &'a Arc<Supervisor>,
    deployment: &'a Deployment,
    old_track: String,
    new_track: &'static str,
    old: Vec<Arc<Managed>>,
    new: Vec<Arc<Managed>>,
}

pub(super) async fn run(
    supervisor: &Arc<Supervisor>,
    deployment: &Deployment,
) -> Result<(), ApiError> {
    let service = deployment.spec.name;
    let old_track = fleet::active_track(supervisor, service).await?;
    // Whatever is there now, be it a colour or what the run began with, the other colour is idle.
    let new_track = if old_track == GREEN { BLUE } else { GREEN };
    let old = fleet::running(supervisor, service);
    let held = Split {
        active_track: old_track.clone(),
        phase: Some("prepare".to_owned()),
        ..Split::default()
    };
    fleet::split(supervisor, service, &held).await?;
    let release = deployment.release(new_track, true);
    deployment.tell(supervisor, State::Starting, "start", 0, new_track);
    let new = fleet::start(supervisor, deployment.spec, &release, old.len().max(1)).await?;
    let switch = Switch {
        supervisor,
        deployment,
        old_track,
        new_track,
        old: others(supervisor, service, &new),
        new,
    };
    let gone = switch.go_through().await;
    if gone.is_err() {
        fleet::retire(supervisor, &switch.new).await;
    }
    gone
}

impl Switch<'_> {
    fn tell(&self, state: State, phase: &str, why: &str) {
        self.deployment.tell(self.supervisor, state, phase, 0, why);
    }

    async fn go_through(&self) -> Result<(), ApiError> {
        self.tell(State::Running, "validate", self.new_track);
        self.validate().await?;
        let mut wish = self.deployment.wish.subscribe();
        let config = &self.supervisor.config;
        // What is usual has to be seen before the switch: afterwards the old colour serves nobody.
        let (since, from) = (Instant::now(), self.counted(&self.old).await);
        if pause(&mut wish, config.scaled(EVALUATE)).await == Wish::RollBack {
            fleet::retire(self.supervisor, &self.new).await;
            self.tell(State::RolledBack, "rollback", "asked to");
            return Ok(());
        }
        let usual = self.counted(&self.old).await.since(&from);
        let usual_s = since.elapsed().as_secs_f64();
        fleet::admit(self.supervisor, &self.new).await?;
        if let Err(error) = self.route(self.new_track, "switch", None).await {
            // A registry that did not answer may have taken it all the same.
            let _ = self.route(&self.old_track, "rollback", None).await;
            return Err(error);
        }
        self.tell(State::Standby, "watch", "all calls go to the new colour");
        let (until, begun) = (Instant::now() + config.scaled(WATCH), Instant::now());
        let from = self.counted(&self.new).await;
        loop {
            match pause(&mut wish, config.scaled(EVALUATE)).await {
                Wish::RollBack => return self.back("asked to").await,
                Wish::Finish => break,
                Wish::GoOn => {}
            }
            let seen = self.counted(&self.new).await.since(&from);
            let seen_s = begun.elapsed().as_secs_f64();
            if let Some(why) = judge::switched(&usual, usual_s, &seen, seen_s) {
                return self.back(&why).await;
            }
            if Instant::now() >= until {
                break;
            }
        }
        fleet::retire(self.supervisor, &self.old).await;
        self.tell(State::Done, "done", "the old colour is retired");
        Ok(())
    }

    async fn counted(&self, instances: &[Arc<Managed>]) -> Counted {
        super::observe::count(self.supervisor, instances).await
    }

    async fn route(&self, track: &str, phase: &str, why: Option<&str>) -> Result<(), ApiError> {
        let split = Split {
            active_track: track.to_owned(),
            phase: Some(phase.to_owned()),
            rolled_back: why.map(str::to_owned),
            ..Split::default()
        };
        fleet::split(self.supervisor, self.deployment.spec.name, &split).await
    }

    async fn back(&self, why: &str) -> Result<(), ApiError> {
        self.route(&self.old_track, "rollback", Some(why)).await?;
        self.tell(State::Running, "rollback", why);
        fleet::settle(self.supervisor).await;
        fleet::retire(self.supervisor, &self.new).await;
        self.tell(State::RolledBack, "rollback", why);
        Ok(())
    }

    /// Looks at every new instance: alive, its store and the registry within reach, and answers that keep coming.
    async fn validate(&self) -> Result<(), ApiError> {
        for managed in &self.new {
            self.passes(managed, "/health/live", HEALTH).await?;
            self.passes(managed, "/health/ready", REACHABLE).await?;
            for _ in 0..SMOKE_CALLS {
                self.passes(managed, "/health/ready", SMOKE).await?;
            }
        }
        let (new, old) = (self.pace(&self.new).await, self.pace(&self.old).await);
        if new > old.mul_f64(1.1) + HOST {
            let why = format!("the new colour answers in {new:?}, the old one in {old:?}");
            self.tell(State::Running, "validate", &format!("warning: {why}"));
        }
        Ok(())
    }

    /// Asks a page until it says that all is well, or its time is over.
    async fn passes(
        &self,
        managed: &Arc<Managed>,
        path: &str,
        limit: Duration,
    ) -> Result<(), ApiError> {
        let url = fleet::admin_url(managed, path)?;
        let deadline = Instant::now() + self.supervisor.config.scaled(limit).max(AT_LEAST);
        loop {
            let asked = self.supervisor.client.get(&url).timeout(AT_LEAST);
            let said = match asked.send().await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => answer.json::<Value>().await.unwrap_or_default().to_string(),
                Err(error) => error.to_string(),
            };
            if Instant::now() >= deadline {
                return Err(ApiError::internal(format!(
                    "{} does not pass {path}: {said}",
                    managed.label()
                )));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// How long instances take for the same simple answer, on average.
    async fn pace(&self, instances: &[Arc<Managed>]) -> Duration {
        let begun = Instant::now();
        let mut asked = 0;
        for managed in instances {
            let Ok(url) = fleet::admin_url(managed, "/health/ready") else {
                continue;
            };
            for _ in 0..SMOKE_CALLS {
                // One that does not answer takes as long as it may.
                let asked = self.supervisor.client.get(&url).timeout(AT_LEAST);
                let _ = asked.send().await;
            }
            asked += SMOKE_CALLS;
        }
        begun.elapsed() / asked.max(1)
    }
}
