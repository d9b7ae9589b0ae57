//! Owns what an instance tells the world: spans, logs and metrics, their resource, and the batching that sends them.
//! Nothing here ever makes a request wait: a full queue or a dead collector drops, and counts what it dropped.

mod attributes;
mod export;
mod log;
pub mod metrics;
mod process;
pub mod prometheus;
mod span;
mod spoil;

pub use attributes::{Attr, Attributes};
pub use log::{Level, LogRecord};
pub use span::{Kind, Span, SpanData, SpanLink, Status};

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::context;
use crate::error::ShopError;
use crate::propagation::TraceContext;

pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";
pub const SCOPE: &str = "shop-fixture";

/// Spans and logs that may wait for the exporter.
const QUEUE: usize = 8_192;

/// Root spans kept for the debug page.
const RECENT_ROOTS: usize = 200;

pub(crate) enum Item {
    Span(Box<SpanData>),
    Log(Box<LogRecord>),
    Flush(oneshot::Sender<()>),
}

/// What faults do to telemetry on its way out; nothing by default.
#[derive(Debug, Clone, Default)]
pub struct Sabotage {
    /// Share of spans that never end.
    pub unfinished: f64,
    /// Share of batches that are thrown away.
    pub drop: f64,
    /// How long batches are held back.
    pub delay: Option<std::time::Duration>,
    /// Whether log records carry the trace of the record before.
    pub leak_context: bool,
    /// Which spans never end, by a part of their name; all if nothing is said.
    pub unfinished_route: Option<Arc<str>>,
    /// Share of server spans that never end and keep this many bytes each.
    pub leak: Option<(f64, usize)>,
    /// In which way spans do not know their parents.
    pub flat: Option<Arc<str>>,
    /// Whether parents come from a variable that all requests share.
    pub shared_parents: bool,
    /// Whether server spans begin when their work is over.
    pub starts_late: bool,
    /// Whether failures leave the status unset.
    pub status_unset: bool,
    /// Spans that the exporter's queue holds.
    pub queue: Option<usize>,
    /// What is wrong with the trace ids of log lines, and on which statement or route.
    pub log_ids: Option<Arc<(Arc<str>, Arc<str>)>>,
    /// Whether log lines are not sent.
    pub log_elsewhere: bool,
    /// What is wrong with the records of log lines.
    pub log_shape: Option<Arc<str>>,
    /// A log field and the name it gets instead.
    pub rename: Option<Arc<(String, String)>>,
}

/// What stands in the resource of every signal, beside what the exporter adds itself.
#[derive(Debug, Clone)]
pub struct Identity {
    pub service: String,
    pub namespace: String,
    pub criticality: String,
    pub version: String,
    pub track: String,
    /// The id in the registry.
    pub instance_id: String,
    /// The short name, such as `payment-0`, that files carry.
    pub label: String,
    pub host: String,
    pub run_id: String,
    pub time_scale: f64,
}

/// The instance's telemetry; cheap to clone.
#[derive(Clone)]
pub struct Telemetry {
    inner: Arc<Inner>,
}

struct Inner {
    queue: mpsc::Sender<Item>,
    clock: Arc<Clock>,
    metrics: metrics::Metrics,
    identity: Identity,
    log_file: log::LogFile,
    dropped_spans: AtomicU64,
    dropped_logs: AtomicU64,
    sabotage: Mutex<Sabotage>,
    roots: Mutex<VecDeque<serde_json::Value>>,
    mixed: spoil::Mixed,
    sources: Mutex<Vec<Source>>,
    counts: Counts,
}

/// What the pipeline tells about itself.
#[derive(Default)]
struct Counts {
    started: [AtomicU64; 3],
    /// Spans of traces that are not kept.
    refused: AtomicU64,
    ended: AtomicU64,
    exported_spans: AtomicU64,
    exported_logs: AtomicU64,
    failed_spans: AtomicU64,
    failed_logs: AtomicU64,
}

/// Where the parent of a span that begins is: nowhere, in this process, or in the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    None,
    Local,
    Remote,
}

/// Brings values into the metrics that are known elsewhere, just before these are read.
type Source = Box<dyn Fn(&metrics::Metrics) + Send + Sync>;

impl Telemetry {
    /// Opens the log file and starts the exporter on the current runtime.
    pub fn start(
        identity: Identity,
        clock: Arc<Clock>,
        endpoint: Option<&str>,
        log_path: Option<&std::path::Path>,
    ) -> Result<Self, ShopError> {
        let (queue, items) = mpsc::channel(QUEUE);
        let log_file = log::LogFile::open(log_path)?;
        process::started();
        let inner = Arc::new(Inner {
            queue,
            metrics: metrics::Metrics::new(clock.now()),
            clock,
            identity,
            log_file,
            dropped_spans: AtomicU64::new(0),
            dropped_logs: AtomicU64::new(0),
            sabotage: Mutex::new(Sabotage::default()),
            roots: Mutex::new(VecDeque::new()),
            mixed: spoil::Mixed::default(),
            sources: Mutex::new(Vec::new()),
            counts: Counts::default(),
        });
        let telemetry = Self { inner };
        export::start(telemetry.clone(), endpoint, items)?;
        Ok(telemetry)
    }

    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.inner.identity
    }

    #[must_use]
    pub fn metrics(&self) -> &metrics::Metrics {
        &self.inner.metrics
    }

    #[must_use]
    pub fn now(&self) -> u64 {
        self.inner.clock.now()
    }

    /// Opens the log file anew, as after its rotation.
    pub fn reopen_log(&self, path: &std::path::Path) -> Result<(), ShopError> {
        self.inner.log_file.reopen(path)
    }

    /// A span below the current one, or a root if there is none.
    #[must_use]
    pub fn span(&self, name: impl Into<String>, kind: Kind) -> Span {
        match context::current().trace {
            Some(parent) => self.begin(
                parent.child(),
                Some((parent.span_id, Origin::Local)),
                name,
                kind,
            ),
            None => self.root(name, kind),
        }
    }

    #[must_use]
    pub fn root(&self, name: impl Into<String>, kind: Kind) -> Span {
        self.begin(TraceContext::new_root(), None, name, kind)
    }

    #[must_use]
    pub fn child_of(&self, parent: &TraceContext, name: impl Into<String>, kind: Kind) -> Span {
        // Only a server takes its parent from another process.
        let origin = if kind == Kind::Server {
            Origin::Remote
        } else {
            Origin::Local
        };
        self.begin(parent.child(), Some((parent.span_id, origin)), name, kind)
    }

    fn begin(
        &self,
        context: TraceContext,
        parent: Option<([u8; 8], Origin)>,
        name: impl Into<String>,
        kind: Kind,
    ) -> Span {
        let (context, parent) = self.spoil_parent(context, parent, kind);
        let origin = parent.map_or(Origin::None, |(_, origin)| origin);
        let parent = parent.map(|(id, _)| id);
        let keep = !context.unrecorded;
        let counts = &self.inner.counts;
        let counter = match keep {
            true => &counts.started[origin as usize],
            false => &counts.refused,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        Span::start(self.clone(), context, parent, name.into(), kind, keep)
    }

    /// Writes one log record, inside the current span if there is one.
    pub fn log(
        &self,
        level: Level,
        event: &'static str,
        message: &'static str,
        attributes: Attributes,
    ) {
        let record = LogRecord {
            time: self.now(),
            level,
            event,
            message: message.into(),
            trace: context::current().trace,
            attributes: attributes.with_some("thread.name", context::task()),
            bare: false,
            rename: None,
        };
        let (record, sent) = self.spoil_record(record);
        let label = [("level", level.as_str())];
        self.inner
            .metrics
            .add("shop_log_emitted_total", &label, 1.0);
        self.inner.log_file.write(&self.inner.identity, &record);
        if sent
            && self
                .inner
                .queue
                .try_send(Item::Log(Box::new(record)))
                .is_err()
        {
            self.inner.dropped_logs.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn debug(&self, event: &'static str, message: &'static str, attributes: Attributes) {
        self.log(Level::Debug, event, message, attributes);
    }

    pub fn info(&self, event: &'static str, message: &'static str, attributes: Attributes) {
        self.log(Level::Info, event, message, attributes);
    }

    pub fn warn(&self, event: &'static str, message: &'static str, attributes: Attributes) {
        self.log(Level::Warn, event, message, attributes);
    }

    pub fn error(&self, event: &'static str, message: &'static str, attributes: Attributes) {
        self.log(Level::Error, event, message, attributes);
    }

    /// Waits until all that was recorded before has been sent or dropped, no longer than `limit`.
    pub async fn flush(&self, limit: Duration) {
        let (done, finished) = oneshot::channel();
        let sent = tokio::time::timeout(limit, self.inner.queue.send(Item::Flush(done))).await;
        if matches!(sent, Ok(Ok(()))) {
            // Running into the limit only means that the rest is lost, as it would be with a collector that is gone.
            let _ = tokio::time::timeout(limit, finished).await;
        }
    }

    pub fn sabotage(&self, sabotage: Sabotage) {
        if sabotage.leak.is_none() {
            self.inner.mixed.forget_leaked();
        }
        *self
            .inner
            .sabotage
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = sabotage;
    }

    fn sabotaged(&self) -> Sabotage {
        self.inner
            .sabotage
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn finish(&self, span: SpanData) {
        if !span.keep {
            return;
        }
        let Some(span) = self.spoil_span(span) else {
            return;
        };
        self.inner.counts.ended.fetch_add(1, Ordering::Relaxed);
        if span.parent.is_none() {
            self.remember_root(&span);
        }
        if self
            .inner
            .queue
            .try_send(Item::Span(Box::new(span)))
            .is_err()
        {
            self.inner.dropped_spans.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn remember_root(&self, span: &SpanData) {
        let error = span.attributes.get("error.type").map(Attr::to_json);
        let row = serde_json::json!({
            "trace_id": span.context.trace_hex(),
            "service": self.inner.identity.service,
            "instance": self.inner.identity.label,
            "name": span.name,
            "start": crate::clock::rfc3339(span.start),
            "duration_ms": span.end.saturating_sub(span.start) as f64 / 1e6,
            "error": error,
        });
        let mut roots = self
            .inner
            .roots
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if roots.len() == RECENT_ROOTS {
            roots.pop_front();
        }
        roots.push_back(row);
    }

    /// The newest root spans of this process, oldest first.
    #[must_use]
    pub fn recent_roots(&self) -> Vec<serde_json::Value> {
        self.inner
            .roots
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }

    fn count_exported(&self, spans: u64, logs: u64) {
        let counts = &self.inner.counts;
        counts.exported_spans.fetch_add(spans, Ordering::Relaxed);
        counts.exported_logs.fetch_add(logs, Ordering::Relaxed);
    }

    fn count_dropped(&self, spans: u64, logs: u64) {
        let counts = &self.inner.counts;
        counts.failed_spans.fetch_add(spans, Ordering::Relaxed);
        counts.failed_logs.fetch_add(logs, Ordering::Relaxed);
        self.inner.dropped_spans.fetch_add(spans, Ordering::Relaxed);
        self.inner.dropped_logs.fetch_add(logs, Ordering::Relaxed);
    }

    /// Has values brought into the metrics each time before these are read.
    pub fn gather_from(&self, source: impl Fn(&metrics::Metrics) + Send + Sync + 'static) {
        self.inner
            .sources
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Box::new(source));
    }

    /// Brings everything that is counted elsewhere into the metrics, before these are read.
    pub fn settle_metrics(&self) {
        self.settle_pipeline();
        process::expose(&self.inner.metrics);
        let sources = self
            .inner
            .sources
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for source in sources.iter() {
            source(&self.inner.metrics);
        }
    }

    /// What becomes of spans and logs: begun, alive, sent, lost.
    fn settle_pipeline(&self) {
        let (counts, metrics) = (&self.inner.counts, &self.inner.metrics);
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
        let mut begun = 0.0;
        for (counter, origin) in counts.started.iter().zip(["none", "local", "remote"]) {
            let started = read(counter);
            begun += started;
            let labels = [("otel.span.parent.origin", origin)];
            metrics.set("otel.sdk.span.started", &labels, started);
        }
        let refused = read(&counts.refused);
        if refused > 0.0 {
            let labels = [("otel.span.sampling_result", "DROP")];
            metrics.set("otel.sdk.span.started", &labels, refused);
        }
        metrics.set("otel.sdk.span.live", &[], begun - read(&counts.ended));
        let waiting = QUEUE.saturating_sub(self.inner.queue.capacity()) as f64;
        metrics.set("otel.sdk.processor.span.queue.size", &[], waiting);
        metrics.set("otel.sdk.processor.span.queue.capacity", &[], QUEUE as f64);
        for (name, sent, failed) in [
            (
                "otel.sdk.exporter.span.exported",
                &counts.exported_spans,
                &counts.failed_spans,
            ),
            (
                "otel.sdk.exporter.log.exported",
                &counts.exported_logs,
                &counts.failed_logs,
            ),
        ] {
            metrics.set(name, &[], read(sent));
            metrics.set(name, &[("error.type", "rejected")], read(failed));
        }
        for (signal, counter) in [
            ("spans", &self.inner.dropped_spans),
            ("logs", &self.inner.dropped_logs),
        ] {
            let dropped = counter.swap(0, Ordering::Relaxed);
            self.inner.metrics.add(
                "shop_telemetry_dropped_total",
                &[("signal", signal)],
                dropped as f64,
            );
        }
    }
}
