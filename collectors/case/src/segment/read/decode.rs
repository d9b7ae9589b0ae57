//! One page: levels and values out of its bytes. What is read may be damaged, so every length is checked.

use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Encoding, Type};

/// Texts back to back.
#[derive(Debug, Default)]
pub(crate) struct TextArena {
    bytes: Bytes,
    places: Vec<(u32, u32)>,
}

impl TextArena {
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn get(&self, number: u32) -> &[u8] {
        self.places.get(number as usize).map_or(&[], |(at, len)| {
            &self.bytes[*at as usize..(*at + *len) as usize]
        })
    }

    /// The number of the first text that reads like this one.
    pub(crate) fn find(&self, text: &[u8]) -> Option<u32> {
        (0..self.places.len() as u32).find(|number| self.get(*number) == text)
    }

    /// A dictionary page: each text behind its length.
    pub(super) fn plain(bytes: Bytes, count: usize) -> Result<TextArena, &'static str> {
        let mut places = Vec::with_capacity(count.min(bytes.len() / 4));
        let mut at = 0usize;
        for _ in 0..count {
            let len = bytes.get(at..at + 4).ok_or(CUT)?;
            let len = u32::from_le_bytes([len[0], len[1], len[2], len[3]]);
            at += 4;
            if len as usize > bytes.len() - at {
                return Err(CUT);
            }
            places.push((at as u32, len));
            at += len as usize;
        }
        Ok(TextArena { bytes, places })
    }

    /// A page of lengths, then all texts.
    fn lengths(bytes: Bytes, count: usize) -> Result<TextArena, &'static str> {
        let (lengths, used) = delta(&bytes, count)?;
        let mut places = Vec::with_capacity(count);
        let mut at = used;
        for len in lengths {
            let len = usize::try_from(len)
                .ok()
                .filter(|len| *len <= bytes.len() - at)
                .ok_or(CUT)?;
            places.push((at as u32, len as u32));
            at += len;
        }
        Ok(TextArena { bytes, places })
    }
}

/// Texts of one page, by number.
#[derive(Debug, Clone, Default)]
pub(crate) struct TextPage {
    pub(crate) arena: Arc<TextArena>,
    pub(crate) numbers: Vec<u32>,
}

impl TextPage {
    pub(crate) fn get(&self, at: usize) -> &[u8] {
        self.numbers
            .get(at)
            .map_or(&[], |number| self.arena.get(*number))
    }

    /// Texts were checked to be UTF-8 before they were logged; a damaged page may say otherwise.
    pub(crate) fn text(&self, at: usize) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(self.get(at))
    }
}

/// What a page holds.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) repetition: Vec<u8>,
    pub(crate) definition: Vec<u8>,
    pub(crate) values: PageValues,
}

#[derive(Debug)]
pub(crate) enum PageValues {
    I64(Vec<i64>),
    I32(Vec<i32>),
    F64(Vec<f64>),
    Texts(TextPage),
}

pub(super) const CUT: &str = "a page is cut short";
const STRANGE: &str = "a page is encoded in a way casefile does not write";

/// What decides how a page is read.
pub(super) struct Layout {
    pub(super) physical: Type,
    pub(super) max_repetition: u8,
    pub(super) max_definition: u8,
}

pub(super) fn page(
    layout: &Layout,
    body: Bytes,
    entries: usize,
    encoding: Encoding,
    dictionary: Option<&Arc<TextArena>>,
) -> Result<Page, &'static str> {
    let mut at = 0;
    let mut read_levels = |max: u8| -> Result<Vec<u8>, &'static str> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let len = body.get(at..at + 4).ok_or(CUT)?;
        let len = u32::from_le_bytes([len[0], len[1], len[2], len[3]]) as usize;
        let bytes = body.get(at + 4..at + 4 + len).ok_or(CUT)?;
        at += 4 + len;
        let mut levels = Vec::with_capacity(entries);
        hybrid(bytes, u8::BITS - max.leading_zeros(), entries, |level| {
            levels.push(level as u8);
        })?;
        Ok(levels)
    };
    let repetition = read_levels(layout.max_repetition)?;
    let definition = read_levels(layout.max_definition)?;
    let count = if layout.max_definition == 0 {
        entries
    } else {
        definition
            .iter()
            .filter(|level| **level == layout.max_definition)
            .count()
    };
    let body = body.slice(at..);
    let values = match (layout.physical, encoding) {
        (Type::INT64, Encoding::PLAIN) => PageValues::I64(words(&body, count, i64::from_le_bytes)?),
        (Type::INT64, Encoding::DELTA_BINARY_PACKED) => PageValues::I64(delta(&body, count)?.0),
        (Type::INT32, Encoding::PLAIN) => PageValues::I32(words(&body, count, i32::from_le_bytes)?),
        (Type::INT32, Encoding::DELTA_BINARY_PACKED) => PageValues::I32(
            delta(&body, count)?
                .0
                .into_iter()
                .map(|value| value as i32)
                .collect(),
        ),
        (Type::DOUBLE, Encoding::PLAIN) => {
            PageValues::F64(words(&body, count, f64::from_le_bytes)?)
        }
        (Type::BYTE_ARRAY, Encoding::RLE_DICTIONARY) => {
            let arena = Arc::clone(dictionary.ok_or("a page's dictionary is missing")?);
            let width = u32::from(*body.first().unwrap_or(&0));
            if width > 32 {
                return Err(STRANGE);
            }
            let mut numbers = Vec::with_capacity(count);
            let known = arena.len() as u64;
            let mut beyond = false;
            hybrid(body.get(1..).unwrap_or(&[]), width, count, |number| {
                beyond |= number >= known;
                numbers.push(number as u32);
            })?;
            if beyond {
                return Err("a page names texts its dictionary lacks");
            }
            PageValues::Texts(TextPage { arena, numbers })
        }
        (Type::BYTE_ARRAY, Encoding::DELTA_LENGTH_BYTE_ARRAY) => PageValues::Texts(TextPage {
            arena: Arc::new(TextArena::lengths(body, count)?),
            numbers: (0..count as u32).collect(),
        }),
        _ => return Err(STRANGE),
    };
    Ok(Page {
        repetition,
        definition,
        values,
    })
}

fn words<const N: usize, T>(
    body: &[u8],
    count: usize,
    read: fn([u8; N]) -> T,
) -> Result<Vec<T>, &'static str> {
    let bytes = body.get(..count * N).ok_or(CUT)?;
    Ok(bytes
        .chunks_exact(N)
        .map(|chunk| {
            let mut word = [0; N];
            word.copy_from_slice(chunk);
            read(word)
        })
        .collect())
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn varint(&mut self) -> Result<u64, &'static str> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or(CUT)?;
            self.at += 1;
            value |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Ok(value);
            }
        }
        Err(STRANGE)
    }

    fn take(&mut self, len: usize) -> Result<&[u8], &'static str> {
        let taken = self
            .bytes
            .get(self.at..self.at.saturating_add(len))
            .ok_or(CUT)?;
        self.at += len;
        Ok(taken)
    }
}

/// Calls `each` for every number in packed bytes, `width` bits each.
fn unpack(bytes: &[u8], width: u32, count: usize, mut each: impl FnMut(u64)) {
    match width {
        0 => (0..count).for_each(|_| each(0)),
        8 => bytes
            .iter()
            .take(count)
            .for_each(|byte| each(u64::from(*byte))),
        16 => bytes
            .chunks_exact(2)
            .take(count)
            .for_each(|pair| each(u64::from(u16::from_le_bytes([pair[0], pair[1]])))),
        24 => bytes.chunks_exact(3).take(count).for_each(|three| {
            each(u64::from(u32::from_le_bytes([
                three[0], three[1], three[2], 0,
            ])))
        }),
        _ => {
            let mask = u64::MAX >> (64 - width);
            let (mut word, mut have) = (0u128, 0u32);
            let mut rest = bytes.iter();
            for _ in 0..count {
                while have < width {
                    word |= u128::from(*rest.next().unwrap_or(&0)) << have;
                    have += 8;
                }
                each(word as u64 & mask);
                word >>= width;
                have -= width;
            }
        }
    }
}

/// Runs and packed groups.
fn hybrid(
    bytes: &[u8],
    width: u32,
    count: usize,
    mut each: impl FnMut(u64),
) -> Result<(), &'static str> {
    let mut bits = Bits { bytes, at: 0 };
    let mut left = count;
    while left > 0 {
        let head = bits.varint()?;
        if head & 1 == 1 {
            let groups = usize::try_from(head >> 1).map_err(|_| STRANGE)?;
            let here = left.min(groups.saturating_mul(8));
            let packed = bits.take(groups.saturating_mul(width as usize))?;
            unpack(packed, width, here, &mut each);
            left -= here;
            if groups == 0 {
                return Err(STRANGE);
            }
        } else {
            let here = left.min(usize::try_from(head >> 1).map_err(|_| STRANGE)?);
            let mut word = [0; 8];
            let len = width.div_ceil(8) as usize;
            word[..len].copy_from_slice(bits.take(len)?);
            let value = u64::from_le_bytes(word);
            (0..here).for_each(|_| each(value));
            left -= here;
            if here == 0 {
                return Err(STRANGE);
            }
        }
    }
    Ok(())
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// DELTA_BINARY_PACKED; also where its bytes end.
fn delta(bytes: &[u8], expected: usize) -> Result<(Vec<i64>, usize), &'static str> {
    let mut bits = Bits { bytes, at: 0 };
    let block = usize::try_from(bits.varint()?).map_err(|_| STRANGE)?;
    let minis = usize::try_from(bits.varint()?).map_err(|_| STRANGE)?;
    let count = usize::try_from(bits.varint()?).map_err(|_| STRANGE)?;
    if count != expected || minis == 0 || block % minis != 0 || block > 1 << 16 {
        return Err(STRANGE);
    }
    let mini = block / minis;
    let mut values = Vec::with_capacity(count);
    let mut last = unzigzag(bits.varint()?);
    if count > 0 {
        values.push(last);
    }
    while values.len() < count {
        let least = unzigzag(bits.varint()?);
        let widths = bits.take(minis)?.to_vec();
        for width in widths {
            let left = count - values.len();
            if left == 0 {
                break;
            }
            if width > 64 {
                return Err(STRANGE);
            }
            let packed = bits.take(mini * usize::from(width) / 8)?;
            unpack(packed, u32::from(width), left.min(mini), |delta| {
                last = last.wrapping_add(least).wrapping_add(delta.cast_signed());
                values.push(last);
            });
        }
    }
    Ok((values, bits.at))
}
