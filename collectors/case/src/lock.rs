//! One writer at a time: an advisory lock that names its holder, and falls with its process.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::CaseError;
use crate::time::Nanos;

/// Held as long as the case is written.
#[derive(Debug)]
pub(crate) struct WriterLock {
    _file: File,
}

/// How long a lock must be held to count as held.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(5);

#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    pid: u32,
    since: Nanos,
}

impl WriterLock {
    /// Takes the lock, or says who has it.
    pub(crate) fn take(case: &Path, now: Nanos) -> Result<WriterLock, CaseError> {
        let path = case.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(CaseError::io("open", &path))?;
        let mut tries = 0;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                // Somebody who only asks whether the case is held has it for a moment.
                Err(TryLockError::WouldBlock) if tries < TRIES => {
                    tries += 1;
                    std::thread::sleep(PAUSE);
                }
                Err(TryLockError::WouldBlock) => return Err(held(case, &mut file)),
                Err(TryLockError::Error(error)) => return Err(CaseError::io("lock", path)(error)),
            }
        }
        let holder = Holder {
            pid: std::process::id(),
            since: now,
        };
        let text = serde_json::to_string(&holder).unwrap_or_default();
        file.set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| file.write_all(text.as_bytes()))
            .map_err(CaseError::io("write", &path))?;
        Ok(WriterLock { _file: file })
    }

    /// Whether some process is writing the case at this moment.
    pub(crate) fn is_held(case: &Path) -> bool {
        File::open(case.join("lock"))
            .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }
}

fn held(case: &Path, file: &mut File) -> CaseError {
    let mut text = String::new();
    let _ = file.read_to_string(&mut text);
    let holder: Option<Holder> = serde_json::from_str(&text).ok();
    CaseError::Held {
        path: case.to_owned(),
        pid: holder.as_ref().map_or(0, |holder| holder.pid),
        since: holder.map_or(String::new(), |holder| format!(" since {}", holder.since)),
    }
}
