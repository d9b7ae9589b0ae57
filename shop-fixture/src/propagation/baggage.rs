//! Owns the `baggage` field: members are kept in order and passed on as they came, except those that the shop sets.

/// More members than this, or a longer field, are not carried on.
const MAX_MEMBERS: usize = 64;
const MAX_BYTES: usize = 8_192;

/// The string of the behaviour grammar.
pub const BEHAVIOR: &str = "shop.behavior";
/// Whether callees return their part of the report: 0 or 1.
pub const REPORT: &str = "shop.report";
/// The bucket that picks a version: 0 to 99.
pub const CANARY_BUCKET: &str = "shop.canary_bucket";
/// Whether the request asked to be traced whatever the sampling: 0 or 1.
pub const DEBUG: &str = "shop.debug";
/// Set to 0 where it was decided that a trace is not kept.
pub const SAMPLED: &str = "shop.sampled";
pub const OURS: &[&str] = &[BEHAVIOR, REPORT, CANARY_BUCKET, DEBUG, SAMPLED];

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Baggage {
    /// Key and the encoded remainder: value, then properties if any.
    members: Vec<(String, String)>,
}

impl Baggage {
    pub fn from_headers<'a>(values: impl Iterator<Item = &'a str>) -> Self {
        let mut baggage = Self::default();
        let mut bytes = 0;
        for member in values.flat_map(|value| value.split(',')) {
            let Some((key, value)) = member.split_once('=') else {
                continue;
            };
            let (key, value) = (key.trim(), value.trim());
            bytes += key.len() + value.len() + 2;
            if bytes > MAX_BYTES || baggage.members.len() == MAX_MEMBERS {
                break;
            }
            if !key.is_empty()
                && key.bytes().all(is_token)
                && value.bytes().all(|byte| (0x20..0x7f).contains(&byte))
            {
                baggage.members.push((key.to_owned(), value.to_owned()));
            }
        }
        baggage
    }

    /// The decoded value of a member, without its properties.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<String> {
        let (_, raw) = self.members.iter().rev().find(|(known, _)| known == key)?;
        Some(percent_decode(
            raw.split(';').next().unwrap_or_default().trim(),
        ))
    }

    pub fn set(&mut self, key: &str, value: &str) {
        self.remove(key);
        self.members.push((key.to_owned(), percent_encode(value)));
    }

    pub fn remove(&mut self, key: &str) {
        self.members.retain(|(known, _)| known != key);
    }

    #[must_use]
    pub fn to_header(&self) -> String {
        let members: Vec<String> = self
            .members
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        members.join(",")
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Encodes all that a query or baggage value may not hold raw.
#[must_use]
pub fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Decodes percent escapes; an escape that is none stays as it is, and bytes that are no UTF-8 become replacement signs.
#[must_use]
pub fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escape {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
