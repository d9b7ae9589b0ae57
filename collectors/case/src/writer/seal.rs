//! From logs to segments: in the background while the case is live, and once and for all when it is sealed.

use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::seen::Seen;
use super::{CaseWriter, SealMode, Shared, WriterOptions, lock, wall_clock};
use crate::manifest::{Content, Manifest, Seal};
use crate::segment::build;
use crate::{CaseError, log};

/// Full logs that may wait before the sealer stops yielding: beyond this readers of the live case would grow slow.
const PATIENCE: usize = 64;

/// How far sealing has come.
#[derive(Debug, Clone, Copy)]
pub struct SealProgress {
    pub done: usize,
    pub of: usize,
}

/// The sealer's thread: until the writer closes and no full log is left.
pub(super) fn run(shared: &Shared) {
    loop {
        let next = {
            let mut sealing = lock(&shared.sealing);
            while sealing.full.is_empty() && !sealing.closing {
                sealing = shared
                    .wake_sealer
                    .wait(sealing)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            sealing.full.front().copied()
        };
        let Some(id) = next else { return };
        let outcome = seal_log(shared, id, &mut || yield_to_ingest(shared));
        let mut sealing = lock(&shared.sealing);
        match outcome {
            Ok(()) => {
                sealing.full.pop_front();
                sealing.failure = None;
            }
            Err(error) => {
                sealing.failure = Some(error.to_string());
                if sealing.closing {
                    return;
                }
                // A full disk may have room again later; the log keeps what it holds meanwhile.
                let (waited, _) = shared
                    .wake_sealer
                    .wait_timeout(sealing, Duration::from_secs(5))
                    .unwrap_or_else(PoisonError::into_inner);
                drop(waited);
            }
        }
    }
}

/// Lets requests go first, as long as the sealer can afford to wait.
fn yield_to_ingest(shared: &Shared) {
    let before = shared.committed.load(Ordering::Relaxed);
    for _ in 0..3 {
        {
            let sealing = lock(&shared.sealing);
            if sealing.closing || sealing.full.len() > PATIENCE {
                return;
            }
        }
        if lock(&shared.queue).waiting.is_empty()
            && shared.committed.load(Ordering::Relaxed) == before
        {
            return;
        }
        std::thread::sleep(Duration::from_micros(500));
    }
}

/// Turns one log into a segment: files first, then the manifest as one step, then the log goes.
fn seal_log(shared: &Shared, id: u64, pause: &mut dyn FnMut()) -> Result<(), CaseError> {
    let built = build(&shared.path, id, pause)?;
    {
        let mut manifest = lock(&shared.manifest);
        let mut next = manifest.clone();
        next.sealed_through = id;
        next.damaged.extend(
            built
                .unreadable
                .iter()
                .map(|what| format!("log {id}: {what}")),
        );
        next.segments.push(built.segment);
        next.folded_requests = shared.folded_requests.load(Ordering::Relaxed);
        next.folded_items = shared.folded_items.load(Ordering::Relaxed);
        let dropped = retain(&mut next, shared.options.retain_bytes);
        next.store(&shared.path)?;
        *manifest = next;
        for path in dropped {
            // Readers that still hold the old manifest see it missing, and read the new one.
            let _ = std::fs::remove_file(shared.path.join(path));
        }
    }
    let sealed = log::path(&shared.path, id);
    std::fs::remove_file(&sealed).map_err(CaseError::io("remove", sealed))
}

/// Takes the oldest segments out until the rest fits; returns the files that may go.
fn retain(manifest: &mut Manifest, limit: Option<u64>) -> Vec<String> {
    let Some(limit) = limit else {
        return Vec::new();
    };
    let mut paths = Vec::new();
    let mut bytes: u64 = manifest
        .segments
        .iter()
        .map(|segment| segment.bytes())
        .sum();
    while bytes > limit && manifest.segments.len() > 1 {
        let oldest = manifest.segments.remove(0);
        bytes -= oldest.bytes();
        manifest.dropped.segments += 1;
        manifest.dropped.bytes += oldest.bytes();
        for (signal, count) in &oldest.items {
            *manifest
                .dropped
                .items
                .entry(signal.name().to_owned())
                .or_default() += count;
        }
        paths.extend(oldest.files.into_iter().map(|file| file.path));
    }
    paths
}

/// Segments whose requests are remembered at a start: the newest few hold everything a client may still send again.
const REMEMBERED_SEGMENTS: usize = 16;

/// Learns which requests the newest segments hold.
pub(super) fn remember_requests(
    case: &Path,
    manifest: &Manifest,
    seen: &mut Seen,
) -> Result<(), CaseError> {
    let from = manifest.segments.len().saturating_sub(REMEMBERED_SEGMENTS);
    for segment in &manifest.segments[from..] {
        let Some(file) = segment.file(Content::Requests) else {
            continue;
        };
        let path = case.join(&file.path);
        let bytes = std::fs::read(&path).map_err(CaseError::io("read", path))?;
        for entry in bytes.chunks_exact(20) {
            let (mut hash, mut items) = ([0; 16], [0; 4]);
            hash.copy_from_slice(&entry[..16]);
            items.copy_from_slice(&entry[16..]);
            seen.durable(
                u128::from_le_bytes(hash),
                u64::from(u32::from_le_bytes(items)),
            );
        }
    }
    Ok(())
}

/// Seals a case: every log becomes a segment, everything is hashed, and the case is read-only from then on.
pub fn seal_case(
    case: &Path,
    mut progress: impl FnMut(SealProgress),
) -> Result<Manifest, CaseError> {
    let manifest = Manifest::load(case)?;
    if manifest.sealed.is_some() {
        return Err(CaseError::Sealed(case.to_owned()));
    }
    let writer = CaseWriter::open(
        case,
        WriterOptions {
            seal: SealMode::Manual,
            ..WriterOptions::default()
        },
    )?;
    writer.close()?;
    let shared = &writer.shared;
    let full: Vec<u64> = lock(&shared.sealing).full.iter().copied().collect();
    for (done, id) in full.iter().enumerate() {
        progress(SealProgress {
            done,
            of: full.len(),
        });
        seal_log(shared, *id, &mut || {})?;
    }
    for id in log::list(case)? {
        // What is left is the empty log the writer had begun.
        let path = log::path(case, id);
        std::fs::remove_file(&path).map_err(CaseError::io("remove", path))?;
    }
    let mut manifest = lock(&shared.manifest);
    manifest.sealed = Some(Seal {
        at: wall_clock(),
        hash: manifest.content_hash(),
    });
    manifest.store(case)?;
    Ok(manifest.clone())
}
