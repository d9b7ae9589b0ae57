//! What a key, a paste or a mouse means where it comes: an action for the state, from the one keymap.

use super::keymap::Keymap;
use super::keys::Key;
use super::state::{Action, State, Typed};
use super::view::Drawn;

/// Does what a key means where it is pressed.
pub fn press(state: &mut State, keymap: &Keymap, key: Key) {
    if state.prompt.is_some() {
        if key == Key::Ctrl('c') {
            state.type_into_prompt(Typed::Cancel);
            return;
        }
        let Some(typed) = typed(key) else { return };
        if let Some(command) = state.type_into_prompt(typed) {
            run(state, keymap, &command);
        }
        return;
    }
    match keymap.find(key, state.place()) {
        Some(binding) => {
            let action = binding.action;
            state.apply(action);
        }
        // Any key closes the help.
        None if state.help.is_some() => state.apply(Action::Help),
        None => {}
    }
}

fn typed(key: Key) -> Option<Typed> {
    Some(match key {
        Key::Char(c) => Typed::Char(c),
        Key::Backspace => Typed::Erase,
        Key::Enter => Typed::Done,
        Key::Escape => Typed::Cancel,
        Key::Tab => Typed::Complete,
        Key::Left => Typed::Left,
        Key::Right => Typed::Right,
        Key::Home | Key::Ctrl('a') => Typed::Start,
        Key::End | Key::Ctrl('e') => Typed::End,
        Key::Ctrl('u') => Typed::Clear,
        Key::Ctrl('w') => Typed::EraseWord,
        _ => return None,
    })
}

/// Runs a line of the command line: a command of its own, or the name of any binding.
pub fn run(state: &mut State, keymap: &Keymap, line: &str) {
    let line = line.trim();
    if line.is_empty() {
        return;
    }
    let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
    if !rest.trim().is_empty() && state.run(name, rest) {
        return;
    }
    let known = |name: &str| {
        super::state::COMMANDS
            .iter()
            .any(|(known, _, _)| *known == name)
    };
    match keymap.named(name) {
        Some(_) if !rest.trim().is_empty() => state.say(format!("{name} takes nothing behind it")),
        Some(binding) if binding.holds(state.place()) => {
            let action = binding.action;
            state.apply(action);
        }
        Some(binding) => {
            let places: Vec<&str> = binding.places.iter().map(|place| place.name()).collect();
            state.say(format!("{name} is for {}", places.join(", ")));
        }
        None if known(name) => state.say(format!("{name} needs something behind it; ? says what")),
        None => {
            let own = super::state::COMMANDS.iter().map(|(name, _, _)| *name);
            let all = own.chain(keymap.bindings().iter().map(|binding| binding.name));
            state.say(match case::nearest::nearest(name, all) {
                Some(near) => format!("no command {name:?}; did you mean {near}?"),
                None => format!("no command {name:?}; tab lists them"),
            });
        }
    }
}

/// A text pasted: into the line being typed, else it is nothing that keys mean.
pub fn paste(state: &mut State, text: &str) {
    if state.prompt.is_some() {
        state.type_into_prompt(Typed::Text(text.to_owned()));
    } else {
        state.say("pasted text goes into a line being typed: : or / begins one");
    }
}

/// What a mouse did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mouse {
    Down,
    Drag,
    Up,
    WheelUp,
    WheelDown,
}

/// What is remembered of a mouse between two of its events.
#[derive(Debug, Default)]
pub struct Pressed {
    /// Where a drag over the strip of time began, as a share of it.
    from: Option<f64>,
}

/// Lines a wheel moves by.
const WHEEL: isize = 3;

/// Does what a mouse means on what is drawn.
pub fn mouse(
    state: &mut State,
    keymap: &Keymap,
    pressed: &mut Pressed,
    drawn: &Drawn,
    what: Mouse,
    (column, line): (usize, usize),
) {
    let share = drawn.strip.and_then(|strip| strip.share(column, line));
    match what {
        Mouse::WheelUp | Mouse::WheelDown => {
            let action = if what == Mouse::WheelUp {
                Action::Up
            } else {
                Action::Down
            };
            for _ in 0..WHEEL {
                state.apply(action);
            }
        }
        Mouse::Down if state.help.is_some() => state.help = None,
        Mouse::Down => {
            pressed.from = share;
            if let Some(share) = share {
                state.drag(share, share, false);
            } else if line + 1 == drawn.lines.len() {
                let key = drawn
                    .keys
                    .iter()
                    .find(|(columns, _)| columns.contains(&column));
                if let Some((_, key)) = key {
                    press(state, keymap, *key);
                }
            } else if let Some(Some(row)) = drawn.hits.get(line) {
                state.message = None;
                state.pick(*row);
            }
        }
        Mouse::Drag => {
            if let (Some(from), Some(to)) = (pressed.from, share) {
                state.drag(from, to, false);
            }
        }
        Mouse::Up => {
            if let Some(from) = pressed.from.take() {
                state.drag(from, share.unwrap_or(from), true);
            }
        }
    }
}

#[cfg(test)]
mod tests;
