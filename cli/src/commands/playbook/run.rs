//! `casefile playbook run`: a book walked to its end, by itself or with a person.

use clap::{Args, ValueEnum};
use playbooks::walk::{self, Kind, Nobody, Outside, Run, Taken};

use super::{Walking, WalkingArgs, books, guided, kept, look};
use crate::error::CliError;
use crate::exit;
use crate::output::{Console, Line};
use crate::render::walk as render;

#[derive(Debug, Args)]
pub struct RunArgs {
    /// The book: its name, or a file.
    #[arg(value_name = "BOOK")]
    book: String,
    #[command(flatten)]
    walking: WalkingArgs,
    /// Stop at every question, show what the evidence says, and take your word.
    #[arg(long, conflicts_with = "format")]
    guided: bool,
    /// Take up a walk that was kept: its name, as `playbook runs` lists it.
    #[arg(long, value_name = "NAME", requires = "guided")]
    resume: Option<String>,
    /// Keep the walk with the case; --guided always does.
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    look: look::LookArgs,
    /// Exit with 3 if nothing was found, and something could not be told.
    #[arg(long)]
    strict: bool,
    #[arg(long, value_enum, default_value = "text")]
    format: RunFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum RunFormat {
    /// For people in a terminal.
    #[default]
    Text,
    /// One object.
    Json,
    /// For issues and post-mortems.
    Markdown,
}

pub(super) fn run(args: &RunArgs, console: &mut Console) -> Result<u8, CliError> {
    let named = args.walking.case.named();
    let mut shelf = super::shelf(named.as_deref(), console)?;
    books::chosen(&mut shelf, &args.book, console)?;
    let walking = Walking::open(&args.walking, console)?;
    if named.is_none() {
        // Which case is meant was found out only now.
        shelf = super::shelf(Some(&walking.reading.path), console)?;
    }
    let book = books::chosen(&mut shelf, &args.book, console)?.clone();
    walking.check(&book)?;
    let mut looker = args.look.looker(&walking.reading)?;
    let mut nobody = Nobody;
    let outside: &mut dyn Outside = match &mut looker {
        Some(looker) => looker,
        None => &mut nobody,
    };
    let run = if args.guided {
        let Some(run) = guided::walk(
            &walking,
            &shelf,
            &book,
            args.resume.as_deref(),
            outside,
            console,
        )?
        else {
            return Ok(exit::CLEAN);
        };
        run
    } else {
        let taken = walking.scene(&shelf, |scene| walk::walk(scene, &book, outside));
        made(&walking, &book, taken)
    };
    if args.keep && !args.guided {
        let name = kept::keep(&walking.reading, &run, None)?;
        console.remark(&format!("kept as {name}"));
    }
    if let Some(looker) = looker {
        looker.record(console)?;
    }
    walking.reading.tell_damage(console);
    match args.format {
        RunFormat::Text if args.guided => {}
        RunFormat::Text => console.lines(&render::lines(&run, console.drawing_width()))?,
        RunFormat::Json => console.json(&run)?,
        RunFormat::Markdown => {
            for line in render::markdown(&run) {
                console.line(&Line::plain(line))?;
            }
        }
    }
    Ok(match run.came_to.as_ref().map(|closing| closing.kind) {
        Some(Kind::Cause | Kind::Between | Kind::Known) => exit::FINDING,
        Some(Kind::CannotTell) if args.strict => exit::CANNOT_TELL,
        _ => exit::CLEAN,
    })
}

/// A walk that is over, as it is printed and kept.
pub(super) fn made(walking: &Walking, book: &playbooks::book::Book, taken: Vec<Taken>) -> Run {
    Run {
        schema: Run::SCHEMA.to_owned(),
        book: book.id.clone(),
        title: book.title.clone(),
        window: walking.window,
        given: walking.given.clone(),
        came_to: Some(walk::close(book, &taken)),
        steps: taken,
    }
}
