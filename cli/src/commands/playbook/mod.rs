//! `casefile playbook …`: books, walked through by themselves or with a person.

mod books;
mod guided;
mod kept;
mod lint;
mod list;
mod look;
mod run;
mod show;
mod suggest;
mod walking;

use clap::Subcommand;

use crate::error::CliError;
use crate::exit;
use crate::output::Console;

pub use books::{shelf, shelf_telling};
pub use walking::{Walking, WalkingArgs};

#[derive(Debug, Subcommand)]
pub enum PlaybookCommand {
    /// List the books: those built in, those of your own, those beside a case.
    List(list::ListArgs),
    /// Show what a book asks and where its answers lead.
    Show(show::ShowArgs),
    /// Walk through a book: by itself, or with --guided together with you.
    Run(Box<run::RunArgs>),
    /// Say which books are worth walking in a window, best first.
    Suggest(suggest::SuggestArgs),
    /// List the walks that were kept of a case, or show one.
    Runs(kept::RunsArgs),
    /// Check books, each mistake with its line, its column and the mend.
    Lint(lint::LintArgs),
    /// Print the JSON schema of books.
    Schema,
}

pub fn run(command: PlaybookCommand, console: &mut Console) -> Result<u8, CliError> {
    match command {
        PlaybookCommand::List(args) => list::run(&args, console),
        PlaybookCommand::Show(args) => show::run(&args, console),
        PlaybookCommand::Run(args) => run::run(&args, console),
        PlaybookCommand::Suggest(args) => suggest::run(&args, console),
        PlaybookCommand::Runs(args) => kept::run(&args, console),
        PlaybookCommand::Lint(args) => lint::run(&args, console),
        PlaybookCommand::Schema => {
            console.text(playbooks::book::SCHEMA.trim_end())?;
            Ok(exit::CLEAN)
        }
    }
}
