//! Owns the faults of an instance's own entry in the registry, and of the registry itself. What they spoil stands in
//! `discovery::register` and `services::registry`.

use std::sync::Arc;

use super::kind::{Form, KindInfo, any, kind, param, required};
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
        "heartbeat_deaf",
        "Does not mind that the registry no longer knows it: goes on with heartbeats that are answered 404.",
    ),
    kind("skip_register", "Never registers: serves, and nobody hears of it."),
    kind(
        "bad_record",
        "Registers without a field that the registry insists on, and is refused.",
    )
    .takes(&[param("field", Form::OneOf(&["address", "health_path"]), "address")]),
    kind(
        "fixed_id",
        "Registers under an id that says too little to be its own alone.",
    )
    .takes(&[any("id", Form::Text)]),
    kind(
        "wrong_address",
        "Registers under an address where nobody listens: calls to it are refused.",
    )
    // Port 1 is reserved, so nobody listens there; `own` is the port it has, `none` leaves it out.
    .takes(&[
        param("host", Form::Text, "127.0.0.1"),
        param("port", Form::Text, "1"),
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
        "Registers a health endpoint that does not exist: another path, or another port.",
    )
    .takes(&[
        param("path", Form::Text, "/healthz-gone"),
        any("port", Form::Number),
    ]),
    kind(
        "missing_metadata",
        "Registers without version and track, or without one key: filters find nothing.",
    )
    .takes(&[any("key", Form::Text)]),
    kind(
        "version_in_name",
        "Registers with its version at the end of its name, not in the metadata as its peers do.",
    ),
    kind(
        "no_deregister",
        "Does not deregister when it stops: a stale entry stays behind.",
    ),
    kind(
        "bad_token",
        "Shows the registry a token that has expired, is not its own, or none.",
    )
    .takes(&[param(
        "mode",
        Form::OneOf(&["expired", "forged", "missing"]),
        "expired",
    )]),
    kind(
        "registry_replication_stop",
        "A registry node neither tells the others of changes nor takes theirs.",
    )
    .only_on(&[REGISTRY]),
    kind(
        "registry_down",
        "The registry takes calls and answers none.",
    )
    .only_on(&[REGISTRY]),
    kind(
        "keep_dead",
        "The registry keeps rows of instances that fell silent, and takes no new one under their id meanwhile.",
    )
    .only_on(&[REGISTRY])
    .takes(&[any("for_s", Form::Number)]),
    kind(
        "corrupt_rows",
        "The registry damages the rows of a service as it writes them.",
    )
    .only_on(&[REGISTRY])
    .takes(&[required("service", Form::Text)]),
    kind(
        "all_healthy",
        "The registry hands out every row of a service and calls it healthy, whatever it knows.",
    )
    .only_on(&[REGISTRY])
    .takes(&[any("service", Form::Text)]),
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
