//! From logs to segments: in the background while the case is live, and once and for all when it is sealed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::retain::retain;
use super::{CaseWriter, Promise, SealMode, Shared, WriterOptions, lock, wall_clock};
use crate::manifest::{Manifest, Seal, Segment};
use crate::segment::{Built, build};
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
    // Whoever imports waits for the sealer in the end; senders don't.
    let yields = shared.options.promise == Promise::Durable;
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
        let outcome = seal_log(shared, id, &mut || {
            if yields {
                yield_to_ingest(shared);
            }
        });
        let mut sealing = lock(&shared.sealing);
        match outcome {
            Ok(warning) => {
                sealing.full.pop_front();
                sealing.failure = warning;
            }
            Err(error) => {
                sealing.failure = Some(error.to_string());
                if sealing.closing {
                    return;
                }
                // A full disk may have room again later; the log keeps what it holds meanwhile.
                let (waited, _) = shared
                    .wake_sealer
                    .wait_timeout(sealing, shared.options.seal_retry)
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

/// Turns one log into a segment: files first, then the manifest as one step, then the log goes. Answers what went wrong
/// beside it. May be called again after any failure: no step is done twice.
fn seal_log(
    shared: &Shared,
    id: u64,
    pause: &mut dyn FnMut(),
) -> Result<Option<String>, CaseError> {
    let warning = if lock(&shared.manifest).sealed_through < id {
        let made = catch_unwind(AssertUnwindSafe(|| build(&shared.path, id, pause)));
        let built = made.unwrap_or_else(|_| {
            let log = log::path(&shared.path, id);
            Err(CaseError::damaged(log, "no segment could be made of it"))
        });
        match built {
            Ok(built) => publish(shared, id, built)?,
            Err(error) => {
                remove_files_of(&shared.path, id);
                return Err(error);
            }
        }
    } else {
        // The manifest was replaced, but not flushed, or the log could not be removed.
        lock(&shared.manifest).store(&shared.path)?;
        None
    };
    let sealed = log::path(&shared.path, id);
    match std::fs::remove_file(&sealed) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(CaseError::io("remove", sealed)(error))
        }
        _ => Ok(warning),
    }
}

/// Makes a segment part of the case.
fn publish(shared: &Shared, id: u64, built: Built) -> Result<Option<String>, CaseError> {
    let case = &shared.path;
    let mut manifest = lock(&shared.manifest);
    let mut next = manifest.clone();
    next.sealed_through = id;
    next.damaged.extend(
        built
            .unreadable
            .iter()
            .map(|what| format!("log {id}: {what}")),
    );
    next.folded_requests = shared.folded_requests.load(Ordering::Relaxed);
    next.folded_items = shared.folded_items.load(Ordering::Relaxed);
    let mut going = Vec::new();
    if built.segment.items.is_empty() {
        going.extend(paths(&built.segment));
    } else {
        next.segments.push(built.segment);
    }
    let mut warning = None;
    let mut retained = next.clone();
    match retain(case, &mut retained, shared.options.retain_bytes, id) {
        Ok(dropped) => {
            going.extend(dropped);
            next = retained;
        }
        Err(error) => warning = Some(format!("nothing could be dropped: {error}")),
    }
    if let Err(error) = next.store(case) {
        match Manifest::load(case) {
            // The old one stands: what was made is nobody's.
            Ok(on_disk) if on_disk != next => {
                for path in next.segments.iter().flat_map(paths) {
                    if !manifest
                        .segments
                        .iter()
                        .flat_map(paths)
                        .any(|old| old == path)
                    {
                        let _ = std::fs::remove_file(case.join(path));
                    }
                }
            }
            // The new one stands, or may: it counts from now on, and is flushed before the log goes.
            _ => *manifest = next,
        }
        return Err(error);
    }
    *manifest = next;
    for path in going {
        // Readers that still hold the old manifest see it missing, and read the new one.
        let _ = std::fs::remove_file(case.join(path));
    }
    Ok(warning)
}

fn paths(segment: &Segment) -> impl Iterator<Item = String> {
    segment.files.iter().map(|file| file.path.clone())
}

/// Removes what an attempt to seal a log left: on a full disk it is in the way.
fn remove_files_of(case: &Path, id: u64) {
    let Ok(entries) = std::fs::read_dir(case.join("segments")) else {
        return;
    };
    let prefix = format!("{id:010}-");
    for entry in entries.flatten() {
        if entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(&prefix))
        {
            let _ = std::fs::remove_file(entry.path());
        }
    }
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
    writer.drain()?;
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
    let mut sealed = manifest.clone();
    sealed.sealed = Some(Seal {
        at: wall_clock(),
        hash: manifest.content_hash(),
    });
    sealed.store(case)?;
    *manifest = sealed.clone();
    Ok(sealed)
}
