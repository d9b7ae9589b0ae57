//! Owns the faults that are on in this process, and the table of all kinds there are.
//!
//! A kind is one entry in the table of its area (`registration`, `health`, `saga`, …): its name and sentence, the
//! parameters it takes with their defaults, the services it can strike, and what it does by itself, if anything. What it
//! spoils in passing stands where that thing is done, which asks `rt.faults` whether the kind is on. A new area is a file
//! here and a line in `TABLES`.

mod analysis;
mod deployment;
pub mod effects;
mod health;
mod kind;
mod logs;
mod messaging;
mod payments;
mod process;
mod recovering;
mod registration;
mod resolution;
pub(crate) mod saga;
mod store;
mod tracing;
mod undoing;
mod wear;

pub use kind::{Form, KindInfo, Param, Reach, Unsaid};

/// The kinds of every area.
const TABLES: &[&[KindInfo]] = &[
    process::KINDS,
    registration::KINDS,
    resolution::KINDS,
    health::KINDS,
    tracing::KINDS,
    logs::KINDS,
    saga::KINDS,
    undoing::KINDS,
    recovering::KINDS,
    messaging::KINDS,
    payments::KINDS,
    store::KINDS,
    analysis::KINDS,
    wear::KINDS,
    // Last, because a schema that has lost its column does not get it back.
    deployment::KINDS,
];

/// Every kind that can be switched on.
pub fn kinds() -> impl Iterator<Item = &'static KindInfo> {
    TABLES.iter().flat_map(|table| table.iter())
}

impl KindInfo {
    #[must_use]
    pub fn find(name: &str) -> Option<&'static KindInfo> {
        kinds().find(|kind| kind.name == name)
    }
}

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;

use crate::config::read_json;
use crate::error::ShopError;

/// How long a fault stays on when its request does not say.
pub const DEFAULT_TTL: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Target {
    pub service: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<u16>,
}

/// `POST /admin/faults`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRequest {
    pub kind: String,
    pub target: Target,
    #[serde(default)]
    pub params: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_s: Option<f64>,
    /// Switches it on this much later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_s: Option<f64>,
    /// Starts the instance again with the fault on, so that it is there before the first thing the process does.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub from_start: bool,
    /// Given by the supervisor, so that every instance knows the fault under one id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault_id: Option<String>,
}

impl FaultRequest {
    /// A fault of a kind on a service, with defaults for everything else.
    #[must_use]
    pub fn new(kind: &str, service: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            target: Target {
                service: service.to_owned(),
                instance: None,
            },
            params: Value::Null,
            ttl_s: None,
            after_s: None,
            from_start: false,
            fault_id: None,
        }
    }

    /// The kind, with the parameters as they are to be: filled up with defaults.
    pub fn resolve(&self) -> Result<(&'static KindInfo, Value), String> {
        let Some(kind) = KindInfo::find(&self.kind) else {
            return Err(format!("no fault kind is called '{}'", self.kind));
        };
        if !kind.strikes(&self.target.service) {
            return Err(format!(
                "{} strikes {}, not {}",
                kind.name,
                kind.services.join(", "),
                self.target.service
            ));
        }
        Ok((kind, kind.complete(&self.params)?))
    }

    /// How long it is to stay on, if the request says.
    pub fn ttl(&self) -> Result<Option<Duration>, String> {
        bounded("ttl_s", self.ttl_s)
    }

    /// How much later it is to be switched on.
    pub fn after(&self) -> Result<Duration, String> {
        Ok(bounded("after_s", self.after_s)?.unwrap_or_default())
    }
}

/// Where the supervisor writes the faults that an instance has from its start on.
pub(crate) fn start_file(run_dir: &Path, label: &str) -> PathBuf {
    run_dir.join("faults").join(format!("{label}.json"))
}

/// Switches on what the supervisor wants to be on from the start. What these faults do by themselves begins with
/// `effects::begin_all`, once there is a service to do it to.
pub(crate) fn switch_on_at_start(rt: &crate::runtime::Rt, label: &str) -> Result<(), ShopError> {
    let path = start_file(&rt.config.run_dir, label);
    if !path.exists() {
        return Ok(());
    }
    for request in read_json::<Vec<FaultRequest>>(&path)? {
        let (kind, params) = request.resolve().map_err(ShopError::Internal)?;
        let ttl = request.ttl().map_err(ShopError::Internal)?;
        let id = request.fault_id.clone().unwrap_or_default();
        rt.faults
            .start(id, kind.name, params, ttl.unwrap_or(DEFAULT_TTL));
    }
    Ok(())
}

fn bounded(name: &str, seconds: Option<f64>) -> Result<Option<Duration>, String> {
    match seconds {
        None => Ok(None),
        Some(seconds) if seconds.is_finite() && (0.0..=86_400.0).contains(&seconds) => {
            Ok(Some(Duration::from_secs_f64(seconds)))
        }
        Some(_) => Err(format!("{name} must be from 0 to 86400 seconds")),
    }
}

#[derive(Debug, Clone)]
struct Active {
    id: String,
    kind: &'static str,
    params: Value,
    until: Instant,
}

pub struct Faults {
    active: Mutex<Vec<Active>>,
    /// Counts changes, for code that must act the moment a fault comes or goes.
    changes: watch::Sender<u64>,
}

impl Faults {
    #[must_use]
    pub fn new() -> Self {
        Self {
            active: Mutex::new(Vec::new()),
            changes: watch::Sender::new(0),
        }
    }

    pub fn start(&self, id: String, kind: &'static str, params: Value, ttl: Duration) {
        let until = Instant::now() + ttl;
        self.lock().push(Active {
            id,
            kind,
            params,
            until,
        });
        self.changed();
    }

    pub fn stop(&self, id: &str) -> bool {
        let mut active = self.lock();
        let before = active.len();
        active.retain(|fault| fault.id != id);
        let found = active.len() != before;
        drop(active);
        if found {
            self.changed();
        }
        found
    }

    pub fn stop_all(&self) {
        self.lock().clear();
        self.changed();
    }

    /// The parameters of the newest fault of a kind that is on.
    #[must_use]
    pub fn find(&self, kind: &str) -> Option<Value> {
        debug_assert!(KindInfo::find(kind).is_some(), "no kind is called {kind}");
        let active = self.lock();
        // Asked at every turn, and mostly there is none.
        if active.is_empty() {
            return None;
        }
        let now = Instant::now();
        active
            .iter()
            .rev()
            .find(|fault| fault.kind == kind && fault.until > now)
            .map(|fault| fault.params.clone())
    }

    /// Everything that is on, oldest first.
    fn all(&self) -> Vec<(&'static str, Value)> {
        self.lock()
            .iter()
            .map(|fault| (fault.kind, fault.params.clone()))
            .collect()
    }

    /// The same, if it is about this other service: a fault that names none in `service` is about all of them.
    #[must_use]
    pub fn about(&self, kind: &str, service: &str) -> Option<Value> {
        self.find(kind).filter(|params| {
            params["service"]
                .as_str()
                .is_none_or(|named| named == service)
        })
    }

    #[must_use]
    pub fn is_on(&self, kind: &str) -> bool {
        self.find(kind).is_some()
    }

    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Drops what has run out; says when the next one will.
    pub fn sweep(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut active = self.lock();
        let before = active.len();
        active.retain(|fault| fault.until > now);
        let (changed, next) = (
            active.len() != before,
            active.iter().map(|fault| fault.until).min(),
        );
        drop(active);
        if changed {
            self.changed();
        }
        next
    }

    #[must_use]
    pub fn list(&self) -> Vec<Value> {
        self.lock()
            .iter()
            .map(|fault| serde_json::json!({ "fault_id": fault.id, "kind": fault.kind, "params": fault.params }))
            .collect()
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Active>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a `lost_context` fault of this mode is on.
#[must_use]
pub fn loses_context(rt: &crate::runtime::Rt, mode: &str) -> bool {
    rt.faults
        .find("lost_context")
        .is_some_and(|params| params["mode"].as_str().unwrap_or("drop_extract") == mode)
}

/// What a `refuse` fault answers to a step, if it strikes this one. It reads like a refusal of the service's own.
pub fn refusal(rt: &crate::runtime::Rt) -> Result<(), crate::error::ApiError> {
    use tonic::Code;
    let Some(params) = rt.faults.find("refuse") else {
        return Ok(());
    };
    let share = params["share"].as_f64().unwrap_or(1.0);
    if !crate::rng::Rng::new(crate::ids::random_u64()).chance(share) {
        return Ok(());
    }
    Err(match params["code"].as_u64() {
        Some(503) => crate::error::ApiError::new(
            Code::Unavailable,
            "UNAVAILABLE",
            "the request can not be served at the moment",
        ),
        Some(500) => crate::error::ApiError::internal("the request failed"),
        _ => crate::error::ApiError::new(
            Code::FailedPrecondition,
            "NOT_POSSIBLE",
            "this can not be done for this order",
        ),
    })
}

/// Whether calls of this process to a service are cut off.
#[must_use]
pub fn is_cut_off(rt: &crate::runtime::Rt, service: &str) -> bool {
    is_call_cut_off(rt, service, None)
}

/// The same for a call under a key; a partition may concern those alone that undo something.
#[must_use]
pub fn is_call_cut_off(rt: &crate::runtime::Rt, service: &str, key: Option<&str>) -> bool {
    let undoes = |key: &str| key.contains(":compensate:") || key.contains(":refund:");
    rt.faults.find("partition").is_some_and(|params| {
        params["to"].as_str() == Some(service)
            && is_in_turn(rt, &params)
            && (params["only"].is_null() || key.is_some_and(undoes))
    })
}

/// Whether a fault that comes and goes by `on_s` and `every_s`, in the shop's time, is there right now.
#[must_use]
pub fn is_in_turn(rt: &crate::runtime::Rt, params: &Value) -> bool {
    let nanos = |name: &str| {
        let seconds = params[name].as_f64()?;
        Some(
            rt.clock
                .scaled_secs(seconds.clamp(0.0, 86_400.0))
                .as_nanos() as u64,
        )
    };
    match (nanos("on_s"), nanos("every_s")) {
        (Some(on), Some(every)) if every > 0 => rt.clock.now() % every < on,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_kind_has_one_entry_a_sentence_and_readable_defaults() {
        let mut names: Vec<&str> = kinds().map(|kind| kind.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "a kind stands in two tables");
        for kind in kinds() {
            let word = |letter: char| {
                letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_'
            };
            assert!(kind.name.chars().all(word), "{}", kind.name);
            assert!(
                kind.sentence.ends_with('.') && kind.sentence.len() < 160,
                "{}",
                kind.name
            );
            for service in kind.services {
                assert!(
                    crate::catalog::ServiceSpec::find(service).is_some(),
                    "{service}"
                );
            }
            // The defaults have the form that they are the defaults of.
            let mut request = serde_json::Map::new();
            for param in kind.params {
                if param.unsaid == Unsaid::Required {
                    let value = match param.form {
                        Form::OneOf(values) => values[0],
                        Form::Text => "text",
                        _ => "1",
                    };
                    request.insert(param.name.to_owned(), value.into());
                }
            }
            kind.complete(&Value::Object(request)).unwrap();
        }
    }

    #[test]
    fn a_fault_is_on_until_it_is_stopped_or_runs_out() {
        let faults = Faults::new();
        let mut changes = faults.changes();
        faults.start(
            "a".into(),
            "cache_pin",
            serde_json::json!({"ttl": 1}),
            Duration::from_secs(60),
        );
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        assert_eq!(faults.find("cache_pin").unwrap()["ttl"], 1);
        assert!(!faults.is_on("hang"));
        assert!(faults.stop("a") && !faults.stop("a") && !faults.is_on("cache_pin"));
        faults.start("b".into(), "hang", Value::Null, Duration::ZERO);
        assert!(!faults.is_on("hang"));
        assert_eq!(faults.sweep(), None);
        assert!(faults.list().is_empty());
    }
}
