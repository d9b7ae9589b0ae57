//! Keys bound anew by the `[keys]` table of the workbench's file: a binding's name, and one key or several.

use toml::Value;

use super::Keymap;
use crate::error::CliError;
use crate::tui::keys::Key;

impl Keymap {
    /// The keymap with the bindings of a file in the place of its own. A binding may be left without any key.
    pub fn with_file(mut self, keys: &toml::Table) -> Result<Keymap, CliError> {
        for (name, value) in keys {
            let words: Vec<&str> = match value {
                Value::String(word) => vec![word],
                Value::Array(words) => words.iter().filter_map(Value::as_str).collect(),
                _ => {
                    return Err(CliError::new(format!(
                        "keys.{name} is no key and no list of keys"
                    )));
                }
            };
            let keys = words
                .iter()
                .map(|word| {
                    Key::of_word(word).ok_or_else(|| {
                        CliError::new(format!("keys.{name}: no key {word:?}"))
                            .hint("a key is a character, ctrl- and a character, or a name such as enter, space, pgdn")
                    })
                })
                .collect::<Result<Vec<Key>, CliError>>()?;
            let names: Vec<&str> = self.bindings.iter().map(|binding| binding.name).collect();
            match self
                .bindings
                .iter_mut()
                .find(|binding| binding.name == name)
            {
                Some(binding) => binding.keys = keys,
                None => {
                    let error = CliError::new(format!("keys: nothing is called {name:?}"));
                    return Err(match case::nearest::nearest(name, names) {
                        Some(near) => error.hint(format!("did you mean {near}?")),
                        None => error.hint("`:` and tab in the workbench list the names"),
                    });
                }
            }
        }
        if let Some((key, a, b)) = self.conflict() {
            return Err(CliError::new(format!(
                "keys: {} would mean both {} and {}",
                key.word(),
                a.name,
                b.name
            )));
        }
        // Without them there would be no way out, and none to learn of another.
        for name in ["quit", "command"] {
            if self
                .named(name)
                .is_some_and(|binding| binding.keys.is_empty())
            {
                return Err(CliError::new(format!("keys: {name} needs a key")));
            }
        }
        Ok(self)
    }
}
