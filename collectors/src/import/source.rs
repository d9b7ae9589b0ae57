//! Where an import reads from: opened (again, where it can be), counted, decompressed.
//!
//! Nothing here holds more of a file than the head by which its format is recognised.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::Bytes;
use serde::Serialize;

/// How much of the start is looked at to recognise a format.
pub(super) const HEAD_BYTES: usize = 1 << 20;
/// zstd frames that ask for a bigger window than 128 MiB are refused: it would have to be held in memory.
const ZSTD_WINDOW_LOG: u32 = 27;

/// What to import from.
pub struct Input {
    name: String,
    total: Option<u64>,
    origin: Origin,
}

enum Origin {
    File(PathBuf),
    Memory(Bytes),
    Once(Option<Box<dyn Read + Send>>),
}

impl Input {
    /// A file; it can be read twice where a format needs it.
    pub fn file(path: &Path) -> io::Result<Input> {
        let meta = std::fs::metadata(path)?;
        if meta.is_dir() {
            return Err(io::Error::new(
                io::ErrorKind::IsADirectory,
                "it is a directory, not a file",
            ));
        }
        // A pipe has no length and can be read once.
        if !meta.is_file() {
            return Ok(Input::once(
                path.display().to_string(),
                Box::new(File::open(path)?),
            ));
        }
        Ok(Input {
            name: path.display().to_string(),
            total: Some(meta.len()),
            origin: Origin::File(path.to_owned()),
        })
    }

    /// Bytes in memory.
    pub fn memory(name: impl Into<String>, bytes: impl Into<Bytes>) -> Input {
        let bytes = bytes.into();
        Input {
            name: name.into(),
            total: Some(bytes.len() as u64),
            origin: Origin::Memory(bytes),
        }
    }

    /// Something that can be read only once, such as standard input.
    pub fn once(name: impl Into<String>, reader: Box<dyn Read + Send>) -> Input {
        Input {
            name: name.into(),
            total: None,
            origin: Origin::Once(Some(reader)),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its length in bytes, where that is known.
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    pub(super) fn can_reopen(&self) -> bool {
        !matches!(self.origin, Origin::Once(_))
    }

    /// From its start, decompressed.
    pub(super) fn open(&mut self) -> io::Result<Opened> {
        let reader: Box<dyn Read> = match &mut self.origin {
            Origin::File(path) => Box::new(File::open(path)?),
            Origin::Memory(bytes) => Box::new(Cursor::new(bytes.clone())),
            Origin::Once(reader) => reader
                .take()
                .ok_or_else(|| io::Error::other("it can be read only once, and has been"))?,
        };
        Opened::new(reader)
    }
}

/// How the bytes were packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

pub(super) const GZIP: &[u8] = &[0x1f, 0x8b];
pub(super) const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

impl Compression {
    /// By the first bytes.
    pub(super) fn of(head: &[u8]) -> Compression {
        if head.starts_with(GZIP) {
            Compression::Gzip
        } else if head.starts_with(ZSTD) {
            Compression::Zstd
        } else {
            Compression::None
        }
    }

    /// Whole bytes unpacked, never to more than `limit`.
    pub(super) fn unpack(self, bytes: &[u8], limit: usize) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let reader = self.reader(Box::new(bytes))?;
        reader.take(limit as u64 + 1).read_to_end(&mut out)?;
        if out.len() > limit {
            return Err(io::Error::other(format!(
                "unpacks to more than {} MiB",
                limit >> 20
            )));
        }
        Ok(out)
    }

    fn reader<'r>(self, reader: Box<dyn Read + 'r>) -> io::Result<Box<dyn Read + 'r>> {
        Ok(match self {
            Compression::None => reader,
            Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(reader)),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::new(reader)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Box::new(decoder)
            }
        })
    }
}

/// An input being read.
pub(super) struct Opened {
    pub(super) compression: Compression,
    /// The first bytes, unpacked; `reader` begins with them too.
    pub(super) head: Vec<u8>,
    /// Whether `head` is all there is.
    pub(super) whole: bool,
    pub(super) reader: Box<dyn Read>,
    /// Bytes taken from the input so far, packed as they lie there.
    pub(super) taken: Rc<Cell<u64>>,
}

impl Opened {
    fn new(reader: Box<dyn Read>) -> io::Result<Opened> {
        let taken = Rc::new(Cell::new(0));
        let mut counted = Counted {
            inner: reader,
            taken: taken.clone(),
        };
        let mut magic = Vec::new();
        (&mut counted).take(4).read_to_end(&mut magic)?;
        let compression = Compression::of(&magic);
        let mut unpacked = compression.reader(Box::new(Cursor::new(magic).chain(counted)))?;
        let mut head = Vec::new();
        // An error past the start (a cut archive) is met again, and reported with its place, while importing.
        let mut failed = None;
        if let Err(error) = (&mut unpacked)
            .take(HEAD_BYTES as u64)
            .read_to_end(&mut head)
        {
            if head.is_empty() {
                return Err(error);
            }
            failed = Some(error);
        }
        let whole = head.len() < HEAD_BYTES;
        let rest: Box<dyn Read> = match failed {
            Some(error) => Box::new(Failing(Some(error))),
            None => unpacked,
        };
        Ok(Opened {
            compression,
            reader: Box::new(Cursor::new(head.clone()).chain(rest)),
            head,
            whole,
            taken,
        })
    }
}

struct Counted {
    inner: Box<dyn Read>,
    taken: Rc<Cell<u64>>,
}

impl Read for Counted {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(out)?;
        self.taken.set(self.taken.get() + n as u64);
        Ok(n)
    }
}

/// Hands an error out once more, where it belongs.
struct Failing(Option<io::Error>);

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}
