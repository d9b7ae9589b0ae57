//! One segment's file with the columns that a query names, page by page. A column's page is decoded when a row of it is
//! first asked for, so a query pays only for the columns it names, and for those only where its other conditions hold.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::cells::{self, CellRef};
use super::lookup::Lookup;
use super::schema::{Item, Kind};
use super::table::Table;
use crate::CaseError;
use crate::manifest::SegmentFile;
use crate::segment::read::{
    Cursor, CursorSource, ListCursor, ListPage, MapCursor, MapPage, NestedCursor, NestedPage,
    PageValues, TableReader, TextArena,
};

/// A segment's file with the columns that were asked for so far.
pub(super) struct OpenSegment {
    pub(super) id: u64,
    pub(super) reader: Arc<TableReader>,
    columns: Vec<Option<Loaded>>,
    /// Rows by text, of columns that are searched again and again.
    lookups: HashMap<usize, Lookup>,
}

/// One column: where its reading stands, and the page that was read last.
struct Loaded {
    cursor: Option<Cursors>,
    at: Option<usize>,
    page: Pages,
}

enum Cursors {
    Plain(Cursor<'static>),
    List(ListCursor<'static>),
    Map(Box<MapCursor<'static>>),
    Maps(Box<(NestedCursor<'static>, ListCursor<'static>)>),
}

pub(super) enum Pages {
    Values(PageValues),
    List(ListPage),
    Map(MapPage),
    Maps(NestedPage, ListPage),
    /// It could not be read; the case has been told.
    Damaged,
}

impl OpenSegment {
    pub(super) fn open(
        id: u64,
        case: &Path,
        file: &SegmentFile,
        columns: usize,
    ) -> Result<OpenSegment, CaseError> {
        Ok(OpenSegment {
            id,
            reader: Arc::new(TableReader::open(case, file)?),
            columns: (0..columns).map(|_| None).collect(),
            lookups: HashMap::new(),
        })
    }

    /// Makes sure that a page of a column is there, or is known to be damaged.
    pub(super) fn load(&mut self, table: &Table, column: usize, page: usize) {
        let reader = &self.reader;
        let Some(slot) = self.columns.get_mut(column) else {
            return;
        };
        if slot.as_ref().is_some_and(|loaded| loaded.at == Some(page)) {
            return;
        }
        let loaded = slot.get_or_insert_with(|| Loaded {
            cursor: match Cursors::open(reader, table, column) {
                Ok(cursor) => Some(cursor),
                Err(error) => {
                    table.case.note(error.to_string());
                    None
                }
            },
            at: None,
            page: Pages::Damaged,
        });
        loaded.at = Some(page);
        loaded.page = Pages::Damaged;
        if let Some(cursor) = &mut loaded.cursor {
            match cursor.page(reader, page) {
                Ok(read) => loaded.page = read,
                Err(error) => table.case.note(error.to_string()),
            }
        }
    }

    pub(super) fn page(&self, column: usize) -> &Pages {
        match self.columns.get(column) {
            Some(Some(loaded)) => &loaded.page,
            _ => &Pages::Damaged,
        }
    }

    /// The rows in which a column with a dictionary holds `text`. Made ready for every text at the first call.
    pub(super) fn rows_with(
        &mut self,
        table: &Table,
        column: usize,
        text: &str,
    ) -> Option<Vec<u32>> {
        if !self.lookups.contains_key(&column) {
            let lookup = self.lookup(table, column)?;
            self.lookups.insert(column, lookup);
        }
        self.lookups
            .get(&column)
            .map(|lookup| lookup.rows(text).to_vec())
    }

    fn lookup(&mut self, table: &Table, column: usize) -> Option<Lookup> {
        let reader = Arc::clone(&self.reader);
        let mut numbers: Vec<u32> = Vec::with_capacity(reader.rows());
        let mut arena: Option<Arc<TextArena>> = None;
        for page in 0..reader.pages() {
            self.load(table, column, page);
            let Pages::Values(PageValues::Texts(texts)) = self.page(column) else {
                return None;
            };
            let same = arena.get_or_insert_with(|| Arc::clone(&texts.arena));
            if !Arc::ptr_eq(same, &texts.arena) {
                return None;
            }
            numbers.extend_from_slice(&texts.numbers);
        }
        Some(Lookup::new(arena?, &numbers))
    }

    /// Hands the value of a column in a row to `sink`. What is damaged is NULL, and the case has been told.
    pub(super) fn cell<R>(
        &mut self,
        table: &Table,
        place: Place,
        column: usize,
        sink: impl FnOnce(CellRef<'_>) -> R,
    ) -> R {
        let (Some(described), Some(beside)) = (table.columns.get(column), table.beside.get(column))
        else {
            return sink(CellRef::Null);
        };
        let own = match described.kind {
            Kind::Attribute { .. } => beside[0],
            _ => column,
        };
        for needed in [own, beside[0], beside[1]] {
            self.load(table, needed, place.page);
        }
        let row = place.row;
        let near = |at: usize| self.page(beside[at]);
        let cell = match (&described.kind, self.page(own)) {
            (_, Pages::Damaged) => CellRef::Null,
            (Kind::Attribute { key, .. }, Pages::Map(map)) => map
                .pairs(row)
                .find(|(known, _, _)| *known == key.as_bytes())
                .map_or(CellRef::Null, |(_, stored, letter)| {
                    cells::typed_stored(letter, stored)
                }),
            (Kind::Map { .. }, Pages::Map(map)) => {
                let mut out = String::new();
                cells::object(&map.attributes(row), &mut out);
                CellRef::owned(out)
            }
            (Kind::Maps { .. }, Pages::Maps(maps, lists)) => {
                cells::array(lists.range(row), |list, out| {
                    cells::object(&maps.attributes(list), out);
                })
            }
            (Kind::List(item), Pages::List(list)) => list_cell(*item, list, row),
            (Kind::Number { .. }, Pages::Values(PageValues::F64(doubles))) => {
                match (letter_of(near(1), row), near(0)) {
                    (b'i', Pages::Values(PageValues::I64(ints))) => ints
                        .get(row)
                        .map_or(CellRef::Null, |int| CellRef::Int(*int)),
                    (b'd', _) => doubles
                        .get(row)
                        .map_or(CellRef::Null, |double| CellRef::Real(*double)),
                    _ => CellRef::Null,
                }
            }
            (Kind::Optional { bit }, Pages::Values(PageValues::F64(doubles))) => match near(0) {
                Pages::Values(PageValues::I32(present))
                    if present.get(row).is_some_and(|bits| bits >> bit & 1 == 1) =>
                {
                    doubles
                        .get(row)
                        .map_or(CellRef::Null, |double| CellRef::Real(*double))
                }
                _ => CellRef::Null,
            },
            (Kind::Body { .. }, Pages::Values(PageValues::Texts(texts))) => {
                match letter_of(near(0), row) {
                    letter @ (b'a' | b'm') => cells::typed_stored(letter, texts.get(row)),
                    _ => CellRef::Text(Cow::Borrowed(texts.get(row))),
                }
            }
            (kind, Pages::Values(values)) => plain_cell(kind, values, row),
            _ => CellRef::Null,
        };
        sink(cell)
    }
}

fn letter_of(page: &Pages, row: usize) -> u8 {
    match page {
        Pages::Values(PageValues::Texts(texts)) => texts.get(row).first().copied().unwrap_or(b'e'),
        _ => b'e',
    }
}

fn plain_cell<'a>(kind: &Kind, values: &'a PageValues, row: usize) -> CellRef<'a> {
    match (kind, values) {
        (Kind::U64, PageValues::I64(values)) => values.get(row).map_or(CellRef::Null, |value| {
            CellRef::unsigned(value.cast_unsigned())
        }),
        (_, PageValues::I64(values)) => values
            .get(row)
            .map_or(CellRef::Null, |value| CellRef::Int(*value)),
        (Kind::U32, PageValues::I32(values)) => values.get(row).map_or(CellRef::Null, |value| {
            CellRef::Int(i64::from(value.cast_unsigned()))
        }),
        (_, PageValues::I32(values)) => values
            .get(row)
            .map_or(CellRef::Null, |value| CellRef::Int(i64::from(*value))),
        (_, PageValues::F64(values)) => values
            .get(row)
            .map_or(CellRef::Null, |value| CellRef::Real(*value)),
        (_, PageValues::Texts(texts)) => CellRef::Text(Cow::Borrowed(texts.get(row))),
    }
}

fn list_cell(item: Item, list: &ListPage, row: usize) -> CellRef<'static> {
    use std::fmt::Write as _;
    // Writing to a String can't fail, so results of `write!` carry nothing.
    cells::array(list.range(row), |at, out| match item {
        Item::U64 => drop(write!(out, "{}", list.i64(at).cast_unsigned())),
        Item::I64 => drop(write!(out, "{}", list.i64(at))),
        Item::U32 => drop(write!(out, "{}", list.i32(at).cast_unsigned())),
        Item::F64 => cells::number(list.f64(at), out),
        Item::Text => crate::wire::text::quoted(&list.text(at), out),
    })
}

impl Cursors {
    fn open(reader: &Arc<TableReader>, table: &Table, column: usize) -> Result<Cursors, CaseError> {
        let Some(column) = table.columns.get(column) else {
            return Err(reader.damaged("a column is asked for that no table has"));
        };
        let name = column.name.as_str();
        Ok(match &column.kind {
            Kind::Map { letters } => {
                Cursors::Map(Box::new(MapCursor::open(reader, name, Some(letters))?))
            }
            Kind::Maps { letters } => Cursors::Maps(Box::new((
                NestedCursor::open(reader, name, letters)?,
                ListCursor::open(reader, letters)?,
            ))),
            Kind::List(_) => Cursors::List(ListCursor::open(reader, name)?),
            _ => Cursors::Plain(reader.open_cursor(name, 0)?),
        })
    }

    fn page(&mut self, reader: &TableReader, page: usize) -> Result<Pages, CaseError> {
        Ok(match self {
            Cursors::Plain(cursor) => {
                let values = cursor.page(page)?.values;
                let held = match &values {
                    PageValues::I64(values) => values.len(),
                    PageValues::I32(values) => values.len(),
                    PageValues::F64(values) => values.len(),
                    PageValues::Texts(texts) => texts.numbers.len(),
                };
                if held != reader.page_range(page).len() {
                    return Err(reader.damaged("a page holds fewer rows than it should"));
                }
                Pages::Values(values)
            }
            Cursors::List(cursor) => Pages::List(cursor.page(page)?),
            Cursors::Map(cursor) => Pages::Map(cursor.page(page)?),
            Cursors::Maps(both) => {
                let (maps, lists) = &mut **both;
                Pages::Maps(maps.page(page)?, lists.page(page)?)
            }
        })
    }
}

/// A row of a segment's file.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place {
    pub(super) page: usize,
    pub(super) row: usize,
}
