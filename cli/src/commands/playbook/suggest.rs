//! `casefile playbook suggest`: which books are worth walking, by what was found.

use clap::Args;
use serde_json::json;

use crate::args::{CaseArgs, WindowArgs};
use crate::commands::diagnose::focus::FocusArgs;
use crate::error::CliError;
use crate::exit;
use crate::output::{Console, Format, Line, Tone};

#[derive(Debug, Args)]
pub struct SuggestArgs {
    #[command(flatten)]
    case: CaseArgs,
    #[command(flatten)]
    window: WindowArgs,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn run(args: &SuggestArgs, console: &mut Console) -> Result<u8, CliError> {
    let walking = super::Walking::open(
        &super::WalkingArgs {
            case: args.case.clone(),
            window: args.window.clone(),
            focus: FocusArgs::default(),
            service: None,
            baseline: None,
        },
        console,
    )?;
    let shelf = super::shelf(Some(&walking.reading.path), console)?;
    walking.reading.tell_damage(console);
    // Findings come worst first; a book stands where the first of its findings does.
    let mut ranked: Vec<(String, Vec<String>)> = Vec::new();
    for finding in walking.report.findings() {
        let Some(prove) = shelf.prove(finding) else {
            continue;
        };
        let command = prove.command();
        match ranked.iter_mut().find(|(other, _)| *other == command) {
            Some((_, headlines)) => headlines.push(finding.headline.clone()),
            None => ranked.push((command, vec![finding.headline.clone()])),
        }
    }
    match args.format {
        Format::Json => {
            for (place, (command, headlines)) in ranked.iter().enumerate() {
                console.json(
                    &json!({ "place": place + 1, "command": command, "because": headlines }),
                )?;
            }
        }
        Format::Text if ranked.is_empty() => {
            console.text("no rule found anything that a book would prove")?;
        }
        Format::Text => {
            for (place, (command, headlines)) in ranked.iter().enumerate() {
                console.line(
                    &Line::plain(format!("{:>2}. ", place + 1)).with(Tone::Accent, command),
                )?;
                for headline in headlines {
                    console.line(&Line::plain(format!("    {headline}")))?;
                }
            }
        }
    }
    Ok(exit::CLEAN)
}
