//! One file per command: its arguments and what it does with them. How answers look is decided in `output` and
//! `render`, what they are in the libraries.

pub mod completions;
pub mod man;

use crate::args::Command;
use crate::error::CliError;
use crate::output::Console;

/// Runs a command; the number is the exit code of [`crate::exit`].
pub fn run(command: Command, console: &mut Console) -> Result<u8, CliError> {
    match command {
        Command::Completions(args) => completions::run(&args, console),
        Command::Man(args) => man::run(&args, console),
    }
}
