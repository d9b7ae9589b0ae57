//! What an import found and did: counts, the window, what was bad and where. Rendering is left to the caller.

use std::collections::BTreeMap;
use std::fmt;

use case::Nanos;
use serde::Serialize;

use super::recognise::Format;
use super::source::Compression;

/// How many bad records are kept with their reasons; the others are counted.
pub const SHOWN_BAD_RECORDS: usize = 20;
/// How many rows a preview shows of each signal.
pub const PREVIEW_ROWS: usize = 5;
/// How many services are counted by name; a file with more is still counted whole.
const NAMED_SERVICES: usize = 1_000;

/// What an import read, kept and refused.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub format: Format,
    pub compression: Compression,
    /// Which field was taken for what, in the order of roles.
    pub mapping: Vec<Mapped>,
    /// Records (lines, elements, messages, rows) read, bad ones included.
    pub records: u64,
    pub spans: u64,
    pub logs: u64,
    pub points: u64,
    /// Metrics the points came under, where the format groups them.
    pub metrics: u64,
    pub first: Option<Nanos>,
    pub last: Option<Nanos>,
    pub services: BTreeMap<String, u64>,
    pub bad: BadRecords,
    /// Items the case refused, with what it said.
    pub refused: u64,
    pub refusal: Option<String>,
    /// Items in requests the case already had, byte for byte.
    pub duplicates: u64,
    /// What was done to records that are kept, and to how many.
    pub notes: BTreeMap<String, u64>,
    /// The first rows, as text.
    pub preview: Vec<String>,
}

/// One role (time, trace id …) and the fields that filled it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mapped {
    pub role: String,
    pub from: String,
    pub records: u64,
}

/// Records that could not be read.
#[derive(Debug, Clone, Default, Serialize)]
pub struct BadRecords {
    pub total: u64,
    pub shown: Vec<BadRecord>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BadRecord {
    pub place: Place,
    pub reason: String,
}

impl fmt::Display for BadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.reason)
    }
}

/// Where in the input a record begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    Line(u64),
    /// The n-th message of a binary file, from 1.
    Message(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Line(n) => write!(f, "line {n}"),
            Place::Message(n) => write!(f, "message {n}"),
        }
    }
}

impl Report {
    pub(super) fn new(format: Format, compression: Compression) -> Report {
        Report {
            format,
            compression,
            mapping: Vec::new(),
            records: 0,
            spans: 0,
            logs: 0,
            points: 0,
            metrics: 0,
            first: None,
            last: None,
            services: BTreeMap::new(),
            bad: BadRecords::default(),
            refused: 0,
            refusal: None,
            duplicates: 0,
            notes: BTreeMap::new(),
            preview: Vec::new(),
        }
    }

    /// Spans, log records and metric points together.
    pub fn items(&self) -> u64 {
        self.spans + self.logs + self.points
    }

    /// Widens the window. 0 means a time that was not given, but a span may really begin there.
    pub(super) fn saw(&mut self, first: Nanos, last: Nanos) {
        self.first = Some(self.first.map_or(first, |known| known.min(first)));
        self.last = Some(self.last.map_or(last, |known| known.max(last)));
    }

    pub(super) fn of_service(&mut self, service: &str, items: u64) {
        if let Some(count) = self.services.get_mut(service) {
            *count += items;
        } else if self.services.len() < NAMED_SERVICES {
            self.services.insert(service.to_owned(), items);
        }
    }

    pub(super) fn note(&mut self, note: &str) {
        if let Some(count) = self.notes.get_mut(note) {
            *count += 1;
        } else {
            self.notes.insert(note.to_owned(), 1);
        }
    }
}

/// Text from the input for use in a reason: quoted, control characters escaped, no longer than a reader needs.
pub(super) fn clip(text: &str) -> String {
    const LONGEST: usize = 48;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}
