//! Files of what watchers saw: a few columns to find rows by, and the whole row as JSON.

use std::path::Path;

use serde::de::DeserializeOwned;

use super::Written;
use super::intern::Interner;
use super::parquet::{TableFile, Texts, Values};
use crate::CaseError;
use crate::manifest::Content;
use crate::signal::{
    JournalRecord, LedgerRow, ProbeResult, RegistryEvent, RegistrySnapshot, Signal,
};
use crate::time::Nanos;

/// Rows of one kind gathered for one file.
pub(super) struct WatchedTable {
    signal: Signal,
    at: Vec<u64>,
    texts: Interner,
    subject: Vec<u32>,
    kind: Vec<u32>,
    order_id: Vec<u32>,
    row: Vec<u32>,
}

const SCHEMA: &str = "message rows {
    required int64 Timestamp (TIMESTAMP(NANOS,true));
    required binary Subject (STRING);
    required binary Kind (STRING);
    required binary OrderId (STRING);
    required binary Row (STRING);
}";

/// What a row is found by.
pub(crate) struct Key<'a> {
    pub(crate) at: Nanos,
    pub(crate) subject: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) order_id: Option<&'a str>,
}

/// Calls `each` with every row of JSON lines: what it is found by, and the line.
pub(crate) fn each_row(
    signal: Signal,
    payload: &[u8],
    mut each: impl FnMut(Key<'_>, &[u8]),
) -> Result<(), &'static str> {
    for line in payload.split(|byte| *byte == b'\n') {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match signal {
            Signal::RegistrySnapshots => read(line).map(|row: RegistrySnapshot| {
                let key = Key {
                    at: row.at,
                    subject: &row.registry,
                    kind: "snapshot",
                    order_id: None,
                };
                each(key, line);
            }),
            Signal::RegistryEvents => read(line).map(|row: RegistryEvent| {
                let key = Key {
                    at: row.at,
                    subject: &row.id,
                    kind: &row.kind,
                    order_id: None,
                };
                each(key, line);
            }),
            Signal::Probes => read(line).map(|row: ProbeResult| {
                let key = Key {
                    at: row.at,
                    subject: row.instance.as_deref().unwrap_or(&row.address),
                    kind: &row.check,
                    order_id: None,
                };
                each(key, line);
            }),
            Signal::Journal => read(line).map(|row: JournalRecord| {
                let key = Key {
                    at: row.at,
                    subject: &row.saga_id,
                    kind: &row.kind,
                    order_id: row.order_id.as_deref(),
                };
                each(key, line);
            }),
            _ => read(line).map(|row: LedgerRow| {
                let key = Key {
                    at: row.at,
                    subject: &row.key,
                    kind: &row.ledger,
                    order_id: row.order_id.as_deref(),
                };
                each(key, line);
            }),
        }?;
    }
    Ok(())
}

fn read<T: DeserializeOwned>(line: &[u8]) -> Result<T, &'static str> {
    serde_json::from_slice(line).map_err(|_| "the line is no such row")
}

impl WatchedTable {
    pub(super) fn new(signal: Signal) -> WatchedTable {
        WatchedTable {
            signal,
            at: Vec::new(),
            texts: Interner::default(),
            subject: Vec::new(),
            kind: Vec::new(),
            order_id: Vec::new(),
            row: Vec::new(),
        }
    }

    pub(super) fn content(&self) -> Content {
        match self.signal {
            Signal::RegistrySnapshots => Content::RegistrySnapshots,
            Signal::RegistryEvents => Content::RegistryEvents,
            Signal::Probes => Content::Probes,
            Signal::Journal => Content::Journal,
            _ => Content::Ledger,
        }
    }

    pub(super) fn window(&self) -> (Nanos, Nanos) {
        let first = self.at.iter().min().copied().unwrap_or(0);
        let last = self.at.iter().max().copied().unwrap_or(0);
        (Nanos(first), Nanos(last))
    }

    /// Takes JSON lines.
    pub(super) fn push(&mut self, payload: &[u8]) -> Result<(), &'static str> {
        each_row(self.signal, payload, |key, line| {
            self.at.push(key.at.0);
            self.subject.push(self.texts.intern(key.subject.as_bytes()));
            self.kind.push(self.texts.intern(key.kind.as_bytes()));
            self.order_id
                .push(self.texts.intern(key.order_id.unwrap_or("").as_bytes()));
            self.row.push(self.texts.intern(line));
        })
    }

    pub(super) fn write(&self, path: &Path) -> Result<Written, CaseError> {
        let mut order: Vec<usize> = (0..self.at.len()).collect();
        order.sort_by_key(|row| self.at[*row]);
        let mut file = TableFile::create(path, SCHEMA, order.len())?;
        file.plain(&Values::I64(
            order
                .iter()
                .map(|row| self.at[*row].cast_signed())
                .collect(),
        ))?;
        for column in [&self.subject, &self.kind, &self.order_id, &self.row] {
            file.plain(&Values::Texts(Texts {
                table: &self.texts,
                numbers: order.iter().map(|row| column[*row]).collect(),
            }))?;
        }
        file.finish()
    }
}
