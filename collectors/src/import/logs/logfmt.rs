//! logfmt: `key=value` and `key="quoted value"` pairs on a line; a key alone is a flag.

use super::fields::Role;

/// One pair; a flag has no value.
pub(super) type Pair<'a> = (&'a str, Option<String>);

/// The pairs of a line, or what is wrong with it.
pub(super) fn pairs(line: &str) -> Result<Vec<Pair<'_>>, String> {
    let bytes = line.as_bytes();
    let mut pairs = Vec::new();
    let mut at = 0;
    loop {
        while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        if at == bytes.len() {
            return Ok(pairs);
        }
        let key_start = at;
        while at < bytes.len() && bytes[at] != b'=' && !bytes[at].is_ascii_whitespace() {
            if bytes[at] == b'"' {
                return Err(format!("a quote at column {} belongs to no key", at + 1));
            }
            at += 1;
        }
        let key = &line[key_start..at];
        if bytes.get(at) != Some(&b'=') {
            pairs.push((key, None));
            continue;
        }
        if key.is_empty() {
            return Err(format!("a value at column {} has no key", at + 1));
        }
        at += 1;
        if bytes.get(at) == Some(&b'"') {
            let (value, next) = quoted(line, at)?;
            pairs.push((key, Some(value)));
            at = next;
        } else {
            let start = at;
            while at < bytes.len() && !bytes[at].is_ascii_whitespace() {
                at += 1;
            }
            pairs.push((key, Some(line[start..at].to_owned())));
        }
    }
}

/// The text between the quote at `open` and its partner, and where it goes on.
fn quoted(line: &str, open: usize) -> Result<(String, usize), String> {
    let mut value = String::new();
    let mut chars = line[open + 1..].char_indices();
    while let Some((i, c)) = chars.next() {
        match c {
            '"' => return Ok((value, open + 1 + i + 1)),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 'r')) => value.push('\r'),
                Some((_, 't')) => value.push('\t'),
                Some((_, c)) => value.push(c),
                None => break,
            },
            c => value.push(c),
        }
    }
    Err(format!("the quote at column {} is never closed", open + 1))
}

/// Whether most of a line is pairs, and one of them means something.
pub(in crate::import) fn looks_like(line: &str) -> bool {
    let Ok(pairs) = pairs(line) else { return false };
    let named = pairs.iter().filter(|(_, value)| value.is_some()).count();
    named >= 2
        && named * 2 > pairs.len()
        && pairs
            .iter()
            .any(|(key, value)| value.is_some() && Role::of(key).is_some())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn pairs_quotes_and_flags() {
        let found =
            pairs(r#" ts=2024-01-02T03:04:05Z level=info msg="said \"hi\"\n" ok empty= "#).unwrap();
        let expected: Vec<Pair<'_>> = vec![
            ("ts", Some("2024-01-02T03:04:05Z".to_owned())),
            ("level", Some("info".to_owned())),
            ("msg", Some("said \"hi\"\n".to_owned())),
            ("ok", None),
            ("empty", Some(String::new())),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_column() {
        assert_eq!(
            pairs("msg=\"open").unwrap_err(),
            "the quote at column 5 is never closed"
        );
        assert_eq!(pairs("=x").unwrap_err(), "a value at column 1 has no key");
        assert!(pairs("\"x\"").unwrap_err().contains("column 1"));
    }

    #[test]
    fn prose_is_no_logfmt() {
        assert!(looks_like("time=1 level=info msg=hello"));
        assert!(!looks_like("Jan 02 03:04:05 host app[1]: connected to a=b"));
        assert!(!looks_like("a=1 b=2"), "no field of it means anything");
    }
}
