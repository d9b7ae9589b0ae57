//! Scraping on time: one task a target, its first scrape soon and at an offset of its own, the rest at the interval.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use case::Signal;
use case::signal::{ProbeResult, RegistryInstance, RegistrySnapshot};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Target;
use super::exposition::Limits;
use super::once::{fetch_page, keep};
use crate::delivery::Delivery;
use crate::fetch::Reach;
use crate::otlp::receiver::Sink;
use crate::status::{Board, now};

/// The task in the status that speaks of targets as a whole.
const DISCOVERY: &str = "scrape targets";

#[derive(Debug, Clone)]
pub struct ScrapeOptions {
    pub targets: Vec<Target>,
    /// Whom a registry lists is scraped as well; a [`crate::watch::Watcher`] gives this.
    pub registry: Option<watch::Receiver<Option<Arc<RegistrySnapshot>>>>,
    pub interval: Duration,
    pub timeout: Duration,
    /// Bytes of a page, as sent and after decompression alike.
    pub body_bytes: usize,
    pub limits: Limits,
    /// Scrapes under way at once.
    pub concurrency: usize,
    pub max_targets: usize,
    /// Where a registry may send the scraper. Targets given by hand may be anywhere.
    pub registry_reach: Reach,
    /// How long to go on trying while the case is busy.
    pub patience: Duration,
}

impl Default for ScrapeOptions {
    fn default() -> ScrapeOptions {
        ScrapeOptions {
            targets: Vec::new(),
            registry: None,
            interval: Duration::from_secs(15),
            timeout: Duration::from_secs(10),
            body_bytes: 32 << 20,
            limits: Limits::default(),
            concurrency: 8,
            max_targets: 2000,
            registry_reach: Reach::Loopback,
            patience: Duration::from_secs(60),
        }
    }
}

/// A running scraper.
pub struct Scraper {
    board: Board,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Scraper {
    /// Starts scraping on the current tokio runtime.
    pub fn start(options: ScrapeOptions, sink: Arc<dyn Sink>) -> Scraper {
        let (stop, stopped) = watch::channel(false);
        let board = Board::default();
        let shared = Arc::new(Shared {
            delivery: Delivery::new(sink, board.clone(), options.patience, stopped.clone()),
            slots: Semaphore::new(options.concurrency.max(1)),
            board: board.clone(),
            options,
        });
        let task = tokio::spawn(supervise(shared, stopped));
        Scraper { board, stop, task }
    }

    /// Per target (`scrape URL`) what worked, what failed, what was lost.
    pub fn status(&self) -> &Board {
        &self.board
    }

    /// Ends all scrapes; what was fetched before is still brought to the case if it takes it.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        let _ = self.task.await;
    }
}

pub(super) struct Shared {
    pub options: ScrapeOptions,
    pub delivery: Delivery,
    pub slots: Semaphore,
    pub board: Board,
}

/// Keeps one task running for each target there is.
async fn supervise(shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    let mut running: BTreeMap<Target, (watch::Sender<bool>, JoinHandle<()>)> = BTreeMap::new();
    let mut leaving: Vec<JoinHandle<()>> = Vec::new();
    let mut registry = shared.options.registry.clone();
    let mut said: BTreeSet<(String, String)> = BTreeSet::new();
    while !*stop.borrow_and_update() {
        let snapshot = registry
            .as_mut()
            .and_then(|registry| registry.borrow_and_update().clone());
        let (mut wanted, without) = snapshot
            .as_deref()
            .map(Target::of_snapshot)
            .unwrap_or_default();
        wanted.retain(|target| {
            !shared
                .options
                .targets
                .iter()
                .any(|given| given.endpoint == target.endpoint)
        });
        wanted.extend(shared.options.targets.iter().cloned());
        if wanted.len() > shared.options.max_targets {
            let over = wanted.len() - shared.options.max_targets;
            wanted.truncate(shared.options.max_targets);
            shared.board.failed(
                DISCOVERY,
                format!(
                    "{over} targets beyond the limit of {} are not scraped",
                    shared.options.max_targets
                ),
            );
        }
        for target in running
            .keys()
            .filter(|target| !wanted.contains(target))
            .cloned()
            .collect::<Vec<_>>()
        {
            if let Some((end, task)) = running.remove(&target) {
                let _ = end.send(true);
                leaving.push(task);
                shared.board.forget(&name(&target));
            }
        }
        leaving.retain(|task| !task.is_finished());
        for target in wanted {
            running.entry(target).or_insert_with_key(|target| {
                let (end, ended) = watch::channel(false);
                (
                    end,
                    tokio::spawn(scrape_on_time(shared.clone(), target.clone(), ended)),
                )
            });
        }
        say_unscrapable(&shared, without, &mut said).await;

        tokio::select! {
            _ = stop.changed() => {}
            () = changed(&mut registry) => {}
        }
    }
    for (end, _) in running.values() {
        let _ = end.send(true);
    }
    for task in running.into_values().map(|(_, task)| task).chain(leaving) {
        let _ = task.await;
    }
}

/// Waits for the registry to change; for ever if there is none, or nobody watches it any more.
async fn changed(registry: &mut Option<watch::Receiver<Option<Arc<RegistrySnapshot>>>>) {
    if let Some(receiver) = registry {
        if receiver.changed().await.is_ok() {
            return;
        }
        *registry = None;
    }
    std::future::pending().await
}

/// An instance that can't be scraped is told once, and again when the reason changes.
async fn say_unscrapable(
    shared: &Shared,
    without: Vec<(RegistryInstance, String)>,
    said: &mut BTreeSet<(String, String)>,
) {
    let mut keys = BTreeSet::new();
    let mut rows = Vec::new();
    for (instance, reason) in without {
        let key = (instance.id.clone(), reason.clone());
        if !said.contains(&key) {
            rows.push(ProbeResult {
                at: now(),
                instance: Some(instance.id),
                service: Some(instance.name),
                address: instance.address,
                check: "metrics".into(),
                ok: false,
                status: None,
                duration_nano: 0,
                error: Some(format!("not scraped: {reason}")),
                raw: serde_json::Value::Null,
            });
        }
        keys.insert(key);
    }
    if rows.is_empty()
        || shared
            .delivery
            .bring_rows(DISCOVERY, Signal::Probes, &rows)
            .await
            .is_ok()
    {
        *said = keys;
    }
}

fn name(target: &Target) -> String {
    format!("scrape {}", target.endpoint)
}

async fn scrape_on_time(shared: Arc<Shared>, target: Target, mut ended: watch::Receiver<bool>) {
    let interval = shared.options.interval.max(Duration::from_millis(10));
    let task = name(&target);
    let mut due = Instant::now() + offset(&target, interval.min(Duration::from_secs(1)));
    let mut before = None;
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            _ = ended.changed() => return,
        }
        let fetched = tokio::select! {
            fetched = fetch_page(&shared, &target) => fetched,
            _ = ended.changed() => return,
        };
        keep(&shared, &target, &task, fetched, &mut before).await;
        due += interval;
        let late = Instant::now().saturating_duration_since(due);
        if late >= interval {
            let skipped = late.as_nanos() / interval.as_nanos();
            shared.board.complain(
                &task,
                format!("{skipped} scrapes skipped: the one before took too long"),
            );
            due += interval * u32::try_from(skipped).unwrap_or(u32::MAX);
        }
        if *ended.borrow() {
            return;
        }
    }
}

/// Targets are not all asked in the same moment, and each always at its own.
fn offset(target: &Target, within: Duration) -> Duration {
    let hash = target
        .endpoint
        .to_string()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    within.mul_f64((hash >> 11) as f64 / (1_u64 << 53) as f64)
}
