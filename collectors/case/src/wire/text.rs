//! Values as text: numbers that read back to the same bits, nested values as OTLP JSON.

use std::fmt::Write as _;

use crate::model::Value;

/// A double that parses back to the same bits: `NaN`, `Infinity`, `-Infinity`, else the shortest form.
pub fn double(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else if value != 0.0 && !(1e-5..1e17).contains(&value.abs()) {
        format!("{value:e}")
    } else {
        format!("{value:?}")
    }
}

/// A value as an OTLP JSON `AnyValue`.
pub fn nested(value: &Value) -> String {
    let mut out = String::new();
    write_any(value, &mut out);
    out
}

fn write_any(value: &Value, out: &mut String) {
    // Writing to a String can't fail, so results of `write!` carry nothing.
    match value {
        Value::Empty => out.push_str("{}"),
        Value::Text(text) => {
            out.push_str("{\"stringValue\":");
            quoted(text, out);
            out.push('}');
        }
        Value::Bool(value) => {
            let _ = write!(out, "{{\"boolValue\":{value}}}");
        }
        Value::Int(value) => {
            let _ = write!(out, "{{\"intValue\":\"{value}\"}}");
        }
        Value::Double(value) if value.is_finite() => {
            let _ = write!(out, "{{\"doubleValue\":{}}}", double(*value));
        }
        Value::Double(value) => {
            let _ = write!(out, "{{\"doubleValue\":\"{}\"}}", double(*value));
        }
        Value::Bytes(bytes) => {
            out.push_str("{\"bytesValue\":\"");
            base64(bytes, out);
            out.push_str("\"}");
        }
        Value::Array(values) => {
            out.push_str("{\"arrayValue\":{\"values\":[");
            for (i, value) in values.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_any(value, out);
            }
            out.push_str("]}}");
        }
        Value::Map(pairs) => {
            out.push_str("{\"kvlistValue\":{\"values\":[");
            for (i, (key, value)) in pairs.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str("{\"key\":");
                quoted(key, out);
                out.push_str(",\"value\":");
                write_any(value, out);
                out.push('}');
            }
            out.push_str("]}}");
        }
    }
}

/// A JSON string with its quotes.
pub fn quoted(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Standard base64 with padding.
pub fn base64(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in bytes.chunks(3) {
        let word = u32::from(chunk[0]) << 16
            | u32::from(*chunk.get(1).unwrap_or(&0)) << 8
            | u32::from(*chunk.get(2).unwrap_or(&0));
        for i in 0..4 {
            if i <= chunk.len() {
                out.push(char::from(DIGITS[(word >> (18 - 6 * i)) as usize & 63]));
            } else {
                out.push('=');
            }
        }
    }
}

/// The value a text stands for: s text, i integer, d double, b boolean, x bytes, a array, m map, e empty. A text that
/// does not fit its letter (a damaged file) stays text.
pub fn value_of(letter: u8, text: &str) -> Value {
    let read = match letter {
        b'i' => text.parse().ok().map(Value::Int),
        b'd' => text.parse().ok().map(Value::Double),
        b'b' => text.parse().ok().map(Value::Bool),
        b'x' => unbase64(text).map(Value::Bytes),
        b'a' | b'm' => serde_json::from_str(text).ok().as_ref().and_then(any_of),
        b'e' => Some(Value::Empty),
        _ => None,
    };
    read.unwrap_or_else(|| Value::Text(text.to_owned()))
}

/// A value from the OTLP JSON that [`nested`] writes.
fn any_of(json: &serde_json::Value) -> Option<Value> {
    let object = json.as_object()?;
    let Some((kind, inner)) = object.iter().next() else {
        return Some(Value::Empty);
    };
    let list = || inner.get("values").and_then(serde_json::Value::as_array);
    Some(match kind.as_str() {
        "stringValue" => Value::Text(inner.as_str()?.to_owned()),
        "boolValue" => Value::Bool(inner.as_bool()?),
        "intValue" => Value::Int(inner.as_str()?.parse().ok()?),
        "doubleValue" => match inner.as_str() {
            Some(text) => Value::Double(text.parse().ok()?),
            None => Value::Double(inner.as_f64()?),
        },
        "bytesValue" => Value::Bytes(unbase64(inner.as_str()?)?),
        "arrayValue" => Value::Array(list()?.iter().map(any_of).collect::<Option<_>>()?),
        "kvlistValue" => {
            let mut pairs = crate::model::Attributes::default();
            for pair in list()? {
                pairs.push(pair.get("key")?.as_str()?, any_of(pair.get("value")?)?);
            }
            Value::Map(pairs)
        }
        _ => return None,
    })
}

/// Standard base64, padding optional.
pub fn unbase64(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let digits = text.trim_end_matches('=').as_bytes();
    let mut out = Vec::with_capacity(digits.len() * 3 / 4);
    for chunk in digits.chunks(4) {
        let mut word = 0u32;
        for byte in chunk {
            word = word << 6 | u32::from(digit(*byte)?);
        }
        word <<= 6 * (4 - chunk.len());
        let bytes = word.to_be_bytes();
        match chunk.len() {
            4 => out.extend_from_slice(&bytes[1..4]),
            3 => out.extend_from_slice(&bytes[1..3]),
            2 => out.push(bytes[1]),
            _ => return None,
        }
    }
    Some(out)
}
