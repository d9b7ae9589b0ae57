//! Columns that span several leaves: lists, maps, and lists of maps, one page of each.

use super::decode::{Page, PageValues, TextPage};
use super::table::{Cursor, CursorSource};
use crate::CaseError;
use crate::model::{Attributes, Value};

/// Where each row's (or list's) items begin among a page's values; one more entry than rows.
fn starts(page: &Page, row_level: u8, present: u8) -> Vec<u32> {
    let mut starts = Vec::new();
    let mut items = 0;
    for (repetition, definition) in page.repetition.iter().zip(&page.definition) {
        if *repetition <= row_level {
            starts.push(items);
        }
        items += u32::from(*definition >= present);
    }
    starts.push(items);
    starts
}

fn range(starts: &[u32], at: usize) -> std::ops::Range<usize> {
    match (starts.get(at), starts.get(at + 1)) {
        (Some(from), Some(until)) => *from as usize..*until as usize,
        _ => 0..0,
    }
}

fn texts(page: Page) -> TextPage {
    match page.values {
        PageValues::Texts(texts) => texts,
        _ => TextPage::default(),
    }
}

/// Cursors of a list column.
pub(crate) struct ListCursor<'a>(Cursor<'a>);

/// One page of a list column.
pub(crate) struct ListPage {
    starts: Vec<u32>,
    values: PageValues,
}

impl<'a> ListCursor<'a> {
    pub(crate) fn open(table: impl CursorSource<'a>, column: &str) -> Result<Self, CaseError> {
        Ok(ListCursor(table.open_cursor(column, 0)?))
    }

    pub(crate) fn page(&mut self, page: usize) -> Result<ListPage, CaseError> {
        let page = self.0.page(page)?;
        Ok(ListPage {
            starts: starts(&page, 0, 1),
            values: page.values,
        })
    }
}

impl ListPage {
    pub(crate) fn range(&self, row: usize) -> std::ops::Range<usize> {
        range(&self.starts, row)
    }

    pub(crate) fn i64(&self, at: usize) -> i64 {
        match &self.values {
            PageValues::I64(values) => values.get(at).copied().unwrap_or(0),
            _ => 0,
        }
    }

    pub(crate) fn i32(&self, at: usize) -> i32 {
        match &self.values {
            PageValues::I32(values) => values.get(at).copied().unwrap_or(0),
            _ => 0,
        }
    }

    pub(crate) fn f64(&self, at: usize) -> f64 {
        match &self.values {
            PageValues::F64(values) => values.get(at).copied().unwrap_or(0.0),
            _ => 0.0,
        }
    }

    pub(crate) fn bytes(&self, at: usize) -> &[u8] {
        match &self.values {
            PageValues::Texts(texts) => texts.get(at),
            _ => &[],
        }
    }

    pub(crate) fn text(&self, at: usize) -> String {
        String::from_utf8_lossy(self.bytes(at)).into_owned()
    }
}

/// Cursors of a map column and the letters beside it.
pub(crate) struct MapCursor<'a> {
    keys: Cursor<'a>,
    values: Cursor<'a>,
    types: Option<Cursor<'a>>,
}

/// One page of a map column.
pub(crate) struct MapPage {
    starts: Vec<u32>,
    keys: TextPage,
    values: TextPage,
    types: TextPage,
}

impl<'a> MapCursor<'a> {
    /// `types` names the column of letters; without it every value reads as text.
    pub(crate) fn open(
        table: impl CursorSource<'a>,
        column: &str,
        types: Option<&str>,
    ) -> Result<Self, CaseError> {
        Ok(MapCursor {
            keys: table.open_cursor(column, 0)?,
            values: table.open_cursor(column, 1)?,
            types: types.map(|types| table.open_cursor(types, 0)).transpose()?,
        })
    }

    pub(crate) fn page(&mut self, page: usize) -> Result<MapPage, CaseError> {
        let keys = self.keys.page(page)?;
        Ok(MapPage {
            starts: starts(&keys, 0, 1),
            keys: texts(keys),
            values: self.values.texts(page)?,
            types: match &mut self.types {
                Some(types) => types.texts(page)?,
                None => TextPage::default(),
            },
        })
    }
}

impl MapPage {
    pub(crate) fn attributes(&self, row: usize) -> Attributes {
        gather(
            range(&self.starts, row),
            &self.keys,
            &self.values,
            self.types.get(row),
        )
    }

    /// Pairs of a row's map.
    pub(crate) fn len(&self, row: usize) -> usize {
        range(&self.starts, row).len()
    }

    /// Key, value and letter, as they are stored.
    pub(crate) fn pairs(&self, row: usize) -> impl Iterator<Item = (&[u8], &[u8], u8)> {
        let letters = self.types.get(row);
        range(&self.starts, row).enumerate().map(move |(i, at)| {
            (
                self.keys.get(at),
                self.values.get(at),
                letters.get(i).copied().unwrap_or(b's'),
            )
        })
    }
}

/// Cursors of a list of maps and the letters beside it.
pub(crate) struct NestedCursor<'a> {
    keys: Cursor<'a>,
    values: Cursor<'a>,
    types: Cursor<'a>,
}

/// One page of a list of maps.
pub(crate) struct NestedPage {
    /// Where each list's pairs begin.
    pairs: Vec<u32>,
    keys: TextPage,
    values: TextPage,
    types: TextPage,
}

impl<'a> NestedCursor<'a> {
    pub(crate) fn open(
        table: impl CursorSource<'a>,
        column: &str,
        types: &str,
    ) -> Result<Self, CaseError> {
        Ok(NestedCursor {
            keys: table.open_cursor(column, 0)?,
            values: table.open_cursor(column, 1)?,
            types: table.open_cursor(types, 0)?,
        })
    }

    pub(crate) fn page(&mut self, page: usize) -> Result<NestedPage, CaseError> {
        let keys = self.keys.page(page)?;
        let types = self.types.page(page)?;
        // A row without lists still has an entry in the levels (definition 0) that stands for no list.
        let mut pairs = Vec::new();
        let mut seen = 0;
        for (repetition, definition) in keys.repetition.iter().zip(&keys.definition) {
            if *repetition <= 1 && *definition >= 1 {
                pairs.push(seen);
            }
            seen += u32::from(*definition == 2);
        }
        pairs.push(seen);
        Ok(NestedPage {
            pairs,
            keys: texts(keys),
            values: self.values.texts(page)?,
            types: texts(types),
        })
    }
}

impl NestedPage {
    /// The attributes of list number `list` of the page; lists are numbered through all rows.
    pub(crate) fn attributes(&self, list: usize) -> Attributes {
        gather(
            range(&self.pairs, list),
            &self.keys,
            &self.values,
            self.types.get(list),
        )
    }
}

fn gather(
    pairs: std::ops::Range<usize>,
    keys: &TextPage,
    values: &TextPage,
    letters: &[u8],
) -> Attributes {
    Attributes(
        pairs
            .enumerate()
            .map(|(i, at)| {
                let letter = letters.get(i).copied().unwrap_or(b's');
                (keys.text(at).into_owned(), value(letter, &values.text(at)))
            })
            .collect(),
    )
}

/// A value from its text and the letter that says what it was.
pub(crate) fn value(letter: u8, text: &str) -> Value {
    crate::wire::text::value_of(letter, text)
}
