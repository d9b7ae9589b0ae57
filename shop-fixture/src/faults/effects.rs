//! Owns bringing this process in line with the faults that are on: starting what one does by itself, and setting what
//! depends on all of them together.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::KindInfo;
use crate::runtime::Rt;
use crate::telemetry::Sabotage;

/// Starts what a fault that was just switched on does on its own.
pub fn begin(rt: &Rt, kind: &'static KindInfo, params: &Value) {
    if let Some(begins) = kind.begins {
        begins(rt, params);
    }
}

/// Starts what the faults do on their own that were on before the service was there.
pub fn begin_all(rt: &Rt) {
    for (kind, params) in rt.faults.all() {
        if let Some(kind) = KindInfo::find(kind) {
            begin(rt, kind, &params);
        }
    }
}

fn text_of(faults: &super::Faults, kind: &str, param: &str) -> Option<Arc<str>> {
    faults.find(kind)?[param].as_str().map(Arc::from)
}

fn mode_of(faults: &super::Faults, kind: &str) -> Option<Arc<str>> {
    text_of(faults, kind, "mode")
}

/// Brings what depends on the set of faults as a whole up to date.
pub async fn settle(rt: &Rt) {
    let faults = &rt.faults;
    let offset = faults
        .find("clock_skew")
        .and_then(|params| params["offset_ms"].as_i64())
        .unwrap_or(0);
    rt.clock.set_offset(offset.saturating_mul(1_000_000));
    let share = |kind: &str| {
        faults
            .find(kind)
            .map_or(0.0, |params| params["share"].as_f64().unwrap_or(1.0))
    };
    let rename = faults.find("log_field_rename").map(|params| {
        let text = |name: &str, default: &str| params[name].as_str().unwrap_or(default).to_owned();
        (text("from", "order_id"), text("to", "orderId"))
    });
    rt.telemetry.sabotage(Sabotage {
        unfinished: share("unfinished_span"),
        drop: share("export_drop"),
        delay: faults.find("export_delay").map(|params| {
            Duration::from_millis(params["ms"].as_u64().unwrap_or(5_000).min(600_000))
        }),
        unfinished_route: text_of(faults, "unfinished_span", "route"),
        leak: faults.find("span_leak").map(|params| {
            (
                params["share"].as_f64().unwrap_or(0.5),
                params["kb"].as_u64().unwrap_or(128).min(4_096) as usize * 1_024,
            )
        }),
        flat: mode_of(faults, "spans_flat"),
        shared_parents: faults.is_on("parents_shared"),
        starts_late: mode_of(faults, "span_times").as_deref() == Some("starts_late"),
        status_unset: faults.is_on("span_status_unset"),
        queue: faults
            .find("export_queue")
            .map(|params| params["size"].as_u64().unwrap_or(20) as usize),
        log_ids: mode_of(faults, "log_ids")
            .zip(text_of(faults, "log_ids", "of"))
            .map(Arc::new),
        log_elsewhere: faults.is_on("log_elsewhere"),
        log_shape: mode_of(faults, "log_shape"),
        leak_context: faults.is_on("log_context_leak"),
        rename: rename.map(Arc::new),
    });
    if let Ok(store) = rt.store() {
        store.limit_growth(faults.is_on("disk_full")).await;
    }
}
