//! `casefile models`: the declared saga models, and whether a file is one.

use std::path::{Path, PathBuf};

use analyzers::saga::model::{self, Model};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::error::CliError;
use crate::exit;
use crate::models::{ModelArgs, check};
use crate::output::{Column, Console, Format, Line, Table, count};

#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// List the models that sagas are held against.
    List(ListArgs),
    /// Print a model that comes along, to begin one's own with.
    Show(ShowArgs),
    /// Check model files, each fault with its line and column.
    Lint(LintArgs),
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// With the models of this case, too.
    #[arg(long, value_name = "PATH")]
    case: Option<PathBuf>,
    #[command(flatten)]
    models: ModelArgs,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, Args)]
pub struct ShowArgs {
    #[arg(value_name = "NAME")]
    name: String,
}

#[derive(Debug, Args)]
pub struct LintArgs {
    #[arg(value_name = "FILE", required_unless_present = "schema")]
    files: Vec<PathBuf>,
    /// Print the JSON schema of model files instead.
    #[arg(long, conflicts_with = "files")]
    schema: bool,
}

pub fn run(command: &ModelsCommand, console: &mut Console) -> Result<u8, CliError> {
    match command {
        ModelsCommand::List(args) => list(args, console),
        ModelsCommand::Show(args) => {
            let text = model::bundled_text(&args.name).ok_or_else(|| unknown(&args.name))?;
            console.text(text.trim_end())?;
            Ok(exit::CLEAN)
        }
        ModelsCommand::Lint(args) => lint(args, console),
    }
}

fn unknown(name: &str) -> CliError {
    let error = CliError::new(format!("no model {name:?} comes along"));
    let known = model::Models::bundled();
    match case::nearest::nearest(name, known.0.iter().map(|model| model.name.as_str())) {
        Some(near) => error.hint(format!("did you mean {near}?")),
        None => error.hint("`casefile models list` lists them"),
    }
}

fn list(args: &ListArgs, console: &mut Console) -> Result<u8, CliError> {
    let models = args
        .models
        .of(args.case.as_deref().unwrap_or(Path::new("")))?;
    let mut table = Table::new(vec![
        Column::left("model"),
        Column::left("run by").shrinks_to(12),
        Column::right("steps"),
        Column::left("what it goes through").shrinks_to(30),
    ]);
    for model in &models.0 {
        match args.format {
            Format::Json => console.json(&object(model))?,
            Format::Text => table.row(vec![
                Line::plain(&model.name),
                Line::plain(&model.coordinator),
                Line::plain((model.steps.len() + model.events.len()).to_string()),
                Line::plain(stages(model).join(" · ")),
            ]),
        }
    }
    if args.format == Format::Text {
        let width = console.list_width();
        console.lines(&table.lines(width))?;
    }
    Ok(exit::CLEAN)
}

fn stages(model: &Model) -> Vec<&str> {
    let steps = model.steps.iter().map(|step| step.name.as_str());
    steps
        .chain(model.events.iter().map(|event| event.name.as_str()))
        .collect()
}

fn object(model: &Model) -> serde_json::Value {
    json!({
        "name": model.name,
        "coordinator": model.coordinator,
        "stages": stages(model),
        "stale_after_s": model.timing.stale_after_s,
        "recovery": model.recovery.len(),
    })
}

fn lint(args: &LintArgs, console: &mut Console) -> Result<u8, CliError> {
    if args.schema {
        console.text(model::SCHEMA.trim_end())?;
        return Ok(exit::CLEAN);
    }
    let mut wrong = 0;
    for file in &args.files {
        for fault in check(file)?.err().into_iter().flatten() {
            wrong += 1;
            console.report(&CliError::new(fault.to_string()));
        }
    }
    if wrong > 0 {
        return Ok(exit::FINDING);
    }
    let checked = count(args.files.len() as u64, "model", "models");
    console.remark(&format!("{checked} checked, nothing wrong"));
    Ok(exit::CLEAN)
}
