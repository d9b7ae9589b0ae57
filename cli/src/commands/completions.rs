//! `casefile completions SHELL`.

use clap::Args;
use clap_complete::Shell;

use crate::error::CliError;
use crate::exit;
use crate::output::Console;

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell to complete in.
    shell: Shell,
}

pub fn run(
    args: &CompletionsArgs,
    mut root: clap::Command,
    console: &mut Console,
) -> Result<u8, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut root, "casefile", &mut script);
    console.bytes(&script)?;
    Ok(exit::CLEAN)
}
