//! Owns attribute values and the list that spans, logs and resources carry.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};

#[derive(Debug, Clone, PartialEq)]
pub enum Attr {
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
}

/// Attributes in the order in which they were given; a later one of the same name replaces the earlier.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attributes(Vec<(&'static str, Attr)>);

impl Attributes {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<Attr>) -> Self {
        self.set(key, value);
        self
    }

    #[must_use]
    pub fn with_some(self, key: &'static str, value: Option<impl Into<Attr>>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    pub fn set(&mut self, key: &'static str, value: impl Into<Attr>) {
        let value = value.into();
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key, value)),
        }
    }

    pub fn remove(&mut self, key: &str) {
        self.0.retain(|(known, _)| *known != key);
    }

    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Attr> {
        self.0
            .iter()
            .find(|(known, _)| *known == key)
            .map(|(_, value)| value)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Attr)> {
        self.0.iter().map(|(key, value)| (*key, value))
    }

    pub fn extend(&mut self, other: Attributes) {
        for (key, value) in other.0 {
            self.set(key, value);
        }
    }

    #[must_use]
    pub fn to_proto(&self) -> Vec<KeyValue> {
        self.0
            .iter()
            .map(|(key, value)| key_value(key, value.clone()))
            .collect()
    }
}

pub(super) fn key_value(key: &str, value: Attr) -> KeyValue {
    let value = match value {
        Attr::Text(text) => any_value::Value::StringValue(text),
        Attr::Int(number) => any_value::Value::IntValue(number),
        Attr::Float(number) => any_value::Value::DoubleValue(number),
        Attr::Bool(truth) => any_value::Value::BoolValue(truth),
    };
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

impl Attr {
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::Int(number) => (*number).into(),
            Self::Float(number) => (*number).into(),
            Self::Bool(truth) => (*truth).into(),
        }
    }
}

impl From<&str> for Attr {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Attr {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&String> for Attr {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<bool> for Attr {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl From<f64> for Attr {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

macro_rules! integers {
    ($($kind:ty),+) => {
        $(impl From<$kind> for Attr {
            fn from(number: $kind) -> Self {
                Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
            }
        })+
    };
}
integers!(i32, i64, u16, u32, u64, usize);
