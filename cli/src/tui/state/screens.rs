//! The screens, what each of them is, and the list of traces.

use analyzers::engine::Report;
use case::{TraceId, Window};

use super::action::Place;
use super::books::BooksView;
use super::compare::CompareView;
use super::findings::FindingsView;
use super::logs::LogsView;
use super::sheets::{SheetView, Subject};
use super::trace::TraceView;
use crate::commands::traces::TraceSummary;

/// A screen.
#[expect(
    clippy::large_enum_variant,
    reason = "a few dozen exist at most, on the way back"
)]
pub enum Screen {
    Overview { selected: usize },
    Traces(TracesView),
    Trace(Box<TraceView>),
    Logs(LogsView),
    Sheet(SheetView),
    Findings(FindingsView),
    Compare(Box<CompareView>),
    Faults(FaultsView),
    Notes { selected: usize },
    Playbooks(BooksView),
}

/// What a list of traces is ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    #[default]
    Newest,
    Longest,
    MostErrors,
    MostSpans,
}

impl Sort {
    pub fn name(self) -> &'static str {
        match self {
            Sort::Newest => "newest first",
            Sort::Longest => "longest first",
            Sort::MostErrors => "most errors first",
            Sort::MostSpans => "most spans first",
        }
    }

    fn next(self) -> Sort {
        match self {
            Sort::Newest => Sort::Longest,
            Sort::Longest => Sort::MostErrors,
            Sort::MostErrors => Sort::MostSpans,
            Sort::MostSpans => Sort::Newest,
        }
    }
}

/// A list of traces. Without rows, they are still being read.
pub struct TracesView {
    pub filter: String,
    /// A stretch of time of its own, as evidence has.
    pub window: Option<Window>,
    pub rows: Option<Vec<TraceSummary>>,
    pub left_out: u64,
    pub selected: usize,
    pub sort: Sort,
    pub scatter: bool,
    /// What the scatter is drawn over.
    pub strip: Option<Window>,
    pub asked: u64,
}

impl TracesView {
    pub fn of(filter: String, window: Option<Window>) -> TracesView {
        TracesView {
            filter,
            window,
            rows: None,
            left_out: 0,
            selected: 0,
            sort: Sort::default(),
            scatter: true,
            strip: None,
            asked: 0,
        }
    }

    pub fn selected_row(&self) -> Option<&TraceSummary> {
        self.rows.as_ref()?.get(self.selected)
    }

    pub fn take(&mut self, mut rows: Vec<TraceSummary>, left_out: u64, strip: Option<Window>) {
        let kept = match self.selected {
            0 => None,
            _ => self.selected_row().map(|row| row.id),
        };
        order(&mut rows, self.sort);
        let place = kept.and_then(|id| rows.iter().position(|row| row.id == id));
        self.selected = place
            .unwrap_or(self.selected)
            .min(rows.len().saturating_sub(1));
        self.rows = Some(rows);
        self.left_out = left_out;
        self.strip = strip;
    }

    pub(super) fn sort_next(&mut self) {
        self.sort = self.sort.next();
        if let Some(rows) = &mut self.rows {
            order(rows, self.sort);
        }
        self.selected = 0;
    }
}

fn order(rows: &mut [TraceSummary], sort: Sort) {
    rows.sort_by(|a, b| {
        let newest = (b.start, b.id).cmp(&(a.start, a.id));
        match sort {
            Sort::Newest => newest,
            Sort::Longest => b.duration.cmp(&a.duration).then(newest),
            Sort::MostErrors => b.errors.cmp(&a.errors).then(newest),
            Sort::MostSpans => b.spans.cmp(&a.spans).then(newest),
        }
    });
}

/// A fault that the bundled shop can be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultLine {
    pub kind: String,
    pub target: String,
    pub what: String,
    /// Its id, while it is on.
    pub active: Option<String>,
}

/// The list of faults.
#[derive(Debug, Clone, Default)]
pub struct FaultsView {
    pub lines: Vec<FaultLine>,
    pub selected: usize,
}

impl FaultsView {
    pub fn selected_line(&self) -> Option<&FaultLine> {
        self.lines.get(self.selected)
    }
}

/// How long lists are that do not stand in their screens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lengths {
    pub services: usize,
    pub kept: usize,
}

impl Screen {
    pub fn place(&self) -> Place {
        match self {
            Screen::Overview { .. } => Place::Overview,
            Screen::Traces(_) => Place::Traces,
            Screen::Trace(_) => Place::Trace,
            Screen::Logs(_) => Place::Logs,
            Screen::Sheet(view) => match view.subject {
                Subject::Map => Place::Map,
                Subject::Registry => Place::Registry,
                Subject::Sagas => Place::Sagas,
            },
            Screen::Findings(_) => Place::Findings,
            Screen::Compare(_) => Place::Compare,
            Screen::Faults(_) => Place::Faults,
            Screen::Notes { .. } => Place::Notes,
            Screen::Playbooks(_) => Place::Playbooks,
        }
    }

    pub fn title(&self) -> &'static str {
        self.place().name()
    }

    pub(super) fn filter(&self) -> Option<&str> {
        match self {
            Screen::Traces(view) => Some(&view.filter),
            Screen::Logs(view) => Some(&view.filter),
            _ => None,
        }
    }

    pub(super) fn window(&self) -> Option<Window> {
        match self {
            Screen::Traces(view) => view.window,
            Screen::Logs(view) => view.window,
            _ => None,
        }
    }

    /// Whether the other shows the same thing, wherever one stands in it.
    pub(super) fn is_same(&self, other: &Screen) -> bool {
        self.place() == other.place()
            && self.filter() == other.filter()
            && self.window() == other.window()
            && self.trace() == other.trace()
    }

    fn trace(&self) -> Option<TraceId> {
        match self {
            Screen::Trace(view) => Some(view.id),
            _ => None,
        }
    }

    /// Moves the selection, within what is there.
    pub(super) fn move_by(&mut self, rows: isize, lengths: Lengths, report: Option<&Report>) {
        let within =
            |at: usize, len: usize| at.saturating_add_signed(rows).min(len.saturating_sub(1));
        match self {
            Screen::Overview { selected } => *selected = within(*selected, lengths.services),
            Screen::Notes { selected } => *selected = within(*selected, lengths.kept),
            Screen::Traces(view) => {
                view.selected = within(view.selected, view.rows.as_ref().map_or(0, Vec::len));
            }
            Screen::Trace(view) => view.move_by(rows),
            Screen::Logs(view) => view.move_by(rows),
            Screen::Sheet(view) => view.move_by(rows),
            Screen::Findings(view) => view.move_by(rows, report),
            Screen::Compare(view) => view.move_by(rows),
            Screen::Playbooks(view) => view.move_by(rows),
            Screen::Faults(view) => view.selected = within(view.selected, view.lines.len()),
        }
    }
}
