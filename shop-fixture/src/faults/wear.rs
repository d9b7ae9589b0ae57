//! Owns the faults of what wears out slowly or changes from outside: files that cannot be cut back, contracts that no
//! longer fit, a start that comes too early.

use std::sync::Arc;

use super::kind::{Form, KindInfo, Reach, any, kind, param, required};
use crate::catalog::REGISTRY;
use crate::runtime::Rt;

pub(super) const KINDS: &[KindInfo] = &[
    kind(
        "early_register",
        "Registers as soon as it starts and refuses requests until it is ready a while later.",
    )
    .takes(&[param("delay_ready_ms", Form::Number, "5000")])
    .reach(Reach::Start),
    // Carried out by the supervisor: the registry itself does not see which network a call comes from.
    kind(
        "registry_partition",
        "The services named, with commas between, cannot reach the registry any more.",
    )
    .takes(&[required("services", Form::Text)])
    .only_on(&[REGISTRY]),
    kind(
        "wal_growth",
        "A reader that never ends keeps the store's write-ahead log from being cut back: it grows with every write.",
    )
    .begins(|rt, _| {
        tokio::spawn(keep_reading(Arc::clone(rt)));
    }),
    kind(
        "log_rotate_stuck",
        "The log file is rotated away and the process goes on writing into the deleted one.",
    )
    .begins(|rt, _| {
        tokio::spawn(lose_log_file(Arc::clone(rt)));
    }),
    kind(
        "proto_mismatch",
        "Answers of an RPC are written by another contract than the callers read them by.",
    )
    .takes(&[any("rpc", Form::Text)]),
];

/// Waits until a kind is no longer on.
async fn until_off(rt: &Rt, kind: &str) {
    let mut changes = rt.faults.changes();
    while rt.faults.is_on(kind) && !rt.is_draining() {
        if changes.changed().await.is_err() {
            return;
        }
    }
}

async fn keep_reading(rt: Rt) {
    if !rt.has_store() {
        return;
    }
    let path = rt.config.db_path(rt.spec.name);
    let reading = tokio::task::spawn_blocking(move || crate::store::open_reader(&path)).await;
    // Kept open, with its transaction, as long as the fault is on. A store that cannot be opened has worse troubles.
    if let Ok(Ok(reader)) = reading {
        until_off(&rt, "wal_growth").await;
        drop(reader);
    }
}

async fn lose_log_file(rt: Rt) {
    let path = rt.config.log_path(&rt.telemetry.identity().label);
    // A file that is gone already is what the fault wants.
    let _ = std::fs::remove_file(&path);
    until_off(&rt, "log_rotate_stuck").await;
    // Without its file an instance goes on; it only logs where nobody reads.
    let _ = rt.telemetry.reopen_log(&path);
}
