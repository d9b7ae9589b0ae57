//! `casefile drill list`.

use clap::Args;
use serde_json::json;

use crate::error::CliError;
use crate::exit;
use crate::output::{Column, Console, Format, Line, Table};

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only those of this workflow.
    #[arg(long, value_name = "NAME")]
    workflow: Option<String>,
    /// What is broken, too. It gives the answers away.
    #[arg(long)]
    answers: bool,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn run(args: &ListArgs, console: &mut Console) -> Result<u8, CliError> {
    let all = super::plan::chosen(args.workflow.as_deref(), &[])?;
    match args.format {
        Format::Json => {
            for (number, incident) in &all {
                let mut line = json!({
                    "number": number, "workflow": incident.workflow(), "story": incident.story,
                    "watch_s": incident.watch.as_secs_f64(),
                });
                if args.answers {
                    line["id"] = json!(incident.id);
                    line["title"] = json!(incident.title);
                    line["cause"] = json!(incident.expect.cause);
                }
                console.json(&line)?;
            }
        }
        Format::Text => {
            let mut columns = vec![
                Column::right("#"),
                Column::left("workflow"),
                Column::left("what people notice").shrinks_to(30),
            ];
            if args.answers {
                columns.push(Column::left("incident").shrinks_to(30));
                columns.push(Column::left("what is broken").shrinks_to(20));
            }
            let mut table = Table::new(columns);
            for (number, incident) in &all {
                let story = if incident.story.is_empty() {
                    "-"
                } else {
                    &incident.story
                };
                let mut row = vec![
                    Line::plain(number.to_string()),
                    Line::plain(incident.workflow()),
                    Line::plain(story),
                ];
                if args.answers {
                    row.push(Line::plain(&incident.id));
                    row.push(Line::plain(&incident.title));
                }
                table.row(row);
            }
            let width = console.list_width();
            console.lines(&table.lines(width))?;
        }
    }
    Ok(exit::CLEAN)
}
