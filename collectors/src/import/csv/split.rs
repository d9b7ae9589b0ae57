//! CSV records: where one ends, and its fields. Commas, quotes doubled within quotes, records over many lines.

use std::borrow::Cow;
use std::cell::OnceCell;

/// Finds where a record ends, however it is fed.
#[derive(Default)]
pub(super) struct RecordEnd {
    in_quotes: bool,
    /// Just behind the last closing quote: one more there is a quote within the field.
    closed_at: usize,
}

impl RecordEnd {
    /// The length of the record with its line end. `seen` bytes were looked at before; at `ended`, nothing follows.
    pub(super) fn find(&mut self, bytes: &[u8], seen: usize, ended: bool) -> Option<usize> {
        let mut at = seen;
        while let Some(n) = memchr::memchr2(b'"', b'\n', &bytes[at..]) {
            let here = at + n;
            at = here + 1;
            if bytes[here] == b'\n' {
                if !self.in_quotes {
                    return Some(at);
                }
            } else if self.in_quotes {
                self.in_quotes = false;
                self.closed_at = at;
            } else if here == 0 || bytes[here - 1] == b',' || self.closed_at == here {
                // A quote elsewhere in a bare field is a character like any other.
                self.in_quotes = true;
            }
        }
        (ended && !self.in_quotes && !bytes.is_empty()).then_some(bytes.len())
    }
}

/// The fields of a record, unquoted. Reused from record to record.
#[derive(Default)]
pub(super) struct Record {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// The field of a JSON cell that was asked for first: several columns of a case are often made of one.
    field: OnceCell<Field>,
}

/// A column, the name of a field in it, and that field's text.
type Field = (usize, String, Result<String, String>);

impl Record {
    /// Splits a record, with or without its line end.
    pub(super) fn split(&mut self, record: &[u8]) {
        let record = record.strip_suffix(b"\n").unwrap_or(record);
        let record = record.strip_suffix(b"\r").unwrap_or(record);
        self.bytes.clear();
        self.ends.clear();
        self.field.take();
        let mut at = 0;
        loop {
            if record.get(at) == Some(&b'"') {
                at += 1;
                // What follows a closing quote before the comma is kept as it stands.
                while let Some(n) = memchr::memchr(b'"', &record[at..]) {
                    self.bytes.extend_from_slice(&record[at..at + n]);
                    at += n + 1;
                    if record.get(at) != Some(&b'"') {
                        break;
                    }
                    self.bytes.push(b'"');
                    at += 1;
                }
            }
            let end = memchr::memchr(b',', &record[at..]).map_or(record.len(), |n| at + n);
            self.bytes.extend_from_slice(&record[at..end]);
            self.ends.push(self.bytes.len());
            if end == record.len() {
                return;
            }
            at = end + 1;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn bytes(&self, column: usize) -> &[u8] {
        let Some(end) = self.ends.get(column) else {
            return &[];
        };
        let start = if column == 0 {
            0
        } else {
            self.ends[column - 1]
        };
        &self.bytes[start..*end]
    }

    /// The text of a column; the reason if it is none.
    pub(super) fn text(&self, column: usize) -> Result<&str, String> {
        std::str::from_utf8(self.bytes(column))
            .map_err(|_| format!("column {} is no UTF-8", column + 1))
    }

    /// A field of the JSON object in a column, as `read` takes it from the column's text.
    pub(super) fn field(
        &self,
        column: usize,
        field: &str,
        read: fn(&str, &str) -> Result<String, String>,
    ) -> Result<Cow<'_, str>, String> {
        let cell = self.text(column)?;
        let (of, name, text) = self
            .field
            .get_or_init(|| (column, field.to_owned(), read(cell, field)));
        if (*of, name.as_str()) != (column, field) {
            return read(cell, field).map(Cow::Owned);
        }
        text.as_deref().map(Cow::Borrowed).map_err(String::clone)
    }

    /// The text of every column, whatever it takes.
    pub(super) fn texts(&self) -> Vec<String> {
        (0..self.len())
            .map(|column| String::from_utf8_lossy(self.bytes(column)).into_owned())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn fields(record: &str) -> Vec<String> {
        let mut out = Record::default();
        out.split(record.as_bytes());
        out.texts()
    }

    #[test]
    fn fields_are_split_and_unquoted() {
        assert_eq!(fields("a,,c\r\n"), ["a", "", "c"]);
        assert_eq!(fields("\"a,\"\"b\"\"\nc\",d\n"), ["a,\"b\"\nc", "d"]);
        assert_eq!(fields(""), [""]);
        assert_eq!(fields("a,"), ["a", ""]);
        assert_eq!(fields("5\" disk,x"), ["5\" disk", "x"]);
        assert_eq!(fields("\"\",\"x\""), ["", "x"]);
    }

    #[test]
    fn records_end_outside_of_quotes_however_they_are_fed() {
        let text = b"a,\"b\n\"\"c\n\",5\" x\nnext\n";
        let expected = text.len() - 5;
        for step in 1..text.len() {
            let mut end = RecordEnd::default();
            let mut seen = 0;
            let found = (1..=text.len().div_ceil(step)).find_map(|i| {
                let until = (i * step).min(text.len());
                let found = end.find(&text[..until], seen, false);
                seen = until;
                found
            });
            assert_eq!(found, Some(expected), "in steps of {step}");
        }
        assert_eq!(RecordEnd::default().find(b"a,b", 0, true), Some(3));
        assert_eq!(RecordEnd::default().find(b"a,\"b", 0, true), None);
    }
}
