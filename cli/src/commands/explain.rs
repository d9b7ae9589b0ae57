//! `casefile explain RULE`: what a rule means. Without one, what rules there are.

use analyzers::rules;
use clap::Args;

use super::diagnose;
use crate::error::CliError;
use crate::exit;
use crate::output::{Column, Console, Format, Line, Table, Tone};
use crate::render::report;

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The rule's name, such as registry/cached-after-removal; without one, all are listed.
    #[arg(value_name = "RULE")]
    rule: Option<String>,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub fn run(args: &ExplainArgs, console: &mut Console) -> Result<u8, CliError> {
    match (&args.rule, args.format) {
        (Some(id), Format::Text) => {
            let lines = report::explanation(diagnose::rule(id)?.about(), console.drawing_width());
            console.lines(&lines)?;
        }
        (Some(id), Format::Json) => console.json(diagnose::rule(id)?.about())?,
        (None, Format::Json) => {
            for rule in rules::ALL.iter() {
                console.json(rule.about())?;
            }
        }
        (None, Format::Text) => {
            let mut table = Table::new(vec![
                Column::left("rule"),
                Column::left("severity"),
                Column::left("title").shrinks_to(20),
            ]);
            for rule in rules::ALL.iter() {
                let about = rule.about();
                table.row(vec![
                    Line::new().with(Tone::Strong, about.id),
                    Line::plain(about.severity.name()),
                    Line::plain(about.title),
                ]);
            }
            console.lines(&table.lines(console.list_width()))?;
        }
    }
    Ok(exit::CLEAN)
}
