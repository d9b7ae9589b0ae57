//! Why a query was not answered, said for the person who wrote it.

use std::fmt;
use std::sync::PoisonError;

use rusqlite::ffi::ErrorCode;

use super::guard::Refused;
use super::rewrite::{self, Rewritten};
use super::{functions, schema};
use crate::manifest::Content;
use crate::nearest::nearest;

/// A query that can't be answered: what is wrong, where in the text, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryError {
    pub message: String,
    /// Line and column, both from 1.
    pub place: Option<(usize, usize)>,
    pub hint: Option<String>,
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match self.place {
            Some((1, column)) => write!(f, " (column {column})"),
            Some((line, column)) => write!(f, " (line {line}, column {column})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for QueryError {}

impl QueryError {
    pub(super) fn new(message: impl Into<String>) -> QueryError {
        QueryError {
            message: message.into(),
            place: None,
            hint: None,
        }
    }

    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<String>) -> QueryError {
        self.hint = Some(hint.into());
        self
    }

    /// From what SQLite says about `rewritten`, which was typed as `typed`.
    pub(super) fn explain(
        error: rusqlite::Error,
        typed: &str,
        rewritten: &Rewritten,
        refused: &Refused,
    ) -> QueryError {
        use rusqlite::Error;
        let refused = refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(what) = refused {
            return QueryError::new(format!(
                "{what} is not allowed: a query only reads the case"
            ))
            .hint("ask with SELECT; `--tables` lists what can be asked");
        }
        match error {
            Error::SqlInputError { msg, offset, .. } => {
                let mut error = words(&msg, typed);
                error.place = usize::try_from(offset)
                    .ok()
                    .map(|offset| place(typed, rewritten.typed_at(offset)));
                error
            }
            Error::SqliteFailure(error, message) => match error.code {
                ErrorCode::OutOfMemory => QueryError::new("the query needs more memory than it may take")
                    .hint("sort or group fewer rows: bound Timestamp, name fewer columns, or allow more (--memory)"),
                ErrorCode::TooBig => QueryError::new("the query makes a text or row that is too large"),
                _ => words(&message.unwrap_or_else(|| error.to_string()), typed),
            },
            Error::MultipleStatement => QueryError::new("more than one statement")
                .hint("ask one question at a time"),
            other => words(&other.to_string(), typed),
        }
    }
}

/// Line and column of a byte.
fn place(typed: &str, at: usize) -> (usize, usize) {
    let before = typed.get(..at).unwrap_or(typed);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}

/// SQLite's message, and what could be meant where a name is unknown.
fn words(message: &str, typed: &str) -> QueryError {
    let error = QueryError::new(message);
    if let Some(rest) = message.strip_prefix("no such table: ") {
        let name = unqualified(rest);
        // SQLite does not say where.
        let error = QueryError {
            place: rewrite::place_of(typed, name).map(|at| place(typed, at)),
            ..error
        };
        let known = schema::ALIASES
            .iter()
            .map(|(alias, _)| *alias)
            .chain(Content::TABLES.map(Content::table));
        return match nearest(name, known) {
            Some(near) => error.hint(format!("did you mean {near}?")),
            None => error.hint("`--tables` lists the tables and their columns"),
        };
    }
    if let Some(rest) = message.strip_prefix("no such column: ") {
        if let Some((quoted, _)) = rest.split_once(" - should this be") {
            let error = QueryError::new(format!("no such column: {quoted}"));
            let text = quoted.trim_matches('"');
            return match near_column(text, typed) {
                Some(near) => error.hint(format!("did you mean {near}?")),
                None => error.hint(format!("texts stand in single quotes: '{text}'")),
            };
        }
        return match near_column(rest, typed) {
            Some(near) => error.hint(format!("did you mean {near}?")),
            None => error.hint("`--tables` lists the tables and their columns"),
        };
    }
    if let Some(name) = message.strip_prefix("no such function: ") {
        const COMMON: [&str; 12] = [
            "count",
            "sum",
            "avg",
            "min",
            "max",
            "json_extract",
            "json_each",
            "substr",
            "lower",
            "upper",
            "coalesce",
            "round",
        ];
        return match nearest(name, functions::NAMES.into_iter().chain(COMMON)) {
            Some(near) => error.hint(format!("did you mean {near}?")),
            None => error.hint("SQLite's functions can be used, and attr, ts, nanos, duration, quantile, p50, p95, p99, regexp"),
        };
    }
    error
}

fn unqualified(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// The nearest column of the tables the statement speaks of, or of all if it names none.
fn near_column(name: &str, typed: &str) -> Option<String> {
    let words = rewrite::words(typed);
    let mut spoken: Vec<Content> = super::names()
        .into_iter()
        .filter(|(table, _)| words.iter().any(|word| word.eq_ignore_ascii_case(table)))
        .map(|(_, content)| content)
        .collect();
    if spoken.is_empty() {
        spoken = Content::TABLES.to_vec();
    }
    let columns: Vec<String> = spoken
        .into_iter()
        .flat_map(schema::columns)
        .map(|column| column.name)
        .collect();
    let known = || columns.iter().map(String::as_str);
    let near = nearest(name, known()).or_else(|| nearest(unqualified(name), known()))?;
    // One that only differs in its table is no help.
    (!near.eq_ignore_ascii_case(name)).then(|| {
        if near.contains('.') {
            format!("\"{near}\"")
        } else {
            near.to_owned()
        }
    })
}
