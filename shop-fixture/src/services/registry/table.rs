//! Owns the registry's table: instances, their states and the ordered events. A pure machine over the times it is told.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock::rfc3339;

/// The intervals, in nanoseconds, after scaling.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    pub heartbeat: u64,
    pub suspect: u64,
    pub expire: u64,
    pub sweep: u64,
    pub drain: u64,
    /// How the registry looks at instances itself; `None` if it goes by heartbeats alone.
    pub probe: Option<ProbeTiming>,
}

/// When a probe is made and when it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeTiming {
    pub interval: u64,
    pub timeout: u64,
    /// Failures in a row after which an instance is unhealthy.
    pub failures: u32,
}

impl Timing {
    #[must_use]
    pub fn scaled(time_scale: f64) -> Self {
        let seconds = |seconds: f64| (seconds * 1e9 / time_scale) as u64;
        Self {
            heartbeat: seconds(15.0),
            suspect: seconds(30.0),
            expire: seconds(45.0),
            sweep: seconds(5.0),
            drain: seconds(30.0),
            probe: None,
        }
    }

    #[must_use]
    pub fn to_json(self) -> Value {
        let millis = |nanos: u64| nanos / 1_000_000;
        let mut config = json!({
            "heartbeat_interval_ms": millis(self.heartbeat),
            "suspect_after_ms": millis(self.suspect),
            "expire_after_ms": millis(self.expire),
            "sweep_interval_ms": millis(self.sweep),
            "draining_after_expiry_ms": millis(self.drain),
            "probe": if self.probe.is_some() { "active" } else { "off" },
        });
        if let Some(probe) = self.probe {
            config["probe_interval_ms"] = millis(probe.interval).into();
            config["probe_timeout_ms"] = millis(probe.timeout).into();
            config["probe_failures"] = probe.failures.into();
        }
        config
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Starting,
    Healthy,
    Degraded,
    Suspect,
    Unhealthy,
    Draining,
}

impl State {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Suspect => "suspect",
            Self::Unhealthy => "unhealthy",
            Self::Draining => "draining",
        }
    }

    /// The state that a heartbeat or registration may claim.
    #[must_use]
    pub fn claimed(text: &str) -> Option<Self> {
        [
            Self::Starting,
            Self::Healthy,
            Self::Degraded,
            Self::Unhealthy,
            Self::Draining,
        ]
        .into_iter()
        .find(|state| state.as_str() == text)
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    pub id: String,
    pub name: String,
    #[serde(default)]
    pub address: String,
    #[serde(default)]
    pub health_path: String,
    #[serde(default)]
    pub status: Option<String>,
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
pub struct Instance {
    pub id: String,
    pub name: String,
    pub address: String,
    pub health_path: String,
    pub state: State,
    pub last_seen: u64,
    pub registered_at: u64,
    pub seq: u64,
    pub metadata: BTreeMap<String, String>,
    drain_until: Option<u64>,
    missed_reported: bool,
    /// Probes that failed in a row.
    failed_probes: u32,
    /// Unhealthy because of probes: its own word in a heartbeat does not change that.
    probed_down: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub seq: u64,
    pub at: String,
    pub kind: String,
    pub id: String,
    pub name: String,
    pub address: String,
    pub reason: Option<String>,
}

const REQUIRED_METADATA: &[&str] = &[
    "version",
    "track",
    "protocols",
    "http_port",
    "grpc_port",
    "metrics_port",
    "region",
    "weight",
    "pid",
    "started_at",
];

/// Events kept for readers; older ones are on disk alone.
const MAX_EVENTS: usize = 20_000;
const MAX_INSTANCES: usize = 10_000;

/// What is wrong with the table's own work.
#[derive(Debug, Clone, Default)]
pub struct Disorder {
    /// Silent instances are kept, for ever or for so many nanoseconds, and block new ones of their id.
    pub keep_dead: Option<Option<u64>>,
    /// Rows of this service are damaged when they are written.
    pub corrupt: Option<String>,
}

pub struct Table {
    timing: Timing,
    disorder: Disorder,
    instances: BTreeMap<String, Instance>,
    events: Vec<Event>,
    seq: u64,
    /// Events not yet written to disk.
    unwritten: Vec<Event>,
}

impl Table {
    #[must_use]
    pub fn new(timing: Timing) -> Self {
        Self {
            timing,
            disorder: Disorder::default(),
            instances: BTreeMap::new(),
            events: Vec::new(),
            seq: 0,
            unwritten: Vec::new(),
        }
    }

    /// Goes on numbering after what an earlier run of the registry wrote; the instances it knew are gone.
    pub fn resume(&mut self, now: u64, earlier: Vec<Event>) {
        self.seq = earlier.iter().map(|event| event.seq).max().unwrap_or(0);
        let skip = earlier.len().saturating_sub(MAX_EVENTS);
        self.events = earlier.into_iter().skip(skip).collect();
        self.note(
            now,
            "restarted",
            None,
            Some("the registry started again and knows no instance".to_owned()),
        );
    }

    #[must_use]
    pub fn timing(&self) -> Timing {
        self.timing
    }

    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Stores a registration; answers the record and what is missing from it.
    pub fn register(
        &mut self,
        now: u64,
        registration: Registration,
    ) -> Result<(Instance, Vec<String>), String> {
        check(&registration)?;
        let known = self.instances.get(&registration.id);
        if self.disorder.keep_dead.is_some()
            && known.is_some_and(|known| now.saturating_sub(known.last_seen) >= self.timing.expire)
        {
            return Err("id is still listed".to_owned());
        }
        if known.is_none() && self.instances.len() >= MAX_INSTANCES {
            return Err(format!(
                "the registry holds no more than {MAX_INSTANCES} instances"
            ));
        }
        let kind = if known.is_some() {
            "replaced"
        } else {
            "registered"
        };
        let reason = known.map(|old| format!("was {} at {}", old.name, old.address));
        let mut warnings: Vec<String> = REQUIRED_METADATA
            .iter()
            .filter(|key| !registration.metadata.contains_key(**key))
            .map(|key| format!("metadata '{key}' is missing"))
            .collect();
        if !registration.address.contains(':') {
            warnings.push("address names no port".to_owned());
        }
        if !registration.health_path.starts_with('/') {
            warnings.push("health_path does not begin with /".to_owned());
        }
        let mut instance = Instance {
            id: registration.id,
            name: registration.name,
            address: registration.address,
            health_path: registration.health_path,
            state: registration
                .status
                .as_deref()
                .and_then(State::claimed)
                .unwrap_or(State::Healthy),
            last_seen: now,
            registered_at: now,
            seq: 0,
            metadata: registration.metadata,
            drain_until: None,
            missed_reported: false,
            failed_probes: 0,
            probed_down: false,
        };
        instance.seq = self.note(now, kind, Some(&instance), reason);
        let mut row = instance.clone();
        if self.disorder.corrupt.as_deref() == Some(row.name.as_str()) {
            // A letter in the middle is lost.
            let middle = row.name.len() / 2;
            if row.name.is_char_boundary(middle) && row.name.is_char_boundary(middle + 1) {
                row.name.remove(middle);
            }
        }
        self.instances.insert(row.id.clone(), row);
        Ok((instance, warnings))
    }

    /// Takes a heartbeat; false if the id is not known.
    pub fn heartbeat(&mut self, now: u64, id: &str, claimed: Option<State>) -> bool {
        let Some(instance) = self.instances.get_mut(id) else {
            return false;
        };
        instance.last_seen = now;
        instance.missed_reported = false;
        let mut state = claimed.unwrap_or(State::Healthy);
        if instance.probed_down && matches!(state, State::Healthy | State::Degraded) {
            state = State::Unhealthy;
        }
        if instance.state == state {
            return true;
        }
        let was = instance.state.as_str();
        instance.state = state;
        instance.drain_until = (state == State::Draining).then_some(now + self.timing.drain);
        let instance = instance.clone();
        self.note(
            now,
            "status_changed",
            Some(&instance),
            Some(format!("{was} to {}", state.as_str())),
        );
        true
    }

    /// Takes what a probe of an instance found; enough failures in a row make it unhealthy, one success ends that.
    pub fn probed(&mut self, now: u64, id: &str, found: Result<(), String>) {
        let Some(timing) = self.timing.probe else {
            return;
        };
        let Some(instance) = self.instances.get_mut(id) else {
            return;
        };
        let reason = match found {
            Ok(()) => {
                instance.failed_probes = 0;
                if !std::mem::take(&mut instance.probed_down) || instance.state != State::Unhealthy
                {
                    return;
                }
                instance.state = State::Healthy;
                "unhealthy to healthy: a probe succeeded".to_owned()
            }
            Err(why) => {
                instance.failed_probes = instance.failed_probes.saturating_add(1);
                let usable = matches!(
                    instance.state,
                    State::Healthy | State::Degraded | State::Suspect
                );
                if instance.failed_probes < timing.failures || !usable {
                    return;
                }
                let was = instance.state.as_str();
                instance.state = State::Unhealthy;
                instance.probed_down = true;
                format!(
                    "{was} to unhealthy: {} probes failed, the last one {why}",
                    instance.failed_probes
                )
            }
        };
        let instance = instance.clone();
        self.note(now, "status_changed", Some(&instance), Some(reason));
    }

    /// A probe before expiry found the instance alive: as good as a heartbeat.
    pub fn confirm(&mut self, now: u64, id: &str) {
        if let Some(instance) = self.instances.get_mut(id) {
            instance.last_seen = now;
            instance.missed_reported = false;
        }
    }

    pub fn set_disorder(&mut self, disorder: Disorder) {
        self.disorder = disorder;
    }

    /// Sets how the registry looks at instances itself.
    pub fn set_probe(&mut self, probe: Option<ProbeTiming>) {
        self.timing.probe = probe;
    }

    pub fn deregister(&mut self, now: u64, id: &str) -> bool {
        let Some(instance) = self.instances.remove(id) else {
            return false;
        };
        self.note(now, "deregistered", Some(&instance), None);
        true
    }

    /// Ages every instance: one missed heartbeat is told, then suspect, expired and draining, removed.
    pub fn sweep(&mut self, now: u64) {
        let ids: Vec<String> = self.instances.keys().cloned().collect();
        for id in ids {
            let Some(instance) = self.instances.get_mut(&id) else {
                continue;
            };
            let age = now.saturating_sub(instance.last_seen);
            if instance.state == State::Draining {
                if instance.drain_until.is_some_and(|until| now >= until) {
                    let gone = instance.clone();
                    self.instances.remove(&id);
                    self.note(
                        now,
                        "removed",
                        Some(&gone),
                        Some("its grace is over".to_owned()),
                    );
                }
                continue;
            }
            // Half an interval of grace, so that jitter alone is no miss.
            if age > self.timing.heartbeat * 3 / 2 && !instance.missed_reported {
                instance.missed_reported = true;
                let seen = instance.clone();
                self.note(
                    now,
                    "heartbeat_missed",
                    Some(&seen),
                    Some(format!("last heartbeat {} ms ago", age / 1_000_000)),
                );
            }
            let Some(instance) = self.instances.get_mut(&id) else {
                continue;
            };
            if age >= self.timing.expire
                && let Some(kept) = self.disorder.keep_dead
            {
                let gone = instance.clone();
                if kept.is_some_and(|kept| age >= kept) {
                    self.instances.remove(&id);
                    let why = format!("cleaned up {} ms after its last heartbeat", age / 1_000_000);
                    self.note(now, "removed", Some(&gone), Some(why));
                } else if instance.state != State::Unhealthy {
                    let was = instance.state.as_str();
                    instance.state = State::Unhealthy;
                    let why = format!(
                        "{was} to unhealthy: no heartbeat for {} ms",
                        age / 1_000_000
                    );
                    self.note(now, "status_changed", Some(&gone), Some(why));
                }
            } else if age >= self.timing.expire {
                instance.state = State::Draining;
                instance.drain_until = Some(now + self.timing.drain);
                let seen = instance.clone();
                self.note(
                    now,
                    "expired",
                    Some(&seen),
                    Some(format!("no heartbeat for {} ms", age / 1_000_000)),
                );
                self.note(now, "draining", Some(&seen), Some("expired".to_owned()));
            } else if age >= self.timing.suspect
                && matches!(instance.state, State::Healthy | State::Degraded)
            {
                instance.state = State::Suspect;
                let seen = instance.clone();
                self.note(
                    now,
                    "suspect",
                    Some(&seen),
                    Some(format!("no heartbeat for {} ms", age / 1_000_000)),
                );
            }
        }
    }

    /// What a lookup answers: healthy and degraded ones, or suspects if there is nothing better.
    #[must_use]
    pub fn lookup(&self, name: &str) -> Vec<&Instance> {
        let of = |wanted: &[State]| {
            self.instances
                .values()
                .filter(|instance| instance.name == name && wanted.contains(&instance.state))
                .collect::<Vec<_>>()
        };
        let good = of(&[State::Healthy, State::Degraded]);
        if good.is_empty() {
            of(&[State::Suspect])
        } else {
            good
        }
    }

    /// What was registered under an id, to tell another node of it.
    #[must_use]
    pub fn registration(&self, id: &str) -> Option<Registration> {
        let instance = self.instances.get(id)?;
        Some(Registration {
            id: instance.id.clone(),
            name: instance.name.clone(),
            address: instance.address.clone(),
            health_path: instance.health_path.clone(),
            status: State::claimed(instance.state.as_str()).map(|state| state.as_str().to_owned()),
            metadata: instance.metadata.clone(),
        })
    }

    pub fn all(&self) -> impl Iterator<Item = &Instance> {
        self.instances.values()
    }

    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .instances
            .values()
            .map(|instance| instance.name.clone())
            .collect();
        names.sort();
        names.dedup();
        names
    }

    #[must_use]
    pub fn events_since(&self, seq: u64) -> Vec<Event> {
        let from = self.events.partition_point(|event| event.seq <= seq);
        self.events[from..].to_vec()
    }

    /// Hands out what is to be written to disk.
    pub fn take_unwritten(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.unwritten)
    }

    fn note(
        &mut self,
        now: u64,
        kind: &str,
        instance: Option<&Instance>,
        reason: Option<String>,
    ) -> u64 {
        self.seq += 1;
        let text =
            |field: fn(&Instance) -> &String| instance.map(field).cloned().unwrap_or_default();
        let event = Event {
            seq: self.seq,
            at: rfc3339(now),
            kind: kind.to_owned(),
            id: text(|instance| &instance.id),
            name: text(|instance| &instance.name),
            address: text(|instance| &instance.address),
            reason,
        };
        if self.events.len() >= MAX_EVENTS {
            self.events.drain(..MAX_EVENTS / 10);
        }
        self.events.push(event.clone());
        self.unwritten.push(event);
        self.seq
    }
}

fn check(registration: &Registration) -> Result<(), String> {
    let name = &registration.name;
    if registration.id.is_empty() || registration.id.len() > 256 {
        return Err("id must have from 1 to 256 characters".to_owned());
    }
    if name.is_empty()
        || name.len() > 128
        || !name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    {
        return Err("name must be letters, digits, dashes, dots and underscores".to_owned());
    }
    if registration.address.is_empty() {
        return Err("address is missing".to_owned());
    }
    // A host alone is stored: what it is worth is for those who call it to find out.
    if let Some((host, port)) = registration.address.rsplit_once(':')
        && (host.is_empty() || port.parse::<u16>().map_or(true, |port| port == 0))
    {
        return Err("address must be host:port".to_owned());
    }
    if registration.health_path.is_empty() {
        return Err("health_path is missing".to_owned());
    }
    if let Some(status) = &registration.status
        && State::claimed(status).is_none()
    {
        return Err("status must be starting, healthy, degraded, unhealthy or draining".to_owned());
    }
    Ok(())
}

impl Instance {
    #[must_use]
    pub fn to_json(&self, now: u64) -> Value {
        json!({
            "id": self.id,
            "name": self.name,
            "address": self.address,
            "health_path": self.health_path,
            "status": self.state.as_str(),
            "health": self.state.as_str(),
            "last_seen": rfc3339(self.last_seen),
            "registered_at": rfc3339(self.registered_at),
            "seq": self.seq,
            "age_ms": now.saturating_sub(self.last_seen) / 1_000_000,
            "metadata": self.metadata,
        })
    }
}

mod routing;
#[cfg(test)]
mod tests;
