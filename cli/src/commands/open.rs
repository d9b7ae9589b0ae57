//! `casefile open`: the workbench on a case.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;

use crate::args::CaseArgs;
use crate::error::CliError;
use crate::exit;
use crate::output::Console;
use crate::tui;

#[derive(Debug, Args)]
pub struct OpenArgs {
    #[command(flatten)]
    case: CaseArgs,
    /// Press these keys instead of reading the keyboard: letters, and words such as enter, esc, down, space.
    #[arg(long, value_name = "KEYS", requires = "snapshot")]
    keys: Option<String>,
    /// Write the screen as text into this file instead of showing it; - for standard output.
    #[arg(long, value_name = "FILE")]
    snapshot: Option<PathBuf>,
    /// Size of that screen.
    #[arg(long, value_name = "WxH", default_value = "118x32", value_parser = size)]
    size: (u16, u16),
}

fn size(text: &str) -> Result<(u16, u16), String> {
    let parsed = text
        .split_once('x')
        .and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    match parsed {
        Some((width, height)) if (20..=1000).contains(&width) && (5..=1000).contains(&height) => {
            Ok((width, height))
        }
        _ => Err("a size is columns x lines, such as 118x32, from 20x5 to 1000x1000".to_owned()),
    }
}

pub fn run(args: &OpenArgs, console: &mut Console) -> Result<u8, CliError> {
    let path = args.case.resolve(console)?;
    let Some(file) = &args.snapshot else {
        if !std::io::stdout().is_terminal() {
            return Err(CliError::new("the workbench needs a terminal")
                .hint("`casefile diagnose` answers without one; `--snapshot FILE` writes the screen into a file"));
        }
        tui::run(&path, None)?;
        return Ok(exit::CLEAN);
    };
    let (width, height) = args.size;
    let text = tui::snapshot(&path, args.keys.as_deref().unwrap_or(""), width, height)?;
    if file.as_os_str() == "-" {
        console.text(&text)?;
    } else {
        std::fs::write(file, text)
            .map_err(|error| CliError::io(format!("write {}", file.display()), &error))?;
    }
    Ok(exit::CLEAN)
}
