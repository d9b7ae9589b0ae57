//! SQL over a case: SQLite asks, the case answers from its segments and live logs.
//!
//! Every table of the case is a virtual table ([`tables`] lists them). Times and durations are INTEGER nanoseconds (a
//! REAL beyond 2^63), attributes JSON objects, lists JSON arrays; `Map['key']` and `attr(Map, 'key')` give one attribute
//! typed as it was sent. Conditions on times, ids and texts are settled on the segments' own pages and dictionaries, and
//! only columns a query names are decoded, so that memory holds pages and what the query itself gathers.
//!
//! A query can read its case and nothing else: no files, no changes, bounded memory, an end when its time is up.

mod cells;
mod error;
mod functions;
mod guard;
mod live;
mod live_rows;
mod lookup;
mod open;
mod rewrite;
mod scan;
mod schema;
mod segment;
mod stop;
mod table;
mod vtab;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Statement};

pub use error::QueryError;

use crate::Case;
use crate::manifest::Content;
use guard::Refused;
use rewrite::{Reach, Rewritten};
use schema::Column;
use stop::Stop;
use table::Table;

/// One value of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    Null,
    Int(i64),
    Real(f64),
    Text(String),
    Bytes(Vec<u8>),
}

/// Takes the names of an answer's columns and the values of one row.
pub type EachRow<'e> = dyn FnMut(&[String], &[Cell]) -> ControlFlow<()> + 'e;

/// What a query may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// It ends with an error after this long.
    pub time: Option<Duration>,
    /// The answer is cut after so many rows.
    pub rows: Option<u64>,
    /// Bytes SQLite may hold for sorting, grouping and joining. It counts for the whole process: the least that any
    /// query was given.
    pub memory: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            time: None,
            rows: None,
            memory: 1 << 30,
        }
    }
}

/// What was answered, once all rows are handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub columns: Vec<String>,
    pub rows: u64,
    /// Whether [`Limits::rows`] left rows out.
    pub cut: bool,
    /// What in the statement is probably not meant as it stands.
    pub notes: Vec<String>,
}

/// A table as it can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableInfo {
    pub name: &'static str,
    /// A shorter name for the same.
    pub alias: Option<&'static str>,
    pub columns: Vec<ColumnInfo>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnInfo {
    pub name: String,
    /// integer, real, number, text, json object or json array.
    pub holds: &'static str,
    /// Left out of `SELECT *`.
    pub hidden: bool,
}

/// Every table and its columns; the same in every case.
pub fn tables() -> Vec<TableInfo> {
    Content::TABLES
        .into_iter()
        .map(|content| TableInfo {
            name: content.table(),
            alias: schema::ALIASES
                .into_iter()
                .find(|(_, aliased)| *aliased == content)
                .map(|(alias, _)| alias),
            columns: schema::columns(content)
                .into_iter()
                .map(|column| ColumnInfo {
                    holds: column.shown(),
                    hidden: column.hidden,
                    name: column.name,
                })
                .collect(),
        })
        .collect()
}

/// Names under which tables are known, aliases among them.
fn names() -> Vec<(&'static str, Content)> {
    Content::TABLES
        .into_iter()
        .map(|content| (content.table(), content))
        .chain(schema::ALIASES)
        .collect()
}

/// Answers one statement. `each` gets the names of the columns and the values of each row, as soon as it is known;
/// breaking off is no error. What of the case can't be read is noted in [`Case::damage`].
pub fn query(
    case: &Case,
    sql: &str,
    limits: &Limits,
    each: &mut EachRow<'_>,
) -> Result<Answer, QueryError> {
    if sql.contains('\0') {
        return Err(QueryError::new("the statement contains a NUL character"));
    }
    let twin = Arc::new(case.twin());
    let answer = Session::new(&twin, sql, limits).and_then(|session| session.run(limits, each));
    for what in twin.damage() {
        case.note(what);
    }
    answer
}

/// One statement on one connection.
struct Session<'s> {
    connection: Connection,
    stop: Arc<Stop>,
    refused: Refused,
    typed: &'s str,
    columns: Rewritten,
}

impl<'s> Session<'s> {
    fn new(case: &Arc<Case>, typed: &'s str, limits: &Limits) -> Result<Session<'s>, QueryError> {
        let columns = rewrite::rewrite(typed, Reach::Columns);
        let attributes: Vec<Column> = columns
            .attributes
            .iter()
            .map(|(map, key)| Column::attribute(map, key))
            .collect();
        let stop = Arc::new(Stop::after(limits.time));
        let connect = || -> rusqlite::Result<(Connection, Refused)> {
            let mut connection = guard::open(limits.memory)?;
            functions::register(&connection)?;
            for content in Content::TABLES {
                let table = Table::new(content, &attributes, Arc::clone(case), Arc::clone(&stop));
                let table = Arc::new(table);
                for (name, _) in names().into_iter().filter(|(_, named)| *named == content) {
                    vtab::register(&connection, name, Arc::clone(&table))?;
                }
            }
            let refused = guard::lock(&mut connection, Arc::clone(&stop))?;
            Ok((connection, refused))
        };
        let (connection, refused) =
            connect().map_err(|error| QueryError::new(format!("can't set SQLite up: {error}")))?;
        Ok(Session {
            connection,
            stop,
            refused,
            typed,
            columns,
        })
    }

    fn run(&self, limits: &Limits, each: &mut EachRow<'_>) -> Result<Answer, QueryError> {
        let calls;
        let (mut statement, rewritten) = match self.connection.prepare(&self.columns.sql) {
            Ok(statement) => (statement, &self.columns),
            Err(error) if error.to_string().contains("['") => {
                // A subquery passes the map on, and with it no column of its attributes.
                calls = rewrite::rewrite(self.typed, Reach::Calls);
                match self.connection.prepare(&calls.sql) {
                    Ok(statement) => (statement, &calls),
                    Err(error) => return Err(self.explain(error, &calls)),
                }
            }
            Err(error) => return Err(self.explain(error, &self.columns)),
        };
        if statement.parameter_count() > 0 {
            return Err(QueryError::new(
                "the statement has parameters, and nothing is given for them",
            )
            .hint("write the values out; texts stand in single quotes"));
        }
        if statement.column_count() == 0 {
            return Err(QueryError::new("the statement asks nothing")
                .hint("ask with SELECT; `--tables` lists what can be asked"));
        }
        self.answer(&mut statement, limits, each)
            .map_err(|error| self.explain(error, rewritten))
    }

    fn answer(
        &self,
        statement: &mut Statement<'_>,
        limits: &Limits,
        each: &mut EachRow<'_>,
    ) -> rusqlite::Result<Answer> {
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let mut answer = Answer {
            columns,
            rows: 0,
            cut: false,
            notes: rewrite::quoted_numbers(self.typed),
        };
        let mut cells = Vec::with_capacity(answer.columns.len());
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if limits.rows.is_some_and(|most| answer.rows >= most) {
                answer.cut = true;
                break;
            }
            cells.clear();
            for at in 0..answer.columns.len() {
                cells.push(match row.get_ref(at)? {
                    ValueRef::Null => Cell::Null,
                    ValueRef::Integer(value) => Cell::Int(value),
                    ValueRef::Real(value) => Cell::Real(value),
                    ValueRef::Text(text) => Cell::Text(String::from_utf8_lossy(text).into_owned()),
                    ValueRef::Blob(bytes) => Cell::Bytes(bytes.to_vec()),
                });
            }
            answer.rows += 1;
            if each(&answer.columns, &cells).is_break() {
                break;
            }
        }
        Ok(answer)
    }

    fn explain(&self, error: rusqlite::Error, rewritten: &Rewritten) -> QueryError {
        if self.stop.was_late() {
            return QueryError::new("the query took longer than it may")
                .hint("bound Timestamp, ask for a TraceId, or give it more time (--timeout)");
        }
        QueryError::explain(error, self.typed, rewritten, &self.refused)
    }
}
