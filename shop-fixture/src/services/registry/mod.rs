//! Owns the registry service: its HTTP interface, the sweep, and the event log on disk.

mod access;
mod probe;
mod replicate;
mod routes;
pub mod table;

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tonic::Code;

use super::Served;
use crate::clock::rfc3339;
use crate::error::{ApiError, ShopError};
use crate::runtime::Rt;
use crate::server::http::{Class, HttpReply, HttpRequest, Router};
use crate::server::{admin, parse};
use replicate::{Change, Outlet};
use table::{Disorder, Event, Instance, Registration, State, Table, Timing};

const LONG_POLL: Duration = Duration::from_secs(30);

struct Registry {
    rt: Rt,
    table: Mutex<Table>,
    log: Mutex<std::fs::File>,
    seq: watch::Sender<u64>,
    others: Outlet,
    splits: routes::Splits,
}

pub fn start(rt: &Rt) -> Result<Served, ShopError> {
    // The first node's log keeps the name that it has where there is one node alone.
    let file = match rt.ports.instance {
        0 => "registry-events.jsonl".to_owned(),
        node => format!("registry-{node}-events.jsonl"),
    };
    let path = rt.config.run_dir.join("db").join(file);
    let mut table = Table::new(Timing::scaled(rt.config.time_scale));
    if let Ok(text) = std::fs::read_to_string(&path) {
        // A line cut off by a kill is the last one at most; it was never told to anybody.
        let earlier: Vec<Event> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        if !earlier.is_empty() {
            table.resume(rt.clock.now(), earlier);
        }
    }
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(|source| ShopError::file("open", &path, source))?;
    let seq = watch::Sender::new(table.seq());
    let (others, inlet) = Outlet::new(rt);
    let registry = Arc::new(Registry {
        others,
        splits: routes::Splits::open(rt),
        rt: Arc::clone(rt),
        table: Mutex::new(table),
        log: Mutex::new(log),
        seq,
    });
    let probing = probe::timing(&registry);
    registry.change(|table, _| table.set_probe(probing));
    let mut background = vec![
        super::background(sweep(Arc::clone(&registry))),
        super::background(probe::watch(Arc::clone(&registry))),
    ];
    if let Some(inlet) = inlet {
        background.push(super::background(replicate::run(
            Arc::clone(&registry),
            inlet,
        )));
    }
    Ok(Served {
        grpc: None,
        http: Some(router(&registry).merge(admin::health(rt))),
        background,
    })
}

async fn sweep(registry: Arc<Registry>) {
    let mut stopping = registry.rt.stopping();
    let interval = registry.rt.clock.scaled(Duration::from_secs(5));
    let task = registry.rt.tasks.begin("registry_sweep");
    loop {
        tokio::select! {
            () = tokio::time::sleep(interval) => {
                let disorder = disorder(&registry);
                registry.change(|table, now| {
                    table.set_disorder(disorder);
                    table.sweep(now);
                });
                task.tick();
            }
            _ = stopping.changed() => return,
        }
    }
}

/// What faults do to the table, now.
fn disorder(registry: &Registry) -> Disorder {
    let rt = &registry.rt;
    Disorder {
        keep_dead: rt.faults.find("keep_dead").map(|params| {
            params["for_s"]
                .as_f64()
                .map(|seconds| rt.clock.scaled_secs(seconds.min(86_400.0)).as_nanos() as u64)
        }),
        corrupt: rt
            .faults
            .find("corrupt_rows")
            .and_then(|params| params["service"].as_str().map(str::to_owned)),
    }
}

impl Registry {
    /// Changes the table, writes the new events to disk, then wakes whoever waits for them.
    fn change<R>(&self, change: impl FnOnce(&mut Table, u64) -> R) -> R {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut table, self.rt.clock.now());
        let events = table.take_unwritten();
        let seq = table.seq();
        self.expose(&table);
        drop(table);
        if !events.is_empty() {
            let mut lines = String::new();
            for event in &events {
                lines.push_str(&json!(event).to_string());
                lines.push('\n');
            }
            // The table in memory is what counts; a full disk costs the log, not the registry.
            let _ = self
                .log
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .write_all(lines.as_bytes());
            self.seq.send_replace(seq);
        }
        result
    }

    fn read<R>(&self, read: impl FnOnce(&Table, u64) -> R) -> R {
        read(
            &self.table.lock().unwrap_or_else(PoisonError::into_inner),
            self.rt.clock.now(),
        )
    }

    fn expose(&self, table: &Table) {
        let metrics = self.rt.telemetry.metrics();
        metrics.clear("shop_registry_instances");
        metrics.clear("shop_registry_heartbeat_age_seconds");
        let now = self.rt.clock.now();
        for instance in table.all() {
            let labels = [
                ("name", instance.name.as_str()),
                ("status", instance.state.as_str()),
            ];
            metrics.add("shop_registry_instances", &labels, 1.0);
            let age = now.saturating_sub(instance.last_seen) as f64 / 1e9;
            metrics.set(
                "shop_registry_heartbeat_age_seconds",
                &[("id", instance.id.as_str())],
                age,
            );
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Heartbeat {
    id: String,
    #[serde(default, rename = "name")]
    _name: Option<String>,
    #[serde(default, rename = "timestamp")]
    _timestamp: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default, rename = "load")]
    _load: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Farewell {
    id: String,
    #[serde(default, rename = "name")]
    _name: Option<String>,
}

fn router(registry: &Arc<Registry>) -> Router {
    let on = |registry: &Arc<Registry>| Arc::clone(registry);
    let (a, b, c, d, e) = (
        on(registry),
        on(registry),
        on(registry),
        on(registry),
        on(registry),
    );
    let (f, g, h, i, j) = (
        on(registry),
        on(registry),
        on(registry),
        on(registry),
        on(registry),
    );
    let (k, l, m, n) = (on(registry), on(registry), on(registry), on(registry));
    Router::new()
        .route(Method::POST, "/register", Class::Traced, move |request| {
            let registry = Arc::clone(&a);
            async move { register(&registry, &request) }
        })
        .route(Method::POST, "/heartbeat", Class::Traced, move |request| {
            let registry = Arc::clone(&b);
            async move {
                access::admit(&registry.rt, &request)?;
                let beat: Heartbeat = parse(&request.body)?;
                heartbeat(&registry, &beat.id, beat.status.as_deref())
            }
        })
        .route(
            Method::PUT,
            "/heartbeat/{id}",
            Class::Traced,
            move |request| {
                let registry = Arc::clone(&c);
                async move {
                    access::admit(&registry.rt, &request)?;
                    heartbeat(&registry, request.param("id"), None)
                }
            },
        )
        .route(
            Method::DELETE,
            "/deregister",
            Class::Traced,
            move |request| {
                let registry = Arc::clone(&d);
                async move {
                    access::admit(&registry.rt, &request)?;
                    let farewell: Farewell = parse(&request.body)?;
                    deregister(&registry, &farewell.id)
                }
            },
        )
        .route(Method::GET, "/services", Class::Traced, move |request| {
            let registry = Arc::clone(&e);
            async move { Ok(HttpReply::json(200, list(&registry, None, &request))) }
        })
        .route(
            Method::GET,
            "/services/{name}",
            Class::Traced,
            move |request| {
                let registry = Arc::clone(&f);
                async move {
                    Ok(HttpReply::json(
                        200,
                        list(&registry, Some(request.param("name")), &request),
                    ))
                }
            },
        )
        .route(
            Method::DELETE,
            "/services/{id}",
            Class::Traced,
            move |request| {
                let registry = Arc::clone(&g);
                async move {
                    access::admit(&registry.rt, &request)?;
                    deregister(&registry, request.param("id"))
                }
            },
        )
        .route(
            Method::GET,
            "/registry/snapshot",
            Class::Silent,
            move |_| {
                let registry = Arc::clone(&h);
                async move { Ok(HttpReply::json(200, snapshot(&registry))) }
            },
        )
        .route(
            Method::GET,
            "/registry/events",
            Class::Silent,
            move |request| {
                let registry = Arc::clone(&i);
                async move { events(&registry, &request).await }
            },
        )
        .route(
            Method::POST,
            "/registry/replicate",
            Class::Traced,
            move |request| {
                let registry = Arc::clone(&k);
                async move { replicate::receive(&registry, &request) }
            },
        )
        .route(
            Method::GET,
            "/registry/routes",
            Class::Silent,
            move |request| {
                let registry = Arc::clone(&l);
                async move { routes::all(&registry, &request).await }
            },
        )
        .route(
            Method::GET,
            "/registry/routes/{service}",
            Class::Silent,
            move |request| {
                let registry = Arc::clone(&m);
                async move { Ok(routes::get(&registry, &request)) }
            },
        )
        .route(
            Method::PUT,
            "/registry/routes/{service}",
            Class::Traced,
            move |request| {
                let registry = Arc::clone(&n);
                async move { routes::put(&registry, &request) }
            },
        )
        // Last, because it takes any single word that is not taken above.
        .route(Method::GET, "/{name}", Class::Traced, move |request| {
            let registry = Arc::clone(&j);
            async move {
                Ok(HttpReply::json(
                    200,
                    list(&registry, Some(request.param("name")), &request),
                ))
            }
        })
}

fn register(registry: &Registry, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    access::admit(&registry.rt, request)?;
    let refuse = |error: ApiError| access::refused(&registry.rt, request, error);
    let registration: Registration = parse(&request.body).map_err(refuse)?;
    let record = registration.clone();
    let disorder = disorder(registry);
    let (instance, warnings) = registry
        .change(|table, now| {
            table.set_disorder(disorder);
            table.register(now, registration)
        })
        .map_err(|why| {
            refuse(if why.starts_with("id is") {
                ApiError::new(Code::AlreadyExists, "INSTANCE_EXISTS", why)
            } else {
                ApiError::invalid(why)
            })
        })?;
    registry.others.tell(Change::Register { record });
    let mut record = instance.to_json(registry.rt.clock.now());
    if !warnings.is_empty() {
        record["warnings"] = json!(warnings);
    }
    Ok(HttpReply::json(201, record))
}

fn heartbeat(registry: &Registry, id: &str, status: Option<&str>) -> Result<HttpReply, ApiError> {
    let claimed = match status {
        None => None,
        Some(text) => Some(State::claimed(text).ok_or_else(|| {
            ApiError::invalid("status must be starting, healthy, degraded, unhealthy or draining")
        })?),
    };
    if registry.change(|table, now| table.heartbeat(now, id, claimed)) {
        registry.others.tell(Change::Heartbeat {
            id: id.to_owned(),
            status: status.map(str::to_owned),
        });
        Ok(HttpReply::json(
            200,
            json!({ "id": id, "seen": rfc3339(registry.rt.clock.now()) }),
        ))
    } else {
        Err(unknown())
    }
}

fn deregister(registry: &Registry, id: &str) -> Result<HttpReply, ApiError> {
    if registry.change(|table, now| table.deregister(now, id)) {
        registry
            .others
            .tell(Change::Deregister { id: id.to_owned() });
        Ok(HttpReply::json(
            200,
            json!({ "id": id, "deregistered": true }),
        ))
    } else {
        Err(unknown())
    }
}

fn unknown() -> ApiError {
    ApiError::new(
        Code::NotFound,
        "INSTANCE_UNKNOWN",
        "no instance of this id is registered",
    )
}

/// Records of one service or of all; `status=all`, `version=` and `track=` widen and narrow.
fn list(registry: &Registry, name: Option<&str>, request: &HttpRequest) -> Value {
    let wanted = |instance: &Instance| {
        ["version", "track", "env"].iter().all(|key| {
            request.query(key).is_none_or(|value| {
                instance
                    .metadata
                    .get(*key)
                    .is_some_and(|known| known == value)
            })
        })
    };
    let everything = request.query("status") == Some("all");
    registry.read(|table, now| {
        let lying =
            name.is_some_and(|name| registry.rt.faults.about("all_healthy", name).is_some());
        let records: Vec<&Instance> = match (name, everything || lying) {
            (Some(name), true) => table
                .all()
                .filter(|instance| instance.name == name)
                .collect(),
            (Some(name), false) => table.lookup(name),
            (None, true) => table.all().collect(),
            (None, false) => table
                .names()
                .iter()
                .flat_map(|name| table.lookup(name))
                .collect(),
        };
        records
            .into_iter()
            .filter(|instance| wanted(instance))
            .map(|instance| {
                let mut record = instance.to_json(now);
                if lying {
                    record["status"] = "healthy".into();
                    record["health"] = "healthy".into();
                }
                record
            })
            .collect()
    })
}

fn snapshot(registry: &Registry) -> Value {
    registry.read(|table, now| {
        json!({
            "as_of": rfc3339(now),
            "seq": table.seq(),
            "config": table.timing().to_json(),
            "instances": table.all().map(|instance| instance.to_json(now)).collect::<Vec<_>>(),
        })
    })
}

/// Events after `since`; waits for the first one when there is none yet and `wait` allows it.
async fn events(registry: &Registry, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    let since = match request.query("since") {
        None | Some("") => 0,
        Some(text) => text
            .parse::<u64>()
            .map_err(|_| ApiError::invalid("since must be an event number"))?,
    };
    let wait = match request.query("wait") {
        None => LONG_POLL,
        Some(text) => {
            let seconds = text
                .trim_end_matches('s')
                .parse::<f64>()
                .ok()
                .filter(|seconds| seconds.is_finite());
            let seconds =
                seconds.ok_or_else(|| ApiError::invalid("wait must be a number of seconds"))?;
            Duration::from_secs_f64(seconds.clamp(0.0, LONG_POLL.as_secs_f64()))
        }
    };
    let mut seq = registry.seq.subscribe();
    let mut stopping = registry.rt.stopping();
    let deadline = tokio::time::Instant::now() + wait;
    loop {
        let found = registry.read(|table, _| table.events_since(since));
        // Someone who has seen more than there is follows a registry that lost its log: tell at once.
        let ahead = registry.read(|table, _| since > table.seq());
        if !found.is_empty() || ahead {
            return Ok(HttpReply::json(200, json!(found)));
        }
        tokio::select! {
            _ = seq.changed() => {}
            _ = stopping.changed() => return Ok(HttpReply::json(200, json!([]))),
            () = tokio::time::sleep_until(deadline) => return Ok(HttpReply::json(200, json!([]))),
        }
    }
}
