//! The tree a filter is read into, and whether it holds for a row.

use regex::Regex;

use super::fields::Field;
use super::pattern::Glob;
use crate::model::Value;

#[derive(Debug, Clone)]
pub(super) enum Expr {
    All(Vec<Expr>),
    Any(Vec<Expr>),
    Not(Box<Expr>),
    Term(Field, Test),
    /// A bare word: somewhere in what a person reads of the row.
    Word(Glob),
}

/// What a term asks of its field.
#[derive(Debug, Clone)]
pub(super) enum Test {
    Is(Glob),
    Like(Regex),
    /// A number (durations and times in nanoseconds) on the stated side of a limit.
    Compare(Order, Number),
    /// Fields that are numbers, asked for one value.
    Equals(Number),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Less,
    AtMost,
    More,
    AtLeast,
}

/// A number that loses nothing of 64-bit integers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    Int(i128),
    Double(f64),
}

impl Number {
    /// The number an attribute is, also when it was sent as text.
    pub(super) fn of(value: &Value) -> Option<Number> {
        match value {
            Value::Int(value) => Some(Number::Int(i128::from(*value))),
            Value::Double(value) => Some(Number::Double(*value)),
            Value::Text(text) => Number::read(text),
            _ => None,
        }
    }

    pub(super) fn read(text: &str) -> Option<Number> {
        if let Ok(value) = text.parse::<i64>() {
            return Some(Number::Int(i128::from(value)));
        }
        // "nan", "inf" and the like parse as doubles, yet nobody compares with them.
        let begins_well =
            text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
        text.parse::<f64>()
            .ok()
            .filter(|value| begins_well && value.is_finite())
            .map(Number::Double)
    }

    fn compare(self, other: Number) -> Option<std::cmp::Ordering> {
        match (self, other) {
            (Number::Int(a), Number::Int(b)) => Some(a.cmp(&b)),
            (a, b) => a.as_double().partial_cmp(&b.as_double()),
        }
    }

    fn as_double(self) -> f64 {
        match self {
            Number::Int(value) => value as f64,
            Number::Double(value) => value,
        }
    }
}

impl Order {
    fn holds(self, number: Number, limit: Number) -> bool {
        use std::cmp::Ordering::{Equal, Greater, Less};
        matches!(
            (self, number.compare(limit)),
            (Order::Less | Order::AtMost, Some(Less))
                | (Order::AtMost | Order::AtLeast, Some(Equal))
                | (Order::More | Order::AtLeast, Some(Greater))
        )
    }
}

impl Test {
    pub(super) fn text(&self, text: &str) -> bool {
        match self {
            Test::Is(glob) => glob.matches(text),
            Test::Like(regex) => regex.is_match(text),
            Test::Compare(..) | Test::Equals(_) => {
                Number::read(text).is_some_and(|n| self.number(n))
            }
        }
    }

    pub(super) fn number(&self, number: Number) -> bool {
        match self {
            Test::Compare(order, limit) => order.holds(number, *limit),
            Test::Equals(value) => number.compare(*value) == Some(std::cmp::Ordering::Equal),
            Test::Is(_) | Test::Like(_) => match number {
                Number::Int(value) => self.text(&value.to_string()),
                Number::Double(value) => self.text(&crate::wire::text::double(value)),
            },
        }
    }

    /// An attribute's value; a list matches if one of its elements does.
    pub(super) fn value(&self, value: &Value) -> bool {
        match (self, value) {
            (_, Value::Array(values)) => values.iter().any(|value| self.element(value)),
            _ => self.element(value),
        }
    }

    fn element(&self, value: &Value) -> bool {
        match self {
            Test::Compare(..) | Test::Equals(_) => {
                Number::of(value).is_some_and(|n| self.number(n))
            }
            Test::Is(_) | Test::Like(_) => match value {
                Value::Text(text) => self.text(text),
                other => self.text(&other.to_string()),
            },
        }
    }
}

/// Something a filter can be asked about.
pub(super) trait Tested {
    fn test(&self, field: &Field, test: &Test) -> bool;
    fn says(&self, word: &Glob) -> bool;
}

impl Expr {
    /// Whether it asks only for what a skeleton tells.
    pub(super) fn is_brief(&self) -> bool {
        match self {
            Expr::All(parts) | Expr::Any(parts) => parts.iter().all(Expr::is_brief),
            Expr::Not(inner) => inner.is_brief(),
            Expr::Term(field, _) => field.is_brief(),
            Expr::Word(_) => false,
        }
    }

    /// Recursion is as deep as the parser allows parentheses to nest.
    pub(super) fn holds(&self, row: &impl Tested) -> bool {
        match self {
            Expr::All(parts) => parts.iter().all(|part| part.holds(row)),
            Expr::Any(parts) => parts.iter().any(|part| part.holds(row)),
            Expr::Not(inner) => !inner.holds(row),
            Expr::Term(field, test) => row.test(field, test),
            Expr::Word(glob) => row.says(glob),
        }
    }

    pub(super) fn services(&self) -> Vec<&str> {
        let mut out = Vec::new();
        self.collect_services(&mut out);
        out
    }

    fn collect_services<'a>(&'a self, out: &mut Vec<&'a str>) {
        match self {
            Expr::All(parts) | Expr::Any(parts) => {
                parts.iter().for_each(|part| part.collect_services(out))
            }
            Expr::Not(inner) => inner.collect_services(out),
            Expr::Term(Field::Service, Test::Is(glob)) => out.extend(glob.literal()),
            Expr::Term(..) | Expr::Word(_) => {}
        }
    }
}
