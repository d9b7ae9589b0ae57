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
    /// The traces it is all that retention left of; empty for a segment that was made of a log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pinned: Vec<crate::TraceId>,
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
    /// Of a table: the part that is believed when it is opened, without hashing the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub footer: Option<Footer>,
}

/// The end of a table's file, which says where everything else stands and what it sums to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Footer {
    pub bytes: u64,
    pub crc: u32,
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

    /// Whether it was made by retention, and all it holds is still pinned.
    pub(crate) fn holds_only(&self, pinned: &std::collections::BTreeSet<crate::TraceId>) -> bool {
        !self.pinned.is_empty() && self.pinned.iter().all(|trace| pinned.contains(trace))
    }
}

/// The manifest's bytes begin with the hash of all that follow it.
const OPENING: &str = "{\n  \"checksum\": \"";
const CLOSING: &str = "\",\n";

/// Where the manifest lies in a case.
pub fn path(case: &Path) -> PathBuf {
    case.join("manifest.json")
}

/// Everything else in a case can be lost in part; the manifest can't, so there are two.
fn copy_path(case: &Path) -> PathBuf {
    case.join("manifest.copy.json")
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

    /// The manifest of a case; its copy, where the manifest itself is damaged or gone.
    pub fn load(case: &Path) -> Result<Manifest, CaseError> {
        Manifest::load_noting(case).map(|(manifest, _)| manifest)
    }

    /// The same, and what is wrong with the manifest if its copy had to serve.
    pub fn load_noting(case: &Path) -> Result<(Manifest, Option<String>), CaseError> {
        let error = match Manifest::read(&path(case)) {
            Ok(manifest) => return Ok((manifest, None)),
            Err(error) => error,
        };
        let missing = matches!(error, CaseError::NoCase(_));
        if !missing && !matches!(error, CaseError::Damaged { .. }) {
            return Err(error);
        }
        match Manifest::read(&copy_path(case)) {
            Ok(manifest) if missing => Ok((manifest, Some("manifest.json is missing".to_owned()))),
            Ok(manifest) => Ok((manifest, Some(error.to_string()))),
            Err(_) if missing => Err(CaseError::NoCase(case.to_owned())),
            Err(_) => Err(error),
        }
    }

    /// Whether both copies on disk are this one.
    pub(crate) fn is_intact(&self, case: &Path) -> bool {
        [path(case), copy_path(case)]
            .iter()
            .all(|path| Manifest::read(path).is_ok_and(|on_disk| on_disk == *self))
    }

    fn read(path: &Path) -> Result<Manifest, CaseError> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) =>
            {
                return Err(CaseError::NoCase(path.to_owned()));
            }
            Err(error) => return Err(CaseError::io("read", path)(error)),
        };
        let damaged = |error: serde_json::Error| CaseError::damaged(path, error.to_string());
        let version: Version = serde_json::from_slice(&bytes).map_err(damaged)?;
        if version.format > FORMAT {
            return Err(CaseError::NewerFormat {
                path: path.to_owned(),
                found: version.format,
                known: FORMAT,
            });
        }
        let whole = bytes
            .strip_prefix(OPENING.as_bytes())
            .and_then(|rest| rest.split_at_checked(2 * blake3::OUT_LEN))
            .and_then(|(sum, rest)| Some((sum, rest.strip_prefix(CLOSING.as_bytes())?)))
            .is_some_and(|(sum, rest)| blake3::hash(rest).to_hex().as_bytes() == sum);
        if !whole {
            return Err(CaseError::damaged(path, "its checksum does not match"));
        }
        serde_json::from_slice(&bytes).map_err(damaged)
    }

    /// Replaces the manifest, then its copy. After an error the new one may stand already: [`Manifest::load`] tells.
    pub fn store(&self, case: &Path) -> Result<(), CaseError> {
        let path = path(case);
        let bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| CaseError::damaged(&path, error.to_string()))?;
        let rest = bytes.strip_prefix(b"{\n").unwrap_or(&bytes);
        let sum = blake3::hash(rest).to_hex();
        let mut whole = format!("{OPENING}{sum}{CLOSING}").into_bytes();
        whole.extend_from_slice(rest);
        files::replace(&path, &whole)?;
        files::replace(&copy_path(case), &whole)
    }
}
