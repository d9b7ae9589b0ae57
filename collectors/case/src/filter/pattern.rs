//! Texts with wildcards, and regular expressions.

use std::borrow::Cow;

/// A text in which `*` stands for anything. `\` before a character takes it literally.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Glob {
    /// The literal parts between the wildcards; one part means no wildcard.
    parts: Vec<String>,
    /// What was typed, for readers that give `\` a meaning of their own.
    typed: String,
}

impl Glob {
    pub(super) fn read(typed: &str) -> Glob {
        let mut parts = vec![String::new()];
        let mut chars = typed.chars();
        while let Some(c) = chars.next() {
            let literal = match c {
                '*' => {
                    parts.push(String::new());
                    continue;
                }
                // Only what has a meaning can be escaped: C:\dir stays what it is.
                '\\' => match chars.clone().next() {
                    Some(next @ ('*' | '\\' | '"' | '(' | ')')) => {
                        chars.next();
                        next
                    }
                    _ => '\\',
                },
                c => c,
            };
            if let Some(last) = parts.last_mut() {
                last.push(literal);
            }
        }
        Glob {
            parts,
            typed: typed.to_owned(),
        }
    }

    /// The text it matches, if it has no wildcard.
    pub(super) fn literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    pub(super) fn plain(&self) -> String {
        self.parts.join("*")
    }

    pub(super) fn typed(&self) -> &str {
        &self.typed
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        let Some((first, rest)) = self.parts.split_first() else {
            return false;
        };
        let Some((last, middle)) = rest.split_last() else {
            return text == first;
        };
        let Some(mut left) = text.strip_prefix(first.as_str()) else {
            return false;
        };
        for part in middle {
            let Some(at) = left.find(part.as_str()) else {
                return false;
            };
            left = &left[at + part.len()..];
        }
        left.len() >= last.len() && left.ends_with(last.as_str())
    }

    /// Whether the text holds a match anywhere, letter case aside.
    pub(super) fn occurs_in(&self, text: &str) -> bool {
        let text: Cow<'_, str> = if text.is_ascii() {
            Cow::Owned(text.to_ascii_lowercase())
        } else {
            Cow::Owned(text.to_lowercase())
        };
        let mut left: &str = &text;
        self.parts.iter().all(|part| {
            let part = part.to_lowercase();
            match left.find(&part) {
                Some(at) => {
                    left = &left[at + part.len()..];
                    true
                }
                None => false,
            }
        })
    }
}
