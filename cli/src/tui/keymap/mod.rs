//! The one keymap: what each key means in each view. Input, the bar at the bottom, the help and the command line all come
//! from it. Doing what is meant is the state's matter; the bindings themselves stand in `table`.

mod file;
mod table;

use super::keys::Key;
use super::state::{Action, Place};

/// Keys that do the same.
#[derive(Debug, Clone)]
pub struct Binding {
    /// What it is called in a file of bindings, and as a command.
    pub name: &'static str,
    pub keys: Vec<Key>,
    /// Where it holds; everywhere if there is none.
    pub places: &'static [Place],
    pub action: Action,
    /// A word for the bar at the bottom; empty for what is only in the help.
    pub short: &'static str,
    pub help: &'static str,
}

impl Binding {
    pub fn holds(&self, place: Place) -> bool {
        self.places.is_empty() || self.places.contains(&place)
    }

    fn overlaps(&self, other: &Binding) -> bool {
        self.places.is_empty()
            || other.places.is_empty()
            || self.places.iter().any(|place| other.places.contains(place))
    }

    /// The keys, as they are shown.
    pub fn shown(&self) -> String {
        let keys: Vec<String> = self.keys.iter().map(|key| key.name()).collect();
        keys.join(" ")
    }
}

/// What every key means.
#[derive(Debug, Clone)]
pub struct Keymap {
    bindings: Vec<Binding>,
}

impl Default for Keymap {
    fn default() -> Keymap {
        Keymap {
            bindings: table::bindings(),
        }
    }
}

impl Keymap {
    /// What a key means in a place. A binding of the place goes before one that holds everywhere.
    pub fn find(&self, key: Key, place: Place) -> Option<&Binding> {
        let meant = |binding: &&Binding| binding.keys.contains(&key) && binding.holds(place);
        self.bindings.iter().find(meant)
    }

    /// What a name means, for the command line.
    pub fn named(&self, name: &str) -> Option<&Binding> {
        self.bindings.iter().find(|binding| binding.name == name)
    }

    pub fn bindings(&self) -> &[Binding] {
        &self.bindings
    }

    /// The bar at the bottom: keys and words of what can be done here, what is special to the place first.
    pub fn bar(&self, place: Place) -> Vec<(Key, &'static str)> {
        let here = |binding: &&Binding| {
            !binding.short.is_empty() && binding.holds(place) && !binding.keys.is_empty()
        };
        let (special, common): (Vec<&Binding>, Vec<&Binding>) = self
            .bindings
            .iter()
            .filter(here)
            .partition(|binding| !binding.places.is_empty());
        special
            .into_iter()
            .chain(common)
            .map(|binding| (binding.keys[0], binding.short))
            .collect()
    }

    /// The help of a place: what is special to it, then what holds everywhere.
    pub fn help(&self, place: Place) -> (Vec<&Binding>, Vec<&Binding>) {
        self.bindings
            .iter()
            .filter(|binding| binding.holds(place) && !binding.keys.is_empty())
            .partition(|binding| !binding.places.is_empty())
    }

    /// Two bindings that one key would mean in the same place.
    pub fn conflict(&self) -> Option<(Key, &Binding, &Binding)> {
        self.bindings.iter().enumerate().find_map(|(at, a)| {
            self.bindings[at + 1..].iter().find_map(|b| {
                let key = a.keys.iter().find(|key| b.keys.contains(key))?;
                a.overlaps(b).then_some((*key, a, b))
            })
        })
    }
}

/// The names of all bindings: each is a command too.
pub fn names() -> impl Iterator<Item = String> {
    table::bindings()
        .into_iter()
        .map(|binding| binding.name.to_owned())
}

#[cfg(test)]
mod tests;
