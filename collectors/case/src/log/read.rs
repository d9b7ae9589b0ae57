//! Reading a log back: all of it after a crash, or as it grows beside its writer.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::frame::{FrameFault, FrameHead, HEAD_LEN};
use super::mark::{FIRST_LINE, MARK, Mark};
use super::search;
use super::shorten::Parts;
use crate::CaseError;

/// A place in a log where no whole frame stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    pub offset: u64,
    pub bytes: u64,
    pub reason: &'static str,
    pub kind: TornKind,
}

/// What a torn place says of what was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TornKind {
    /// The file ends before the frame does: a write under way, or one a crash cut short. It was never acknowledged.
    CutShort,
    /// Bytes are not those that were written; what stood there may have been acknowledged.
    Damaged,
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

/// Walks the frames of one log file. Where it stops before the end, [`LogReader::gap`] says why, and
/// goes on behind the torn place.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    file: BufReader<Positioned>,
    len: u64,
    offset: u64,
    mark: Option<Mark>,
    stored: Vec<u8>,
    parts: Parts,
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
        let mut line = [0; FIRST_LINE];
        let cut_short = match file.read_exact_at(&mut line, 0) {
            Ok(()) => len < FIRST_LINE as u64,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => true,
            Err(error) => return Err(CaseError::io("read", path)(error)),
        };
        let mark = Mark::of_first_line(&line).filter(|_| !cut_short);
        let torn = match mark {
            Some(mark) if mark.first_line() == line => None,
            Some(_) => Some(Torn {
                offset: 0,
                bytes: FIRST_LINE as u64,
                reason: "the first line is damaged",
                kind: TornKind::Damaged,
            }),
            // The process died between making the file and writing its first bytes.
            None if cut_short => Some(Torn {
                offset: 0,
                bytes: len,
                reason: "the file is shorter than its first line",
                kind: TornKind::CutShort,
            }),
            None => Some(Torn {
                offset: 0,
                bytes: len,
                reason: "it does not begin like a log",
                kind: TornKind::Damaged,
            }),
        };
        let at = FIRST_LINE as u64;
        Ok(LogReader {
            path,
            file: BufReader::with_capacity(1 << 18, Positioned { file, at }),
            len,
            offset: at,
            mark,
            stored: Vec::new(),
            parts: Parts::default(),
            torn,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads on in a log that has become `len` bytes long; a frame that was cut short is tried again.
    pub fn grow(&mut self, len: u64) -> Result<(), CaseError> {
        self.len = len.max(self.offset);
        if self
            .torn
            .take_if(|torn| torn.kind == TornKind::CutShort)
            .is_some()
        {
            self.file
                .seek(SeekFrom::Start(self.offset))
                .map_err(CaseError::io("read", &self.path))?;
        }
        Ok(())
    }

    /// Reads on to where the file ends by now, for a log that nobody writes any more.
    pub fn grow_to_end(&mut self) -> Result<(), CaseError> {
        let file = &self.file.get_ref().file;
        let len = file
            .metadata()
            .map_err(CaseError::io("look at", &self.path))?
            .len();
        self.grow(len)
    }

    /// Behind the last frame that was read whole.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// What the log's frames begin with, unless its first line is lost and no frame was found yet.
    pub fn mark(&self) -> Option<Mark> {
        self.mark
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
        let mut stored = std::mem::take(&mut self.stored);
        let whole = self.fill(&mut stored)?;
        self.stored = stored;
        if !whole {
            return Ok(None);
        }
        let whole = head
            .check(&bytes, &self.stored)
            .and_then(|()| head.unpack(&self.stored, out, &mut self.parts));
        if let Err(fault) = whole {
            self.stop(fault, &bytes)?;
            return Ok(None);
        }
        self.offset += (HEAD_LEN + stored_len) as u64;
        Ok(Some(head))
    }

    /// The parts by which the last frame's payload was shortened.
    pub fn parts(&self) -> &Parts {
        &self.parts
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

    fn head(&mut self) -> Result<Option<(FrameHead, [u8; HEAD_LEN])>, CaseError> {
        let Some(mark) = self.mark.filter(|_| self.torn.is_none()) else {
            return Ok(None);
        };
        if self.offset >= self.len {
            return Ok(None);
        }
        let rest = self.len - self.offset;
        let mut bytes = [0; HEAD_LEN];
        if rest < HEAD_LEN as u64 {
            let have = rest as usize;
            if !self.fill(&mut bytes[..have])? {
                return Ok(None);
            }
            let begins = bytes[..have.min(MARK)] == mark.0[..have.min(MARK)];
            let zeros = bytes.iter().all(|byte| *byte == 0);
            self.torn = Some(if begins || zeros {
                self.tail("the last frame's head is cut short", TornKind::CutShort)
            } else {
                self.tail("no frame begins here", TornKind::Damaged)
            });
            return Ok(None);
        }
        if !self.fill(&mut bytes)? {
            return Ok(None);
        }
        match FrameHead::read(&bytes, mark) {
            Ok(head) if HEAD_LEN as u64 + u64::from(head.stored_len) > rest => {
                self.torn = Some(self.tail("the last frame is cut short", TornKind::CutShort));
                Ok(None)
            }
            Ok(head) => Ok(Some((head, bytes))),
            Err(fault) => {
                self.stop(fault, &bytes)?;
                Ok(None)
            }
        }
    }

    /// Reads on. False, and torn, if the file has become shorter: its writer took back what it could not flush.
    fn fill(&mut self, out: &mut [u8]) -> Result<bool, CaseError> {
        match self.file.read_exact(out) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                self.torn = Some(self.tail("the last frame was taken back", TornKind::CutShort));
                Ok(false)
            }
            Err(error) => Err(CaseError::io("read", &self.path)(error)),
        }
    }

    fn stop(&mut self, fault: FrameFault, head: &[u8; HEAD_LEN]) -> Result<(), CaseError> {
        // After the loss of power a file may end in zeros where its last, never acknowledged, bytes would be.
        let zeros = head.iter().all(|byte| *byte == 0)
            && search::only_zeros(&self.file.get_ref().file, self.offset, self.len)
                .map_err(CaseError::io("read", &self.path))?;
        let reason = match fault {
            _ if zeros => "the file ends in zeros",
            FrameFault::NoMark => "no frame begins here",
            FrameFault::Head => "the frame's head does not match its checksum",
            FrameFault::UnknownSignal => "the frame is of an unknown signal",
            FrameFault::Checksum => "the frame's checksum does not match",
            FrameFault::Undecodable => "the frame's payload can't be unpacked",
        };
        let kind = if zeros {
            TornKind::CutShort
        } else {
            TornKind::Damaged
        };
        self.torn = Some(self.tail(reason, kind));
        Ok(())
    }

    fn tail(&self, reason: &'static str, kind: TornKind) -> Torn {
        Torn {
            offset: self.offset,
            bytes: self.len.saturating_sub(self.offset),
            reason,
            kind,
        }
    }

    /// Once `next` has answered `None`: the place where no whole frame stands, if the log does not simply end. Reading
    /// goes on behind it.
    pub fn gap(&mut self) -> Result<Option<Torn>, CaseError> {
        let Some(torn) = self.torn.take() else {
            return Ok(None);
        };
        let next = match torn.kind {
            TornKind::CutShort => None,
            TornKind::Damaged => self.find_behind(torn.offset)?,
        };
        let until = next.unwrap_or(self.len).max(torn.offset);
        self.offset = until;
        self.file
            .seek(SeekFrom::Start(until))
            .map_err(CaseError::io("read", &self.path))?;
        Ok(Some(Torn {
            bytes: until - torn.offset,
            ..torn
        }))
    }

    fn find_behind(&mut self, torn: u64) -> Result<Option<u64>, CaseError> {
        let file = Arc::clone(&self.file.get_ref().file);
        let failed = CaseError::io("read", self.path.clone());
        if let Some(mark) = self.mark {
            let from = (torn + 1).max(FIRST_LINE as u64);
            return search::next_frame(&file, mark, from, self.len).map_err(failed);
        }
        let found = search::any_frame(&file, self.len).map_err(failed)?;
        self.mark = found.map(|(mark, _)| mark);
        Ok(found.map(|(_, at)| at))
    }
}
