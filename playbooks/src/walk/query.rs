//! Questions that SQL over the case answers.

use std::ops::ControlFlow;
use std::time::Duration;

use case::Case;
use case::sql::{self, Cell, Limits};

use super::record::{Kept, Said};
use super::variables::Values;
use crate::book::{PassIf, Than};

/// A question of a book takes no longer, however big the case is.
const LONGEST: Duration = Duration::from_secs(60);
/// Rows that are counted; a query that has more is told as having at least so many.
const MOST_ROWS: u64 = 1000;

/// A query's answer, cut to what a run keeps.
pub(super) struct Rows {
    pub columns: Vec<String>,
    pub kept: Vec<Vec<String>>,
    pub number: u64,
    pub cut: bool,
    first: Option<Cell>,
}

pub(super) fn rows(case: &Case, sql: &str, values: Values, keep: usize) -> Result<Rows, String> {
    let limits = Limits {
        time: Some(LONGEST),
        rows: Some(MOST_ROWS),
        ..Limits::default()
    };
    let mut kept: Vec<Vec<String>> = Vec::new();
    let mut first = None;
    let answer = sql::query(case, &values.into_sql(sql), &limits, &mut |_, cells| {
        if first.is_none() {
            first = cells.first().cloned();
        }
        // The first row also fills sentences and later queries.
        if kept.len() < keep.max(1) {
            kept.push(cells.iter().map(text).collect());
        }
        ControlFlow::Continue(())
    })
    .map_err(|error| format!("the query failed: {error}"))?;
    Ok(Rows {
        columns: answer.columns,
        kept,
        number: answer.rows,
        cut: answer.cut,
        first,
    })
}

impl Rows {
    /// Whether it is as it should be, and in words.
    pub(super) fn judged(&self, pass_if: &PassIf) -> (Said, String) {
        let number = format!(
            "{}{} {}",
            if self.cut { "at least " } else { "" },
            self.number,
            if self.number == 1 { "row" } else { "rows" }
        );
        let of = |good: bool| if good { Said::Pass } else { Said::Fail };
        match pass_if {
            PassIf::Rows => (of(self.number > 0), number),
            PassIf::NoRows => (of(self.number == 0), number),
            PassIf::Value { than, number } => match self.value() {
                None => (
                    Said::CannotTell,
                    "the query has no value to compare".to_owned(),
                ),
                Some(value) => {
                    let good = match than {
                        Than::Less => value < *number,
                        Than::AtMost => value <= *number,
                        Than::Equal => value == *number,
                        Than::AtLeast => value >= *number,
                        Than::More => value > *number,
                    };
                    (of(good), format!("the value is {value}"))
                }
            },
        }
    }

    fn value(&self) -> Option<f64> {
        match self.first.as_ref()? {
            Cell::Int(value) => Some(*value as f64),
            Cell::Real(value) => Some(*value),
            Cell::Null | Cell::Text(_) | Cell::Bytes(_) => None,
        }
    }

    /// The first rows in words: `service payment, calls 12`.
    pub(super) fn told(&self, keep: usize) -> Vec<Kept> {
        self.kept
            .iter()
            .take(keep)
            .map(|row| Kept {
                what: self
                    .columns
                    .iter()
                    .zip(row)
                    .filter(|(_, value)| !value.is_empty())
                    .map(|(column, value)| format!("{column} {value}"))
                    .collect::<Vec<_>>()
                    .join(", "),
                command: None,
            })
            .filter(|kept| !kept.what.is_empty())
            .collect()
    }

    pub(super) fn first_row(&self) -> std::collections::BTreeMap<String, String> {
        let row = self.kept.first().map_or(&[][..], Vec::as_slice);
        self.columns
            .iter()
            .cloned()
            .zip(row.iter().cloned())
            .collect()
    }
}

/// Longer values say no more in a sentence.
const LONGEST_VALUE: usize = 200;

fn text(cell: &Cell) -> String {
    let mut text = match cell {
        Cell::Null => String::new(),
        Cell::Int(value) => value.to_string(),
        Cell::Real(value) => case::wire::text::double(*value),
        Cell::Text(text) => text.clone(),
        Cell::Bytes(bytes) => format!("{} bytes", bytes.len()),
    };
    if let Some((cut, _)) = text.char_indices().nth(LONGEST_VALUE) {
        text.truncate(cut);
        text.push('…');
    }
    text
}
