//! Owns what faults do to spans and log records before anyone sees them: parents that are not theirs, ids elsewhere, fields
//! that are missing. Without a fault everything passes as it is.

use std::sync::{Mutex, PoisonError};

use super::{Attr, Kind, LogRecord, Origin, Span, SpanData, Status, Telemetry};
use crate::context;
use crate::propagation::TraceContext;
use crate::rng::Rng;

/// Requests for which one context is used, where it should be each its own.
const BATCH: u64 = 10;
/// Leaked spans that are kept; the leak is there to be seen, not to end the process.
const MOST_LEAKED: usize = 20_000;

/// Variables that all requests of the process share.
#[derive(Default)]
pub(super) struct Mixed {
    current_span: Mutex<Option<[u8; 8]>>,
    last_logged: Mutex<Option<TraceContext>>,
    last_begun: Mutex<Option<TraceContext>>,
    first_of_ten: Mutex<(u64, Option<TraceContext>)>,
    leaked: Mutex<Vec<(SpanData, Vec<u8>)>>,
}

impl Mixed {
    pub(super) fn forget_leaked(&self) {
        *lock(&self.leaked) = Vec::new();
    }

    /// A request begins.
    fn begun(&self, context: &TraceContext) {
        *lock(&self.current_span) = Some(context.span_id);
        *lock(&self.last_begun) = Some(context.clone());
        let mut first = lock(&self.first_of_ten);
        if first.0.is_multiple_of(BATCH) {
            first.1 = Some(context.clone());
        }
        first.0 += 1;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn chance(share: f64) -> bool {
    share > 0.0 && Rng::new(crate::ids::random_u64()).chance(share)
}

impl Telemetry {
    /// A span that nobody is told of; what is below it hangs under its parent.
    #[must_use]
    pub fn untold(&self, parent: &TraceContext, name: impl Into<String>, kind: Kind) -> Span {
        let above = Some(parent.span_id);
        Span::start(
            self.clone(),
            parent.clone(),
            above,
            name.into(),
            kind,
            false,
        )
    }

    /// A span of the trace that does not say under which other it belongs.
    #[must_use]
    pub fn parentless(&self, parent: &TraceContext, name: impl Into<String>, kind: Kind) -> Span {
        self.begin(parent.child(), None, name, kind)
    }

    pub(super) fn spoil_parent(
        &self,
        context: TraceContext,
        parent: Option<([u8; 8], Origin)>,
        kind: Kind,
    ) -> (TraceContext, Option<([u8; 8], Origin)>) {
        let sabotage = self.sabotaged();
        let (context, parent) = match (sabotage.flat.as_deref(), parent) {
            (Some("no_context"), Some(_)) => (TraceContext::new_root(), None),
            (Some("no_current"), Some(_)) | (Some("trace_id_alone"), Some((_, Origin::Local))) => {
                (context, None)
            }
            (_, parent) => (context, parent),
        };
        if kind == Kind::Server {
            self.inner.mixed.begun(&context);
            return (context, parent);
        }
        let shared = sabotage.shared_parents && parent.is_some();
        match *lock(&self.inner.mixed.current_span) {
            Some(current) if shared => (context, Some((current, Origin::Local))),
            _ => (context, parent),
        }
    }

    /// The span as it is told, unless it never ends.
    pub(super) fn spoil_span(&self, mut span: SpanData) -> Option<SpanData> {
        let sabotage = self.sabotaged();
        let meant = sabotage
            .unfinished_route
            .as_deref()
            .is_none_or(|route| span.name.contains(route));
        if meant && chance(sabotage.unfinished) {
            return None;
        }
        if let Some((share, bytes)) = sabotage.leak
            && span.kind == Kind::Server
            && chance(share)
        {
            let mut leaked = lock(&self.inner.mixed.leaked);
            if leaked.len() < MOST_LEAKED {
                // Written to, or the pages would never become resident.
                leaked.push((span, vec![1; bytes]));
            }
            return None;
        }
        if sabotage.starts_late && span.kind == Kind::Server {
            span.start = span.end.saturating_sub(100_000).max(span.start);
        }
        if sabotage.status_unset {
            span.status = Status::Unset;
        }
        Some(span)
    }

    /// The record as it is written, and whether it is sent as well.
    pub(super) fn spoil_record(&self, mut record: LogRecord) -> (LogRecord, bool) {
        let sabotage = self.sabotaged();
        if sabotage.leak_context {
            let mut last = lock(&self.inner.mixed.last_logged);
            std::mem::swap(&mut *last, &mut record.trace);
        }
        record.rename = sabotage.rename;
        if let Some(ids) = &sabotage.log_ids {
            self.spoil_ids(&ids.0, &ids.1, &mut record);
        }
        match sabotage.log_shape.as_deref() {
            Some("no_static") => record.bare = true,
            Some("no_context") => {
                record.trace = None;
                record.attributes.remove("user_id");
            }
            Some("escaped") => escape(&mut record),
            _ => {}
        }
        (record, !sabotage.log_elsewhere)
    }

    fn spoil_ids(&self, mode: &str, of: &str, record: &mut LogRecord) {
        let mixed = &self.inner.mixed;
        let Some(trace) = record.trace.clone() else {
            return;
        };
        match mode {
            "in_text" => {
                let text = format!("{} trace_id={}", record.message, trace.trace_hex());
                record.message = text.into();
                record.trace = None;
            }
            "odd_form" => {
                record.attributes.set("trace_id", odd_form(&trace));
                record.trace = None;
            }
            "not_on_statement" if record.event == of => record.trace = None,
            "not_on_route" if context::current().shared.unlogged => record.trace = None,
            "not_in_task" if context::task().is_some() => record.trace = None,
            "of_last_begun" => record.trace = lock(&mixed.last_begun).clone().or(Some(trace)),
            "of_first_of_ten" => record.trace = lock(&mixed.first_of_ten).1.clone().or(Some(trace)),
            "new_from_statement" if record.event == of => {
                record.trace = Some(TraceContext::new_root());
            }
            _ => {}
        }
    }
}

/// Upper case, with hyphens as in a UUID.
fn odd_form(trace: &TraceContext) -> String {
    let hex = trace.trace_hex().to_uppercase();
    let parts = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    parts.join("-")
}

/// Numbers as text, and what is nested as JSON inside a text.
fn escape(record: &mut LogRecord) {
    for name in ["duration_ms", "status", "attempt"] {
        if let Some(number) = record.attributes.get(name) {
            let text = number.to_json().to_string();
            record.attributes.set(name, text);
        }
    }
    let part = |name: &str| record.attributes.get(name).map(Attr::to_json);
    let (code, details) = (part("error.code"), part("error.details"));
    if code.is_some() || details.is_some() {
        let nested = serde_json::json!({ "code": code, "details": details }).to_string();
        record.attributes.remove("error.code");
        record.attributes.remove("error.details");
        let escaped = nested.replace('"', "\\\"");
        record.attributes.set("error.object", escaped);
    }
}
