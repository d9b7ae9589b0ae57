//! One request in the log: a fixed head, then the payload, shortened and compressed where that pays.

use super::mark::{MARK, Mark};
use super::pack;
use super::shorten::{Parts, Shortener};
use crate::signal::Signal;
use crate::time::Nanos;

/// Bytes of a head on disk.
pub const HEAD_LEN: usize = 48;

/// Payloads shorter than this are kept as they are.
const COMPRESS_FROM: usize = 256;

/// How a payload lies on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    Plain,
    Compressed,
    /// Shortened first.
    Shortened,
}

impl Packing {
    const ALL: [Packing; 3] = [Packing::Plain, Packing::Compressed, Packing::Shortened];
}

/// What stands before a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    pub signal: Signal,
    pub packing: Packing,
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
    /// Packs a payload, which must be under 4 GiB (receivers allow far less). `shortener` holds what was seen of its parts.
    pub fn pack(
        signal: Signal,
        payload: &[u8],
        shortener: Option<&mut Shortener>,
        items: u32,
        hash: u128,
        received_at: Nanos,
    ) -> std::io::Result<Frame> {
        let raw_len = u32::try_from(payload.len())
            .map_err(|_| std::io::Error::other("a request of 4 GiB or more can't be logged"))?;
        let mut bytes = vec![0; HEAD_LEN];
        let packing = if payload.len() < COMPRESS_FROM {
            bytes.extend_from_slice(payload);
            Packing::Plain
        } else {
            pack::onto(payload, shortener, &mut bytes)?
        };
        let mut head = FrameHead {
            signal,
            packing,
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

impl FrameHead {
    /// The head of a request that goes into a segment without having been in a log.
    pub(crate) fn of(signal: Signal, items: u32, hash: u128) -> FrameHead {
        FrameHead {
            signal,
            packing: Packing::Plain,
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
        out[17] = self.packing as u8;
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
        let packing = *Packing::ALL
            .get(usize::from(bytes[17]))
            .ok_or(FrameFault::Head)?;
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let mut long = [0; 8];
        long.copy_from_slice(&bytes[24..32]);
        let mut hash = [0; 16];
        hash.copy_from_slice(&bytes[32..48]);
        Ok(FrameHead {
            signal,
            packing,
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

    /// The payload itself, and the parts it was shortened by.
    pub fn unpack(
        &self,
        stored: &[u8],
        out: &mut Vec<u8>,
        parts: &mut Parts,
    ) -> Result<(), FrameFault> {
        pack::open(self.packing, stored, self.raw_len as usize, out, parts)
            .ok_or(FrameFault::Undecodable)
    }
}
