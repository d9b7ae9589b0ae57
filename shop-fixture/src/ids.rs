//! Owns the making of identifiers: ULIDs with a prefix, UUIDs for registry ids, trace and span ids. Every id is unique to
//! the world, so none of them follows the seed.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::rng::mix;

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// 64 bits that no other call, thread or process will repeat: the standard library keys every `RandomState` from the
/// operating system, and a counter keeps two draws of one key apart.
#[must_use]
pub fn random_u64() -> u64 {
    thread_local! {
        static KEYS: RandomState = RandomState::new();
    }
    let ordinal = COUNTER.fetch_add(1, Ordering::Relaxed);
    KEYS.with(|keys| {
        let mut hasher = keys.build_hasher();
        hasher.write_u64(ordinal);
        hasher.write_u32(std::process::id());
        mix(hasher.finish())
    })
}

#[must_use]
pub fn trace_id() -> [u8; 16] {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&random_u64().to_be_bytes());
    id[8..].copy_from_slice(&random_nonzero().to_be_bytes());
    id
}

#[must_use]
pub fn span_id() -> [u8; 8] {
    random_nonzero().to_be_bytes()
}

fn random_nonzero() -> u64 {
    loop {
        let value = random_u64();
        if value != 0 {
            return value;
        }
    }
}

/// `prefix` followed by a fresh ULID.
#[must_use]
pub fn ulid(prefix: &str) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let millis = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |age| age.as_millis());
    let low = (u128::from(random_u64()) << 16) | u128::from(random_u64() & 0xffff);
    let bits = (millis << 80) | low;
    let mut text = String::with_capacity(prefix.len() + 26);
    text.push_str(prefix);
    for position in (0..26).rev() {
        let digit = (bits >> (position * 5)) & 31;
        text.push(char::from(ALPHABET[digit as usize]));
    }
    text
}

#[must_use]
pub fn uuid() -> String {
    let high = random_u64();
    let low = random_u64();
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        ((low >> 48) & 0x3fff) | 0x8000,
        low & 0xffff_ffff_ffff
    )
}

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_their_shape_and_do_not_repeat() {
        let first = ulid("ord_");
        let second = ulid("ord_");
        assert_eq!(first.len(), 30);
        assert!(first.starts_with("ord_0"), "{first}");
        assert_ne!(first, second);
        let id = uuid();
        assert_eq!(id.len(), 36);
        assert_eq!(&id[14..15], "4");
        assert_ne!(trace_id(), trace_id());
        assert_eq!(hex(&[0, 0xab, 0x1f]), "00ab1f");
    }
}
