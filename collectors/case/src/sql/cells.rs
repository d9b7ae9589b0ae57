//! Values as SQL gets them, and maps and lists as JSON.
//!
//! JSON here is plain (numbers as numbers, lists as arrays), so that `json_extract` and `json_each` reach everything;
//! only bytes (base64) and doubles that JSON has no words for (`"NaN"`, `"Infinity"`) are texts.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::model::{Attributes, Value};
use crate::wire::text;

/// One value on its way to SQLite.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum CellRef<'a> {
    Null,
    Int(i64),
    Real(f64),
    Text(Cow<'a, [u8]>),
}

impl CellRef<'_> {
    /// An INTEGER, or the nearest REAL where that is too small.
    pub(super) fn unsigned(value: u64) -> CellRef<'static> {
        i64::try_from(value).map_or(CellRef::Real(value as f64), CellRef::Int)
    }

    pub(super) fn owned(text: String) -> CellRef<'static> {
        CellRef::Text(Cow::Owned(text.into_bytes()))
    }
}

impl<'a> From<&'a str> for CellRef<'a> {
    fn from(text: &'a str) -> CellRef<'a> {
        CellRef::Text(Cow::Borrowed(text.as_bytes()))
    }
}

/// An attribute, typed: booleans are 0 and 1, lists and maps JSON, bytes base64.
pub(super) fn typed(value: &Value) -> CellRef<'_> {
    match value {
        Value::Empty => CellRef::Null,
        Value::Text(text) => CellRef::from(text.as_str()),
        Value::Bool(value) => CellRef::Int(i64::from(*value)),
        Value::Int(value) => CellRef::Int(*value),
        Value::Double(value) => CellRef::Real(*value),
        Value::Bytes(bytes) => {
            let mut out = String::new();
            text::base64(bytes, &mut out);
            CellRef::owned(out)
        }
        Value::Array(_) | Value::Map(_) => {
            let mut out = String::new();
            json(value, &mut out);
            CellRef::owned(out)
        }
    }
}

/// The same from what a segment stores.
pub(super) fn typed_stored(letter: u8, stored: &[u8]) -> CellRef<'_> {
    let owned = || text::value_of(letter, &String::from_utf8_lossy(stored));
    match letter {
        b's' | b'x' => CellRef::Text(Cow::Borrowed(stored)),
        b'e' => CellRef::Null,
        _ => match typed(&owned()) {
            CellRef::Text(text) => CellRef::Text(Cow::Owned(text.into_owned())),
            CellRef::Int(value) => CellRef::Int(value),
            CellRef::Real(value) => CellRef::Real(value),
            CellRef::Null => CellRef::Null,
        },
    }
}

/// A log record's body: always text, as segments store it, but lists and maps as plain JSON.
pub(super) fn body(value: &Value) -> CellRef<'_> {
    match value {
        Value::Empty => CellRef::from(""),
        Value::Bool(_) | Value::Int(_) | Value::Double(_) => CellRef::owned(value.to_string()),
        other => typed(other),
    }
}

/// The letter a segment keeps beside a value.
pub(super) fn letter(value: &Value) -> char {
    match value {
        Value::Empty => 'e',
        Value::Text(_) => 's',
        Value::Bool(_) => 'b',
        Value::Int(_) => 'i',
        Value::Double(_) => 'd',
        Value::Bytes(_) => 'x',
        Value::Array(_) => 'a',
        Value::Map(_) => 'm',
    }
}

pub(super) fn letters(attributes: &Attributes) -> String {
    attributes.iter().map(|(_, value)| letter(value)).collect()
}

pub(super) fn number(value: f64, out: &mut String) {
    if value.is_finite() {
        out.push_str(&text::double(value));
    } else {
        text::quoted(&text::double(value), out);
    }
}

/// A value as plain JSON.
pub(super) fn json(value: &Value, out: &mut String) {
    // Writing to a String can't fail, so results of `write!` carry nothing.
    match value {
        Value::Empty => out.push_str("null"),
        Value::Text(text) => text::quoted(text, out),
        Value::Bool(value) => {
            let _ = write!(out, "{value}");
        }
        Value::Int(value) => {
            let _ = write!(out, "{value}");
        }
        Value::Double(value) => number(*value, out),
        Value::Bytes(bytes) => {
            out.push('"');
            text::base64(bytes, out);
            out.push('"');
        }
        Value::Array(values) => {
            out.push('[');
            for (i, value) in values.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                json(value, out);
            }
            out.push(']');
        }
        Value::Map(pairs) => object(pairs, out),
    }
}

/// Attributes as a JSON object, in the order they were sent; a key that was sent twice stands twice.
pub(super) fn object(pairs: &Attributes, out: &mut String) {
    out.push('{');
    for (i, (key, value)) in pairs.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        text::quoted(key, out);
        out.push(':');
        json(value, out);
    }
    out.push('}');
}

/// A JSON array, each item written by `write`.
pub(super) fn array<T>(
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(T, &mut String),
) -> CellRef<'static> {
    let mut out = String::from("[");
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write(item, &mut out);
    }
    out.push(']');
    CellRef::owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_plain_and_keeps_every_number() {
        let mut pairs = Attributes::default();
        pairs.push("a\"", Value::Int(i64::MIN));
        pairs.push("d", Value::Double(0.1 + 0.2));
        pairs.push("n", Value::Double(f64::NAN));
        pairs.push("x", Value::Bytes(vec![0, 255]));
        pairs.push("l", Value::Array(vec![Value::Empty, Value::Bool(true)]));
        let mut out = String::new();
        object(&pairs, &mut out);
        assert_eq!(
            out,
            r#"{"a\"":-9223372036854775808,"d":0.30000000000000004,"n":"NaN","x":"AP8=","l":[null,true]}"#
        );
    }

    #[test]
    fn numbers_beyond_integers_stay_large() {
        assert_eq!(CellRef::unsigned(7), CellRef::Int(7));
        assert_eq!(
            CellRef::unsigned(u64::MAX),
            CellRef::Real(18_446_744_073_709_551_615.0)
        );
    }
}
