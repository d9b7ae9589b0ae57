//! Books: `books/*.toml`, one file each, and whatever people lay beside them.
//!
//! What a book consists of. Reading the file, checking what it says and walking through it stand elsewhere.

mod file;
mod lint;
mod paths;
mod shelf;
#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::place::{Misplaced, Source};

pub use lint::lint;
pub use shelf::{Prove, Shelf};

/// The JSON schema of the files.
pub const SCHEMA: &str = include_str!("../../books/schema.json");

/// Where a walk goes on to the book's next opening question.
pub const NEXT: &str = "next";
/// The cause of an end that takes over what the rule, or the book that was included, found.
pub const FOUND: &str = "found";

/// Ordered questions that evidence answers, ending in a cause.
#[derive(Debug, Clone, PartialEq)]
pub struct Book {
    /// The file's name: `registration`.
    pub id: String,
    pub title: String,
    pub about: String,
    /// Symptoms it is for: `registration/*`, `saga-step/retries-forever`.
    pub symptoms: Vec<Name>,
    /// What it can be given.
    pub inputs: Vec<Input>,
    /// What it does nothing without.
    pub needs: Vec<Input>,
    /// The opening questions, in order. Each is followed to an end, or to the next.
    pub line: Vec<Name>,
    pub steps: Vec<Step>,
    pub ends: Vec<End>,
    file: String,
    text: String,
}

/// A word of the file and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    pub word: String,
    pub at: Range<usize>,
}

/// What a book can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Input {
    Service,
    Trace,
    Order,
    /// A window in which all was well, or the fault was still there.
    Baseline,
}

impl Input {
    pub const ALL: [Input; 4] = [Input::Service, Input::Trace, Input::Order, Input::Baseline];

    pub fn name(self) -> &'static str {
        match self {
            Input::Service => "service",
            Input::Trace => "trace",
            Input::Order => "order",
            Input::Baseline => "baseline",
        }
    }
}

/// A question.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub id: Name,
    /// In words.
    pub ask: String,
    /// What is expected where all is well.
    pub expect: String,
    pub how: How,
    /// A query whose rows are kept as evidence, unless the step passes.
    pub show: Option<Name>,
    /// Pieces of evidence that are kept.
    pub keep: usize,
    pub pass: Option<Name>,
    pub fail: Option<Name>,
    pub cannot_tell: Option<Name>,
}

/// How a question is answered.
#[derive(Debug, Clone, PartialEq)]
pub enum How {
    /// A rule's verdict. With `finds`, it fails only where what the rule found is one of these causes.
    Rule { rule: Name, finds: Vec<Name> },
    /// SQL over the case.
    Query { sql: Name, pass_if: PassIf },
    /// A window against the one in which all was well.
    Compare { what: Compared },
    /// A look at addresses that the registry names, which changes nothing.
    Probe { check: Check },
    /// Somebody who knows what no signal tells.
    Person,
    /// Another book, walked to its end.
    Book { id: Name },
}

/// When a query's answer is as it should be.
#[derive(Debug, Clone, PartialEq)]
pub enum PassIf {
    Rows,
    NoRows,
    /// The first value of the first row compares so with a number.
    Value {
        than: Than,
        number: f64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Than {
    Less,
    AtMost,
    Equal,
    AtLeast,
    More,
}

/// What of each service is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    Errors,
    Latency,
    Traffic,
}

/// What an active probe looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    Connect,
    Live,
    Ready,
}

/// What a walk can come to.
#[derive(Debug, Clone, PartialEq)]
pub struct End {
    pub id: Name,
    /// `symptom#cause`, or [`FOUND`]; none where the end names no cause.
    pub cause: Option<Name>,
    /// What it comes to, in words.
    pub says: String,
    /// Nothing else leads here. The evidence may claim less, never more.
    pub sure: bool,
    pub fix: String,
    pub verify: String,
}

impl Book {
    /// Reads a file; `id` is what it is called by. What can only be told from the rules and the other books is left to
    /// [`lint`].
    pub fn parse(id: &str, file: &str, text: &str) -> Result<Book, Misplaced> {
        file::read(id, Source { file, text })
    }

    pub fn step(&self, id: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.id.word == id)
    }

    pub fn end(&self, id: &str) -> Option<&End> {
        self.ends.iter().find(|end| end.id.word == id)
    }

    /// Whether the step is one of the opening questions.
    pub fn opens(&self, step: &Step) -> bool {
        self.line.iter().any(|name| name.word == step.id.word)
    }

    /// An error at a place of this file.
    pub fn error(&self, at: &Range<usize>, what: impl std::fmt::Display) -> Misplaced {
        let source = Source {
            file: &self.file,
            text: &self.text,
        };
        source.error(at.clone(), what)
    }

    /// The file's text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is for this symptom.
    pub fn is_for(&self, symptom: &str) -> bool {
        self.symptoms
            .iter()
            .any(|name| match name.word.strip_suffix('*') {
                Some(area) => symptom.starts_with(area),
                None => symptom == name.word,
            })
    }
}

impl Step {
    /// The branches, by the words of the file.
    pub fn branches(&self) -> [(&'static str, Option<&Name>); 3] {
        [
            ("pass", self.pass.as_ref()),
            ("fail", self.fail.as_ref()),
            ("cannot_tell", self.cannot_tell.as_ref()),
        ]
    }
}
