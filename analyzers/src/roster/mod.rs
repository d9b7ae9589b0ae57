//! The registry against reality: every instance that a registry knew or that sent spans, with what each side says of it.
//!
//! `states` turns a registry's events and snapshots into stretches of time. Here they are put beside heartbeats, spans,
//! probes and the caches of others, and each instance gets a standing. Whether a standing is a fault, and whose, is for
//! the rules to say.

mod states;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use case::model::{Resource, Span, SpanKind};
use case::signal::{ProbeResult, RegistryEvent, RegistrySnapshot};
use case::{Nanos, Window};
use serde::Serialize;

pub use states::{State, Stretch};

use crate::callee;
use crate::registry::stated_limit;

/// Instances kept at most; names come from whoever can reach a collector.
const MOST_INSTANCES: usize = 100_000;
/// Silence shorter than this says nothing, whatever the registry's timing.
const SHORTEST_SILENCE: u64 = 15_000_000_000;

/// How an instance's two sides fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It serves and no registry lists it.
    ServingUnregistered,
    /// It is out of the registry and others still hold its address.
    CachedThoughGone,
    /// The registry hands it out, and it sends nothing any more.
    RegisteredButSilent,
    /// The registry no longer hands it out, or soon will not.
    Ailing,
    /// The registry hands it out and probes do not reach it.
    RegisteredButUnreachable,
    /// It has left.
    Gone,
    /// Registered, and it never sent a span: nothing contradicts the registry.
    Unheard,
    Agrees,
}

impl Standing {
    pub fn text(self) -> &'static str {
        match self {
            Standing::ServingUnregistered => "serving, but unregistered",
            Standing::CachedThoughGone => "gone, yet cached",
            Standing::RegisteredButSilent => "registered, but silent",
            Standing::Ailing => "on its way out",
            Standing::RegisteredButUnreachable => "registered, but unreachable",
            Standing::Gone => "gone",
            Standing::Unheard => "registered, sends no spans",
            Standing::Agrees => "",
        }
    }

    /// Whether the two sides contradict each other.
    pub fn is_odd(self) -> bool {
        matches!(
            self,
            Standing::ServingUnregistered
                | Standing::CachedThoughGone
                | Standing::RegisteredButSilent
                | Standing::RegisteredButUnreachable
        )
    }
}

/// Who still lists an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holder {
    pub caller: String,
    /// Milliseconds it has had the entry for, when it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
}

/// What the last look at an address found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Probed {
    pub at: Nanos,
    pub check: String,
    pub ok: bool,
    /// `refused`, `503` …; `ok` if nothing was wrong.
    pub found: String,
}

/// One instance from both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Instance {
    pub id: String,
    pub service: String,
    pub address: String,
    pub version: String,
    /// Whether a registry ever knew it.
    pub known: bool,
    pub state: State,
    pub since: Nanos,
    pub reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<Nanos>,
    /// How old the last heartbeat was at the last snapshot, in nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat_age: Option<u64>,
    pub spans: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_span: Option<Nanos>,
    /// The last call it served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_served: Option<Nanos>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probed>,
    pub cached_by: Vec<Holder>,
    pub states: Vec<Stretch>,
    pub standing: Standing,
}

/// All instances: those that stand out first, then by service and id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Roster {
    pub window: Window,
    pub registries: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_snapshot: Option<Nanos>,
    pub events: usize,
    pub names: usize,
    pub instances: Vec<Instance>,
    /// Senders of spans that no registry knows and that serve nobody.
    pub only_callers: usize,
}

/// What spans say of one sender.
#[derive(Debug, Clone, Default)]
struct Heard {
    service: String,
    version: String,
    address: String,
    spans: u64,
    last: Nanos,
    served: Option<Nanos>,
}

/// Spans of a window, cut down to who was heard when.
#[derive(Debug, Default)]
pub struct Gather {
    heard: BTreeMap<String, Heard>,
    last: Option<(Arc<Resource>, String)>,
}

impl Gather {
    pub fn take(&mut self, span: &Span) {
        let resource = &span.origin.resource;
        let same = matches!(&self.last, Some((last, _)) if Arc::ptr_eq(last, resource));
        if !same {
            // Who names no instance is known by the service.
            let name = if resource.instance().is_empty() {
                resource.service()
            } else {
                resource.instance()
            };
            self.last = Some((Arc::clone(resource), name.to_owned()));
        }
        let Some((_, name)) = &self.last else { return };
        if !self.heard.contains_key(name) {
            if self.heard.len() >= MOST_INSTANCES {
                return;
            }
            self.heard.insert(name.clone(), Heard::default());
        }
        let Some(heard) = self.heard.get_mut(name) else {
            return;
        };
        heard.spans += 1;
        heard.last = heard.last.max(span.start);
        if !same {
            let version = resource.attributes.text("service.version").unwrap_or("");
            for (known, new) in [
                (&mut heard.service, resource.service()),
                (&mut heard.version, version),
            ] {
                if new > known.as_str() {
                    new.clone_into(known);
                }
            }
        }
        if span.kind == SpanKind::Server {
            heard.served = heard.served.max(Some(span.start));
            if heard.address.is_empty()
                && let Some(address) = callee::address(span)
            {
                heard.address = address;
            }
        }
    }

    /// Puts both sides together. Events and snapshots up to the window's end, each by time.
    pub fn settle(
        self,
        window: Window,
        events: &[RegistryEvent],
        snapshots: &[RegistrySnapshot],
        probes: &[ProbeResult],
    ) -> Roster {
        let mut instances = states::instances(window, events, snapshots);
        let mut of_instance: BTreeMap<String, usize> = BTreeMap::new();
        let mut of_address: BTreeMap<String, usize> = BTreeMap::new();
        for (place, instance) in instances.iter().enumerate() {
            of_instance.insert(instance.id.clone(), place);
            of_address.insert(instance.address.clone(), place);
        }
        let last_snapshot = snapshots.last();
        let mut only_callers = 0;
        for (name, heard) in self.heard {
            let place = of_instance
                .get(&name)
                .or_else(|| of_address.get(&heard.address))
                .copied();
            let place = match place {
                Some(place) => place,
                None if heard.served.is_some() => {
                    instances.push(Instance::unknown(&name, &heard));
                    instances.len() - 1
                }
                None => {
                    only_callers += 1;
                    continue;
                }
            };
            let instance = &mut instances[place];
            instance.spans += heard.spans;
            instance.last_span = instance.last_span.max(Some(heard.last));
            instance.last_served = instance.last_served.max(heard.served);
            if instance.version.is_empty() {
                instance.version = heard.version;
            }
        }
        take_probes(&mut instances, probes);
        let silence = longest_silence(snapshots);
        let any_registry = !events.is_empty() || !snapshots.is_empty();
        for instance in &mut instances {
            instance.standing = standing(instance, window, silence, any_registry);
        }
        instances
            .sort_by(|a, b| (a.standing, &a.service, &a.id).cmp(&(b.standing, &b.service, &b.id)));
        let mut registries: Vec<String> = events
            .iter()
            .map(|event| &event.registry)
            .chain(snapshots.iter().map(|snapshot| &snapshot.registry))
            .cloned()
            .collect();
        registries.sort();
        registries.dedup();
        let mut names: Vec<&str> = instances
            .iter()
            .filter(|instance| instance.known)
            .map(|instance| instance.service.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        Roster {
            window,
            registries,
            last_snapshot: last_snapshot.map(|snapshot| snapshot.at),
            events: events.len(),
            names: names.len(),
            instances,
            only_callers,
        }
    }
}

impl Instance {
    fn unknown(name: &str, heard: &Heard) -> Instance {
        Instance {
            id: name.to_owned(),
            service: heard.service.clone(),
            address: heard.address.clone(),
            version: heard.version.clone(),
            known: false,
            state: State::Unregistered,
            since: Nanos(0),
            reason: String::new(),
            heartbeat: None,
            heartbeat_age: None,
            spans: 0,
            last_span: None,
            last_served: None,
            probe: None,
            cached_by: Vec::new(),
            states: Vec::new(),
            standing: Standing::Agrees,
        }
    }
}

/// The checks that say most of an instance, in the order in which a failure counts.
const CHECKS: [&str; 4] = ["connect", "caches", "ready", "live"];

/// The last look at each instance, and who was last seen to hold it.
fn take_probes(instances: &mut [Instance], probes: &[ProbeResult]) {
    let mut of_instance: BTreeMap<String, usize> = BTreeMap::new();
    let mut of_address: BTreeMap<String, usize> = BTreeMap::new();
    for (place, instance) in instances.iter().enumerate() {
        of_instance.insert(instance.id.clone(), place);
        of_address.insert(instance.address.clone(), place);
    }
    let mut last: BTreeMap<(usize, &str), &ProbeResult> = BTreeMap::new();
    for probe in probes {
        let named = probe.instance.as_ref().and_then(|id| of_instance.get(id));
        let Some(place) = named.or_else(|| of_address.get(&probe.address)) else {
            continue;
        };
        let instance = &mut instances[*place];
        if let Some(holders) = probe.raw.get("cached_by").and_then(|list| list.as_array()) {
            // A cache that was looked into before the instance left says nothing of what it holds since.
            let counts = !instance.state.is_gone() || probe.at > instance.since;
            instance.cached_by = if counts {
                holders.iter().filter_map(holder).collect()
            } else {
                Vec::new()
            };
        }
        let newest = last.entry((*place, probe.check.as_str())).or_insert(probe);
        if newest.at <= probe.at {
            *newest = probe;
        }
    }
    for (place, instance) in instances.iter_mut().enumerate() {
        let of = |check: &str| last.get(&(place, check)).copied();
        // A page that is not there is no failure of the instance.
        let failed = |probe: &&ProbeResult| !probe.ok && probe.status != Some(404);
        let checks = || CHECKS.into_iter().filter_map(of);
        let told = checks()
            .find(failed)
            .or_else(|| checks().max_by_key(|probe| probe.at));
        instance.probe = told.map(|probe| Probed {
            at: probe.at,
            check: probe.check.clone(),
            ok: !failed(&probe),
            found: found(probe),
        });
    }
}

/// What a probe found, in a word or two.
fn found(probe: &ProbeResult) -> String {
    const LONGEST: usize = 40;
    match (&probe.error, probe.status) {
        _ if probe.ok => "ok".to_owned(),
        (_, Some(404)) => "no such page".to_owned(),
        (_, Some(status)) => status.to_string(),
        (Some(error), None) => error.chars().take(LONGEST).collect(),
        (None, None) => "failed".to_owned(),
    }
}

fn holder(value: &serde_json::Value) -> Option<Holder> {
    let named = |key: &str| value.get(key).and_then(serde_json::Value::as_str);
    let caller = value
        .as_str()
        .or_else(|| named("caller"))
        .or_else(|| named("instance"))
        .or_else(|| named("instance_id"))?;
    Some(Holder {
        caller: caller.to_owned(),
        age_ms: value.get("age_ms").and_then(serde_json::Value::as_u64),
    })
}

/// From how much silence on an instance that heartbeats is silent: its heartbeats leave spans, or its work does.
fn longest_silence(snapshots: &[RegistrySnapshot]) -> u64 {
    stated_limit(snapshots, "expire").map_or(60_000_000_000, |limit| limit.max(SHORTEST_SILENCE))
}

fn standing(instance: &Instance, window: Window, silence: u64, any_registry: bool) -> Standing {
    let now = window.until;
    let quiet_since = |at: Nanos| now.0.saturating_sub(at.0) > silence;
    if !instance.known {
        return if any_registry {
            Standing::ServingUnregistered
        } else {
            Standing::Agrees
        };
    }
    if instance.state.is_gone() {
        // What was under way when it left may still end; what began well after it left was served unregistered.
        let served_since = instance
            .last_served
            .is_some_and(|at| at.0 > instance.since.0.saturating_add(SHORTEST_SILENCE));
        if served_since {
            Standing::ServingUnregistered
        } else if !instance.cached_by.is_empty() {
            Standing::CachedThoughGone
        } else {
            Standing::Gone
        }
    } else if !instance.state.is_handed_out() || instance.state == State::Suspect {
        Standing::Ailing
    } else if instance.probe.as_ref().is_some_and(|probe| !probe.ok) {
        Standing::RegisteredButUnreachable
    } else {
        match instance.last_span {
            Some(at) if quiet_since(at) => Standing::RegisteredButSilent,
            Some(_) => Standing::Agrees,
            None => Standing::Unheard,
        }
    }
}
