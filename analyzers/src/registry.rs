//! What a registry said over time: who left, when, and whether anybody came to that address again.

use std::collections::BTreeMap;

use case::Nanos;
use case::signal::{RegistryEvent, RegistrySnapshot};
use serde::Serialize;

/// An instance that a registry stopped handing out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Departure {
    pub instance: String,
    pub service: String,
    pub address: String,
    /// From here on lookups no longer return it.
    pub at: Nanos,
    /// expired, draining, removed, deregistered; `missing` when only snapshots tell.
    pub kind: String,
    pub reason: String,
    /// The registry's number of the event, if an event tells.
    pub seq: Option<u64>,
    /// When the same instance, or another at its address, was registered again.
    pub back: Option<Nanos>,
}

impl Departure {
    /// Whether the address stood for nobody at that moment.
    pub fn is_gone_at(&self, at: Nanos) -> bool {
        self.at <= at && self.back.is_none_or(|back| at < back)
    }
}

/// Event kinds after which a lookup no longer returns the instance.
fn leaves(kind: &str) -> bool {
    matches!(kind, "expired" | "draining" | "removed" | "deregistered")
}

fn arrives(kind: &str) -> bool {
    matches!(kind, "registered" | "replaced")
}

/// Who left, in order of time. Events tell if there are any; else what vanishes between two snapshots.
pub fn departures(events: &[RegistryEvent], snapshots: &[RegistrySnapshot]) -> Vec<Departure> {
    let mut out = if events.is_empty() {
        from_snapshots(snapshots)
    } else {
        from_events(events)
    };
    out.sort_by(|a, b| (a.at, &a.instance).cmp(&(b.at, &b.instance)));
    out
}

fn from_events(events: &[RegistryEvent]) -> Vec<Departure> {
    let mut out: Vec<Departure> = Vec::new();
    // Places in `out` of those who are gone, by instance and by address.
    let mut gone: BTreeMap<&str, usize> = BTreeMap::new();
    let mut addresses: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    for event in events {
        if arrives(&event.kind) {
            addresses.insert(&event.id, (&event.address, &event.name));
            gone.remove(event.id.as_str());
            for departure in out.iter_mut().filter(|departure| departure.back.is_none()) {
                if departure.instance == event.id || departure.address == event.address {
                    departure.back = Some(event.at);
                }
            }
        } else if leaves(&event.kind) && !gone.contains_key(event.id.as_str()) {
            let known = addresses.get(event.id.as_str()).copied();
            let or_known = |text: &str, known: Option<&str>| {
                if text.is_empty() {
                    known.unwrap_or("").to_owned()
                } else {
                    text.to_owned()
                }
            };
            gone.insert(&event.id, out.len());
            out.push(Departure {
                instance: event.id.clone(),
                service: or_known(&event.name, known.map(|(_, name)| name)),
                address: or_known(&event.address, known.map(|(address, _)| address)),
                at: event.at,
                kind: event.kind.clone(),
                reason: event.reason.clone().unwrap_or_default(),
                seq: Some(event.seq),
                back: None,
            });
        } else if event.kind == "status_changed"
            && event
                .reason
                .as_deref()
                .is_some_and(|reason| reason.contains("healthy"))
        {
            // An instance that was draining and recovered is handed out again.
            let recovered = !event
                .reason
                .as_deref()
                .is_some_and(|reason| reason.contains("unhealthy"));
            if recovered && let Some(place) = gone.remove(event.id.as_str()) {
                out[place].back = Some(event.at);
            }
        }
    }
    out
}

fn from_snapshots(snapshots: &[RegistrySnapshot]) -> Vec<Departure> {
    let mut out: Vec<Departure> = Vec::new();
    for pair in snapshots.windows(2) {
        let [before, after] = pair else { continue };
        if before.registry != after.registry {
            continue;
        }
        let listed = |snapshot: &RegistrySnapshot, id: &str| {
            snapshot
                .instances
                .iter()
                .any(|instance| instance.id == id && !leaves(&instance.status))
        };
        for instance in before
            .instances
            .iter()
            .filter(|instance| !leaves(&instance.status))
        {
            if !listed(after, &instance.id) {
                out.push(Departure {
                    instance: instance.id.clone(),
                    service: instance.name.clone(),
                    address: instance.address.clone(),
                    at: after.at,
                    kind: "missing".to_owned(),
                    reason: String::new(),
                    seq: None,
                    back: None,
                });
            }
        }
        for departure in out
            .iter_mut()
            .filter(|departure| departure.back.is_none() && departure.at < after.at)
        {
            let again = after.instances.iter().any(|i| {
                !leaves(&i.status) && (i.id == departure.instance || i.address == departure.address)
            });
            if again {
                departure.back = Some(after.at);
            }
        }
    }
    out
}

/// The longest time a registry is believed to wait.
const LONGEST_STATED: u64 = 10 * 365 * 24 * 3_600 * 1_000_000_000;

/// A limit of time that a registry's own configuration states, in nanoseconds: the first key that holds `word`, with
/// the unit its name ends in (`_ns`, `_ms`, `_s`; seconds where it says none).
pub fn stated_limit(snapshots: &[RegistrySnapshot], word: &str) -> Option<u64> {
    let config = snapshots
        .iter()
        .rev()
        .find_map(|snapshot| snapshot.config.as_object())?;
    config
        .iter()
        .filter(|(key, _)| key.contains(word))
        .find_map(|(key, value)| {
            let number = value.as_f64().filter(|number| *number > 0.0)?;
            let scale = if key.ends_with("_ms") {
                1e6
            } else if key.ends_with("_ns") || key.ends_with("_nano") {
                1.0
            } else {
                1e9
            };
            // Whoever states more than ten years may as well state none; and doubled, it still is a number.
            Some(((number * scale) as u64).min(LONGEST_STATED))
        })
}

#[cfg(test)]
mod tests {
    use case::signal::RegistryInstance;

    use super::*;

    fn event(at: u64, kind: &str, id: &str, address: &str) -> RegistryEvent {
        RegistryEvent {
            at: Nanos(at),
            registry: "r".into(),
            seq: at,
            kind: kind.into(),
            id: id.into(),
            name: "payment".into(),
            address: address.into(),
            reason: None,
        }
    }

    #[test]
    fn the_first_step_out_counts_and_coming_back_ends_it() {
        let events = [
            event(1, "registered", "p1", "h:1"),
            event(2, "registered", "p2", "h:2"),
            event(5, "suspect", "p1", "h:1"),
            event(6, "expired", "p1", "h:1"),
            event(7, "draining", "p1", ""),
            event(9, "removed", "p1", ""),
            event(12, "registered", "p3", "h:1"),
            event(20, "deregistered", "p2", ""),
        ];
        let found = departures(&events, &[]);
        assert_eq!(found.len(), 2);
        assert_eq!(
            (
                found[0].instance.as_str(),
                found[0].at,
                found[0].kind.as_str()
            ),
            ("p1", Nanos(6), "expired")
        );
        assert_eq!(
            found[0].back,
            Some(Nanos(12)),
            "another instance took the address"
        );
        assert_eq!((found[1].address.as_str(), found[1].back), ("h:2", None));
        assert!(
            found[0].is_gone_at(Nanos(6))
                && found[0].is_gone_at(Nanos(11))
                && !found[0].is_gone_at(Nanos(12))
        );
    }

    #[test]
    fn a_drain_that_is_called_off_is_no_departure_any_more() {
        let mut healthy = event(4, "status_changed", "p1", "");
        healthy.reason = Some("draining -> healthy".into());
        let events = [
            event(1, "registered", "p1", "h:1"),
            event(3, "draining", "p1", ""),
            healthy,
        ];
        assert_eq!(departures(&events, &[])[0].back, Some(Nanos(4)));
    }

    fn snapshot(at: u64, instances: &[(&str, &str, &str)]) -> RegistrySnapshot {
        RegistrySnapshot {
            at: Nanos(at),
            as_of: None,
            registry: "r".into(),
            seq: None,
            config: serde_json::json!({"expire_after_ms": 2250, "sweep_s": 1}),
            instances: instances
                .iter()
                .map(|(id, address, status)| RegistryInstance {
                    id: (*id).into(),
                    name: "payment".into(),
                    address: (*address).into(),
                    status: (*status).into(),
                    last_seen: None,
                    registered_at: None,
                    seq: None,
                    health_path: None,
                    metadata: BTreeMap::new(),
                })
                .collect(),
        }
    }

    #[test]
    fn snapshots_alone_tell_as_well() {
        let snapshots = [
            snapshot(1, &[("p1", "h:1", "healthy"), ("p2", "h:2", "healthy")]),
            snapshot(2, &[("p1", "h:1", "draining"), ("p2", "h:2", "healthy")]),
            snapshot(3, &[("p2", "h:2", "healthy")]),
            snapshot(4, &[("p2", "h:2", "healthy"), ("p9", "h:1", "healthy")]),
        ];
        let found = departures(&[], &snapshots);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].at, found[0].back, found[0].seq),
            (Nanos(2), Some(Nanos(4)), None)
        );
    }

    #[test]
    fn limits_are_read_in_their_unit() {
        let snapshots = [snapshot(1, &[])];
        assert_eq!(stated_limit(&snapshots, "expire"), Some(2_250_000_000));
        assert_eq!(stated_limit(&snapshots, "sweep"), Some(1_000_000_000));
        assert_eq!(stated_limit(&snapshots, "grace"), None);
    }
}
