//! Functions beyond those of SQLite.
//!
//! `attr(map, key)`: one attribute. `ts(n)`: nanoseconds as RFC 3339; `nanos(text)`: the way back. `duration(text)`:
//! `'250ms'` as nanoseconds. `quantile(x, q)`, `p50(x)`, `p95(x)`, `p99(x)`: exact, by nearest rank (the smallest value
//! that at least the share `q` of all values does not exceed), so always a value that occurs; NULLs do not count.
//! `regexp(pattern, text)`, and with it `text REGEXP pattern`: whether the pattern occurs in the text.

use std::cmp::Ordering;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};
use rusqlite::functions::{Aggregate, Context, FunctionFlags};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Error};
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};

use crate::time::{self, Nanos};

/// Values one quantile may look at: beyond it memory would be at risk.
const MOST_VALUES: usize = 100_000_000;
/// What a compiled pattern may take.
const PATTERN_BYTES: usize = 1 << 20;

/// Their names, for suggestions.
pub(super) const NAMES: [&str; 9] = [
    "attr", "ts", "nanos", "duration", "quantile", "p50", "p95", "p99", "regexp",
];

pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_scalar_function("attr", 2, flags, attr)?;
    connection.create_scalar_function("ts", 1, flags, ts)?;
    connection.create_scalar_function("nanos", 1, flags, |context| {
        // There is no "now" in a case: durations are refused rather than counted back from 1970.
        parsed(context, |text| {
            chrono::DateTime::parse_from_rfc3339(text)
                .map_err(|_| format!("{text:?} is no RFC 3339 time"))
                .and_then(|_| time::parse_time(text, Nanos(0)).map_err(|error| error.to_string()))
                .map(|at| at.0)
        })
    })?;
    connection.create_scalar_function("duration", 1, flags, |context| {
        parsed(context, |text| {
            time::parse_duration(text).map_err(|error| error.to_string())
        })
    })?;
    connection.create_scalar_function("regexp", 2, flags, matches)?;
    connection.create_aggregate_function("quantile", 2, flags, Quantile(None))?;
    for (name, share) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)] {
        connection.create_aggregate_function(name, 1, flags, Quantile(Some(share)))?;
    }
    Ok(())
}

fn failed(reason: impl Into<String>) -> Error {
    Error::UserFunctionError(reason.into().into())
}

fn text<'a>(
    context: &'a Context<'_>,
    argument: usize,
    of: &str,
) -> rusqlite::Result<Option<&'a str>> {
    match context.get_raw(argument) {
        ValueRef::Null => Ok(None),
        ValueRef::Text(bytes) => std::str::from_utf8(bytes)
            .map(Some)
            .map_err(|_| failed(format!("{of} got text that is no UTF-8"))),
        other => Err(failed(format!(
            "{of} takes text, got {}",
            other.data_type()
        ))),
    }
}

fn ts(context: &Context<'_>) -> rusqlite::Result<Option<String>> {
    match context.get_raw(0) {
        ValueRef::Null => Ok(None),
        ValueRef::Integer(at) => match u64::try_from(at) {
            Ok(at) => Ok(Some(Nanos(at).to_string())),
            Err(_) => Err(failed(format!("ts({at}) lies before 1970"))),
        },
        // Averages and times beyond 2262 are REAL; both have no more digits than this anyway.
        ValueRef::Real(at) if (0.0..1.8446744073709552e19).contains(&at) => {
            Ok(Some(Nanos(at as u64).to_string()))
        }
        other => Err(failed(format!(
            "ts takes nanoseconds since 1970, got {}",
            other.data_type()
        ))),
    }
}

fn parsed(
    context: &Context<'_>,
    parse: impl Fn(&str) -> Result<u64, String>,
) -> rusqlite::Result<Option<i64>> {
    let Some(text) = text(context, 0, "it")? else {
        return Ok(None);
    };
    let value = parse(text).map_err(failed)?;
    i64::try_from(value)
        .map(Some)
        .map_err(|_| failed(format!("{text:?} is too large for an INTEGER")))
}

fn matches(context: &Context<'_>) -> rusqlite::Result<Option<bool>> {
    let regex: Arc<Regex> = context.get_or_create_aux(0, |pattern| {
        let pattern = pattern.as_str()?;
        RegexBuilder::new(pattern)
            .size_limit(PATTERN_BYTES)
            .build()
            .map_err(|error| -> Box<dyn std::error::Error + Send + Sync> {
                format!("{pattern:?} is no regular expression: {error}").into()
            })
    })?;
    Ok(match context.get_raw(1) {
        ValueRef::Null => None,
        ValueRef::Integer(value) => Some(regex.is_match(&value.to_string())),
        ValueRef::Real(value) => Some(regex.is_match(&crate::wire::text::double(value))),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            Some(regex.is_match(&String::from_utf8_lossy(bytes)))
        }
    })
}

/// Looks one key up in a JSON object, the first if it stands there twice.
struct Lookup<'a>(&'a str);

impl<'de> Visitor<'de> for Lookup<'_> {
    type Value = Option<serde_json::Value>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<std::borrow::Cow<'_, str>>()? {
            if found.is_none() && key == self.0 {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

fn attr(context: &Context<'_>) -> rusqlite::Result<Value> {
    let (Some(map), Some(key)) = (text(context, 0, "attr")?, text(context, 1, "attr")?) else {
        return Ok(Value::Null);
    };
    let found = serde_json::Deserializer::from_str(map)
        .deserialize_map(Lookup(key))
        .map_err(|_| failed("attr takes a map column (a JSON object) and a key"))?;
    Ok(match found {
        None | Some(serde_json::Value::Null) => Value::Null,
        Some(serde_json::Value::Bool(value)) => Value::Integer(i64::from(value)),
        Some(serde_json::Value::Number(number)) => match number.as_i64() {
            Some(value) => Value::Integer(value),
            None => number.as_f64().map_or(Value::Null, Value::Real),
        },
        Some(serde_json::Value::String(text)) => Value::Text(text),
        Some(nested) => Value::Text(nested.to_string()),
    })
}

/// A number as SQLite holds it.
#[derive(Debug, Clone, Copy)]
enum Number {
    Int(i64),
    Real(f64),
}

impl Number {
    /// Exact also between large integers and reals.
    fn order(self, other: Number) -> Ordering {
        match (self, other) {
            (Number::Int(a), Number::Int(b)) => a.cmp(&b),
            (Number::Real(a), Number::Real(b)) => a.total_cmp(&b),
            (Number::Int(a), Number::Real(b)) => int_to_real(a, b),
            (Number::Real(a), Number::Int(b)) => int_to_real(b, a).reverse(),
        }
    }
}

fn int_to_real(int: i64, real: f64) -> Ordering {
    let whole = real.trunc();
    i128::from(int)
        .cmp(&(whole as i128))
        .then_with(|| 0.0f64.total_cmp(&(real - whole)))
}

/// A share fixed by the name, or given as the second argument.
struct Quantile(Option<f64>);

struct Gathered {
    share: f64,
    values: Vec<Number>,
}

impl Aggregate<Gathered, Value> for Quantile {
    fn init(&self, _: &mut Context<'_>) -> rusqlite::Result<Gathered> {
        Ok(Gathered {
            share: self.0.unwrap_or(f64::NAN),
            values: Vec::new(),
        })
    }

    fn step(&self, context: &mut Context<'_>, gathered: &mut Gathered) -> rusqlite::Result<()> {
        if self.0.is_none() {
            let share = match context.get_raw(1) {
                ValueRef::Integer(value) => value as f64,
                ValueRef::Real(value) => value,
                _ => f64::NAN,
            };
            if !(0.0..=1.0).contains(&share) {
                return Err(failed("quantile takes a share between 0 and 1"));
            }
            gathered.share = share;
        }
        let value = match context.get_raw(0) {
            ValueRef::Null => return Ok(()),
            ValueRef::Integer(value) => Number::Int(value),
            ValueRef::Real(value) => Number::Real(value),
            other => {
                return Err(failed(format!(
                    "quantiles are of numbers, got {}",
                    other.data_type()
                )));
            }
        };
        if gathered.values.len() >= MOST_VALUES {
            return Err(failed(format!(
                "a quantile over more than {MOST_VALUES} values does not fit into memory"
            )));
        }
        gathered.values.push(value);
        Ok(())
    }

    fn finalize(&self, _: &mut Context<'_>, gathered: Option<Gathered>) -> rusqlite::Result<Value> {
        let Some(mut gathered) = gathered.filter(|gathered| !gathered.values.is_empty()) else {
            return Ok(Value::Null);
        };
        let rank = nearest_rank(gathered.share, gathered.values.len());
        let (_, value, _) = gathered
            .values
            .select_nth_unstable_by(rank - 1, |a, b| a.order(*b));
        Ok(match *value {
            Number::Int(value) => Value::Integer(value),
            Number::Real(value) => Value::Real(value),
        })
    }
}

/// The rank, from 1, of the smallest value that at least this share does not exceed.
fn nearest_rank(share: f64, count: usize) -> usize {
    let exact = share * count as f64;
    // 0.07 × 100 is a little more than 7 in binary, and still means 7.
    let rank = if (exact - exact.round()).abs() <= count as f64 * 1e-12 {
        exact.round()
    } else {
        exact.ceil()
    };
    (rank as usize).clamp(1, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_those_of_the_definition() {
        assert_eq!(nearest_rank(0.0, 5), 1);
        assert_eq!(nearest_rank(1.0, 5), 5);
        assert_eq!(nearest_rank(0.5, 4), 2);
        assert_eq!(nearest_rank(0.5, 5), 3);
        for hundredth in 1..=100usize {
            assert_eq!(nearest_rank(hundredth as f64 / 100.0, 100), hundredth);
        }
        assert_eq!(nearest_rank(0.95, 1000), 950);
        assert_eq!(nearest_rank(0.95, 1001), 951);
    }

    #[test]
    fn large_integers_and_reals_are_told_apart() {
        let large = 9_007_199_254_740_993;
        assert_eq!(
            Number::Int(large).order(Number::Real(9_007_199_254_740_992.0)),
            Ordering::Greater
        );
        assert_eq!(Number::Real(2.5).order(Number::Int(2)), Ordering::Greater);
        assert_eq!(Number::Int(2).order(Number::Real(2.0)), Ordering::Equal);
        assert_eq!(
            Number::Int(i64::MAX).order(Number::Real(f64::INFINITY)),
            Ordering::Less
        );
    }
}
