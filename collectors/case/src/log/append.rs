//! Appending to one log file: whole frames or nothing.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::frame::Frame;
use super::mark::{FIRST_LINE, MARK, Mark};
use crate::CaseError;
use crate::files::sync_folder;
use crate::writer::Promise;

/// What a log needs of a file; tests put one in its place that fails at will.
pub(crate) trait LogFile: Send {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes everything written so far survive the loss of power.
    fn flush(&mut self) -> io::Result<()>;
    /// Cuts the file to `len` bytes and goes on writing there.
    fn cut(&mut self, len: u64) -> io::Result<()>;
}

impl LogFile for File {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        Write::write_all(self, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)?;
        self.seek(SeekFrom::Start(len)).map(drop)
    }
}

/// The log being written.
pub struct LogAppender {
    pub id: u64,
    path: PathBuf,
    file: Box<dyn LogFile>,
    mark: Mark,
    /// Everything up to here is whole, and flushed where that is promised.
    len: u64,
    /// Bytes the payloads have when unpacked, what a segment made of this log costs in memory.
    raw_bytes: u64,
    frames: u64,
    buffer: Vec<u8>,
    suspect: bool,
    promise: Promise,
    /// Whether all that was written is flushed.
    flushed: bool,
}

impl LogAppender {
    /// Starts log number `id`, which must not exist. Where that fails, nothing of it is left behind.
    pub fn create(case: &Path, id: u64, promise: Promise) -> Result<LogAppender, CaseError> {
        let path = super::path(case, id);
        let mark = Mark::fresh();
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(CaseError::io("create", &path))?;
        let begun = Write::write_all(&mut file, &mark.first_line())
            .and_then(|()| match promise {
                Promise::Durable => file.sync_all(),
                Promise::Written => Ok(()),
            })
            .map_err(CaseError::io("write", &path))
            .and_then(|()| match promise {
                Promise::Durable => sync_folder(&case.join("log")),
                Promise::Written => Ok(()),
            });
        if let Err(error) = begun {
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        Ok(LogAppender {
            id,
            path,
            file: Box::new(file),
            mark,
            len: FIRST_LINE as u64,
            raw_bytes: 0,
            frames: 0,
            buffer: Vec::new(),
            suspect: false,
            promise,
            flushed: promise == Promise::Durable,
        })
    }

    /// Goes on behind the last whole frame of an existing log, cutting off what a crash left half-written.
    pub fn resume(
        case: &Path,
        id: u64,
        mark: Mark,
        len: u64,
        raw_bytes: u64,
        frames: u64,
    ) -> Result<LogAppender, CaseError> {
        let path = super::path(case, id);
        let mut file = OpenOptions::new()
            .write(true)
            .open(&path)
            .map_err(CaseError::io("open", &path))?;
        file.cut(len)
            .and_then(|()| file.sync_all())
            .map_err(CaseError::io("cut", &path))?;
        Ok(LogAppender {
            id,
            path,
            file: Box::new(file),
            mark,
            len,
            raw_bytes,
            frames,
            buffer: Vec::new(),
            suspect: false,
            promise: Promise::Durable,
            flushed: true,
        })
    }

    /// What must hold before `append` returns; durability, where nothing else was said.
    pub fn promise(&mut self, promise: Promise) {
        self.promise = promise;
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

    /// Whether a flush failed. The kernel may have thrown away what it could not write, and says so only once: nothing
    /// more may go into such a file.
    pub fn is_suspect(&self) -> bool {
        self.suspect
    }

    /// Writes the frames, and flushes them where that is promised. After an error none of them is in the log.
    pub fn append<'a>(&mut self, frames: impl Iterator<Item = &'a Frame>) -> Result<(), CaseError> {
        self.buffer.clear();
        let (mut raw, mut count) = (0u64, 0u64);
        for frame in frames {
            self.buffer.extend_from_slice(&self.mark.0);
            self.buffer.extend_from_slice(&frame.bytes[MARK..]);
            raw += u64::from(frame.head.raw_len);
            count += 1;
        }
        if let Err(error) = self.file.write_all(&self.buffer) {
            // Nothing flushed is at stake; only if the torn frames can't be cut off is the file no good any more.
            self.suspect = self.file.cut(self.len).is_err();
            return Err(CaseError::io("write", &self.path)(error));
        }
        self.flushed = false;
        if self.promise == Promise::Durable {
            if let Err(error) = self.file.flush() {
                self.suspect = true;
                let _ = self.file.cut(self.len);
                return Err(CaseError::io("flush", &self.path)(error));
            }
            self.flushed = true;
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

    /// Flushes what was only written so far.
    pub fn keep_promise(&mut self) -> Result<(), CaseError> {
        if !self.flushed {
            self.file
                .flush()
                .map_err(CaseError::io("flush", &self.path))?;
            let folder = self.path.parent().unwrap_or(&self.path);
            sync_folder(folder)?;
            self.flushed = true;
        }
        Ok(())
    }

    /// Gives a suspect log up: cuts it behind what was acknowledged, so that refused frames, which their senders bring
    /// again, can't come back to life beside them.
    pub fn give_up(&mut self) -> Result<(), CaseError> {
        self.file
            .cut(self.len)
            .and_then(|()| self.file.flush())
            .map_err(CaseError::io("cut", &self.path))
    }

    /// Puts something between the log and its file.
    #[cfg(test)]
    pub(crate) fn between(&mut self, wrap: impl FnOnce(Box<dyn LogFile>) -> Box<dyn LogFile>) {
        let nothing = Box::new(super::tests::Nothing);
        let file = std::mem::replace(&mut self.file, nothing);
        self.file = wrap(file);
    }
}
