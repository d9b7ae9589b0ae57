//! Scraping on time: one task a target, its first scrape soon and at an offset of its own, the rest at the interval.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use case::signal::{ProbeResult, RegistryInstance, RegistrySnapshot};
use case::{Nanos, Signal};
use prost::Message;
use serde_json::json;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Target;
use super::convert::{self, Context, Measured};
use super::exposition::{self, Format, Limits, Page, Remarks};
use crate::delivery::Delivery;
use crate::fetch::{self, Answer, Bounds, FetchError, Reach};
use crate::otlp::receiver::Sink;
use crate::status::{Board, now};

/// The task in the status that speaks of targets as a whole.
const DISCOVERY: &str = "scrape targets";

/// Pages larger than this are read on a thread that may take its time.
const READ_ASIDE: usize = 256 << 10;

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

struct Shared {
    options: ScrapeOptions,
    delivery: Delivery,
    slots: Semaphore,
    board: Board,
}

/// Keeps one task running for each target there is.
async fn supervise(shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    let mut running: BTreeMap<Target, (watch::Sender<bool>, JoinHandle<()>)> = BTreeMap::new();
    let mut leaving: Vec<JoinHandle<()>> = Vec::new();
    let mut registry = shared.options.registry.clone();
    let mut said: Vec<(String, String)> = Vec::new();
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
    said: &mut Vec<(String, String)>,
) {
    let keys: Vec<(String, String)> = without
        .iter()
        .map(|(instance, reason)| (instance.id.clone(), reason.clone()))
        .collect();
    let rows: Vec<ProbeResult> = without
        .into_iter()
        .zip(&keys)
        .filter(|(_, key)| !said.contains(key))
        .map(|((instance, reason), _)| ProbeResult {
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
        })
        .collect();
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

struct Fetched {
    at: Nanos,
    took: Duration,
    answer: Result<Answer, FetchError>,
}

async fn fetch_page(shared: &Shared, target: &Target) -> Fetched {
    // The semaphore is never closed; without a permit the scrape would merely be less polite.
    let _slot = shared.slots.acquire().await;
    let bounds = Bounds {
        connect: shared.options.timeout,
        total: shared.options.timeout,
        body: shared.options.body_bytes,
        reach: target.reach(shared.options.registry_reach),
    };
    let at = now();
    let started = Instant::now();
    let answer = fetch::get(&target.endpoint, Format::ACCEPT, &bounds).await;
    Fetched {
        at,
        took: started.elapsed(),
        answer,
    }
}

/// Why a scrape gave no page: in a word for the probe result, and in full.
struct Failure {
    status: Option<u16>,
    error: String,
    detail: Option<String>,
}

async fn read(answer: Result<Answer, FetchError>, limits: Limits) -> Result<Page, Failure> {
    let answer = answer.map_err(|error| Failure {
        status: None,
        error: error.kind().to_owned(),
        detail: Some(error.to_string()),
    })?;
    let status = Some(answer.status);
    let failure = |error: String| Failure {
        status,
        error,
        detail: None,
    };
    if answer.status != 200 {
        return Err(failure(format!("answered {}", answer.status)));
    }
    let format = Format::of(&answer.content_type).map_err(failure)?;
    let page = if answer.body.len() > READ_ASIDE {
        tokio::task::spawn_blocking(move || exposition::parse(format, &answer.body, &limits))
            .await
            .map_err(|error| failure(format!("reading the page ended early: {error}")))?
    } else {
        exposition::parse(format, &answer.body, &limits)
    };
    page.map_err(|error| failure(error.to_string()))
}

/// Brings one scrape to the case: its metrics, and a probe result when it failed, recovered or left something out.
async fn keep(
    shared: &Shared,
    target: &Target,
    task: &str,
    fetched: Fetched,
    before: &mut Option<bool>,
) {
    let page = read(fetched.answer, shared.options.limits).await;
    let (page, failure) = match page {
        Ok(page) => (page, None),
        Err(failure) => (Page::default(), Some(failure)),
    };
    let mut remarks: Remarks = page.remarks.clone();
    let measured = Measured {
        up: failure.is_none(),
        seconds: fetched.took.as_secs_f64(),
        samples: page.samples(),
    };
    let context = Context {
        at: fetched.at.0,
        resource: &target.resource(),
    };
    let request = convert::request(&page, &measured, &context, &mut remarks);
    drop(page);
    let payload = Bytes::from(request.encode_to_vec());
    drop(request);
    match &failure {
        None => shared.board.worked(task),
        Some(failure) => shared.board.failed(
            task,
            failure
                .detail
                .clone()
                .unwrap_or_else(|| failure.error.clone()),
        ),
    }
    if remarks.count > 0 {
        shared.board.complain(
            task,
            format!(
                "{} samples left out; {}",
                remarks.count,
                remarks.first.join("; ")
            ),
        );
    }
    // A failed delivery is counted and said where it happens.
    let _ = shared
        .delivery
        .bring(task, Signal::Metrics, payload, measured.samples as u64 + 3)
        .await;

    let ok = failure.is_none();
    let recovered = ok && *before == Some(false);
    *before = Some(ok);
    if ok && !recovered && remarks.count == 0 {
        return;
    }
    let (status, error, detail) = match failure {
        Some(failure) => (failure.status, Some(failure.error), failure.detail),
        None => (Some(200), None, None),
    };
    let mut raw =
        serde_json::Map::from_iter([("url".to_owned(), json!(target.endpoint.to_string()))]);
    if let Some(detail) = detail {
        raw.insert("detail".into(), json!(detail));
    }
    if remarks.count > 0 {
        raw.insert("left_out".into(), json!(remarks.count));
        raw.insert("remarks".into(), json!(remarks.first));
    }
    let row = ProbeResult {
        at: fetched.at,
        instance: target.registered.then(|| target.instance.clone()),
        service: Some(target.service.clone()),
        address: target.endpoint.at.to_string(),
        check: "metrics".into(),
        ok,
        status,
        duration_nano: u64::try_from(fetched.took.as_nanos()).unwrap_or(u64::MAX),
        error,
        raw: raw.into(),
    };
    let _ = shared
        .delivery
        .bring_rows(task, Signal::Probes, &[row])
        .await;
}
