//! What a registry held of each instance over time: the records it took, the rows it showed, the states it gave. Made of
//! its events and snapshots, one entry for every id at every registry.

use std::collections::BTreeMap;

use case::Nanos;
use case::signal::{RegistryEvent, RegistryInstance, RegistrySnapshot};

use super::{Basis, Domain};
use crate::registry::stated_limit;

/// A state that a registry gave an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub at: Nanos,
    pub status: String,
    pub reason: String,
    pub seq: Option<u64>,
}

/// A record that the registry took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub at: Nanos,
    pub name: String,
    pub address: String,
    pub replaced: bool,
    pub seq: u64,
}

/// A row of a snapshot that differs from the one before it, times of heartbeats aside.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub at: Nanos,
    pub row: RegistryInstance,
}

/// One id at one registry.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Entry {
    pub registry: String,
    pub id: String,
    pub records: Vec<Record>,
    pub rows: Vec<Row>,
    pub states: Vec<State>,
    /// The last snapshot that listed it, and the last heartbeat it told.
    pub last_listed: Option<Nanos>,
    pub last_seen: Option<Nanos>,
    /// First mention of any kind.
    pub first: Nanos,
}

/// A status under which lookups hand an instance out.
pub fn is_good(status: &str) -> bool {
    matches!(status, "healthy" | "degraded" | "passing" | "up" | "UP")
}

impl Entry {
    /// The name under which it is listed, as the newest evidence says.
    pub fn name(&self) -> &str {
        let row = self.rows.last().map(|row| row.row.name.as_str());
        row.or_else(|| self.records.last().map(|record| record.name.as_str()))
            .unwrap_or("")
    }

    pub fn address(&self) -> &str {
        let row = self.rows.last().map(|row| row.row.address.as_str());
        row.or_else(|| self.records.last().map(|record| record.address.as_str()))
            .unwrap_or("")
    }

    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.rows
            .last()
            .and_then(|row| row.row.metadata.get(key))
            .map(String::as_str)
    }

    pub fn health_path(&self) -> Option<&str> {
        self.rows
            .last()
            .and_then(|row| row.row.health_path.as_deref())
    }

    /// Its state at a moment; `None` before it was there.
    pub fn status_at(&self, at: Nanos) -> Option<&State> {
        let after = self.states.partition_point(|state| state.at <= at);
        after
            .checked_sub(1)
            .and_then(|place| self.states.get(place))
    }

    pub fn is_good_at(&self, at: Nanos) -> bool {
        self.status_at(at)
            .is_some_and(|state| is_good(&state.status))
    }

    /// Whether it is listed at a moment, in whatever state.
    pub fn is_listed_at(&self, at: Nanos) -> bool {
        self.status_at(at)
            .is_some_and(|state| !matches!(state.status.as_str(), "removed" | "deregistered"))
    }

    pub fn address_at(&self, at: Nanos) -> &str {
        let known = self.records.iter().rev().find(|record| record.at <= at);
        known.map_or_else(|| self.address(), |record| &record.address)
    }

    /// Periods in a state for which `wanted` holds, up to `end`.
    pub fn periods(&self, end: Nanos, wanted: impl Fn(&str) -> bool) -> Vec<(&State, Nanos)> {
        let mut out: Vec<(&State, Nanos)> = Vec::new();
        let mut open: Option<&State> = None;
        for state in &self.states {
            match (open, wanted(&state.status)) {
                (None, true) => open = Some(state),
                (Some(begun), false) => {
                    out.push((begun, state.at));
                    open = None;
                }
                _ => {}
            }
        }
        if let Some(begun) = open
            && begun.at < end
        {
            out.push((begun, end));
        }
        out
    }
}

/// Every entry, by registry and id.
#[derive(Debug, Default)]
pub struct Roster {
    pub entries: Vec<Entry>,
    /// When snapshots were taken, first and last.
    pub snapshots: Option<(Nanos, Nanos)>,
    /// When a registry said that it had begun anew.
    pub restarts: Vec<Nanos>,
    /// Nanoseconds, as the registry states them.
    pub heartbeat: Option<u64>,
    pub suspect: Option<u64>,
    pub expire: Option<u64>,
}

impl Roster {
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries
            .iter()
            .filter(move |entry| entry.name() == name)
    }

    pub fn id<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| entry.id == id)
    }

    /// Whether any instance of a service was ever registered under its own name.
    pub fn knows(&self, service: &str) -> bool {
        self.entries.iter().any(|entry| {
            entry.name() == service || entry.records.iter().any(|record| record.name == service)
        })
    }

    /// Who is registered at an address at a moment.
    pub fn at_address(&self, address: &str, at: Nanos) -> Option<&Entry> {
        self.entries
            .iter()
            .find(|entry| entry.is_listed_at(at) && entry.address_at(at) == address)
    }

    /// A time that a registry's clock takes for granted, or the usual one.
    pub fn expiry(&self) -> u64 {
        self.expire.unwrap_or(45_000_000_000)
    }

    pub fn beat(&self) -> u64 {
        self.heartbeat.unwrap_or(15_000_000_000)
    }

    fn take_event(
        &mut self,
        event: &RegistryEvent,
        places: &mut BTreeMap<(String, String), usize>,
    ) {
        if event.kind == "restarted" {
            self.restarts.push(event.at);
            for entry in &mut self.entries {
                if entry.registry == event.registry {
                    // What it knew is gone with its memory.
                    entry.states.push(State {
                        at: event.at,
                        status: "removed".to_owned(),
                        reason: "the registry began anew".to_owned(),
                        seq: Some(event.seq),
                    });
                }
            }
            return;
        }
        if event.id.is_empty() {
            return;
        }
        let entry = self.entry(&event.registry, &event.id, event.at, places);
        let status = match event.kind.as_str() {
            "registered" | "replaced" => {
                entry.records.push(Record {
                    at: event.at,
                    name: event.name.clone(),
                    address: event.address.clone(),
                    replaced: event.kind == "replaced",
                    seq: event.seq,
                });
                "healthy"
            }
            "expired" => "draining",
            kind @ ("suspect" | "draining" | "removed" | "deregistered") => kind,
            "status_changed" => {
                // "healthy to unhealthy: why"
                let reason = event.reason.as_deref().unwrap_or("");
                let change = reason.split(':').next().unwrap_or("");
                change.rsplit(" to ").next().unwrap_or("").trim()
            }
            _ => return,
        };
        entry.states.push(State {
            at: event.at,
            status: status.to_owned(),
            reason: event.reason.clone().unwrap_or_default(),
            seq: Some(event.seq),
        });
    }

    fn take_snapshot(
        &mut self,
        snapshot: &RegistrySnapshot,
        has_events: bool,
        places: &mut BTreeMap<(String, String), usize>,
    ) {
        for row in &snapshot.instances {
            let entry = self.entry(&snapshot.registry, &row.id, snapshot.at, places);
            entry.last_listed = entry.last_listed.max(Some(snapshot.at));
            entry.last_seen = entry.last_seen.max(row.last_seen);
            let same = entry.rows.last().is_some_and(|known| {
                let known = &known.row;
                (
                    &known.name,
                    &known.address,
                    &known.status,
                    &known.health_path,
                    &known.metadata,
                ) == (
                    &row.name,
                    &row.address,
                    &row.status,
                    &row.health_path,
                    &row.metadata,
                )
            });
            if !same {
                entry.rows.push(Row {
                    at: snapshot.at,
                    row: row.clone(),
                });
            }
            // Events tell when a state began; a snapshot only that it had.
            if (!has_events || entry.states.is_empty())
                && entry
                    .states
                    .last()
                    .is_none_or(|state| state.status != row.status)
            {
                entry.states.push(State {
                    at: snapshot.at,
                    status: row.status.clone(),
                    reason: String::new(),
                    seq: None,
                });
            }
        }
        if has_events {
            return;
        }
        for entry in &mut self.entries {
            let gone = entry.registry == snapshot.registry
                && entry.last_listed.is_some_and(|last| last < snapshot.at)
                && entry
                    .states
                    .last()
                    .is_some_and(|state| state.status != "removed");
            if gone {
                entry.states.push(State {
                    at: snapshot.at,
                    status: "removed".to_owned(),
                    reason: "no longer listed".to_owned(),
                    seq: None,
                });
            }
        }
    }

    fn entry(
        &mut self,
        registry: &str,
        id: &str,
        at: Nanos,
        places: &mut BTreeMap<(String, String), usize>,
    ) -> &mut Entry {
        let key = (registry.to_owned(), id.to_owned());
        let place = *places.entry(key).or_insert_with(|| {
            self.entries.push(Entry {
                registry: registry.to_owned(),
                id: id.to_owned(),
                first: at,
                ..Entry::default()
            });
            self.entries.len() - 1
        });
        let entry = &mut self.entries[place];
        entry.first = entry.first.min(at);
        entry
    }
}

impl Domain for Roster {
    fn settle(&mut self, basis: &Basis) {
        let registry = &basis.registry;
        let mut places = BTreeMap::new();
        for event in &registry.events {
            self.take_event(event, &mut places);
        }
        for snapshot in &registry.snapshots {
            self.take_snapshot(snapshot, !registry.events.is_empty(), &mut places);
        }
        for entry in &mut self.entries {
            entry.states.sort_by_key(|state| (state.at, state.seq));
        }
        self.entries
            .sort_by(|a, b| (&a.registry, &a.id).cmp(&(&b.registry, &b.id)));
        let times = registry.snapshots.iter().map(|snapshot| snapshot.at);
        self.snapshots = times.clone().min().zip(times.max());
        self.heartbeat = stated_limit(&registry.snapshots, "heartbeat");
        self.suspect = stated_limit(&registry.snapshots, "suspect");
        self.expire = stated_limit(&registry.snapshots, "expire_after");
    }
}
