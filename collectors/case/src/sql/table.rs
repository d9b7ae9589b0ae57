//! One table of a query: its columns, where its rows lie, and which conditions are settled before SQLite sees a row.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::ffi;
use rusqlite::vtab::{IndexConstraintOp, IndexInfo};

use super::live::LiveIndex;
use super::open::OpenSegment;
use super::schema::{self, Column, Kind};
use super::stop::Stop;
use crate::Case;
use crate::manifest::Content;

/// Segments kept open between one look and the next, with their dictionaries and a page of each column in use. A join
/// looks at the same ones again and again; a query that looks once has no use for them.
const KEPT_OPEN: usize = 64;
const KEPT_AT_FIRST: usize = 2;
/// After so many looks more are expected.
const FEW_LOOKS: u32 = 8;
/// Bytes a live item takes in the log, roughly: SQLite only wants to know which table is the larger one.
const LIVE_ITEM_BYTES: u64 = 128;

/// A table as every cursor on it shares it.
pub(super) struct Table {
    pub(super) content: Content,
    pub(super) columns: Vec<Column>,
    /// For each column the columns it is read with.
    pub(super) beside: Vec<[usize; 2]>,
    pub(super) case: Arc<Case>,
    pub(super) stop: Arc<Stop>,
    pub(super) live: LiveIndex,
    open: Mutex<Vec<OpenSegment>>,
    looks: AtomicU32,
}

impl Table {
    pub(super) fn new(
        content: Content,
        attributes: &[Column],
        case: Arc<Case>,
        stop: Arc<Stop>,
    ) -> Table {
        let mut columns = schema::columns(content);
        for attribute in attributes {
            if let Kind::Attribute { map, .. } = &attribute.kind
                && columns.iter().any(|column| column.name == *map)
            {
                columns.push(attribute.clone());
            }
        }
        let at = |name: &str| columns.iter().position(|column| column.name == name);
        let beside = columns
            .iter()
            .enumerate()
            .map(|(own, column)| match &column.kind {
                Kind::Number { int, letter } => [at(int).unwrap_or(own), at(letter).unwrap_or(own)],
                Kind::Optional { .. } => [at("Present").unwrap_or(own), own],
                Kind::Body { letter } => [at(letter).unwrap_or(own), own],
                Kind::Attribute { map, .. } => [at(map).unwrap_or(own); 2],
                _ => [own, own],
            })
            .collect();
        Table {
            content,
            columns,
            beside,
            case,
            stop,
            live: LiveIndex::default(),
            open: Mutex::default(),
            looks: AtomicU32::new(0),
        }
    }

    /// A scan begins.
    pub(super) fn look(&self) {
        self.looks.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether scans come one after the other, so that it pays to prepare for the next.
    pub(super) fn is_looked_at_often(&self) -> bool {
        self.looks.load(Ordering::Relaxed) > FEW_LOOKS
    }

    /// What SQLite is told of the table.
    pub(super) fn declaration(&self) -> String {
        let columns: Vec<String> = self
            .columns
            .iter()
            .map(|column| {
                format!(
                    "\"{}\" {}{}",
                    column.name.replace('"', "\"\""),
                    column.declared(),
                    if column.hidden { " HIDDEN" } else { "" }
                )
            })
            .collect();
        format!("CREATE TABLE x({})", columns.join(","))
    }

    /// The segment, opened, and kept from an earlier look if possible.
    pub(super) fn take(&self, id: u64) -> Option<OpenSegment> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let at = open.iter().position(|segment| segment.id == id)?;
        Some(open.remove(at))
    }

    pub(super) fn give_back(&self, segment: OpenSegment) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.iter().all(|known| known.id != segment.id) {
            open.insert(0, segment);
            open.truncate(if self.is_looked_at_often() {
                KEPT_OPEN
            } else {
                KEPT_AT_FIRST
            });
        }
    }

    fn rows(&self) -> f64 {
        let sealed: u64 = self
            .case
            .manifest()
            .segments
            .iter()
            .filter_map(|segment| segment.file(self.content))
            .map(|file| file.rows)
            .sum();
        (sealed + self.case.live_bytes() / LIVE_ITEM_BYTES) as f64
    }

    /// Tells SQLite which conditions help, and what a look with them costs.
    pub(super) fn plan(&self, info: &mut IndexInfo) -> rusqlite::Result<()> {
        let mut chosen = Vec::new();
        for (at, constraint) in info.constraints().enumerate() {
            if !constraint.is_usable() {
                continue;
            }
            let Some(op) = Op::of(&constraint.operator()) else {
                continue;
            };
            let Some(column) = usize::try_from(constraint.column())
                .ok()
                .filter(|column| *column < self.columns.len())
            else {
                continue;
            };
            let helps = match self.columns[column].kind {
                Kind::U64 | Kind::I64 | Kind::U32 | Kind::I32 => true,
                Kind::Text | Kind::Id => op == Op::Equal && info.collation(at)? == "BINARY",
                _ => false,
            };
            if helps {
                chosen.push((at, column, op));
            }
        }
        let mut rows = self.rows().max(1.0);
        let mut cost = rows;
        let mut plan = String::new();
        for (argument, (at, column, op)) in chosen.iter().enumerate() {
            info.constraint_usage(*at)
                .set_argv_index(i32::try_from(argument + 1).unwrap_or(i32::MAX));
            plan.push_str(&format!("{column}{};", op.sign()));
            let (fewer, cheaper) = match (&self.columns[*column].name[..], op) {
                ("TraceId", Op::Equal) if self.content == Content::Traces => (1e-5, 1e-5),
                ("TraceId" | "SpanId" | "ParentSpanId", Op::Equal) => (1e-5, 0.05),
                (_, Op::Equal) => (0.05, 0.5),
                _ => (0.4, 0.6),
            };
            rows = (rows * fewer).max(1.0);
            cost = (cost * cheaper).max(1.0);
        }
        info.set_idx_str(&plan);
        // Every look has to open what it looks at.
        info.set_estimated_cost(cost + 50.0);
        info.set_estimated_rows(rows as i64);
        Ok(())
    }

    /// The conditions of a plan with the values they have this time. `None` if no row can meet them.
    pub(super) fn wants(
        &self,
        plan: &str,
        mut argument: impl FnMut(usize) -> rusqlite::Result<rusqlite::types::Value>,
    ) -> rusqlite::Result<Option<Vec<Want>>> {
        use rusqlite::types::Value;
        let mut wants = Vec::new();
        for (at, part) in plan.split_terminator(';').enumerate() {
            let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(0);
            let (Ok(column), Some(op)) =
                (part[..digits].parse::<usize>(), Op::read(&part[digits..]))
            else {
                return Err(misuse());
            };
            let Some(kind) = self.columns.get(column).map(|column| &column.kind) else {
                return Err(misuse());
            };
            let textual = matches!(kind, Kind::Text | Kind::Id);
            // SQLite checks every condition again, so what is not understood here is simply left to it.
            match argument(at)? {
                Value::Null => return Ok(None),
                Value::Integer(value) if !textual => wants.push(Want {
                    column,
                    test: Test::Number(op, value),
                }),
                Value::Text(value) if textual => wants.push(Want {
                    column,
                    test: Test::Text(value),
                }),
                _ => {}
            }
        }
        Ok(Some(wants))
    }
}

fn misuse() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_MISUSE), None)
}

/// A condition that a row must meet.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Want {
    pub(super) column: usize,
    pub(super) test: Test,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    Number(Op, i64),
    Text(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Equal,
    Less,
    AtMost,
    More,
    AtLeast,
}

impl Op {
    fn of(operator: &IndexConstraintOp) -> Option<Op> {
        Some(match operator {
            IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ => Op::Equal,
            IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LT => Op::Less,
            IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LE => Op::AtMost,
            IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GT => Op::More,
            IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GE => Op::AtLeast,
            _ => return None,
        })
    }

    fn sign(self) -> &'static str {
        match self {
            Op::Equal => "=",
            Op::Less => "<",
            Op::AtMost => "<=",
            Op::More => ">",
            Op::AtLeast => ">=",
        }
    }

    fn read(sign: &str) -> Option<Op> {
        [Op::Equal, Op::Less, Op::AtMost, Op::More, Op::AtLeast]
            .into_iter()
            .find(|op| op.sign() == sign)
    }

    /// Wide enough for both signed and unsigned columns.
    pub(super) fn holds(self, value: i128, than: i64) -> bool {
        let than = i128::from(than);
        match self {
            Op::Equal => value == than,
            Op::Less => value < than,
            Op::AtMost => value <= than,
            Op::More => value > than,
            Op::AtLeast => value >= than,
        }
    }
}

impl Want {
    /// Whether any value between two, both included, can meet it.
    pub(super) fn possible(&self, first: u64, last: u64) -> bool {
        match &self.test {
            Test::Number(op, than) => match op {
                Op::Equal => {
                    i128::from(first) <= i128::from(*than) && i128::from(*than) <= i128::from(last)
                }
                Op::Less | Op::AtMost => op.holds(i128::from(first), *than),
                Op::More | Op::AtLeast => op.holds(i128::from(last), *than),
            },
            Test::Text(_) => true,
        }
    }
}
