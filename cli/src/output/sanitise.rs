//! Untrusted text made harmless, once, on its way out.
//!
//! Telemetry is written by whoever can reach a collector. A terminal obeys control characters, reorders text at bidi
//! controls and hides text behind characters without width; here all of them become visible escapes. Nothing else is
//! changed, so ordinary text of any script passes as it is.

use std::borrow::Cow;
use std::fmt::Write as _;

/// More marks than this on one letter paint over the lines above and below.
const MARKS_PER_LETTER: usize = 4;

/// Whether a terminal or a reader can be misled by `c`.
pub fn is_hazard(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}'                        // soft hyphen
            | '\u{61c}'                     // Arabic letter mark
            | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' // Hangul fillers: letters without ink
            | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'       // zero-width characters and direction marks
            | '\u{2028}'..='\u{202e}'       // line and paragraph separators, embeddings and overrides
            | '\u{2060}'..='\u{206f}'       // joiners, isolates, invisible operators
            | '\u{fe00}'..='\u{fe0e}'       // variation selectors but the one that asks for colour
            | '\u{feff}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

fn is_mark(c: char) -> bool {
    unicode_width::UnicodeWidthChar::width(c) == Some(0)
}

/// `text` with everything that could mislead a terminal or its reader turned into visible escapes.
pub fn clean(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        return Cow::Borrowed(text);
    }
    let mut out: Option<String> = None;
    let mut marks = 0;
    for (at, c) in text.char_indices() {
        marks = if is_mark(c) { marks + 1 } else { 0 };
        if is_hazard(c) {
            escape(c, out.get_or_insert_with(|| text[..at].to_owned()));
        } else if marks > MARKS_PER_LETTER {
            out.get_or_insert_with(|| text[..at].to_owned());
        } else if let Some(out) = &mut out {
            out.push(c);
        }
    }
    out.map_or(Cow::Borrowed(text), Cow::Owned)
}

fn escape(c: char, out: &mut String) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c if (c as u32) < 0x100 => drop(write!(out, "\\x{:02x}", c as u32)),
        c => drop(write!(out, "\\u{{{:x}}}", c as u32)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_text_of_any_script_is_untouched() {
        for text in [
            "",
            "POST /api/v1/checkout",
            "Grüße, Zoë – „ja“ …",
            "支付服务 決済 결제",
            "оплата دفع תשלום",
            "e\u{301}a\u{308}",
            "❤\u{fe0f} 🚀",
        ] {
            assert!(matches!(clean(text), Cow::Borrowed(_)), "{text:?}");
            assert_eq!(clean(text), text);
        }
    }

    #[test]
    fn escape_sequences_become_visible() {
        assert_eq!(clean("\x1b[31mred\x1b[0m"), "\\x1b[31mred\\x1b[0m");
        assert_eq!(clean("\x1b]0;title\x07"), "\\x1b]0;title\\x07");
        assert_eq!(clean("c1 \u{9b}2J \u{90}q\u{9c}"), "c1 \\x9b2J \\x90q\\x9c");
        assert_eq!(
            clean("a\rb\nc\td\x7f\0\x08"),
            "a\\rb\\nc\\td\\x7f\\x00\\x08"
        );
    }

    #[test]
    fn bidi_and_invisible_characters_become_visible() {
        assert_eq!(
            clean("a\u{202e}b\u{2066}c\u{2069}"),
            "a\\u{202e}b\\u{2066}c\\u{2069}"
        );
        assert_eq!(
            clean("pay\u{200b}ment\u{feff}"),
            "pay\\u{200b}ment\\u{feff}"
        );
        assert_eq!(
            clean("x\u{e0041}\u{ad}\u{3164}"),
            "x\\u{e0041}\\xad\\u{3164}"
        );
        assert_eq!(clean("a\u{2028}b"), "a\\u{2028}b");
    }

    #[test]
    fn marks_do_not_pile_up() {
        let tower = format!("a{}b", "\u{301}".repeat(500));
        let cleaned = clean(&tower);
        assert!(
            cleaned.chars().count() <= 2 + MARKS_PER_LETTER,
            "{}",
            cleaned.chars().count()
        );
        assert!(cleaned.starts_with('a') && cleaned.ends_with('b'));
    }

    #[test]
    fn what_is_clean_stays_as_it_is_when_cleaned_again() {
        for c in (0..=0x11_ffff).filter_map(char::from_u32) {
            let text = format!("a{c}b");
            let once = clean(&text).into_owned();
            assert_eq!(clean(&once), once, "U+{:04X}", c as u32);
            assert!(!once.chars().any(is_hazard));
        }
    }
}
