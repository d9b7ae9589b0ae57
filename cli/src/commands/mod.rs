//! One file per command: its arguments and what it does with them. How answers look is decided in `output` and
//! `render`, what they are in the libraries.

pub mod bench;
pub mod collect;
pub mod completions;
pub mod diagnose;
pub mod explain;
pub mod export;
pub mod filtering;
pub mod import;
pub mod info;
pub mod logs;
pub mod man;
pub mod metrics;
pub mod newest;
pub mod open;
pub mod progress;
pub mod query;
pub mod replay;
pub mod seal;
pub mod shop;
pub mod trace;
pub mod traces;
pub mod up;
pub mod verify;

use crate::args::Command;
use crate::error::CliError;
use crate::output::Console;

/// Runs a command; the number is the exit code of [`crate::exit`].
pub fn run(command: Command, console: &mut Console) -> Result<u8, CliError> {
    match command {
        Command::Up(args) => up::run(&args, console),
        Command::Open(args) => open::run(&args, console),
        Command::Collect(args) => collect::run(&args, console),
        Command::Traces(args) => traces::run(&args, console),
        Command::Trace(args) => trace::run(&args, console),
        Command::Logs(args) => logs::run(&args, console),
        Command::Metrics(args) => metrics::run(&args, console),
        Command::Query(args) => query::run(&args, console),
        Command::Diagnose(args) => diagnose::run(&args, console),
        Command::Explain(args) => explain::run(&args, console),
        Command::Info(args) => info::run(&args, console),
        Command::Import(args) => import::run(&args, console),
        Command::Export(args) => export::run(&args, console),
        Command::Replay(args) => replay::run(&args, console),
        Command::Verify(args) => verify::run(&args, console),
        Command::Seal(args) => seal::run(&args, console),
        Command::Shop(command) => shop::run(command, console),
        Command::Bench(command) => bench::run(&command, console),
        Command::Completions(args) => completions::run(&args, console),
        Command::Man(args) => man::run(&args, console),
    }
}
