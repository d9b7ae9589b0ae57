//! Owns the faults of an instance's own entry in the registry, and of the registry itself. What they spoil stands in
//! `discovery::register` and `services::registry`.

use std::sync::Arc;

use super::kind::{Form, KindInfo, any, kind, param};
use crate::catalog::REGISTRY;
use crate::runtime::Rt;

pub(super) const KINDS: &[KindInfo] = &[
    kind(
        "heartbeat_stop",
        "Serves on but sends no heartbeats: ages to suspect, then expires.",
    ),
    kind(
        "heartbeat_deadlock",
        "The heartbeat task waits for ever on a lock that is not given back.",
    )
    .begins(|rt, _| {
        tokio::spawn(keep_lock(Arc::clone(rt)));
    }),
    kind("heartbeat_delay", "Every heartbeat is sent late by this much.")
        .takes(&[param("delay_ms", Form::Number, "20000")]),
    kind(
        "heartbeat_misconfigured",
        "Heartbeats come as rarely as the registry's patience lasts: the instance comes and goes.",
    ),
    kind(
        "wrong_address",
        "Registers under an address where nobody listens: calls to it are refused.",
    )
    // Port 1 is reserved, so nobody listens there.
    .takes(&[
        param("host", Form::Text, "127.0.0.1"),
        param("port", Form::Number, "1"),
    ]),
    kind(
        "wrong_name",
        "Registers under another name: lookups of the right one miss it.",
    )
    .takes(&[any("name", Form::Text)]),
    kind(
        "duplicate_id",
        "Registers under the id of another instance: two processes, one entry, and one of them idle.",
    )
    .takes(&[any("copy_from", Form::Text)]),
    kind(
        "bad_health_path",
        "Registers a health path that does not exist.",
    ),
    kind(
        "missing_metadata",
        "Registers without version and track: filters find nothing.",
    ),
    kind(
        "no_deregister",
        "Does not deregister when it stops: a stale entry stays behind.",
    ),
    kind(
        "registry_down",
        "The registry takes calls and answers none.",
    )
    .only_on(&[REGISTRY]),
];

/// A refresh of the metadata that takes its lock and does not come back.
async fn keep_lock(rt: Rt) {
    let _metadata = rt.metadata_lock.lock().await;
    let mut changes = rt.faults.changes();
    while rt.faults.is_on("heartbeat_deadlock") {
        if changes.changed().await.is_err() {
            return;
        }
    }
}
