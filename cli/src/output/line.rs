//! A line of output: pieces of text with a meaning each. The command line colours them with SGR codes, the TUI with
//! its own styles; both from the same lines.

use super::{sanitise, width};

/// What a piece of text means. Colour follows from it, and is never the only carrier of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    #[default]
    Plain,
    /// Normal, not worth a look.
    Dim,
    Strong,
    /// Broken.
    Bad,
    /// Suspicious.
    Odd,
    /// The selection, or what the reader asked for.
    Accent,
}

/// A piece of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub text: String,
    pub tone: Tone,
}

/// One line. Text is made harmless as it enters, so what is measured is what is shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Line(Vec<Piece>);

impl Line {
    pub fn new() -> Line {
        Line::default()
    }

    pub fn plain(text: impl AsRef<str>) -> Line {
        Line::new().with(Tone::Plain, text)
    }

    #[must_use]
    pub fn with(mut self, tone: Tone, text: impl AsRef<str>) -> Line {
        self.push(tone, text);
        self
    }

    pub fn push(&mut self, tone: Tone, text: impl AsRef<str>) {
        let text = sanitise::clean(text.as_ref());
        match self.0.last_mut() {
            Some(last) if last.tone == tone => last.text.push_str(&text),
            _ if text.is_empty() => {}
            _ => self.0.push(Piece {
                text: text.into_owned(),
                tone,
            }),
        }
    }

    pub fn append(&mut self, other: Line) {
        for piece in other.0 {
            match self.0.last_mut() {
                Some(last) if last.tone == piece.tone => last.text.push_str(&piece.text),
                _ => self.0.push(piece),
            }
        }
    }

    /// This line, and the other behind it.
    #[must_use]
    pub fn joined(mut self, other: Line) -> Line {
        self.append(other);
        self
    }

    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }

    pub fn columns(&self) -> usize {
        self.0.iter().map(|piece| width::columns(&piece.text)).sum()
    }

    /// The text alone.
    pub fn text(&self) -> String {
        self.0.iter().map(|piece| piece.text.as_str()).collect()
    }

    /// Cut to at most `limit` columns.
    #[must_use]
    pub fn fit(mut self, limit: usize) -> Line {
        if self.columns() <= limit {
            return self;
        }
        let mut left = limit;
        let mut kept = Vec::new();
        for mut piece in self.0.drain(..) {
            let columns = width::columns(&piece.text);
            if columns < left {
                left -= columns;
                kept.push(piece);
                continue;
            }
            // Something follows or this piece is too long: the ellipsis takes the last column.
            piece.text.push('…');
            piece.text = width::fit(&piece.text, left);
            if columns == left && !piece.text.ends_with('…') {
                piece.text = width::fit(&format!("{} …", piece.text), left);
            }
            kept.push(piece);
            break;
        }
        Line(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_harmless_as_soon_as_it_is_in_a_line() {
        let line = Line::plain("a\x1b[2Jb").with(Tone::Bad, "\n");
        assert_eq!(line.text(), "a\\x1b[2Jb\\n");
    }

    #[test]
    fn a_line_is_cut_across_its_pieces() {
        let line = Line::plain("pay")
            .with(Tone::Bad, "ment")
            .with(Tone::Dim, " service");
        for limit in 0..=15 {
            assert!(line.clone().fit(limit).columns() <= limit);
        }
        assert_eq!(line.clone().fit(15).text(), "payment service");
        assert_eq!(line.clone().fit(5).text(), "paym…");
        assert_eq!(line.clone().fit(3).text(), "pa…");
        assert_eq!(line.fit(8).text(), "payment…");
    }

    #[test]
    fn neighbours_of_one_tone_are_one_piece() {
        assert_eq!(Line::plain("a").with(Tone::Plain, "b").pieces().len(), 1);
    }
}
