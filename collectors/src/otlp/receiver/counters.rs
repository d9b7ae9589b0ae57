//! What a receiver has taken and refused since it started, readable at any time.

use std::sync::atomic::{AtomicU64, Ordering};

use case::{Receipt, Signal};

use super::refusal::Refusal;

/// Counts that only grow; shared by all connections.
#[derive(Default)]
pub struct Counters {
    traces: SignalCounters,
    logs: SignalCounters,
    metrics: SignalCounters,
    /// Refused before it was known what was sent.
    unrouted: [AtomicU64; Refusal::NAMES.len()],
    connections: AtomicU64,
    turned_away: AtomicU64,
    evicted: AtomicU64,
}

#[derive(Default)]
struct SignalCounters {
    requests: AtomicU64,
    received_bytes: AtomicU64,
    payload_bytes: AtomicU64,
    acknowledged: AtomicU64,
    accepted_items: AtomicU64,
    rejected_items: AtomicU64,
    duplicates: AtomicU64,
    refused: [AtomicU64; Refusal::NAMES.len()],
}

/// The counts at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    pub traces: SignalCounts,
    pub logs: SignalCounts,
    pub metrics: SignalCounts,
    /// Requests that named no signal, by reason; reasons never met are left out.
    pub unrouted: Vec<(&'static str, u64)>,
    /// Connections accepted.
    pub connections: u64,
    /// Connections answered with "busy" or closed because there were too many.
    pub turned_away: u64,
    /// Idle connections closed to make room.
    pub evicted: u64,
}

/// The counts of one signal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SignalCounts {
    /// Requests that began, whatever became of them.
    pub requests: u64,
    /// Bytes of whole bodies as they were sent.
    pub received_bytes: u64,
    /// Bytes handed on, decompressed and as protobuf.
    pub payload_bytes: u64,
    /// Requests answered with success, partial success included.
    pub acknowledged: u64,
    pub accepted_items: u64,
    pub rejected_items: u64,
    /// Acknowledged requests that were there already, byte for byte.
    pub duplicates: u64,
    /// Refused requests by reason; reasons never met are left out.
    pub refused: Vec<(&'static str, u64)>,
}

impl SignalCounts {
    /// All refused requests together.
    pub fn refused_total(&self) -> u64 {
        self.refused.iter().map(|(_, count)| count).sum()
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Counters {
    pub fn snapshot(&self) -> Counts {
        Counts {
            traces: self.traces.snapshot(),
            logs: self.logs.snapshot(),
            metrics: self.metrics.snapshot(),
            unrouted: by_name(&self.unrouted),
            connections: read(&self.connections),
            turned_away: read(&self.turned_away),
            evicted: read(&self.evicted),
        }
    }

    fn of(&self, signal: Signal) -> &SignalCounters {
        match signal {
            Signal::Logs => &self.logs,
            Signal::Metrics => &self.metrics,
            _ => &self.traces,
        }
    }

    pub(super) fn began(&self, signal: Signal) {
        add(&self.of(signal).requests, 1);
    }

    pub(super) fn received(&self, signal: Signal, bytes: usize) {
        add(&self.of(signal).received_bytes, bytes as u64);
    }

    pub(super) fn handed_on(&self, signal: Signal, bytes: usize) {
        add(&self.of(signal).payload_bytes, bytes as u64);
    }

    pub(super) fn acknowledged(&self, signal: Signal, receipt: &Receipt) {
        let counters = self.of(signal);
        add(&counters.acknowledged, 1);
        add(&counters.accepted_items, receipt.accepted);
        add(&counters.rejected_items, receipt.rejected);
        add(&counters.duplicates, u64::from(receipt.duplicate));
    }

    pub(super) fn refused(&self, signal: Option<Signal>, refusal: &Refusal) {
        let reasons = match signal {
            Some(signal) => &self.of(signal).refused,
            None => &self.unrouted,
        };
        add(&reasons[refusal.index()], 1);
    }

    pub(super) fn connected(&self) {
        add(&self.connections, 1);
    }

    pub(super) fn turned_away(&self) {
        add(&self.turned_away, 1);
    }

    pub(super) fn evicted(&self) {
        add(&self.evicted, 1);
    }
}

impl SignalCounters {
    fn snapshot(&self) -> SignalCounts {
        SignalCounts {
            requests: read(&self.requests),
            received_bytes: read(&self.received_bytes),
            payload_bytes: read(&self.payload_bytes),
            acknowledged: read(&self.acknowledged),
            accepted_items: read(&self.accepted_items),
            rejected_items: read(&self.rejected_items),
            duplicates: read(&self.duplicates),
            refused: by_name(&self.refused),
        }
    }
}

fn by_name(reasons: &[AtomicU64; Refusal::NAMES.len()]) -> Vec<(&'static str, u64)> {
    let counted = Refusal::NAMES.into_iter().zip(reasons.iter().map(read));
    counted.filter(|(_, count)| *count > 0).collect()
}
