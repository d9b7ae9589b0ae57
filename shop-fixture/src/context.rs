//! Owns what travels with a request inside a process: the current span, baggage, the behaviour of this service, the
//! report being gathered. Handlers find it through the task; work that outlives the request carries it explicitly.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use crate::propagation::{Baggage, TraceContext};
use crate::report::UpstreamCall;
use crate::telemetry::Span;

tokio::task_local! {
    static CURRENT: Context;
    static TASK: &'static str;
}

/// What the running code is a part of, where a request has handed it to a task of its own.
#[must_use]
pub fn task() -> Option<&'static str> {
    TASK.try_with(|task| *task).ok()
}

/// Runs a future as the named task.
pub fn in_task<F: Future>(name: &'static str, future: F) -> impl Future<Output = F::Output> {
    TASK.scope(name, future)
}

/// The surroundings of the running code; cheap to clone.
#[derive(Clone, Default)]
pub struct Context {
    /// The current span's place in its trace.
    pub trace: Option<TraceContext>,
    /// The current span itself, if it runs in this process.
    pub span: Option<Span>,
    pub shared: Arc<Shared>,
}

/// What all code of one handled request has in common.
#[derive(Default)]
pub struct Shared {
    pub baggage: Baggage,
    /// Set when the caller wants to know which calls were made.
    pub report: Option<Mutex<Vec<UpstreamCall>>>,
    /// Behaviours that took effect here.
    pub applied: Mutex<Vec<String>>,
    /// `idempotency-key` of the request.
    pub idempotency_key: Option<String>,
    /// `x-user-id` of the request.
    pub user_id: Option<String>,
    /// The server span under which all of it happens.
    pub entry: Option<[u8; 8]>,
    /// The call made before the present one; only kept while a fault wants it.
    pub earlier_call: Mutex<Option<TraceContext>>,
    /// Whether log lines of this request are written outside of it, as a fault has it.
    pub unlogged: bool,
}

/// The surroundings of the running task; empty ones outside of any request.
#[must_use]
pub fn current() -> Context {
    CURRENT.try_with(Clone::clone).unwrap_or_default()
}

impl Context {
    /// The same surroundings with another current span.
    #[must_use]
    pub fn with_span(&self, span: &Span) -> Context {
        Context {
            trace: Some(span.context().clone()),
            span: Some(span.clone()),
            shared: Arc::clone(&self.shared),
        }
    }

    /// Runs a future in these surroundings.
    pub fn scope<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, future)
    }

    /// Runs synchronous code in these surroundings.
    pub fn sync_scope<R>(self, run: impl FnOnce() -> R) -> R {
        CURRENT.sync_scope(self, run)
    }

    #[must_use]
    pub fn wants_report(&self) -> bool {
        self.shared.report.is_some()
    }

    pub fn record_call(&self, call: UpstreamCall) {
        if let Some(report) = &self.shared.report {
            report
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(call);
        }
    }

    pub fn record_applied(&self, behaviour: String) {
        self.shared
            .applied
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(behaviour);
    }

    /// The calls and the applied behaviours so far.
    #[must_use]
    pub fn gathered(&self) -> (Vec<UpstreamCall>, Vec<String>) {
        let calls = match &self.shared.report {
            Some(report) => report
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            None => Vec::new(),
        };
        (
            calls,
            self.shared
                .applied
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        )
    }
}

/// Runs a future with `span` as its current span and ends the span with it.
pub async fn in_span<F: Future>(span: &Span, future: F) -> F::Output {
    let output = current().with_span(span).scope(future).await;
    span.end();
    output
}
