//! What queries and sentences of a book can be filled with: what the book was given, what a rule found, and the first
//! rows of queries before.
//!
//! Values come from telemetry. In a query each becomes a literal in quotes, so that it stays a value.

use std::collections::BTreeMap;

use case::Window;

use super::record::{Given, Taken};

/// Names that a query can take. Those of a finding are there once a rule on the way has one.
pub const KNOWN: [&str; 9] = [
    "service",
    "trace",
    "order",
    "from",
    "until",
    "found_service",
    "found_instance",
    "found_trace",
    "since",
];

/// A value as SQL sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Text(String),
    Number(u64),
}

/// The values at a place of a walk.
#[derive(Debug, Clone, Default)]
pub(super) struct Values(BTreeMap<String, Value>);

impl Values {
    pub(super) fn at(window: Window, given: &Given, taken: &[Taken]) -> Values {
        let mut values = BTreeMap::new();
        let mut put = |name: &str, value: Option<String>| {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                values.insert(name.to_owned(), Value::Text(value));
            }
        };
        put("service", given.service.clone());
        put("trace", given.trace.clone());
        put("order", given.order.clone());
        let mut since = None;
        for taken in taken {
            for (column, value) in &taken.row {
                put(&format!("{}.{column}", taken.step), Some(value.clone()));
            }
            if let Some(found) = &taken.found {
                put("found_service", Some(found.service.clone()));
                put("found_instance", Some(found.instance.clone()));
                put("found_trace", found.trace.clone());
                since = Some(found.since.0);
            }
        }
        values.insert("from".to_owned(), Value::Number(window.from.0));
        values.insert("until".to_owned(), Value::Number(window.until.0));
        if let Some(since) = since {
            values.insert("since".to_owned(), Value::Number(since));
        }
        Values(values)
    }

    /// The query with every `:name` put in; what nobody gave is NULL.
    pub(super) fn into_sql(self, sql: &str) -> String {
        pieces(sql)
            .into_iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.to_owned(),
                Piece::Named(name) => match self.0.get(name) {
                    None => "NULL".to_owned(),
                    // SQLite's whole numbers end here, and an open window does not.
                    Some(Value::Number(number)) => (*number).min(i64::MAX as u64).to_string(),
                    Some(Value::Text(text)) => quoted(text),
                },
            })
            .collect()
    }
}

/// A query with values put in by name, each as a literal; what nobody gave is NULL.
pub fn with_values(sql: &str, values: &BTreeMap<String, String>) -> String {
    let values = values
        .iter()
        .map(|(name, value)| (name.clone(), Value::Text(value.clone())))
        .collect();
    Values(values).into_sql(sql)
}

fn quoted(text: &str) -> String {
    // A NUL would end the statement.
    format!("'{}'", text.replace('\0', "").replace('\'', "''"))
}

enum Piece<'a> {
    Text(&'a str),
    Named(&'a str),
}

/// A query cut at its `:name`s. What stands in quotes is no name.
fn pieces(sql: &str) -> Vec<Piece<'_>> {
    let bytes = sql.as_bytes();
    let mut out = Vec::new();
    let (mut at, mut began, mut quote) = (0, 0, None);
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (None, b'\'' | b'"') => quote = Some(bytes[at]),
            (Some(open), byte) if byte == open => quote = None,
            (None, b':') => {
                let name = sql[at + 1..]
                    .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')))
                    .map_or(sql.len(), |length| at + 1 + length);
                if name > at + 1 && bytes[at + 1].is_ascii_lowercase() {
                    out.push(Piece::Text(&sql[began..at]));
                    out.push(Piece::Named(&sql[at + 1..name]));
                    at = name;
                    began = name;
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
    out.push(Piece::Text(&sql[began..]));
    out
}

/// The names that a query takes.
pub fn named(sql: &str) -> Vec<String> {
    pieces(sql)
        .into_iter()
        .filter_map(|piece| match piece {
            Piece::Named(name) => Some(name.to_owned()),
            Piece::Text(_) => None,
        })
        .collect()
}

/// A sentence with `{step.column}` and `{found.…}` put in. What is not there stays empty-handed: "?".
pub(super) fn filled(text: &str, taken: &[Taken]) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let Some((name, behind)) = after.split_once('}') else {
            out.push('{');
            rest = after;
            continue;
        };
        out.push_str(&value(name, taken).unwrap_or_else(|| "?".to_owned()));
        rest = behind;
    }
    out.push_str(rest);
    out
}

fn value(name: &str, taken: &[Taken]) -> Option<String> {
    let (step, column) = name.split_once('.')?;
    if step == "found" {
        let found = taken.iter().rev().find_map(|taken| taken.found.as_ref())?;
        return match column {
            "service" => Some(found.service.clone()),
            "instance" => Some(found.instance.clone()),
            "headline" => Some(found.headline.clone()),
            _ => None,
        };
    }
    let taken = taken.iter().rev().find(|taken| taken.step == step)?;
    taken
        .row
        .get(column)
        .filter(|value| !value.is_empty())
        .cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_values() {
        let given = Given {
            service: Some("it's; DROP".to_owned()),
            ..Given::default()
        };
        let values = Values::at(Window::ALL, &given, &[]);
        assert_eq!(
            values.into_sql("SELECT ':service', :service, :trace, 1 WHERE t < :until"),
            "SELECT ':service', 'it''s; DROP', NULL, 1 WHERE t < 9223372036854775807"
        );
        assert_eq!(
            named("SELECT :a.b, x::y, ':c' :order"),
            ["a.b", "y", "order"]
        );
    }
}
