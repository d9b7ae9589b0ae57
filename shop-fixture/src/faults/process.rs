//! Owns the faults of a process as a whole: its end, its silence, its processor time and its memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::kind::{Form, KindInfo, Reach, kind, param};
use crate::runtime::Rt;

pub(super) const KINDS: &[KindInfo] = &[
    kind(
        "kill9",
        "Kills the process with SIGKILL: no farewell, no flush.",
    )
    .reach(Reach::Process),
    kind(
        "down",
        "Kills the process with SIGKILL and keeps it down until the fault ends.",
    )
    .reach(Reach::Process),
    kind(
        "stop",
        "Has the process end in order and keeps it down until the fault ends.",
    )
    .reach(Reach::Process),
    kind("crash", "The process aborts on its own."),
    kind(
        "hang",
        "Requests, probes and heartbeats are taken and never answered.",
    ),
    kind(
        "cpu_starve",
        "Something else eats the processor's time of this process.",
    )
    .takes(&[param("pct", Form::Number, "80")])
    .begins(|rt, params| {
        tokio::spawn(starve(Arc::clone(rt), params.clone()));
    }),
    kind("memory_leak", "The process grows steadily.")
        .takes(&[param("mb_per_min", Form::Number, "60")])
        .begins(|rt, params| {
            tokio::spawn(leak(Arc::clone(rt), params.clone()));
        }),
];

/// Keeps the one thread that serves everything busy for a share of the time.
async fn starve(rt: Rt, params: Value) {
    let pct = params["pct"].as_f64().unwrap_or_default();
    let busy = Duration::from_secs_f64((pct.clamp(0.0, 99.0)) / 1_000.0);
    while rt.faults.is_on("cpu_starve") && !rt.is_draining() {
        let started = Instant::now();
        let mut waste: u64 = 1;
        while started.elapsed() < busy {
            waste = crate::rng::mix(waste);
        }
        std::hint::black_box(waste);
        tokio::time::sleep(Duration::from_millis(100).saturating_sub(busy)).await;
    }
}

/// Keeps it busy without a pause while its turn lasts, and leaves it alone in between.
pub(super) async fn bursts(rt: Rt, params: Value) {
    const BUSY: Duration = Duration::from_millis(400);
    while rt.faults.is_on("cpu_bursts") && !rt.is_draining() {
        if super::is_in_turn(&rt, &params) {
            let started = Instant::now();
            let mut waste: u64 = 1;
            while started.elapsed() < BUSY {
                waste = crate::rng::mix(waste);
            }
            std::hint::black_box(waste);
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Grows while the fault is on, and gives everything back when it is lifted.
async fn leak(rt: Rt, params: Value) {
    const MOST: usize = 4 * 1_024 * 1_024 * 1_024;
    let mb_per_min = params["mb_per_min"].as_f64().unwrap_or_default();
    let per_second = (mb_per_min.clamp(0.0, 60_000.0) * 1_048_576.0 / 60.0) as usize;
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let mut bytes = 0;
    while rt.faults.is_on("memory_leak") && !rt.is_draining() {
        if bytes + per_second <= MOST {
            // Written to, or the pages would never become resident.
            kept.push(vec![1; per_second]);
            bytes += per_second;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    drop(kept);
}
