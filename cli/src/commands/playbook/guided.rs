//! A walk with a person: a question at a time, what the evidence says of it, and the person's word on it.
//!
//! It reads lines, so that it works on any terminal and over any connection. Every answer is kept before the next
//! question is asked: an interrupt loses nothing.

use std::io::{BufRead, Write};

use case::signal::ProbeResult;
use playbooks::book::{Book, Check, How, Shelf};
use playbooks::walk::{self, Asked, From, Outside, Place, Run, Said, Spoken, Taken};

use super::{Walking, kept, run};
use crate::error::CliError;
use crate::output::{Console, Line, Tone};
use crate::render::walk as render;

const KEYS: &str = "enter: as the evidence says · p pass · f fail · c cannot tell · b back · n WORDS note · k pin · q stop";

/// What a person can say to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    AsItIs,
    Said(Said, String),
    Back,
    Note(String),
    Pin,
    Stop,
    Help,
}

fn word(line: &str) -> Word {
    let line = line.trim();
    let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
    let rest = rest.trim().to_owned();
    match first {
        "" => Word::AsItIs,
        "p" | "pass" => Word::Said(Said::Pass, rest),
        "f" | "fail" => Word::Said(Said::Fail, rest),
        "c" | "cannot" => Word::Said(Said::CannotTell, rest),
        "b" | "back" => Word::Back,
        "n" | "note" if !rest.is_empty() => Word::Note(rest),
        "k" | "pin" => Word::Pin,
        "q" | "quit" | "stop" => Word::Stop,
        _ => Word::Help,
    }
}

/// Walks until the end, or until the person stops; `None` then, the walk being kept.
pub(super) fn walk(
    walking: &Walking,
    shelf: &Shelf,
    book: &Book,
    resume: Option<&str>,
    outside: &mut dyn Outside,
    console: &mut Console,
) -> Result<Option<Run>, CliError> {
    let (name, mut taken) = match resume {
        Some(name) => {
            let run = kept::read(&walking.reading.path, name)?;
            if run.book != book.id {
                return Err(
                    CliError::new(format!("{name} is a walk of book {}", run.book)).hint(format!(
                        "casefile playbook run {} --guided --resume {name}",
                        run.book
                    )),
                );
            }
            (Some(name.to_owned()), run.steps)
        }
        None => (None, Vec::new()),
    };
    let unfinished = |taken: &[Taken]| Run {
        came_to: None,
        ..run::made(walking, book, taken.to_vec())
    };
    // Kept from the start, so that its name can be told before anything can be lost.
    let name = kept::keep(&walking.reading, &unfinished(&taken), name.as_deref())?;
    console.line(
        &Line::new()
            .with(Tone::Strong, &book.title)
            .with(Tone::Dim, format!("  kept as {name}")),
    )?;
    console.line(&Line::new().with(Tone::Dim, KEYS))?;
    let mut lines = std::io::stdin().lock();
    loop {
        let Place::At(step) = walk::place(book, &taken) else {
            let run = run::made(walking, book, taken.clone());
            kept::keep(&walking.reading, &run, Some(&name))?;
            console.lines(&render::ending_lines(&run, console.drawing_width()))?;
            if let Some(said) = ask(&mut lines, console, "q done · b back")?
                && word(&said) == Word::Back
            {
                taken.pop();
                kept::keep(&walking.reading, &unfinished(&taken), Some(&name))?;
                continue;
            }
            return Ok(Some(run));
        };
        let person = matches!(step.how, How::Person);
        let mut next = walking.scene(shelf, |scene| {
            walk::answer(scene, book, step, &taken, &mut Silent(outside))
        });
        if person {
            next.words = "nobody but you knows".to_owned();
        }
        console.line(&Line::new())?;
        console.lines(&render::step_lines(
            &next,
            taken.len() + 1,
            console.drawing_width(),
        ))?;
        loop {
            let prompt = if person {
                "p pass · f fail · c cannot tell"
            } else {
                next.said.name()
            };
            let Some(said) = ask(&mut lines, console, prompt)? else {
                console.line(&Line::plain(format!(
                    "stopped; take it up with --guided --resume {name}"
                )))?;
                return Ok(None);
            };
            match word(&said) {
                Word::AsItIs if person => console.line(&Line::plain("say p, f or c"))?,
                Word::AsItIs => break,
                Word::Said(said, words) => {
                    next.from = From::Person;
                    next.words = match (words.is_empty(), next.said == said) {
                        (false, _) => words,
                        (true, true) => next.words,
                        (true, false) if person => format!("said: {}", said.name()),
                        (true, false) => {
                            format!("said: {}; the evidence says: {}", said.name(), next.words)
                        }
                    };
                    next.said = said;
                    break;
                }
                Word::Note(words) => {
                    next.note = Some(words);
                    console.line(&Line::new().with(Tone::Dim, "noted"))?;
                }
                Word::Pin => {
                    next.pinned = !next.pinned;
                    let words = if next.pinned {
                        "pinned"
                    } else {
                        "no longer pinned"
                    };
                    console.line(&Line::new().with(Tone::Dim, words))?;
                }
                Word::Back => {
                    if taken.pop().is_none() {
                        console.line(&Line::plain("this is the first question"))?;
                        continue;
                    }
                    break;
                }
                Word::Stop => {
                    console.line(&Line::plain(format!(
                        "stopped; take it up with --guided --resume {name}"
                    )))?;
                    return Ok(None);
                }
                Word::Help => console.line(&Line::new().with(Tone::Dim, KEYS))?,
            }
        }
        // After going back the question stands before the one that was shown.
        let at = match walk::place(book, &taken) {
            Place::At(step) => step.id.word == next.step,
            Place::Over => false,
        };
        if at {
            taken.push(next);
        }
        kept::keep(&walking.reading, &unfinished(&taken), Some(&name))?;
    }
}

/// A line from the person; none once there is nobody left.
fn ask(
    lines: &mut impl BufRead,
    console: &mut Console,
    prompt: &str,
) -> Result<Option<String>, CliError> {
    console.flush()?;
    // The prompt has no end of line, which the console's lines have.
    let mut out = std::io::stdout();
    drop(write!(out, "[{prompt}] > "));
    drop(out.flush());
    let mut line = String::new();
    let read = lines
        .read_line(&mut line)
        .map_err(|error| CliError::io("read what you say", &error))?;
    Ok((read > 0).then_some(line))
}

/// Passes looks on; a person is asked by the loop, not by the walk.
struct Silent<'o>(&'o mut dyn Outside);

impl Outside for Silent<'_> {
    fn probe(&mut self, asked: &Asked<'_>, check: Check) -> Result<Vec<ProbeResult>, String> {
        self.0.probe(asked, check)
    }

    fn person(&mut self, _: &Asked<'_>) -> Option<Spoken> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_words_and_long_ones_mean_the_same() {
        assert_eq!(word("\n"), Word::AsItIs);
        assert_eq!(
            word(" f it is gone "),
            Word::Said(Said::Fail, "it is gone".to_owned())
        );
        assert_eq!(
            word("note who did this?"),
            Word::Note("who did this?".to_owned())
        );
        assert_eq!(word("n"), Word::Help);
        assert_eq!(word("b"), Word::Back);
    }
}
