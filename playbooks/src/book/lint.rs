//! What is wrong with a book that reads well: names nobody knows, ways that lead nowhere or back, ends nobody reaches.

use analyzers::engine::Rule;
use analyzers::rules;

use super::{Book, FOUND, How, NEXT, Name, Shelf, Step, paths};
use crate::place::Misplaced;
use crate::walk::variables;

/// Everything that is wrong, in the order of the file. Other books are looked up on the shelf.
pub fn lint(book: &Book, shelf: &Shelf) -> Vec<Misplaced> {
    let mut wrong = Vec::new();
    doubles(book, &mut wrong);
    for name in &book.symptoms {
        symptom(book, name, &mut wrong);
    }
    for name in &book.line {
        if book.step(&name.word).is_none() {
            let steps = book.steps.iter().map(|step| step.id.word.as_str());
            wrong.push(unknown(book, name, "step", steps));
        }
    }
    for step in &book.steps {
        how(book, step, shelf, &mut wrong);
        branches(book, step, &mut wrong);
    }
    for end in &book.ends {
        if let Some(name) = end.cause.as_ref().filter(|name| name.word != FOUND) {
            let known = every_cause();
            if !known.contains(&name.word.as_str()) {
                wrong.push(unknown(book, name, "cause", known));
            }
        }
    }
    // Ways through a book can only be judged once every name in it is known.
    if wrong.is_empty() {
        paths::check(book, shelf, &mut wrong);
    }
    wrong.sort_by_key(|error| (error.line, error.column));
    wrong
}

fn every_cause() -> Vec<&'static str> {
    rules::ALL
        .iter()
        .flat_map(|rule| rule.about().causes)
        .map(|cause| cause.id)
        .collect()
}

fn unknown<'a>(
    book: &Book,
    name: &Name,
    what: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Misplaced {
    let error = book.error(&name.at, format!("no {what} '{}'", name.word));
    match case::nearest::nearest(&name.word, known) {
        Some(near) => error.hint(format!("did you mean {near}?")),
        None => match what {
            "rule" => error.hint("`casefile explain` lists the rules"),
            "book" => error.hint("`casefile playbook list` lists the books"),
            "cause" => error.hint("`casefile explain RULE` lists the causes of a rule"),
            _ => error.hint(format!("add [[{what}]] with id = \"{}\"", name.word)),
        },
    }
}

fn doubles(book: &Book, wrong: &mut Vec<Misplaced>) {
    let ids: Vec<&Name> = book
        .steps
        .iter()
        .map(|step| &step.id)
        .chain(book.ends.iter().map(|end| &end.id))
        .collect();
    for (place, name) in ids.iter().enumerate() {
        if name.word == NEXT {
            wrong.push(
                book.error(&name.at, "'next' is the way to the next opening question")
                    .hint("call the step or end by another name"),
            );
        } else if ids[..place].iter().any(|other| other.word == name.word) {
            wrong.push(
                book.error(&name.at, format!("there are two '{}'", name.word))
                    .hint("steps and ends share their names; call one of them differently"),
            );
        }
    }
}

fn symptom(book: &Book, name: &Name, wrong: &mut Vec<Misplaced>) {
    let known: Vec<&str> = every_cause()
        .into_iter()
        .filter_map(|cause| cause.split('#').next())
        .collect();
    let found = match name.word.strip_suffix("/*") {
        Some(area) => known.iter().any(|symptom| {
            symptom
                .strip_prefix(area)
                .is_some_and(|rest| rest.starts_with('/'))
        }),
        None => known.contains(&name.word.as_str()),
    };
    if !found {
        wrong.push(unknown(book, name, "symptom", known));
    }
}

fn how(book: &Book, step: &Step, shelf: &Shelf, wrong: &mut Vec<Misplaced>) {
    match &step.how {
        How::Rule { rule, finds } => match rules::find(&rule.word) {
            None => {
                let known = rules::ALL.iter().map(|rule| rule.about().id);
                wrong.push(unknown(book, rule, "rule", known));
            }
            Some(found) => finds
                .iter()
                .filter(|cause| !causes(found).contains(&cause.word.as_str()))
                .for_each(|cause| {
                    let error = book.error(
                        &cause.at,
                        format!("{} names no cause '{}'", rule.word, cause.word),
                    );
                    let near = case::nearest::nearest(&cause.word, causes(found));
                    wrong.push(match near {
                        Some(near) => error.hint(format!("did you mean {near}?")),
                        None => error.hint(format!("it names {}", causes(found).join(", "))),
                    });
                }),
        },
        How::Query { sql, .. } => query(book, sql, wrong),
        How::Book { id } => {
            if shelf.find(&id.word).is_none() {
                wrong.push(unknown(book, id, "book", shelf.ids()));
            }
        }
        How::Compare { .. } | How::Probe { .. } | How::Person => {}
    }
    if let Some(show) = &step.show {
        query(book, show, wrong);
    }
}

pub(super) fn causes(rule: &'static dyn Rule) -> Vec<&'static str> {
    rule.about().causes.iter().map(|cause| cause.id).collect()
}

fn query(book: &Book, sql: &Name, wrong: &mut Vec<Misplaced>) {
    let begins = sql.word.trim_start().to_ascii_lowercase();
    if !begins.starts_with("select") && !begins.starts_with("with") {
        wrong.push(
            book.error(&sql.at, "a query asks with SELECT")
                .hint("books read; nothing that changes or runs anything is possible"),
        );
    }
    for variable in variables::named(&sql.word) {
        let of_step = variable
            .split_once('.')
            .is_some_and(|(step, _)| book.step(step).is_some());
        if !of_step && !variables::KNOWN.contains(&variable.as_str()) {
            wrong.push(
                book.error(
                    &sql.at,
                    format!("the query takes :{variable}, which nobody gives"),
                )
                .hint(format!(
                    "it can take {}, or a column of an earlier query's first row as :step.column",
                    variables::KNOWN.map(|name| format!(":{name}")).join(", ")
                )),
            );
        }
    }
}

fn branches(book: &Book, step: &Step, wrong: &mut Vec<Misplaced>) {
    for (_, target) in step.branches() {
        let Some(target) = target else { continue };
        let known = target.word == NEXT
            || book.step(&target.word).is_some()
            || book.end(&target.word).is_some();
        if !known {
            let names = book
                .steps
                .iter()
                .map(|step| step.id.word.as_str())
                .chain(book.ends.iter().map(|end| end.id.word.as_str()));
            wrong.push(unknown(book, target, "step", names));
        }
    }
    let opens = book.opens(step);
    // What a book that is included found is an end by itself.
    let ends_itself = matches!(step.how, How::Book { .. });
    if step.fail.is_none() && !ends_itself {
        wrong.push(
            book.error(
                &step.id.at,
                format!("'{}' has no way on where it fails", step.id.word),
            )
            .hint("add fail = \"…\": a step, an end, or \"next\""),
        );
    }
    if step.pass.is_none() && !opens {
        wrong.push(
            book.error(
                &step.id.at,
                format!("'{}' has no way on where it passes", step.id.word),
            )
            .hint("add pass = \"…\": a step, an end, or \"next\""),
        );
    }
}
