//! What a start finds: where to go on, which logs are full, which requests are durable already.

use std::fs::OpenOptions;
use std::path::Path;

use super::WriterOptions;
use super::seen::Seen;
use crate::log::{self, LogAppender, LogReader, Mark, TornKind};
use crate::manifest::{Content, Manifest};
use crate::{CaseError, files};

pub(super) struct Recovered {
    pub(super) active: LogAppender,
    pub(super) full: Vec<u64>,
    pub(super) seen: Seen,
}

/// Cuts off what a crash left half-written, removes logs that are in segments already, and learns which requests are
/// durable. A damaged log is left as it is and a new one begun: what it still holds is sealed like any other.
pub(super) fn recover(
    path: &Path,
    manifest: &Manifest,
    options: &WriterOptions,
) -> Result<Recovered, CaseError> {
    let mut seen = Seen::default();
    remember_requests(path, manifest, &mut seen);
    let mut live = Vec::new();
    for id in log::list(path)? {
        if id <= manifest.sealed_through {
            remove(&log::path(path, id))?;
        } else {
            live.push(id);
        }
    }
    let last = live.last().copied();
    let mut full = Vec::new();
    let mut active = None;
    for id in live {
        let is_last = Some(id) == last;
        let found = survey(path, id, is_last, &mut seen)?;
        if found.mark.is_none() && !found.damaged {
            // A crash between making the log and writing its first line.
            remove(&log::path(path, id))?;
            files::sync_folder(&path.join("log"))?;
            continue;
        }
        if let Some(mark) = found.mark
            && is_last
            && !found.damaged
            && found.raw < options.segment_bytes
        {
            let (whole, raw, frames) = (found.whole, found.raw, found.frames);
            active = Some(LogAppender::resume(path, id, mark, whole, raw, frames)?);
            continue;
        }
        if found.cut_short {
            cut(&log::path(path, id), found.whole)?;
        }
        full.push(id);
    }
    let active = match active {
        Some(active) => active,
        None => {
            let before = full.last().copied().unwrap_or(manifest.sealed_through);
            LogAppender::create(path, before + 1, options.promise)?
        }
    };
    Ok(Recovered { active, full, seen })
}

struct Survey {
    mark: Option<Mark>,
    /// Behind the last whole frame.
    whole: u64,
    raw: u64,
    frames: u64,
    cut_short: bool,
    damaged: bool,
}

/// Walks a log. The last one is read whole, for its end is what a crash may have torn; of the others, heads will do.
fn survey(case: &Path, id: u64, whole: bool, seen: &mut Seen) -> Result<Survey, CaseError> {
    let mut reader = LogReader::open(case, id)?;
    let mut found = Survey {
        mark: None,
        whole: 0,
        raw: 0,
        frames: 0,
        cut_short: false,
        damaged: false,
    };
    let mut payload = Vec::new();
    loop {
        loop {
            let head = if whole {
                reader.next(&mut payload)?
            } else {
                reader.next_head()?
            };
            let Some(head) = head else { break };
            seen.durable(head.hash, u64::from(head.items));
            found.raw += u64::from(head.raw_len);
            found.frames += 1;
        }
        found.whole = reader.offset();
        match reader.gap()? {
            None => break,
            Some(torn) if torn.kind == TornKind::CutShort => found.cut_short = true,
            Some(_) => found.damaged = true,
        }
        if found.cut_short {
            break;
        }
    }
    found.mark = reader.mark();
    Ok(found)
}

fn cut(path: &Path, len: u64) -> Result<(), CaseError> {
    OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|file| {
            file.set_len(len)?;
            file.sync_all()
        })
        .map_err(CaseError::io("cut", path))
}

fn remove(path: &Path) -> Result<(), CaseError> {
    std::fs::remove_file(path).map_err(CaseError::io("remove", path))
}

/// Segments whose requests are remembered at a start: the newest few hold everything a client may still send again.
const REMEMBERED_SEGMENTS: usize = 16;

/// Learns which requests the newest segments hold. A list that can't be read costs only the folding of what is in it;
/// `verify` names it.
fn remember_requests(case: &Path, manifest: &Manifest, seen: &mut Seen) {
    let from = manifest.segments.len().saturating_sub(REMEMBERED_SEGMENTS);
    for segment in &manifest.segments[from..] {
        let Some(Ok(bytes)) = segment
            .file(Content::Requests)
            .map(|file| std::fs::read(case.join(&file.path)))
        else {
            continue;
        };
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
}

/// Removes what no manifest names: files of a segment that a crash kept from being finished, or from being removed.
/// What can't be removed is in nobody's way.
pub(super) fn remove_orphans(case: &Path, manifest: &Manifest) {
    let Ok(entries) = std::fs::read_dir(case.join("segments")) else {
        return;
    };
    let named: std::collections::BTreeSet<&str> = manifest
        .segments
        .iter()
        .flat_map(|segment| &segment.files)
        .filter_map(|file| file.path.strip_prefix("segments/"))
        .collect();
    for entry in entries.flatten() {
        if entry
            .file_name()
            .to_str()
            .is_some_and(|name| !named.contains(name))
        {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
