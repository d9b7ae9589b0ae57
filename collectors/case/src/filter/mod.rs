//! The filter language: which spans, log records or metric points are meant.
//!
//! ```text
//! service:payment -status:ok duration>500ms attr.http.route:/api/* name~"^Place.*"
//! (service:payment OR service:inventory) AND NOT kind:client
//! "connection refused"
//! ```
//!
//! Terms that stand side by side must all hold; `OR`, `NOT` (or `-`) and parentheses combine them. Owns the grammar and
//! its meaning for each signal; where rows come from, and which services exist, is for others to know.

mod brief;
mod expr;
mod fields;
mod lexer;
mod parser;
mod pattern;
#[cfg(test)]
mod tests;

use crate::model::{LogRecord, MetricPoint, Span};
pub use brief::Brief;
use expr::Expr;
use fields::{Kind, Row};

/// A filter that can't be understood, with the place where understanding ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("filter, column {column}: {reason}")]
pub struct FilterError {
    /// Column of the offending text, counted in characters from 1.
    pub column: usize,
    pub reason: String,
    /// What was probably meant, or what there is to choose from.
    pub hint: Option<String>,
}

impl FilterError {
    fn at(column: usize, reason: impl Into<String>) -> FilterError {
        FilterError {
            column,
            reason: reason.into(),
            hint: None,
        }
    }

    fn hint(mut self, hint: impl Into<String>) -> FilterError {
        self.hint = Some(hint.into());
        self
    }
}

macro_rules! filter {
    ($(#[$doc:meta])* $name:ident, $row:ty, $kind:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default)]
        pub struct $name(Option<Expr>);

        impl $name {
            /// Reads a filter; an empty text means everything.
            pub fn parse(text: &str) -> Result<Self, FilterError> {
                parser::parse(text, $kind).map(Self)
            }

            /// Whether the row is meant.
            pub fn matches(&self, row: &$row) -> bool {
                self.0.as_ref().is_none_or(|expr| expr.holds(&Row::from(row)))
            }

            /// Whether everything is meant.
            pub fn is_empty(&self) -> bool {
                self.0.is_none()
            }

            /// The service names the filter asks for literally, so that a caller can tell a misspelt one from a quiet
            /// one.
            pub fn services(&self) -> Vec<&str> {
                self.0.as_ref().map(Expr::services).unwrap_or_default()
            }

            /// Both filters at once.
            #[must_use]
            pub fn and(self, other: Self) -> Self {
                Self(match (self.0, other.0) {
                    (Some(a), Some(b)) => Some(Expr::All(vec![a, b])),
                    (a, b) => a.or(b),
                })
            }

            /// The opposite: everything this filter does not mean.
            #[must_use]
            pub fn negated(self) -> Self {
                Self(Some(Expr::Not(Box::new(self.0.unwrap_or(Expr::All(Vec::new()))))))
            }

            /// The keys a term may begin with, each with what it means.
            pub fn keys() -> Vec<(&'static str, &'static str)> {
                fields::keys($kind)
            }
        }

        impl std::str::FromStr for $name {
            type Err = FilterError;

            fn from_str(text: &str) -> Result<Self, FilterError> {
                Self::parse(text)
            }
        }
    };
}

filter!(
    /// Which spans are meant.
    SpanFilter,
    Span,
    Kind::Span
);
filter!(
    /// Which log records are meant.
    LogFilter,
    LogRecord,
    Kind::Log
);
filter!(
    /// Which metric points are meant.
    MetricFilter,
    MetricPoint,
    Kind::Metric
);

impl SpanFilter {
    /// Whether a skeleton is enough to answer it, so that [`SpanFilter::matches_brief`] says what
    /// [`SpanFilter::matches`] would.
    pub fn is_brief(&self) -> bool {
        self.0.as_ref().is_none_or(Expr::is_brief)
    }

    /// Whether the span of a skeleton is meant; only to be asked of a filter that [`SpanFilter::is_brief`].
    pub fn matches_brief(&self, span: &Brief<'_>) -> bool {
        self.0.as_ref().is_none_or(|expr| expr.holds(span))
    }
}

/// `text` as one value of a term, quoted where the grammar needs it, so that a program can build a filter.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        // `*` would be a wildcard, also inside quotes.
        if matches!(c, '"' | '\\' | '*') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}
