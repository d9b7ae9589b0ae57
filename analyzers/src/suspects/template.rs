//! Which statement a log line came from, as far as its text tells: the words before its first value, and its level where
//! the sender gave none.
//!
//! Whether a line means trouble is decided here too. Counting lines is left to `visits`.

use crate::names::cut;

/// Texts are compared over so many bytes; what follows is nearly always a value.
const LONGEST: usize = 120;

/// A line without what differs from one time to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    pub(super) text: String,
    /// A warning, an error, or worse; where no level is given, words that mean one.
    pub(super) trouble: bool,
}

/// The least OTLP severity number that means a warning.
const WARN: i32 = 13;

const LEVELS: [(&str, bool); 12] = [
    ("TRACE", false),
    ("DEBUG", false),
    ("INFO", false),
    ("NOTICE", false),
    ("WARN", true),
    ("WARNING", true),
    ("ERROR", true),
    ("ERR", true),
    ("SEVERE", true),
    ("CRITICAL", true),
    ("FATAL", true),
    ("PANIC", true),
];

const WORDS: [&str; 9] = [
    "error",
    "exception",
    "fail",
    "fatal",
    "panic",
    "timeout",
    "timed out",
    "refused",
    "denied",
];

/// The template of a line. `severity` is the OTLP number, 0 if the sender gave none.
pub(super) fn of(line: &str, severity: i32, severity_text: &str) -> Template {
    let mut level = level_of(severity, severity_text);
    let mut text = String::new();
    let mut rest = line.trim_start();
    // What loggers put in front: times, levels, ids under a label, the place in the source.
    loop {
        let (token, after) = split(rest);
        if token.is_empty() {
            break;
        }
        let bare =
            token.trim_matches(|c: char| matches!(c, '[' | ']' | '(' | ')' | ':' | '|' | '-'));
        if bare.is_empty() || is_time(bare) || is_id(bare) {
            rest = after;
        } else if let Some(trouble) = named_level(bare).filter(|_| text.is_empty()) {
            level = level.or(Some(trouble));
            rest = after;
        } else if token.ends_with([':', '=']) && is_id(split(after).0) {
            rest = split(after).1;
        } else if let Some(place) = source_place(bare) {
            text.push_str(place);
            text.push(' ');
            rest = after;
        } else {
            break;
        }
    }
    until_value(rest, &mut text);
    let trouble = level.unwrap_or_else(|| means_trouble(cut(line, 400)));
    Template { text, trouble }
}

/// Whether a text has words that mean trouble.
pub(super) fn means_trouble(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    WORDS.iter().any(|word| lower.contains(word))
}

fn level_of(severity: i32, text: &str) -> Option<bool> {
    if severity > 0 {
        return Some(severity >= WARN);
    }
    named_level(text)
}

fn named_level(word: &str) -> Option<bool> {
    LEVELS
        .iter()
        .find(|(name, _)| word.eq_ignore_ascii_case(name))
        .map(|(_, trouble)| *trouble)
}

/// The first word and what follows it.
fn split(text: &str) -> (&str, &str) {
    match text.find(char::is_whitespace) {
        Some(end) => (&text[..end], text[end..].trim_start()),
        None => (text, ""),
    }
}

/// Digits and what stands between them in a date or a time.
fn is_time(word: &str) -> bool {
    word.bytes().any(|b| b.is_ascii_digit())
        && word.bytes().all(|b| {
            b.is_ascii_digit() || matches!(b, b':' | b'.' | b',' | b'-' | b'/' | b'T' | b'Z' | b'+')
        })
}

fn is_id(word: &str) -> bool {
    let word = word.trim_matches(|c: char| matches!(c, ',' | ';' | ']' | ')'));
    word.len() >= 16 && word.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

/// `f.s.FoodServiceImpl` of `f.s.FoodServiceImpl#302`: line numbers move with every release, names stay.
fn source_place(word: &str) -> Option<&str> {
    let (name, line) = word.rsplit_once(['#', ':'])?;
    let named = name.bytes().any(|b| b.is_ascii_alphabetic());
    let counted = !line.is_empty() && line.bytes().all(|b| b.is_ascii_digit());
    (named && counted).then_some(name)
}

/// Adds the words of `rest` up to the first value.
fn until_value(rest: &str, text: &mut String) {
    let mut letters = 0;
    for (at, c) in rest.char_indices() {
        let value =
            c.is_ascii_digit() || matches!(c, '=' | ':' | '：' | '{' | '"' | '\'' | '(' | '\n');
        if at >= LONGEST || value && letters >= 3 {
            break;
        }
        letters += usize::from(c.is_alphabetic());
        text.push(if c.is_ascii_digit() { '#' } else { c });
    }
    text.truncate(text.trim_end().len());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: &str) -> String {
        of(line, 0, "").text
    }

    #[test]
    fn values_times_ids_and_line_numbers_are_left_out() {
        let line = "16:53:55.201 INFO  t.s.TravelServiceImpl#532 TraceID: 2898ab60df5b65395cb23c2ceff26bc3 \
                    SpanID: 4461e3678acbbf6d [getRoute][Route is: Route(id=f3d4)]";
        assert_eq!(text(line), "t.s.TravelServiceImpl [getRoute][Route is");
        assert_eq!(text("took 17 ms"), text("took 9 ms"));
        assert_eq!(text("2026-01-01T10:00:00Z [WARN] slow: 3"), "slow");
        assert_ne!(text("order placed"), text("order cancelled"));
        assert_eq!(text("17 of 20"), "of ##");
    }

    #[test]
    fn the_level_decides_and_words_only_without_one() {
        assert!(!of("error rate is fine", 9, "").trouble);
        assert!(of("all well", 17, "").trouble);
        assert!(of("10:00:00 ERROR x", 0, "").trouble);
        assert!(!of("10:00:00 INFO no error", 0, "").trouble);
        assert!(of("connection refused", 0, "").trouble);
        assert!(of("x", 0, "warn").trouble);
    }

    #[test]
    fn odd_lines_do_no_harm() {
        for line in ["", "   ", "::", "é", "[[[[", "：：", "\u{1f600}\u{1f600}"] {
            let _ = of(line, 0, "");
        }
        assert!(text(&"é".repeat(5000)).len() < 400);
    }
}
