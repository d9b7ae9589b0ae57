//! Trace and span ids: fixed bytes inside, lower-case hex outside. All-zero ids mean "none" in OTLP.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A W3C trace id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TraceId(pub [u8; 16]);

/// A W3C span id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SpanId(pub [u8; 8]);

/// Why a text is no id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{what} id must be {digits} hexadecimal digits, got {got:?}")]
pub struct IdError {
    what: &'static str,
    digits: usize,
    got: String,
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Writes `bytes` as lower-case hex into `out`, which is twice as long.
pub fn hex_into(bytes: &[u8], out: &mut [u8]) {
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair[0] = HEX[usize::from(byte >> 4)];
        pair[1] = HEX[usize::from(byte & 15)];
    }
}

/// What each byte stands for as a digit; 255 for those that are none. Millions of ids are read at a time.
const DIGITS: [u8; 256] = {
    let mut digits = [255; 256];
    let mut value = 0;
    while value < 16 {
        digits[HEX[value] as usize] = value as u8;
        digits[HEX[value].to_ascii_uppercase() as usize] = value as u8;
        value += 1;
    }
    digits
};

/// Reads hex of either case; `None` on a wrong length or a digit that is none.
pub fn unhex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    let mut out = [0u8; N];
    let mut strange = 0;
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        let (high, low) = (DIGITS[usize::from(pair[0])], DIGITS[usize::from(pair[1])]);
        strange |= high | low;
        *byte = high << 4 | low & 15;
    }
    (strange < 16).then_some(out)
}

macro_rules! id {
    ($name:ident, $len:literal, $what:literal) => {
        impl $name {
            /// The all-zero id, which OTLP uses for "none".
            pub const NONE: Self = Self([0; $len]);

            /// Whether this is a real id.
            pub fn is_some(&self) -> bool {
                self.0 != [0; $len]
            }

            /// The id from raw bytes, `None` if the length is not the id's.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// Reads hex of either case.
            pub fn from_hex(text: &[u8]) -> Option<Self> {
                unhex(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut out = [0u8; 2 * $len];
                hex_into(&self.0, &mut out);
                f.pad(std::str::from_utf8(&out).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::from_hex(text.as_bytes()).ok_or_else(|| IdError {
                    what: $what,
                    digits: 2 * $len,
                    got: text.chars().take(64).collect(),
                })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?
                    .parse()
                    .map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(TraceId, 16, "trace");
id!(SpanId, 8, "span");

impl TraceId {
    /// Both halves folded: what indexes keep of an id. Either half alone may be constant (64-bit tracers pad with
    /// zeros, some clients put the time first).
    pub fn fold(&self) -> u64 {
        let (high, low) = self.0.split_at(8);
        let half = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(0u64, |acc, byte| acc << 8 | u64::from(*byte))
        };
        half(high).rotate_left(32) ^ half(low)
    }
}
