//! Owns what faults of trace context do to a request that comes in: how its headers are read, and which span stands for it.
//! Without a fault each of these does the one right thing.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderValue};

use crate::faults::loses_context;
use crate::propagation::{
    Baggage, Extracted, TRACEPARENT, TraceContext, baggage, extract, misread,
};
use crate::rng::Rng;
use crate::runtime::Rt;
use crate::telemetry::{Kind, Span};

/// How long a request's context stands in the shared variable before it is read back.
const SHARED_FOR: Duration = Duration::from_millis(40);

/// The parameters of a fault of this kind that is on for spans of this name.
fn strikes(rt: &Rt, kind: &str, name: &str) -> Option<serde_json::Value> {
    let params = rt.faults.find(kind)?;
    let meant = params["route"]
        .as_str()
        .is_none_or(|route| name.contains(route));
    meant.then_some(params)
}

/// Reads the caller's context.
pub(super) fn extracted(rt: &Rt, headers: &HeaderMap, name: &str) -> Extracted {
    let mut extracted = match rt.faults.find("header_misread") {
        Some(params) => misread::extract_as(params["mode"].as_str().unwrap_or_default(), headers),
        None => extract(headers),
    };
    if loses_context(rt, "drop_extract") && strikes(rt, "lost_context", name).is_some() {
        extracted.parent = None;
    }
    extracted
}

/// Puts the caller's context into a variable that all requests share, and takes out what is there a little later.
pub(super) async fn share_context(rt: &Rt, headers: &mut HeaderMap) {
    static SHARED: Mutex<Option<HeaderValue>> = Mutex::new(None);
    if !loses_context(rt, "extract_shared") {
        return;
    }
    let shared = || SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    *shared() = headers.get(TRACEPARENT).cloned();
    tokio::time::sleep(SHARED_FOR).await;
    let found = shared().take();
    match found {
        Some(value) => headers.insert(TRACEPARENT, value),
        None => headers.remove(TRACEPARENT),
    };
}

/// Decides whether a trace is kept where it enters, and keeps to what was decided before.
pub(super) fn sampled(rt: &Rt, extracted: &mut Extracted, name: &str) {
    let decided = extracted.baggage.get(baggage::SAMPLED).as_deref() == Some("0");
    let drawn = strikes(rt, "span_sampled_out", name).is_some_and(|params| {
        let share = params["share"].as_f64().unwrap_or(0.01);
        !Rng::new(crate::ids::random_u64()).chance(share)
    });
    if decided || drawn {
        drop_trace(&mut extracted.baggage, &mut extracted.parent);
    }
}

fn drop_trace(baggage: &mut Baggage, parent: &mut Option<TraceContext>) {
    baggage.set(baggage::SAMPLED, "0");
    let parent = parent.get_or_insert_with(TraceContext::new_root);
    parent.flags &= !crate::propagation::FLAG_SAMPLED;
    parent.unrecorded = true;
}

/// The span that stands for the request.
pub(super) fn server_span(rt: &Rt, extracted: &Extracted, name: String) -> Span {
    let Some(parent) = &extracted.parent else {
        return rt.telemetry.root(name, Kind::Server);
    };
    if strikes(rt, "span_skipped", &name).is_some() {
        return rt.telemetry.untold(parent, name, Kind::Server);
    }
    if loses_context(rt, "extract_late") {
        return rt.telemetry.root(name, Kind::Server);
    }
    if loses_context(rt, "empty_parent") {
        return rt.telemetry.parentless(parent, name, Kind::Server);
    }
    rt.telemetry.child_of(parent, name, Kind::Server)
}

/// What the spans inside hang under.
pub(super) fn inner_context(rt: &Rt, parent: &Option<TraceContext>, span: &Span) -> TraceContext {
    match parent {
        Some(parent) if loses_context(rt, "extract_late") => parent.clone(),
        _ => span.context().clone(),
    }
}

/// Ends the server span before the work begins that it is there for.
pub(super) async fn end_before_work(rt: &Rt, span: &Span) {
    let mode = rt.faults.find("span_times");
    if mode.is_some_and(|params| params["mode"] == "ends_before_work") {
        span.end();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether the log lines of a request are to have no context.
pub(super) fn is_unlogged(rt: &Rt, name: &str) -> bool {
    rt.faults.find("log_ids").is_some_and(|params| {
        let meant = params["of"]
            .as_str()
            .is_none_or(|route| name.contains(route));
        params["mode"] == "not_on_route" && meant
    })
}
