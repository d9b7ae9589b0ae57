//! Owns keeping several registry nodes alike: what a node is told it passes on to the others, and a node that starts
//! copies from one that runs. A change that gets lost is made good by the instance's next heartbeat.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::Registry;
use super::routes::{self, Setting};
use super::table::{Registration, State};
use crate::config::PortsFile;
use crate::context::in_span;
use crate::error::ApiError;
use crate::propagation::{self, Baggage};
use crate::runtime::Rt;
use crate::server::http::{HttpReply, HttpRequest};
use crate::server::parse;
use crate::telemetry::{Attributes, Kind};

/// Changes that may wait for the other nodes.
const QUEUE: usize = 1_024;
const TIMEOUT: Duration = Duration::from_secs(1);

/// What one node tells another.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum Change {
    Register { record: Registration },
    Heartbeat { id: String, status: Option<String> },
    Deregister { id: String },
    Route { service: String, setting: Setting },
}

/// Where changes are handed in; one without other nodes takes and forgets them.
pub(super) struct Outlet {
    queue: Option<mpsc::Sender<Change>>,
}

impl Outlet {
    /// The outlet, and the inlet that `run` reads, if there are other nodes at all.
    pub(super) fn new(rt: &Rt) -> (Self, Option<mpsc::Receiver<Change>>) {
        if rt.config.registry_nodes < 2 {
            return (Self { queue: None }, None);
        }
        let (queue, inlet) = mpsc::channel(QUEUE);
        (Self { queue: Some(queue) }, Some(inlet))
    }

    pub(super) fn tell(&self, change: Change) {
        if let Some(queue) = &self.queue {
            // A full queue loses the change, as a network would.
            let _ = queue.try_send(change);
        }
    }
}

/// Passes changes on to the other nodes until the process stops.
pub(super) async fn run(registry: Arc<Registry>, mut inlet: mpsc::Receiver<Change>) {
    let rt = Arc::clone(&registry.rt);
    let mut stopping = rt.stopping();
    let task = rt.tasks.begin("registry_replication");
    let mut peers: Vec<String> = Vec::new();
    copy(&registry, &peers_of(&rt)).await;
    loop {
        let change = tokio::select! {
            change = inlet.recv() => match change {
                Some(change) => change,
                None => return,
            },
            _ = stopping.changed() => return,
        };
        task.tick();
        if rt.faults.is_on("registry_replication_stop") {
            continue;
        }
        // The addresses stay what they are once every node has one.
        if peers.len() + 1 < usize::from(rt.config.registry_nodes) {
            peers = peers_of(&rt);
        }
        for peer in &peers {
            if let Some(404) = send(&rt, peer, &change).await
                && let Change::Heartbeat { id, .. } = &change
                && let Some(record) = registry.read(|table, _| table.registration(id))
            {
                send(&rt, peer, &Change::Register { record }).await;
            }
        }
    }
}

/// The other nodes that listen by now.
fn peers_of(rt: &Rt) -> Vec<String> {
    let own = rt.ports.http.map(|port| format!("http://127.0.0.1:{port}"));
    let known = PortsFile::load(&rt.config.run_dir).unwrap_or_default();
    known
        .registries
        .into_iter()
        .filter(|url| Some(url) != own.as_ref())
        .collect()
}

/// Takes over what another node knows, from the first that answers.
async fn copy(registry: &Registry, peers: &[String]) {
    for peer in peers {
        let url = format!("{peer}/registry/snapshot");
        let answer = registry.rt.connections.http.get(url).timeout(TIMEOUT);
        let Ok(answer) = answer.send().await else {
            continue;
        };
        let Ok(snapshot) = answer.json::<Value>().await else {
            continue;
        };
        for row in snapshot["instances"].as_array().into_iter().flatten() {
            let good = matches!(row["status"].as_str(), Some("healthy" | "degraded"));
            let record = json!({
                "id": row["id"], "name": row["name"], "address": row["address"],
                "health_path": row["health_path"], "status": row["status"], "metadata": row["metadata"],
            });
            if good && let Ok(record) = serde_json::from_value::<Registration>(record) {
                // One that does not pass the check here did not pass it there.
                let _ = registry.change(|table, now| table.register(now, record));
            }
        }
        return;
    }
}

/// The status of the answer, if one came.
async fn send(rt: &Rt, peer: &str, change: &Change) -> Option<u16> {
    let url = format!("{peer}/registry/replicate");
    let span = rt.telemetry.root("POST /registry/replicate", Kind::Client);
    span.set("http.request.method", "POST");
    span.set("url.template", "/registry/replicate");
    span.set("url.full", &url);
    let mut headers = http::HeaderMap::new();
    propagation::inject(&mut headers, span.context(), &Baggage::default());
    let request = rt.connections.http.post(url).headers(headers).json(change);
    in_span(&span, async {
        match request.timeout(TIMEOUT).send().await {
            Ok(answer) => {
                let status = answer.status().as_u16();
                span.set("http.response.status_code", status);
                if status >= 400 && status != 404 {
                    span.fail(&status.to_string(), "");
                }
                Some(status)
            }
            Err(error) => {
                span.fail("CONNECTION_FAILED", &error.to_string());
                rt.telemetry.warn(
                    "registry.replication_failed",
                    "another registry node could not be told of a change",
                    Attributes::new().with("error.details", error.to_string()),
                );
                None
            }
        }
    })
    .await
}

/// `POST /registry/replicate`: takes what another node was told.
pub(super) fn receive(registry: &Registry, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    if registry.rt.faults.is_on("registry_replication_stop") {
        return Err(ApiError::new(
            tonic::Code::Unavailable,
            "NOT_REPLICATING",
            "this node takes no changes from others",
        ));
    }
    let known = match parse::<Change>(&request.body)? {
        Change::Register { record } => {
            registry
                .change(|table, now| table.register(now, record))
                .map_err(ApiError::invalid)?;
            true
        }
        Change::Heartbeat { id, status } => {
            let claimed = status.as_deref().and_then(State::claimed);
            registry.change(|table, now| table.heartbeat(now, &id, claimed))
        }
        Change::Deregister { id } => registry.change(|table, now| table.deregister(now, &id)),
        Change::Route { service, setting } => {
            routes::apply(registry, &service, &setting);
            true
        }
    };
    if known {
        Ok(HttpReply::json(200, json!({})))
    } else {
        Err(super::unknown())
    }
}
