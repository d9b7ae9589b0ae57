//! One JSON scalar as the bytes of its protobuf field.
//!
//! Numbers may be written as numbers or strings, whole numbers with a fraction of zero; every narrowing is checked.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{self, Deserializer, Visitor};

use super::schema::Kind;
use super::wire::{put_varint, zigzag};

/// A scalar as JSON writes it, before its field gives it a type.
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Double(f64),
    Text(String),
}

/// A number or the text of one.
#[derive(Clone, Copy)]
struct Expected(&'static str);

impl<'de> Visitor<'de> for Expected {
    type Value = Scalar;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(self.0)
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Scalar, E> {
        Ok(Scalar::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar::Signed(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Scalar, E> {
        Ok(Scalar::Double(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(value.to_owned()))
    }
}

/// Reads a number, a bool or an enum; `expected` names it in errors.
pub(super) fn number<'de, D: Deserializer<'de>>(
    input: D,
    expected: &'static str,
) -> Result<Scalar, D::Error> {
    input.deserialize_any(Expected(expected))
}

/// What a field of this kind wants, for error messages.
pub(super) fn expectation(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "a string",
        Kind::HexId => "an id in hex",
        Kind::Bytes => "bytes in base64",
        Kind::Bool => "true or false",
        Kind::Double => "a number",
        Kind::Fixed32 | Kind::UInt32 => "a whole number of 32 bits, not negative",
        Kind::Fixed64 | Kind::UInt64 => "a whole number of 64 bits, not negative",
        Kind::SFixed64 | Kind::Int64 => "a whole number of 64 bits",
        Kind::SInt32 => "a whole number of 32 bits",
        Kind::Enum(_) => "an enum's number or name",
        Kind::Message(_) => "an object",
    }
}

/// Appends the value without its key. `Ok(false)`: it is the default, and nothing needed to be said.
pub(super) fn put<E: de::Error>(out: &mut Vec<u8>, kind: Kind, value: &Scalar) -> Result<bool, E> {
    let refuse = || E::custom(format_args!("expected {}", expectation(kind)));
    Ok(match kind {
        Kind::Bool => {
            let value = match value {
                Scalar::Bool(value) => *value,
                Scalar::Text(text) if text == "true" => true,
                Scalar::Text(text) if text == "false" => false,
                _ => return Err(refuse()),
            };
            out.push(u8::from(value));
            value
        }
        Kind::Double => {
            let value = double(value).ok_or_else(refuse)?;
            out.extend_from_slice(&value.to_le_bytes());
            value.to_bits() != 0
        }
        Kind::Fixed32 => {
            let value = whole(value)
                .and_then(|n| u32::try_from(n).ok())
                .ok_or_else(refuse)?;
            out.extend_from_slice(&value.to_le_bytes());
            value != 0
        }
        Kind::UInt32 => {
            let value = whole(value)
                .and_then(|n| u32::try_from(n).ok())
                .ok_or_else(refuse)?;
            put_varint(out, u64::from(value));
            value != 0
        }
        Kind::Fixed64 => {
            let value = whole(value)
                .and_then(|n| u64::try_from(n).ok())
                .ok_or_else(refuse)?;
            out.extend_from_slice(&value.to_le_bytes());
            value != 0
        }
        Kind::UInt64 => {
            let value = whole(value)
                .and_then(|n| u64::try_from(n).ok())
                .ok_or_else(refuse)?;
            put_varint(out, value);
            value != 0
        }
        Kind::SFixed64 => {
            let value = whole(value)
                .and_then(|n| i64::try_from(n).ok())
                .ok_or_else(refuse)?;
            out.extend_from_slice(&value.to_le_bytes());
            value != 0
        }
        Kind::Int64 => {
            let value = whole(value)
                .and_then(|n| i64::try_from(n).ok())
                .ok_or_else(refuse)?;
            put_varint(out, value as u64);
            value != 0
        }
        Kind::SInt32 => {
            let value = whole(value)
                .and_then(|n| i32::try_from(n).ok())
                .ok_or_else(refuse)?;
            put_varint(out, u64::from(zigzag(value)));
            value != 0
        }
        Kind::Enum(names) => {
            let named = match value {
                Scalar::Text(text) => names
                    .iter()
                    .find(|(name, _)| name == text)
                    .map(|(_, number)| *number),
                _ => None,
            };
            let number = named
                .or_else(|| whole(value).and_then(|n| i32::try_from(n).ok()))
                .ok_or_else(|| match value {
                    Scalar::Text(text) => {
                        E::custom(format_args!("unknown enum name {:?}", shortened(text, 40)))
                    }
                    _ => refuse(),
                })?;
            // Negative enum numbers are sign-extended to 64 bits, as protobuf does.
            put_varint(out, i64::from(number) as u64);
            number != 0
        }
        Kind::Text | Kind::HexId | Kind::Bytes | Kind::Message(_) => return Err(refuse()),
    })
}

/// The head of a text, for an error message.
pub(super) fn shortened(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A whole number in whichever way it was written; `None` when it is none or does not fit 65 bits.
fn whole(value: &Scalar) -> Option<i128> {
    match value {
        Scalar::Unsigned(value) => Some(i128::from(*value)),
        Scalar::Signed(value) => Some(i128::from(*value)),
        Scalar::Double(value) => whole_double(*value),
        Scalar::Text(text) => match text.parse::<i128>() {
            Ok(value) => Some(value),
            Err(_) => text.parse::<f64>().ok().and_then(whole_double),
        },
        Scalar::Bool(_) | Scalar::Null => None,
    }
}

fn whole_double(value: f64) -> Option<i128> {
    // 2^64 is the first double that no 64-bit integer reaches; below it, `as` is exact for whole values.
    (value.fract() == 0.0 && value.abs() <= 18_446_744_073_709_551_616.0).then_some(value as i128)
}

fn double(value: &Scalar) -> Option<f64> {
    match value {
        Scalar::Unsigned(value) => Some(*value as f64),
        Scalar::Signed(value) => Some(*value as f64),
        Scalar::Double(value) => Some(*value),
        Scalar::Text(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            // Rust also reads `inf` and `nan`, which no encoder of this format writes.
            text if text.bytes().any(|b| b.is_ascii_digit()) => text.parse().ok(),
            _ => None,
        },
        Scalar::Bool(_) | Scalar::Null => None,
    }
}

/// Appends the bytes of an id.
pub(super) fn put_hex<E: de::Error>(out: &mut Vec<u8>, hex: &[u8]) -> Result<(), E> {
    if hex.len() % 2 == 1 {
        return Err(E::custom("an id with an odd number of hex digits"));
    }
    for pair in hex.chunks_exact(2) {
        match (digit(pair[0]), digit(pair[1])) {
            (Some(high), Some(low)) => out.push(high << 4 | low),
            _ => return Err(E::custom("an id that isn't hex")),
        }
    }
    Ok(())
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Appends base64-decoded bytes, from either alphabet, padded or not.
pub(super) fn put_base64<E: de::Error>(out: &mut Vec<u8>, text: &[u8]) -> Result<(), E> {
    let engine = if text.iter().any(|b| matches!(b, b'-' | b'_')) {
        &URL_SAFE
    } else {
        &STANDARD
    };
    engine
        .decode_vec(text, out)
        .map_err(|reason| E::custom(format_args!("bytes that aren't base64: {reason}")))
}

/// Appends a string. What arrives is a JSON string with its escapes resolved but not yet known to be UTF-8: halves of
/// surrogate pairs, which clients leave when they cut text, become U+FFFD; anything else that isn't UTF-8 is refused.
pub(super) fn put_text<E: de::Error>(out: &mut Vec<u8>, mut text: &[u8]) -> Result<(), E> {
    loop {
        match std::str::from_utf8(text) {
            Ok(_) => {
                out.extend_from_slice(text);
                return Ok(());
            }
            Err(error) => {
                let (valid, rest) = text.split_at(error.valid_up_to());
                out.extend_from_slice(valid);
                match rest {
                    [0xed, 0xa0..=0xbf, 0x80..=0xbf, after @ ..] => {
                        out.extend_from_slice("\u{fffd}".as_bytes());
                        text = after;
                    }
                    _ => return Err(E::custom("a string that isn't UTF-8")),
                }
            }
        }
    }
}
