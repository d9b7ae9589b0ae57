//! Owns this instance's own entry in the registry: registering once ready, heartbeats, and the farewell.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::nodes::{self, Node};
use super::{own_address, port_text, token};
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
    let mut admission = rt.admission();
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
            // The next heartbeat may be long in coming.
            Ok(()) = admission.changed() => registered = register(&rt).await,
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
        if rt.faults.is_on("hang") || rt.faults.is_on("skip_register") {
            continue;
        }
        if let Some(delay) = rt.faults.find("heartbeat_delay") {
            let delay = delay["delay_ms"].as_u64().unwrap_or_default();
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        if !heartbeat(&rt).await && !rt.faults.is_on("heartbeat_deaf") {
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
        "env": "prod",
        "weight": "100",
        "pid": std::process::id().to_string(),
        "instance": rt.ports.instance.to_string(),
        "started_at": started_at(rt),
    });
    for (label, value) in rt.spec.labels {
        metadata[*label] = (*value).into();
    }
    let mut name = match rt.faults.find("wrong_name") {
        Some(params) => params["name"]
            .as_str()
            .map_or_else(|| capitalised(rt.spec.name), str::to_owned),
        None => rt.spec.name.to_owned(),
    };
    let mut health_path = "/health/ready".to_owned();
    if let Some(metadata) = metadata.as_object_mut() {
        if let Some(params) = rt.faults.find("missing_metadata") {
            match params["key"].as_str() {
                Some(key) => drop(metadata.remove(key)),
                None => metadata.retain(|key, _| key != "version" && key != "track"),
            }
        }
        if rt.faults.is_on("version_in_name") {
            metadata.remove("version");
            name.push_str("-v1");
        }
        if let Some(params) = rt.faults.find("bad_health_path") {
            if let Some(path) = params["path"].as_str() {
                health_path = path.to_owned();
            }
            if let Some(port) = params["port"].as_u64() {
                metadata.insert("health_port".to_owned(), port.to_string().into());
            }
        }
    }
    let mut record = json!({
        "id": own_id(rt), "name": name, "address": address(rt), "health_path": health_path, "metadata": metadata,
    });
    if rt.is_held() {
        record["status"] = "starting".into();
    }
    if let (Some(params), Some(fields)) = (rt.faults.find("bad_record"), record.as_object_mut()) {
        fields.remove(params["field"].as_str().unwrap_or("address"));
    }
    record
}

fn address(rt: &Rt) -> String {
    let own = own_address(rt.spec, &rt.ports);
    let Some(params) = rt.faults.find("wrong_address") else {
        return own;
    };
    let host = params["host"].as_str().unwrap_or("127.0.0.1");
    match params["port"].as_str() {
        Some("none") => host.to_owned(),
        Some("own") => format!("{host}:{}", own.rsplit(':').next().unwrap_or("1")),
        Some(port) => format!("{host}:{port}"),
        None => format!("{host}:1"),
    }
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
        if rt.faults.is_on("skip_register") {
            return record;
        }
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
            Ok((status, body)) => warn(
                rt,
                "registration refused by the registry",
                &answer_text(status, &body),
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
        Ok((status, body)) => {
            let answer = answer_text(status, &body);
            warn(rt, "heartbeat refused by the registry", &answer);
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
    } else if rt.is_held() {
        "starting"
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
    if let Some(params) = rt.faults.find("fixed_id") {
        // As a container would see its port: the same one on every host.
        return match params["id"].as_str() {
            Some(id) => id.to_owned(),
            None => format!("{}-8080", rt.spec.name),
        };
    }
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

/// A refusal as the log tells it: the status, and the registry's reason if it gave one.
fn answer_text(status: u16, body: &Value) -> String {
    match body["error"]["code"].as_str() {
        Some(reason) => format!("{status} {reason}"),
        None => status.to_string(),
    }
}

fn warn(rt: &Rt, message: &'static str, details: &str) {
    rt.telemetry.warn(
        "registry.heartbeat_failed",
        message,
        Attributes::new().with("error.details", details),
    );
}

/// Tells the registry: one node, or another one when that does not answer.
async fn post(
    rt: &Rt,
    method: &'static str,
    path: &'static str,
    body: &Value,
) -> Result<(u16, Value), String> {
    let mut outcome = Err("no registry node is known".to_owned());
    for node in rt.discovery.nodes.for_telling(rt) {
        outcome = post_to(rt, &node, method, path, body).await;
        if matches!(outcome, Ok((status, _)) if status < 500) {
            break;
        }
    }
    outcome
}

/// What the instance shows the registry to prove who it is; nothing when a fault has it forget.
fn credentials(rt: &Rt) -> Option<String> {
    let fault = rt.faults.find("bad_token");
    let mode = fault.as_ref().and_then(|params| params["mode"].as_str());
    let now_s = rt.clock.now() / 1_000_000_000;
    let label = &rt.telemetry.identity().label;
    let secret = &rt.config.registry_secret;
    let token = match mode {
        Some("missing") => return None,
        Some("expired") => token::issue(secret, label, now_s.saturating_sub(token::VALIDITY_S)),
        Some(_) => token::issue("", label, now_s + token::VALIDITY_S),
        None => token::issue(secret, label, now_s + token::VALIDITY_S),
    };
    Some(format!("Bearer {token}"))
}

/// One traced call to a registry node.
async fn post_to(
    rt: &Rt,
    node: &Node,
    method: &'static str,
    path: &'static str,
    body: &Value,
) -> Result<(u16, Value), String> {
    let url = format!("{}{path}", node.url);
    let span = rt.telemetry.root(format!("{method} {path}"), Kind::Client);
    span.set("http.request.method", method);
    span.set("url.template", path);
    span.set("url.full", &url);
    let authority = node.url.rsplit("//").next();
    if let Some((host, port)) = authority.and_then(|authority| authority.rsplit_once(':')) {
        span.set("server.address", host);
        if let Ok(port) = port.parse::<u16>() {
            span.set("server.port", port);
        }
    }
    let mut headers = http::HeaderMap::new();
    propagation::inject(&mut headers, span.context(), &Baggage::default());
    if let Some(shown) = credentials(rt)
        && let Ok(shown) = http::HeaderValue::from_str(&shown)
    {
        headers.insert(http::header::AUTHORIZATION, shown);
    }
    let call = async {
        if nodes::is_cut_off(rt, node) {
            tokio::time::sleep(timeouts::REGISTRY).await;
            return Err(("timeout", "timed out".to_owned()));
        }
        let method = http::Method::from_bytes(method.as_bytes())
            .map_err(|error| ("invalid_request", error.to_string()))?;
        let request = rt
            .connections
            .http
            .request(method, &url)
            .headers(headers)
            .json(body)
            .timeout(timeouts::REGISTRY);
        let response = request
            .send()
            .await
            .map_err(|error| (crate::call::transport_kind(&error), error.to_string()))?;
        let status = response.status().as_u16();
        Ok((status, response.json().await.unwrap_or(Value::Null)))
    };
    let outcome = in_span(&span, async {
        let outcome: Result<(u16, Value), (&'static str, String)> = call.await;
        match &outcome {
            Ok((status, _)) => {
                span.set("http.response.status_code", *status);
                if *status >= 400 {
                    span.fail(&status.to_string(), "");
                }
            }
            Err((kind, error)) => span.fail(kind, error),
        }
        outcome
    })
    .await;
    outcome.map_err(|(_, error)| error)
}
