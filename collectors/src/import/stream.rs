//! Text read piece by piece with its line numbers: lines, JSON values, CSV records. Holds one piece, never a file.

use std::io::{self, Read};

use super::cut::ValueEnd;

/// The longest piece (line, array element, record) that is taken; longer ones are passed over and reported.
pub(super) const LONGEST_PIECE: usize = 256 << 20;
const STEP: usize = 256 << 10;

pub(super) struct Text<'r> {
    reader: Box<dyn Read + 'r>,
    /// What was read lies from `at` to `end`.
    buffer: Vec<u8>,
    at: usize,
    end: usize,
    /// The line on which `buffer[at]` stands, from 1.
    line: u64,
    ended: bool,
    longest: usize,
}

/// A piece and the line it begins on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    pub(super) line: u64,
    pub(super) bytes: &'a [u8],
    /// It was longer than is taken; `bytes` is empty.
    pub(super) too_long: bool,
    /// The input ended within it.
    pub(super) cut_short: bool,
}

impl<'r> Text<'r> {
    pub(super) fn new(reader: Box<dyn Read + 'r>) -> Text<'r> {
        Text::with_longest(reader, LONGEST_PIECE)
    }

    pub(super) fn with_longest(reader: Box<dyn Read + 'r>, longest: usize) -> Text<'r> {
        Text {
            reader,
            buffer: Vec::new(),
            at: 0,
            end: 0,
            line: 1,
            ended: false,
            longest,
        }
    }

    pub(super) fn line_number(&self) -> u64 {
        self.line
    }

    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// Reads more behind what is held; `false` at the end.
    fn fill(&mut self) -> io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        if self.at == self.end {
            (self.at, self.end) = (0, 0);
        }
        if self.end == self.buffer.len() {
            if self.at >= self.buffer.len() / 2 && self.at > 0 {
                self.buffer.copy_within(self.at..self.end, 0);
                (self.at, self.end) = (0, self.end - self.at);
            } else {
                // Grows with the piece, so that a long one is moved a few times only.
                self.buffer.resize((2 * self.buffer.len()).max(STEP), 0);
            }
        }
        let read = loop {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.ended = !matches!(read, Ok(1..));
        self.end += read?;
        Ok(!self.ended)
    }

    fn rest(&self) -> &[u8] {
        &self.buffer[self.at..self.end]
    }

    fn advance(&mut self, n: usize) {
        self.line += memchr::memchr_iter(b'\n', &self.buffer[self.at..self.at + n]).count() as u64;
        self.at += n;
    }

    /// The next byte that is no white space, not taken.
    pub(super) fn peek(&mut self) -> io::Result<Option<u8>> {
        loop {
            let space = self
                .rest()
                .iter()
                .take_while(|b| b.is_ascii_whitespace())
                .count();
            self.advance(space);
            if let Some(byte) = self.rest().first() {
                return Ok(Some(*byte));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Takes the byte that `peek` showed.
    pub(super) fn bump(&mut self) {
        if self.at < self.end {
            self.advance(1);
        }
    }

    /// Passes over a byte order mark at the start.
    pub(super) fn skip_mark(&mut self) -> io::Result<()> {
        while self.rest().len() < 3 && self.fill()? {}
        if self.rest().starts_with(b"\xef\xbb\xbf") {
            self.at += 3;
        }
        Ok(())
    }

    /// The next line without its end, `None` behind the last.
    pub(super) fn line(&mut self) -> io::Result<Option<Piece<'_>>> {
        let line = self.line;
        let mut searched = 0;
        let mut too_long = false;
        let length = loop {
            if let Some(n) = memchr::memchr(b'\n', &self.rest()[searched..]) {
                break Some(searched + n);
            }
            searched = self.rest().len();
            if searched > self.longest {
                too_long = true;
                self.advance(searched);
                searched = 0;
            }
            if !self.fill()? {
                break None;
            }
        };
        let from = self.at;
        let (end, next) = match length {
            Some(n) => (from + n, from + n + 1),
            None if self.rest().is_empty() && !too_long => return Ok(None),
            None => (self.end, self.end),
        };
        too_long |= end - from > self.longest;
        self.advance(next - from);
        let bytes = if too_long {
            &[]
        } else {
            &self.buffer[from..end]
        };
        Ok(Some(Piece {
            line,
            bytes: bytes.strip_suffix(b"\r").unwrap_or(bytes),
            too_long,
            cut_short: false,
        }))
    }

    /// The JSON value that begins here; `None` at the end of input or before a closing bracket, comma or colon.
    pub(super) fn value(&mut self) -> io::Result<Option<Piece<'_>>> {
        if self.peek()?.is_none() {
            return Ok(None);
        }
        let line = self.line;
        let mut end = ValueEnd::default();
        let mut searched = 0;
        let mut too_long = false;
        let (length, cut_short) = loop {
            if let Some(n) = end.feed(&self.buffer[self.at + searched..self.end]) {
                break (searched + n, false);
            }
            searched = self.rest().len();
            if searched > self.longest {
                too_long = true;
                self.advance(searched);
                searched = 0;
            }
            if !self.fill()? {
                break (searched, !end.complete_at_end());
            }
        };
        if length == 0 && !too_long {
            return Ok(None);
        }
        let from = self.at;
        too_long |= length > self.longest;
        self.advance(length);
        Ok(Some(Piece {
            line,
            bytes: if too_long {
                &[]
            } else {
                &self.buffer[from..from + length]
            },
            too_long,
            cut_short,
        }))
    }

    /// A piece whose end `end` finds: given everything from its start, how much of that it has seen before, and whether
    /// nothing follows, it answers the length with the terminator. Without an end within `longest`, or at all, only
    /// the first line is taken, marked as too long or cut short, so that what stands behind it is not lost.
    pub(super) fn piece(
        &mut self,
        longest: usize,
        mut end: impl FnMut(&[u8], usize, bool) -> Option<usize>,
    ) -> io::Result<Option<Piece<'_>>> {
        let line = self.line;
        let mut seen = 0;
        let mut too_long = false;
        let mut cut_short = false;
        let length = loop {
            if let Some(n) = end(self.rest(), seen, self.ended) {
                break n;
            }
            seen = self.rest().len();
            too_long = seen > longest;
            if too_long || (!self.fill()? && end(self.rest(), seen, true).is_none()) {
                cut_short = !too_long;
                let first = memchr::memchr(b'\n', self.rest()).map_or(self.rest().len(), |n| n + 1);
                break first;
            }
        };
        if length == 0 {
            return Ok(None);
        }
        let from = self.at;
        self.advance(length);
        Ok(Some(Piece {
            line,
            bytes: &self.buffer[from..from + length],
            too_long,
            cut_short,
        }))
    }

    /// Passes over the rest of this line, and on to a line that begins with one of `starts`.
    pub(super) fn resume_at(&mut self, starts: &[u8]) -> io::Result<()> {
        loop {
            if self.line()?.is_none() {
                return Ok(());
            }
            if self.rest().is_empty() && !self.fill()? {
                return Ok(());
            }
            if self
                .rest()
                .first()
                .is_some_and(|byte| starts.contains(byte))
            {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    /// Hands out one byte at a time.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else {
                return Ok(0);
            };
            out[0] = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    fn lines(text: &mut Text<'_>) -> Vec<(u64, String, bool)> {
        let mut out = Vec::new();
        while let Some(piece) = text.line().unwrap() {
            out.push((
                piece.line,
                String::from_utf8(piece.bytes.to_vec()).unwrap(),
                piece.too_long,
            ));
        }
        out
    }

    #[test]
    fn lines_are_numbered_and_their_ends_are_taken_off() {
        let mut text = Text::new(Box::new(Drip(b"a\r\n\nbc")));
        let expected = [
            (1, "a".to_owned(), false),
            (2, String::new(), false),
            (3, "bc".to_owned(), false),
        ];
        assert_eq!(lines(&mut text), expected);
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over_alone() {
        let mut text =
            Text::with_longest(Box::new(Drip(b"ok\nthis is far too long\nok again\n")), 10);
        let found = lines(&mut text);
        assert_eq!(found[0], (1, "ok".to_owned(), false));
        assert_eq!(found[1], (2, String::new(), true));
        assert_eq!(found[2], (3, "ok again".to_owned(), false));
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn values_are_cut_one_by_one_with_their_lines() {
        let mut text = Text::new(Box::new(Drip(b" [ {\"a\":\n1},\n {\"b\":2}]")));
        assert_eq!(text.peek().unwrap(), Some(b'['));
        text.bump();
        let first = text.value().unwrap().unwrap();
        assert_eq!((first.line, first.bytes), (1, b"{\"a\":\n1}".as_slice()));
        assert_eq!(text.peek().unwrap(), Some(b','));
        text.bump();
        let second = text.value().unwrap().unwrap();
        assert_eq!((second.line, second.bytes), (3, b"{\"b\":2}".as_slice()));
        assert_eq!(text.peek().unwrap(), Some(b']'));
        assert_eq!(text.value().unwrap(), None);
    }

    #[test]
    fn a_value_without_an_end_is_marked() {
        let mut text = Text::new(Box::new(Drip(b"{\"a\":[1")));
        assert!(text.value().unwrap().unwrap().cut_short);
    }

    #[test]
    fn memory_stays_at_one_piece_however_long_the_input() {
        let line = b"0123456789012345678901234567890123456789012345678901234567890\n";
        let total = 2_000_000usize;
        let endless = io::repeat(0).take(0).chain(Cycle {
            line,
            at: 0,
            left: total * line.len(),
        });
        let mut text = Text::new(Box::new(endless));
        let mut count = 0;
        let mut most = 0;
        while text.line().unwrap().is_some() {
            count += 1;
            most = most.max(text.buffer.capacity());
        }
        assert_eq!(count, total);
        assert!(most <= 4 * STEP, "the buffer grew to {most} bytes");
    }

    struct Cycle<'a> {
        line: &'a [u8],
        at: usize,
        left: usize,
    }

    impl Read for Cycle<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let n = out.len().min(self.line.len() - self.at).min(self.left);
            out[..n].copy_from_slice(&self.line[self.at..self.at + n]);
            self.at = (self.at + n) % self.line.len();
            self.left -= n;
            Ok(n)
        }
    }
}
