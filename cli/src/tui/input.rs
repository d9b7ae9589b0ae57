//! Keys to actions: one keymap, which also writes the help.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::state::{Action, Screen, State, Typed};
use super::work::Request;
use crate::error::CliError;

/// A key, as far as the workbench tells keys apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    Char(char),
    Ctrl(char),
    Enter,
    Escape,
    Backspace,
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
}

impl Key {
    /// The key of a terminal event; `None` for releases and keys nobody uses.
    pub fn of(event: KeyEvent) -> Option<Key> {
        if event.kind == KeyEventKind::Release {
            return None;
        }
        Some(match event.code {
            KeyCode::Char(c) if event.modifiers.contains(KeyModifiers::CONTROL) => Key::Ctrl(c),
            KeyCode::Char(c) => Key::Char(c),
            KeyCode::Enter => Key::Enter,
            KeyCode::Esc => Key::Escape,
            KeyCode::Backspace => Key::Backspace,
            KeyCode::Up => Key::Up,
            KeyCode::Down => Key::Down,
            KeyCode::PageUp => Key::PageUp,
            KeyCode::PageDown => Key::PageDown,
            KeyCode::Home => Key::Home,
            KeyCode::End => Key::End,
            _ => return None,
        })
    }

    fn name(self) -> String {
        match self {
            Key::Char(c) => c.to_string(),
            Key::Ctrl(c) => format!("ctrl-{c}"),
            Key::Enter => "⏎".to_owned(),
            Key::Escape => "esc".to_owned(),
            Key::Backspace => "⌫".to_owned(),
            Key::Up => "↑".to_owned(),
            Key::Down => "↓".to_owned(),
            Key::PageUp => "pgup".to_owned(),
            Key::PageDown => "pgdn".to_owned(),
            Key::Home => "home".to_owned(),
            Key::End => "end".to_owned(),
        }
    }
}

/// Where a binding holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Anywhere,
    Overview,
    Traces,
    Trace,
    Sheet,
}

/// Keys that do the same.
struct Binding {
    keys: &'static [Key],
    place: Place,
    action: Action,
    /// A word for the bar at the bottom; empty for what is only in the help.
    short: &'static str,
    help: &'static str,
}

const fn binding(
    keys: &'static [Key],
    place: Place,
    action: Action,
    short: &'static str,
    help: &'static str,
) -> Binding {
    Binding {
        keys,
        place,
        action,
        short,
        help,
    }
}

static KEYMAP: &[Binding] = &[
    binding(
        &[Key::Char('1')],
        Place::Anywhere,
        Action::Overview,
        "overview",
        "services of the case",
    ),
    binding(
        &[Key::Char('2')],
        Place::Anywhere,
        Action::Traces,
        "traces",
        "all traces, newest first",
    ),
    binding(
        &[Key::Char('4')],
        Place::Anywhere,
        Action::Map,
        "map",
        "who calls whom, how often, how fast, how well",
    ),
    binding(
        &[Key::Char('5')],
        Place::Anywhere,
        Action::Registry,
        "registry",
        "what the registry says of instances, beside reality",
    ),
    binding(
        &[Key::Char('6')],
        Place::Anywhere,
        Action::Sagas,
        "sagas",
        "sagas and their states",
    ),
    binding(
        &[Key::Char('7'), Key::Char('f')],
        Place::Anywhere,
        Action::Findings,
        "findings",
        "what is wrong and why",
    ),
    binding(
        &[Key::Char('/')],
        Place::Anywhere,
        Action::Filter,
        "filter",
        "traces with a span that a filter means",
    ),
    binding(
        &[Key::Enter],
        Place::Overview,
        Action::Open,
        "traces of",
        "traces of the service",
    ),
    binding(
        &[Key::Enter],
        Place::Traces,
        Action::Open,
        "open",
        "the trace as a waterfall",
    ),
    binding(
        &[Key::Enter],
        Place::Sheet,
        Action::Open,
        "open",
        "the row whole; from a saga on to its trace",
    ),
    binding(
        &[Key::Char('e')],
        Place::Trace,
        Action::NextError,
        "error",
        "next failed span",
    ),
    binding(
        &[Key::Char('E')],
        Place::Trace,
        Action::PreviousError,
        "",
        "previous failed span",
    ),
    binding(
        &[Key::Char('l')],
        Place::Trace,
        Action::Logs,
        "logs",
        "logs of the trace in place of the span",
    ),
    binding(
        &[Key::Char('j'), Key::Down],
        Place::Anywhere,
        Action::Down,
        "",
        "down",
    ),
    binding(
        &[Key::Char('k'), Key::Up],
        Place::Anywhere,
        Action::Up,
        "",
        "up",
    ),
    binding(
        &[Key::PageDown, Key::Ctrl('d')],
        Place::Anywhere,
        Action::PageDown,
        "",
        "a page down",
    ),
    binding(
        &[Key::PageUp, Key::Ctrl('u')],
        Place::Anywhere,
        Action::PageUp,
        "",
        "a page up",
    ),
    binding(
        &[Key::Char('g'), Key::Home],
        Place::Anywhere,
        Action::First,
        "",
        "to the top",
    ),
    binding(
        &[Key::Char('G'), Key::End],
        Place::Anywhere,
        Action::Last,
        "",
        "to the bottom",
    ),
    binding(
        &[Key::Char('r')],
        Place::Anywhere,
        Action::Refresh,
        "",
        "look at the case again",
    ),
    binding(
        &[Key::Escape, Key::Char('h')],
        Place::Anywhere,
        Action::Back,
        "back",
        "back to where this was opened",
    ),
    binding(
        &[Key::Char('?')],
        Place::Anywhere,
        Action::Help,
        "help",
        "this help",
    ),
    binding(
        &[Key::Char('q'), Key::Ctrl('c')],
        Place::Anywhere,
        Action::Quit,
        "quit",
        "leave",
    ),
];

fn holds(place: Place, screen: &Screen) -> bool {
    match place {
        Place::Anywhere => true,
        Place::Overview => matches!(screen, Screen::Overview { .. }),
        Place::Traces => matches!(screen, Screen::Traces(_)),
        Place::Trace => matches!(screen, Screen::Trace(_)),
        Place::Sheet => matches!(screen, Screen::Sheet(_)),
    }
}

/// Does what a key means where it is pressed.
pub fn press(state: &mut State, key: Key) -> Option<Request> {
    if state.prompt.is_some() && key != Key::Ctrl('c') {
        let typed = match key {
            Key::Char(c) => Typed::Char(c),
            Key::Backspace => Typed::Erase,
            Key::Enter => Typed::Done,
            Key::Escape => Typed::Cancel,
            _ => return None,
        };
        return state.type_into_prompt(typed);
    }
    let found = KEYMAP
        .iter()
        .find(|binding| binding.keys.contains(&key) && holds(binding.place, state.screen()));
    match found {
        Some(binding) => state.apply(binding.action.clone()),
        None if state.help => state.apply(Action::Help),
        None => None,
    }
}

/// The bar at the bottom: keys and words of what can be done here.
pub fn bar(screen: &Screen) -> Vec<(String, &'static str)> {
    KEYMAP
        .iter()
        .filter(|binding| !binding.short.is_empty() && holds(binding.place, screen))
        .map(|binding| (binding.keys[0].name(), binding.short))
        .collect()
}

/// The help: every binding, with where it holds.
pub fn help() -> Vec<(String, &'static str, &'static str)> {
    KEYMAP
        .iter()
        .map(|binding| {
            let keys: Vec<String> = binding.keys.iter().map(|key| key.name()).collect();
            let place = match binding.place {
                Place::Anywhere => "",
                Place::Overview => "overview",
                Place::Traces => "traces",
                Place::Trace => "a trace",
                Place::Sheet => "a list",
            };
            (keys.join(" "), place, binding.help)
        })
        .collect()
}

/// Keys written as text: words for the keys without a character, anything else letter by letter.
pub fn keys_of(text: &str) -> Result<Vec<Key>, CliError> {
    let mut keys = Vec::new();
    for word in text.split_whitespace() {
        match word {
            "enter" => keys.push(Key::Enter),
            "esc" => keys.push(Key::Escape),
            "backspace" => keys.push(Key::Backspace),
            "space" => keys.push(Key::Char(' ')),
            "up" => keys.push(Key::Up),
            "down" => keys.push(Key::Down),
            "pgup" => keys.push(Key::PageUp),
            "pgdn" => keys.push(Key::PageDown),
            "home" => keys.push(Key::Home),
            "end" => keys.push(Key::End),
            word => match word
                .strip_prefix("ctrl-")
                .map(|rest| rest.chars().collect::<Vec<_>>())
            {
                Some(rest) => match rest.as_slice() {
                    [c] => keys.push(Key::Ctrl(*c)),
                    _ => return Err(CliError::new(format!("no key {word:?}"))),
                },
                None => keys.extend(word.chars().map(Key::Char)),
            },
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn no_key_means_two_things_in_one_place() {
        for (i, a) in KEYMAP.iter().enumerate() {
            for b in &KEYMAP[i + 1..] {
                let same_place =
                    a.place == b.place || a.place == Place::Anywhere || b.place == Place::Anywhere;
                let shared = a.keys.iter().any(|key| b.keys.contains(key));
                assert!(!(same_place && shared), "{} and {}", a.help, b.help);
            }
        }
    }

    #[test]
    fn keys_are_read_from_text() {
        assert_eq!(
            keys_of("j enter /pay esc ctrl-c").unwrap(),
            [
                Key::Char('j'),
                Key::Enter,
                Key::Char('/'),
                Key::Char('p'),
                Key::Char('a'),
                Key::Char('y'),
                Key::Escape,
                Key::Ctrl('c')
            ]
        );
        assert!(keys_of("ctrl-xx").is_err());
    }
}
