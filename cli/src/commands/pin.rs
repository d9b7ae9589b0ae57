//! `casefile pin`: traces that stay when retention drops what surrounds them.

use case::{Case, TraceId, pins};
use clap::Args;
use serde_json::json;

use crate::args::CaseArgs;
use crate::error::CliError;
use crate::exit;
use crate::output::{Console, Format};

#[derive(Debug, Args)]
pub struct PinArgs {
    /// The trace to keep.
    #[arg(long, value_name = "ID", conflicts_with = "list")]
    trace: Option<TraceId>,
    /// Let the trace go again.
    #[arg(long, requires = "trace")]
    remove: bool,
    /// List what is pinned.
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    case: CaseArgs,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub fn run(args: &PinArgs, console: &mut Console) -> Result<u8, CliError> {
    let path = args.case.resolve(console)?;
    let case = Case::open(&path)?;
    let Some(id) = args.trace else {
        let pinned = pins::list(&path)?;
        match args.format {
            Format::Json => console.json(&json!({ "pinned": pinned }))?,
            Format::Text if pinned.is_empty() => console.text("nothing is pinned")?,
            Format::Text => {
                for id in &pinned {
                    console.text(&id.to_string())?;
                }
            }
        }
        return Ok(exit::CLEAN);
    };
    let changed = if args.remove {
        pins::unpin(&path, id)?
    } else if case.trace(id)?.is_empty() {
        return Err(CliError::new(format!("trace {id} is not in the case"))
            .hint("`casefile traces` lists what is"));
    } else {
        pins::pin(&path, id)?
    };
    let said = match (args.remove, changed) {
        (false, true) => "pinned",
        (false, false) => "was pinned already",
        (true, true) => "no longer pinned",
        (true, false) => "was not pinned",
    };
    match args.format {
        Format::Json => {
            console.json(&json!({ "trace_id": id, "pinned": !args.remove, "changed": changed }))?
        }
        Format::Text => console.text(&format!("{id} {said}"))?,
    }
    Ok(exit::CLEAN)
}
