//! Running the watches of one registry together: options, start, status, stop.

use std::sync::Arc;
use std::time::Duration;

use case::signal::{RegistryEvent, RegistrySnapshot};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::books;
use super::shop::ShopRegistry;
use super::source::RegistrySource;
use super::{events, probes, snapshots};
use crate::delivery::Delivery;
use crate::fetch::{Bounds, Endpoint, EndpointError, Reach};
use crate::otlp::receiver::Sink;
use crate::status::Board;

#[derive(Debug, Clone)]
pub struct WatchOptions {
    /// The registry's URL.
    pub registry: Option<String>,
    /// Where `/debug/…` is served: sagas, ledgers, and who still caches what.
    pub debug: Option<String>,
    pub snapshot_every: Duration,
    /// An unchanged snapshot is written this often all the same.
    pub snapshot_at_least_every: Duration,
    /// How long an event poll may wait for an event.
    pub event_wait: Duration,
    /// The last event a case already has: the log is taken up behind it.
    pub resume_after: Option<RegistryEvent>,
    pub probe_every: Duration,
    pub probe_timeout: Duration,
    /// Probes under way at once.
    pub probe_concurrency: usize,
    /// Instances probed a round; a registry may list any number.
    pub max_instances: usize,
    pub caches_every: Duration,
    pub sagas_every: Duration,
    /// Finished sagas are looked for this often, where the debug API lists them.
    pub saga_history_every: Duration,
    pub ledgers_every: Duration,
    /// Ledgers are read whole this often, and from the last look on in between.
    pub ledger_sweep_every: Duration,
    /// Ledgers to read; none given means all that the debug API lists.
    pub ledgers: Vec<String>,
    /// Keys whose last content is remembered, for each of sagas and ledgers.
    pub remembered_rows: usize,
    /// For one request to registry or debug API.
    pub timeout: Duration,
    pub body_bytes: usize,
    /// Where the registry's addresses may send probes.
    pub reach: Reach,
    /// How long to go on trying while the case is busy.
    pub patience: Duration,
}

impl Default for WatchOptions {
    fn default() -> WatchOptions {
        WatchOptions {
            registry: None,
            debug: None,
            snapshot_every: Duration::from_secs(1),
            snapshot_at_least_every: Duration::from_secs(5),
            event_wait: Duration::from_secs(30),
            resume_after: None,
            probe_every: Duration::from_secs(5),
            probe_timeout: Duration::from_secs(2),
            probe_concurrency: 16,
            max_instances: 2000,
            caches_every: Duration::from_secs(5),
            sagas_every: Duration::from_secs(1),
            saga_history_every: Duration::from_secs(3),
            ledgers_every: Duration::from_secs(2),
            ledger_sweep_every: Duration::from_secs(10),
            ledgers: Vec::new(),
            remembered_rows: 200_000,
            timeout: Duration::from_secs(5),
            body_bytes: 32 << 20,
            reach: Reach::Loopback,
            patience: Duration::from_secs(60),
        }
    }
}

/// Why nothing can be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    #[error("registry URL: {0}")]
    Registry(EndpointError),
    #[error("debug API URL: {0}")]
    Debug(EndpointError),
    #[error("neither a registry nor a debug API to watch")]
    Nothing,
}

/// A running watch.
pub struct Watcher {
    board: Board,
    latest: watch::Receiver<Option<Arc<RegistrySnapshot>>>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// What the watches of one registry share.
pub(super) struct Shared {
    pub options: WatchOptions,
    pub delivery: Delivery,
    pub board: Board,
    /// The registry as last seen; changes when instances do.
    pub latest: watch::Sender<Option<Arc<RegistrySnapshot>>>,
    /// Where the event log stands for the case.
    pub log: watch::Sender<LogPosition>,
    /// The position at which a snapshot was seen to know fewer events than the case has.
    pub went_back: watch::Sender<Option<LogPosition>>,
}

/// How far the case has an event log, and which one: a log that begins anew is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct LogPosition {
    pub cursor: u64,
    pub beginnings: u64,
}

impl Watcher {
    /// Watches the shop's registry and debug API, whichever are given, on the current tokio runtime.
    pub fn start(options: WatchOptions, sink: Arc<dyn Sink>) -> Result<Watcher, WatchError> {
        // Whoever starts the watch names these two; only what the registry names is held to `reach`.
        let bounds = Bounds {
            connect: options.timeout,
            total: options.timeout,
            body: options.body_bytes,
            reach: Reach::Anywhere,
        };
        let registry = match &options.registry {
            Some(url) => {
                let url: Endpoint = url.parse().map_err(WatchError::Registry)?;
                let source = ShopRegistry::new(&url, bounds).map_err(WatchError::Registry)?;
                Some(Arc::new(source) as Arc<dyn RegistrySource>)
            }
            None => None,
        };
        Watcher::start_with(registry, options, sink)
    }

    /// The same with a source of another kind in the registry's place.
    pub fn start_with(
        registry: Option<Arc<dyn RegistrySource>>,
        options: WatchOptions,
        sink: Arc<dyn Sink>,
    ) -> Result<Watcher, WatchError> {
        let debug = match &options.debug {
            Some(url) => {
                let mut url: Endpoint = url.parse().map_err(WatchError::Debug)?;
                let base = url
                    .path
                    .trim_end_matches('/')
                    .trim_end_matches("/debug")
                    .to_owned();
                url.path = if base.is_empty() { "/".into() } else { base };
                Some(url)
            }
            None => None,
        };
        if registry.is_none() && debug.is_none() {
            return Err(WatchError::Nothing);
        }
        let (stop, stopped) = watch::channel(false);
        let (latest, seen) = watch::channel(None);
        let board = Board::default();
        let shared = Arc::new(Shared {
            delivery: Delivery::new(sink, board.clone(), options.patience, stopped.clone()),
            board: board.clone(),
            latest,
            log: watch::channel(LogPosition::default()).0,
            went_back: watch::channel(None).0,
            options,
        });

        let mut tasks = JoinSet::new();
        if let Some(registry) = registry {
            tasks.spawn(snapshots::watch(
                shared.clone(),
                registry.clone(),
                stopped.clone(),
            ));
            if registry.has_events() {
                tasks.spawn(events::watch(shared.clone(), registry, stopped.clone()));
            }
            tasks.spawn(probes::watch(shared.clone(), stopped.clone()));
        }
        if let Some(debug) = debug {
            tasks.spawn(probes::watch_caches(
                shared.clone(),
                debug.clone(),
                stopped.clone(),
            ));
            tasks.spawn(books::watch_sagas(
                shared.clone(),
                debug.clone(),
                stopped.clone(),
            ));
            tasks.spawn(books::watch_ledgers(shared, debug, stopped));
        }
        Ok(Watcher {
            board,
            latest: seen,
            stop,
            tasks,
        })
    }

    /// Per task (`registry snapshot`, `registry events`, `probes`, `caches`, `sagas`, `ledgers`, `ledger NAME`) what worked, what
    /// failed, what was lost.
    pub fn status(&self) -> &Board {
        &self.board
    }

    /// The registry as last seen, for whoever needs its instances.
    pub fn registry(&self) -> watch::Receiver<Option<Arc<RegistrySnapshot>>> {
        self.latest.clone()
    }

    /// Ends all watches; what was read before is still brought to the case if it takes it.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Shared {
    /// Bounds for what the debug API is asked.
    pub(super) fn bounds(&self) -> Bounds {
        Bounds {
            connect: self.options.timeout,
            total: self.options.timeout,
            body: self.options.body_bytes,
            reach: Reach::Anywhere,
        }
    }
}

/// Waits; answers whether it is time to stop.
pub(super) async fn stopping(stop: &mut watch::Receiver<bool>, wait: Duration) -> bool {
    if *stop.borrow_and_update() {
        return true;
    }
    tokio::select! {
        () = tokio::time::sleep(wait) => false,
        changed = stop.changed() => changed.is_err() || *stop.borrow(),
    }
}

/// Runs `work` unless it is time to stop.
pub(super) async fn unless_stopped<T>(
    stop: &mut watch::Receiver<bool>,
    work: impl Future<Output = T>,
) -> Option<T> {
    if *stop.borrow_and_update() {
        return None;
    }
    tokio::select! {
        done = work => Some(done),
        _ = stop.changed() => None,
    }
}
