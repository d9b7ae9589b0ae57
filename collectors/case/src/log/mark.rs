//! A log's first line: what kind of file it is, and the mark that each of its frames begins with.
//!
//! The mark is drawn anew for every log, so that no payload can hold something that looks like a frame of that log:
//! after damage, wherever the mark stands, a frame stands. It is kept four times; two copies that agree are believed.

use std::hash::{BuildHasher, RandomState};

/// What every log file begins with.
pub const FILE_MAGIC: &[u8; 16] = b"casefile log 1\r\n";

/// Bytes of the first line.
pub const FIRST_LINE: usize = 32;

/// Bytes of a mark.
pub const MARK: usize = 4;

/// What the frames of one log begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark(pub [u8; MARK]);

impl Mark {
    /// A mark nobody can guess. None of its bytes is zero: files that lost power end in zeros.
    pub fn fresh() -> Mark {
        let random = RandomState::new().hash_one(FILE_MAGIC).to_le_bytes();
        let mut mark = [0; MARK];
        for (out, byte) in mark.iter_mut().zip(random) {
            *out = byte.max(1);
        }
        Mark(mark)
    }

    /// The first line of a log with this mark.
    pub fn first_line(self) -> [u8; FIRST_LINE] {
        let mut line = [0; FIRST_LINE];
        let (magic, marks) = line.split_at_mut(FILE_MAGIC.len());
        magic.copy_from_slice(FILE_MAGIC);
        for copy in marks.chunks_exact_mut(MARK) {
            copy.copy_from_slice(&self.0);
        }
        line
    }

    /// The mark of a first line, which may be damaged here and there.
    pub fn of_first_line(line: &[u8; FIRST_LINE]) -> Option<Mark> {
        let copies: Vec<&[u8]> = line[FILE_MAGIC.len()..].chunks_exact(MARK).collect();
        copies
            .iter()
            .find(|mark| copies.iter().filter(|copy| copy == mark).count() >= 2)
            .and_then(|mark| <[u8; MARK]>::try_from(*mark).ok())
            .filter(|mark| !mark.contains(&0))
            .map(Mark)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_mark_survives_any_one_flipped_byte() {
        let mark = Mark::fresh();
        assert_ne!(mark, Mark::fresh());
        let line = mark.first_line();
        for at in 0..FIRST_LINE {
            let mut damaged = line;
            damaged[at] ^= 0x41;
            assert_eq!(Mark::of_first_line(&damaged), Some(mark), "byte {at}");
        }
        assert_eq!(Mark::of_first_line(&[0; FIRST_LINE]), None);
    }
}
