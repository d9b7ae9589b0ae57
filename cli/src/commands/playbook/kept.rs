//! Walks that are kept: in the case's own folder, or beside it once it is sealed and nothing in it may change.

use std::path::{Path, PathBuf};

use case::{Case, Nanos};
use clap::Args;
use playbooks::walk::Run;

use crate::args::CaseArgs;
use crate::error::CliError;
use crate::exit;
use crate::output::{Column, Console, Format, Line, Table};
use crate::reading::Reading;
use crate::render::walk as render;

#[derive(Debug, Args)]
pub struct RunsArgs {
    /// Show this one instead of listing them.
    #[arg(long, value_name = "NAME")]
    show: Option<String>,
    #[command(flatten)]
    case: CaseArgs,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn run(args: &RunsArgs, console: &mut Console) -> Result<u8, CliError> {
    let path = args.case.resolve(console)?;
    // Refuses what is no case.
    drop(Case::open(&path)?);
    if let Some(name) = &args.show {
        let run = read(&path, name)?;
        match args.format {
            Format::Json => console.json(&run)?,
            Format::Text => console.lines(&render::lines(&run, console.drawing_width()))?,
        }
        return Ok(exit::CLEAN);
    }
    let mut table = Table::new(vec![
        Column::left("walk"),
        Column::left("book"),
        Column::right("answers"),
        Column::left("came to").shrinks_to(30),
    ]);
    for name in names(&path)? {
        let run = read(&path, &name)?;
        match args.format {
            Format::Json => console.json(&serde_json::json!({
                "name": name, "book": run.book, "answers": run.steps.len(),
                "came_to": run.came_to.as_ref().map(|closing| closing.kind.name()),
            }))?,
            Format::Text => table.row(vec![
                Line::plain(&name),
                Line::plain(&run.book),
                Line::plain(run.steps.len().to_string()),
                Line::plain(render::came_to(&run)),
            ]),
        }
    }
    if args.format == Format::Text {
        console.lines(&table.lines(console.list_width()))?;
    }
    Ok(exit::CLEAN)
}

/// Where walks of a case are, inside it and beside it.
fn folders(case: &Path) -> [PathBuf; 2] {
    let mut beside = case.as_os_str().to_owned();
    beside.push(".runs");
    [case.join("runs"), PathBuf::from(beside)]
}

fn names(case: &Path) -> Result<Vec<String>, CliError> {
    let mut names = Vec::new();
    for folder in folders(case) {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let entry = entry.map_err(|error| {
                CliError::io(format!("read the folder {}", folder.display()), &error)
            })?;
            let name = entry.file_name().to_string_lossy().into_owned();
            names.extend(name.strip_suffix(".json").map(str::to_owned));
        }
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// The walk of this name.
pub(super) fn read(case: &Path, name: &str) -> Result<Run, CliError> {
    let plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\']);
    let found = folders(case)
        .into_iter()
        .map(|folder| folder.join(format!("{name}.json")))
        .find(|path| plain && path.is_file());
    let Some(path) = found else {
        let error = CliError::new(format!("no walk {name:?} is kept of {}", case.display()));
        return Err(
            match case::nearest::nearest(name, names(case)?.iter().map(String::as_str)) {
                Some(near) => error.hint(format!("did you mean {near}?")),
                None => error.hint("`casefile playbook runs` lists them"),
            },
        );
    };
    let text = std::fs::read(&path)
        .map_err(|error| CliError::io(format!("read {}", path.display()), &error))?;
    let run: Run = serde_json::from_slice(&text)
        .map_err(|error| CliError::new(format!("{}: {error}", path.display())))?;
    if run.schema != Run::SCHEMA {
        return Err(CliError::new(format!(
            "{} is of another version: {}",
            path.display(),
            run.schema
        )));
    }
    Ok(run)
}

/// Keeps a walk, in one step, under its name or a new one; says which.
pub(super) fn keep(reading: &Reading, run: &Run, name: Option<&str>) -> Result<String, CliError> {
    let [inside, beside] = folders(&reading.path);
    let sealed = reading.case.manifest().sealed.is_some();
    let folder = if sealed { beside } else { inside };
    std::fs::create_dir_all(&folder)
        .map_err(|error| CliError::io(format!("create {}", folder.display()), &error))?;
    let name = match name {
        Some(name) => name.to_owned(),
        None => new_name(&reading.path, &run.book, case::writer::wall_clock())?,
    };
    let path = folder.join(format!("{name}.json"));
    let failed = |error: std::io::Error| CliError::io(format!("write {}", path.display()), &error);
    let text = crate::output::json::line(run)?;
    let new = folder.join(format!(".{name}.new"));
    std::fs::write(&new, text + "\n").map_err(failed)?;
    std::fs::rename(&new, &path).map_err(failed)?;
    Ok(name)
}

/// `registration-2026-11-20T19-40-00`, with a number behind it where that is taken.
fn new_name(case: &Path, book: &str, now: Nanos) -> Result<String, CliError> {
    let stamp: String = now
        .to_string()
        .chars()
        .take(19)
        .map(|c| if c == ':' { '-' } else { c })
        .collect();
    let taken = names(case)?;
    let base = format!("{book}-{stamp}");
    if !taken.contains(&base) {
        return Ok(base);
    }
    let free = (2..=taken.len() + 2)
        .map(|number| format!("{base}-{number}"))
        .find(|name| !taken.contains(name));
    Ok(free.unwrap_or(base))
}
