//! The kinds of signal a case holds, and the rows of those that OTLP has no words for.
//!
//! Spans, logs and metrics travel as OTLP; what watchers see of registries, probes, sagas and ledgers travels as the
//! rows below, as JSON lines.

mod watched;

pub use watched::{
    JournalRecord, LedgerRow, ProbeResult, RegistryEvent, RegistryInstance, RegistrySnapshot,
};

use serde::{Deserialize, Serialize};

/// What a payload handed to a case holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// OTLP `ExportTraceServiceRequest`, protobuf.
    Traces,
    /// OTLP `ExportLogsServiceRequest`, protobuf.
    Logs,
    /// OTLP `ExportMetricsServiceRequest`, protobuf.
    Metrics,
    /// [`RegistrySnapshot`]s, one JSON object a line.
    RegistrySnapshots,
    /// [`RegistryEvent`]s, one JSON object a line.
    RegistryEvents,
    /// [`ProbeResult`]s, one JSON object a line.
    Probes,
    /// [`JournalRecord`]s, one JSON object a line.
    Journal,
    /// [`LedgerRow`]s, one JSON object a line.
    Ledger,
}

impl Signal {
    pub const ALL: [Signal; 8] = [
        Signal::Traces,
        Signal::Logs,
        Signal::Metrics,
        Signal::RegistrySnapshots,
        Signal::RegistryEvents,
        Signal::Probes,
        Signal::Journal,
        Signal::Ledger,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Signal::Traces => "traces",
            Signal::Logs => "logs",
            Signal::Metrics => "metrics",
            Signal::RegistrySnapshots => "registry_snapshots",
            Signal::RegistryEvents => "registry_events",
            Signal::Probes => "probes",
            Signal::Journal => "journal",
            Signal::Ledger => "ledger",
        }
    }
}
