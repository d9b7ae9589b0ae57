//! All books that are at hand: those built in, and those that people lay beside them.

use analyzers::engine::Finding;

use super::{Book, Input, lint};
use crate::place::Misplaced;

/// The files that are built in: id and text, sorted by id.
const BUILT_IN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/books.rs"));

/// Books by their ids. One that is added takes the place of another of the same id.
#[derive(Debug, Clone, Default)]
pub struct Shelf {
    books: Vec<Book>,
}

/// The book that proves a finding, with what it is to be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prove<'a> {
    pub book: &'a str,
    pub service: Option<&'a str>,
}

impl Shelf {
    /// The books that are built in.
    pub fn built_in() -> Result<Shelf, Misplaced> {
        let mut shelf = Shelf::default();
        for (id, text) in BUILT_IN {
            shelf.add(Book::parse(id, &format!("books/{id}.toml"), text)?);
        }
        Ok(shelf)
    }

    /// An empty shelf.
    pub fn new() -> Shelf {
        Shelf::default()
    }

    pub fn add(&mut self, book: Book) {
        self.books.retain(|other| other.id != book.id);
        let place = self.books.partition_point(|other| other.id < book.id);
        self.books.insert(place, book);
    }

    pub fn find(&self, id: &str) -> Option<&Book> {
        self.books.iter().find(|book| book.id == id)
    }

    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.books.iter().map(|book| book.id.as_str())
    }

    pub fn books(&self) -> &[Book] {
        &self.books
    }

    /// What is wrong with the book and with those it includes.
    pub fn check(&self, book: &Book) -> Vec<Misplaced> {
        let mut wrong = Vec::new();
        let mut seen: Vec<&str> = Vec::new();
        let mut waiting = vec![book];
        while let Some(book) = waiting.pop() {
            if seen.contains(&book.id.as_str()) {
                continue;
            }
            seen.push(&book.id);
            wrong.extend(lint(book, self));
            waiting.extend(book.steps.iter().filter_map(|step| match &step.how {
                super::How::Book { id } => self.find(&id.word),
                _ => None,
            }));
        }
        wrong
    }

    /// The book that has an end for the cause, or else one for its symptom.
    pub fn for_cause(&self, cause: &str) -> Option<&Book> {
        let symptom = cause.split('#').next().unwrap_or_default();
        let names = |book: &&Book| {
            book.ends
                .iter()
                .any(|end| end.cause.as_ref().is_some_and(|name| name.word == cause))
        };
        self.books
            .iter()
            .find(names)
            .or_else(|| self.books.iter().find(|book| book.is_for(symptom)))
    }

    /// The book that proves a finding, its inputs filled in.
    pub fn prove<'a>(&'a self, finding: &'a Finding) -> Option<Prove<'a>> {
        let book = self.for_cause(finding.cause_id)?;
        let service = finding
            .subjects
            .first()
            .map(|subject| subject.service.as_str())
            .filter(|service| !service.is_empty() && book.inputs.contains(&Input::Service));
        Some(Prove {
            book: &book.id,
            service,
        })
    }
}

impl Prove<'_> {
    /// The command that walks it.
    pub fn command(&self) -> String {
        let mut out = format!("casefile playbook run {}", self.book);
        if let Some(service) = self.service {
            out.push_str(" --service ");
            out.push_str(&analyzers::reference::shell_word(service));
        }
        out
    }
}
