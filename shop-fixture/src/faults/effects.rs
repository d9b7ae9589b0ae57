//! Owns the faults that do something by themselves, beside every request: eating time, memory, locks or rows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::runtime::Rt;
use crate::store::StoreError;
use crate::telemetry::Sabotage;

/// Starts what a fault that was just switched on does on its own.
pub fn begin(rt: &Rt, kind: &'static str, params: &Value) {
    let number = |name: &str, default: f64| params[name].as_f64().unwrap_or(default);
    match kind {
        "cpu_starve" => {
            tokio::spawn(starve(Arc::clone(rt), number("pct", 80.0)));
        }
        "memory_leak" => {
            tokio::spawn(leak(Arc::clone(rt), number("mb_per_min", 60.0)));
        }
        "db_lock" => {
            tokio::spawn(hold_lock(Arc::clone(rt), number("ms", 500.0)));
        }
        "journal_loss" => {
            tokio::spawn(lose_journal(Arc::clone(rt), params["last_n"].as_i64()));
        }
        _ => {}
    }
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
        leak_context: faults.is_on("log_context_leak"),
        rename: rename.map(Arc::new),
    });
    if let Ok(store) = rt.store() {
        store.limit_growth(faults.is_on("disk_full")).await;
    }
}

/// Keeps the one thread that serves everything busy for a share of the time.
async fn starve(rt: Rt, pct: f64) {
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

/// Grows while the fault is on, and gives everything back when it is lifted.
async fn leak(rt: Rt, mb_per_min: f64) {
    const MOST: usize = 4 * 1_024 * 1_024 * 1_024;
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

async fn hold_lock(rt: Rt, ms: f64) {
    let hold = Duration::from_secs_f64(ms.clamp(0.0, 60_000.0) / 1_000.0);
    let path = rt.config.db_path(rt.spec.name);
    if !rt.has_store() {
        return;
    }
    while rt.faults.is_on("db_lock") && !rt.is_draining() {
        let path = path.clone();
        // Another connection, as a forgotten script would have one.
        let held =
            tokio::task::spawn_blocking(move || crate::store::hold_write_lock(&path, hold)).await;
        if !matches!(held, Ok(Ok(()))) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn lose_journal(rt: Rt, last_n: Option<i64>) {
    let Ok(store) = rt.store() else { return };
    // A service without sagas has no journal to lose, and the fault then does nothing.
    let _ = store
        .write::<_, StoreError, _>(move |tx| {
            let limit = last_n.unwrap_or(i64::MAX);
            let ids = tx.all(
                "SELECT sagas",
                "SELECT saga_id FROM sagas ORDER BY created_at DESC LIMIT ?1",
                [limit],
                |row| row.get::<_, String>(0),
            )?;
            for id in &ids {
                tx.execute("DELETE sagas", "DELETE FROM sagas WHERE saga_id = ?1", [id])?;
                tx.execute(
                    "DELETE saga_steps",
                    "DELETE FROM saga_steps WHERE saga_id = ?1",
                    [id],
                )?;
                tx.execute(
                    "DELETE saga_log",
                    "DELETE FROM saga_log WHERE saga_id = ?1",
                    [id],
                )?;
            }
            Ok(())
        })
        .await;
}
