//! Shortening: parts of a payload that stood before in it are named instead of repeated.
//!
//! Spans of one request carry the same attributes over and over. Who walks a request tells where each attribute stands;
//! one that came before becomes a number. That leaves the compressor less to look for, and whoever reads it back
//! learns which attributes are the same without comparing them. A shortened payload lengthens to the very same
//! bytes. Knows nothing of what the parts mean.

/// Shorter parts are not worth a number.
const SHORTEST: usize = 6;

/// Room a thread keeps from one payload to the next.
const ROOM_KEPT: usize = 4 << 20;

/// Places in the table of parts. A part that meets another in its place takes it over: only smallness is lost.
const SLOTS_LOG: u32 = 13;
const SLOTS: usize = 1 << SLOTS_LOG;

/// A payload's shortened form, with the room to make the next one.
#[derive(Debug, Default)]
pub struct Shortener {
    /// Where each distinct part stands, and its length.
    parts: Vec<(u32, u32)>,
    /// Part numbers plus one, by hash.
    slots: Vec<u32>,
    ops: Vec<u8>,
    literals: Vec<u8>,
    /// Up to here the payload is told.
    told: usize,
    /// Up to here its literals are copied.
    copied: usize,
    named: usize,
}

impl Shortener {
    /// A new payload.
    pub fn begin(&mut self) {
        // A giant payload must not pin its memory for ever.
        if self.literals.capacity() > ROOM_KEPT || self.parts.capacity() > ROOM_KEPT / 8 {
            *self = Shortener::default();
        }
        self.parts.clear();
        self.slots.clear();
        self.ops.clear();
        self.literals.clear();
        self.told = 0;
        self.copied = 0;
        self.named = 0;
    }

    /// Takes note of a part of `payload`, which must come behind those before it. Answers whether the same part stood
    /// before: what was checked of it then holds now.
    #[inline]
    pub fn part(&mut self, payload: &[u8], part: &[u8]) -> bool {
        let at = (part.as_ptr() as usize).wrapping_sub(payload.as_ptr() as usize);
        let end = at.wrapping_add(part.len());
        if part.len() < SHORTEST || at < self.told || end > payload.len() {
            return false;
        }
        // The field's tag and short length before it belong to it: then parts mostly follow one another at once.
        let from = match payload[self.told..at] {
            [.., _, len] if usize::from(len) == part.len() && len < 128 => at - 2,
            _ => at,
        };
        let whole = &payload[from..end];
        // Requests of other signals name no parts, and are spared the table.
        if self.slots.is_empty() {
            self.slots.resize(SLOTS, 0);
        }
        let slot = &mut self.slots[hash(part)];
        let known = slot.checked_sub(1).filter(|number| {
            let (known_at, known_len) = self.parts[*number as usize];
            known_len as usize == whole.len()
                && same(&payload[known_at as usize..][..whole.len()], whole)
        });
        let gap = from - self.told;
        // Three numbers of at most five bytes each.
        let mut room = [0; 15];
        let mut used = 0;
        let named = known.map_or(0, |number| number as usize + 1);
        varint(named << 1 | usize::from(gap > 0), &mut room, &mut used);
        if gap > 0 {
            varint(gap, &mut room, &mut used);
        }
        if known.is_some() {
            self.literals.extend_from_slice(&payload[self.copied..from]);
            self.copied = end;
            self.named += 1;
        } else {
            varint(whole.len(), &mut room, &mut used);
            *slot = self.parts.len() as u32 + 1;
            self.parts.push((from as u32, whole.len() as u32));
        }
        self.ops.extend_from_slice(&room[..used]);
        self.told = end;
        known.is_some()
    }

    /// The shortened form behind everything in `out`; false if there was next to nothing to shortener.
    pub fn end(&mut self, payload: &[u8], out: &mut Vec<u8>) -> bool {
        if self.named == 0 || payload.len() > u32::MAX as usize {
            return false;
        }
        out.extend_from_slice(&(self.ops.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.ops);
        out.extend_from_slice(&self.literals);
        out.extend_from_slice(&payload[self.copied..]);
        true
    }
}

/// Where the parts of an lengthened payload stand.
#[derive(Debug, Default)]
pub struct Parts {
    /// Where each occurrence ends, and the number of its part.
    occurrences: Vec<(u32, u32)>,
    distinct: u32,
}

impl Parts {
    pub(super) fn clear(&mut self) {
        self.occurrences.clear();
        self.distinct = 0;
    }

    /// How many different parts there are.
    pub fn distinct(&self) -> usize {
        self.distinct as usize
    }

    /// Follows a walk through the payload.
    pub fn follow(&self) -> Follow<'_> {
        Follow {
            rest: &self.occurrences,
        }
    }
}

/// Says, for places that come in order, whether a part ends there.
#[derive(Debug, Clone)]
pub struct Follow<'a> {
    rest: &'a [(u32, u32)],
}

impl Follow<'_> {
    /// The number of the part that ends at `end`.
    #[inline]
    pub fn at(&mut self, end: usize) -> Option<usize> {
        while let [(here, number), rest @ ..] = self.rest {
            if (*here as usize) < end {
                self.rest = rest;
                continue;
            }
            return (*here as usize == end).then_some(*number as usize);
        }
        None
    }
}

/// Puts a payload of `raw_len` bytes together again; `None` if the shortened form is not one.
pub fn lengthen(
    shortened: &[u8],
    raw_len: usize,
    out: &mut Vec<u8>,
    parts: &mut Parts,
) -> Option<()> {
    out.clear();
    parts.clear();
    out.reserve_exact(raw_len);
    let (ops_len, rest) = shortened.split_first_chunk::<4>()?;
    let (mut ops, mut literals) = rest.split_at_checked(u32::from_le_bytes(*ops_len) as usize)?;
    let mut known: Vec<(u32, u32)> = Vec::new();
    while !ops.is_empty() {
        let op = read_varint(&mut ops)?;
        if op & 1 == 1 {
            let gap = read_varint(&mut ops)?;
            take(&mut literals, gap, raw_len, out)?;
        }
        let number = match op >> 1 {
            0 => {
                let len = read_varint(&mut ops)?;
                known.push((out.len() as u32, len as u32));
                take(&mut literals, len, raw_len, out)?;
                known.len() as u32 - 1
            }
            named => {
                let (at, len) = *known.get(named - 1)?;
                let (at, len) = (at as usize, len as usize);
                if out.len() + len > raw_len {
                    return None;
                }
                out.extend_from_within(at..at + len);
                named as u32 - 1
            }
        };
        parts.occurrences.push((out.len() as u32, number));
    }
    out.extend_from_slice(literals);
    parts.distinct = known.len() as u32;
    (out.len() == raw_len).then_some(())
}

fn take(literals: &mut &[u8], len: usize, raw_len: usize, out: &mut Vec<u8>) -> Option<()> {
    let (taken, rest) = literals.split_at_checked(len)?;
    if out.len() + len > raw_len {
        return None;
    }
    out.extend_from_slice(taken);
    *literals = rest;
    Some(())
}

#[inline(always)]
fn varint(value: usize, room: &mut [u8; 15], used: &mut usize) {
    let mut rest = value;
    while rest >= 128 {
        room[*used] = (rest & 127) as u8 | 128;
        *used += 1;
        rest >>= 7;
    }
    room[*used] = rest as u8;
    *used += 1;
}

/// Equality of slices of one length, most of them short: the standard library's way costs a call.
#[inline(always)]
fn same(a: &[u8], b: &[u8]) -> bool {
    let len = a.len();
    if !(8..=64).contains(&len) {
        return a == b;
    }
    let mut differ = 0;
    let mut at = 0;
    while at + 8 <= len {
        differ |= word(a, at) ^ word(b, at);
        at += 8;
    }
    // The last word overlaps the one before it.
    differ | (word(a, len - 8) ^ word(b, len - 8)) == 0
}

#[inline(always)]
fn word(bytes: &[u8], at: usize) -> u64 {
    bytes[at..]
        .first_chunk()
        .map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

#[inline]
fn read_varint(bytes: &mut &[u8]) -> Option<usize> {
    let mut value = 0usize;
    for (i, byte) in bytes.iter().enumerate().take(5) {
        value |= usize::from(byte & 127) << (7 * i);
        if *byte < 128 {
            *bytes = &bytes[i + 1..];
            return Some(value);
        }
    }
    None
}

/// A part's place in the table. What tells attributes apart stands at their end. Nobody gains by making parts collide:
/// each request has the table to itself.
#[inline(always)]
fn hash(part: &[u8]) -> usize {
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    const OTHER: u64 = 0xd6e8_feb8_6659_fd93;
    let len = part.len();
    let (last, before) = match len {
        16.. => (word(part, len - 8), word(part, len - 16)),
        8.. => (word(part, len - 8), word(part, 0)),
        _ => part.iter().fold((0, 0), |(last, before), byte| {
            (last << 8 | u64::from(*byte), before)
        }),
    };
    // Both products end in bits that have seen all of a word: the upper ones.
    let sum = (last ^ (last >> 31))
        .wrapping_mul(SPREAD)
        .wrapping_add((before ^ len as u64).wrapping_mul(OTHER));
    (sum >> (64 - SLOTS_LOG)) as usize
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn shortened(payload: &[u8], parts: &[std::ops::Range<usize>]) -> (Vec<u8>, Vec<bool>) {
        let mut shortener = Shortener::default();
        shortener.begin();
        let seen = parts
            .iter()
            .map(|range| shortener.part(payload, &payload[range.clone()]))
            .collect();
        let mut out = Vec::new();
        shortener.end(payload, &mut out);
        (out, seen)
    }

    #[test]
    fn what_stood_before_is_named_and_comes_back() {
        let payload = b"head J\x0aabcdefghij J\x0aabcdefghijJ\x0aabcdefghiX tail";
        let (out, seen) = shortened(payload, &[7..17, 20..30, 32..42]);
        assert_eq!(seen, [false, true, false]);
        let (mut back, mut parts) = (Vec::new(), Parts::default());
        lengthen(&out, payload.len(), &mut back, &mut parts).unwrap();
        assert_eq!(back, payload);
        assert_eq!(parts.distinct(), 2);
        let mut follow = parts.follow();
        assert_eq!(
            [17, 18, 30, 42, 44].map(|end| follow.at(end)),
            [Some(0), None, Some(0), Some(1), None]
        );
    }

    #[test]
    fn nothing_repeated_is_nothing_to_fold() {
        let (out, seen) = shortened(b"abcdefgh12345678", &[0..8, 8..16]);
        assert_eq!(seen, [false, false]);
        assert!(out.is_empty());
    }

    #[test]
    fn what_is_no_folded_form_is_refused_and_never_grows_beyond_its_length() {
        let payload: Vec<u8> = (0..40u8).flat_map(|i| [i % 3; 8]).collect();
        let ranges: Vec<_> = (0..40).map(|i| i * 8..i * 8 + 8).collect();
        let (whole, _) = shortened(&payload, &ranges);
        let (mut out, mut parts) = (Vec::new(), Parts::default());
        assert!(lengthen(&whole, payload.len(), &mut out, &mut parts).is_some());
        assert_eq!(out, payload);
        assert!(lengthen(&whole, payload.len() - 1, &mut out, &mut parts).is_none());
        assert!(lengthen(&whole, payload.len() + 1, &mut out, &mut parts).is_none());
        for cut in 0..whole.len() {
            assert!(lengthen(&whole[..cut], payload.len(), &mut out, &mut parts).is_none());
        }
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << bit;
                let _ = lengthen(&damaged, payload.len(), &mut out, &mut parts);
                assert!(out.len() <= payload.len() + damaged.len());
            }
        }
    }
}
