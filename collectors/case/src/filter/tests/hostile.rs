//! Filters nobody in good faith would type, and names nobody would give.

use super::*;

#[test]
fn excess_is_refused_not_obeyed() {
    let deep = format!("{}service:x{}", "(".repeat(5000), ")".repeat(5000));
    assert!(error(&deep).reason.starts_with("nested more than"));
    assert!(
        error(&"-".repeat(5000).add_word())
            .reason
            .starts_with("nested more than")
    );
    assert!(
        error(&"a ".repeat(20_000))
            .reason
            .starts_with("longer than")
    );
    assert!(
        error("name~\"(a{1000}){1000}\"")
            .reason
            .starts_with("no regular expression")
    );
    let wide = vec!["service:x"; 1200].join(" OR ");
    assert!(!SpanFilter::parse(&wide).unwrap().matches(&span()));
}

trait AddWord {
    fn add_word(self) -> String;
}

impl AddWord for String {
    fn add_word(mut self) -> String {
        self.push('x');
        self
    }
}

#[test]
fn any_text_can_be_quoted_into_a_term() {
    for value in [
        "plain",
        "two words",
        "a\"b",
        r"back\slash",
        r"ends with \",
        "st*r",
        "(paren)",
        "-minus",
        "",
    ] {
        let mut span = span();
        span.name = value.to_owned();
        let filter = SpanFilter::parse(&format!("name:{}", quote(value))).unwrap();
        assert!(filter.matches(&span), "{value}");
        span.name.push('x');
        assert!(!filter.matches(&span), "{value}");
    }
}

#[test]
fn no_text_makes_it_panic() {
    const PIECES: [&str; 26] = [
        "service", ":", "=", "!", "~", "<", ">", "(", ")", "\"", "\\", "*", " ", "-", "OR", "AND",
        "NOT", "attr.", "duration", "5ms", "é", "支", "\u{202e}", "trace", "[", "{9}",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut parsed = 0;
    for _ in 0..20_000 {
        let length = next() % 12;
        let filter: String = (0..length)
            .map(|_| PIECES[(next() % 26) as usize])
            .collect();
        if let Ok(filter) = SpanFilter::parse(&filter) {
            filter.matches(&span());
            parsed += 1;
        }
    }
    assert!(parsed > 500, "{parsed}");
}
