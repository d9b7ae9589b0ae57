//! The right book, walked over an incident's case with no hint, and whether it ends at the right cause.

use playbooks::book::Shelf;
use playbooks::incident::Incident;
use playbooks::walk::{self, Kind, Nobody};
use serde::Serialize;

use crate::commands::playbook::Walking;

/// How a book came out.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Proof {
    pub book: String,
    pub kind: Kind,
    /// The cause it ends at, also where others are left open.
    pub named: Option<String>,
    /// Causes it leaves open beside that.
    pub open: Vec<String>,
    /// The end is about whom it should be.
    pub subject_right: bool,
    /// Questions it asked.
    pub questions: usize,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    /// One cause, the right one.
    Right,
    /// Several causes, the right one among them, and what would tell.
    Open,
    /// One cause, or several, and the right one is not among them.
    Wrong,
    /// No cause.
    CannotTell,
}

impl Outcome {
    pub(super) fn name(self) -> &'static str {
        match self {
            Outcome::Right => "right",
            Outcome::Open => "cannot tell between",
            Outcome::Wrong => "wrong",
            Outcome::CannotTell => "no cause",
        }
    }
}

/// Walks the book of the incident's workflow.
pub(super) fn prove(
    walking: &Walking,
    shelf: &Shelf,
    incident: &Incident,
    is_subject: impl Fn(&str, &str, &str) -> bool,
) -> Option<Proof> {
    let book = shelf
        .find(incident.workflow())
        .or_else(|| shelf.for_cause(&incident.expect.cause))?;
    let taken = walking.scene(shelf, |scene| walk::walk(scene, book, &mut Nobody));
    let closing = walk::close(book, &taken);
    let ending = closing.ending.as_ref();
    let named = ending.and_then(|ending| ending.cause.clone());
    let open: Vec<String> = ending
        .map(|ending| {
            ending
                .open
                .iter()
                .map(|other| other.cause.clone())
                .collect()
        })
        .unwrap_or_default();
    let expected = &incident.expect;
    let subject_right = expected.subjects.is_empty()
        || ending.is_some_and(|ending| {
            expected
                .subjects
                .iter()
                .any(|wanted| is_subject(wanted, &ending.service, &ending.instance))
        });
    let outcome = match &named {
        None => Outcome::CannotTell,
        Some(cause) if *cause == expected.cause && subject_right && open.is_empty() => {
            Outcome::Right
        }
        Some(cause)
            if !open.is_empty() && (*cause == expected.cause || open.contains(&expected.cause)) =>
        {
            Outcome::Open
        }
        Some(_) => Outcome::Wrong,
    };
    Some(Proof {
        book: book.id.clone(),
        kind: closing.kind,
        named,
        open,
        subject_right,
        questions: taken.len(),
        outcome,
    })
}
