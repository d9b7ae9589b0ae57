//! One incident, staged: the shop blind and under load, collectors into a case, faults at their times. A process of its
//! own, so that whoever asked for it can end all of it at once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use collectors::scrape::ScrapeOptions;
use collectors::watch::WatchOptions;
use playbooks::drill::Missing;
use playbooks::incident::Incident;
use shop_fixture::config::Noise;
use shop_fixture::faults::FaultRequest;
use tokio::time::{Instant, sleep_until};

use super::plan::{Plan, Told, read_json, write_json};
use super::shop_of;
use crate::collecting;
use crate::error::CliError;
use crate::exit;
use crate::staging::{Staged, Staging};

#[derive(Debug, Args)]
pub struct StageArgs {
    /// What to stage.
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
}

pub(super) fn run(args: &StageArgs) -> Result<u8, CliError> {
    // Without whoever asked for it, nobody would end the shop.
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))
        .map_err(|error| CliError::io("watch the parent process", &error.into()))?;
    let plan: Plan = read_json(&args.plan)?;
    let incident = Incident::parse(&plan.id, &plan.id, &plan.incident)?;
    let runtime = collecting::runtime()?;
    runtime.block_on(async {
        tokio::select! {
            done = stage(&plan, &incident) => done,
            asked = collecting::asked_to_stop() => {
                asked?;
                Err(CliError::new("stopped before the incident was over"))
            }
        }
    })?;
    Ok(exit::CLEAN)
}

async fn stage(plan: &Plan, incident: &Incident) -> Result<(), CliError> {
    let told = perform(
        &Scene {
            case: plan.case.clone(),
            run_dir: plan.run_dir.clone(),
            seed: plan.seed,
            incidents: vec![incident.clone()],
            decoy: false,
            missing: None,
        },
        &|| false,
        &|| {},
    )
    .await?;
    write_json(&plan.told_path(), &told)
}

/// What is performed.
pub(super) struct Scene {
    pub case: PathBuf,
    pub run_dir: PathBuf,
    pub seed: u64,
    /// Their switches and load are those of the first.
    pub incidents: Vec<Incident>,
    /// Background errors that harm nobody.
    pub decoy: bool,
    pub missing: Option<Missing>,
}

impl Scene {
    fn watch(&self) -> Duration {
        let longest = self.incidents.iter().map(|incident| incident.watch).max();
        longest.unwrap_or_default()
    }

    fn faults(&self) -> Result<Vec<(Duration, FaultRequest)>, CliError> {
        self.incidents
            .iter()
            .flat_map(|incident| incident.faults.iter().map(move |fault| (incident, fault)))
            .map(|(incident, fault)| Ok((fault.at, shop_of::request(incident, fault)?)))
            .collect()
    }
}

/// Starts the shop, plays the incidents, and stops the shop: at their end, or as soon as `stopped` says so. `begun` is
/// called once load is on.
pub(super) async fn perform(
    scene: &Scene,
    stopped: &dyn Fn() -> bool,
    begun: &dyn Fn(),
) -> Result<Told, CliError> {
    let Some(first) = scene.incidents.first() else {
        return Err(CliError::new("there is no incident to stage"));
    };
    let faults = scene.faults()?;
    let mut config = shop_of::config(first, &scene.run_dir)?;
    config.seed = scene.seed;
    if scene.decoy {
        config.noise = Noise::Ta;
    }
    let seldom = Duration::from_secs(24 * 3600);
    let (probe_every, caches_every) = (Duration::from_secs(2), Duration::from_secs(2));
    let staged = Staged::start(
        Staging {
            case: scene.case.clone(),
            config,
            load: shop_of::load(first, scene.seed)?,
            // The shop's clockwork runs fast, so it is looked at often.
            watch: WatchOptions {
                snapshot_every: Duration::from_millis(500),
                snapshot_at_least_every: Duration::from_secs(2),
                probe_every,
                caches_every: if scene.missing == Some(Missing::Caches) {
                    seldom
                } else {
                    caches_every
                },
                max_instances: if scene.missing == Some(Missing::Probes) {
                    0
                } else {
                    WatchOptions::default().max_instances
                },
                ..WatchOptions::default()
            },
            scrape: ScrapeOptions {
                interval: Duration::from_secs(3),
                timeout: Duration::from_secs(3),
                ..ScrapeOptions::default()
            },
        },
        &|_| {},
    )
    .await?;
    let mut told = Told {
        began: case::writer::wall_clock().0,
        ..Told::default()
    };
    begun();
    let played = play(scene, &faults, &staged, stopped, &mut told).await;
    told.ended = case::writer::wall_clock().0;
    note_instances(&staged, &mut told.instances);
    let report = staged.stop().await;
    played?;
    let report = report?;
    told.requests = report.sent;
    told.failed = report
        .by_status
        .iter()
        .filter(|(status, _)| **status == 0 || **status >= 500)
        .map(|(_, number)| number)
        .sum();
    Ok(told)
}

/// Switches the faults on at their times, and waits for the end.
async fn play(
    scene: &Scene,
    faults: &[(Duration, FaultRequest)],
    staged: &Staged,
    stopped: &dyn Fn() -> bool,
    told: &mut Told,
) -> Result<(), CliError> {
    let began = Instant::now();
    let watch = scene.watch();
    let mut waiting: Vec<&(Duration, FaultRequest)> = faults.iter().collect();
    waiting.sort_by_key(|(at, _)| *at);
    let mut waiting = waiting.into_iter().peekable();
    loop {
        // An instance that is started again has another id.
        note_instances(staged, &mut told.instances);
        let passed = began.elapsed();
        if let Some((_, request)) = waiting.next_if(|(at, _)| *at <= passed) {
            if told.struck == 0 {
                told.struck = case::writer::wall_clock().0;
            }
            shop_fixture::fault::start(&scene.run_dir, request).await?;
            continue;
        }
        if passed >= watch || stopped() {
            return Ok(());
        }
        let next = waiting.peek().map_or(watch, |(at, _)| *at);
        let soon = passed + Duration::from_millis(500);
        sleep_until(began + next.min(soon).min(watch)).await;
    }
}

fn note_instances(staged: &Staged, instances: &mut BTreeMap<String, String>) {
    for ports in staged.shop.ports().instances {
        instances
            .entry(ports.id)
            .or_insert_with(|| format!("{}:{}", ports.service, ports.instance));
    }
}
