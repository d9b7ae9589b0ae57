//! Parquet's DELTA_BINARY_PACKED: differences, in blocks of 128 values, each quarter with a width of its own.

use super::levels::varint;

const BLOCK: usize = 128;
const MINI: usize = 32;

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

/// Encodes one page of 64-bit values (32-bit ones are widened; the encoding is the same).
pub(super) fn encode(values: impl ExactSizeIterator<Item = i64>, out: &mut Vec<u8>) {
    let mut values = values;
    varint(BLOCK as u64, out);
    varint((BLOCK / MINI) as u64, out);
    varint(values.len() as u64, out);
    let mut last = values.next().unwrap_or(0);
    varint(zigzag(last), out);
    let mut deltas = [0i64; BLOCK];
    loop {
        let mut filled = 0;
        for value in values.by_ref().take(BLOCK) {
            deltas[filled] = value.wrapping_sub(last);
            last = value;
            filled += 1;
        }
        if filled == 0 {
            break;
        }
        block(&mut deltas, filled, out);
        if filled < BLOCK {
            break;
        }
    }
}

fn block(deltas: &mut [i64; BLOCK], filled: usize, out: &mut Vec<u8>) {
    let least = deltas[..filled].iter().copied().min().unwrap_or(0);
    varint(zigzag(least), out);
    // Unfilled places must not widen their quarter.
    deltas[filled..].fill(least);
    let widths_at = out.len();
    out.extend_from_slice(&[0; BLOCK / MINI]);
    for (quarter, mini) in deltas.chunks_exact(MINI).enumerate() {
        if quarter * MINI >= filled {
            break;
        }
        let widest = mini.iter().fold(0u64, |acc, delta| {
            acc | delta.wrapping_sub(least).cast_unsigned()
        });
        let width = 64 - widest.leading_zeros();
        out[widths_at + quarter] = width as u8;
        pack(mini, least, width, out);
    }
}

fn pack(mini: &[i64], least: i64, width: u32, out: &mut Vec<u8>) {
    let (mut word, mut bits) = (0u128, 0u32);
    for delta in mini {
        word |= u128::from(delta.wrapping_sub(least).cast_unsigned()) << bits;
        bits += width;
        while bits >= 64 {
            out.extend_from_slice(&(word as u64).to_le_bytes());
            word >>= 64;
            bits -= 64;
        }
    }
    // 32 values of any width fill whole bytes.
    out.extend_from_slice(&(word as u64).to_le_bytes()[..bits as usize / 8]);
}
