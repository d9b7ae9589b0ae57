//! Where each trace stands in a traces file: folded ids in order, each with its rows.
//!
//! An entry takes eight bytes. Six thousand traces fit in 48 KB, and one is found by reading a few blocks of that. Each
//! block ends in its checksum, so that a trace is never missed in silence.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::Written;
use crate::CaseError;
use crate::manifest::SegmentFile;

const MAGIC: &[u8; 16] = b"casefile index 1";
const ENTRY: usize = 8;
/// Entries under one checksum.
const BLOCK: usize = 256;
const SUM: usize = 4;
const BLOCK_BYTES: u64 = (BLOCK * ENTRY + SUM) as u64;
/// Bits of a folded id that are kept.
const FOLD: u64 = (1 << 40) - 1;
/// Rows an entry can name. A log of 64 MiB holds a tenth of that in the smallest spans there are.
const ROWS: u32 = 1 << 24;

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
    if starts.iter().any(|start| start.first_row >= ROWS) {
        let reason = format!("a segment holds at most {ROWS} spans");
        return Err(CaseError::io("write", path)(std::io::Error::other(reason)));
    }
    let mut bytes = Vec::with_capacity(MAGIC.len() + sorted.len() * ENTRY);
    bytes.extend_from_slice(MAGIC);
    for block in sorted.chunks(BLOCK) {
        let from = bytes.len();
        for start in block {
            bytes.extend_from_slice(&start.fold.to_le_bytes()[..5]);
            bytes.extend_from_slice(&start.first_row.to_le_bytes()[..3]);
        }
        let sum = crc32fast::hash(&bytes[from..]);
        bytes.extend_from_slice(&sum.to_le_bytes());
    }
    let mut file = File::create(path).map_err(CaseError::io("create", path))?;
    file.write_all(&bytes)
        .and_then(|()| file.sync_all())
        .map_err(CaseError::io("write", path))?;
    Ok(Written {
        bytes: bytes.len() as u64,
        rows: sorted.len() as u64,
        hash: blake3::hash(&bytes).to_hex().to_string(),
        footer: None,
    })
}

/// First rows of traces whose id folds to `fold`; rarely more than one, and readers compare the ids themselves.
pub(crate) fn find(case: &Path, listed: &SegmentFile, fold: u64) -> Result<Vec<usize>, CaseError> {
    let path = case.join(&listed.path);
    find_in(&path, listed.bytes, fold)
}

fn find_in(path: &Path, listed_bytes: u64, fold: u64) -> Result<Vec<usize>, CaseError> {
    let fold = fold & FOLD;
    let file = File::open(path).map_err(CaseError::io("open", path))?;
    let len = file
        .metadata()
        .map_err(CaseError::io("look at", path))?
        .len();
    if len != listed_bytes {
        let what = format!("it has {len} bytes and should have {listed_bytes}");
        return Err(CaseError::damaged(path, what));
    }
    let body = len.saturating_sub(MAGIC.len() as u64);
    let mut buffer = Vec::new();
    // Few blocks are looked at, and each is checked.
    let mut load = |number: u64| -> Result<Vec<TraceStart>, CaseError> {
        let left = body - number * BLOCK_BYTES;
        buffer.resize(left.min(BLOCK_BYTES) as usize, 0);
        file.read_exact_at(&mut buffer, MAGIC.len() as u64 + number * BLOCK_BYTES)
            .map_err(CaseError::io("read", path))?;
        let entries = buffer
            .len()
            .checked_sub(SUM)
            .filter(|len| *len > 0 && len % ENTRY == 0)
            .ok_or_else(|| CaseError::damaged(path, "the index is cut short"))?;
        let (entries, sum) = buffer.split_at(entries);
        if crc32fast::hash(entries).to_le_bytes() != sum {
            return Err(CaseError::damaged(path, "a checksum does not match"));
        }
        Ok(entries.chunks_exact(ENTRY).map(entry).collect())
    };
    let count = body.div_ceil(BLOCK_BYTES);
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low.midpoint(high);
        if load(middle)?.last().is_some_and(|last| last.fold < fold) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let mut found = Vec::new();
    while low < count {
        let block = load(low)?;
        let from = block.partition_point(|start| start.fold < fold);
        let alike = block[from..].iter().take_while(|start| start.fold == fold);
        found.extend(alike.map(|start| start.first_row as usize));
        if block.last().is_some_and(|last| last.fold > fold) {
            break;
        }
        low += 1;
    }
    Ok(found)
}

fn entry(bytes: &[u8]) -> TraceStart {
    let (mut fold, mut row) = ([0; 8], [0; 4]);
    fold[..5].copy_from_slice(&bytes[..5]);
    row[..3].copy_from_slice(&bytes[5..]);
    TraceStart {
        fold: u64::from_le_bytes(fold),
        first_row: u32::from_le_bytes(row),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_trace_is_found_whatever_block_it_is_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.bin");
        for count in [0u32, 1, 255, 256, 257, 1_000] {
            let fold = |n: u32| u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15) & FOLD;
            let mut starts: Vec<TraceStart> = (0..count)
                .map(|n| TraceStart {
                    fold: fold(n),
                    first_row: n * 3,
                })
                .collect();
            // Many that fold alike, across blocks.
            starts.extend((0..600).map(|n| TraceStart {
                fold: 77,
                first_row: n,
            }));
            let len = write(&path, &starts).unwrap().bytes;
            let find = |fold| find_in(&path, len, fold);
            for n in 0..count {
                assert_eq!(find(fold(n)).unwrap(), [n as usize * 3]);
            }
            assert_eq!(find(77).unwrap(), (0..600).collect::<Vec<_>>());
            assert!(find(78).unwrap().is_empty());
            assert!(find(FOLD).unwrap().is_empty());
        }
    }
}
