//! Texts that come up again and again (services, instances, operations, addresses), each kept once.
//!
//! A name compares and sorts as its text, so what is sorted by names does not depend on the order of arrival.

use std::collections::HashSet;
use std::sync::Arc;

/// A shared text.
pub type Name = Arc<str>;

/// Longer texts are cut: telemetry may send a megabyte as a name.
const LONGEST: usize = 1024;

/// The texts met so far. Only looked up, so the order of the set decides nothing.
#[derive(Debug, Default)]
pub struct Names {
    known: HashSet<Name>,
}

impl Names {
    /// The one copy of `text`.
    pub fn of(&mut self, text: &str) -> Name {
        let text = cut(text, LONGEST);
        if let Some(name) = self.known.get(text) {
            return Arc::clone(name);
        }
        let name: Name = Arc::from(text);
        self.known.insert(Arc::clone(&name));
        name
    }
}

/// The first `most` bytes of `text`, less a character cut in two.
pub fn cut(text: &str, most: usize) -> &str {
    if text.len() <= most {
        return text;
    }
    let end = (0..=most)
        .rev()
        .find(|end| text.is_char_boundary(*end))
        .unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_is_kept_once_and_a_long_one_is_cut() {
        let mut names = Names::default();
        assert!(Arc::ptr_eq(&names.of("payment"), &names.of("payment")));
        assert_eq!(names.of(&"é".repeat(1000)).len(), 1024);
        assert_eq!(cut("aé", 2), "a");
    }
}
