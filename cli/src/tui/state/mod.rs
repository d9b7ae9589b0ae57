//! What the workbench shows and how actions change it. No terminal, no clock, no file: actions and answers come in,
//! requests go out.

mod screens;
mod sheets;

use analyzers::engine::Report;
use analyzers::red::Overview;
use case::{TraceId, Window};

pub use screens::{Loaded, Screen, TraceView, TracesView};
pub use sheets::{Content, SheetView, Subject, listed};

use super::work::{Answer, Request};

/// What there is to know of the case itself.
#[derive(Debug, Clone, Default)]
pub struct Head {
    pub live: bool,
    pub sealed: bool,
    pub window: Option<Window>,
    pub spans: u64,
    pub logs: u64,
}

/// What a key can mean. Which key means which stands in `input`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    Open,
    Back,
    Quit,
    Overview,
    Traces,
    Map,
    Registry,
    Sagas,
    Findings,
    Filter,
    NextError,
    PreviousError,
    Logs,
    Refresh,
    Help,
}

/// A line being typed.
#[derive(Debug, Clone, Default)]
pub struct Prompt {
    pub text: String,
}

/// Everything the view needs.
pub struct State {
    pub name: String,
    pub head: Head,
    pub overview: Option<Overview>,
    pub report: Option<Report>,
    /// The screens opened one from the other; the last is seen.
    screens: Vec<Screen>,
    pub prompt: Option<Prompt>,
    pub message: Option<String>,
    pub help: bool,
    pub refreshing: bool,
    pub color: bool,
    pub quit: bool,
}

/// Rows a page key moves by.
const PAGE: usize = 10;

impl State {
    pub fn new(name: String) -> State {
        State {
            name,
            head: Head::default(),
            overview: None,
            report: None,
            screens: vec![Screen::Overview { selected: 0 }],
            prompt: None,
            message: None,
            help: false,
            refreshing: false,
            color: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            quit: false,
        }
    }

    pub fn live(&self) -> bool {
        self.head.live
    }

    pub fn screen(&self) -> &Screen {
        // There is always one: the first is never closed.
        self.screens
            .last()
            .unwrap_or(&Screen::Overview { selected: 0 })
    }

    fn screen_mut(&mut self) -> Option<&mut Screen> {
        self.screens.last_mut()
    }

    /// Does what an action asks; what has to be read from the case comes out as a request.
    pub fn apply(&mut self, action: Action) -> Option<Request> {
        self.message = None;
        if self.help {
            self.help = false;
            return None;
        }
        match action {
            Action::Up => self.move_by(-1),
            Action::Down => self.move_by(1),
            Action::PageUp => self.move_by(-(PAGE as isize)),
            Action::PageDown => self.move_by(PAGE as isize),
            Action::First => self.move_by(isize::MIN),
            Action::Last => self.move_by(isize::MAX),
            Action::Quit => self.quit = true,
            Action::Help => self.help = true,
            Action::Back => {
                let closed = match self.screen_mut() {
                    Some(Screen::Sheet(view)) => view.close(),
                    _ => false,
                };
                if !closed && self.screens.len() > 1 {
                    self.screens.pop();
                }
            }
            Action::Overview => self.screens.truncate(1),
            Action::Findings => {
                self.screens.truncate(1);
                self.screens.push(Screen::Findings { scroll: 0 });
            }
            Action::Traces => return self.show_traces(String::new()),
            Action::Map => return self.show_sheet(Subject::Map),
            Action::Registry => return self.show_sheet(Subject::Registry),
            Action::Sagas => return self.show_sheet(Subject::Sagas),
            Action::Filter => {
                let text = match self.screen() {
                    Screen::Traces(view) => view.filter.clone(),
                    _ => String::new(),
                };
                self.prompt = Some(Prompt { text });
            }
            Action::Open => return self.open(),
            Action::NextError => self.go_to_error(true),
            Action::PreviousError => self.go_to_error(false),
            Action::Logs => {
                if let Some(Screen::Trace(view)) = self.screen_mut() {
                    view.show_logs = !view.show_logs;
                }
            }
            Action::Refresh => {
                return Some(match self.screen() {
                    Screen::Traces(view) => Request::Traces {
                        filter: view.filter.clone(),
                    },
                    Screen::Sheet(view) => Request::Sheet {
                        subject: view.subject.clone(),
                    },
                    _ => Request::Overview,
                });
            }
        }
        None
    }

    /// A character typed into the prompt, or its end.
    pub fn type_into_prompt(&mut self, typed: Typed) -> Option<Request> {
        match typed {
            Typed::Char(c) => {
                if let Some(prompt) = &mut self.prompt {
                    prompt.text.push(c);
                }
                None
            }
            Typed::Erase => {
                if let Some(prompt) = &mut self.prompt {
                    prompt.text.pop();
                }
                None
            }
            Typed::Cancel => {
                self.prompt = None;
                None
            }
            Typed::Done => {
                let prompt = self.prompt.take()?;
                self.show_traces(prompt.text)
            }
        }
    }

    fn show_traces(&mut self, filter: String) -> Option<Request> {
        self.screens.truncate(1);
        self.screens
            .push(Screen::Traces(TracesView::of(filter.clone())));
        Some(Request::Traces { filter })
    }

    fn show_sheet(&mut self, subject: Subject) -> Option<Request> {
        self.screens.truncate(1);
        self.screens
            .push(Screen::Sheet(SheetView::of(subject.clone())));
        Some(Request::Sheet { subject })
    }

    fn open(&mut self) -> Option<Request> {
        if let Some(Screen::Sheet(view)) = self.screen_mut() {
            if view.open() {
                return None;
            }
            let id = view.trace()?;
            return self.open_trace(id);
        }
        match self.screen() {
            Screen::Overview { selected } => {
                let service = self.overview.as_ref()?.services.get(*selected)?;
                let filter = format!("service:{}", quoted_if_needed(&service.name));
                self.screens
                    .push(Screen::Traces(TracesView::of(filter.clone())));
                Some(Request::Traces { filter })
            }
            Screen::Traces(view) => {
                let id = view.rows.as_ref()?.get(view.selected)?.id;
                self.open_trace(id)
            }
            Screen::Trace(_) | Screen::Findings { .. } | Screen::Sheet(_) => None,
        }
    }

    fn open_trace(&mut self, id: TraceId) -> Option<Request> {
        self.screens.push(Screen::Trace(TraceView::of(id)));
        Some(Request::Trace { id })
    }

    fn move_by(&mut self, rows: isize) {
        let services = self
            .overview
            .as_ref()
            .map_or(0, |overview| overview.services.len());
        if let Some(screen) = self.screen_mut() {
            screen.move_by(rows, services);
        }
    }

    fn go_to_error(&mut self, forward: bool) {
        let found = match self.screen_mut() {
            Some(Screen::Trace(view)) => view.go_to_error(forward),
            _ => return,
        };
        if !found {
            self.message = Some(
                if forward {
                    "no failed span below"
                } else {
                    "no failed span above"
                }
                .to_owned(),
            );
        }
    }

    /// Takes in what the worker found. Answers to questions nobody asks any more are dropped.
    pub fn take(&mut self, answer: Answer) {
        match answer {
            Answer::Overview {
                head,
                overview,
                report,
            } => {
                self.head = head;
                self.overview = Some(overview);
                self.report = Some(report);
                self.refreshing = false;
                self.move_by(0);
            }
            Answer::Traces {
                filter,
                rows,
                left_out,
            } => {
                let view = self
                    .screens
                    .iter_mut()
                    .rev()
                    .find_map(|screen| match screen {
                        Screen::Traces(view) if view.filter == filter => Some(view),
                        _ => None,
                    });
                if let Some(view) = view {
                    view.selected = view.selected.min(rows.len().saturating_sub(1));
                    view.rows = Some(rows);
                    view.left_out = left_out;
                }
            }
            Answer::Trace { id, loaded } => {
                let view = self
                    .screens
                    .iter_mut()
                    .rev()
                    .find_map(|screen| match screen {
                        Screen::Trace(view) if view.id == id => Some(view),
                        _ => None,
                    });
                if let Some(view) = view {
                    view.loaded = Some(loaded);
                }
            }
            Answer::Sheet { subject, content } => {
                let view = self
                    .screens
                    .iter_mut()
                    .rev()
                    .find_map(|screen| match screen {
                        Screen::Sheet(view) if view.subject == subject => Some(view),
                        _ => None,
                    });
                if let Some(view) = view {
                    view.content = Some(content);
                    view.move_by(0);
                }
            }
            Answer::Failed { what } => {
                self.refreshing = false;
                self.message = Some(what);
                // A list that will never be filled says so instead of promising.
                if let Some(Screen::Traces(view)) = self.screen_mut()
                    && view.rows.is_none()
                {
                    view.rows = Some(Vec::new());
                }
            }
        }
    }
}

/// What can be done to a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typed {
    Char(char),
    Erase,
    Cancel,
    Done,
}

fn quoted_if_needed(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if !name.is_empty() && name.bytes().all(plain) {
        name.to_owned()
    } else {
        case::filter::quote(name)
    }
}

#[cfg(test)]
mod tests;
