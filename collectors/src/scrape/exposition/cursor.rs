//! Reading along one line: names, quoted text, label sets. Shared by both formats, which differ in where blanks and
//! trailing commas are allowed and in which escapes exist.

use super::{Labels, Limits};

/// What sets one format's label syntax apart from the other's.
#[derive(Clone, Copy)]
pub(super) struct Dialect {
    /// Blanks around names, values and commas.
    pub blanks: bool,
    pub trailing_comma: bool,
    /// A backslash before something that needs none stands for itself; otherwise it is an error.
    pub loose_escapes: bool,
}

/// Untrusted text cut to a length that fits a message.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(60).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

pub(super) fn is_metric_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || matches!(b, b'_' | b':'))
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':'))
}

pub(super) struct Cursor<'a> {
    line: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(line: &'a str) -> Cursor<'a> {
        Cursor { line, at: 0 }
    }

    pub(super) fn rest(&self) -> &'a str {
        &self.line[self.at..]
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.line.as_bytes().get(self.at).copied()
    }

    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    pub(super) fn eat_text(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    /// Spaces and tabs; whether there were any.
    pub(super) fn blanks(&mut self) -> bool {
        !self.take(|b| matches!(b, b' ' | b'\t')).is_empty()
    }

    /// Bytes as long as they satisfy `wanted`, which must be true of ASCII only or of every byte from 0x80 up.
    pub(super) fn take(&mut self, wanted: impl Fn(u8) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.bytes().position(|b| !wanted(b)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// Up to the next blank or the end.
    pub(super) fn token(&mut self) -> &'a str {
        self.take(|b| !matches!(b, b' ' | b'\t'))
    }

    /// A metric's name outside braces.
    pub(super) fn metric_name(&mut self) -> &'a str {
        if !self
            .peek()
            .is_some_and(|b| b.is_ascii_alphabetic() || matches!(b, b'_' | b':'))
        {
            return "";
        }
        self.take(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':'))
    }

    fn label_name(&mut self) -> &'a str {
        if !self
            .peek()
            .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        {
            return "";
        }
        self.take(|b| b.is_ascii_alphanumeric() || b == b'_')
    }

    /// Text in double quotes, the opening one next. `what` names it in errors.
    pub(super) fn quoted(&mut self, loose_escapes: bool, what: &str) -> Result<String, String> {
        if !self.eat(b'"') {
            return Err(format!("{what} doesn't begin with a double quote"));
        }
        let mut text = String::new();
        loop {
            text.push_str(self.take(|b| !matches!(b, b'"' | b'\\')));
            match self.peek() {
                None => return Err(format!("{what} has no closing quote on its line")),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(_) => {
                    self.at += 1;
                    match self.peek() {
                        Some(b'\\') => text.push('\\'),
                        Some(b'"') => text.push('"'),
                        Some(b'n') => text.push('\n'),
                        _ if loose_escapes => {
                            text.push('\\');
                            continue;
                        }
                        _ => {
                            return Err(format!(
                                "{what} holds an escape other than \\\\, \\\" and \\n"
                            ));
                        }
                    }
                    self.at += 1;
                }
            }
        }
    }

    /// A label set, the opening brace already read. A quoted name that stands alone is the metric's: it goes to `name`.
    pub(super) fn labels(
        &mut self,
        dialect: Dialect,
        limits: &Limits,
        name: &mut Option<String>,
    ) -> Result<Labels, String> {
        let mut labels = Labels::new();
        let mut first = true;
        loop {
            self.blanks_if(dialect);
            if self.peek() == Some(b'}') && (first || dialect.trailing_comma) {
                self.at += 1;
                return Ok(labels);
            }
            first = false;
            let label = if self.peek() == Some(b'"') {
                let label = self.quoted(dialect.loose_escapes, "a quoted name")?;
                if label.is_empty() {
                    return Err("a quoted name is empty".into());
                }
                self.blanks_if(dialect);
                if matches!(self.peek(), Some(b',' | b'}')) {
                    if name.replace(label).is_some() {
                        return Err("the metric is named twice".into());
                    }
                    if self.separator()? {
                        return Ok(labels);
                    }
                    continue;
                }
                label
            } else {
                let label = self.label_name();
                if label.is_empty() {
                    return Err(format!(
                        "a label name is expected at {:?}",
                        shown(self.rest())
                    ));
                }
                label.to_owned()
            };
            self.blanks_if(dialect);
            if !self.eat(b'=') {
                return Err(format!("no = after label name {:?}", shown(&label)));
            }
            self.blanks_if(dialect);
            let value = self.quoted(dialect.loose_escapes, "a label value")?;
            if label == "__name__" {
                return Err("label name __name__ is reserved".into());
            }
            if labels.iter().any(|(known, _)| *known == label) {
                return Err(format!("label {:?} stands twice", shown(&label)));
            }
            if labels.len() == limits.labels {
                return Err(format!("more than {} labels", limits.labels));
            }
            labels.push((label, value));
            self.blanks_if(dialect);
            if self.separator()? {
                return Ok(labels);
            }
        }
    }

    fn blanks_if(&mut self, dialect: Dialect) {
        if dialect.blanks {
            self.blanks();
        }
    }

    /// A comma (false) or the closing brace (true).
    fn separator(&mut self) -> Result<bool, String> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(false)
            }
            Some(b'}') => {
                self.at += 1;
                Ok(true)
            }
            _ => Err(format!(
                "a comma or a closing brace is expected at {:?}",
                shown(self.rest())
            )),
        }
    }
}
