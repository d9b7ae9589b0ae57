//! Cuts JSON into values without reading them: where a value ends, the entries of an object, the elements of an array.
//!
//! An importer that asks serde for a whole array loses everything behind the first bad element and can't say on which
//! line it stood. Cutting keeps strings and brackets in mind, nothing else; each piece is then read by serde, which
//! judges it. Nothing here recurses, so depth is no danger.

/// Where a value that began earlier ends, byte by byte.
#[derive(Debug, Default)]
pub(super) struct ValueEnd {
    depth: u64,
    in_string: bool,
    escaped: bool,
    /// A bare number, `true`, `null` …: ends before the next delimiter.
    bare: bool,
}

impl ValueEnd {
    /// Reads on; the number of these bytes that belong to the value once it is complete.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            if self.in_string {
                if self.escaped {
                    self.escaped = false;
                    at += 1;
                    continue;
                }
                match memchr::memchr2(b'"', b'\\', &bytes[at..]) {
                    None => return None,
                    Some(n) => {
                        at += n + 1;
                        if bytes[at - 1] == b'\\' {
                            self.escaped = true;
                        } else {
                            self.in_string = false;
                            if self.depth == 0 {
                                return Some(at);
                            }
                        }
                    }
                }
                continue;
            }
            match bytes[at] {
                b'"' if !self.bare => {
                    self.in_string = true;
                }
                b'{' | b'[' if !self.bare => {
                    self.depth += 1;
                }
                b'}' | b']' => {
                    if self.depth == 0 {
                        // A delimiter of what surrounds the value.
                        return Some(at);
                    }
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Some(at + 1);
                    }
                }
                b',' | b':' if self.depth == 0 => return Some(at),
                b' ' | b'\t' | b'\r' | b'\n' if self.depth == 0 && self.bare => return Some(at),
                b' ' | b'\t' | b'\r' | b'\n' if self.depth == 0 => {}
                _ if self.depth == 0 => {
                    self.bare = true;
                }
                _ => {}
            }
            at += 1;
        }
        None
    }

    /// At the end of input a bare value is complete.
    pub(super) fn complete_at_end(&self) -> bool {
        self.bare && self.depth == 0
    }
}

/// The first place at or after `at` that is no white space.
pub(super) fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && bytes[at].is_ascii_whitespace() {
        at += 1;
    }
    at
}

fn value_at(bytes: &[u8], at: usize) -> Result<usize, String> {
    let mut end = ValueEnd::default();
    match end.feed(&bytes[at..]) {
        Some(0) => Err("a value is missing".to_owned()),
        Some(n) => Ok(at + n),
        None if end.complete_at_end() => Ok(bytes.len()),
        None => Err("it ends in the middle of a value".to_owned()),
    }
}

/// A key (still escaped, without its quotes) and the text of its value.
pub(super) type Entry<'a> = (&'a [u8], &'a [u8]);

/// The entries of an object, in order. What follows the object is not looked at.
pub(super) fn object_entries(bytes: &[u8]) -> Result<Vec<Entry<'_>>, String> {
    let mut entries = Vec::new();
    let mut at = skip_space(bytes, 0);
    if bytes.get(at) != Some(&b'{') {
        return Err("it is no object".to_owned());
    }
    at = skip_space(bytes, at + 1);
    if bytes.get(at) == Some(&b'}') {
        return Ok(entries);
    }
    loop {
        if bytes.get(at) != Some(&b'"') {
            return Err("a key in quotes is expected".to_owned());
        }
        let end = value_at(bytes, at)?;
        let key = &bytes[at + 1..end - 1];
        at = skip_space(bytes, end);
        if bytes.get(at) != Some(&b':') {
            return Err("a colon is missing after a key".to_owned());
        }
        at = skip_space(bytes, at + 1);
        let end = value_at(bytes, at)?;
        entries.push((key, &bytes[at..end]));
        at = skip_space(bytes, end);
        match bytes.get(at) {
            Some(b',') => at = skip_space(bytes, at + 1),
            Some(b'}') => return Ok(entries),
            _ => return Err("a comma or the end of the object is expected".to_owned()),
        }
    }
}

/// The elements of an array, in order.
pub(super) fn array_elements(bytes: &[u8]) -> Result<Vec<&[u8]>, String> {
    let mut elements = Vec::new();
    let mut at = skip_space(bytes, 0);
    if bytes.get(at) != Some(&b'[') {
        return Err("it is no array".to_owned());
    }
    at = skip_space(bytes, at + 1);
    if bytes.get(at) == Some(&b']') {
        return Ok(elements);
    }
    loop {
        let end = value_at(bytes, at)?;
        elements.push(&bytes[at..end]);
        at = skip_space(bytes, end);
        match bytes.get(at) {
            Some(b',') => at = skip_space(bytes, at + 1),
            Some(b']') => return Ok(elements),
            _ => return Err("a comma or the end of the array is expected".to_owned()),
        }
    }
}

/// How many lines down `piece` begins within `whole`, of which it is a part.
pub(super) fn lines_before(whole: &[u8], piece: &[u8]) -> u64 {
    let offset = (piece.as_ptr() as usize)
        .saturating_sub(whole.as_ptr() as usize)
        .min(whole.len());
    memchr::memchr_iter(b'\n', &whole[..offset]).count() as u64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn entries_are_cut_whatever_they_hold() {
        let text = br#" { "a" : "x\"},{" , "b":[1,{"c":"]"}],"d": -1.5e3 ,"e":null}"#;
        let entries = object_entries(text).unwrap();
        let shown: Vec<(&str, &str)> = entries
            .iter()
            .map(|(k, v)| {
                (
                    std::str::from_utf8(k).unwrap(),
                    std::str::from_utf8(v).unwrap(),
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("a", r#""x\"},{""#),
                ("b", r#"[1,{"c":"]"}]"#),
                ("d", "-1.5e3"),
                ("e", "null")
            ]
        );
    }

    #[test]
    fn elements_and_their_lines() {
        let text = b"[ {\"a\":1},\n  2\n, \"x\" ]";
        let elements = array_elements(text).unwrap();
        assert_eq!(elements, [b"{\"a\":1}".as_slice(), b"2", b"\"x\""]);
        assert_eq!(lines_before(text, elements[1]), 1);
        assert_eq!(lines_before(text, elements[2]), 2);
        assert!(array_elements(b"[]").unwrap().is_empty());
    }

    #[test]
    fn what_is_cut_short_or_misplaced_says_so() {
        assert!(object_entries(b"{\"a\":").unwrap_err().contains("middle"));
        assert!(object_entries(b"{\"a\" 1}").unwrap_err().contains("colon"));
        assert!(object_entries(b"{a:1}").unwrap_err().contains("quotes"));
        assert!(object_entries(b"{\"a\":}").unwrap_err().contains("missing"));
        assert!(array_elements(b"[1 2]").unwrap_err().contains("comma"));
        assert!(array_elements(b"[1,]").unwrap_err().contains("missing"));
    }

    #[test]
    fn a_value_is_found_whichever_way_it_is_fed() {
        let text = br#"{"a":"q\\\"}","b":[{}]} tail"#;
        for step in 1..text.len() {
            let mut end = ValueEnd::default();
            let mut fed = 0;
            let found = text.chunks(step).find_map(|chunk| {
                let found = end.feed(chunk).map(|n| fed + n);
                fed += chunk.len();
                found
            });
            assert_eq!(found, Some(text.len() - 5), "in steps of {step}");
        }
    }
}
