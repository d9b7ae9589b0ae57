//! Who is where and who calls whom, learnt from registries and from calls whose both sides left spans.

use std::collections::BTreeMap;

use case::model::{Span, SpanKind};
use case::signal::{RegistryEvent, RegistrySnapshot};
use case::{Nanos, SpanTable};

use crate::callee;
use crate::tree::{NONE, Shapes};

/// Addresses remembered at most: a hostile sender must not fill the memory.
const MOST_ADDRESSES: usize = 200_000;

/// Who answers at an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resident {
    pub service: String,
    /// Empty if only the service is known.
    pub instance: String,
}

/// A caller or callee with how often it was seen in that place.
pub type Counts = BTreeMap<String, u64>;

/// What is known of a system's services beyond one trace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directory {
    /// Residents of an address in the order of the times they were first known there.
    addresses: BTreeMap<String, Vec<(Nanos, Resident)>>,
    /// Services that answered calls of a name, by that name.
    servers: BTreeMap<String, Counts>,
    /// Services that called an operation, by service and operation.
    callers: BTreeMap<(String, String), Counts>,
    /// Server and consumer spans each service left.
    serving: Counts,
}

impl Directory {
    /// Notes where a server span was served. Addresses are all that a span alone tells.
    pub fn take_span(&mut self, span: &Span) {
        if span.kind == SpanKind::Server
            && let Some(address) = callee::address(span)
        {
            self.resides(
                span.start,
                &address,
                span.service(),
                span.origin.resource.instance(),
            );
        }
    }

    pub fn take_event(&mut self, event: &RegistryEvent) {
        if matches!(event.kind.as_str(), "registered" | "replaced") {
            self.resides(event.at, &event.address, &event.name, &event.id);
        }
    }

    pub fn take_snapshot(&mut self, snapshot: &RegistrySnapshot) {
        for instance in &snapshot.instances {
            let since = instance.registered_at.unwrap_or(snapshot.at);
            self.resides(since, &instance.address, &instance.name, &instance.id);
            // An instance often serves on more ports than the one it is known by.
            let Some((host, _)) = instance.address.rsplit_once(':') else {
                continue;
            };
            for key in ["http_port", "grpc_port"] {
                if let Some(port) = instance.metadata.get(key).filter(|port| !port.is_empty()) {
                    let address = format!("{host}:{port}");
                    self.resides(since, &address, &instance.name, &instance.id);
                }
            }
        }
    }

    fn resides(&mut self, at: Nanos, address: &str, service: &str, instance: &str) {
        if address.is_empty() || service.is_empty() {
            return;
        }
        if self.addresses.len() >= MOST_ADDRESSES && !self.addresses.contains_key(address) {
            return;
        }
        let known = self.addresses.entry(address.to_owned()).or_default();
        let resident = Resident {
            service: service.to_owned(),
            instance: instance.to_owned(),
        };
        match known.iter_mut().find(|(_, other)| *other == resident) {
            Some((since, _)) => *since = (*since).min(at),
            None => known.push((at, resident)),
        }
        known.sort();
    }

    /// Learns who calls whom from spans whose parents are known.
    pub fn take_table(&mut self, table: &SpanTable, shapes: &Shapes) {
        // Counted by number first: names are looked up once for each pair, not once for each span.
        let mut served: BTreeMap<(u32, u32), u64> = BTreeMap::new();
        let mut called: BTreeMap<(u32, u32, u32), u64> = BTreeMap::new();
        let mut serving = vec![0u64; table.services.len()];
        for row in 0..table.len() {
            let kind = table.kind(row);
            if !matches!(kind, SpanKind::Server | SpanKind::Consumer) {
                continue;
            }
            serving[table.service[row] as usize] += 1;
            let parent = shapes.parent[row];
            if parent == NONE || kind != SpanKind::Server {
                continue;
            }
            let parent = parent as usize;
            if table.kind(parent) == SpanKind::Client {
                *served
                    .entry((table.name[parent], table.service[row]))
                    .or_default() += 1;
            }
            *called
                .entry((table.service[row], table.name[row], table.service[parent]))
                .or_default() += 1;
        }
        for ((name, service), count) in served {
            let name = table.names.get(name).to_owned();
            add(
                self.servers.entry(name).or_default(),
                table.services.get(service),
                count,
            );
        }
        for ((service, name, caller), count) in called {
            let key = (
                table.services.get(service).to_owned(),
                table.names.get(name).to_owned(),
            );
            add(
                self.callers.entry(key).or_default(),
                table.services.get(caller),
                count,
            );
        }
        for (service, count) in serving.into_iter().enumerate().filter(|(_, n)| *n > 0) {
            add(&mut self.serving, table.services.get(service as u32), count);
        }
    }

    /// Who was at an address at a time: the last to have come by then, else the first to come later.
    pub fn resident(&self, address: &str, at: Nanos) -> Option<&Resident> {
        let known = self.addresses.get(address)?;
        known
            .iter()
            .rev()
            .find(|(since, _)| *since <= at)
            .or_else(|| known.first())
            .map(|(_, resident)| resident)
    }

    /// The service an instance belongs to.
    pub fn service_of(&self, instance: &str) -> Option<&str> {
        self.addresses
            .values()
            .flatten()
            .find(|(_, resident)| resident.instance == instance)
            .map(|(_, resident)| resident.service.as_str())
    }

    /// Services that answered calls of this name, where both sides left spans.
    pub fn servers(&self, call: &str) -> Option<&Counts> {
        self.servers.get(call)
    }

    /// Services that called this operation of a service, where both sides left spans.
    pub fn callers(&self, service: &str, operation: &str) -> Option<&Counts> {
        self.callers
            .get(&(service.to_owned(), operation.to_owned()))
    }

    /// Whether a service leaves spans of what it serves at all.
    pub fn leaves_spans(&self, service: &str) -> bool {
        self.serving.contains_key(service)
    }
}

fn add(counts: &mut Counts, name: &str, by: u64) {
    if !name.is_empty() {
        *counts.entry(name.to_owned()).or_default() += by;
    }
}
