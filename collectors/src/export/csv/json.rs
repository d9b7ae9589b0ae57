//! Attribute values as plain JSON in a cell: what people and spreadsheets read, not OTLP's tagged form.

use ::case::model::{Attributes, Resource, Value};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A JSON string.
pub(super) fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A JSON array of values that are JSON already; nothing where there are none.
pub(super) fn array(values: impl Iterator<Item = String>) -> String {
    let values: Vec<String> = values.collect();
    if values.is_empty() {
        String::new()
    } else {
        format!("[{}]", values.join(","))
    }
}

/// A JSON object, keys in the order they were sent.
pub(super) fn attributes(attributes: &Attributes) -> String {
    let pairs: Vec<String> = attributes
        .iter()
        .map(|(key, one)| format!("{}:{}", text(key), value(one)))
        .collect();
    format!("{{{}}}", pairs.join(","))
}

pub(super) fn resource_attributes(resource: &Resource) -> String {
    attributes(&resource.attributes)
}

/// Bytes become base64, numbers that are not finite become text.
pub(super) fn value(value: &Value) -> String {
    match value {
        Value::Empty => "null".to_owned(),
        Value::Text(one) => text(one),
        Value::Bool(one) => one.to_string(),
        Value::Int(one) => one.to_string(),
        Value::Double(one) if one.is_finite() => serde_json::Value::from(*one).to_string(),
        Value::Double(_) => text(&value.to_string()),
        Value::Bytes(bytes) => text(&STANDARD.encode(bytes)),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(self::value).collect();
            format!("[{}]", values.join(","))
        }
        Value::Map(pairs) => attributes(pairs),
    }
}
