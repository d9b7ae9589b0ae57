//! Errors in files that people write, each with line and column.

use std::fmt;
use std::ops::Range;

/// What is wrong in a file, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {what}")]
pub struct Misplaced {
    pub file: String,
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    pub what: String,
    pub hint: Option<String>,
}

/// A text being read, to tell places in it.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    pub file: &'a str,
    pub text: &'a str,
}

impl Source<'_> {
    /// What is wrong at these bytes of the text.
    pub fn error(&self, at: Range<usize>, what: impl fmt::Display) -> Misplaced {
        let before = self.text.get(..at.start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        Misplaced {
            file: self.file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            what: what.to_string(),
            hint: None,
        }
    }

    /// What the TOML reader says, in one line.
    pub fn toml_error(&self, error: &toml::de::Error) -> Misplaced {
        let what = error.message().trim().replace('\n', " ");
        self.error(error.span().unwrap_or(0..0), what)
    }
}

impl Misplaced {
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Misplaced {
        self.hint = Some(hint.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters() {
        let source = Source {
            file: "a.toml",
            text: "é = 1\nöx = 2\n",
        };
        let at = source.text.find('x').unwrap_or_default();
        assert_eq!(
            source.error(at..at + 1, "odd").to_string(),
            "a.toml:2:2: odd"
        );
    }
}
