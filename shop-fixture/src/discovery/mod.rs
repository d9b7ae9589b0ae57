//! Owns a caller's view of the registry: the lookup cache with its refresh and stale use, and the choice of an instance.
//! `register` keeps this instance itself in the registry.

mod lookup;
pub mod nodes;
pub mod register;
pub mod routing;
pub mod token;

pub use nodes::Nodes;

use lookup::fetch;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tonic::Code;

use crate::catalog::ServiceSpec;
use crate::context::current;
use crate::error::ApiError;
use crate::propagation::baggage;
use crate::runtime::Rt;
use crate::telemetry::{Attributes, Kind};

const TTL: Duration = Duration::from_secs(30);
const STALE_LIMIT: Duration = Duration::from_secs(300);
const SKIP: Duration = Duration::from_secs(10);
const DEFAULT_PORT: u16 = 80;
const NOBODY: &str = "NO_HEALTHY_INSTANCES";
/// Pauses between lookups that find nobody: an instance that starts again needs about as long.
const EMPTY_PAUSES_MS: &[u64] = &[100, 200, 400, 800, 1_600];

/// A registered instance as lookups answer it; unknown fields are ignored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Listed {
    pub id: String,
    pub name: String,
    pub address: String,
    pub status: String,
    #[serde(default)]
    pub metadata: std::collections::BTreeMap<String, String>,
}

/// Where a call goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    pub id: String,
    pub host: String,
    pub port: u16,
    pub http_port: u16,
}

impl Instance {
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    fn of(listed: &Listed) -> Option<Self> {
        // Whoever registers a host alone is called at the port that the protocol stands for.
        let (host, port) = match listed.address.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (listed.address.as_str(), DEFAULT_PORT),
        };
        if host.is_empty() {
            return None;
        }
        // The address is the gRPC port where there is one; HTTP is then told by the metadata.
        let has_grpc = listed
            .metadata
            .get("grpc_port")
            .is_some_and(|port| !port.is_empty() && port != "0");
        let http_port = if has_grpc {
            listed
                .metadata
                .get("http_port")
                .and_then(|port| port.parse().ok())
        } else {
            None
        };
        Some(Self {
            id: listed.id.clone(),
            host: host.to_owned(),
            port,
            http_port: http_port.unwrap_or(port),
        })
    }
}

struct Entry {
    listed: Vec<Listed>,
    fetched: Instant,
    used: bool,
    next: usize,
}

pub struct Discovery {
    pub nodes: Nodes,
    pub routing: routing::Routing,
    cache: Mutex<HashMap<String, Entry>>,
    skipped: Mutex<HashMap<String, Instant>>,
}

impl Discovery {
    #[must_use]
    pub fn new(nodes: Nodes) -> Self {
        Self {
            nodes,
            routing: routing::Routing::default(),
            cache: Mutex::new(HashMap::new()),
            skipped: Mutex::new(HashMap::new()),
        }
    }

    /// Leaves an instance alone for a while after a failed call, and has the name looked up anew.
    pub fn skip(&self, rt: &Rt, name: &str, id: &str) {
        let until = Instant::now() + rt.clock.scaled(SKIP);
        let mut skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        skipped.retain(|_, until| *until > Instant::now());
        skipped.insert(id.to_owned(), until);
        drop(skipped);
        if rt.faults.is_on("cache_pin") {
            return;
        }
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = cache.get_mut(name)
            && let Some(long_ago) = entry.fetched.checked_sub(rt.clock.scaled(TTL))
        {
            entry.fetched = long_ago;
        }
    }

    fn choose(&self, name: &str, first: bool) -> Option<Instance> {
        let bucket = bucket();
        let skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = cache.get_mut(name)?;
        entry.used = true;
        let subset = self.routing.subset(name, &entry.listed, bucket);
        let usable: Vec<Instance> = subset.into_iter().filter_map(Instance::of).collect();
        let now = Instant::now();
        let fresh: Vec<&Instance> = usable
            .iter()
            .filter(|instance| skipped.get(&instance.id).is_none_or(|until| *until <= now))
            .collect();
        let candidates: Vec<&Instance> = if fresh.is_empty() {
            usable.iter().collect()
        } else {
            fresh
        };
        if first {
            return candidates.first().map(|instance| (*instance).clone());
        }
        if candidates.is_empty() {
            // That nobody was there a moment ago is not worth remembering, whatever else is listed.
            cache.remove(name);
            return None;
        }
        entry.next = entry.next.wrapping_add(1);
        Some(candidates[entry.next % candidates.len()].clone())
    }

    /// Has a name looked up anew by the next call.
    fn forget(&self, name: &str) {
        self.cache
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
    }

    fn age(&self, name: &str) -> Option<Duration> {
        self.cache
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            // That nobody was there a moment ago is not worth remembering.
            .filter(|entry| !entry.listed.is_empty())
            .map(|entry| entry.fetched.elapsed())
    }

    fn put(&self, name: &str, listed: Vec<Listed>) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let next = cache.get(name).map_or(0, |entry| entry.next);
        cache.insert(
            name.to_owned(),
            Entry {
                listed,
                fetched: Instant::now(),
                used: false,
                next,
            },
        );
    }

    fn due_for_refresh(&self, ttl: Duration) -> Vec<String> {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache
            .iter()
            .filter(|(_, entry)| entry.used && entry.fetched.elapsed() >= ttl.mul_f64(0.8))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// The cache with the age of each entry, for the debug page.
    #[must_use]
    pub fn snapshot(&self) -> Value {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names: Vec<(&String, &Entry)> = cache.iter().collect();
        names.sort_by_key(|(name, _)| *name);
        names
            .into_iter()
            .map(|(name, entry)| {
                json!({
                    "name": name,
                    "age_ms": entry.fetched.elapsed().as_millis() as u64,
                    "instances": entry.listed.iter().map(|listed| json!({
                        "id": listed.id, "address": listed.address, "status": listed.status,
                    })).collect::<Vec<_>>(),
                })
            })
            .collect()
    }

    /// Writes the age of every entry to the metrics page.
    pub fn expose(&self, rt: &Rt) {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, entry) in cache.iter() {
            let labels = [("service", rt.spec.name), ("upstream", name.as_str())];
            rt.telemetry.metrics().set(
                "shop_discovery_cache_age_seconds",
                &labels,
                entry.fetched.elapsed().as_secs_f64(),
            );
        }
    }
}

/// The bucket that the running request was put into at the gateway.
fn bucket() -> Option<u8> {
    let carried = current().shared.baggage.get(baggage::CANARY_BUCKET)?;
    carried.parse().ok()
}

/// The instance that the next call to a service goes to. An empty answer is asked for again a few times.
pub async fn pick(rt: &Rt, name: &str) -> Result<Instance, ApiError> {
    for pause in empty_pauses(rt, name) {
        match find(rt, name).await {
            Err(error) if error.reason == NOBODY => {}
            found => return found,
        }
        tokio::time::sleep(pause).await;
    }
    find(rt, name).await
}

/// The instance that a call would go to now, without waiting for one to appear.
pub async fn find(rt: &Rt, name: &str) -> Result<Instance, ApiError> {
    make_fresh(rt, name).await?;
    let first = rt.faults.about("pick_first", name).is_some();
    rt.discovery.choose(name, first).ok_or_else(|| {
        ApiError::new(
            Code::Unavailable,
            NOBODY,
            format!("no healthy instance of {name} is known"),
        )
        .retry_after(1)
    })
}

fn empty_pauses(rt: &Rt, name: &str) -> Vec<Duration> {
    let (count, every) = match rt.faults.about("lookup_hasty", name) {
        None => {
            return EMPTY_PAUSES_MS
                .iter()
                .map(|ms| Duration::from_millis(*ms))
                .collect();
        }
        Some(params) => (
            params["retries"].as_u64().unwrap_or(0).min(20),
            params["pause_ms"].as_u64().unwrap_or(15),
        ),
    };
    (0..count).map(|_| Duration::from_millis(every)).collect()
}

/// Whether a lookup finds anything, for readiness.
pub async fn is_resolvable(rt: &Rt, name: &str) -> bool {
    // An answer without instances is kept like any other, so it must be asked anew here or readiness would lag by a TTL.
    match fetch(rt, name, None).await {
        Ok(listed) => {
            let found = !listed.is_empty();
            rt.discovery.put(name, listed);
            found
        }
        Err(_) => false,
    }
}

/// The instance that background work may call: looked up without a span, and `None` rather than an error.
pub async fn find_quietly(rt: &Rt, name: &str) -> Option<Instance> {
    let fresh = rt
        .discovery
        .age(name)
        .is_some_and(|age| age < rt.clock.scaled(TTL) || rt.faults.is_on("cache_pin"));
    if fresh && let Some(instance) = rt.discovery.choose(name, false) {
        return Some(instance);
    }
    if is_resolvable(rt, name).await {
        rt.discovery.choose(name, false)
    } else {
        None
    }
}

/// Whether a call to a service would find an instance, for health checks: no request waits for the answer, and none is
/// what the question belongs to.
pub async fn is_known(rt: &Rt, name: &str) -> Result<(), ApiError> {
    let age = rt.discovery.age(name);
    let pinned = age.is_some() && rt.faults.is_on("cache_pin");
    if pinned || age.is_some_and(|age| age < rt.clock.scaled(TTL)) {
        return Ok(());
    }
    match fetch(rt, name, None).await {
        Ok(listed) => {
            let nobody = listed.is_empty();
            rt.discovery.put(name, listed);
            if !nobody {
                return Ok(());
            }
        }
        Err(_) if age.is_some_and(|age| age < rt.clock.scaled(STALE_LIMIT)) => return Ok(()),
        Err(_) => {}
    }
    Err(ApiError::new(
        Code::Unavailable,
        NOBODY,
        format!("no healthy instance of {name} is known"),
    ))
}

async fn make_fresh(rt: &Rt, name: &str) -> Result<(), ApiError> {
    let ttl = rt.clock.scaled(TTL);
    let age = rt.discovery.age(name);
    let pinned = age.is_some() && rt.faults.is_on("cache_pin");
    if pinned || age.is_some_and(|age| age < ttl) {
        return Ok(());
    }
    let span = rt.telemetry.span(format!("resolve {name}"), Kind::Internal);
    match fetch(rt, name, Some(&span)).await {
        Ok(listed) => {
            span.set("shop.registry.cache", "miss");
            span.set("shop.registry.instances", listed.len());
            if listed.is_empty() {
                span.fail(NOBODY, "the registry lists no usable instance");
            }
            rt.discovery.put(name, listed);
            Ok(())
        }
        Err(error) => match age {
            Some(age) if age < rt.clock.scaled(STALE_LIMIT) => {
                span.set("shop.registry.cache", "stale");
                rt.telemetry.warn(
                    "discovery.stale_used",
                    "registry unreachable, using the last known instances",
                    Attributes::new()
                        .with("upstream", name)
                        .with("age_ms", age.as_millis() as u64),
                );
                Ok(())
            }
            _ => {
                span.fail("REGISTRY_UNAVAILABLE", &error);
                Err(ApiError::new(
                    Code::Unavailable,
                    "REGISTRY_UNAVAILABLE",
                    "the registry does not answer",
                ))
            }
        },
    }
}

/// Keeps the names fresh that were used since they were last looked up.
pub async fn keep_fresh(rt: Rt) {
    let ttl = rt.clock.scaled(TTL);
    let mut stopping = rt.stopping();
    let task = rt.tasks.begin("lookup_refresh");
    loop {
        tokio::select! {
            () = tokio::time::sleep(ttl / 10) => {}
            _ = stopping.changed() => return,
        }
        task.tick();
        if rt.faults.is_on("cache_pin") {
            continue;
        }
        for name in rt.discovery.due_for_refresh(ttl) {
            if let Ok(listed) = fetch(&rt, &name, None).await {
                rt.discovery.put(&name, listed);
            }
        }
    }
}

/// A port as the registration record writes it; none is empty.
#[must_use]
pub fn port_text(port: Option<u16>) -> String {
    port.map(|port| port.to_string()).unwrap_or_default()
}

/// The address under which an instance of a service is reached.
#[must_use]
pub fn own_address(spec: &ServiceSpec, ports: &crate::config::InstancePorts) -> String {
    let port = if spec.grpc { ports.grpc } else { ports.http };
    format!("127.0.0.1:{}", port.unwrap_or(ports.admin))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn listed(id: &str, address: &str, grpc: &str) -> Listed {
        Listed {
            id: id.to_owned(),
            name: "payment".to_owned(),
            address: address.to_owned(),
            status: "healthy".to_owned(),
            metadata: [("http_port", "8200"), ("grpc_port", grpc)]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        }
    }

    #[test]
    fn the_http_port_comes_from_the_metadata_only_beside_grpc() {
        let both = Instance::of(&listed("a", "127.0.0.1:9200", "9200")).unwrap();
        assert_eq!((both.port, both.http_port), (9200, 8200));
        let http = Instance::of(&listed("a", "127.0.0.1:8111", "")).unwrap();
        assert_eq!((http.port, http.http_port), (8111, 8111));
        let portless = Instance::of(&listed("a", "somewhere", "")).unwrap();
        assert_eq!((portless.host.as_str(), portless.port), ("somewhere", 80));
        assert_eq!(Instance::of(&listed("a", ":1", "")), None);
    }

    #[test]
    fn choice_goes_round_and_starts_over_when_all_are_skipped() {
        let discovery = Discovery::new(Nodes::new(Vec::new(), 0));
        discovery.put(
            "payment",
            vec![
                listed("a", "127.0.0.1:1", "1"),
                listed("b", "127.0.0.1:2", "2"),
            ],
        );
        let mut ids: Vec<String> = (0..4)
            .map(|_| discovery.choose("payment", false).unwrap().id)
            .collect();
        ids.sort();
        assert_eq!(ids, ["a", "a", "b", "b"]);
        let soon = Instant::now() + Duration::from_secs(60);
        discovery
            .skipped
            .lock()
            .unwrap()
            .insert("a".to_owned(), soon);
        assert!((0..3).all(|_| discovery.choose("payment", false).unwrap().id == "b"));
        discovery
            .skipped
            .lock()
            .unwrap()
            .insert("b".to_owned(), soon);
        assert_eq!(discovery.choose("payment", true).unwrap().id, "a");
        assert!(discovery.choose("payment", false).is_some());
        assert!(discovery.choose("shipping", false).is_none());
    }
}
