//! Remembering what was written last under each key, so that only what is new or changed is written again.
//!
//! Bounded: two generations, and when the younger is full the older is forgotten. What was forgotten is written once
//! more when it is met again, which costs a row and loses nothing.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};

use serde_json::Value;

pub(super) struct Memory {
    young: HashMap<String, u64>,
    old: HashMap<String, u64>,
    /// Keys a generation holds.
    room: usize,
}

impl Memory {
    pub(super) fn new(keys: usize) -> Memory {
        Memory {
            young: HashMap::new(),
            old: HashMap::new(),
            room: (keys / 2).max(1),
        }
    }

    pub(super) fn knows(&mut self, key: &str, print: u64) -> bool {
        if let Some(known) = self.young.get(key) {
            return *known == print;
        }
        match self.old.remove(key) {
            Some(known) => {
                self.remember(key.to_owned(), known);
                known == print
            }
            None => false,
        }
    }

    pub(super) fn remember(&mut self, key: String, print: u64) {
        if self.young.len() >= self.room && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, print);
    }
}

/// A number that is the same for the same value, leaving out fields that change by themselves.
pub(super) fn print(value: &Value, volatile: &[&str]) -> u64 {
    let mut hasher = DefaultHasher::new();
    mix(value, volatile, &mut hasher);
    hasher.finish()
}

fn mix(value: &Value, volatile: &[&str], hasher: &mut DefaultHasher) {
    match value {
        Value::Object(object) => {
            hasher.write_u8(1);
            let mut names: Vec<&String> = object
                .keys()
                .filter(|name| !volatile.contains(&name.as_str()))
                .collect();
            names.sort_unstable();
            hasher.write_usize(names.len());
            for name in names {
                hasher.write_usize(name.len());
                hasher.write(name.as_bytes());
                mix(object.get(name).unwrap_or(&Value::Null), volatile, hasher);
            }
        }
        Value::Array(values) => {
            hasher.write_u8(2);
            hasher.write_usize(values.len());
            for value in values {
                mix(value, volatile, hasher);
            }
        }
        Value::String(text) => {
            hasher.write_u8(3);
            hasher.write_usize(text.len());
            hasher.write(text.as_bytes());
        }
        other => {
            let text = other.to_string();
            hasher.write_u8(4);
            hasher.write_usize(text.len());
            hasher.write(text.as_bytes());
        }
    }
}
