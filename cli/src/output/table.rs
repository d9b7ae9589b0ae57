//! Tables that fit the terminal: columns as wide as their widest cell, and when that is too much, the columns said to
//! give way are cut first.

use super::line::{Line, Tone};
use super::width;

/// No cell is wider than this, however wide the terminal: one hostile name must not push the rest out of sight.
const WIDEST_CELL: usize = 160;
/// Columns between two cells.
const GAP: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// A column's header and how it behaves when space is short.
#[derive(Debug, Clone)]
pub struct Column {
    header: String,
    align: Align,
    /// Narrowest it may be cut to; `None` keeps it whole.
    shrinks_to: Option<usize>,
}

impl Column {
    pub fn left(header: &str) -> Column {
        Column {
            header: header.to_owned(),
            align: Align::Left,
            shrinks_to: None,
        }
    }

    pub fn right(header: &str) -> Column {
        Column {
            align: Align::Right,
            ..Column::left(header)
        }
    }

    #[must_use]
    pub fn shrinks_to(mut self, columns: usize) -> Column {
        self.shrinks_to = Some(columns);
        self
    }
}

/// A table being filled.
#[derive(Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Line>>,
}

impl Table {
    pub fn new(columns: Vec<Column>) -> Table {
        Table {
            columns,
            rows: Vec::new(),
        }
    }

    /// Adds a row; missing cells are empty, cells beyond the last column are not shown.
    pub fn row(&mut self, cells: Vec<Line>) {
        self.rows.push(cells);
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as lines no wider than `limit`, header first.
    pub fn lines(&self, limit: usize) -> Vec<Line> {
        let widths = self.widths(limit);
        let header = self
            .columns
            .iter()
            .map(|column| Line::new().with(Tone::Dim, &column.header))
            .collect::<Vec<_>>();
        std::iter::once(&header)
            .chain(&self.rows)
            .map(|row| self.line(row, &widths).fit(limit))
            .collect()
    }

    fn widths(&self, limit: usize) -> Vec<usize> {
        let mut widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(i, column)| {
                let cells = self.rows.iter().filter_map(|row| row.get(i));
                cells
                    .map(Line::columns)
                    .chain([width::columns(&column.header)])
                    .max()
                    .unwrap_or(0)
                    .min(WIDEST_CELL)
            })
            .collect();
        let gaps = GAP * self.columns.len().saturating_sub(1);
        let mut over = (widths.iter().sum::<usize>() + gaps).saturating_sub(limit);
        // Take from the widest that may still shrink, so that columns give way evenly.
        while over > 0 {
            let widest = self
                .columns
                .iter()
                .enumerate()
                .filter(|(i, column)| column.shrinks_to.is_some_and(|least| widths[*i] > least))
                .max_by_key(|(i, _)| (widths[*i], usize::MAX - *i))
                .map(|(i, _)| i);
            let Some(widest) = widest else { break };
            widths[widest] -= 1;
            over -= 1;
        }
        widths
    }

    fn line(&self, row: &[Line], widths: &[usize]) -> Line {
        let mut out = Line::new();
        let last = self.columns.len().saturating_sub(1);
        for (i, (column, width)) in self.columns.iter().zip(widths).enumerate() {
            let cell = row.get(i).cloned().unwrap_or_default().fit(*width);
            let padding = " ".repeat(width.saturating_sub(cell.columns()));
            if column.align == Align::Right {
                out.push(Tone::Plain, &padding);
            }
            out.append(cell);
            if i < last {
                if column.align == Align::Left {
                    out.push(Tone::Plain, &padding);
                }
                out.push(Tone::Plain, " ".repeat(GAP));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(vec![
            Column::left("service").shrinks_to(6),
            Column::right("count"),
            Column::left("name").shrinks_to(4),
        ]);
        table.row(vec![
            Line::plain("order-management"),
            Line::plain("12"),
            Line::plain("CreateOrder"),
        ]);
        table.row(vec![
            Line::plain("支付"),
            Line::plain("1,003"),
            Line::plain("x"),
        ]);
        table
    }

    fn texts(limit: usize) -> Vec<String> {
        table().lines(limit).iter().map(Line::text).collect()
    }

    #[test]
    fn cells_line_up_also_with_wide_characters() {
        assert_eq!(
            texts(80),
            [
                "service           count  name",
                "order-management     12  CreateOrder",
                "支付              1,003  x",
            ]
        );
    }

    #[test]
    fn it_fits_by_cutting_what_may_be_cut() {
        assert_eq!(
            texts(25),
            [
                "service   count  name",
                "order-m…     12  CreateO…",
                "支付      1,003  x",
            ]
        );
        for limit in 0..60 {
            assert!(
                table()
                    .lines(limit)
                    .iter()
                    .all(|line| line.columns() <= limit),
                "{limit}"
            );
        }
    }

    #[test]
    fn a_hostile_cell_is_bounded() {
        let mut table = Table::new(vec![Column::left("name")]);
        table.row(vec![Line::plain("x".repeat(1_000_000))]);
        assert!(table.lines(usize::MAX)[1].columns() <= WIDEST_CELL);
    }
}
