//! A registry's events and snapshots as stretches of time for each instance.

use std::collections::BTreeMap;

use case::signal::{RegistryEvent, RegistrySnapshot};
use case::{Nanos, Window};
use serde::Serialize;

use super::{Instance, Standing};

/// What a registry holds an instance for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Starting,
    Healthy,
    Degraded,
    Suspect,
    Unhealthy,
    Draining,
    Removed,
    /// A state of a name nobody here knows.
    Other,
    /// No registry ever listed it.
    Unregistered,
}

impl State {
    /// A state by the name registries give it.
    pub fn of(name: &str) -> State {
        match name {
            "starting" => State::Starting,
            "healthy" | "passing" | "UP" | "up" => State::Healthy,
            "degraded" | "warning" => State::Degraded,
            "suspect" => State::Suspect,
            "unhealthy" | "critical" | "DOWN" | "down" => State::Unhealthy,
            "draining" | "expired" | "OUT_OF_SERVICE" => State::Draining,
            "removed" | "deregistered" => State::Removed,
            _ => State::Other,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Healthy => "healthy",
            State::Degraded => "degraded",
            State::Suspect => "suspect",
            State::Unhealthy => "unhealthy",
            State::Draining => "draining",
            State::Removed => "removed",
            State::Other => "unknown",
            State::Unregistered => "not registered",
        }
    }

    /// Whether a lookup may return it.
    pub fn is_handed_out(self) -> bool {
        matches!(
            self,
            State::Healthy | State::Degraded | State::Suspect | State::Other
        )
    }

    pub fn is_gone(self) -> bool {
        matches!(self, State::Draining | State::Removed)
    }
}

/// A time in which an instance was in one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Stretch {
    pub since: Nanos,
    pub until: Nanos,
    pub state: State,
}

/// What one instance went through.
#[derive(Default)]
struct Story {
    service: String,
    address: String,
    version: String,
    /// Changes by time: state and reason.
    changes: Vec<(Nanos, State, String)>,
    heartbeat: Option<Nanos>,
    heartbeat_age: Option<u64>,
}

/// The state an event leaves an instance in; `None` if it changes none.
fn after(event: &RegistryEvent) -> Option<State> {
    let reason = event.reason.as_deref().unwrap_or("");
    match event.kind.as_str() {
        "registered" | "replaced" => Some(State::Healthy),
        "suspect" => Some(State::Suspect),
        "expired" | "draining" => Some(State::Draining),
        "removed" | "deregistered" => Some(State::Removed),
        // The reason ends in the new state, or holds nothing but it.
        "status_changed" => {
            let last = reason
                .split(|c: char| !c.is_ascii_alphabetic() && c != '_')
                .rfind(|word| !word.is_empty())?;
            let state = State::of(last);
            (state != State::Other).then_some(state)
        }
        _ => None,
    }
}

pub(super) fn instances(
    window: Window,
    events: &[RegistryEvent],
    snapshots: &[RegistrySnapshot],
) -> Vec<Instance> {
    let mut stories: BTreeMap<&str, Story> = BTreeMap::new();
    for event in events.iter().filter(|event| !event.id.is_empty()) {
        let story = stories.entry(&event.id).or_default();
        for (known, new) in [
            (&mut story.service, &event.name),
            (&mut story.address, &event.address),
        ] {
            if !new.is_empty() {
                new.clone_into(known);
            }
        }
        if let Some(state) = after(event) {
            let reason = event.reason.clone().unwrap_or_default();
            story.changes.push((event.at, state, reason));
        }
    }
    let told = !events.is_empty();
    for (number, snapshot) in snapshots.iter().enumerate() {
        for listed in &snapshot.instances {
            let story = stories.entry(&listed.id).or_default();
            listed.name.clone_into(&mut story.service);
            listed.address.clone_into(&mut story.address);
            if let Some(version) = listed.metadata.get("version") {
                version.clone_into(&mut story.version);
            }
            let at = snapshot.as_of.unwrap_or(snapshot.at);
            if let Some(seen) = listed.last_seen {
                story.heartbeat = story.heartbeat.max(Some(seen));
                story.heartbeat_age = Some(at.0.saturating_sub(seen.0));
            }
            let state = State::of(&listed.status);
            // Before the first event about it, an instance was what the snapshot says since it registered.
            let since = if story.changes.is_empty() {
                listed.registered_at.unwrap_or(at)
            } else {
                at
            };
            story.changes.push((since, state, String::new()));
        }
        // Where no events tell, who is missing from the next snapshot has gone.
        if !told {
            for (id, story) in &mut stories {
                let listed = snapshot.instances.iter().any(|listed| listed.id == **id);
                if !listed && number > 0 {
                    let reason = "no longer listed".to_owned();
                    story.changes.push((snapshot.at, State::Removed, reason));
                }
            }
        }
    }
    stories
        .into_iter()
        .map(|(id, story)| instance(id, story, window))
        .collect()
}

fn instance(id: &str, mut story: Story, window: Window) -> Instance {
    story.changes.sort_by_key(|(at, ..)| *at);
    // What changes nothing is no change.
    story.changes.dedup_by(|next, first| next.1 == first.1);
    let mut states = Vec::new();
    for (place, (since, state, _)) in story.changes.iter().enumerate() {
        let until = story
            .changes
            .get(place + 1)
            .map_or(window.until, |(at, ..)| *at);
        if until > window.from && *since < window.until {
            states.push(Stretch {
                since: (*since).max(window.from),
                until: until.min(window.until),
                state: *state,
            });
        }
    }
    let (since, state, reason) =
        story
            .changes
            .pop()
            .unwrap_or((Nanos(0), State::Other, String::new()));
    Instance {
        id: id.to_owned(),
        service: story.service,
        address: story.address,
        version: story.version,
        known: true,
        state,
        since,
        reason,
        heartbeat: story.heartbeat,
        heartbeat_age: story.heartbeat_age,
        spans: 0,
        last_span: None,
        last_served: None,
        probe: None,
        cached_by: Vec::new(),
        states,
        standing: Standing::Agrees,
    }
}
