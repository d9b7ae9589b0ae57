//! Owns what faults make of a readiness check: checks that ask too much, answer by chance, late, or at all costs.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::admin::timed;
use super::http::HttpReply;
use crate::call::{CallOptions, grpc};
use crate::catalog::ORDERS;
use crate::proto::orders::{CreateOrderRequest, CreateOrderResponse, Item};
use crate::resilience::{retry, timeouts};
use crate::rng::Rng;
use crate::runtime::Rt;
use crate::store::StoreError;

/// Connections that the health check pings the store with; requests have others.
const PINGS: usize = 2;
const PING_WAIT: Duration = Duration::from_secs(1);

fn pings() -> &'static Arc<Semaphore> {
    static POOL: OnceLock<Arc<Semaphore>> = OnceLock::new();
    POOL.get_or_init(|| Arc::new(Semaphore::new(PINGS)))
}

/// A whole answer in place of the checks, if a fault gives one.
pub(super) async fn instead(rt: &Rt, ready: bool) -> Option<HttpReply> {
    if rt.faults.is_on("health_lies") {
        return Some(HttpReply::json(
            200,
            json!({ "status": "pass", "checks": [] }),
        ));
    }
    if !ready {
        return None;
    }
    if let Some(params) = rt.faults.find("health_slow") {
        let ms = params["ms"].as_u64().unwrap_or(150).min(60_000);
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
    if let Some(params) = rt.faults.find("health_broken") {
        let status = params["status"].as_u64().unwrap_or(500);
        let status = u16::try_from(status).unwrap_or(500).clamp(400, 599);
        return Some(HttpReply::json(
            status,
            json!({ "status": "fail", "checks": [] }),
        ));
    }
    if rt.faults.is_on("workers_stuck") {
        // Told from beside the requests: nothing of theirs is looked at.
        return Some(HttpReply::json(
            200,
            json!({ "status": "pass", "checks": [] }),
        ));
    }
    None
}

/// Adds the checks that a readiness check should not have, or that come out otherwise than they should.
pub(super) async fn add_checks(rt: &Rt, checks: &mut Vec<Value>) {
    let random = rt.faults.find("health_random").is_some_and(|params| {
        Rng::new(crate::ids::random_u64()).chance(params["share"].as_f64().unwrap_or(0.4))
    });
    if random || rt.faults.is_on("unwell") {
        checks.push(timed("worker", async { Err("not ready".to_owned()) }).await);
    }
    if let Some(params) = rt.faults.find("health_requires") {
        let service = params["service"].as_str().unwrap_or_default().to_owned();
        let name = format!("upstream {service}");
        checks.push(timed(&name, reaches(rt, &service)).await);
    }
    if let Some(params) = rt.faults.find("health_cpu_limit") {
        let limit = params["pct"].as_f64().unwrap_or(50.0);
        checks.push(timed("cpu", async { cpu_below(limit) }).await);
    }
    if let Some(params) = rt.faults.find("health_heavy") {
        let ms = params["ms"].as_u64().unwrap_or(1_500);
        checks.push(timed("row counts", count_rows(rt, ms)).await);
    }
    if rt.faults.is_on("health_trial_order") {
        checks.push(timed("trial order", trial_order(rt)).await);
    }
}

/// A connection to ping the store with. Held for as long as the ping takes.
pub(super) async fn ping_connection(rt: &Rt) -> Result<OwnedSemaphorePermit, String> {
    hold_pings(rt).await;
    let pool = Arc::clone(pings());
    match tokio::time::timeout(PING_WAIT, pool.acquire_owned()).await {
        Ok(Ok(connection)) => Ok(connection),
        _ => {
            tell_pool(rt, 1.0);
            Err(format!(
                "timed out waiting for a database connection: {PINGS} of {PINGS} of pool admin are in use"
            ))
        }
    }
}

/// A `health_pool` fault keeps all of these connections for itself until it ends.
async fn hold_pings(rt: &Rt) {
    static HELD: Mutex<Vec<OwnedSemaphorePermit>> = Mutex::new(Vec::new());
    let on = rt.faults.is_on("health_pool");
    let held = HELD.lock().unwrap_or_else(PoisonError::into_inner).len();
    if !on && held > 0 {
        HELD.lock().unwrap_or_else(PoisonError::into_inner).clear();
        tell_pool(rt, 0.0);
    } else if on && held == 0 {
        let mut taken = Vec::new();
        for _ in 0..PINGS {
            if let Ok(connection) = Arc::clone(pings()).acquire_owned().await {
                taken.push(connection);
            }
        }
        *HELD.lock().unwrap_or_else(PoisonError::into_inner) = taken;
        tell_pool(rt, 0.0);
    }
}

fn tell_pool(rt: &Rt, waiting: f64) {
    let labels = [("service", rt.spec.name), ("pool", "admin")];
    let metrics = rt.telemetry.metrics();
    let used = PINGS - pings().available_permits().min(PINGS);
    metrics.set("shop_pool_in_use", &labels, used as f64);
    metrics.set("shop_pool_size", &labels, PINGS as f64);
    metrics.set("shop_pool_waiting", &labels, waiting);
}

async fn reaches(rt: &Rt, service: &str) -> Result<(), String> {
    let instance = crate::discovery::find(rt, service)
        .await
        .map_err(|error| error.message)?;
    let url = format!(
        "http://{}:{}/health/live",
        instance.host, instance.http_port
    );
    let answer = rt
        .connections
        .http
        .get(url)
        .timeout(Duration::from_secs(1))
        .send()
        .await
        .map_err(|error| format!("{service}: {}", crate::call::transport_kind(&error)))?;
    if answer.status().is_success() {
        Ok(())
    } else {
        Err(format!("{service} answered {}", answer.status().as_u16()))
    }
}

/// Whether this process used less than a share of a processor since it was last asked.
fn cpu_below(limit: f64) -> Result<(), String> {
    static LAST: Mutex<Option<(Instant, f64)>> = Mutex::new(None);
    let used = cpu_seconds().ok_or("its processor time cannot be read")?;
    let now = Instant::now();
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let (since, before) = last.replace((now, used)).unwrap_or((now, used));
    let passed = now.duration_since(since).as_secs_f64();
    let pct = if passed > 0.0 {
        100.0 * (used - before) / passed
    } else {
        0.0
    };
    if pct < limit {
        Ok(())
    } else {
        Err(format!("{pct:.0}% is above the threshold of {limit}%"))
    }
}

/// Processor time of all threads that still run, to the nanosecond: between two looks a busy instance may use less than
/// a tick of the clock that the process as a whole is counted by.
fn cpu_seconds() -> Option<f64> {
    let mut nanos = 0.0;
    for task in std::fs::read_dir("/proc/self/task").ok()? {
        // A thread may end meanwhile.
        let Ok(told) = std::fs::read_to_string(task.ok()?.path().join("schedstat")) else {
            continue;
        };
        nanos += told.split_whitespace().next()?.parse::<f64>().ok()?;
    }
    Some(nanos / 1e9)
}

/// Counts its way through rows for about this long.
async fn count_rows(rt: &Rt, ms: u64) -> Result<(), String> {
    let until = Duration::from_millis(ms.min(20_000));
    let store = rt.store().map_err(|error| error.message)?;
    store
        .read::<_, StoreError, _>(move |tx| {
            let started = Instant::now();
            let mut seen = 0_u64;
            tx.all(
                "SELECT sqlite_schema",
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000000)
                 SELECT i FROM n",
                [],
                |_| {
                    seen += 1;
                    if seen.is_multiple_of(1_000) && started.elapsed() >= until {
                        Err(rusqlite::Error::QueryReturnedNoRows)
                    } else {
                        Ok(())
                    }
                },
            )
            .map(|_| ())
            .or_else(|error| {
                if started.elapsed() >= until { Ok(()) } else { Err(error) }
            })
        })
        .await
        .map_err(|error| error.to_string())
}

/// Places an order that nobody wants.
async fn trial_order(rt: &Rt) -> Result<(), String> {
    let options = CallOptions {
        service: ORDERS,
        timeout: timeouts::CHECKOUT,
        retry: retry::Class::None,
        key: None,
    };
    let order = CreateOrderRequest {
        user_id: "nobody".to_owned(),
        items: vec![Item {
            product_id: "laptop-123".to_owned(),
            quantity: 1,
            ..Item::default()
        }],
        currency: "USD".to_owned(),
        payment_method_id: "card-456".to_owned(),
        ..CreateOrderRequest::default()
    };
    let placed: Result<CreateOrderResponse, _> =
        grpc::unary(rt, "orders.v1.OrdersService/CreateOrder", options, order).await;
    placed.map(|_| ()).map_err(|error| error.api.message)
}
