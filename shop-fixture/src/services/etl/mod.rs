//! Owns etl: jobs that build views for analysis from what other services tell through their APIs, and a count of every
//! event that passes.

mod job;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::Served;
use crate::error::{ApiError, ShopError};
use crate::messaging::consumer;
use crate::runtime::Rt;
use crate::server::admin;
use crate::server::http::{HttpReply, HttpRequest, Router};
use crate::server::router::business_routes;
use crate::store::{Store, StoreError};

pub fn start(rt: &Rt) -> Result<Served, ShopError> {
    rt.set_store(Store::open(
        &rt.config.db_path(rt.spec.name),
        &[job::SCHEMA, consumer::SCHEMA],
        Arc::clone(&rt.clock),
        rt.telemetry.clone(),
    )?);
    let router = router(rt)
        .merge(consumer::router(rt, None, consumer::record_only()))
        .merge(admin::health(rt));
    Ok(Served {
        grpc: None,
        http: Some(router),
        background: vec![super::background(keep_time(Arc::clone(rt)))],
    })
}

fn router(rt: &Rt) -> Router {
    let mut router = Router::new();
    business_routes! { router, rt;
        GET "/jobs" jobs;
        POST "/jobs/{name}/run" run_now;
        GET "/analytics/revenue" revenue;
        GET "/analytics/events" events;
    }
    router
}

/// Runs the job at its period; an `etl_stale` fault makes the timer forget it.
async fn keep_time(rt: Rt) {
    let task = rt.tasks.begin("etl_schedule");
    let mut stopping = rt.stopping();
    let look = rt.clock.scaled(Duration::from_secs(5));
    // Not at once: what it asks must have come up first.
    let mut next = tokio::time::Instant::now() + rt.clock.scaled(job::PERIOD);
    loop {
        task.tick();
        if tokio::time::Instant::now() >= next && rt.is_ready() && !rt.faults.is_on("etl_stale") {
            next = tokio::time::Instant::now() + rt.clock.scaled(job::PERIOD);
            let again = Arc::clone(&rt);
            // Beside the timer: a run that hangs must not stop the next one from being tried.
            tokio::spawn(async move {
                // A failed run has told of itself, and the next one makes up for it.
                if again.faults.is_on("etl_overlap") {
                    let _ = tokio::join!(job::run(&again), job::run(&again));
                } else {
                    let _ = job::run(&again).await;
                }
            });
        }
        if let Ok(store) = rt.store()
            && let Ok(age) = store.read::<_, StoreError, _>(job::age).await
        {
            rt.telemetry
                .metrics()
                .set("shop_mv_age_seconds", &[("job", job::NAME)], age);
        }
        tokio::select! {
            () = tokio::time::sleep(look) => {}
            _ = stopping.changed() => return,
        }
    }
}

async fn jobs(rt: &Rt, _request: &HttpRequest) -> Result<HttpReply, ApiError> {
    let rows = rt
        .store()?
        .read::<_, StoreError, _>(|tx| {
            tx.all(
                "SELECT jobs",
                "SELECT name, state, started_at, finished_at, runs, rows, last_error, as_of FROM jobs ORDER BY name",
                [],
                |row| {
                    Ok(json!({
                        "name": row.get::<_, String>(0)?,
                        "state": row.get::<_, String>(1)?,
                        "started_at": row.get::<_, Option<String>>(2)?,
                        "finished_at": row.get::<_, Option<String>>(3)?,
                        "runs": row.get::<_, i64>(4)?,
                        "rows": row.get::<_, i64>(5)?,
                        "last_error": row.get::<_, Option<String>>(6)?,
                        "as_of": row.get::<_, Option<String>>(7)?,
                    }))
                },
            )
        })
        .await?;
    Ok(HttpReply::json(200, json!({ "jobs": rows })))
}

async fn run_now(rt: &Rt, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    if request.param("name") != job::NAME {
        return Err(ApiError::not_found(
            "JOB_NOT_FOUND",
            format!("there is no such job; there is {}", job::NAME),
        ));
    }
    Ok(HttpReply::json(200, job::run(rt).await?))
}

async fn revenue(rt: &Rt, _request: &HttpRequest) -> Result<HttpReply, ApiError> {
    job::until_unlocked(rt).await?;
    let found: Option<Value> = rt
        .store()?
        .read::<_, StoreError, _>(|tx| {
            tx.one(
                "SELECT mv_order_revenue",
                "SELECT (SELECT as_of FROM jobs WHERE name = ?1), count(*), coalesce(sum(sale_cents), 0),
                        coalesce(sum(refund_cents), 0), coalesce(sum(net_cents), 0) FROM mv_order_revenue",
                [job::NAME],
                |row| {
                    Ok(json!({
                        "as_of": row.get::<_, Option<String>>(0)?,
                        "orders": row.get::<_, i64>(1)?,
                        "sale_cents": row.get::<_, i64>(2)?,
                        "refund_cents": row.get::<_, i64>(3)?,
                        "net_cents": row.get::<_, i64>(4)?,
                    }))
                },
            )
        })
        .await?;
    Ok(HttpReply::json(200, found.unwrap_or_default()))
}

/// How many events of each type have passed.
async fn events(rt: &Rt, _request: &HttpRequest) -> Result<HttpReply, ApiError> {
    let rows = rt
        .store()?
        .read::<_, StoreError, _>(|tx| {
            tx.all(
                "SELECT inbox",
                "SELECT type, count(*) FROM inbox GROUP BY type ORDER BY type",
                [],
                |row| {
                    Ok(json!({ "type": row.get::<_, String>(0)?, "count": row.get::<_, i64>(1)? }))
                },
            )
        })
        .await?;
    Ok(HttpReply::json(200, json!({ "events": rows })))
}
