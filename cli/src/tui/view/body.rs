//! The body of a screen while it is drawn: lines, which of them show rows that can be selected, and where time is.

use case::Window;

use crate::output::{Line, Tone};

/// Where time is drawn: lines, and the columns that stand for a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strip {
    pub top: usize,
    pub bottom: usize,
    pub left: usize,
    pub width: usize,
    pub window: Window,
}

impl Strip {
    /// The same, further down.
    pub(super) fn lower(self, lines: usize) -> Strip {
        Strip {
            top: self.top + lines,
            bottom: self.bottom + lines,
            ..self
        }
    }

    /// Where in time a column is, as a share, if the place is on the strip.
    pub fn share(&self, column: usize, line: usize) -> Option<f64> {
        let inside = (self.top..self.bottom).contains(&line)
            && (self.left..self.left + self.width).contains(&column);
        inside.then(|| (column - self.left) as f64 / self.width.max(1) as f64)
    }
}

/// What is drawn so far.
#[derive(Default)]
pub struct Body {
    pub lines: Vec<Line>,
    pub hits: Vec<Option<usize>>,
    pub selected: Option<usize>,
    pub strip: Option<Strip>,
}

impl Body {
    pub(super) fn line(&mut self, line: Line) {
        self.lines.push(line);
        self.hits.push(None);
    }

    pub(super) fn lines(&mut self, lines: impl IntoIterator<Item = Line>) {
        for line in lines {
            self.line(line);
        }
    }

    /// A line of a row; the selected one is marked, also without colour.
    pub(super) fn row(&mut self, row: usize, selected: bool, line: Line) {
        if selected {
            self.selected = Some(self.lines.len());
        }
        let mark = if selected { "▸ " } else { "  " };
        self.lines
            .push(Line::new().with(Tone::Accent, mark).joined(line));
        self.hits.push(Some(row));
    }

    /// Another line of the row before.
    pub(super) fn more(&mut self, row: usize, line: Line) {
        self.lines.push(Line::plain("  ").joined(line));
        self.hits.push(Some(row));
    }

    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// How many lines are left of so many, leaving some for what comes after; at least one.
    pub(super) fn left(&self, room: usize, kept: usize) -> usize {
        room.saturating_sub(self.len() + kept).max(1)
    }

    pub(super) fn resize(&mut self, room: usize) {
        self.lines.resize(room, Line::new());
        self.hits.resize(room, None);
        self.selected = self.selected.filter(|line| *line < room);
    }
}
