//! `casefile man`: the man page of one command on standard output, or all of them into a folder.

use std::path::PathBuf;

use clap::Args;

use crate::error::CliError;
use crate::exit;
use crate::output::Console;

#[derive(Debug, Args)]
pub struct ManArgs {
    /// The command to print the page of; without one, the page of casefile itself.
    command: Option<String>,
    /// Write the pages of all commands into this folder instead.
    #[arg(long, value_name = "FOLDER", conflicts_with = "command")]
    all: Option<PathBuf>,
}

pub fn run(args: &ManArgs, mut root: clap::Command, console: &mut Console) -> Result<u8, CliError> {
    root.build();
    if let Some(folder) = &args.all {
        std::fs::create_dir_all(folder)
            .and_then(|()| clap_mangen::generate_to(root, folder))
            .map_err(|error| {
                CliError::io(format!("write man pages to {}", folder.display()), &error)
            })?;
        return Ok(exit::CLEAN);
    }
    let command = match &args.command {
        None => root,
        Some(name) => root
            .find_subcommand(name)
            .cloned()
            .map(|command| command.display_name(format!("casefile-{name}")))
            .ok_or_else(|| {
                CliError::new(format!("no command {name:?}")).hint("`casefile help` lists them")
            })?,
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(command)
        .render(&mut page)
        .map_err(|error| CliError::io("render the man page", &error))?;
    console.bytes(&page)?;
    Ok(exit::CLEAN)
}
