//! Where each trace stands in a traces file: folded ids in order, each with its rows.
//!
//! Twelve thousand traces fit in 200 KB, and one is found by reading a few hundred bytes of that.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::Written;
use crate::CaseError;

const MAGIC: &[u8; 16] = b"casefile index 1";
const ENTRY: usize = 16;

/// The rows of one trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceRange {
    pub(crate) fold: u64,
    pub(crate) first_row: u32,
    pub(crate) rows: u32,
}

pub(super) fn write(path: &Path, ranges: &[TraceRange]) -> Result<Written, CaseError> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable_by_key(|range| (range.fold, range.first_row));
    let mut bytes = Vec::with_capacity(MAGIC.len() + sorted.len() * ENTRY);
    bytes.extend_from_slice(MAGIC);
    for range in &sorted {
        bytes.extend_from_slice(&range.fold.to_le_bytes());
        bytes.extend_from_slice(&range.first_row.to_le_bytes());
        bytes.extend_from_slice(&range.rows.to_le_bytes());
    }
    let mut file = File::create(path).map_err(CaseError::io("create", path))?;
    file.write_all(&bytes)
        .and_then(|()| file.sync_all())
        .map_err(CaseError::io("write", path))?;
    Ok(Written {
        bytes: bytes.len() as u64,
        rows: sorted.len() as u64,
        hash: blake3::hash(&bytes).to_hex().to_string(),
    })
}

/// Rows whose trace id folds to `fold`; rarely of more than one trace, so readers compare the ids themselves.
pub(crate) fn find(path: &Path, fold: u64) -> Result<Vec<TraceRange>, CaseError> {
    let file = File::open(path).map_err(CaseError::io("open", path))?;
    let len = file
        .metadata()
        .map_err(CaseError::io("look at", path))?
        .len();
    let body = len.saturating_sub(MAGIC.len() as u64);
    if !body.is_multiple_of(ENTRY as u64) {
        return Err(CaseError::damaged(path, "the index is cut short"));
    }
    let entry = |at: u64| -> Result<TraceRange, CaseError> {
        let mut bytes = [0; ENTRY];
        file.read_exact_at(&mut bytes, MAGIC.len() as u64 + at * ENTRY as u64)
            .map_err(CaseError::io("read", path))?;
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Ok(TraceRange {
            fold: u64::from(word(0)) | u64::from(word(4)) << 32,
            first_row: word(8),
            rows: word(12),
        })
    };
    let count = body / ENTRY as u64;
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low.midpoint(high);
        if entry(middle)?.fold < fold {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let mut found = Vec::new();
    while low < count {
        let range = entry(low)?;
        if range.fold != fold {
            break;
        }
        found.push(range);
        low += 1;
    }
    Ok(found)
}
