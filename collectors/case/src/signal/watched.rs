//! Rows that watchers write. Fields follow the registry and debug API of the shop, but name nothing of it: a Consul or
//! Eureka watcher fills the same ones. What a source says beyond them is kept whole in `raw` or `fields`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::time::Nanos;

/// Everything a registry listed at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegistrySnapshot {
    /// When the watcher took it, its own clock.
    pub at: Nanos,
    /// The registry's own time of it, if it says one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Nanos>,
    /// Which registry: its URL.
    pub registry: String,
    /// The last event number the snapshot includes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The registry's timing (heartbeat interval, suspect and expiry limits …) as it states it.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub config: serde_json::Value,
    pub instances: Vec<RegistryInstance>,
}

/// One instance in a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegistryInstance {
    pub id: String,
    pub name: String,
    pub address: String,
    pub status: String,
    /// Last accepted heartbeat, registry clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Nanos>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered_at: Option<Nanos>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_path: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// One entry of a registry's event log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegistryEvent {
    /// When it happened, registry clock.
    pub at: Nanos,
    pub registry: String,
    pub seq: u64,
    /// registered, replaced, heartbeat_missed, suspect, expired, draining, removed, deregistered, status_changed,
    /// route_changed, restarted; other registries may have more.
    pub kind: String,
    #[serde(default)]
    pub id: String,
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub address: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What one look at one address found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeResult {
    pub at: Nanos,
    /// The instance's id in the registry, if it is known there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    pub address: String,
    /// connect, live, ready, metrics …
    pub check: String,
    pub ok: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    pub duration_nano: u64,
    /// refused, timeout, reset …, or what the body said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What else was learnt (the caches that still list the instance, the checks of a health page …).
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub raw: serde_json::Value,
}

/// One saga or step row, or one log record of a saga journal, as read at `at`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JournalRecord {
    /// When it happened, orchestrator clock.
    pub at: Nanos,
    /// When the watcher read it.
    pub seen_at: Nanos,
    pub source: String,
    /// saga, step, or the kind of a log record (started, step_intent, step_result, comp_intent …).
    pub kind: String,
    pub saga_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// Every field the source gave, untouched.
    pub fields: serde_json::Value,
}

/// One row of a business ledger, as read at `at`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LedgerRow {
    /// When the watcher read it.
    pub at: Nanos,
    pub source: String,
    /// orders, payments, stock, reservations, shipments, accounting, notifications, outbox, inbox, idempotency …
    pub ledger: String,
    /// The row's own id within its ledger.
    pub key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<String>,
    pub fields: serde_json::Value,
}
