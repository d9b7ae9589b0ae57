//! `casefile seal`: everything into segments, everything hashed, read-only from then on.

use std::io::IsTerminal;

use clap::Args;
use serde_json::json;

use crate::args::CaseArgs;
use crate::error::CliError;
use crate::exit;
use crate::output::{Console, Format};

#[derive(Debug, Args)]
pub struct SealArgs {
    #[command(flatten)]
    case: CaseArgs,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub fn run(args: &SealArgs, console: &mut Console) -> Result<u8, CliError> {
    let path = args.case.resolve(console)?;
    if !path.is_dir() {
        return Err(case::CaseError::NoCase(path).into());
    }
    let show_progress = std::io::stderr().is_terminal();
    let manifest = case::writer::seal_case(&path, |progress| {
        if show_progress {
            console.remark(&format!(
                "sealing, log {} of {}",
                progress.done + 1,
                progress.of
            ));
        }
    })?;
    let hash = manifest
        .sealed
        .as_ref()
        .map_or("", |seal| seal.hash.as_str());
    let bytes: u64 = manifest
        .segments
        .iter()
        .map(case::manifest::Segment::bytes)
        .sum();
    match args.format {
        Format::Text => console.text(&format!(
            "sealed {} · {} in {} · {hash}",
            path.display(),
            crate::output::bytes(bytes),
            crate::output::count(manifest.segments.len() as u64, "segment", "segments"),
        ))?,
        Format::Json => console.json(&json!({
            "case": path,
            "sealed": true,
            "hash": hash,
            "segments": manifest.segments.len(),
            "bytes": bytes,
        }))?,
    }
    Ok(exit::CLEAN)
}
