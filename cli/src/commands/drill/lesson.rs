//! `casefile drill lesson`: a shop is staged, and the person is led through it; each step is done when the person has
//! really done it.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use case::Case;
use case::sql::{self, Cell, Limits};
use clap::Args;
use playbooks::drill::{Drill, Level};
use playbooks::incident::{self, Incident};
use playbooks::lesson::{self, Check, Lesson, Step};

use super::session::host::{Holder, Secret};
use super::session::look;
use crate::error::CliError;
use crate::exit;
use crate::output::{Console, Line, Tone};
use crate::paths;

#[derive(Debug, Args)]
pub struct LessonArgs {
    /// Which lesson, from 1; without a number, they are listed.
    #[arg(value_name = "NUMBER")]
    number: Option<usize>,
    /// Learn on this case instead of one that is staged now.
    #[arg(long, value_name = "PATH")]
    case: Option<PathBuf>,
}

/// What a healthy shop of a lesson is.
const HEALTHY: &str = "title = \"nothing is wrong\"\nwatch = \"20s\"\nfault = []\n[shop]\nprofile = \"tiny\"\n[load]\n\
                       mix = \"checkout\"\n[expect]\ncause = \"none/none#none\"\n";
/// A step's query is small; the case is too.
const LONGEST: Duration = Duration::from_secs(30);

pub(super) fn run(args: &LessonArgs, console: &mut Console) -> Result<u8, CliError> {
    let lessons = lesson::all()?;
    let Some(number) = args.number else {
        for (number, lesson) in (1..).zip(&lessons) {
            console.line(
                &Line::plain(format!("{number}  "))
                    .with(Tone::Strong, &lesson.title)
                    .with(Tone::Plain, format!("  {}", lesson.about)),
            )?;
        }
        return Ok(exit::CLEAN);
    };
    let Some(lesson) = number.checked_sub(1).and_then(|place| lessons.get(place)) else {
        return Err(CliError::new(format!("there is no lesson {number}"))
            .hint(format!("they go from 1 to {}", lessons.len())));
    };
    let case = match &args.case {
        Some(path) => path.clone(),
        None => staged(lesson, console)?,
    };
    teach(lesson, &case, console)
}

/// A shop, run and sealed.
fn staged(lesson: &Lesson, console: &mut Console) -> Result<PathBuf, CliError> {
    let incident = match &lesson.incident {
        None => Incident::parse("healthy", "healthy", HEALTHY)?,
        Some(id) => incident::all()?
            .into_iter()
            .find(|incident| incident.id == *id)
            .ok_or_else(|| CliError::new(format!("no incident {id:?}")))?,
    };
    let now = case::writer::wall_clock();
    let case = paths::new_case("lesson", now)?;
    if let Some(folder) = case.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|error| CliError::io(format!("create {}", folder.display()), &error))?;
    }
    console.remark(&format!("a shop runs for {} s", incident.watch.as_secs()));
    let level = Level::new(1).ok_or_else(|| CliError::new("there is no level 1"))?;
    let drill = Drill {
        level,
        incidents: vec![incident],
        decoy: false,
        missing: None,
    };
    let mut holder = Holder::begin(&Secret::of(&drill, 1, case.clone(), None))?;
    holder.begun()?;
    let (reply, _) = holder.reply("{\"do\":\"wait\"}");
    holder.end();
    match reply["state"].as_str() {
        Some("sealed") => Ok(case),
        _ => Err(CliError::new(format!(
            "the shop could not be staged: {}",
            reply["error"]
        ))),
    }
}

fn teach(lesson: &Lesson, path: &Path, console: &mut Console) -> Result<u8, CliError> {
    let case = Case::open(path)?;
    console.line(&Line::new().with(Tone::Strong, &lesson.title))?;
    console.line(&Line::new().with(
        Tone::Dim,
        "type commands without the word casefile; hint helps, skip goes on, quit ends",
    ))?;
    let mut known = BTreeMap::new();
    let mut lines = std::io::stdin().lock();
    let (mut done, all) = (0, lesson.steps.len());
    for (number, step) in (1..).zip(&lesson.steps) {
        if let Some(given) = &step.given {
            known.extend(first_row(&case, &lesson::query(given, &known))?);
        }
        console.line(&Line::new())?;
        console.line(
            &Line::new()
                .with(Tone::Accent, format!("{number}/{all} "))
                .with(Tone::Plain, lesson::filled(&step.say, &known)),
        )?;
        loop {
            let Some(said) = ask(&mut lines, console)? else {
                return Ok(exit::FINDING);
            };
            match said.trim() {
                "" => {}
                "quit" | "q" => return Ok(exit::FINDING),
                "skip" => break,
                "hint" => console.text(&lesson::filled(&step.hint, &known))?,
                said => match tried(step, said, &case, path, &known, console) {
                    Ok(true) => {
                        console.line(&Line::new().with(Tone::Strong, "✓ done"))?;
                        done += 1;
                        break;
                    }
                    Ok(false) => {
                        console.line(&Line::new().with(Tone::Odd, "not it yet; hint helps"))?;
                    }
                    Err(error) => console.report(&error),
                },
            }
        }
    }
    console.line(&Line::new())?;
    console.line(&Line::plain(format!(
        "{done} of {all} steps done · case {}",
        path.display()
    )))?;
    Ok(if done == all {
        exit::CLEAN
    } else {
        exit::FINDING
    })
}

/// Whether what was typed does the step. Commands are run, whatever the step asks for.
fn tried(
    step: &Step,
    said: &str,
    case: &Case,
    path: &Path,
    known: &BTreeMap<String, String>,
    console: &mut Console,
) -> Result<bool, CliError> {
    let words = words(said);
    let is_command = look::is_look(&words);
    if let Check::Answer { query } = &step.check
        && !is_command
    {
        let wanted = first_row(case, &lesson::query(query, known))?;
        return Ok(wanted
            .values()
            .next()
            .is_some_and(|value| value == said.trim()));
    }
    look::check(&words)?;
    let seen = look::look(&words, path)?;
    for line in seen.output.lines().chain(seen.error.lines()) {
        console.line(&Line::plain(line))?;
    }
    let Check::Run {
        words: wanted,
        shows,
    } = &step.check
    else {
        return Ok(false);
    };
    // 0: nothing found; 1: something was. Anything else is no answer.
    if !words.starts_with(wanted) || !matches!(seen.exit, 0 | 1) {
        return Ok(false);
    }
    let Some(shows) = shows else { return Ok(true) };
    let value = first_row(case, &lesson::query(shows, known))?;
    let value = value.values().next().cloned().unwrap_or_default();
    let written = crate::output::sanitise::clean(&value).into_owned();
    Ok(!value.is_empty() && seen.output.contains(written.trim()))
}

fn ask(lines: &mut impl BufRead, console: &mut Console) -> Result<Option<String>, CliError> {
    console.flush()?;
    let mut out = std::io::stdout();
    drop(write!(out, "lesson> ").and_then(|()| out.flush()));
    let mut line = String::new();
    let read = lines
        .read_line(&mut line)
        .map_err(|error| CliError::io("read what you type", &error))?;
    Ok((read > 0).then_some(line))
}

/// The words of a command; quotes keep spaces together. The word casefile before them is let pass.
fn words(line: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let (mut word, mut quote, mut begun) = (String::new(), None, false);
    for c in line.trim().chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => (quote, begun) = (Some(c), true),
            (None, c) if c.is_whitespace() => {
                if begun || !word.is_empty() {
                    out.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            (_, c) => word.push(c),
        }
    }
    if begun || !word.is_empty() {
        out.push(word);
    }
    if out.first().is_some_and(|first| first == "casefile") {
        out.remove(0);
    }
    out
}

/// The first row of a query, by column; the first column first.
fn first_row(case: &Case, query: &str) -> Result<BTreeMap<String, String>, CliError> {
    let limits = Limits {
        time: Some(LONGEST),
        rows: Some(1),
        ..Limits::default()
    };
    let mut row = BTreeMap::new();
    sql::query(case, query, &limits, &mut |columns, cells| {
        for (column, cell) in columns.iter().zip(cells) {
            let text = match cell {
                Cell::Null | Cell::Bytes(_) => continue,
                Cell::Int(value) => value.to_string(),
                Cell::Real(value) => case::wire::text::double(*value),
                Cell::Text(text) => text.clone(),
            };
            row.insert(column.clone(), text);
        }
        std::ops::ControlFlow::Continue(())
    })?;
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_into_words_as_a_shell_would() {
        assert_eq!(words("casefile traces --errors"), ["traces", "--errors"]);
        assert_eq!(
            words("query \"SELECT 'a b'\" x''"),
            ["query", "SELECT 'a b'", "x"]
        );
        assert_eq!(words("  "), Vec::<String>::new());
    }
}
