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
        Value::Bool(value) => { let _ = write!(out, "{{\"boolValue\":{value}}}"); }
        Value::Int(value) => { let _ = write!(out, "{{\"intValue\":\"{value}\"}}"); }
        Value::Double(value) if value.is_finite() => {
            let _ = write!(out, "{{\"doubleValue\":{}}}", double(*value));
        }
        Value::Double(value) => { let _ = write!(out, "{{\"doubleValue\":\"{}\"}}", double(*value)); }
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
            c if c < ' ' => { let _ = write!(out, "\\u{:04x}", c as u32); }
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
