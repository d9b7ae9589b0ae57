//! Finding frames where the chain of lengths is broken.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;

use super::frame::{FrameHead, HEAD_LEN};
use super::mark::{MARK, Mark};

/// Bytes looked through at a time.
const STEP: usize = 1 << 20;

/// The first whole frame at or behind `from`. Marks are drawn at random, so hardly any place but a frame's start is
/// ever looked at more closely.
pub(super) fn next_frame(file: &File, mark: Mark, from: u64, len: u64) -> io::Result<Option<u64>> {
    let finder = memchr::memmem::Finder::new(&mark.0);
    let mut chunk = Vec::new();
    let mut at = from;
    while at + HEAD_LEN as u64 <= len {
        let read = read_some(file, at, len, &mut chunk)?;
        for place in finder.find_iter(&chunk) {
            let place = at + place as u64;
            if whole(file, place, len, |head| FrameHead::read(head, mark).ok())? {
                return Ok(Some(place));
            }
        }
        if read < STEP {
            break;
        }
        // A mark may lie across two chunks.
        at += (read - (MARK - 1)) as u64;
    }
    Ok(None)
}

/// Without a mark: the first place that is a whole frame of whatever log. Payloads may hold such places by malice, so
/// the work spent on false ones is bounded.
pub(super) fn any_frame(file: &File, len: u64) -> io::Result<Option<(Mark, u64)>> {
    let mut to_spend = len.saturating_mul(4);
    let mut chunk = Vec::new();
    let mut at = 0;
    while at + HEAD_LEN as u64 <= len {
        let read = read_some(file, at, len, &mut chunk)?;
        for (place, window) in chunk.windows(HEAD_LEN).enumerate() {
            let Ok(bytes) = <&[u8; HEAD_LEN]>::try_from(window) else {
                continue;
            };
            let Ok(head) = FrameHead::read_unmarked(bytes) else {
                continue;
            };
            let mark = Mark([bytes[0], bytes[1], bytes[2], bytes[3]]);
            if mark.0.contains(&0) {
                continue;
            }
            let place = at + place as u64;
            match to_spend.checked_sub(u64::from(head.stored_len).min(len)) {
                Some(left) => to_spend = left,
                None => return Ok(None),
            }
            if whole(file, place, len, |_| Some(head))? {
                return Ok(Some((mark, place)));
            }
        }
        if read < STEP {
            break;
        }
        at += (read - (HEAD_LEN - 1)) as u64;
    }
    Ok(None)
}

/// Whether nothing but zeros stands between two places.
pub(super) fn only_zeros(file: &File, from: u64, len: u64) -> io::Result<bool> {
    let mut chunk = Vec::new();
    let mut at = from;
    while at < len {
        let read = read_some(file, at, len, &mut chunk)?;
        if chunk.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        if read == 0 {
            break;
        }
        at += read as u64;
    }
    Ok(true)
}

fn whole(
    file: &File,
    at: u64,
    len: u64,
    read: impl FnOnce(&[u8; HEAD_LEN]) -> Option<FrameHead>,
) -> io::Result<bool> {
    let mut bytes = [0; HEAD_LEN];
    if at + HEAD_LEN as u64 > len || !read_exact(file, at, &mut bytes)? {
        return Ok(false);
    }
    let Some(head) = read(&bytes) else {
        return Ok(false);
    };
    let from = at + HEAD_LEN as u64;
    if from + u64::from(head.stored_len) > len {
        return Ok(false);
    }
    let mut stored = vec![0; head.stored_len as usize];
    Ok(read_exact(file, from, &mut stored)? && head.check(&bytes, &stored).is_ok())
}

fn read_some(file: &File, at: u64, len: u64, chunk: &mut Vec<u8>) -> io::Result<usize> {
    let want = usize::try_from(len.saturating_sub(at)).map_or(STEP, |rest| rest.min(STEP));
    chunk.resize(want, 0);
    let mut have = 0;
    while have < want {
        match file.read_at(&mut chunk[have..], at + have as u64) {
            Ok(0) => break,
            Ok(read) => have += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    chunk.truncate(have);
    Ok(have)
}

/// False if the file ends before.
fn read_exact(file: &File, at: u64, out: &mut [u8]) -> io::Result<bool> {
    match file.read_exact_at(out, at) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
