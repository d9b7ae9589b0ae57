//! What the workbench shows and how actions change it. No terminal, no clock, no file: actions and answers come in,
//! effects go out.
//!
//! Here is the state itself and how it moves from screen to screen. What single screens hold stands in files of their
//! own, as do time, the line being typed, what answers do, and what is kept of an investigation.

mod action;
mod ask;
mod books;
mod compare;
mod evidence;
mod findings;
mod keep;
mod logs;
mod open;
mod prompt;
mod saved;
mod screens;
mod search;
mod sheets;
mod take;
mod time;
mod trace;

use std::collections::BTreeSet;
use std::sync::Arc;

use analyzers::engine::Report;
use analyzers::red::{Overview, Service};
use case::{TraceId, Window};

pub use action::{Action, Place};
pub use books::{BookLine, BooksView, Walk};
pub use compare::CompareView;
pub use findings::{FindingsView, Part};
pub use keep::{Kept, Notebook};
pub use logs::{LogItem, LogsFound, LogsView};
pub use prompt::{COMMANDS, Kind, Prompt, Typed};
pub use saved::Saved;
pub use screens::{FaultLine, FaultsView, Screen, Sort, TracesView};
pub use sheets::{Content, SheetView, Subject, listed};
pub use time::{Moment, SLOTS};
pub use trace::{Loaded, LogMode, Near, Row, TraceView};

use super::theme;
use super::work::{Ask, Request};

/// What there is to know of the case itself.
#[derive(Debug, Clone, Default)]
pub struct Head {
    pub live: bool,
    pub sealed: bool,
    pub window: Option<Window>,
    pub spans: u64,
    pub logs: u64,
}

/// Something to be done outside.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    Ask(Ask),
    /// Slow work is no longer wanted.
    Cancel,
    Copy(String),
    /// Write the screen to a file of this name, in the form its ending says.
    Export(String),
    Suspend,
    Redraw,
    Theme(String),
}

/// How slow work is getting on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Busy {
    pub what: &'static str,
    pub rows: u64,
    pub of: Option<u64>,
}

/// Services of a better time, to compare with.
#[derive(Debug, Clone)]
pub struct Baseline {
    pub window: Window,
    pub services: Vec<Service>,
}

/// Everything the view needs.
pub struct State {
    pub name: String,
    pub head: Head,
    pub overview: Option<Overview>,
    /// Whether the overview is of all there is, or of the newest part until the rest is read.
    pub partial: bool,
    pub baseline: Option<Baseline>,
    pub report: Option<Arc<Report>>,
    /// The screens opened one from the other; the last is seen.
    trail: Vec<Screen>,
    /// Those gone back from.
    ahead: Vec<Screen>,
    pub prompt: Option<Prompt>,
    pub message: Option<String>,
    /// How far the help is scrolled, while it is seen.
    pub help: Option<usize>,
    pub moment: Moment,
    /// The text that was searched for last.
    pub sought: String,
    pub marked: Vec<TraceId>,
    pub pinned: BTreeSet<TraceId>,
    pub notebook: Notebook,
    /// The trace that was opened last, and the services it went through: the map lights up its path.
    pub lit: Option<trace::Path>,
    pub busy: Option<Busy>,
    pub diagnosing: bool,
    /// Whether the bundled shop runs beside this and may be broken.
    pub shop: bool,
    /// Lines of the screen, for page keys.
    pub height: usize,
    pub theme: String,
    pub quit: bool,
    pub(super) overview_asked: Option<u64>,
    pub(super) report_asked: Option<u64>,
    serial: u64,
    effects: Vec<Effect>,
}

impl State {
    pub fn new(name: String) -> State {
        State {
            name,
            head: Head::default(),
            overview: None,
            partial: false,
            baseline: None,
            report: None,
            trail: vec![Screen::Overview { selected: 0 }],
            ahead: Vec::new(),
            prompt: None,
            message: None,
            help: None,
            moment: Moment::default(),
            sought: String::new(),
            marked: Vec::new(),
            pinned: BTreeSet::new(),
            notebook: Notebook::default(),
            lit: None,
            busy: None,
            diagnosing: false,
            shop: false,
            height: 24,
            theme: theme::DEFAULT.to_owned(),
            quit: false,
            overview_asked: None,
            report_asked: None,
            serial: 0,
            effects: Vec::new(),
        }
    }

    pub fn screen(&self) -> &Screen {
        // There is always one: the first is never closed.
        self.trail
            .last()
            .unwrap_or(&Screen::Overview { selected: 0 })
    }

    pub(super) fn screen_mut(&mut self) -> Option<&mut Screen> {
        self.trail.last_mut()
    }

    pub fn place(&self) -> Place {
        self.screen().place()
    }

    /// What is to be done outside, in order.
    pub fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    pub(super) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub fn say(&mut self, what: impl Into<String>) {
        self.message = Some(what.into());
    }

    /// Does what an action asks.
    pub fn apply(&mut self, action: Action) {
        self.message = None;
        if let Some(scroll) = &mut self.help {
            let step = |by: usize| (by, self.height.saturating_sub(4).max(1));
            match action {
                Action::Down => *scroll += step(1).0,
                Action::Up => *scroll = scroll.saturating_sub(1),
                Action::PageDown => *scroll += step(1).1,
                Action::PageUp => *scroll = scroll.saturating_sub(step(1).1),
                Action::First => *scroll = 0,
                Action::Last => *scroll = usize::MAX / 2,
                _ => self.help = None,
            }
            return;
        }
        let page = isize::try_from(self.height.saturating_sub(8).max(4)).unwrap_or(10);
        match action {
            Action::Up => self.move_by(-1),
            Action::Down => self.move_by(1),
            Action::PageUp => self.move_by(-page),
            Action::PageDown => self.move_by(page),
            Action::First => self.move_by(isize::MIN),
            Action::Last => self.move_by(isize::MAX),
            Action::Quit => self.quit = true,
            Action::Help => self.help = Some(0),
            Action::Back => self.back(),
            Action::Forward => self.forward(),
            Action::Overview => self.go_home(),
            Action::Findings => self.show(Screen::Findings(FindingsView::default())),
            Action::Traces => self.show_traces(String::new(), None),
            Action::Logs => self.show_logs(String::new(), None),
            Action::Map => self.show_sheet(SheetView::of(Subject::Map)),
            Action::Registry => self.show_sheet(SheetView::of(Subject::Registry)),
            Action::Sagas => self.show_sheet(SheetView::of(Subject::Sagas)),
            Action::Playbooks => {
                self.show(Screen::Playbooks(BooksView::default()));
                self.ask_screen();
            }
            Action::Notes => self.show(Screen::Notes { selected: 0 }),
            Action::Faults => self.show_faults(),
            Action::Filter => {
                let text = self.screen().filter().unwrap_or_default().to_owned();
                self.prompt = Some(Prompt::new(Kind::Filter, text));
            }
            Action::Search => self.prompt = Some(Prompt::new(Kind::Search, String::new())),
            Action::Command => self.prompt = Some(Prompt::new(Kind::Command, String::new())),
            Action::AskWindow => self.prompt_command("window "),
            Action::AskNote => self.prompt_command("note "),
            Action::AskExport => {
                let name = format!("export casefile-{}.md", self.screen().title());
                self.prompt_command(&name);
            }
            Action::NextMatch => self.go_to_match(true),
            Action::PreviousMatch => self.go_to_match(false),
            Action::Open => self.open(),
            Action::Refresh => {
                self.ask_all();
            }
            Action::Cancel => self.effect(Effect::Cancel),
            Action::Suspend => self.effect(Effect::Suspend),
            Action::Redraw => self.effect(Effect::Redraw),
            Action::NextTheme => {
                let next = theme::after(&self.theme);
                self.effect(Effect::Theme(next));
            }
            Action::Copy => self.copy(),
            Action::Mark => self.mark(),
            Action::Compare => self.compare(),
            Action::Pin => self.pin(),
            Action::CursorLeft
            | Action::CursorRight
            | Action::Brush
            | Action::WholeTime
            | Action::Play
            | Action::Step
            | Action::StepBack
            | Action::Slower
            | Action::Faster => self.apply_time(action),
            Action::Acknowledge => self.acknowledge(),
            other => self.apply_to_screen(other),
        }
    }

    /// Actions that only the screen in front understands.
    fn apply_to_screen(&mut self, action: Action) {
        let mut asks = Vec::new();
        let mut said = None;
        match self.trail.last_mut() {
            Some(Screen::Trace(view)) => said = view.apply(action, &mut asks),
            Some(Screen::Logs(view)) => match action {
                Action::FilterIn | Action::FilterOut => {
                    if let Some(filter) = view.like_selected(action == Action::FilterOut) {
                        let window = view.window;
                        return self.show_logs(filter, window);
                    }
                }
                other => view.apply(other),
            },
            Some(Screen::Traces(view)) => match action {
                Action::Sort => view.sort_next(),
                Action::Scatter => view.scatter = !view.scatter,
                _ => {}
            },
            Some(Screen::Findings(view)) => view.apply(action, self.report.as_deref()),
            Some(Screen::Compare(view)) => view.apply(action),
            Some(Screen::Sheet(view)) => match action {
                Action::Light => view.lit = !view.lit,
                Action::Layout => view.drawn = !view.drawn,
                _ => {}
            },
            _ => {}
        }
        self.message = said;
        for request in asks {
            self.ask(request);
        }
    }

    fn prompt_command(&mut self, text: &str) {
        self.prompt = Some(Prompt::new(Kind::Command, text.to_owned()));
    }

    // From screen to screen.

    fn back(&mut self) {
        if self.moment.brush.take().is_some() {
            return;
        }
        let closed = match self.trail.last_mut() {
            Some(Screen::Sheet(view)) => view.close(),
            Some(Screen::Findings(view)) => view.close(),
            Some(Screen::Playbooks(view)) => view.walk.take().is_some(),
            _ => false,
        };
        if !closed
            && self.trail.len() > 1
            && let Some(screen) = self.trail.pop()
        {
            self.ahead.push(screen);
            self.move_by(0);
            if self.is_empty_screen() {
                self.ask_screen();
            }
        }
    }

    fn forward(&mut self) {
        match self.ahead.pop() {
            Some(screen) => {
                self.trail.push(screen);
                if self.is_empty_screen() {
                    self.ask_screen();
                }
            }
            None => self.say("nothing was gone back from"),
        }
    }

    /// To a view by its number: everything opened above it is left, but can be gone back to.
    pub(super) fn show(&mut self, screen: Screen) {
        if self.trail.len() >= MOST_SCREENS {
            self.trail.remove(1);
        }
        // Pressing a view's key again is no new step.
        if self.trail.len() > 1 && self.trail.last().is_some_and(|last| last.is_same(&screen)) {
            self.trail.pop();
        }
        self.ahead.clear();
        self.trail.push(screen);
    }

    fn go_home(&mut self) {
        let selected = match self.trail.first() {
            Some(Screen::Overview { selected }) => *selected,
            _ => 0,
        };
        if self.trail.len() > 1 {
            self.show(Screen::Overview { selected });
        }
        self.move_by(0);
    }

    pub(super) fn show_traces(&mut self, filter: String, window: Option<Window>) {
        self.show(Screen::Traces(TracesView::of(filter, window)));
        self.ask_screen();
    }

    pub(super) fn show_logs(&mut self, filter: String, window: Option<Window>) {
        let patterns = matches!(self.screen(), Screen::Logs(view) if view.patterns);
        let mut view = LogsView::of(filter, window);
        view.patterns = patterns;
        self.show(Screen::Logs(view));
        self.ask_screen();
    }

    pub(super) fn show_sheet(&mut self, view: SheetView) {
        self.show(Screen::Sheet(view));
        self.ask_screen();
    }

    pub(super) fn open_trace(&mut self, view: TraceView) {
        self.show(Screen::Trace(Box::new(view)));
        self.ask_screen();
    }

    fn show_faults(&mut self) {
        if !self.shop {
            self.say("the bundled shop does not run beside this: `casefile up` runs both");
            return;
        }
        self.show(Screen::Faults(FaultsView::default()));
        self.ask(Request::Faults);
    }

    /// Selects a row, as a click does; opens it if it is selected already.
    pub fn pick(&mut self, row: usize) {
        let at = self.selected();
        if at == Some(row) {
            return self.open();
        }
        if let Some(at) = at {
            let by = row as isize - at as isize;
            self.move_by(by);
        }
    }

    /// The number of the row that is selected.
    pub fn selected(&self) -> Option<usize> {
        match self.screen() {
            Screen::Overview { selected } | Screen::Notes { selected } => Some(*selected),
            Screen::Traces(view) => Some(view.selected),
            Screen::Trace(view) => Some(view.selected),
            Screen::Logs(view) => Some(view.selected),
            Screen::Sheet(view) => view.opened.is_none().then_some(view.selected),
            Screen::Findings(view) => Some(view.at()),
            Screen::Compare(view) => Some(view.selected),
            Screen::Faults(view) => Some(view.selected),
            Screen::Playbooks(view) => view.walk.is_none().then_some(view.selected),
        }
    }

    pub(super) fn move_by(&mut self, rows: isize) {
        let lengths = screens::Lengths {
            services: self
                .overview
                .as_ref()
                .map_or(0, |overview| overview.services.len()),
            kept: match self.screen() {
                Screen::Notes { .. } => self.kept().len(),
                _ => 0,
            },
        };
        let report = self.report.clone();
        if let Some(screen) = self.trail.last_mut() {
            screen.move_by(rows, lengths, report.as_deref());
        }
    }

    fn mark(&mut self) {
        let id = match self.screen() {
            Screen::Trace(view) => Some(view.id),
            Screen::Traces(view) => view.selected_row().map(|row| row.id),
            _ => None,
        };
        let Some(id) = id else { return };
        if let Some(at) = self.marked.iter().position(|marked| *marked == id) {
            self.marked.remove(at);
            return self.say("no longer marked");
        }
        if self.marked.len() == 2 {
            self.marked.remove(0);
        }
        self.marked.push(id);
        self.say(match self.marked.len() {
            1 => "marked; mark another, then = compares them",
            _ => "marked; = compares the two",
        });
    }

    fn compare(&mut self) {
        let [a, b] = self.marked[..] else {
            return self.say("mark two traces first, with m");
        };
        self.show(Screen::Compare(Box::new(CompareView::of(a, b))));
        self.ask_screen();
    }
}

/// Steps of the trail that are remembered.
const MOST_SCREENS: usize = 60;

pub(super) fn quoted_if_needed(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if !name.is_empty() && name.bytes().all(plain) {
        name.to_owned()
    } else {
        case::filter::quote(name)
    }
}

#[cfg(test)]
mod tests;
