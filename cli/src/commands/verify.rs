//! `casefile verify`: every byte of a case against what was written.

use std::io::IsTerminal;

use clap::Args;

use crate::args::{CaseArgs, WindowArgs};
use crate::error::CliError;
use crate::exit;
use crate::output::{Console, Format, Line, Tone, bytes, count};
use crate::reading::Reading;

/// Between two lines of progress.
const PROGRESS_STEP: u64 = 256 << 20;

#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    case: CaseArgs,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Exit code 1 means damage: it is what this command looks for.
pub fn run(args: &VerifyArgs, console: &mut Console) -> Result<u8, CliError> {
    let reading = Reading::open(&args.case, &WindowArgs::default(), console)?;
    let show_progress = std::io::stderr().is_terminal();
    let mut told = 0;
    let found = reading.case.verify(|done, total| {
        if show_progress && done - told >= PROGRESS_STEP {
            told = done;
            console.remark(&format!("verified {} of {}", bytes(done), bytes(total)));
        }
    })?;
    let damaged = !found.damage.is_empty();
    match args.format {
        Format::Json => console.json(&found)?,
        Format::Text => {
            for damage in &found.damage {
                let mut line = Line::new()
                    .with(Tone::Bad, "✗ ")
                    .with(Tone::Strong, &damage.path);
                line.push(Tone::Plain, format!(": {}", damage.what));
                line.push(
                    Tone::Dim,
                    format!(" ({} at stake)", count(damage.items, "item", "items")),
                );
                console.line(&line)?;
            }
            let seal = found
                .seal
                .as_ref()
                .map_or(String::new(), |hash| format!(" · seal {hash}"));
            console.line(&Line::new().with(
                if damaged { Tone::Bad } else { Tone::Plain },
                format!(
                    "{}: {} in {}, {}{seal}",
                    if damaged { "damaged" } else { "whole" },
                    bytes(found.bytes),
                    count(found.files as u64, "file", "files"),
                    count(found.live_frames, "live frame", "live frames"),
                ),
            ))?;
        }
    }
    Ok(if damaged { exit::FINDING } else { exit::CLEAN })
}
