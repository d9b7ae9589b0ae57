//! Owns the faults that are on in this process, and the list of all kinds there are. What a fault does stands where the
//! thing is done that it spoils; this module only answers whether it is on.

pub mod effects;
mod kinds;

pub use kinds::{KINDS, KindInfo, Reach};

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;

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
    /// Given by the supervisor, so that every instance knows the fault under one id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault_id: Option<String>,
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
        let now = Instant::now();
        self.lock()
            .iter()
            .rev()
            .find(|fault| fault.kind == kind && fault.until > now)
            .map(|fault| fault.params.clone())
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

/// Whether calls of this process to a service are cut off.
#[must_use]
pub fn is_cut_off(rt: &crate::runtime::Rt, service: &str) -> bool {
    rt.faults
        .find("partition")
        .is_some_and(|params| params["to"].as_str() == Some(service))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

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
