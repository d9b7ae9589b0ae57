//! How many columns a text takes, and cutting it to fit.

use unicode_width::UnicodeWidthChar as _;

/// Columns `text` takes in a terminal.
pub fn columns(text: &str) -> usize {
    if text.is_ascii() {
        return text.len();
    }
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// `text` cut to at most `limit` columns, with an ellipsis where something is missing.
pub fn fit(text: &str, limit: usize) -> String {
    if columns(text) <= limit {
        return text.to_owned();
    }
    if limit == 0 {
        return String::new();
    }
    let mut out = String::new();
    let mut taken = 0;
    for c in text.chars() {
        let width = c.width().unwrap_or(0);
        if taken + width > limit - 1 {
            break;
        }
        taken += width;
        out.push(c);
    }
    out.push('…');
    out
}

/// `text` cut or padded on the right to exactly `width` columns.
pub fn left(text: &str, width: usize) -> String {
    let mut out = fit(text, width);
    let taken = columns(&out);
    out.extend(std::iter::repeat_n(' ', width.saturating_sub(taken)));
    out
}

/// `text` cut or padded on the left to exactly `width` columns.
pub fn right(text: &str, width: usize) -> String {
    let cut = fit(text, width);
    let mut out = " ".repeat(width.saturating_sub(columns(&cut)));
    out.push_str(&cut);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_count_twice_and_marks_not_at_all() {
        assert_eq!(columns("abc"), 3);
        assert_eq!(columns("支付"), 4);
        assert_eq!(columns("e\u{301}"), 1);
    }

    #[test]
    fn cutting_never_exceeds_the_limit() {
        for limit in 0..12 {
            for text in [
                "",
                "payment",
                "支付服务",
                "a支b付c",
                "e\u{301}e\u{301}e\u{301}",
            ] {
                assert!(columns(&fit(text, limit)) <= limit, "{text} {limit}");
                assert_eq!(columns(&left(text, limit)), limit);
                assert_eq!(columns(&right(text, limit)), limit);
            }
        }
        assert_eq!(fit("payment", 4), "pay…");
        assert_eq!(fit("支付服务", 4), "支…");
        assert_eq!(right("7", 3), "  7");
    }
}
