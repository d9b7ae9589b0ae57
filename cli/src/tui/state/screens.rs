//! The screens and where one stands in them.

use case::TraceId;
use case::model::{LogRecord, StatusCode};

use super::sheets::SheetView;
use crate::commands::traces::TraceSummary;
use crate::render::waterfall::Waterfall;

/// A screen.
pub enum Screen {
    Overview { selected: usize },
    Traces(TracesView),
    Trace(TraceView),
    Sheet(SheetView),
    Findings { scroll: usize },
}

/// A list of traces. Without rows, they are still being read.
pub struct TracesView {
    pub filter: String,
    pub rows: Option<Vec<TraceSummary>>,
    pub left_out: u64,
    pub selected: usize,
}

/// One trace. Without content, it is still being read.
pub struct TraceView {
    pub id: TraceId,
    pub loaded: Option<Loaded>,
    pub selected: usize,
    pub show_logs: bool,
}

/// A trace with its logs, ready to be drawn.
pub struct Loaded {
    pub waterfall: Waterfall,
    pub logs: Vec<LogRecord>,
}

impl TracesView {
    pub fn of(filter: String) -> TracesView {
        TracesView {
            filter,
            rows: None,
            left_out: 0,
            selected: 0,
        }
    }
}

impl TraceView {
    pub fn of(id: TraceId) -> TraceView {
        TraceView {
            id,
            loaded: None,
            selected: 0,
            show_logs: false,
        }
    }

    /// Selects the next failed span in a direction; false if there is none.
    pub fn go_to_error(&mut self, forward: bool) -> bool {
        let Some(loaded) = &self.loaded else {
            return false;
        };
        let placed = loaded.waterfall.placed();
        let failed =
            |row: &usize| loaded.waterfall.span(placed[*row].span).status == StatusCode::Error;
        let found = if forward {
            (self.selected + 1..placed.len()).find(failed)
        } else {
            (0..self.selected.min(placed.len())).rev().find(failed)
        };
        if let Some(row) = found {
            self.selected = row;
        }
        found.is_some()
    }
}

impl Screen {
    /// Moves the selection, within what is there.
    pub fn move_by(&mut self, rows: isize, services: usize) {
        let within = |at: usize, rows: isize, len: usize| {
            at.saturating_add_signed(rows).min(len.saturating_sub(1))
        };
        match self {
            Screen::Overview { selected } => *selected = within(*selected, rows, services),
            Screen::Traces(view) => {
                view.selected = within(view.selected, rows, view.rows.as_ref().map_or(0, Vec::len));
            }
            Screen::Trace(view) => {
                let len = view
                    .loaded
                    .as_ref()
                    .map_or(0, |loaded| loaded.waterfall.placed().len());
                view.selected = within(view.selected, rows, len);
            }
            Screen::Sheet(view) => view.move_by(rows),
            // Its length depends on the width it is drawn in; the view stops at the end.
            Screen::Findings { scroll } => *scroll = scroll.saturating_add_signed(rows).min(10_000),
        }
    }
}
