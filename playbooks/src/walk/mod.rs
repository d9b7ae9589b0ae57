//! A walk through a book: which question is next, what it was answered, and what it all comes to.
//!
//! A walk is the list of answers taken so far; everything else follows from the book and that list. So a walk can be
//! kept, taken up again, and gone back in. Answers come from the case alone, unless somebody outside is asked.

mod answer;
mod closing;
mod compare;
mod query;
mod record;
mod rule;
#[cfg(test)]
mod tests;
pub mod variables;

use crate::book::{Book, FOUND, NEXT, Name, Step};

pub use answer::{Asked, Nobody, Outside, Scene, Spoken, answer};
pub use closing::{Closing, Ending, Kind, close};
pub use record::{Found, From, Given, Kept, Other, Run, Said, Taken};

/// Books within books within books: deeper than this nobody follows.
pub const DEEPEST: usize = 8;

/// Where a walk stands.
#[derive(Debug, Clone, Copy)]
pub enum Place<'b> {
    /// This is asked next.
    At(&'b Step),
    /// Every opening question was followed to its end.
    Over,
}

/// An end that was reached, and by way of which answers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reached<'b, 't> {
    /// None: what an included book came to is the end.
    pub end: Option<&'b Name>,
    /// Answers from the opening question on.
    pub way: &'t [Taken],
}

/// Where the answers lead, and which ends they reached.
pub(crate) fn follow<'b, 't>(
    book: &'b Book,
    taken: &'t [Taken],
) -> (Place<'b>, Vec<Reached<'b, 't>>) {
    let mut reached = Vec::new();
    let mut at = 0;
    for opening in &book.line {
        let began = at;
        let mut step = book.step(&opening.word);
        while let Some(asked) = step {
            let Some(answer) = taken.get(at).filter(|taken| taken.step == asked.id.word) else {
                return (Place::At(asked), reached);
            };
            at += 1;
            match branch(asked, answer.said) {
                Branch::To(name) if name.word == NEXT => step = None,
                Branch::To(name) => {
                    step = book.step(&name.word);
                    if step.is_none() {
                        reached.push(Reached {
                            end: Some(name),
                            way: &taken[began..at],
                        });
                    }
                }
                Branch::Next => step = None,
                Branch::Ends => {
                    reached.push(Reached {
                        end: None,
                        way: &taken[began..at],
                    });
                    step = None;
                }
            }
        }
    }
    (Place::Over, reached)
}

enum Branch<'b> {
    To(&'b Name),
    Next,
    /// With what the included book came to.
    Ends,
}

fn branch(step: &Step, said: Said) -> Branch<'_> {
    let target = match said {
        Said::Pass => &step.pass,
        Said::Fail => &step.fail,
        Said::CannotTell => &step.cannot_tell,
    };
    match (target, said) {
        (Some(name), _) => Branch::To(name),
        (None, Said::Fail) => Branch::Ends,
        (None, _) => Branch::Next,
    }
}

/// The question that the walk stands at.
pub fn place<'b>(book: &'b Book, taken: &[Taken]) -> Place<'b> {
    follow(book, taken).0
}

/// Asks on until the walk is over.
pub fn walk(scene: &Scene<'_>, book: &Book, outside: &mut dyn Outside) -> Vec<Taken> {
    on(scene, book, Vec::new(), outside, 0)
}

/// Asks on from where the walk stands.
pub(crate) fn on(
    scene: &Scene<'_>,
    book: &Book,
    mut taken: Vec<Taken>,
    outside: &mut dyn Outside,
    depth: usize,
) -> Vec<Taken> {
    while let Place::At(step) = place(book, &taken) {
        let next = answer::answer_at(scene, book, step, &taken, outside, depth);
        taken.push(next);
    }
    taken
}

/// Whether an end takes over what was found.
fn takes_over(cause: &Name) -> bool {
    cause.word == FOUND
}
