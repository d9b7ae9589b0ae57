//! Reading a log back: all of it after a crash, or as it grows beside its writer.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::frame::{FILE_MAGIC, FrameFault, FrameHead, HEAD_LEN};
use crate::CaseError;

/// A log's end that is no whole frame: a crash, a write under way, or damage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    pub offset: u64,
    pub bytes: u64,
    pub reason: &'static str,
}

/// A file read from a place of its own, so that readers can share it.
#[derive(Debug)]
struct Positioned {
    file: Arc<File>,
    at: u64,
}

impl Read for Positioned {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read_at(out, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Positioned {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::Current(by) => self.at.saturating_add_signed(by),
            SeekFrom::End(by) => self.file.metadata()?.len().saturating_add_signed(by),
        };
        Ok(self.at)
    }
}

/// Walks the frames of one log file.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    file: BufReader<Positioned>,
    len: u64,
    offset: u64,
    stored: Vec<u8>,
    torn: Option<Torn>,
}

impl LogReader {
    pub fn open(case: &Path, id: u64) -> Result<LogReader, CaseError> {
        LogReader::open_file(super::path(case, id))
    }

    pub fn open_file(path: PathBuf) -> Result<LogReader, CaseError> {
        let file = File::open(&path).map_err(CaseError::io("open", &path))?;
        let len = file
            .metadata()
            .map_err(CaseError::io("look at", &path))?
            .len();
        LogReader::of(path, Arc::new(file), len)
    }

    /// Reads the first `len` bytes of an open file. The file may have lost its name meanwhile, and may be shared.
    pub fn of(path: PathBuf, file: Arc<File>, len: u64) -> Result<LogReader, CaseError> {
        let mut file = Positioned { file, at: 0 };
        let mut magic = [0; FILE_MAGIC.len()];
        let mut torn = None;
        match file.read_exact(&mut magic) {
            Ok(()) if magic == *FILE_MAGIC => {}
            Ok(()) => return Err(CaseError::damaged(path, "it does not begin like a log")),
            // The process died between making the file and writing its first bytes.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                torn = Some(Torn {
                    offset: 0,
                    bytes: len,
                    reason: "the file is shorter than its first line",
                });
            }
            Err(error) => return Err(CaseError::io("read", path)(error)),
        }
        Ok(LogReader {
            path,
            file: BufReader::with_capacity(1 << 18, file),
            len,
            offset: FILE_MAGIC.len() as u64,
            stored: Vec::new(),
            torn,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Behind the last frame that was read whole.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// What stands behind the last whole frame, once `next` has answered `None`.
    pub fn torn(&self) -> Option<&Torn> {
        self.torn.as_ref()
    }

    /// The next frame's head and unpacked payload, in `out`.
    pub fn next(&mut self, out: &mut Vec<u8>) -> Result<Option<FrameHead>, CaseError> {
        let Some((head, bytes)) = self.head()? else {
            return Ok(None);
        };
        let stored_len = head.stored_len as usize;
        self.stored.resize(stored_len, 0);
        self.file
            .read_exact(&mut self.stored)
            .map_err(CaseError::io("read", &self.path))?;
        let whole = head
            .check(&bytes, &self.stored)
            .and_then(|()| head.unpack(&self.stored, out));
        if let Err(fault) = whole {
            return self.stop(fault);
        }
        self.offset += (HEAD_LEN + stored_len) as u64;
        Ok(Some(head))
    }

    /// The next frame's head alone; its payload is neither read nor checked.
    pub fn next_head(&mut self) -> Result<Option<FrameHead>, CaseError> {
        let Some((head, _)) = self.head()? else {
            return Ok(None);
        };
        self.file
            .seek_relative(i64::from(head.stored_len))
            .map_err(CaseError::io("read", &self.path))?;
        self.offset += HEAD_LEN as u64 + u64::from(head.stored_len);
        Ok(Some(head))
    }

    /// Skips to a frame boundary learnt from [`LogReader::offset`] of an earlier reader.
    pub fn seek(&mut self, offset: u64) -> Result<(), CaseError> {
        self.file
            .seek(SeekFrom::Start(offset))
            .map_err(CaseError::io("read", &self.path))?;
        self.offset = offset;
        Ok(())
    }

    fn head(&mut self) -> Result<Option<(FrameHead, [u8; HEAD_LEN])>, CaseError> {
        if self.torn.is_some() || self.offset >= self.len {
            return Ok(None);
        }
        let rest = self.len - self.offset;
        if rest < HEAD_LEN as u64 {
            self.torn = Some(self.tail("the last frame's head is cut short"));
            return Ok(None);
        }
        let mut bytes = [0; HEAD_LEN];
        self.file
            .read_exact(&mut bytes)
            .map_err(CaseError::io("read", &self.path))?;
        match FrameHead::read(&bytes) {
            Ok(head) if HEAD_LEN as u64 + u64::from(head.stored_len) > rest => {
                self.torn = Some(self.tail("the last frame is cut short"));
                Ok(None)
            }
            Ok(head) => Ok(Some((head, bytes))),
            Err(fault) => self.stop(fault).map(|_| None),
        }
    }

    fn stop(&mut self, fault: FrameFault) -> Result<Option<FrameHead>, CaseError> {
        self.torn = Some(self.tail(match fault {
            FrameFault::NoMagic => "no frame begins here",
            FrameFault::UnknownSignal => "the frame is of an unknown signal",
            FrameFault::Checksum => "the frame's checksum does not match",
            FrameFault::Undecodable => "the frame's payload can't be unpacked",
        }));
        Ok(None)
    }

    fn tail(&self, reason: &'static str) -> Torn {
        Torn {
            offset: self.offset,
            bytes: self.len - self.offset,
            reason,
        }
    }

    /// After a torn place in the middle of a file: the offset of the next frame that is whole, if there is one.
    pub fn resync(&mut self) -> Result<bool, CaseError> {
        let Some(torn) = self.torn.take() else {
            return Ok(false);
        };
        let from = torn.offset + 1;
        let mut whole = Vec::new();
        self.file
            .seek(SeekFrom::Start(from))
            .and_then(|_| {
                (&mut self.file)
                    .take(self.len.saturating_sub(from))
                    .read_to_end(&mut whole)
            })
            .map_err(CaseError::io("read", &self.path))?;
        for at in 0..whole.len().saturating_sub(HEAD_LEN) {
            let Some(Ok(bytes)) = whole
                .get(at..at + HEAD_LEN)
                .map(<&[u8; HEAD_LEN]>::try_from)
            else {
                break;
            };
            let Ok(head) = FrameHead::read(bytes) else {
                continue;
            };
            let stored = whole.get(at + HEAD_LEN..at + HEAD_LEN + head.stored_len as usize);
            if stored.is_some_and(|stored| head.check(bytes, stored).is_ok()) {
                self.seek(from + at as u64)?;
                return Ok(true);
            }
        }
        self.torn = Some(torn);
        Ok(false)
    }
}
