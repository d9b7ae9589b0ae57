//! Appending to one log file: whole frames or nothing.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::frame::{FILE_MAGIC, Frame};
use crate::CaseError;
use crate::files::sync_folder;

/// The log being written.
#[derive(Debug)]
pub struct LogAppender {
    pub id: u64,
    path: PathBuf,
    file: File,
    /// Everything up to here is flushed.
    len: u64,
    /// Bytes the payloads have when unpacked, what a segment made of this log costs in memory.
    raw_bytes: u64,
    frames: u64,
    buffer: Vec<u8>,
}

impl LogAppender {
    /// Starts log number `id`, which must not exist.
    pub fn create(case: &Path, id: u64) -> Result<LogAppender, CaseError> {
        let path = super::path(case, id);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(CaseError::io("create", &path))?;
        file.write_all(FILE_MAGIC)
            .and_then(|()| file.sync_all())
            .map_err(CaseError::io("write", &path))?;
        sync_folder(&case.join("log"))?;
        Ok(LogAppender {
            id,
            path,
            file,
            len: FILE_MAGIC.len() as u64,
            raw_bytes: 0,
            frames: 0,
            buffer: Vec::new(),
        })
    }

    /// Goes on behind the last whole frame of an existing log, cutting off what a crash left half-written.
    pub fn resume(
        case: &Path,
        id: u64,
        len: u64,
        raw_bytes: u64,
        frames: u64,
    ) -> Result<LogAppender, CaseError> {
        let path = super::path(case, id);
        let mut file = OpenOptions::new()
            .write(true)
            .open(&path)
            .map_err(CaseError::io("open", &path))?;
        file.set_len(len)
            .and_then(|()| file.seek(SeekFrom::Start(len)))
            .and_then(|_| file.sync_all())
            .map_err(CaseError::io("cut", &path))?;
        Ok(LogAppender {
            id,
            path,
            file,
            len,
            raw_bytes,
            frames,
            buffer: Vec::new(),
        })
    }

    pub fn raw_bytes(&self) -> u64 {
        self.raw_bytes
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.frames == 0
    }

    /// Writes the frames and flushes them. After an error none of them is in the log.
    pub fn append<'a>(&mut self, frames: impl Iterator<Item = &'a Frame>) -> Result<(), CaseError> {
        self.buffer.clear();
        let (mut raw, mut count) = (0u64, 0u64);
        for frame in frames {
            self.buffer.extend_from_slice(&frame.bytes);
            raw += u64::from(frame.head.raw_len);
            count += 1;
        }
        let written = self
            .file
            .write_all(&self.buffer)
            .and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            self.take_back();
            return Err(CaseError::io("write", &self.path)(error));
        }
        self.len += self.buffer.len() as u64;
        self.raw_bytes += raw;
        self.frames += count;
        // One giant batch must not pin its memory for ever.
        if self.buffer.capacity() > 16 << 20 {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    /// Cuts the file back to what is flushed. If even that fails the torn tail is cut at the next start; until then
    /// later frames would stand behind garbage, so the seek is what matters: they overwrite it.
    fn take_back(&mut self) {
        let _ = self.file.set_len(self.len);
        let _ = self.file.seek(SeekFrom::Start(self.len));
    }
}
