//! JSON as this program writes it: one line, keys in a stated order, and characters that could mislead a terminal
//! written as `\u` escapes. It reads back to the same value.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use super::sanitise::is_hazard;
use crate::error::CliError;

struct Harmless;

impl Formatter for Harmless {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut plain = 0;
        for (at, c) in fragment.char_indices().filter(|(_, c)| is_hazard(*c)) {
            writer.write_all(&fragment.as_bytes()[plain..at])?;
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                write!(writer, "\\u{unit:04x}")?;
            }
            plain = at + c.len_utf8();
        }
        writer.write_all(&fragment.as_bytes()[plain..])
    }
}

/// `value` as one line of JSON, without the line's end.
pub fn line<T: Serialize + ?Sized>(value: &T) -> Result<String, CliError> {
    let mut out = Vec::with_capacity(256);
    value
        .serialize(&mut Serializer::with_formatter(&mut out, Harmless))
        .map_err(|error| CliError::new(format!("can't write as JSON: {error}")))?;
    String::from_utf8(out).map_err(|error| CliError::new(format!("can't write as JSON: {error}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn hazards_are_escaped_and_read_back_the_same() {
        let text = "a\u{202e}b\x7f\u{9b}c\u{e0041}d\n\"é支";
        let line = line(text).unwrap();
        assert_eq!(
            line,
            "\"a\\u202eb\\u007f\\u009bc\\udb40\\udc41d\\n\\\"é支\""
        );
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
    }
}
