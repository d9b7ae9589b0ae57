//! Parquet's run-length and bit-packing hybrid, for repetition and definition levels and for dictionary numbers.

/// Writes an unsigned LEB128 number.
pub(super) fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 128 {
        out.push((value & 127) as u8 | 128);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Levels of one page, with the length in front that data pages ask for.
pub(super) fn levels(levels: &[u8], max: u8, out: &mut Vec<u8>) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    let width = u8::BITS - max.leading_zeros();
    hybrid(levels, width, out);
    let len = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&len.to_le_bytes());
}

/// Runs of eight or more equal levels as runs, the rest packed.
fn hybrid(levels: &[u8], width: u32, out: &mut Vec<u8>) {
    let mut packed_from = 0;
    let mut at = 0;
    while at < levels.len() {
        let value = levels[at];
        let run = levels[at..].iter().take_while(|v| **v == value).count();
        // A packed run holds whole groups of eight, so a run may only begin on a group's edge.
        let skip = (packed_from + (at - packed_from).next_multiple_of(8)) - at;
        if run >= skip + 8 {
            pack(&levels[packed_from..at + skip], width, out);
            let rest = run - skip;
            varint((rest as u64) << 1, out);
            out.push(value);
            at += run;
            packed_from = at;
        } else {
            at += run;
        }
    }
    pack(&levels[packed_from..], width, out);
}

fn pack(levels: &[u8], width: u32, out: &mut Vec<u8>) {
    if levels.is_empty() {
        return;
    }
    let groups = levels.len().div_ceil(8);
    varint((groups as u64) << 1 | 1, out);
    let (whole, rest) = levels.as_chunks::<8>();
    if width == 1 {
        // The product brings the lowest bit of byte i to bit 56 + i; no two bits meet on the way.
        out.extend(whole.iter().map(|group| {
            (u64::from_le_bytes(*group).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8
        }));
    }
    let left = if width == 1 { rest } else { levels };
    for group in left.chunks(8) {
        let mut word = 0u64;
        for (i, level) in group.iter().enumerate() {
            word |= u64::from(*level) << (i as u32 * width);
        }
        out.extend_from_slice(&word.to_le_bytes()[..width as usize]);
    }
}

/// Dictionary numbers of one page: their width in bits, then one run.
pub(super) fn numbers(indices: &[u32], width: u32, out: &mut Vec<u8>) {
    out.push(width as u8);
    let Some(first) = indices.first() else {
        return;
    };
    if indices.iter().all(|index| index == first) {
        varint((indices.len() as u64) << 1, out);
        out.extend_from_slice(&first.to_le_bytes()[..width.div_ceil(8) as usize]);
        return;
    }
    let groups = indices.len().div_ceil(8);
    varint((groups as u64) << 1 | 1, out);
    let until = out.len() + groups * width as usize;
    out.reserve(groups * width as usize + 8);
    match width {
        8 => out.extend(indices.iter().map(|index| *index as u8)),
        16 => whole_bytes::<2>(indices, out),
        24 => whole_bytes::<3>(indices, out),
        32 => whole_bytes::<4>(indices, out),
        _ => {
            let (mut word, mut bits) = (0u64, 0);
            for index in indices {
                // Fewer than 32 bits wait, so the next number fits in whole.
                word |= u64::from(*index) << bits;
                bits += width;
                if bits >= 32 {
                    out.extend_from_slice(&(word as u32).to_le_bytes());
                    word >>= 32;
                    bits -= 32;
                }
            }
            out.extend_from_slice(&word.to_le_bytes()[..bits.div_ceil(8) as usize]);
        }
    }
    // The last group is filled up.
    out.resize(until, 0);
}

fn whole_bytes<const BYTES: usize>(indices: &[u32], out: &mut Vec<u8>) {
    let from = out.len();
    out.resize(from + indices.len() * BYTES, 0);
    for (place, index) in out[from..].chunks_exact_mut(BYTES).zip(indices) {
        place.copy_from_slice(&index.to_le_bytes()[..BYTES]);
    }
}

/// The widths worth trying for a dictionary: whole bytes, in which zstd finds repetition at any place, and no bit more
/// than needed, which wins where rows happen to fill whole bytes.
pub(super) fn widths(dictionary: usize) -> [u32; 2] {
    let bits = usize::BITS - dictionary.saturating_sub(1).leading_zeros();
    let bits = bits.max(1);
    [bits.next_multiple_of(8), bits]
}
