//! Owns the debug pages: what instances and the registry say, gathered. No page opens a store; each asks its owner.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tokio::net::TcpStream;
use tonic::Code;

use super::process::Managed;
use super::{Supervisor, check};
use crate::catalog::{
    ACCOUNTING, BUS, CART, CATALOG, CHECKOUT, ETL, FLAGS, FRAUD, INVENTORY, NOTIFICATION, ORDERS,
    PAYMENT, REVIEWS, SEARCH, SHIPPING, USERS,
};
use crate::error::ApiError;
use crate::server::http::{HttpReply, HttpRequest};
use crate::telemetry::metrics::quantile_bound;

type Answer = Result<HttpReply, ApiError>;

const PROBE: Duration = Duration::from_secs(5);

/// Each ledger and the services that keep one of that name.
const LEDGERS: &[(&str, &[&str])] = &[
    ("orders", &[ORDERS]),
    ("order_history", &[ORDERS]),
    ("payments", &[PAYMENT]),
    ("stock", &[INVENTORY]),
    ("reservations", &[INVENTORY]),
    ("shipments", &[SHIPPING]),
    ("notifications", &[NOTIFICATION]),
    ("accounting", &[ACCOUNTING]),
    ("revenue", &[ETL]),
    ("jobs", &[ETL]),
    ("scores", &[FRAUD]),
    ("reviews", &[REVIEWS]),
    ("review_requests", &[REVIEWS]),
    ("flags", &[FLAGS]),
    (
        "outbox",
        &[CATALOG, FRAUD, INVENTORY, ORDERS, PAYMENT, SHIPPING],
    ),
    (
        "inbox",
        &[
            ACCOUNTING,
            CART,
            ETL,
            FRAUD,
            INVENTORY,
            NOTIFICATION,
            PAYMENT,
            REVIEWS,
            SEARCH,
            SHIPPING,
        ],
    ),
    (
        "idempotency",
        &[
            CATALOG,
            CHECKOUT,
            INVENTORY,
            NOTIFICATION,
            ORDERS,
            PAYMENT,
            REVIEWS,
            SHIPPING,
            USERS,
        ],
    ),
    ("dlq", &[BUS]),
];

/// Services that run sagas.
const ORCHESTRATORS: &[&str] = &[ORDERS, CHECKOUT];

async fn get(supervisor: &Supervisor, url: &str) -> Result<Value, String> {
    let answer = supervisor
        .client
        .get(url)
        .timeout(PROBE)
        .send()
        .await
        .map_err(|error| plain(&error))?;
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.map_err(|error| plain(&error))?;
    if status == 200 {
        Ok(body)
    } else {
        Err(format!("answered {status}: {}", body["error"]["message"]))
    }
}

fn plain(error: &reqwest::Error) -> String {
    if error.is_connect() {
        "connection refused".to_owned()
    } else if error.is_timeout() {
        "timed out".to_owned()
    } else {
        error.to_string()
    }
}

fn alive(supervisor: &Supervisor, service: &str) -> Vec<Arc<Managed>> {
    supervisor
        .instances()
        .into_iter()
        .filter(|managed| managed.service() == service && managed.pid().is_some())
        .collect()
}

/// Asks the first living instance of a service that answers.
async fn ask_service(
    supervisor: &Supervisor,
    service: &str,
    path: &str,
) -> Result<Value, ApiError> {
    let mut why = "no instance runs".to_owned();
    for managed in alive(supervisor, service) {
        let Some(ports) = managed.ports() else {
            continue;
        };
        match get(
            supervisor,
            &format!("http://127.0.0.1:{}{path}", ports.admin),
        )
        .await
        {
            Ok(body) => return Ok(body),
            Err(error) => why = error,
        }
    }
    Err(ApiError::new(
        Code::Unavailable,
        "OWNER_UNREACHABLE",
        format!("{service} did not answer: {why}"),
    ))
}

async fn snapshot(supervisor: &Supervisor) -> Result<Value, ApiError> {
    let url = supervisor.ports().registry.unwrap_or_default();
    get(supervisor, &format!("{url}/registry/snapshot"))
        .await
        .map_err(|why| {
            ApiError::new(
                Code::Unavailable,
                "REGISTRY_UNREACHABLE",
                format!("the registry: {why}"),
            )
        })
}

/// The registry's snapshot, each instance joined with its process.
pub(super) async fn registry_services(
    supervisor: Arc<Supervisor>,
    _request: HttpRequest,
) -> Answer {
    let mut snapshot = snapshot(&supervisor).await?;
    let processes = supervisor.instances();
    let mut unlisted: Vec<&Arc<Managed>> = processes.iter().collect();
    for instance in snapshot["instances"].as_array_mut().into_iter().flatten() {
        let found = processes.iter().find(|managed| {
            managed
                .ports()
                .is_some_and(|ports| instance["id"] == ports.id)
        });
        if let Some(managed) = found {
            unlisted.retain(|other| !Arc::ptr_eq(other, managed));
        }
        instance["process"] = found.map_or(Value::Null, |managed| process_json(managed));
    }
    snapshot["not_registered"] = unlisted
        .into_iter()
        .map(|managed| process_json(managed))
        .collect();
    Ok(HttpReply::json(200, snapshot))
}

fn process_json(managed: &Managed) -> Value {
    let mut process = managed.to_json();
    let real = managed.ports().map(|ports| {
        format!(
            "127.0.0.1:{}",
            ports.grpc.or(ports.http).unwrap_or(ports.admin)
        )
    });
    process["real_address"] = json!(real);
    process
}

/// Per instance: what the registry says, whether its address answers, and which callers still hold it in their cache.
pub(super) async fn registry_health(supervisor: Arc<Supervisor>, _request: HttpRequest) -> Answer {
    let snapshot = snapshot(&supervisor).await?;
    let caches = caches(&supervisor).await;
    let mut seen: Vec<String> = Vec::new();
    let mut rows = Vec::new();
    for instance in snapshot["instances"].as_array().into_iter().flatten() {
        let text = |field: &str| instance[field].as_str().unwrap_or_default().to_owned();
        seen.push(text("id"));
        let mut row = probe(&text("address")).await;
        row["id"] = text("id").into();
        row["name"] = text("name").into();
        row["address"] = text("address").into();
        row["status"] = text("status").into();
        row["last_seen"] = instance["last_seen"].clone();
        row["age_ms"] = instance["age_ms"].clone();
        row["cached_by"] = cached_by(&caches, &text("id"));
        rows.push(row);
    }
    // What only caches still know is exactly what makes calls go astray.
    for cache in &caches {
        for listed in &cache.listed {
            if !seen.contains(&listed.id) {
                seen.push(listed.id.clone());
                let mut row = probe(&listed.address).await;
                row["id"] = listed.id.as_str().into();
                row["name"] = listed.name.as_str().into();
                row["address"] = listed.address.as_str().into();
                row["status"] = "unregistered".into();
                row["cached_by"] = cached_by(&caches, &listed.id);
                rows.push(row);
            }
        }
    }
    Ok(HttpReply::json(
        200,
        json!({ "as_of": snapshot["as_of"], "instances": rows }),
    ))
}

struct Cache {
    caller: String,
    listed: Vec<CacheLine>,
}

struct CacheLine {
    id: String,
    name: String,
    address: String,
    age_ms: u64,
}

async fn caches(supervisor: &Supervisor) -> Vec<Cache> {
    let mut caches = Vec::new();
    for managed in supervisor.instances() {
        let (Some(ports), Some(_)) = (managed.ports(), managed.pid()) else {
            continue;
        };
        let Ok(entries) = get(
            supervisor,
            &format!("http://127.0.0.1:{}/debug/discovery", ports.admin),
        )
        .await
        else {
            continue;
        };
        let mut listed = Vec::new();
        for entry in entries.as_array().into_iter().flatten() {
            for instance in entry["instances"].as_array().into_iter().flatten() {
                listed.push(CacheLine {
                    id: instance["id"].as_str().unwrap_or_default().to_owned(),
                    name: entry["name"].as_str().unwrap_or_default().to_owned(),
                    address: instance["address"].as_str().unwrap_or_default().to_owned(),
                    age_ms: entry["age_ms"].as_u64().unwrap_or_default(),
                });
            }
        }
        caches.push(Cache {
            caller: managed.label(),
            listed,
        });
    }
    caches
}

fn cached_by(caches: &[Cache], id: &str) -> Value {
    caches
        .iter()
        .filter_map(|cache| {
            let line = cache.listed.iter().find(|line| line.id == id)?;
            Some(json!({ "caller": cache.caller, "age_ms": line.age_ms }))
        })
        .collect()
}

async fn probe(address: &str) -> Value {
    let started = Instant::now();
    let outcome = tokio::time::timeout(PROBE, TcpStream::connect(address)).await;
    let error = match outcome {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("timed out".to_owned()),
    };
    json!({
        "reachable": error.is_none(),
        "response_time_ms": started.elapsed().as_secs_f64() * 1_000.0,
        "error": error,
    })
}

pub(super) async fn sagas(supervisor: Arc<Supervisor>, request: HttpRequest) -> Answer {
    let path = format!("/debug/sagas/{}", request.param("which"));
    if !matches!(request.param("which"), "active" | "failed" | "all") {
        return Err(ApiError::not_found(
            "NOT_FOUND",
            "sagas are listed as active, failed or all",
        ));
    }
    let mut rows = Vec::new();
    for service in ORCHESTRATORS {
        for mut row in ask_service(&supervisor, service, &path)
            .await?
            .as_array()
            .cloned()
            .unwrap_or_default()
        {
            row["orchestrator"] = (*service).into();
            rows.push(row);
        }
    }
    Ok(HttpReply::json(200, rows.into()))
}

pub(super) async fn ledger_names(_supervisor: Arc<Supervisor>, _request: HttpRequest) -> Answer {
    let names: Map<String, Value> = LEDGERS
        .iter()
        .map(|(name, owners)| ((*name).to_owned(), json!(owners)))
        .collect();
    Ok(HttpReply::json(200, json!({ "ledgers": names })))
}

pub(super) async fn ledger(supervisor: Arc<Supervisor>, request: HttpRequest) -> Answer {
    Ok(HttpReply::json(
        200,
        Value::Array(ledger_rows(&supervisor, request.param("name"), &request).await?),
    ))
}

async fn ledger_rows(
    supervisor: &Supervisor,
    name: &str,
    request: &HttpRequest,
) -> Result<Vec<Value>, ApiError> {
    let Some((_, owners)) = LEDGERS.iter().find(|(known, _)| *known == name) else {
        let known: Vec<&str> = LEDGERS.iter().map(|(name, _)| *name).collect();
        return Err(ApiError::not_found(
            "LEDGER_NOT_FOUND",
            format!("the ledgers are {}", known.join(", ")),
        ));
    };
    let mut query = Vec::new();
    for key in ["order_id", "since", "limit"] {
        if let Some(value) = request.query(key) {
            query.push(format!(
                "{key}={}",
                crate::propagation::baggage::percent_encode(value)
            ));
        }
    }
    let path = format!("/debug/ledgers/{name}?{}", query.join("&"));
    let mut rows = Vec::new();
    for owner in *owners {
        for mut row in ask_service(supervisor, owner, &path)
            .await?
            .as_array()
            .cloned()
            .unwrap_or_default()
        {
            row["service"] = (*owner).into();
            rows.push(row);
        }
    }
    Ok(rows)
}

pub(super) async fn breakers(supervisor: Arc<Supervisor>, _request: HttpRequest) -> Answer {
    let mut rows = Vec::new();
    for managed in supervisor.instances() {
        let (Some(ports), Some(_)) = (managed.ports(), managed.pid()) else {
            continue;
        };
        let url = format!("http://127.0.0.1:{}/debug/breakers", ports.admin);
        match get(&supervisor, &url).await {
            Ok(breakers) => rows.push(json!({ "caller": managed.label(), "breakers": breakers })),
            Err(error) => rows.push(json!({ "caller": managed.label(), "error": error })),
        }
    }
    Ok(HttpReply::json(200, rows.into()))
}

pub(super) async fn config(supervisor: Arc<Supervisor>, _request: HttpRequest) -> Answer {
    let mut config = json!(supervisor.config);
    if let Some(shown) = config.as_object_mut() {
        // With it anybody could register as anybody.
        shown.remove("registry_secret");
    }
    Ok(HttpReply::json(200, config))
}

pub(super) async fn processes(supervisor: Arc<Supervisor>, _request: HttpRequest) -> Answer {
    Ok(HttpReply::json(200, supervisor.processes().into()))
}

/// Events that wait to be published, everywhere.
pub(super) async fn outbox(supervisor: Arc<Supervisor>, request: HttpRequest) -> Answer {
    let rows = ledger_rows(&supervisor, "outbox", &request).await?;
    let waiting = rows
        .into_iter()
        .filter(|row| row["published_at"].is_null())
        .collect();
    Ok(HttpReply::json(200, Value::Array(waiting)))
}

pub(super) async fn dead_letters(supervisor: Arc<Supervisor>, request: HttpRequest) -> Answer {
    Ok(HttpReply::json(
        200,
        Value::Array(ledger_rows(&supervisor, "dlq", &request).await?),
    ))
}

/// The invariants across all ledgers, as they stand now. Rows are read one ledger after the other, so that what is in
/// motion may show as a violation that is none: ask when the shop is quiet.
pub(super) async fn check_ledgers(supervisor: Arc<Supervisor>, request: HttpRequest) -> Answer {
    let everything = request.with_query("limit", "1000000");
    let rows = async |name: &str| ledger_rows(&supervisor, name, &everything).await;
    let mut sagas = Vec::new();
    for service in ORCHESTRATORS {
        let answer = ask_service(&supervisor, service, "/debug/sagas/all?limit=1000000").await?;
        sagas.extend(answer.as_array().cloned().unwrap_or_default());
    }
    let ledgers = check::Ledgers {
        orders: rows("orders").await?,
        payments: rows("payments").await?,
        stock: rows("stock").await?,
        reservations: rows("reservations").await?,
        shipments: rows("shipments").await?,
        notifications: rows("notifications").await?,
        outbox: rows("outbox").await?,
        accounting: rows("accounting").await?,
        revenue: rows("revenue").await?,
        jobs: rows("jobs").await?,
        sagas,
    };
    let moment = check::Moment {
        now: crate::clock::Clock::new(1.0).now(),
        time_scale: supervisor.config.time_scale,
        outbox: supervisor.config.publish == crate::config::Publish::Outbox,
    };
    let violations = check::check(&ledgers, moment);
    Ok(HttpReply::json(
        200,
        json!({ "holds": violations.is_empty(), "orders": ledgers.orders.len(), "violations": violations }),
    ))
}

/// The newest root spans of all processes, newest first.
pub(super) async fn recent_traces(supervisor: Arc<Supervisor>, _request: HttpRequest) -> Answer {
    const SHOWN: usize = 200;
    let mut rows = Vec::new();
    for managed in supervisor.instances() {
        let (Some(ports), Some(_)) = (managed.ports(), managed.pid()) else {
            continue;
        };
        let url = format!("http://127.0.0.1:{}/debug/traces", ports.admin);
        if let Ok(Value::Array(roots)) = get(&supervisor, &url).await {
            rows.extend(roots);
        }
    }
    let start = |row: &Value| row["start"].as_str().unwrap_or_default().to_owned();
    rows.sort_by_key(|row| std::cmp::Reverse(start(row)));
    rows.truncate(SHOWN);
    Ok(HttpReply::json(200, rows.into()))
}

/// Requests, errors and duration of each service since its instances started.
pub(super) async fn service_metrics(supervisor: Arc<Supervisor>, _request: HttpRequest) -> Answer {
    let mut services: std::collections::BTreeMap<&'static str, (f64, f64, Vec<u64>, usize)> =
        std::collections::BTreeMap::new();
    for managed in supervisor.instances() {
        let (Some(ports), Some(_)) = (managed.ports(), managed.pid()) else {
            continue;
        };
        let url = format!("http://127.0.0.1:{}/debug/red", ports.admin);
        let Ok(red) = get(&supervisor, &url).await else {
            continue;
        };
        let (requests, errors, buckets, instances) = services.entry(managed.service()).or_default();
        *requests += red["requests"].as_f64().unwrap_or(0.0);
        *errors += red["errors"].as_f64().unwrap_or(0.0);
        *instances += 1;
        for (position, count) in red["buckets"].as_array().into_iter().flatten().enumerate() {
            if buckets.len() <= position {
                buckets.push(0);
            }
            buckets[position] += count.as_u64().unwrap_or(0);
        }
    }
    let rows: Vec<Value> = services
        .into_iter()
        .map(|(service, (requests, errors, buckets, instances))| {
            let below = |share| quantile_bound(&buckets, share).map(|bound| bound * 1_000.0);
            json!({
                "service": service,
                "instances": instances,
                "requests": requests,
                "errors": errors,
                "error_share": if requests > 0.0 { errors / requests } else { 0.0 },
                "p50_below_ms": below(0.5),
                "p95_below_ms": below(0.95),
                "p99_below_ms": below(0.99),
            })
        })
        .collect();
    Ok(HttpReply::json(200, rows.into()))
}
