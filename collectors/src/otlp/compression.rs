//! gzip and zstd undone within a limit, for bodies that may be bombs.
//!
//! Output grows only as far as it is allowed to, and every growth is announced first, so that a caller can hold all
//! requests together to one budget. Nothing here trusts a size that the input claims for itself.

use std::cell::RefCell;

use flate2::{Decompress, FlushDecompress, Status};
use zstd::zstd_safe::{self, DCtx, DParameter, InBuffer, OutBuffer};

/// Parts (gzip members, zstd frames) one body may consist of. Each costs a fresh start, and the smallest are tiny.
const MOST_PARTS: usize = 1024;

/// The largest window a zstd frame of unknown length may ask for: what the strongest usual encoder setting needs.
const LARGEST_WINDOW_LOG: u32 = 25;

/// The first allocation for output of unknown size.
const FIRST_GROWTH: usize = 64 * 1024;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// What `Content-Encoding` and `grpc-encoding` call it; `None` when we can't undo it.
    pub fn from_name(name: &str) -> Option<Compression> {
        let known = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
        if known(&["", "identity"]) {
            Some(Compression::None)
        } else if known(&["gzip", "x-gzip"]) {
            Some(Compression::Gzip)
        } else if known(&["zstd"]) {
            Some(Compression::Zstd)
        } else {
            None
        }
    }
}

/// Why a body could not be decompressed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecompressError {
    #[error("more than {limit} bytes after decompression")]
    TooLarge { limit: usize },
    #[error("invalid {format}: {reason}")]
    Malformed {
        format: &'static str,
        reason: String,
    },
    /// The caller's `charge` said no.
    #[error("no memory to spare for decompression")]
    OverBudget,
}

/// Undoes the compression. `charge` is asked before memory grows by that many bytes, and may refuse.
pub fn decompress(
    compression: Compression,
    input: &[u8],
    limit: usize,
    charge: &mut dyn FnMut(usize) -> bool,
) -> Result<Vec<u8>, DecompressError> {
    let mut output = Output {
        bytes: Vec::new(),
        charged: 0,
        limit,
        charge,
    };
    match compression {
        Compression::None => {
            if input.len() > limit {
                return Err(DecompressError::TooLarge { limit });
            }
            output.grow_to(input.len())?;
            output.bytes.extend_from_slice(input);
        }
        Compression::Gzip => gunzip(input, &mut output)?,
        Compression::Zstd => unzstd(input, &mut output)?,
    }
    Ok(output.bytes)
}

/// Decompressed bytes, with room that is never more than the limit and one.
struct Output<'c> {
    bytes: Vec<u8>,
    charged: usize,
    limit: usize,
    charge: &'c mut dyn FnMut(usize) -> bool,
}

impl Output<'_> {
    fn grow_to(&mut self, capacity: usize) -> Result<(), DecompressError> {
        if capacity > self.charged {
            if !(self.charge)(capacity - self.charged) {
                return Err(DecompressError::OverBudget);
            }
            self.charged = capacity;
        }
        if capacity > self.bytes.capacity() {
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        Ok(())
    }

    /// Makes room for at least one more byte, or says that the limit is passed.
    fn make_room(&mut self) -> Result<(), DecompressError> {
        if self.bytes.len() > self.limit {
            return Err(DecompressError::TooLarge { limit: self.limit });
        }
        if self.bytes.len() < self.bytes.capacity() {
            return Ok(());
        }
        let wanted = (self.bytes.len() * 2).max(FIRST_GROWTH);
        self.grow_to(wanted.min(self.limit + 1))
    }

    fn check(&self) -> Result<(), DecompressError> {
        if self.bytes.len() > self.limit {
            return Err(DecompressError::TooLarge { limit: self.limit });
        }
        Ok(())
    }
}

fn gunzip(input: &[u8], output: &mut Output) -> Result<(), DecompressError> {
    let malformed = |reason: &str| DecompressError::Malformed {
        format: "gzip",
        reason: reason.to_owned(),
    };
    // The last four bytes usually tell the length, which spares growing; deflate can't exceed 1032 to 1.
    let told = input
        .last_chunk::<4>()
        .map(|tail| u32::from_le_bytes(*tail) as usize)
        .filter(|told| *told <= output.limit && told / 1032 <= input.len());
    if let Some(told) = told {
        output.grow_to(told.saturating_add(1).min(output.limit + 1))?;
    }
    if let Some(told) = told
        && one_member(input, told, output)?
    {
        return output.check();
    }
    let mut at = 0;
    for _ in 0..MOST_PARTS {
        let mut member = Decompress::new_gzip(15);
        loop {
            output.make_room()?;
            let (read, written) = (member.total_in(), output.bytes.len());
            let status = member
                .decompress_vec(&input[at..], &mut output.bytes, FlushDecompress::None)
                .map_err(|error| malformed(&error.to_string()))?;
            let consumed = (member.total_in() - read) as usize;
            at += consumed;
            if status == Status::StreamEnd {
                break;
            }
            if consumed == 0 && output.bytes.len() == written {
                return Err(malformed("the input ends too early"));
            }
        }
        if at == input.len() {
            return output.check();
        }
    }
    Err(malformed("too many members"))
}

/// Undoes a body of one member that is as long as it says, which nearly all are, in one go. Answers false, and leaves
/// nothing behind, for every other: the general way knows what is wrong with it.
fn one_member(input: &[u8], told: usize, output: &mut Output) -> Result<bool, DecompressError> {
    let Some((before, [a, b, c, d, _, _, _, _])) = input.split_last_chunk::<8>() else {
        return Ok(false);
    };
    // Another member would begin like this one.
    if memchr::memmem::rfind(before, &[0x1f, 0x8b, 8]).is_some_and(|at| at > 0) {
        return Ok(false);
    }
    output.bytes.resize(told, 0);
    let read = ONE_MEMBER.with_borrow_mut(|decompressor| {
        decompressor
            .get_or_insert_with(libdeflater::Decompressor::new)
            .gzip_decompress(input, &mut output.bytes)
    });
    // What stands at the very end belongs to the member that was read, so there is nothing else behind it.
    let whole = read.is_ok_and(|read| read == told)
        && crc32fast::hash(&output.bytes) == u32::from_le_bytes([*a, *b, *c, *d]);
    if !whole {
        output.bytes.clear();
    }
    Ok(whole)
}

thread_local! {
    static ONE_MEMBER: RefCell<Option<libdeflater::Decompressor>> = const { RefCell::new(None) };
    /// Frames that tell their length are undone in one go, in a context that needs no window of its own.
    static WHOLE_FRAMES: RefCell<Option<DCtx<'static>>> = const { RefCell::new(None) };
}

fn unzstd(input: &[u8], output: &mut Output) -> Result<(), DecompressError> {
    let mut rest = input;
    for _ in 0..MOST_PARTS {
        let length = zstd_safe::find_frame_compressed_size(rest).map_err(zstd_error)?;
        let (frame, after) = rest
            .split_at_checked(length)
            .ok_or_else(|| zstd_malformed("a frame without an end"))?;
        let told = zstd_safe::get_frame_content_size(frame)
            .map_err(|error| zstd_malformed(&error.to_string()))?;
        match told {
            Some(size) => whole_frame(frame, size, output)?,
            None => streamed_frame(frame, output)?,
        }
        if after.is_empty() {
            return output.check();
        }
        rest = after;
    }
    Err(zstd_malformed("too many frames"))
}

fn whole_frame(frame: &[u8], size: u64, output: &mut Output) -> Result<(), DecompressError> {
    let start = output.bytes.len();
    let end = usize::try_from(size)
        .ok()
        .and_then(|size| start.checked_add(size))
        .filter(|end| *end <= output.limit)
        .ok_or(DecompressError::TooLarge {
            limit: output.limit,
        })?;
    output.grow_to(end)?;
    WHOLE_FRAMES.with_borrow_mut(|context| {
        let context = match context {
            Some(context) => context,
            None => context.insert(new_context()?),
        };
        if start == 0 {
            context
                .decompress(&mut output.bytes, frame)
                .map_err(zstd_error)?;
        } else {
            let mut part = Vec::with_capacity(end - start);
            context.decompress(&mut part, frame).map_err(zstd_error)?;
            output.bytes.extend_from_slice(&part);
        }
        Ok(())
    })
}

fn streamed_frame(frame: &[u8], output: &mut Output) -> Result<(), DecompressError> {
    let window = window_size(frame)?;
    if !(output.charge)(window) {
        return Err(DecompressError::OverBudget);
    }
    // Of its own, so that the window is given back at once.
    let mut context = new_context()?;
    context
        .set_parameter(DParameter::WindowLogMax(LARGEST_WINDOW_LOG))
        .map_err(zstd_error)?;
    let mut source = InBuffer::around(frame);
    loop {
        output.make_room()?;
        let (read, written) = (source.pos(), output.bytes.len());
        let hint = {
            let mut target = OutBuffer::around_pos(&mut output.bytes, written);
            context
                .decompress_stream(&mut target, &mut source)
                .map_err(zstd_error)?
        };
        if hint == 0 {
            return output.check();
        }
        if source.pos() == read && output.bytes.len() == written {
            return Err(zstd_malformed("the input ends too early"));
        }
    }
}

/// The window a frame without a content size asks for, from its header (RFC 8878, 3.1.1.1.2).
fn window_size(frame: &[u8]) -> Result<usize, DecompressError> {
    let descriptor = *frame
        .get(5)
        .ok_or_else(|| zstd_malformed("a frame without a header"))?;
    let base = 1u64 << (10 + (descriptor >> 3));
    let size = base + base / 8 * u64::from(descriptor & 7);
    if size > 1 << LARGEST_WINDOW_LOG {
        return Err(zstd_malformed("a window of more than 32 MiB"));
    }
    Ok(size as usize)
}

fn new_context() -> Result<DCtx<'static>, DecompressError> {
    DCtx::try_create().ok_or(DecompressError::OverBudget)
}

fn zstd_error(code: zstd_safe::ErrorCode) -> DecompressError {
    zstd_malformed(zstd_safe::get_error_name(code))
}

fn zstd_malformed(reason: &str) -> DecompressError {
    DecompressError::Malformed {
        format: "zstd",
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests;
