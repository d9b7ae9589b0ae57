//! Owns the faults of stores and what is copied from them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::kind::{Form, KindInfo, kind, param};
use crate::catalog::{CART, FRAUD, INVENTORY, USERS};
use crate::runtime::Rt;

pub(super) const KINDS: &[KindInfo] = &[
    kind("replica_lag", "Browsing sees the stock of a while ago.")
        .takes(&[param("ms", Form::Number, "30000")])
        .only_on(&[INVENTORY]),
    kind(
        "db_lock",
        "Another writer holds the store's lock again and again.",
    )
    .takes(&[param("ms", Form::Number, "500")])
    .begins(|rt, params| {
        tokio::spawn(hold_lock(Arc::clone(rt), params.clone()));
    }),
    kind(
        "disk_full",
        "The store refuses to grow: writes fail, reads work.",
    ),
    kind(
        "session_store_down",
        "The key-value store does not answer: carts, sessions and counters fail.",
    )
    .only_on(&[CART, FRAUD, USERS]),
];

async fn hold_lock(rt: Rt, params: Value) {
    let ms = params["ms"].as_f64().unwrap_or_default();
    let hold = Duration::from_secs_f64(ms.clamp(0.0, 60_000.0) / 1_000.0);
    let path = rt.config.db_path(rt.spec.name);
    if !rt.has_store() {
        return;
    }
    while rt.faults.is_on("db_lock") && !rt.is_draining() {
        let path = path.clone();
        // Another connection, as a forgotten report would have one.
        let span = rt
            .telemetry
            .root("report run", crate::telemetry::Kind::Internal);
        let held =
            tokio::task::spawn_blocking(move || crate::store::hold_write_lock(&path, hold)).await;
        span.end();
        if !matches!(held, Ok(Ok(()))) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
