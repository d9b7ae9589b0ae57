//! `casefile drill lint`: incident files, checked without a shop.

use std::path::PathBuf;

use clap::Args;
use playbooks::incident::{self, Incident, SCHEMA};

use super::{plan, shop_of};
use crate::error::CliError;
use crate::exit;
use crate::output::{Console, count};

#[derive(Debug, Args)]
pub struct LintArgs {
    /// Files to check [default: those that are built in].
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print the JSON schema of incident files instead.
    #[arg(long, conflicts_with = "files")]
    schema: bool,
}

pub(super) fn run(args: &LintArgs, console: &mut Console) -> Result<u8, CliError> {
    if args.schema {
        console.text(SCHEMA.trim_end())?;
        return Ok(exit::CLEAN);
    }
    let read: Vec<Result<Incident, CliError>> = if args.files.is_empty() {
        incident::all()?.into_iter().map(Ok).collect()
    } else {
        args.files.iter().map(|file| plan::read(file)).collect()
    };
    let mut wrong = 0;
    let total = read.len();
    for incident in read {
        let checked = incident.and_then(|incident| Ok(shop_of::check(&incident)?));
        if let Err(error) = checked {
            wrong += 1;
            console.report(&error);
        }
    }
    if wrong > 0 {
        return Ok(exit::FINDING);
    }
    console.remark(&format!(
        "{} checked, nothing wrong",
        count(total as u64, "incident", "incidents")
    ));
    Ok(exit::CLEAN)
}
