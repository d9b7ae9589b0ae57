//! Books: the list of them, and a walk through one, a question at a time.

use playbooks::walk::Run;

/// A book in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookLine {
    pub id: String,
    pub title: String,
    /// The finding that calls for it, if one does.
    pub because: Option<String>,
}

/// A walk: what it came to is known, and is shown a question at a time.
#[derive(Debug, Clone)]
pub struct Walk {
    pub book: String,
    pub run: Option<Run>,
    /// Questions whose answers are seen.
    pub shown: usize,
    /// Lines scrolled back from the last.
    pub scrolled: usize,
}

/// The view.
#[derive(Debug, Clone, Default)]
pub struct BooksView {
    pub lines: Vec<BookLine>,
    pub selected: usize,
    pub walk: Option<Walk>,
}

impl BooksView {
    /// Opens the selected book, or goes on in the one that is open; the book to be walked, if it has to be.
    pub(super) fn open(&mut self) -> Option<String> {
        if let Some(walk) = &mut self.walk {
            let steps = walk.run.as_ref().map_or(0, |run| run.steps.len());
            // One more than there are questions shows what it all came to.
            walk.shown = (walk.shown + 1).min(steps + 1);
            walk.scrolled = 0;
            return None;
        }
        let book = self.lines.get(self.selected)?.id.clone();
        self.walk = Some(Walk {
            book: book.clone(),
            run: None,
            shown: 0,
            scrolled: 0,
        });
        Some(book)
    }

    pub(super) fn take(&mut self, run: Run) {
        if let Some(walk) = &mut self.walk
            && walk.book == run.book
        {
            walk.run = Some(run);
        }
    }

    pub(super) fn move_by(&mut self, rows: isize) {
        match &mut self.walk {
            Some(walk) => {
                walk.scrolled = walk
                    .scrolled
                    .saturating_add_signed(rows.saturating_neg())
                    .min(10_000);
            }
            None => {
                let last = self.lines.len().saturating_sub(1);
                self.selected = self.selected.saturating_add_signed(rows).min(last);
            }
        }
    }
}
