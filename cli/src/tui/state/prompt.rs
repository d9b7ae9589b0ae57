//! The line being typed: a filter, a text to search for, or a command; editing it, completing it, and doing what it says.

use case::filter::{LogFilter, SpanFilter};
use case::{Nanos, TraceId, Window};

use super::sheets::{SheetView, Subject};
use super::trace::TraceView;
use super::{Effect, Place, Screen, State, quoted_if_needed};
use crate::tui::theme;

/// What a line is typed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Filter,
    Search,
    Command,
}

/// A line being typed.
#[derive(Debug, Clone)]
pub struct Prompt {
    pub kind: Kind,
    pub text: String,
    /// Where the next character goes: a number of characters.
    pub cursor: usize,
    /// What tab would make of it.
    pub offered: Vec<String>,
    chosen: Option<usize>,
    /// The text before completion began.
    stem: String,
}

/// What can be done to a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Typed {
    Char(char),
    Text(String),
    Erase,
    EraseWord,
    Clear,
    Left,
    Right,
    Start,
    End,
    Complete,
    Cancel,
    Done,
}

/// Longest line that is taken.
const LONGEST: usize = 4_000;

/// Commands that take something, with what they take and what they do.
pub const COMMANDS: [(&str, &str, &str); 16] = [
    (
        "traces",
        "FILTER",
        "traces with a span that the filter means",
    ),
    ("logs", "FILTER", "records that the filter means"),
    ("trace", "ID", "one trace, by its id"),
    ("service", "NAME", "a service on the map"),
    ("instance", "ID", "an instance in the registry"),
    ("saga", "ID", "a saga"),
    ("order", "ID", "the saga of an order"),
    ("search", "TEXT", "the next row with a text"),
    (
        "window",
        "A..B",
        "look at a stretch of time: times, or durations before the end such as 5m..2m",
    ),
    ("baseline", "A..B", "compare with this stretch of time"),
    ("at", "TIME", "replay: to this moment, such as 10:31:07"),
    ("speed", "NUMBER", "replay so many times as fast"),
    ("note", "TEXT", "a note on what is selected"),
    (
        "export",
        "FILE",
        "what is on screen, as FILE.md or FILE.json",
    ),
    ("theme", "NAME", "dark, light, safe, mono"),
    ("fault", "KIND SERVICE", "start a fault in the bundled shop"),
];

impl Prompt {
    pub fn new(kind: Kind, text: String) -> Prompt {
        Prompt {
            kind,
            cursor: text.chars().count(),
            text,
            offered: Vec::new(),
            chosen: None,
            stem: String::new(),
        }
    }

    fn byte(&self, cursor: usize) -> usize {
        self.text
            .char_indices()
            .nth(cursor)
            .map_or(self.text.len(), |(at, _)| at)
    }

    fn insert(&mut self, text: &str) {
        let room = LONGEST.saturating_sub(self.text.chars().count());
        // A line stays one line, whatever is pasted.
        let text: String = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(room)
            .collect();
        let at = self.byte(self.cursor);
        self.text.insert_str(at, &text);
        self.cursor += text.chars().count();
    }

    fn erase_to(&mut self, from: usize) {
        let (start, end) = (self.byte(from), self.byte(self.cursor));
        self.text.replace_range(start..end, "");
        self.cursor = from;
    }

    fn edit(&mut self, typed: &Typed) {
        match typed {
            Typed::Char(c) => self.insert(c.encode_utf8(&mut [0; 4])),
            Typed::Text(text) => self.insert(text),
            Typed::Erase => self.erase_to(self.cursor.saturating_sub(1)),
            Typed::EraseWord => {
                let before: Vec<char> = self.text.chars().take(self.cursor).collect();
                let blank = |at: &usize| before[*at].is_whitespace();
                let end = (0..before.len())
                    .rev()
                    .find(|at| !blank(at))
                    .map_or(0, |at| at + 1);
                let start = (0..end).rev().find(blank).map_or(0, |at| at + 1);
                self.erase_to(start);
            }
            Typed::Clear => self.erase_to(0),
            Typed::Left => self.cursor = self.cursor.saturating_sub(1),
            Typed::Right => self.cursor = (self.cursor + 1).min(self.text.chars().count()),
            Typed::Start => self.cursor = 0,
            Typed::End => self.cursor = self.text.chars().count(),
            Typed::Complete | Typed::Cancel | Typed::Done => {}
        }
    }

    /// The beginning of the last word, which completion replaces.
    fn word_start(&self) -> usize {
        self.text.rfind([' ', '(']).map_or(0, |at| at + 1)
    }

    /// The next of what could be meant, with each press.
    fn complete(&mut self, candidates: impl FnOnce(&Prompt) -> Vec<String>) {
        if self.chosen.is_none() {
            let found = candidates(self);
            let word = self.text[self.word_start()..]
                .trim_start_matches('-')
                .to_owned();
            self.offered = found
                .into_iter()
                .filter(|candidate| candidate.starts_with(&word))
                .collect();
            self.stem = self.text[..self.text.len() - word.len()].to_owned();
        }
        if self.offered.is_empty() {
            return;
        }
        let next = self.chosen.map_or(0, |at| (at + 1) % self.offered.len());
        self.chosen = Some(next);
        self.text = format!("{}{}", self.stem, self.offered[next]);
        self.cursor = self.text.chars().count();
        // Only one way to go on: the next press looks further.
        if self.offered.len() == 1 {
            self.chosen = None;
            self.offered.clear();
        }
    }
}

impl State {
    /// Something typed into the prompt; a command's text once it is done, for who knows all commands.
    pub fn type_into_prompt(&mut self, typed: Typed) -> Option<String> {
        match typed {
            Typed::Cancel => self.prompt = None,
            Typed::Complete => {
                let mut prompt = self.prompt.take()?;
                prompt.complete(|prompt| self.candidates(prompt));
                self.prompt = Some(prompt);
            }
            Typed::Done => {
                let prompt = self.prompt.take()?;
                match prompt.kind {
                    Kind::Search => self.search(prompt.text),
                    Kind::Filter => self.filter(prompt.text),
                    Kind::Command => return Some(prompt.text),
                }
            }
            typed => {
                let prompt = self.prompt.as_mut()?;
                // Erasing the colon's whole line leaves it.
                if typed == Typed::Erase && prompt.text.is_empty() {
                    self.prompt = None;
                    return None;
                }
                prompt.edit(&typed);
                prompt.chosen = None;
                prompt.offered.clear();
            }
        }
        None
    }

    fn filter(&mut self, text: String) {
        let window = self.screen().window();
        match self.place() {
            Place::Logs => self.show_logs(text, window),
            _ => self.show_traces(text, window),
        }
    }

    /// What the last word of a line could become.
    fn candidates(&self, prompt: &Prompt) -> Vec<String> {
        let word = &prompt.text[prompt.word_start()..];
        let (of_logs, filters) = match prompt.kind {
            Kind::Search => return Vec::new(),
            Kind::Filter => (self.place() == Place::Logs, true),
            Kind::Command => {
                let command = prompt.text.split(' ').next().unwrap_or_default();
                if prompt.word_start() == 0 {
                    let names = crate::tui::keymap::names();
                    let own = COMMANDS.iter().map(|(name, _, _)| (*name).to_owned());
                    let mut all: Vec<String> = own.chain(names).collect();
                    all.sort_unstable();
                    all.dedup();
                    return all;
                }
                match command {
                    "theme" => return theme::NAMES.iter().map(|name| (*name).to_owned()).collect(),
                    "service" => return self.services(),
                    _ => {}
                }
                (command == "logs", matches!(command, "traces" | "logs"))
            }
        };
        if !filters {
            return Vec::new();
        }
        let term = word.trim_start_matches('-');
        if term.starts_with("service:") {
            let quoted = |name: String| format!("service:{}", quoted_if_needed(&name));
            return self.services().into_iter().map(quoted).collect();
        }
        let values = |key: &str, values: &[&str]| -> Vec<String> {
            values
                .iter()
                .map(|value| format!("{key}:{value}"))
                .collect()
        };
        if term.starts_with("status:") {
            return values("status", &["error", "ok", "unset"]);
        }
        if term.starts_with("kind:") {
            return values(
                "kind",
                &["server", "client", "internal", "producer", "consumer"],
            );
        }
        let keys = if of_logs {
            LogFilter::keys()
        } else {
            SpanFilter::keys()
        };
        keys.into_iter()
            .map(|(key, _)| {
                if key.ends_with('.') {
                    key.to_owned()
                } else {
                    format!("{key}:")
                }
            })
            .collect()
    }

    fn services(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .overview
            .iter()
            .flat_map(|overview| &overview.services)
            .map(|service| service.name.clone())
            .collect();
        names.sort_unstable();
        names
    }

    /// Does what a command with something behind it says; false if there is none of this name.
    pub fn run(&mut self, command: &str, rest: &str) -> bool {
        let rest = rest.trim();
        match command {
            "traces" => self.show_traces(rest.to_owned(), None),
            "logs" => self.show_logs(rest.to_owned(), None),
            "search" => self.search(rest.to_owned()),
            "note" => self.write_note(rest),
            "trace" => match rest.parse::<TraceId>() {
                Ok(id) => self.open_trace(TraceView::of(id)),
                // The beginning of an id will do where it can be told from others.
                Err(_) => self.show_traces(format!("trace:{rest}*"), None),
            },
            "service" => self.show_sheet(SheetView::at(Subject::Map, rest)),
            "instance" => self.show_sheet(SheetView::at(Subject::Registry, rest)),
            "saga" | "order" => self.show_sheet(SheetView::at(Subject::Sagas, rest)),
            "export" => self.effect(Effect::Export(rest.to_owned())),
            "theme" => self.effect(Effect::Theme(rest.to_owned())),
            "window" => match self.parsed_window(rest) {
                Ok(window) => self.look_within(window),
                Err(what) => self.say(what),
            },
            "baseline" => match self.parsed_window(rest) {
                Ok(window) => {
                    self.moment.baseline = Some(window);
                    self.ask_overview();
                    if matches!(self.screen(), Screen::Logs(_)) {
                        self.ask_screen();
                    }
                }
                Err(what) => self.say(what),
            },
            "at" => match self.parsed_time(rest) {
                Ok(at) => self.seek(at),
                Err(what) => self.say(what),
            },
            "speed" => match rest.parse::<f64>() {
                Ok(speed) if speed > 0.0 && speed.is_finite() => {
                    self.moment.speed = speed.clamp(1.0 / 64.0, 4096.0);
                    self.say(format!("replay at {}× the speed", self.moment.speed));
                }
                _ => self.say(format!("{rest:?} is no speed: a number above 0 is")),
            },
            "fault" => match rest.split_once(' ') {
                _ if !self.shop => {
                    self.say("the bundled shop does not run beside this: `casefile up` runs both")
                }
                Some((kind, target)) => {
                    let (kind, target) = (kind.to_owned(), target.trim().to_owned());
                    self.ask(crate::tui::work::Request::StartFault { kind, target });
                }
                None => self.say("fault KIND SERVICE, such as fault latency payment; ! lists them"),
            },
            _ => return false,
        }
        true
    }

    /// Durations count back from the end of what is known.
    fn now(&self) -> Nanos {
        self.head.window.map_or(Nanos(0), |window| window.until)
    }

    fn parsed_window(&self, text: &str) -> Result<Window, String> {
        let Some((from, until)) = text.split_once("..") else {
            // One duration is the last so long.
            let length = case::time::parse_duration(text).map_err(|_| {
                format!("{text:?} is no stretch of time: A..B is, or a duration such as 5m")
            })?;
            let now = self.now();
            return Ok(Window {
                from: now.saturating_sub(length),
                until: now,
            });
        };
        let side = |text: &str, open: Nanos| match text.trim() {
            "" => Ok(open),
            text => self.parsed_time(text),
        };
        let window = Window {
            from: side(from, Nanos(0))?,
            until: side(until, self.now())?,
        };
        if window.from >= window.until {
            return Err(format!("{text:?} ends before it begins"));
        }
        Ok(window)
    }

    /// A time of day on the day that is looked at, or any other way to write a time.
    fn parsed_time(&self, text: &str) -> Result<Nanos, String> {
        const DAY: u64 = 86_400_000_000_000;
        let parts: Vec<&str> = text.split(':').collect();
        if let [hours, minutes, rest @ ..] = parts.as_slice()
            && rest.len() <= 1
            && let (Ok(hours), Ok(minutes)) = (hours.parse::<u64>(), minutes.parse::<u64>())
            && let Ok(seconds) = rest
                .first()
                .map_or(Ok(0.0), |seconds| seconds.parse::<f64>())
            && hours < 24
            && minutes < 60
            && (0.0..60.0).contains(&seconds)
        {
            let now = self.now();
            let midnight = now.0 - now.0 % DAY;
            let of_day = (hours * 3600 + minutes * 60) * 1_000_000_000 + (seconds * 1e9) as u64;
            let at = midnight + of_day;
            // A case that ended just after midnight speaks of the evening before.
            let at = if at > now.0 + DAY / 2 { at - DAY } else { at };
            return Ok(Nanos(at));
        }
        case::time::parse_time(text, self.now()).map_err(|error| error.to_string())
    }
}
