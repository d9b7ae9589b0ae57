//! Where each trace stands in a traces file: folded ids in order, each with its rows.
//!
//! An entry takes ten bytes. Six thousand traces fit in 60 KB, and one is found by reading a few hundred bytes of that.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::Written;
use crate::CaseError;

const MAGIC: &[u8; 16] = b"casefile index 1";
const ENTRY: usize = 10;
/// Bits of a folded id that are kept.
const FOLD: u64 = (1 << 48) - 1;

/// Where the rows of one trace begin; they end where another trace id stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TraceStart {
    pub(crate) fold: u64,
    pub(crate) first_row: u32,
}

pub(super) fn write(path: &Path, starts: &[TraceStart]) -> Result<Written, CaseError> {
    let mut sorted: Vec<TraceStart> = starts
        .iter()
        .map(|start| TraceStart {
            fold: start.fold & FOLD,
            ..*start
        })
        .collect();
    sorted.sort_unstable();
    let mut bytes = Vec::with_capacity(MAGIC.len() + sorted.len() * ENTRY);
    bytes.extend_from_slice(MAGIC);
    for start in &sorted {
        bytes.extend_from_slice(&start.fold.to_le_bytes()[..6]);
        bytes.extend_from_slice(&start.first_row.to_le_bytes());
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

/// First rows of traces whose id folds to `fold`; rarely more than one, and readers compare the ids themselves.
pub(crate) fn find(path: &Path, fold: u64) -> Result<Vec<usize>, CaseError> {
    let fold = fold & FOLD;
    let file = File::open(path).map_err(CaseError::io("open", path))?;
    let len = file
        .metadata()
        .map_err(CaseError::io("look at", path))?
        .len();
    let body = len.saturating_sub(MAGIC.len() as u64);
    if !body.is_multiple_of(ENTRY as u64) {
        return Err(CaseError::damaged(path, "the index is cut short"));
    }
    let entry = |at: u64| -> Result<TraceStart, CaseError> {
        let mut bytes = [0; ENTRY];
        file.read_exact_at(&mut bytes, MAGIC.len() as u64 + at * ENTRY as u64)
            .map_err(CaseError::io("read", path))?;
        let (mut fold, mut row) = ([0; 8], [0; 4]);
        fold[..6].copy_from_slice(&bytes[..6]);
        row.copy_from_slice(&bytes[6..]);
        Ok(TraceStart {
            fold: u64::from_le_bytes(fold),
            first_row: u32::from_le_bytes(row),
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
        let start = entry(low)?;
        if start.fold != fold {
            break;
        }
        found.push(start.first_row as usize);
        low += 1;
    }
    Ok(found)
}
