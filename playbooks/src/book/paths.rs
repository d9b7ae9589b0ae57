//! Every way through a book: whether one leads back to where it was, whether every step and end is on one, and whether
//! the causes a rule can name are told apart on the way.

use std::collections::BTreeSet;

use analyzers::rules;

use super::lint::causes;
use super::{Book, FOUND, How, NEXT, Name, Shelf, Step};
use crate::place::Misplaced;

/// The causes that can still be meant where a rule has found something.
type Open = Option<(&'static str, BTreeSet<&'static str>)>;

/// Steps that are looked at on all ways together. A book of which this is not enough is no order of questions.
const MOST_STEPS: usize = 20_000;

struct Paths<'a> {
    book: &'a Book,
    steps: usize,
    reached: BTreeSet<&'a str>,
    /// Branches that were found wrong already, by where they stand.
    told: BTreeSet<usize>,
    wrong: Vec<Misplaced>,
}

pub(super) fn check(book: &Book, shelf: &Shelf, wrong: &mut Vec<Misplaced>) {
    let mut paths = Paths {
        book,
        steps: 0,
        reached: BTreeSet::new(),
        told: BTreeSet::new(),
        wrong: Vec::new(),
    };
    for name in &book.line {
        if let Some(step) = book.step(&name.word) {
            paths.follow(step, &None, &mut vec![&step.id.word]);
        }
    }
    for step in &book.steps {
        if !paths.reached.contains(step.id.word.as_str()) {
            paths.wrong.push(
                book.error(
                    &step.id.at,
                    format!("no way leads to step '{}'", step.id.word),
                )
                .hint("name it in a branch or in line, or take it out"),
            );
        }
    }
    for end in &book.ends {
        if !paths.reached.contains(end.id.word.as_str()) {
            paths.wrong.push(
                book.error(&end.id.at, format!("no way leads to end '{}'", end.id.word))
                    .hint("name it in a branch, or take it out"),
            );
        }
    }
    wrong.append(&mut paths.wrong);
    for step in &book.steps {
        if let How::Book { id } = &step.how
            && let Some(chain) = leads_back(&book.id, &id.word, shelf)
        {
            wrong.push(
                book.error(
                    &id.at,
                    format!(
                        "books include each other in a circle: {}",
                        chain.join(" → ")
                    ),
                )
                .hint("take one of them out"),
            );
        }
    }
}

/// The chain of books from `from` through `to` back to `from`, if there is one.
fn leads_back(from: &str, to: &str, shelf: &Shelf) -> Option<Vec<String>> {
    let mut waiting = vec![vec![from.to_owned(), to.to_owned()]];
    let mut seen = BTreeSet::new();
    while let Some(chain) = waiting.pop() {
        let Some(last) = chain.last().cloned() else {
            continue;
        };
        if last == from {
            return Some(chain);
        }
        if !seen.insert(last.clone()) {
            continue;
        }
        for step in shelf.find(&last).map_or(&[][..], |book| &book.steps) {
            if let How::Book { id } = &step.how {
                let mut longer = chain.clone();
                longer.push(id.word.clone());
                waiting.push(longer);
            }
        }
    }
    None
}

impl<'a> Paths<'a> {
    fn follow(&mut self, step: &'a Step, open: &Open, way: &mut Vec<&'a str>) {
        self.reached.insert(&step.id.word);
        self.steps += 1;
        if self.steps > MOST_STEPS {
            self.tell(
                &step.id,
                "there are too many ways through this book to check them".to_owned(),
                "let branches meet less often, or make two books of it",
            );
            return;
        }
        let (pass, fail) = self.narrowed(step, open);
        for (word, target) in step.branches() {
            let Some(target) = target else { continue };
            let open = match word {
                "fail" => &fail,
                "pass" => &pass,
                _ => open,
            };
            if open.as_ref().is_some_and(|(_, causes)| causes.is_empty())
                && !self.is_catch_all(target)
            {
                self.tell(
                    target,
                    format!(
                        "the {word} branch of '{}' is dead: no cause is left that would take it",
                        step.id.word
                    ),
                    "what is asked was settled on the way here; take the step out, or mend `finds`",
                );
                // Where it leads is not to be called unreachable as well.
            }
            self.go(target, open, way);
        }
    }

    /// An end that takes whatever was found: there for causes that rules will name one day.
    fn is_catch_all(&self, target: &Name) -> bool {
        self.book
            .end(&target.word)
            .and_then(|end| end.cause.as_ref())
            .is_some_and(|cause| cause.word == FOUND)
    }

    fn go(&mut self, target: &'a Name, open: &Open, way: &mut Vec<&'a str>) {
        if target.word == NEXT {
            return;
        }
        if let Some(end) = self.book.end(&target.word) {
            self.reached.insert(&end.id.word);
            let Some(cause) = end.cause.as_ref().filter(|cause| cause.word != FOUND) else {
                return;
            };
            let others: Vec<&str> = match open {
                None => Vec::new(),
                Some((_, causes)) => causes
                    .iter()
                    .copied()
                    .filter(|open| *open != cause.word)
                    .collect(),
            };
            if !others.is_empty() {
                self.tell(
                    target,
                    format!(
                        "'{}' names one cause, and {} can lead there as well",
                        target.word,
                        others.join(", ")
                    ),
                    "ask on with `finds` until one cause is left",
                );
            }
            return;
        }
        if way.contains(&target.word.as_str()) {
            let way = format!("{} → {}", way.join(" → "), target.word);
            self.tell(
                target,
                format!("the way leads back: {way}"),
                "let it end, or go on to \"next\"",
            );
            return;
        }
        if let Some(step) = self.book.step(&target.word) {
            way.push(&step.id.word);
            self.follow(step, open, way);
            way.pop();
        }
    }

    /// What can still be meant after the step passed, and after it failed.
    fn narrowed(&self, step: &Step, open: &Open) -> (Open, Open) {
        let How::Rule { rule, finds } = &step.how else {
            return (open.clone(), open.clone());
        };
        let Some(found) = rules::find(&rule.word) else {
            return (None, None);
        };
        let all = || causes(found).into_iter().collect::<BTreeSet<_>>();
        if finds.is_empty() {
            return (None, Some((found.about().id, all())));
        }
        let before = match open {
            Some((of, causes)) if *of == found.about().id => causes.clone(),
            _ => all(),
        };
        let (named, rest): (BTreeSet<_>, BTreeSet<_>) = before
            .into_iter()
            .partition(|cause| finds.iter().any(|name| name.word == *cause));
        (
            Some((found.about().id, rest)),
            Some((found.about().id, named)),
        )
    }

    fn tell(&mut self, at: &Name, what: String, hint: &str) {
        if self.told.insert(at.at.start) {
            self.wrong.push(self.book.error(&at.at, what).hint(hint));
        }
    }
}
