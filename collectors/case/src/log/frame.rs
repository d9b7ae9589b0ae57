//! One request in the log: a fixed head, then the payload, compressed where that pays.

use std::cell::RefCell;

use super::mark::{MARK, Mark};
use crate::signal::Signal;
use crate::time::Nanos;

/// Bytes of a head on disk.
pub const HEAD_LEN: usize = 48;

/// Room for compression a thread keeps; a request far above the usual must not pin its memory for ever.
const ROOM_KEPT: usize = 4 << 20;

/// Payloads shorter than this are kept as they are.
const COMPRESS_FROM: usize = 256;

/// What stands before a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    pub signal: Signal,
    pub compressed: bool,
    /// Bytes on disk after the head.
    pub stored_len: u32,
    /// Bytes of the payload itself.
    pub raw_len: u32,
    /// Items that are kept of it.
    pub items: u32,
    pub received_at: Nanos,
    /// Of the raw payload and its signal; equal requests have equal hashes.
    pub hash: u128,
    crc: u32,
}

/// A request ready to be appended: head and stored payload in one piece. The mark is set by the log it goes to.
#[derive(Debug)]
pub struct Frame {
    pub head: FrameHead,
    pub bytes: Vec<u8>,
}

/// Why bytes are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameFault {
    /// It does not begin with the log's mark.
    NoMark,
    /// Its head is not what was written.
    Head,
    UnknownSignal,
    Checksum,
    Undecodable,
}

thread_local! {
    /// With the room it writes into: giving back and faulting in a quarter of a megabyte for every request costs more
    /// than copying what came out of it.
    static COMPRESSOR: RefCell<Option<(zstd::bulk::Compressor<'static>, Vec<u8>)>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Where a head keeps a checksum of itself, so that a length is never believed before it is known to be one.
const HEAD_CHECK: std::ops::Range<usize> = 18..20;

/// Of everything in a head but the mark, the checksum of the whole frame and itself.
fn head_check(head: &[u8]) -> [u8; 2] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&head[8..HEAD_CHECK.start]);
    hasher.update(&head[HEAD_CHECK.end..HEAD_LEN]);
    let sum = hasher.finalize();
    ((sum >> 16 ^ sum) as u16).to_le_bytes()
}

fn signal_number(signal: Signal) -> u8 {
    signal as u8 + 1
}

fn signal_of(number: u8) -> Option<Signal> {
    Signal::ALL
        .get(usize::from(number).checked_sub(1)?)
        .copied()
}

impl Frame {
    /// Packs a payload, which must be under 4 GiB (receivers allow far less).
    pub fn pack(
        signal: Signal,
        payload: &[u8],
        items: u32,
        hash: u128,
        received_at: Nanos,
    ) -> std::io::Result<Frame> {
        let raw_len = u32::try_from(payload.len())
            .map_err(|_| std::io::Error::other("a request of 4 GiB or more can't be logged"))?;
        let mut bytes = vec![0; HEAD_LEN];
        let mut compressed = false;
        if payload.len() >= COMPRESS_FROM {
            compressed = compress_onto(payload, &mut bytes)?;
        }
        if !compressed {
            bytes.truncate(HEAD_LEN);
            bytes.extend_from_slice(payload);
        }
        let mut head = FrameHead {
            signal,
            compressed,
            stored_len: u32::try_from(bytes.len() - HEAD_LEN).unwrap_or(u32::MAX),
            raw_len,
            items,
            received_at,
            hash,
            crc: 0,
        };
        head.write(&mut bytes);
        head.crc = crc32fast::hash(&bytes[8..]);
        bytes[4..8].copy_from_slice(&head.crc.to_le_bytes());
        Ok(Frame { head, bytes })
    }
}

/// Appends the compressed payload, unless that would not be smaller.
fn compress_onto(payload: &[u8], bytes: &mut Vec<u8>) -> std::io::Result<bool> {
    COMPRESSOR.with_borrow_mut(|slot| {
        let (compressor, room) = match slot {
            Some(kept) => kept,
            None => slot.insert((zstd::bulk::Compressor::new(1)?, Vec::new())),
        };
        room.clear();
        room.reserve(zstd::zstd_safe::compress_bound(payload.len()));
        let len = compressor.compress_to_buffer(payload, room)?;
        if len >= payload.len() {
            return Ok(false);
        }
        bytes.reserve_exact(len);
        bytes.extend_from_slice(room);
        if room.capacity() > ROOM_KEPT {
            *room = Vec::new();
        }
        Ok(true)
    })
}

impl FrameHead {
    /// The head of a request that goes into a segment without having been in a log.
    pub(crate) fn of(signal: Signal, items: u32, hash: u128) -> FrameHead {
        FrameHead {
            signal,
            compressed: false,
            stored_len: 0,
            raw_len: 0,
            items,
            received_at: Nanos(0),
            hash,
            crc: 0,
        }
    }

    fn write(&self, out: &mut [u8]) {
        out[8..12].copy_from_slice(&self.stored_len.to_le_bytes());
        out[12..16].copy_from_slice(&self.raw_len.to_le_bytes());
        out[16] = signal_number(self.signal);
        out[17] = u8::from(self.compressed);
        out[20..24].copy_from_slice(&self.items.to_le_bytes());
        out[24..32].copy_from_slice(&self.received_at.0.to_le_bytes());
        out[32..48].copy_from_slice(&self.hash.to_le_bytes());
        let check = head_check(out);
        out[HEAD_CHECK].copy_from_slice(&check);
    }

    /// Reads the head of a frame of the log with this mark; whether the payload is whole shows only with
    /// [`FrameHead::check`].
    pub fn read(bytes: &[u8; HEAD_LEN], mark: Mark) -> Result<FrameHead, FrameFault> {
        if bytes[..MARK] != mark.0 {
            return Err(FrameFault::NoMark);
        }
        FrameHead::read_unmarked(bytes)
    }

    /// Reads a head of whatever log.
    pub(super) fn read_unmarked(bytes: &[u8; HEAD_LEN]) -> Result<FrameHead, FrameFault> {
        let signal = signal_of(bytes[16]).ok_or(FrameFault::UnknownSignal)?;
        if bytes[HEAD_CHECK] != head_check(bytes) {
            return Err(FrameFault::Head);
        }
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let mut long = [0; 8];
        long.copy_from_slice(&bytes[24..32]);
        let mut hash = [0; 16];
        hash.copy_from_slice(&bytes[32..48]);
        Ok(FrameHead {
            signal,
            compressed: bytes[17] == 1,
            stored_len: word(8),
            raw_len: word(12),
            items: word(20),
            received_at: Nanos(u64::from_le_bytes(long)),
            hash: u128::from_le_bytes(hash),
            crc: word(4),
        })
    }

    /// Whether head and payload are what was written.
    pub fn check(&self, head: &[u8; HEAD_LEN], stored: &[u8]) -> Result<(), FrameFault> {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&head[8..]);
        hasher.update(stored);
        if hasher.finalize() == self.crc {
            Ok(())
        } else {
            Err(FrameFault::Checksum)
        }
    }

    /// The payload itself. `raw_len` was written by us and is covered by the checksum, so it bounds the allocation.
    pub fn unpack(&self, stored: &[u8], out: &mut Vec<u8>) -> Result<(), FrameFault> {
        out.clear();
        if !self.compressed {
            out.extend_from_slice(stored);
            return Ok(());
        }
        out.reserve_exact(self.raw_len as usize);
        let len = DECOMPRESSOR.with_borrow_mut(|slot| {
            let decompressor = match slot {
                Some(decompressor) => decompressor,
                None => slot.insert(zstd::bulk::Decompressor::new()?),
            };
            decompressor.decompress_to_buffer(stored, out)
        });
        match len {
            Ok(len) if len == self.raw_len as usize => Ok(()),
            _ => Err(FrameFault::Undecodable),
        }
    }
}
