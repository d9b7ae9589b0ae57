//! Owns this instance's own entry in the registry: registering once ready, heartbeats, and the farewell.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::{own_address, port_text};
use crate::context::in_span;
use crate::propagation::{self, Baggage};
use crate::resilience::timeouts;
use crate::runtime::Rt;
use crate::telemetry::{Attributes, Kind};

pub const HEARTBEAT: Duration = Duration::from_secs(15);
const BACKOFF_CAP: Duration = Duration::from_secs(30);

/// Registers and has heartbeats sent until the process stops; registers anew whenever the registry has lost the instance
/// or a fault changes what is to be registered.
pub async fn keep_registered(rt: Rt) {
    let mut stopping = rt.stopping();
    let mut changes = rt.faults.changes();
    let lost = Arc::new(Notify::new());
    let mut registered = tokio::select! {
        registered = register(&rt) => registered,
        _ = stopping.changed() => return,
    };
    let mut beating: Option<AbortOnDrop> = None;
    loop {
        // A heartbeat task that has ended stays ended; a fault that is lifted starts another one.
        if rt.faults.is_on("heartbeat_stop") {
            beating = None;
        } else if beating.is_none() {
            let task = tokio::spawn(beat(Arc::clone(&rt), Arc::clone(&lost)));
            beating = Some(AbortOnDrop(task));
        }
        tokio::select! {
            () = lost.notified() => registered = register(&rt).await,
            _ = changes.changed() => {
                let wanted = record(&rt);
                if wanted != registered {
                    if wanted["id"] != registered["id"] {
                        farewell(&rt, registered["id"].as_str().unwrap_or_default()).await;
                    }
                    registered = register(&rt).await;
                }
            }
            _ = stopping.changed() => return,
        }
    }
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends heartbeats; tells when the registry does not know the instance any more.
async fn beat(rt: Rt, lost: Arc<Notify>) {
    let task = rt.tasks.begin("heartbeat");
    loop {
        tokio::time::sleep(rt.clock.scaled(interval(&rt))).await;
        // The record is read under the lock that a refresh of its metadata takes.
        let _metadata = rt.metadata_lock.lock().await;
        if rt.faults.is_on("hang") {
            continue;
        }
        if let Some(delay) = rt.faults.find("heartbeat_delay") {
            let delay = delay["delay_ms"].as_u64().unwrap_or_default();
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        if !heartbeat(&rt).await {
            lost.notify_one();
        }
        task.tick();
    }
}

/// A misconfigured heartbeat comes just when the registry's patience is over.
fn interval(rt: &Rt) -> Duration {
    if rt.faults.is_on("heartbeat_misconfigured") {
        HEARTBEAT * 3 + Duration::from_secs(3)
    } else {
        HEARTBEAT
    }
}

/// The record as it is to be registered now, faults included.
fn record(rt: &Rt) -> Value {
    let identity = rt.telemetry.identity();
    let mut metadata = json!({
        "version": identity.version,
        "track": identity.track,
        "protocols": rt.spec.protocols(),
        "http_port": port_text(rt.ports.http),
        "grpc_port": port_text(rt.ports.grpc),
        "metrics_port": rt.ports.admin.to_string(),
        "region": "local",
        "weight": "100",
        "pid": std::process::id().to_string(),
        "instance": rt.ports.instance.to_string(),
        "started_at": started_at(rt),
    });
    for (label, value) in rt.spec.labels {
        metadata[*label] = (*value).into();
    }
    if rt.faults.is_on("missing_metadata")
        && let Some(metadata) = metadata.as_object_mut()
    {
        metadata.remove("version");
        metadata.remove("track");
    }
    let address = match rt.faults.find("wrong_address") {
        Some(params) => format!(
            "{}:{}",
            params["host"].as_str().unwrap_or("127.0.0.1"),
            // Port 1 is reserved, so nobody listens there.
            params["port"].as_u64().unwrap_or(1)
        ),
        None => own_address(rt.spec, &rt.ports),
    };
    let name = match rt.faults.find("wrong_name") {
        Some(params) => params["name"]
            .as_str()
            .map_or_else(|| capitalised(rt.spec.name), str::to_owned),
        None => rt.spec.name.to_owned(),
    };
    let health_path = if rt.faults.is_on("bad_health_path") {
        "/healthz-gone"
    } else {
        "/health/ready"
    };
    json!({ "id": own_id(rt), "name": name, "address": address, "health_path": health_path, "metadata": metadata })
}

fn started_at(rt: &Rt) -> String {
    use std::sync::OnceLock;
    static STARTED: OnceLock<String> = OnceLock::new();
    STARTED.get_or_init(|| rt.clock.now_text()).clone()
}

fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

/// Tries until it succeeds or the process stops.
async fn register(rt: &Rt) -> Value {
    let mut stopping = rt.stopping();
    let mut backoff = Duration::from_secs(1);
    loop {
        let record = record(rt);
        match post(rt, "POST", "/register", &record).await {
            Ok((201, body)) => {
                let warnings = body["warnings"].as_array().map_or(0, Vec::len);
                rt.telemetry.info(
                    "registry.registered",
                    "registered with the registry",
                    Attributes::new()
                        .with("seq", body["seq"].as_u64().unwrap_or(0))
                        .with("warnings", warnings),
                );
                return record;
            }
            Ok((status, _)) => warn(
                rt,
                "registration refused by the registry",
                &status.to_string(),
            ),
            Err(error) => warn(rt, "registration did not reach the registry", &error),
        }
        tokio::select! {
            () = tokio::time::sleep(rt.clock.scaled(backoff)) => {}
            _ = stopping.changed() => return record,
        }
        backoff = (backoff * 2).min(BACKOFF_CAP);
    }
}

/// Whether the registry still knows the instance.
async fn heartbeat(rt: &Rt) -> bool {
    let body = json!({
        "id": own_id(rt),
        "name": rt.spec.name,
        "timestamp": rt.clock.now_text(),
        "status": status(rt),
        "load": { "in_flight": rt.in_flight() },
    });
    match post(rt, "POST", "/heartbeat", &body).await {
        Ok((404, _)) => false,
        Ok((200, _)) => true,
        Ok((status, _)) => {
            warn(rt, "heartbeat refused by the registry", &status.to_string());
            true
        }
        Err(error) => {
            warn(rt, "heartbeat did not reach the registry", &error);
            true
        }
    }
}

fn status(rt: &Rt) -> &'static str {
    if rt.is_draining() {
        "draining"
    } else if crate::server::admin::flaps(rt) {
        "unhealthy"
    } else {
        "healthy"
    }
}

pub async fn deregister(rt: &Rt) {
    if rt.faults.is_on("no_deregister") {
        return;
    }
    farewell(rt, &own_id(rt)).await;
}

/// The id under which it registers: its own, or the one that a fault has it share with another instance.
fn own_id(rt: &Rt) -> String {
    let copied = rt
        .faults
        .find("duplicate_id")
        .and_then(|params| params["copy_from"].as_str().map(str::to_owned));
    copied.unwrap_or_else(|| rt.instance_id().to_owned())
}

async fn farewell(rt: &Rt, id: &str) {
    let body = json!({ "id": id, "name": rt.spec.name });
    match post(rt, "DELETE", "/deregister", &body).await {
        Ok((200, _)) => {
            rt.telemetry.info(
                "registry.deregistered",
                "deregistered from the registry",
                Attributes::new(),
            );
        }
        Ok((status, _)) => warn(
            rt,
            "deregistration refused by the registry",
            &status.to_string(),
        ),
        Err(error) => warn(rt, "deregistration did not reach the registry", &error),
    }
}

fn warn(rt: &Rt, message: &'static str, details: &str) {
    rt.telemetry.warn(
        "registry.heartbeat_failed",
        message,
        Attributes::new().with("error.details", details),
    );
}

/// One traced call to the registry.
async fn post(
    rt: &Rt,
    method: &'static str,
    path: &'static str,
    body: &Value,
) -> Result<(u16, Value), String> {
    let url = format!("{}{path}", rt.discovery.registry_url());
    let span = rt.telemetry.root(format!("{method} {path}"), Kind::Client);
    span.set("http.request.method", method);
    span.set("url.template", path);
    span.set("url.full", &url);
    let mut headers = http::HeaderMap::new();
    propagation::inject(&mut headers, span.context(), &Baggage::default());
    let call = async {
        if crate::faults::is_cut_off(rt, crate::catalog::REGISTRY) {
            tokio::time::sleep(timeouts::REGISTRY).await;
            return Err("timed out".to_owned());
        }
        let method =
            http::Method::from_bytes(method.as_bytes()).map_err(|error| error.to_string())?;
        let request = rt
            .connections
            .http
            .request(method, &url)
            .headers(headers)
            .json(body)
            .timeout(timeouts::REGISTRY);
        let response = request.send().await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        Ok((status, response.json().await.unwrap_or(Value::Null)))
    };
    let outcome: Result<(u16, Value), String> = in_span(&span, async {
        let outcome: Result<(u16, Value), String> = call.await;
        match &outcome {
            Ok((status, _)) => {
                span.set("http.response.status_code", *status);
                if *status >= 400 {
                    span.fail(&status.to_string(), "");
                }
            }
            Err(error) => span.fail("CONNECTION_FAILED", error),
        }
        outcome
    })
    .await;
    outcome
}
