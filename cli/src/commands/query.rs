//! `casefile query "SQL"`: one statement over a case, answered as a table, CSV or JSON lines.
//!
//! Numbers are printed with every digit they have. Texts are made harmless for terminals also in CSV, which often ends on
//! one by way of a pipe; JSON escapes reversibly and so keeps every character.

use std::io::{IsTerminal, Read};
use std::ops::ControlFlow;
use std::time::Duration;

use case::sql::{self, Cell, Limits, QueryError};
use case::{Case, Nanos, Window};
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::collect::{duration, size};
use crate::args::CaseArgs;
use crate::error::CliError;
use crate::exit;
use crate::output::{Column, Console, Line, Table, Tone, count, sanitise};
use crate::reading::Reading;

/// Rows of a table for people unless asked otherwise; it is held in memory to line its columns up.
const SHOWN: u64 = 1000;

#[derive(Debug, Args)]
pub struct QueryArgs {
    /// The statement, in SQLite's SQL; - reads it from standard input.
    ///
    /// SpanAttributes['http.route'] is one attribute, Events.Name a column. Beyond SQLite's functions there are ts(n)
    /// (nanoseconds as RFC 3339), nanos('2026-…Z'), duration('250ms'), attr(map, 'key'), regexp, and the exact
    /// quantiles quantile(x, 0.9), p50(x), p95(x), p99(x) by nearest rank.
    #[arg(value_name = "SQL", required_unless_present = "tables")]
    sql: Option<String>,
    #[command(flatten)]
    case: CaseArgs,
    /// List the tables and columns that can be asked for.
    #[arg(long, conflicts_with = "sql")]
    tables: bool,
    /// How to print the answer; json is an object for each row [default: table on a terminal, else csv].
    #[arg(long, value_enum)]
    format: Option<QueryFormat>,
    /// At most so many rows; 0 for all [default: 1000 as a table, all otherwise].
    #[arg(long, short = 'n', value_name = "ROWS")]
    limit: Option<u64>,
    /// Give up after this time.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,
    /// What sorting, grouping and joining may hold in memory; nothing is spilled into files.
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = size)]
    memory: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum QueryFormat {
    #[value(alias = "text")]
    Table,
    Csv,
    #[value(alias = "jsonl")]
    Json,
}

impl From<QueryError> for CliError {
    fn from(error: QueryError) -> CliError {
        let shown = CliError::new(format!("query: {error}"));
        match error.hint {
            Some(hint) => shown.hint(hint),
            None => shown,
        }
    }
}

/// A row as a JSON object, its columns in the order asked for.
struct Row<'a> {
    columns: &'a [String],
    cells: &'a [Cell],
}

struct Value<'a>(&'a Cell);

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Cell::Null => serializer.serialize_unit(),
            Cell::Int(value) => serializer.serialize_i64(*value),
            Cell::Real(value) if value.is_finite() => serializer.serialize_f64(*value),
            Cell::Real(value) => serializer.serialize_str(&case::wire::text::double(*value)),
            Cell::Text(text) => serializer.serialize_str(text),
            Cell::Bytes(bytes) => serializer.serialize_str(&base64(bytes)),
        }
    }
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.columns.len()))?;
        for (column, cell) in self.columns.iter().zip(self.cells) {
            map.serialize_entry(column, &Value(cell))?;
        }
        map.end()
    }
}

fn base64(bytes: &[u8]) -> String {
    let mut out = String::new();
    case::wire::text::base64(bytes, &mut out);
    out
}

fn text(cell: &Cell) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Int(value) => value.to_string(),
        Cell::Real(value) => case::wire::text::double(*value),
        Cell::Text(text) => text.clone(),
        Cell::Bytes(bytes) => base64(bytes),
    }
}

/// The longest statement read from standard input; SQLite takes no longer one.
const LONGEST: u64 = 1 << 20;

fn statement(given: &str) -> Result<String, CliError> {
    if given != "-" {
        return Ok(given.to_owned());
    }
    let mut sql = String::new();
    std::io::stdin()
        .take(LONGEST + 1)
        .read_to_string(&mut sql)
        .map_err(|error| CliError::io("read the statement from standard input", &error))?;
    if sql.len() as u64 > LONGEST {
        return Err(CliError::new(
            "the statement on standard input is longer than 1 MiB",
        ));
    }
    Ok(sql)
}

pub fn run(args: &QueryArgs, console: &mut Console) -> Result<u8, CliError> {
    let format = args.format.unwrap_or_else(|| {
        if std::io::stdout().is_terminal() {
            QueryFormat::Table
        } else {
            QueryFormat::Csv
        }
    });
    let Some(sql) = args.sql.as_deref().filter(|_| !args.tables) else {
        return tables(args.format, console);
    };
    let sql = &statement(sql)?;
    let path = args.case.resolve(console)?;
    // Unlike other commands this one needs no "now", which a live case only tells by being read through.
    let reading = Reading {
        case: Case::open(&path)?,
        path,
        window: Window::ALL,
        now: Nanos(0),
    };
    let limits = Limits {
        time: args.timeout,
        rows: match (args.limit, format) {
            (Some(0), _) => None,
            (Some(rows), _) => Some(rows),
            (None, QueryFormat::Table) => Some(SHOWN),
            (None, _) => None,
        },
        memory: args.memory as u64,
    };
    let answer = match format {
        QueryFormat::Table => as_table(&reading, sql, &limits, console)?,
        QueryFormat::Csv => as_csv(&reading, sql, &limits, console)?,
        QueryFormat::Json => as_json(&reading, sql, &limits, console)?,
    };
    for note in &answer.notes {
        console.remark(&format!("note: {note}"));
    }
    if answer.cut {
        console.remark(&format!(
            "cut after {} (--limit 0 gives all)",
            count(answer.rows, "row", "rows")
        ));
    }
    reading.tell_damage(console);
    Ok(exit::CLEAN)
}

fn as_table(
    reading: &Reading,
    sql: &str,
    limits: &Limits,
    console: &mut Console,
) -> Result<sql::Answer, CliError> {
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    let answer = sql::query(&reading.case, sql, limits, &mut |_, cells| {
        rows.push(cells.to_vec());
        ControlFlow::Continue(())
    })?;
    // A column of numbers lines up on the right.
    let columns = answer
        .columns
        .iter()
        .enumerate()
        .map(|(i, name)| {
            let numbers = rows
                .iter()
                .filter_map(|row| row.get(i))
                .all(|cell| matches!(cell, Cell::Null | Cell::Int(_) | Cell::Real(_)));
            if numbers && !rows.is_empty() {
                Column::right(name)
            } else {
                Column::left(name).shrinks_to(8)
            }
        })
        .collect();
    let mut table = Table::new(columns);
    for row in &rows {
        let line = |cell: &Cell| match cell {
            Cell::Null => Line::new().with(Tone::Dim, "null"),
            cell => Line::plain(text(cell)),
        };
        table.row(row.iter().map(line).collect());
    }
    console.lines(&table.lines(console.list_width()))?;
    Ok(answer)
}

fn as_json(
    reading: &Reading,
    sql: &str,
    limits: &Limits,
    console: &mut Console,
) -> Result<sql::Answer, CliError> {
    let mut outcome = Ok(());
    let answer = sql::query(&reading.case, sql, limits, &mut |columns, cells| {
        outcome = console.json(&Row { columns, cells });
        if outcome.is_err() || console.is_closed() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    outcome.map(|()| answer)
}

/// A text as a CSV field. Line ends are escapes by then.
fn field(text: &str) -> String {
    let text = sanitise::clean(text);
    if text.contains([',', '"']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.into_owned()
    }
}

fn as_csv(
    reading: &Reading,
    sql: &str,
    limits: &Limits,
    console: &mut Console,
) -> Result<sql::Answer, CliError> {
    let record = |fields: &mut dyn Iterator<Item = String>| {
        let mut line = fields.collect::<Vec<_>>().join(",");
        line.push_str("\r\n");
        line
    };
    let mut outcome = Ok(());
    let mut headed = false;
    let answer = sql::query(&reading.case, sql, limits, &mut |columns, cells| {
        if !headed {
            headed = true;
            outcome = console.bytes(record(&mut columns.iter().map(|name| field(name))).as_bytes());
        }
        if outcome.is_ok() {
            outcome =
                console.bytes(record(&mut cells.iter().map(|cell| field(&text(cell)))).as_bytes());
        }
        if outcome.is_err() || console.is_closed() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    outcome?;
    if !headed {
        console.bytes(record(&mut answer.columns.iter().map(|name| field(name))).as_bytes())?;
    }
    Ok(answer)
}

#[derive(Serialize)]
struct ColumnRow<'a> {
    table: &'a str,
    alias: Option<&'a str>,
    column: &'a str,
    holds: &'a str,
    hidden: bool,
}

fn tables(format: Option<QueryFormat>, console: &mut Console) -> Result<u8, CliError> {
    let known = sql::tables();
    let mut rows = known.iter().flat_map(|table| {
        table.columns.iter().map(|column| ColumnRow {
            table: table.name,
            alias: table.alias,
            column: &column.name,
            holds: column.holds,
            hidden: column.hidden,
        })
    });
    match format {
        Some(QueryFormat::Json) => {
            return rows
                .try_for_each(|row| console.json(&row))
                .map(|()| exit::CLEAN);
        }
        Some(QueryFormat::Csv) => {
            console.bytes(b"table,alias,column,holds,hidden\r\n")?;
            for row in rows {
                let line = format!(
                    "{},{},{},{},{}\r\n",
                    row.table,
                    row.alias.unwrap_or(""),
                    row.column,
                    row.holds,
                    row.hidden
                );
                console.bytes(line.as_bytes())?;
            }
            return Ok(exit::CLEAN);
        }
        Some(QueryFormat::Table) | None => {}
    }
    for table in &known {
        let mut line = Line::new().with(Tone::Strong, table.name);
        if let Some(alias) = table.alias {
            line.push(Tone::Dim, format!("  also {alias}"));
        }
        console.line(&line)?;
        let mut columns = Table::new(vec![Column::left("  column"), Column::left("holds")]);
        for column in &table.columns {
            let holds = if column.hidden {
                format!("{}, not in SELECT *", column.holds)
            } else {
                column.holds.to_owned()
            };
            columns.row(vec![
                Line::plain(format!("  {}", column.name)),
                Line::new().with(Tone::Dim, holds),
            ]);
        }
        console.lines(columns.lines(console.list_width()).iter().skip(1))?;
    }
    Ok(exit::CLEAN)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn numbers_keep_every_digit() {
        let columns: Vec<String> = ["n", "r", "tiny", "far", "none"].map(str::to_owned).into();
        let cells = [
            Cell::Int(i64::MIN),
            Cell::Real(0.1 + 0.2),
            Cell::Real(5e-324),
            Cell::Real(f64::NEG_INFINITY),
            Cell::Null,
        ];
        let row = Row {
            columns: &columns,
            cells: &cells,
        };
        assert_eq!(
            serde_json::to_string(&row).unwrap(),
            r#"{"n":-9223372036854775808,"r":0.30000000000000004,"tiny":5e-324,"far":"-Infinity","none":null}"#
        );
        let texts: Vec<String> = cells.iter().map(text).collect();
        assert_eq!(
            texts,
            [
                "-9223372036854775808",
                "0.30000000000000004",
                "5e-324",
                "-Infinity",
                ""
            ]
        );
    }

    #[test]
    fn fields_are_quoted_and_harmless() {
        assert_eq!(field("plain"), "plain");
        assert_eq!(field("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(field("\x1b[31m\r\n"), "\\x1b[31m\\r\\n");
    }
}
