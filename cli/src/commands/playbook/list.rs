//! `casefile playbook list`.

use clap::Args;
use playbooks::book::{Book, Shelf};
use serde_json::json;

use crate::args::CaseArgs;
use crate::error::CliError;
use crate::exit;
use crate::output::{Column, Console, Format, Line, Table, Tone};

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Also those beside a case.
    #[command(flatten)]
    case: CaseArgs,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn run(args: &ListArgs, console: &mut Console) -> Result<u8, CliError> {
    let case = args.case.named();
    let shelf = super::shelf(case.as_deref(), console)?;
    let built_in = Shelf::built_in()?;
    let own = |book: &Book| built_in.find(&book.id) != Some(book);
    match args.format {
        Format::Json => {
            for book in shelf.books() {
                console.json(&json!({
                    "id": book.id, "title": book.title, "about": book.about,
                    "symptoms": book.symptoms.iter().map(|name| &name.word).collect::<Vec<_>>(),
                    "inputs": book.inputs.iter().map(|input| input.name()).collect::<Vec<_>>(),
                    "needs": book.needs.iter().map(|input| input.name()).collect::<Vec<_>>(),
                    "questions": book.steps.len(), "ends": book.ends.len(), "own": own(book),
                }))?;
            }
        }
        Format::Text => {
            let mut table = Table::new(vec![
                Column::left("book"),
                Column::left("finds out").shrinks_to(30),
                Column::left("can be given"),
                Column::right("questions"),
                Column::right("ends"),
                Column::left(""),
            ]);
            for book in shelf.books() {
                let inputs: Vec<&str> = book.inputs.iter().map(|input| input.name()).collect();
                table.row(vec![
                    Line::new().with(Tone::Strong, &book.id),
                    Line::plain(&book.about),
                    Line::plain(inputs.join(", ")),
                    Line::plain(book.steps.len().to_string()),
                    Line::plain(book.ends.len().to_string()),
                    Line::new().with(Tone::Accent, if own(book) { "yours" } else { "" }),
                ]);
            }
            console.lines(&table.lines(console.list_width()))?;
        }
    }
    Ok(exit::CLEAN)
}
