//! `casefile drill …`: the shop's incidents; whether diagnosis finds them.

mod lint;
mod list;
mod plan;
mod proof;
mod shop_of;
mod stage;
mod table;
mod trial;
mod verify;

use clap::Subcommand;

use crate::error::CliError;
use crate::output::Console;

#[derive(Debug, Subcommand)]
pub enum DrillCommand {
    /// List the incidents.
    List(list::ListArgs),
    /// Check incident files, each error with its line and column.
    Lint(lint::LintArgs),
    /// Give the shop incident after incident, blind, and check what diagnosis makes of each.
    Verify(verify::VerifyArgs),
    /// Run one planned shop; `verify` calls this.
    #[command(hide = true)]
    Stage(stage::StageArgs),
}

pub fn run(command: DrillCommand, console: &mut Console) -> Result<u8, CliError> {
    match command {
        DrillCommand::List(args) => list::run(&args, console),
        DrillCommand::Lint(args) => lint::run(&args, console),
        DrillCommand::Verify(args) => verify::run(&args, console),
        DrillCommand::Stage(args) => stage::run(&args),
    }
}

impl From<playbooks::place::Misplaced> for CliError {
    fn from(error: playbooks::place::Misplaced) -> CliError {
        let hint = error.hint.clone();
        let error = CliError::new(error.to_string());
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}
