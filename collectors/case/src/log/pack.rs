//! Making payloads small, and whole again. Owns the compressors and their room; what a frame is stands in `frame`.

use std::cell::RefCell;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{CParameter, Strategy, compress_bound};

use super::frame::Packing;
use super::shorten::{self, Parts, Shortener};

/// Room a thread keeps; a request far above the usual must not pin its memory for ever.
const ROOM_KEPT: usize = 4 << 20;

/// Shortening adds at most this to a payload: a number or two for each of its shortest parts.
const MOST_ADDED: usize = 3;

/// With the room they write into: giving back and faulting in a quarter of a megabyte for every request costs more
/// than copying what came out of it.
struct Packer {
    plain: Compressor<'static>,
    shortened: Compressor<'static>,
    room: Vec<u8>,
    unpacked: Vec<u8>,
}

thread_local! {
    static PACKER: RefCell<Option<Packer>> = const { RefCell::new(None) };
    static OPENER: RefCell<Option<(Decompressor<'static>, Vec<u8>)>> = const { RefCell::new(None) };
}

impl Packer {
    fn new() -> std::io::Result<Packer> {
        let mut shortened = Compressor::new(1)?;
        // What shortening leaves is mostly ids and times: no time is spent on their digits.
        for parameter in [
            CParameter::Strategy(Strategy::ZSTD_fast),
            CParameter::HashLog(14),
            CParameter::MinMatch(6),
            CParameter::TargetLength(1),
        ] {
            shortened.set_parameter(parameter)?;
        }
        Ok(Packer {
            plain: Compressor::new(1)?,
            shortened,
            room: Vec::new(),
            unpacked: Vec::new(),
        })
    }
}

/// Appends the payload to `bytes` in the smallest way that is worth its time.
pub(super) fn onto(
    payload: &[u8],
    shortener: Option<&mut Shortener>,
    bytes: &mut Vec<u8>,
) -> std::io::Result<Packing> {
    PACKER.with_borrow_mut(|slot| {
        let packer = match slot {
            Some(kept) => kept,
            None => slot.insert(Packer::new()?),
        };
        packer.unpacked.clear();
        let shortened =
            shortener.is_some_and(|shortener| shortener.end(payload, &mut packer.unpacked));
        let (compressor, from) = if shortened {
            (&mut packer.shortened, packer.unpacked.as_slice())
        } else {
            (&mut packer.plain, payload)
        };
        packer.room.clear();
        packer.room.reserve(compress_bound(from.len()));
        let len = compressor.compress_to_buffer(from, &mut packer.room)?;
        let packing = if len + 4 >= payload.len() {
            bytes.extend_from_slice(payload);
            Packing::Plain
        } else if shortened {
            bytes.reserve_exact(len + 4);
            bytes.extend_from_slice(&(from.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&packer.room);
            Packing::Shortened
        } else {
            bytes.reserve_exact(len);
            bytes.extend_from_slice(&packer.room);
            Packing::Compressed
        };
        for room in [&mut packer.room, &mut packer.unpacked] {
            if room.capacity() > ROOM_KEPT {
                *room = Vec::new();
            }
        }
        Ok(packing)
    })
}

/// The payload of `raw_len` bytes; `None` if that is not what is stored. Lengths were written by us and are covered by
/// a checksum, so they bound what is allocated.
pub(super) fn open(
    packing: Packing,
    stored: &[u8],
    raw_len: usize,
    out: &mut Vec<u8>,
    parts: &mut Parts,
) -> Option<()> {
    out.clear();
    parts.clear();
    if packing == Packing::Plain {
        out.extend_from_slice(stored);
        return (stored.len() == raw_len).then_some(());
    }
    OPENER.with_borrow_mut(|slot| {
        let (decompressor, room) = match slot {
            Some(kept) => kept,
            None => slot.insert((Decompressor::new().ok()?, Vec::new())),
        };
        if packing == Packing::Compressed {
            out.reserve_exact(raw_len);
            let len = decompressor.decompress_to_buffer(stored, out).ok()?;
            return (len == raw_len).then_some(());
        }
        let (len, stored) = stored.split_first_chunk::<4>()?;
        let len = u32::from_le_bytes(*len) as usize;
        if len > raw_len.saturating_mul(MOST_ADDED) + 64 {
            return None;
        }
        room.clear();
        room.reserve_exact(len);
        let whole = decompressor
            .decompress_to_buffer(stored, room)
            .is_ok_and(|read| read == len);
        let lengthened = whole.then(|| shorten::lengthen(room, raw_len, out, parts));
        if room.capacity() > ROOM_KEPT {
            *room = Vec::new();
        }
        lengthened?
    })
}
