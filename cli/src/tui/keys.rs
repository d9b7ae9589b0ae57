//! Keys, as far as the workbench tells them apart, and their names: in the help, in files of key bindings, and in the text
//! given to `--keys`. Where keys come from is the terminal's matter.

use crate::error::CliError;

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Key {
    Char(char),
    Ctrl(char),
    Enter,
    Escape,
    Backspace,
    Tab,
    BackTab,
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
}

/// Keys without a character of their own: how they are written, and how they are shown.
const NAMED: [(Key, &str, &str); 14] = [
    (Key::Enter, "enter", "⏎"),
    (Key::Escape, "esc", "esc"),
    (Key::Backspace, "backspace", "⌫"),
    (Key::Tab, "tab", "tab"),
    (Key::BackTab, "backtab", "shift-tab"),
    (Key::Char(' '), "space", "space"),
    (Key::Up, "up", "↑"),
    (Key::Down, "down", "↓"),
    (Key::Left, "left", "←"),
    (Key::Right, "right", "→"),
    (Key::PageUp, "pgup", "pgup"),
    (Key::PageDown, "pgdn", "pgdn"),
    (Key::Home, "home", "home"),
    (Key::End, "end", "end"),
];

impl Key {
    /// How the key is shown.
    pub fn name(self) -> String {
        if let Some((_, _, shown)) = NAMED.iter().find(|(key, _, _)| *key == self) {
            return (*shown).to_owned();
        }
        match self {
            Key::Ctrl(c) => format!("ctrl-{c}"),
            Key::Char(c) => c.to_string(),
            _ => String::new(),
        }
    }

    /// How the key is written in a file or on a command line.
    pub fn word(self) -> String {
        NAMED
            .iter()
            .find(|(key, _, _)| *key == self)
            .map_or_else(|| self.name(), |(_, word, _)| (*word).to_owned())
    }

    /// The key of a word: a name, `ctrl-x`, or a character.
    pub fn of_word(word: &str) -> Option<Key> {
        if let Some((key, _, _)) = NAMED.iter().find(|(_, name, _)| *name == word) {
            return Some(*key);
        }
        let one = |text: &str| {
            let mut chars = text.chars();
            match (chars.next(), chars.next()) {
                (Some(c), None) => Some(c),
                _ => None,
            }
        };
        match word.strip_prefix("ctrl-") {
            Some(rest) => one(rest).map(|c| Key::Ctrl(c.to_ascii_lowercase())),
            None => one(word).map(Key::Char),
        }
    }
}

/// Keys written as text: words for the keys without a character, anything else letter by letter.
pub fn keys_of(text: &str) -> Result<Vec<Key>, CliError> {
    let mut keys = Vec::new();
    for word in text.split_whitespace() {
        if let Some(key) = Key::of_word(word) {
            keys.push(key);
        } else if word.starts_with("ctrl-") {
            return Err(CliError::new(format!("no key {word:?}"))
                .hint("ctrl- is followed by one character, as in ctrl-d"));
        } else {
            keys.extend(word.chars().map(Key::Char));
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_key_is_read_back_from_its_word() {
        let others = [Key::Char('x'), Key::Char('支'), Key::Ctrl('d')];
        for key in NAMED.iter().map(|(key, _, _)| *key).chain(others) {
            assert_eq!(Key::of_word(&key.word()), Some(key));
            assert!(!key.name().is_empty());
        }
        assert_eq!(Key::of_word("nothing"), None);
    }

    #[test]
    fn text_is_pressed_letter_by_letter() {
        assert_eq!(
            keys_of("2 / ab enter ctrl-d").unwrap(),
            [
                Key::Char('2'),
                Key::Char('/'),
                Key::Char('a'),
                Key::Char('b'),
                Key::Enter,
                Key::Ctrl('d')
            ]
        );
        assert!(keys_of("ctrl-de").is_err());
    }
}
