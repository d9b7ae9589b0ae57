//! `casefile open`: the workbench on a case.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;

use crate::args::CaseArgs;
use crate::error::CliError;
use crate::exit;
use crate::output::Console;
use crate::paths;
use crate::tui;
use crate::tui::theme::{Settings, Theme};
use crate::tui::work::Shop;

#[derive(Debug, Args)]
pub struct OpenArgs {
    #[command(flatten)]
    case: CaseArgs,
    /// Press these keys instead of reading the keyboard: letters, and words such as enter, esc, down, space.
    #[arg(long, value_name = "KEYS", requires = "snapshot")]
    keys: Option<String>,
    /// Write the screen into this file instead of showing it: a picture if it ends in .svg, else text; - for standard
    /// output.
    #[arg(long, value_name = "FILE")]
    snapshot: Option<PathBuf>,
    /// Size of that screen.
    #[arg(long, value_name = "WxH", default_value = "118x32", value_parser = size)]
    size: (u16, u16),
    /// How tones look: dark, light, safe (for every kind of eye), mono (no colour).
    #[arg(long, value_name = "NAME")]
    theme: Option<String>,
    /// Keys and looks of your own [default: casefile/tui.toml in the folder of settings].
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Begin at the overview rather than where the case was last left.
    #[arg(long)]
    fresh: bool,
}

/// The settings of a file, with the theme that a flag names.
pub fn settings(file: Option<&std::path::Path>, theme: Option<&str>) -> Result<Settings, CliError> {
    let named = file.map(std::path::Path::to_owned);
    let path = named.clone().or_else(|| paths::settings().ok());
    let text = match &path {
        None => String::new(),
        Some(path) => match std::fs::read_to_string(path) {
            Ok(text) => text,
            // Only one that was asked for has to be there.
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                String::new()
            }
            Err(error) => return Err(CliError::io(format!("read {}", path.display()), &error)),
        },
    };
    let mut settings = Settings::of_text(&text).map_err(|error| {
        let place = path.map_or_else(String::new, |path| format!("{}: ", path.display()));
        let placed = CliError::new(format!("{place}{error}"));
        match error.hint_text() {
            Some(hint) => placed.hint(hint),
            None => placed,
        }
    })?;
    if let Some(name) = theme {
        settings.theme = Theme::named(name)?;
        settings.chosen = true;
    }
    Ok(settings)
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
    let settings = settings(args.settings.as_deref(), args.theme.as_deref())?;
    let Some(file) = &args.snapshot else {
        if !std::io::stdout().is_terminal() {
            return Err(CliError::new("the workbench needs a terminal")
                .hint("`casefile diagnose` answers without one; `--snapshot FILE` writes the screen into a file"));
        }
        let shop = Shop::beside(&path);
        let options = tui::Options {
            settings,
            run_for: None,
            shop,
            remember: !args.fresh,
        };
        tui::run(&path, options)?;
        return Ok(exit::CLEAN);
    };
    let mut rig = tui::Rig::open(&path, settings, args.size)?;
    rig.press(args.keys.as_deref().unwrap_or(""))?;
    let screen = rig.screen()?;
    let picture = file.extension().is_some_and(|ending| ending == "svg");
    let text = if picture { screen.svg() } else { screen.text() };
    if file.as_os_str() == "-" {
        console.text(&text)?;
    } else {
        std::fs::write(file, text)
            .map_err(|error| CliError::io(format!("write {}", file.display()), &error))?;
    }
    Ok(exit::CLEAN)
}
