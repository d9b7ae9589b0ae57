//! Attribute values in place.

use super::proto::{Fields, Raw, WireError, utf8};
use crate::model::{Attributes, Value};

/// How deep arrays and maps may lie in one another; beyond it a request is refused.
pub const MAX_DEPTH: usize = 64;

/// An OTLP `AnyValue` that borrows from the request. Nested values are checked, and kept as the bytes they were.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AnyView<'a> {
    Empty,
    Text(&'a str),
    Bool(bool),
    Int(i64),
    Double(f64),
    Bytes(&'a [u8]),
    /// The body of an `ArrayValue`.
    Array(&'a [u8]),
    /// The body of a `KeyValueList`.
    Map(&'a [u8]),
}

/// One attribute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KeyValueView<'a> {
    pub key: &'a str,
    pub value: AnyView<'a>,
}

impl<'a> AnyView<'a> {
    /// Reads and checks the body of an `AnyValue`.
    pub fn read(body: &'a [u8]) -> Result<AnyView<'a>, WireError> {
        read_any(body, 0)
    }

    /// The value with everything it holds.
    pub fn to_value(self) -> Value {
        match self {
            AnyView::Empty => Value::Empty,
            AnyView::Text(text) => Value::Text(text.to_owned()),
            AnyView::Bool(value) => Value::Bool(value),
            AnyView::Int(value) => Value::Int(value),
            AnyView::Double(value) => Value::Double(value),
            AnyView::Bytes(bytes) => Value::Bytes(bytes.to_vec()),
            AnyView::Array(body) => {
                let mut values = Vec::new();
                let mut fields = Fields::new(body);
                while let Ok(Some((number, raw))) = fields.step() {
                    if let (1, Raw::Bytes(item)) = (number, raw) {
                        values.push(AnyView::read(item).unwrap_or(AnyView::Empty).to_value());
                    }
                }
                Value::Array(values)
            }
            AnyView::Map(body) => {
                let mut pairs = Attributes::default();
                let mut fields = Fields::new(body);
                while let Ok(Some((number, raw))) = fields.step() {
                    if let (1, Raw::Bytes(item)) = (number, raw)
                        && let Ok(pair) = KeyValueView::read(item)
                    {
                        pairs.push(pair.key, pair.value.to_value());
                    }
                }
                Value::Map(pairs)
            }
        }
    }
}

impl<'a> KeyValueView<'a> {
    /// Reads and checks the body of a `KeyValue`.
    #[inline]
    pub fn read(body: &'a [u8]) -> Result<KeyValueView<'a>, WireError> {
        match read_short_pair(body) {
            Some(pair) => Ok(pair),
            None => read_pair(body, 0),
        }
    }
}

/// The way nearly every attribute is sent: key, then a text or a small number, all of it short. Anything else, errors
/// too, is for the general way.
#[inline(always)]
pub(super) fn read_short_pair(body: &[u8]) -> Option<KeyValueView<'_>> {
    let [0x0a, len @ 0..=127, rest @ ..] = body else {
        return None;
    };
    let (key, rest) = rest.split_at_checked(usize::from(*len))?;
    let [0x12, len @ 0..=127, value @ ..] = rest else {
        return None;
    };
    if value.len() != usize::from(*len) {
        return None;
    }
    let value = match value {
        [0x0a, len @ 0..=127, text @ ..] if text.len() == usize::from(*len) => {
            AnyView::Text(utf8(text)?)
        }
        [0x18, number @ 0..=127] => AnyView::Int(i64::from(*number)),
        [0x18, low @ 128..=255, high @ 0..=127] => {
            AnyView::Int(i64::from(*low & 127) | i64::from(*high) << 7)
        }
        _ => return None,
    };
    Some(KeyValueView {
        key: utf8(key)?,
        value,
    })
}

pub(super) fn read_pair(body: &[u8], depth: usize) -> Result<KeyValueView<'_>, WireError> {
    let mut pair = KeyValueView {
        key: "",
        value: AnyView::Empty,
    };
    let mut fields = Fields::new(body);
    while let Some((number, raw)) = fields.step()? {
        match number {
            1 => pair.key = raw.text(&fields)?,
            2 => pair.value = read_any(raw.bytes(&fields)?, depth)?,
            _ => {}
        }
    }
    Ok(pair)
}

fn read_any(body: &[u8], depth: usize) -> Result<AnyView<'_>, WireError> {
    if depth > MAX_DEPTH {
        return Err(WireError::new("values lie too deep in one another", body));
    }
    let mut value = AnyView::Empty;
    let mut fields = Fields::new(body);
    while let Some((number, raw)) = fields.step()? {
        value = match number {
            1 => AnyView::Text(raw.text(&fields)?),
            2 => AnyView::Bool(raw.varint(&fields)? != 0),
            3 => AnyView::Int(raw.varint(&fields)?.cast_signed()),
            4 => AnyView::Double(raw.double(&fields)?),
            5 => {
                let array = raw.bytes(&fields)?;
                each_message(array, |item| read_any(item, depth + 1).map(drop))?;
                AnyView::Array(array)
            }
            6 => {
                let map = raw.bytes(&fields)?;
                each_message(map, |item| read_pair(item, depth + 1).map(drop))?;
                AnyView::Map(map)
            }
            7 => AnyView::Bytes(raw.bytes(&fields)?),
            _ => value,
        };
    }
    Ok(value)
}

/// Calls `each` with every message under field 1, which is where both lists keep their items.
fn each_message<'a>(
    body: &'a [u8],
    mut each: impl FnMut(&'a [u8]) -> Result<(), WireError>,
) -> Result<(), WireError> {
    let mut fields = Fields::new(body);
    while let Some((number, raw)) = fields.step()? {
        if number == 1 {
            each(raw.bytes(&fields)?)?;
        }
    }
    Ok(())
}

/// Attributes of a message as owned pairs.
pub fn owned(pairs: &[KeyValueView<'_>]) -> Attributes {
    Attributes(
        pairs
            .iter()
            .map(|pair| (pair.key.to_owned(), pair.value.to_value()))
            .collect(),
    )
}
