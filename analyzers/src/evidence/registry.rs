//! What a registry said: events, snapshots and who left. Read whole, before any other signal.

use case::signal::{RegistryEvent, RegistrySnapshot};

use crate::registry::{Departure, departures};

/// All of it up to the end of the window.
#[derive(Debug, Default)]
pub struct Registry {
    /// By time and number.
    pub events: Vec<RegistryEvent>,
    /// By time and registry.
    pub snapshots: Vec<RegistrySnapshot>,
    pub departures: Vec<Departure>,
}

impl Registry {
    pub(super) fn new(
        mut events: Vec<RegistryEvent>,
        mut snapshots: Vec<RegistrySnapshot>,
    ) -> Registry {
        events.sort_by(|a, b| {
            (a.at, &a.registry, a.seq, &a.id, &a.kind).cmp(&(
                b.at,
                &b.registry,
                b.seq,
                &b.id,
                &b.kind,
            ))
        });
        // A watcher that reads the log anew reports what it had reported.
        events.dedup();
        snapshots.sort_by(|a, b| (a.at, &a.registry, a.seq).cmp(&(b.at, &b.registry, b.seq)));
        Registry {
            departures: departures(&events, &snapshots),
            events,
            snapshots,
        }
    }
}
