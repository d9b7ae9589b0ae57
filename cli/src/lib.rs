//! The command line and the terminal workbench. The only crate that knows clap, ratatui and crossterm.
//!
//! Data comes from `case`, collecting from `collectors`, meaning from `analyzers` and `playbooks`; here are arguments,
//! rendering and the TUI.

pub mod args;
pub mod bench;
pub mod collecting;
pub mod command_line;
pub mod commands;
pub mod error;
pub mod exit;
pub mod models;
pub mod output;
pub mod paths;
pub mod reading;
pub mod render;
pub mod staging;
pub mod tui;
pub mod views;

use std::process::ExitCode;

use clap::Parser;

/// Reads the command line, runs the command, maps the outcome to an exit code. Nothing else is here.
pub fn main() -> ExitCode {
    let cli = match command_line::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // clap chooses the stream: help and version are answers, the rest are complaints.
            drop(error.print());
            return ExitCode::from(if error.use_stderr() {
                exit::ERROR
            } else {
                exit::CLEAN
            });
        }
    };
    let mut console = output::Console::of_process(cli.color);
    let outcome = command_line::run(cli.command, &mut console)
        .and_then(|code| console.flush().map(|()| code));
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // What was already answered goes out before the complaint.
            drop(console.flush());
            console.report(&error);
            ExitCode::from(error.code())
        }
    }
}
