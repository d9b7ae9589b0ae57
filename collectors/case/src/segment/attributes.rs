//! Attributes as columns: keys and values interned, types beside them, gathered into Parquet maps.
//!
//! A map column holds text, as in the ClickHouse schema. So that nothing is lost, a letter per attribute says what the
//! value was: s text, i integer, d double, b boolean, x bytes, a array, m map, e empty.

use std::fmt::Write as _;

use super::intern::Interner;
use super::parquet::{Levels, TableFile, Texts, Values};
use crate::CaseError;
use crate::model::{Attributes, Value};
use crate::wire::text;
use crate::wire::{AnyView, KeyValueView};

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
}

/// The tables that lists point into; one set serves a whole file.
#[derive(Default)]
pub(super) struct AttributeTables {
    pub(super) keys: Interner,
    pub(super) values: Interner,
    pub(super) types: Interner,
    number: String,
}

impl AttributeTables {
    fn value(&mut self, value: &AnyView<'_>) -> (u32, u8) {
        match value {
            AnyView::Text(value) => return (self.values.intern(value.as_bytes()), b's'),
            AnyView::Bool(true) => return (self.values.intern(b"true"), b'b'),
            AnyView::Bool(false) => return (self.values.intern(b"false"), b'b'),
            _ => {}
        }
        self.number.clear();
        let letter = match value {
            AnyView::Int(value) => {
                // Writing to a String can't fail.
                let _ = write!(self.number, "{value}");
                b'i'
            }
            AnyView::Double(value) => {
                self.number.push_str(&text::double(*value));
                b'd'
            }
            AnyView::Bytes(bytes) => {
                text::base64(bytes, &mut self.number);
                b'x'
            }
            AnyView::Array(_) => {
                self.number = text::nested(&value.to_value());
                b'a'
            }
            AnyView::Map(_) => {
                self.number = text::nested(&value.to_value());
                b'm'
            }
            _ => b'e',
        };
        (self.values.intern(self.number.as_bytes()), letter)
    }
}

impl AttributeLists {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Adds a list as it stands in a request.
    pub(super) fn push(&mut self, pairs: &[KeyValueView<'_>], tables: &mut AttributeTables) {
        self.letters.clear();
        for pair in pairs {
            let (value, letter) = tables.value(&pair.value);
            self.keys.push(tables.keys.intern(pair.key.as_bytes()));
            self.values.push(value);
            self.letters.push(letter);
        }
        self.close(tables);
    }

    /// Adds a list of owned attributes.
    pub(super) fn push_owned(&mut self, pairs: &Attributes, tables: &mut AttributeTables) {
        self.letters.clear();
        for (key, value) in pairs.iter() {
            let (value, letter) = match value {
                Value::Empty => tables.value(&AnyView::Empty),
                Value::Text(text) => tables.value(&AnyView::Text(text)),
                Value::Bool(value) => tables.value(&AnyView::Bool(*value)),
                Value::Int(value) => tables.value(&AnyView::Int(*value)),
                Value::Double(value) => tables.value(&AnyView::Double(*value)),
                Value::Bytes(bytes) => tables.value(&AnyView::Bytes(bytes)),
                nested => {
                    let text = text::nested(nested);
                    let letter = if matches!(nested, Value::Map(_)) {
                        b'm'
                    } else {
                        b'a'
                    };
                    (tables.values.intern(text.as_bytes()), letter)
                }
            };
            self.keys.push(tables.keys.intern(key.as_bytes()));
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
