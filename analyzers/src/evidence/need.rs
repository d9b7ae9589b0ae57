//! What a rule can't do without, each with how to see that it is missing.
//!
//! A need belongs to no list: whoever writes a domain may state more of them beside it.

use serde::ser::{Serialize, Serializer};

use super::Evidence;

/// A kind of signal that a rule can't do without.
#[derive(Clone, Copy)]
pub struct Need {
    /// As people call it: "client spans with server.address and server.port".
    pub name: &'static str,
    /// Why it is not met, or `None` if it is: "no client spans in the window".
    pub missing: fn(&Evidence) -> Option<String>,
}

impl std::fmt::Debug for Need {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Serialize for Need {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

/// "no X in the window", where there are none.
pub fn none(number: u64, what: &str) -> Option<String> {
    (number == 0).then(|| format!("no {what} in the window"))
}

pub const REGISTRY: Need = Need {
    name: "registry events or snapshots",
    missing: |evidence| {
        let registry = &evidence.basis.registry;
        none(
            (registry.events.len() + registry.snapshots.len()) as u64,
            "registry events or snapshots",
        )
    },
};

pub const REGISTRY_EVENTS: Need = Need {
    name: "registry events",
    missing: |evidence| {
        none(
            evidence.basis.registry.events.len() as u64,
            "registry events",
        )
    },
};

pub const REGISTRY_SNAPSHOTS: Need = Need {
    name: "registry snapshots",
    missing: |evidence| {
        none(
            evidence.basis.registry.snapshots.len() as u64,
            "registry snapshots",
        )
    },
};

pub const PROBES: Need = Need {
    name: "probe results",
    missing: |evidence| none(evidence.basis.probes.len() as u64, "probe results"),
};

pub const SPANS: Need = Need {
    name: "spans",
    missing: |evidence| none(evidence.counts.spans, "spans"),
};

pub const LOGS: Need = Need {
    name: "log records",
    missing: |evidence| none(evidence.counts.logs, "log records"),
};

pub const METRICS: Need = Need {
    name: "metric points",
    missing: |evidence| none(evidence.counts.metrics, "metric points"),
};

pub const JOURNAL: Need = Need {
    name: "saga journal records",
    missing: |evidence| none(evidence.counts.journal, "saga journal records"),
};

pub const LEDGER: Need = Need {
    name: "ledger rows",
    missing: |evidence| none(evidence.counts.ledger, "ledger rows"),
};
