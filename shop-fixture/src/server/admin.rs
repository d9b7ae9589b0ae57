//! Owns the admin port of an instance: health, metrics, faults and the debug pages that the supervisor gathers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use super::http::{Class, HttpReply, HttpRequest, Router};
use super::{parse, unhealth};
use crate::error::ApiError;
use crate::faults::{DEFAULT_TTL, FaultRequest, Reach, effects};
use crate::runtime::Rt;
use crate::store::ledger;
use crate::telemetry::prometheus;

/// The routes of the admin port.
#[must_use]
pub fn router(rt: &Rt) -> Router {
    let with = |rt: &Rt| Arc::clone(rt);
    let (metrics, add, list, end, end_all) = (with(rt), with(rt), with(rt), with(rt), with(rt));
    let (cache, breakers, rows, sagas) = (with(rt), with(rt), with(rt), with(rt));
    let (roots, red, routes) = (with(rt), with(rt), with(rt));
    let (migrate, go) = (with(rt), with(rt));
    health(rt)
        .route(Method::GET, "/metrics", Class::Silent, move |_| {
            let rt = Arc::clone(&metrics);
            async move { Ok(metrics_page(&rt)) }
        })
        .route(
            Method::POST,
            "/admin/faults",
            Class::Silent,
            move |request| {
                let rt = Arc::clone(&add);
                async move { start_fault(&rt, &request) }
            },
        )
        .route(Method::GET, "/admin/faults", Class::Silent, move |_| {
            let rt = Arc::clone(&list);
            async move { Ok(HttpReply::json(200, json!(rt.faults.list()))) }
        })
        .route(
            Method::DELETE,
            "/admin/faults/{id}",
            Class::Silent,
            move |request| {
                let rt = Arc::clone(&end);
                async move {
                    if rt.faults.stop(request.param("id")) {
                        Ok(HttpReply::json(
                            200,
                            json!({ "ended": request.param("id") }),
                        ))
                    } else {
                        Err(ApiError::not_found(
                            "FAULT_NOT_FOUND",
                            "no fault of this id is on here",
                        ))
                    }
                }
            },
        )
        .route(Method::DELETE, "/admin/faults", Class::Silent, move |_| {
            let rt = Arc::clone(&end_all);
            async move {
                rt.faults.stop_all();
                Ok(HttpReply::json(200, json!({ "ended": "all" })))
            }
        })
        .route(Method::GET, "/debug/discovery", Class::Silent, move |_| {
            let rt = Arc::clone(&cache);
            async move { Ok(HttpReply::json(200, rt.discovery.snapshot())) }
        })
        .route(Method::GET, "/debug/routes", Class::Silent, move |_| {
            let rt = Arc::clone(&routes);
            async move {
                let rows = rt
                    .routes()
                    .iter()
                    .map(|(method, path)| json!({ "method": method, "path": path }));
                Ok(HttpReply::json(200, Value::Array(rows.collect())))
            }
        })
        .route(Method::GET, "/debug/breakers", Class::Silent, move |_| {
            let rt = Arc::clone(&breakers);
            async move { Ok(HttpReply::json(200, json!(rt.resilience.snapshot()))) }
        })
        .route(
            Method::GET,
            "/debug/ledgers/{name}",
            Class::Silent,
            move |request| {
                let rt = Arc::clone(&rows);
                async move {
                    let wanted = ledger::Wanted {
                        order_id: request.query("order_id").map(str::to_owned),
                        since: request.query("since").map(str::to_owned),
                        limit: request.query("limit").and_then(|text| text.parse().ok()),
                    };
                    let rows = ledger::read(&rt, request.param("name"), wanted);
                    Ok(HttpReply::json(200, Value::Array(rows.await?)))
                }
            },
        )
        .route(
            Method::POST,
            "/admin/migrations",
            Class::Silent,
            move |request| {
                let rt = Arc::clone(&migrate);
                async move {
                    let asked: Migrate = parse(&request.body)?;
                    let done = crate::services::migrations::run(&rt, asked.phase).await?;
                    Ok(HttpReply::json(200, done))
                }
            },
        )
        .route(Method::POST, "/admin/go", Class::Silent, move |_| {
            let rt = Arc::clone(&go);
            async move {
                rt.admit();
                Ok(HttpReply::json(200, json!({ "held": false })))
            }
        })
        .route(Method::GET, "/debug/traces", Class::Silent, move |_| {
            let rt = Arc::clone(&roots);
            async move {
                Ok(HttpReply::json(
                    200,
                    Value::Array(rt.telemetry.recent_roots()),
                ))
            }
        })
        .route(Method::GET, "/debug/red", Class::Silent, move |_| {
            let rt = Arc::clone(&red);
            async move { Ok(HttpReply::json(200, rt.telemetry.metrics().red())) }
        })
        .route(
            Method::GET,
            "/debug/sagas/{which}",
            Class::Silent,
            move |request| {
                let rt = Arc::clone(&sagas);
                async move {
                    let limit = request.query("limit").and_then(|text| text.parse().ok());
                    let rows = crate::saga::debug::rows(&rt, request.param("which"), limit).await?;
                    Ok(HttpReply::json(200, Value::Array(rows)))
                }
            },
        )
}

/// A step of the schema's migration that is asked for.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Migrate {
    phase: crate::services::migrations::MigrationPhase,
}

/// The health routes, which the business port serves as well.
#[must_use]
pub fn health(rt: &Rt) -> Router {
    let mut router = Router::new();
    for (path, ready) in [
        ("/health/live", false),
        ("/health", false),
        ("/health/ready", true),
        ("/ready", true),
    ] {
        let rt = Arc::clone(rt);
        router = router.route(Method::GET, path, Class::Probed, move |_| {
            let rt = Arc::clone(&rt);
            async move { Ok(check(&rt, ready).await) }
        });
    }
    router
}

async fn check(rt: &Rt, ready: bool) -> HttpReply {
    if let Some(reply) = unhealth::instead(rt, ready).await {
        return reply;
    }
    let mut checks = vec![timed("worker", async { Ok(()) }).await];
    if rt.has_store() {
        let store = async {
            let _connection = unhealth::ping_connection(rt).await?;
            let store = rt.store().map_err(|error| error.message)?;
            store.check().await.map_err(|error| error.to_string())
        };
        checks.push(timed("store", store).await);
    }
    if ready {
        if flaps(rt) {
            checks.push(timed("worker", async { Err("not ready".to_owned()) }).await);
        }
        let draining = if rt.is_draining() {
            Err("draining".to_owned())
        } else {
            Ok(())
        };
        checks.push(timed("not_draining", async { draining }).await);
        for upstream in rt.spec.essential {
            let resolvable = async {
                crate::discovery::is_known(rt, upstream)
                    .await
                    .map_err(|error| error.message)
            };
            checks.push(timed(&format!("upstream {upstream}"), resolvable).await);
        }
        if rt.release.schema_level > 1 {
            let far_enough = async {
                let checked = crate::services::migrations::check(rt).await;
                checked.map_err(|error| error.message)
            };
            checks.push(timed("migrations", far_enough).await);
        }
        unhealth::add_checks(rt, &mut checks).await;
    }
    let good = checks.iter().all(|check| check["status"] == "pass");
    let status = if good { "pass" } else { "fail" };
    HttpReply::json(
        if good { 200 } else { 503 },
        json!({ "status": status, "checks": checks }),
    )
}

/// A `health_flap` fault turns readiness off for every second period.
pub(crate) fn flaps(rt: &Rt) -> bool {
    let Some(params) = rt.faults.find("health_flap") else {
        return false;
    };
    let period = params["period_ms"].as_u64().unwrap_or(20_000).max(1);
    (rt.clock.now() / 1_000_000 / period) % 2 == 1
}

pub(super) async fn timed(name: &str, check: impl Future<Output = Result<(), String>>) -> Value {
    let started = Instant::now();
    let outcome = tokio::time::timeout(Duration::from_secs(5), check).await;
    let error = match outcome {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error),
        Err(_) => Some("no answer within 5 s".to_owned()),
    };
    json!({
        "name": name,
        "status": if error.is_none() { "pass" } else { "fail" },
        "duration_ms": started.elapsed().as_secs_f64() * 1_000.0,
        "error": error,
    })
}

fn metrics_page(rt: &Rt) -> HttpReply {
    rt.telemetry.settle_metrics();
    HttpReply::text(
        200,
        prometheus::CONTENT_TYPE,
        prometheus::page(rt.telemetry.metrics()),
    )
}

fn start_fault(rt: &Rt, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    let fault: FaultRequest = parse(&request.body)?;
    let (kind, params) = fault.resolve().map_err(ApiError::invalid)?;
    if kind.reach == Reach::Process || fault.from_start || fault.after_s.is_some() {
        return Err(ApiError::invalid(format!(
            "{} is to be done by the supervisor: ask it",
            kind.name
        )));
    }
    let own = fault.target.service == rt.spec.name
        && fault.target.instance.is_none_or(|n| n == rt.ports.instance);
    if !own {
        return Err(ApiError::invalid(
            "the target is another instance than this one",
        ));
    }
    let ttl = fault
        .ttl()
        .map_err(ApiError::invalid)?
        .unwrap_or_else(|| rt.clock.scaled(DEFAULT_TTL));
    let id = fault.fault_id.unwrap_or_else(|| crate::ids::ulid("flt_"));
    rt.faults.start(id.clone(), kind.name, params.clone(), ttl);
    effects::begin(rt, kind, &params);
    Ok(HttpReply::json(201, json!({ "fault_id": id })))
}

/// Carries out the faults that act on the process as a whole, and ends those whose time is over.
pub async fn carry_out_faults(rt: Rt) {
    let mut changes = rt.faults.changes();
    loop {
        let next = rt.faults.sweep();
        if rt.faults.is_on("crash") {
            std::process::abort();
        }
        effects::settle(&rt).await;
        let sleep = next.map_or(Duration::from_secs(3_600), |at| {
            at.saturating_duration_since(Instant::now())
        });
        tokio::select! {
            () = tokio::time::sleep(sleep) => {}
            changed = changes.changed() => if changed.is_err() { return },
        }
    }
}
