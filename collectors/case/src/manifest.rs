//! The manifest: which files make up the case, replaced as one step.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::CaseError;
use crate::files;
use crate::signal::Signal;
use crate::time::Nanos;

/// The newest layout this code reads and writes.
pub const FORMAT: u32 = 1;

/// Everything about a case that is not in the signals themselves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    pub created: Nanos,
    /// Logs up to this number are in segments; later ones are read as logs.
    pub sealed_through: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<Seal>,
    /// Requests that came again, byte for byte, and were not written again.
    #[serde(default)]
    pub folded_requests: u64,
    #[serde(default)]
    pub folded_items: u64,
    /// What retention has dropped so far.
    #[serde(default)]
    pub dropped: Dropped,
    /// Traces that retention must keep.
    #[serde(default)]
    pub pinned: Vec<crate::TraceId>,
    /// What could not be read when logs became segments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<String>,
    pub segments: Vec<Segment>,
}

/// The case's last word: from here on it is read-only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seal {
    pub at: Nanos,
    /// BLAKE3 over the name, length and hash of every file, in order.
    pub hash: String,
}

/// What retention removed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Dropped {
    pub segments: u64,
    pub bytes: u64,
    pub items: BTreeMap<String, u64>,
}

/// What one log became.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    pub id: u64,
    /// Items per signal.
    pub items: BTreeMap<Signal, u64>,
    /// Earliest and latest event time in it, 0 where it holds none.
    pub first: Nanos,
    pub last: Nanos,
    pub files: Vec<SegmentFile>,
}

/// One file of a segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmentFile {
    /// Relative to the case.
    pub path: String,
    pub content: Content,
    pub bytes: u64,
    pub rows: u64,
    /// BLAKE3 of the file.
    pub hash: String,
}

/// What a segment's file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    Traces,
    /// Where each trace stands in the traces file.
    TraceIndex,
    Logs,
    MetricsGauge,
    MetricsSum,
    MetricsHistogram,
    MetricsExpHistogram,
    MetricsSummary,
    RegistrySnapshots,
    RegistryEvents,
    Probes,
    Journal,
    Ledger,
    /// Hashes of the requests in it, so that one sent again is still recognised.
    Requests,
}

impl Content {
    /// The tables, in the order they are listed to people.
    pub const TABLES: [Content; 12] = [
        Content::Traces,
        Content::Logs,
        Content::MetricsGauge,
        Content::MetricsSum,
        Content::MetricsHistogram,
        Content::MetricsExpHistogram,
        Content::MetricsSummary,
        Content::RegistrySnapshots,
        Content::RegistryEvents,
        Content::Probes,
        Content::Journal,
        Content::Ledger,
    ];

    /// The table's name in SQL, that of the OpenTelemetry ClickHouse schema where there is one.
    pub fn table(self) -> &'static str {
        match self {
            Content::Traces => "otel_traces",
            Content::TraceIndex => "trace_index",
            Content::Logs => "otel_logs",
            Content::MetricsGauge => "otel_metrics_gauge",
            Content::MetricsSum => "otel_metrics_sum",
            Content::MetricsHistogram => "otel_metrics_histogram",
            Content::MetricsExpHistogram => "otel_metrics_exponential_histogram",
            Content::MetricsSummary => "otel_metrics_summary",
            Content::RegistrySnapshots => "registry_snapshots",
            Content::RegistryEvents => "registry_events",
            Content::Probes => "probes",
            Content::Journal => "saga_journal",
            Content::Ledger => "ledger",
            Content::Requests => "requests",
        }
    }
}

impl Segment {
    /// The file of this content, if the segment has one.
    pub fn file(&self, content: Content) -> Option<&SegmentFile> {
        self.files.iter().find(|file| file.content == content)
    }

    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// Where the manifest lies in a case.
pub fn path(case: &Path) -> PathBuf {
    case.join("manifest.json")
}

impl Manifest {
    pub fn new(created: Nanos) -> Manifest {
        Manifest {
            format: FORMAT,
            created,
            sealed_through: 0,
            sealed: None,
            folded_requests: 0,
            folded_items: 0,
            dropped: Dropped::default(),
            pinned: Vec::new(),
            damaged: Vec::new(),
            segments: Vec::new(),
        }
    }

    /// One hash over every file: its name, its length, its hash.
    pub fn content_hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for file in self.segments.iter().flat_map(|segment| &segment.files) {
            hasher.update(format!("{} {} {}\n", file.path, file.bytes, file.hash).as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }

    pub fn load(case: &Path) -> Result<Manifest, CaseError> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let path = path(case);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(CaseError::NoCase(case.to_owned()));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
                return Err(CaseError::NoCase(case.to_owned()));
            }
            Err(error) => return Err(CaseError::io("read", path)(error)),
        };
        let version: Version = serde_json::from_slice(&bytes)
            .map_err(|error| CaseError::damaged(&path, error.to_string()))?;
        if version.format > FORMAT {
            return Err(CaseError::NewerFormat {
                path: case.to_owned(),
                found: version.format,
                known: FORMAT,
            });
        }
        serde_json::from_slice(&bytes).map_err(|error| CaseError::damaged(path, error.to_string()))
    }

    pub fn store(&self, case: &Path) -> Result<(), CaseError> {
        let path = path(case);
        let bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| CaseError::damaged(&path, error.to_string()))?;
        files::replace(&path, &bytes)
    }
}
