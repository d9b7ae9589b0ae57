//! Owns what faults of trace context do to a call that goes out: whose ids it is told, and whether at all. Without a fault
//! the call is told its own client span.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderValue};

use crate::context::Context;
use crate::faults::loses_context;
use crate::propagation::{TRACEPARENT, TRACESTATE, TraceContext};
use crate::runtime::Rt;
use crate::telemetry::Span;

/// How long a call's context stands in the variable that calls of a request share.
const SHARED_FOR: Duration = Duration::from_millis(40);
/// Requests whose variable is kept.
const MOST_SHARED: usize = 1_024;

/// The ids that the callee is to take as its parent's.
pub(super) async fn told(rt: &Rt, span: &Span, context: &Context) -> TraceContext {
    let own = span.context().clone();
    if loses_context(rt, "wrong_parent") {
        return TraceContext {
            span_id: crate::ids::span_id(),
            ..own
        };
    }
    if loses_context(rt, "server_span") {
        let entry = context.shared.entry;
        return TraceContext {
            span_id: entry.unwrap_or(own.span_id),
            ..own
        };
    }
    if loses_context(rt, "earlier_call") {
        let mut earlier = context
            .shared
            .earlier_call
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let before = earlier.replace(own.clone());
        return before.unwrap_or(own);
    }
    if loses_context(rt, "calls_shared") {
        return shared(own).await;
    }
    own
}

/// One variable for all calls of a request: whoever writes last is read by all that wait meanwhile.
async fn shared(own: TraceContext) -> TraceContext {
    static SHARED: Mutex<Option<HashMap<[u8; 16], TraceContext>>> = Mutex::new(None);
    let trace_id = own.trace_id;
    {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = shared.get_or_insert_with(HashMap::new);
        if shared.len() > MOST_SHARED {
            shared.clear();
        }
        shared.insert(trace_id, own.clone());
    }
    tokio::time::sleep(SHARED_FOR).await;
    let shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    let found = shared.as_ref().and_then(|shared| shared.get(&trace_id));
    found.cloned().unwrap_or(own)
}

/// Takes the trace headers out again, or writes others.
pub(super) fn headers(rt: &Rt, headers: &mut HeaderMap, transport: &str) {
    let Some(params) = rt.faults.find("lost_context") else {
        return;
    };
    let meant = params["transport"]
        .as_str()
        .is_none_or(|wanted| wanted == transport);
    match params["mode"].as_str() {
        Some("drop_inject") if meant => {
            headers.remove(TRACEPARENT);
            headers.remove(TRACESTATE);
        }
        Some("malformed") if meant => {
            headers.insert(TRACEPARENT, HeaderValue::from_static("00-not-a-trace-01"));
        }
        _ => {}
    }
}

/// Ends the span that is current although it is about to wait for a call.
pub(super) fn end_before_call(rt: &Rt, context: &Context) {
    let mode = rt.faults.find("span_times");
    if mode.is_some_and(|params| params["mode"] == "ends_before_calls")
        && let Some(span) = &context.span
    {
        span.end();
    }
}
