//! Owns the `tracestate` field. The shop adds no member of its own: a valid list is passed through in order, an invalid
//! one is dropped whole, as the specification allows and its strict suite asks.

const MAX_MEMBERS: usize = 32;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TraceState {
    members: Vec<String>,
}

impl TraceState {
    /// Joins repeated headers in order.
    pub fn from_headers<'a>(values: impl Iterator<Item = &'a str>) -> Self {
        Self::parse_all(values).unwrap_or_default()
    }

    fn parse_all<'a>(values: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut members: Vec<String> = Vec::new();
        for member in values.flat_map(|value| value.split(',')) {
            let member = member.trim_matches([' ', '\t']);
            if member.is_empty() {
                continue;
            }
            let (key, value) = member.split_once('=')?;
            let repeated = members
                .iter()
                .any(|known| known.split('=').next() == Some(key));
            if !is_key(key) || !is_value(value) || repeated || members.len() == MAX_MEMBERS {
                return None;
            }
            members.push(member.to_owned());
        }
        Some(Self { members })
    }

    /// A list taken as it is, whatever it holds.
    pub(super) fn unchecked(members: Vec<String>) -> Self {
        Self { members }
    }

    #[must_use]
    pub fn to_header(&self) -> String {
        self.members.join(",")
    }
}

fn is_key(key: &str) -> bool {
    let valid = |part: &str, limit: usize| {
        (1..=limit).contains(&part.len())
            && part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && part.bytes().all(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/".contains(&byte)
            })
    };
    match key.split_once('@') {
        None => valid(key, 256),
        Some((tenant, system)) => {
            valid(tenant, 241)
                && valid(system, 14)
                && system.starts_with(|c: char| c.is_ascii_lowercase())
        }
    }
}

fn is_value(value: &str) -> bool {
    (1..=256).contains(&value.len())
        && value
            .bytes()
            .all(|byte| (0x20..=0x7e).contains(&byte) && byte != b',' && byte != b'=')
        && !value.ends_with(' ')
}
