//! Reading a case, live or sealed, from any process.
//!
//! A reader holds the manifest it last saw. Segments are immutable; logs are read up to their last whole frame. Where a
//! writer seals a log or drops a segment under a reader's hands, the reader looks at the new manifest. What is damaged
//! is noted and passed over, so that the rest stays readable.

mod follow;
mod live;
mod progress;
mod signals;
mod spans;
mod verify;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::CaseError;
use crate::lock::WriterLock;
use crate::log::{self, LogReader};
use crate::manifest::{Content, Manifest, Segment};
use crate::pins;
use crate::segment::read::TableReader;
use crate::signal::Signal;
use crate::time::{Nanos, Window};

pub use follow::Follower;
pub use progress::Progress;
pub use verify::{Damage, Verification};

/// A case as a reader sees it.
#[derive(Debug)]
pub struct Case {
    path: PathBuf,
    manifest: Manifest,
    live: Vec<LiveLog>,
    damage: Mutex<Vec<String>>,
    /// Who wants to know how far a reading is, and may end it.
    progress: Option<Arc<Progress>>,
}

/// What a case holds, in numbers.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct CaseInfo {
    pub path: PathBuf,
    pub state: CaseState,
    pub created: Nanos,
    pub items: BTreeMap<Signal, u64>,
    pub segments: usize,
    pub segment_bytes: u64,
    pub log_bytes: u64,
    pub folded_requests: u64,
    pub folded_items: u64,
    pub dropped_segments: u64,
    pub dropped_items: BTreeMap<String, u64>,
    pub pinned: usize,
    pub seal: Option<String>,
}

/// Whether more may still come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CaseState {
    /// A writer holds it at this moment.
    Live,
    /// Nobody writes it, but somebody may.
    Idle,
    /// Hashed and closed.
    Sealed,
}

impl Case {
    pub fn open(path: &Path) -> Result<Case, CaseError> {
        let (_, fault) = Manifest::load_noting(path)?;
        let (manifest, live) = snapshot(path)?;
        let case = Case {
            path: path.to_owned(),
            manifest,
            live,
            damage: Mutex::default(),
            progress: None,
        };
        if let Some(fault) = fault {
            case.note(fault);
        }
        Ok(case)
    }

    /// Some segments of a case, and nothing else of it.
    pub(crate) fn of_segments(path: &Path, manifest: &Manifest, segments: Vec<Segment>) -> Case {
        Case {
            path: path.to_owned(),
            manifest: Manifest {
                segments,
                ..manifest.clone()
            },
            live: Vec::new(),
            damage: Mutex::default(),
            progress: None,
        }
    }

    /// Lets somebody watch readings of this case, and end them.
    pub fn report_to(&mut self, progress: Arc<Progress>) {
        self.progress = Some(progress);
    }

    /// Counts rows that were read; fails if no more are wanted.
    pub(crate) fn pass(&self, rows: u64) -> Result<(), CaseError> {
        match &self.progress {
            Some(progress) if !progress.pass(rows) => Err(CaseError::Stopped),
            _ => Ok(()),
        }
    }

    pub(crate) fn check_progress(&self) -> Result<(), CaseError> {
        self.progress
            .as_ref()
            .map_or(Ok(()), |progress| progress.check())
    }

    /// Picks up what a writer has added since. True if there was anything.
    pub fn refresh(&mut self) -> Result<bool, CaseError> {
        let (manifest, live) = snapshot(&self.path)?;
        let lengths =
            |live: &[LiveLog]| live.iter().map(|log| (log.id, log.len)).collect::<Vec<_>>();
        let changed = manifest != self.manifest || lengths(&live) != lengths(&self.live);
        self.manifest = manifest;
        self.live = live;
        Ok(changed)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Counts and sizes. Reads only the manifest and the heads of live frames.
    pub fn info(&self) -> Result<CaseInfo, CaseError> {
        let mut items: BTreeMap<Signal, u64> = BTreeMap::new();
        for segment in &self.manifest.segments {
            for (signal, count) in &segment.items {
                *items.entry(*signal).or_default() += count;
            }
        }
        for mut reader in self.open_live()? {
            loop {
                while let Some(head) = reader.next_head()? {
                    *items.entry(head.signal).or_default() += u64::from(head.items);
                }
                if reader.gap()?.is_none() {
                    break;
                }
            }
        }
        let state = if self.manifest.sealed.is_some() {
            CaseState::Sealed
        } else if WriterLock::is_held(&self.path) {
            CaseState::Live
        } else {
            CaseState::Idle
        };
        Ok(CaseInfo {
            path: self.path.clone(),
            state,
            created: self.manifest.created,
            items,
            segments: self.manifest.segments.len(),
            segment_bytes: self.manifest.segments.iter().map(Segment::bytes).sum(),
            log_bytes: self.live.iter().map(|log| log.len).sum(),
            folded_requests: self.manifest.folded_requests,
            folded_items: self.manifest.folded_items,
            dropped_segments: self.manifest.dropped.segments,
            dropped_items: self.manifest.dropped.items.clone(),
            pinned: pins::list(&self.path)?.len(),
            seal: self.manifest.sealed.as_ref().map(|seal| seal.hash.clone()),
        })
    }

    /// From the earliest event to the latest; `None` in an empty case. Walks what is not in segments yet.
    pub fn window(&self) -> Result<Option<Window>, CaseError> {
        let mut bounds: Option<(Nanos, Nanos)> = None;
        let mut widen = |first: Nanos, last: Nanos| {
            let (from, until) = bounds.unwrap_or((first, last));
            bounds = Some((from.min(first), until.max(last)));
        };
        for segment in &self.manifest.segments {
            if segment.items.values().any(|count| *count > 0) {
                widen(segment.first, segment.last);
            }
        }
        let _ = self.each_live(|head, payload| {
            live::times(head.signal, payload, &mut widen);
            std::ops::ControlFlow::Continue(())
        })?;
        Ok(bounds.map(|(first, last)| Window {
            from: first,
            until: last.saturating_add(1),
        }))
    }

    /// What could not be read so far, each named once.
    pub fn damage(&self) -> Vec<String> {
        self.damage
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn note(&self, what: String) {
        let mut damage = self.damage.lock().unwrap_or_else(PoisonError::into_inner);
        if !damage.contains(&what) {
            damage.push(what);
        }
    }

    /// The same view of the case, for a reader that must own it. What it finds damaged it notes for itself.
    pub(crate) fn twin(&self) -> Case {
        Case {
            path: self.path.clone(),
            manifest: self.manifest.clone(),
            live: self.live.clone(),
            damage: Mutex::default(),
            progress: None,
        }
    }

    /// Bytes that are in logs and not in segments yet.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.live.iter().map(|log| log.len).sum()
    }

    /// Opens the files of one content in every segment the window touches. A file that is gone was dropped by
    /// retention; one that is damaged is noted. Both are passed over.
    fn tables(
        &self,
        content: Content,
        window: Window,
    ) -> impl Iterator<Item = (TableReader, &Segment)> {
        self.manifest
            .segments
            .iter()
            .filter(move |segment| window.overlaps(segment.first, segment.last))
            .filter_map(move |segment| {
                let file = segment.file(content)?;
                match TableReader::open(&self.path, file) {
                    Ok(table) => Some((table, segment)),
                    Err(error) => {
                        self.note_unless_dropped(&file.path, error);
                        None
                    }
                }
            })
    }

    /// Notes that a file can't be opened, unless retention took it since the manifest was read.
    fn note_unless_dropped(&self, file: &str, error: CaseError) {
        let gone = matches!(&error, CaseError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound);
        let dropped = gone
            && Manifest::load(&self.path).is_ok_and(|now| {
                !now.segments
                    .iter()
                    .flat_map(|segment| &segment.files)
                    .any(|known| known.path == file)
            });
        if !dropped {
            self.note(error.to_string());
        }
    }

    /// Runs `read` on a table; damage is noted and ends this table only.
    fn tolerate<T>(&self, read: Result<T, CaseError>) -> Option<T> {
        read.map_err(|error| self.note(error.to_string())).ok()
    }
}

/// A log that is not in a segment yet. It is held open, so that it stays readable when the sealer removes it.
#[derive(Debug, Clone)]
struct LiveLog {
    path: PathBuf,
    id: u64,
    file: Arc<File>,
    /// The bytes it had when it was looked at.
    len: u64,
}

/// A manifest and the logs beyond it that belong together. Sealing moves on while one looks, so one looks again.
fn snapshot(path: &Path) -> Result<(Manifest, Vec<LiveLog>), CaseError> {
    loop {
        let manifest = Manifest::load(path)?;
        let mut live = Vec::new();
        let mut moved = false;
        for id in log::list(path)? {
            if id <= manifest.sealed_through {
                continue;
            }
            let name = log::path(path, id);
            match File::open(&name) {
                Ok(file) => {
                    let len = file
                        .metadata()
                        .map_err(CaseError::io("look at", &name))?
                        .len();
                    live.push(LiveLog {
                        path: name,
                        id,
                        file: Arc::new(file),
                        len,
                    });
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => moved = true,
                Err(error) => return Err(CaseError::io("open", name)(error)),
            }
        }
        if !moved && Manifest::load(path)?.sealed_through == manifest.sealed_through {
            return Ok((manifest, live));
        }
    }
}

impl Case {
    /// A reader for every live log, each up to where it was looked at.
    pub(crate) fn open_live(&self) -> Result<Vec<LogReader>, CaseError> {
        let mut readers = Vec::new();
        for log in &self.live {
            match LogReader::of(log.path.clone(), Arc::clone(&log.file), log.len) {
                Ok(reader) => readers.push(reader),
                Err(error) => self.note(error.to_string()),
            }
        }
        Ok(readers)
    }
}
