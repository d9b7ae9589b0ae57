//! Attributes as columns: keys and values interned, types beside them, gathered into Parquet maps.
//!
//! A map column holds text, as in the ClickHouse schema. So that nothing is lost, a letter per attribute says what the
//! value was: s text, i integer, d double, b boolean, x bytes, a array, m map, e empty.

use super::intern::Interner;
use super::parquet::{Levels, TableFile, Texts, Values};
use crate::CaseError;
use crate::model::{Attributes, Value};
use crate::wire::text;
use crate::wire::{AnyView, KeyValueView, WireError};

/// Many lists of attributes, back to back.
#[derive(Default)]
pub(super) struct AttributeLists {
    keys: Vec<u32>,
    values: Vec<u32>,
    /// Where each list ends.
    ends: Vec<u32>,
    /// The letters of each list, interned.
    types: Vec<u32>,
    /// The letters of the list being filled.
    letters: Vec<u8>,
    last_types: Option<u32>,
    /// How long the last list was.
    last_len: usize,
}

/// Key, value and letter of an attribute once it has them.
pub(super) type Numbered = Option<(u32, u32, u8)>;

/// The tables that lists point into; one set serves a whole file.
#[derive(Default)]
pub(super) struct AttributeTables {
    pub(super) keys: Interner,
    pub(super) values: Interner,
    pub(super) types: Interner,
    of_keys: Vec<OfKey>,
    rendered: String,
}

impl AttributeTables {
    /// Interns a value; the one last seen under the same key is tried first.
    fn value(&mut self, key: u32, value: &AnyView<'_>) -> (u32, u8) {
        let letter = match value {
            AnyView::Text(text) => return (self.intern(key, text.as_bytes()), b's'),
            AnyView::Bool(true) => return (self.intern(key, b"true"), b'b'),
            AnyView::Bool(false) => return (self.intern(key, b"false"), b'b'),
            AnyView::Int(value) => {
                let mut digits = [0; 20];
                return (self.intern(key, decimal(*value, &mut digits)), b'i');
            }
            AnyView::Double(value) => {
                self.rendered = text::double(*value);
                b'd'
            }
            AnyView::Bytes(bytes) => {
                self.rendered.clear();
                text::base64(bytes, &mut self.rendered);
                b'x'
            }
            AnyView::Array(_) => {
                self.rendered = text::nested(&value.to_value());
                b'a'
            }
            AnyView::Map(_) => {
                self.rendered = text::nested(&value.to_value());
                b'm'
            }
            AnyView::Empty => {
                self.rendered.clear();
                b'e'
            }
        };
        let rendered = std::mem::take(&mut self.rendered);
        let number = self.intern(key, rendered.as_bytes());
        self.rendered = rendered;
        (number, letter)
    }

    fn intern(&mut self, key: u32, text: &[u8]) -> u32 {
        let key = key as usize;
        if self.of_keys.len() <= key {
            self.of_keys.resize(key + 1, OfKey::default());
        }
        let of_key = &mut self.of_keys[key];
        of_key.seen = of_key.seen.wrapping_add(1);
        // Ids, addresses, sizes: looking for what is hardly ever there costs more than keeping it twice.
        if of_key.is_unlike() && !of_key.seen.is_multiple_of(LOOK_EVERY) {
            return self.values.add(text);
        }
        if of_key.last != UNSEEN && self.values.get(of_key.last) == text {
            return of_key.last;
        }
        let known = self.values.len();
        let number = self.values.intern(text);
        of_key.looked += 1;
        of_key.new += u32::from(number as usize == known);
        of_key.last = number;
        number
    }
}

/// What is known of the values under one key.
#[derive(Debug, Clone, Copy)]
struct OfKey {
    /// The last one that was looked up.
    last: u32,
    seen: u32,
    /// How many were looked up, and how many of those were new.
    looked: u32,
    new: u32,
}

impl Default for OfKey {
    fn default() -> Self {
        OfKey {
            last: UNSEEN,
            seen: 0,
            looked: 0,
            new: 0,
        }
    }
}

impl OfKey {
    /// Whether its values hardly ever come again.
    fn is_unlike(&self) -> bool {
        self.looked >= 256 && self.looked - self.new <= self.looked / 64
    }
}

/// Of values that hardly ever come again, every so many are looked up all the same.
const LOOK_EVERY: u32 = 16;

const UNSEEN: u32 = u32::MAX;

/// A number's digits; the general formatter costs several times as much.
fn decimal(value: i64, room: &mut [u8; 20]) -> &[u8] {
    let mut at = room.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        room[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        at -= 1;
        room[at] = b'-';
    }
    &room[at..]
}

impl AttributeLists {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Adds a list as it stands in a request.
    pub(super) fn push(&mut self, pairs: &[KeyValueView<'_>], tables: &mut AttributeTables) {
        self.letters.clear();
        // Lists of the same kind of span come with the same keys in the same places, and often the same values: a look
        // at the last list saves most look-ups.
        let previous = self
            .ends
            .len()
            .checked_sub(1)
            .map_or(0..0, |last| self.range(last));
        for (i, pair) in pairs.iter().enumerate() {
            let guess = previous.clone().nth(i).map(|at| self.keys[at]);
            let key = match guess {
                Some(guess) if tables.keys.get(guess) == pair.key.as_bytes() => guess,
                _ => tables.keys.intern(pair.key.as_bytes()),
            };
            let (value, letter) = tables.value(key, &pair.value);
            self.keys.push(key);
            self.values.push(value);
            self.letters.push(letter);
        }
        self.close(tables);
    }

    /// Adds one attribute to the list that is being filled, as it stands in a request. `known` holds what it became when
    /// the same bytes stood before in that request.
    pub(super) fn add_body(
        &mut self,
        body: &[u8],
        known: Option<&mut Numbered>,
        tables: &mut AttributeTables,
    ) -> Result<(), WireError> {
        let mut unknown = None;
        let known = known.unwrap_or(&mut unknown);
        let (key, value, letter) = match *known {
            Some(numbered) => numbered,
            None => {
                let pair = KeyValueView::read(body)?;
                let guess = self
                    .keys
                    .len()
                    .checked_sub(self.last_len)
                    .and_then(|at| self.keys.get(at))
                    .copied();
                let key = match guess {
                    Some(guess) if tables.keys.get(guess) == pair.key.as_bytes() => guess,
                    _ => tables.keys.intern(pair.key.as_bytes()),
                };
                let (value, letter) = tables.value(key, &pair.value);
                *known = Some((key, value, letter));
                (key, value, letter)
            }
        };
        self.keys.push(key);
        self.values.push(value);
        self.letters.push(letter);
        Ok(())
    }

    /// The list that was being filled is one more list.
    pub(super) fn end_list(&mut self, tables: &mut AttributeTables) {
        self.last_len = self.letters.len();
        self.close(tables);
        self.letters.clear();
    }

    /// The list that was being filled is none.
    pub(super) fn drop_list(&mut self) {
        let len = self.keys.len() - self.letters.len();
        self.keys.truncate(len);
        self.values.truncate(len);
        self.letters.clear();
    }

    /// Adds a list of owned attributes.
    pub(super) fn push_owned(&mut self, pairs: &Attributes, tables: &mut AttributeTables) {
        self.letters.clear();
        for (key, value) in pairs.iter() {
            let key = tables.keys.intern(key.as_bytes());
            let (value, letter) = match value {
                Value::Empty => tables.value(key, &AnyView::Empty),
                Value::Text(text) => tables.value(key, &AnyView::Text(text)),
                Value::Bool(value) => tables.value(key, &AnyView::Bool(*value)),
                Value::Int(value) => tables.value(key, &AnyView::Int(*value)),
                Value::Double(value) => tables.value(key, &AnyView::Double(*value)),
                Value::Bytes(bytes) => tables.value(key, &AnyView::Bytes(bytes)),
                nested => {
                    let letter = if matches!(nested, Value::Map(_)) {
                        b'm'
                    } else {
                        b'a'
                    };
                    (tables.intern(key, text::nested(nested).as_bytes()), letter)
                }
            };
            self.keys.push(key);
            self.values.push(value);
            self.letters.push(letter);
        }
        self.close(tables);
    }

    /// Value and letter of the first attribute of the first list.
    pub(super) fn first(&self) -> Option<(u32, u32)> {
        Some((*self.values.first()?, *self.types.first()?))
    }

    fn close(&mut self, tables: &mut AttributeTables) {
        self.ends.push(self.keys.len() as u32);
        let types = match self.last_types {
            Some(last) if tables.types.get(last) == self.letters => last,
            _ => tables.types.intern(&self.letters),
        };
        self.last_types = Some(types);
        self.types.push(types);
    }

    fn range(&self, list: usize) -> std::ops::Range<usize> {
        let from = if list == 0 {
            0
        } else {
            self.ends[list - 1] as usize
        };
        from..self.ends[list] as usize
    }

    /// Writes one list a row as a map column and a column of letters.
    pub(super) fn write(
        &self,
        rows: impl Iterator<Item = usize> + Clone,
        tables: &AttributeTables,
        file: &mut TableFile,
    ) -> Result<(), CaseError> {
        let mut levels = Levels::default();
        for row in rows.clone() {
            let len = self.range(row).len();
            levels.repetition.push(0);
            levels.definition.push(u8::from(len > 0));
            for _ in 1..len {
                levels.repetition.push(1);
                levels.definition.push(1);
            }
        }
        let flat = || rows.clone().flat_map(|row| self.range(row));
        self.columns(flat, tables, &levels, file)?;
        file.plain(&Values::Texts(Texts {
            table: &tables.types,
            numbers: rows.map(|row| self.types[row]).collect(),
        }))
    }

    /// Writes several lists a row (those of a span's events, say) as a list of maps and a list of letters.
    pub(super) fn write_nested(
        &self,
        rows: impl Iterator<Item = std::ops::Range<usize>> + Clone,
        tables: &AttributeTables,
        file: &mut TableFile,
    ) -> Result<(), CaseError> {
        let mut levels = Levels::default();
        for lists in rows.clone() {
            if lists.is_empty() {
                levels.repetition.push(0);
                levels.definition.push(0);
            }
            for (i, list) in lists.enumerate() {
                let len = self.range(list).len();
                levels.repetition.push(u8::from(i > 0));
                levels.definition.push(if len == 0 { 1 } else { 2 });
                for _ in 1..len {
                    levels.repetition.push(2);
                    levels.definition.push(2);
                }
            }
        }
        let flat = || rows.clone().flatten().flat_map(|list| self.range(list));
        self.columns(flat, tables, &levels, file)?;
        let types = Values::Texts(Texts {
            table: &tables.types,
            numbers: rows
                .clone()
                .flatten()
                .map(|list| self.types[list])
                .collect(),
        });
        file.column(&types, &list_levels(rows.map(|lists| lists.len())))
    }

    fn columns<I: Iterator<Item = usize>>(
        &self,
        flat: impl Fn() -> I,
        tables: &AttributeTables,
        levels: &Levels,
        file: &mut TableFile,
    ) -> Result<(), CaseError> {
        let keys = Texts {
            table: &tables.keys,
            numbers: flat().map(|at| self.keys[at]).collect(),
        };
        let values = Texts {
            table: &tables.values,
            numbers: flat().map(|at| self.values[at]).collect(),
        };
        let (table, numbers) = values.grouped(&keys.numbers);
        file.column(&Values::Texts(keys), levels)?;
        let table = &table;
        file.column(&Values::Texts(Texts { table, numbers }), levels)
    }
}

/// Levels of a list column from the length of each row's list.
pub(super) fn list_levels(lengths: impl Iterator<Item = usize>) -> Levels {
    let mut levels = Levels::default();
    for len in lengths {
        levels.repetition.push(0);
        levels.definition.push(u8::from(len > 0));
        for _ in 1..len {
            levels.repetition.push(1);
            levels.definition.push(1);
        }
    }
    levels
}
