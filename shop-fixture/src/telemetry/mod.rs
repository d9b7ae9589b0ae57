//! Owns what an instance tells the world: spans, logs and metrics, their resource, and the batching that sends them.
//! Nothing here ever makes a request wait: a full queue or a dead collector drops, and counts what it dropped.

mod attributes;
mod export;
mod log;
pub mod metrics;
pub mod prometheus;
mod span;

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
use crate::rng::Rng;

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
    last_logged: Mutex<Option<TraceContext>>,
}

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
            last_logged: Mutex::new(None),
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

    /// A span below the current one, or a root if there is none.
    #[must_use]
    pub fn span(&self, name: impl Into<String>, kind: Kind) -> Span {
        match context::current().trace {
            Some(parent) => self.child_of(&parent, name, kind),
            None => self.root(name, kind),
        }
    }

    #[must_use]
    pub fn root(&self, name: impl Into<String>, kind: Kind) -> Span {
        Span::start(
            self.clone(),
            TraceContext::new_root(),
            None,
            name.into(),
            kind,
        )
    }

    #[must_use]
    pub fn child_of(&self, parent: &TraceContext, name: impl Into<String>, kind: Kind) -> Span {
        Span::start(
            self.clone(),
            parent.child(),
            Some(parent.span_id),
            name.into(),
            kind,
        )
    }

    /// Writes one log record, inside the current span if there is one.
    pub fn log(
        &self,
        level: Level,
        event: &'static str,
        message: &'static str,
        attributes: Attributes,
    ) {
        let sabotage = self.sabotaged();
        let mut trace = context::current().trace;
        if sabotage.leak_context {
            let mut last = self
                .inner
                .last_logged
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut *last, &mut trace);
        }
        let record = LogRecord {
            time: self.now(),
            level,
            event,
            message,
            trace,
            attributes,
            rename: sabotage.rename,
        };
        self.inner.log_file.write(&self.inner.identity, &record);
        if self
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
        let unfinished = self.sabotaged().unfinished;
        if unfinished > 0.0 && Rng::new(crate::ids::random_u64()).chance(unfinished) {
            return;
        }
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

    fn count_dropped(&self, spans: u64, logs: u64) {
        self.inner.dropped_spans.fetch_add(spans, Ordering::Relaxed);
        self.inner.dropped_logs.fetch_add(logs, Ordering::Relaxed);
    }

    /// Brings the drop counters into the metrics, before these are read.
    pub fn settle_metrics(&self) {
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
