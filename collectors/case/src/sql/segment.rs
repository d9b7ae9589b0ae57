//! A look at one segment: the rows that meet every condition which can be told from its pages.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::cells::CellRef;
use super::open::{OpenSegment, Pages, Place};
use super::schema::Kind;
use super::table::{Table, Test, Want};
use crate::ids::TraceId;
use crate::manifest::{Content, Segment};
use crate::segment::read::{PageValues, TextArena, TextPage};
use crate::segment::trace_index;

/// Walks the rows of one segment that meet every condition.
pub(super) struct SegmentScan {
    open: Option<OpenSegment>,
    /// Rows still to be looked at, in order.
    ranges: VecDeque<Range<usize>>,
    wants: Arc<Vec<Want>>,
    /// The number of the wanted text in a column's dictionary, for each condition; looked up once.
    numbers: Vec<Option<Known>>,
    page: usize,
    /// Rows of the page that meet the conditions and are still to come.
    chosen: Chosen,
    place: Place,
}

enum Chosen {
    Range(Range<usize>),
    List(std::vec::IntoIter<usize>),
}

/// Where a wanted text stands in a dictionary.
struct Known {
    arena: Arc<TextArena>,
    number: Option<u32>,
}

impl SegmentScan {
    /// `None` if the segment holds nothing that is wanted, or can't be read; the case has been told.
    pub(super) fn start(
        table: &Table,
        segment: &Segment,
        wants: &Arc<Vec<Want>>,
    ) -> Option<SegmentScan> {
        let time = |want: &Want| want.column == 0;
        if wants
            .iter()
            .any(|want| time(want) && !want.possible(segment.first.0, segment.last.0))
        {
            return None;
        }
        let file = segment.file(table.content)?;
        // One trace is found by the index; for one after the other, rows by text are at hand.
        let starts = if table.is_looked_at_often() {
            None
        } else {
            trace_starts(table, segment, wants)
        };
        if starts.as_ref().is_some_and(Vec::is_empty) {
            return None;
        }
        let open = table.take(segment.id).map(Ok).unwrap_or_else(|| {
            OpenSegment::open(segment.id, table.case.path(), file, table.columns.len())
        });
        let mut open = match open {
            Ok(open) => open,
            Err(error) => {
                table.case.note(error.to_string());
                return None;
            }
        };
        let ranges = match starts {
            Some(starts) => starts
                .into_iter()
                .filter_map(|start| trace_rows(table, &mut open, start))
                .collect(),
            None => match looked_up(table, &mut open, wants) {
                Some(rows) => single_rows(rows),
                None => std::iter::once(0..open.reader.rows()).collect(),
            },
        };
        Some(SegmentScan {
            open: Some(open),
            ranges,
            numbers: wants.iter().map(|_| None).collect(),
            wants: Arc::clone(wants),
            page: 0,
            chosen: Chosen::Range(0..0),
            place: Place::default(),
        })
    }

    /// Goes to the next row; false at the end, or when the query has to stop.
    pub(super) fn advance(&mut self, table: &Table) -> bool {
        loop {
            let next = match &mut self.chosen {
                Chosen::Range(range) => range.next(),
                Chosen::List(list) => list.next(),
            };
            if let Some(row) = next {
                self.place = Place {
                    page: self.page,
                    row,
                };
                return true;
            }
            if table.stop.now() || !self.next_page(table) {
                return false;
            }
        }
    }

    fn next_page(&mut self, table: &Table) -> bool {
        let Some(open) = &mut self.open else {
            return false;
        };
        while self.ranges.front().is_some_and(Range::is_empty) {
            self.ranges.pop_front();
        }
        let Some(range) = self.ranges.front_mut() else {
            return false;
        };
        let page = open.reader.page_of(range.start);
        let rows = open.reader.page_range(page);
        let until = range.end.min(rows.end);
        let inside = range.start - rows.start..until - rows.start;
        range.start = until;
        self.page = page;
        self.chosen = Chosen::Range(inside.clone());
        let mut list: Option<Vec<usize>> = None;
        for (at, want) in self.wants.iter().enumerate() {
            open.load(table, want.column, page);
            let Pages::Values(values) = open.page(want.column) else {
                // SQLite will see NULL there, and decide.
                continue;
            };
            let unsigned = table.columns[want.column].kind == Kind::U64;
            let met = test(want, values, unsigned, &mut self.numbers[at]);
            let left: Vec<usize> = match list {
                Some(list) => list.into_iter().filter(|row| met(*row)).collect(),
                None => inside.clone().filter(|row| met(*row)).collect(),
            };
            let none = left.is_empty();
            list = Some(left);
            if none {
                break;
            }
        }
        if let Some(list) = list {
            self.chosen = Chosen::List(list.into_iter());
        }
        true
    }

    pub(super) fn cell<R>(
        &mut self,
        table: &Table,
        column: usize,
        sink: impl FnOnce(CellRef<'_>) -> R,
    ) -> R {
        match &mut self.open {
            Some(open) => open.cell(table, self.place, column, sink),
            None => sink(CellRef::Null),
        }
    }

    /// Leaves the segment open for the next look at it.
    pub(super) fn finish(&mut self, table: &Table) {
        if let Some(open) = self.open.take() {
            table.give_back(open);
        }
    }
}

/// The rows that hold one of the wanted texts, if the segment was searched for such texts before.
fn looked_up(table: &Table, open: &mut OpenSegment, wants: &[Want]) -> Option<Vec<u32>> {
    if !table.is_looked_at_often() {
        return None;
    }
    // Of several texts the one with the fewest rows.
    wants
        .iter()
        .filter_map(
            |want| match (&want.test, &table.columns[want.column].kind) {
                (Test::Text(text), Kind::Text) => open.rows_with(table, want.column, text),
                _ => None,
            },
        )
        .min_by_key(Vec::len)
}

/// Rows in order as ranges, neighbours together.
fn single_rows(rows: Vec<u32>) -> VecDeque<Range<usize>> {
    let mut ranges: VecDeque<Range<usize>> = VecDeque::new();
    for row in rows {
        let row = row as usize;
        match ranges.back_mut() {
            Some(last) if last.end == row => last.end += 1,
            _ => ranges.push_back(row..row + 1),
        }
    }
    ranges
}

/// How a condition is tested on the rows of a page.
fn test<'a>(
    want: &'a Want,
    values: &'a PageValues,
    unsigned: bool,
    known: &mut Option<Known>,
) -> Box<dyn Fn(usize) -> bool + 'a> {
    match (&want.test, values) {
        (Test::Number(op, than), PageValues::I64(values)) if unsigned => Box::new(move |row| {
            values
                .get(row)
                .is_some_and(|value| op.holds(i128::from(value.cast_unsigned()), *than))
        }),
        (Test::Number(op, than), PageValues::I64(values)) => Box::new(move |row| {
            values
                .get(row)
                .is_some_and(|value| op.holds(i128::from(*value), *than))
        }),
        (Test::Text(text), PageValues::Texts(texts)) => test_text(text, texts, known),
        // The others are left to SQLite.
        _ => Box::new(|_| true),
    }
}

fn test_text<'a>(
    text: &'a str,
    texts: &'a TextPage,
    known: &mut Option<Known>,
) -> Box<dyn Fn(usize) -> bool + 'a> {
    // A page of texts without a dictionary has an arena of its own, with one entry a row.
    let counts_up = texts.numbers.first() == Some(&0)
        && texts.numbers.last().map(|last| *last as usize + 1) == Some(texts.arena.len())
        && texts.numbers.len() == texts.arena.len();
    if counts_up {
        return Box::new(move |row| texts.get(row) == text.as_bytes());
    }
    let number = match known {
        Some(known) if Arc::ptr_eq(&known.arena, &texts.arena) => known.number,
        _ => {
            let number = texts.arena.find(text.as_bytes());
            *known = Some(Known {
                arena: Arc::clone(&texts.arena),
                number,
            });
            number
        }
    };
    match number {
        Some(number) => Box::new(move |row| texts.numbers.get(row) == Some(&number)),
        None => Box::new(|_| false),
    }
}

/// Where traces that may be the wanted one begin; `None` if no trace is asked for.
fn trace_starts(table: &Table, segment: &Segment, wants: &[Want]) -> Option<Vec<usize>> {
    if table.content != Content::Traces {
        return None;
    }
    let wanted =
        wants
            .iter()
            .find_map(|want| match (&want.test, table.columns.get(want.column)) {
                (Test::Text(id), Some(column)) if column.name == "TraceId" => Some(id),
                _ => None,
            })?;
    let Some(id) = TraceId::from_hex(wanted.as_bytes()) else {
        return Some(Vec::new());
    };
    let index = segment.file(Content::TraceIndex)?;
    match trace_index::find(table.case.path(), index, id.fold()) {
        Ok(starts) => Some(starts),
        // Without its index the file is read whole.
        Err(error) => {
            table.case.note(error.to_string());
            None
        }
    }
}

/// The rows of the trace that begins at `start`: all that follow with the same id.
fn trace_rows(table: &Table, open: &mut OpenSegment, start: usize) -> Option<Range<usize>> {
    let column = table
        .columns
        .iter()
        .position(|column| column.name == "TraceId")?;
    let reader = Arc::clone(&open.reader);
    if start >= reader.rows() {
        table.case.note(
            reader
                .damaged("its index names rows it does not have")
                .to_string(),
        );
        return None;
    }
    let mut id: Option<Vec<u8>> = None;
    for page in reader.page_of(start)..reader.pages() {
        let rows = reader.page_range(page);
        open.load(table, column, page);
        let Pages::Values(PageValues::Texts(texts)) = open.page(column) else {
            return Some(start..rows.end);
        };
        for row in rows.start.max(start)..rows.end {
            let here = texts.get(row - rows.start);
            if id.get_or_insert_with(|| here.to_vec()) != here {
                return Some(start..row);
            }
        }
    }
    Some(start..reader.rows())
}
