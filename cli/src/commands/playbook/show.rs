//! `casefile playbook show`: a book's questions and where each answer leads.

use clap::Args;
use playbooks::book::{Book, How, Name, Step};

use super::books;
use crate::error::CliError;
use crate::exit;
use crate::output::{Console, Line, Tone};
use crate::render::report::broken;

#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The book: its name, or a file.
    #[arg(value_name = "BOOK")]
    book: String,
    /// Print the book's own text.
    #[arg(long)]
    source: bool,
}

/// Longer lines are hard to read.
const WIDEST: usize = 110;

pub(super) fn run(args: &ShowArgs, console: &mut Console) -> Result<u8, CliError> {
    let mut shelf = super::shelf(None, console)?;
    let book = books::chosen(&mut shelf, &args.book, console)?;
    if args.source {
        console.text(book.text())?;
    } else {
        console.lines(&lines(book, console.drawing_width().min(WIDEST)))?;
    }
    Ok(exit::CLEAN)
}

fn lines(book: &Book, width: usize) -> Vec<Line> {
    let mut out = vec![
        Line::new()
            .with(Tone::Strong, &book.id)
            .with(Tone::Plain, format!("  {}", book.title)),
    ];
    let mut text = |text: &str, indent: usize| {
        for part in broken(text, width.saturating_sub(indent).max(20)) {
            out.push(Line::plain(format!("{}{part}", " ".repeat(indent))));
        }
    };
    text(&book.about, 2);
    let symptoms: Vec<&str> = book
        .symptoms
        .iter()
        .map(|name| name.word.as_str())
        .collect();
    if !symptoms.is_empty() {
        text(&format!("for {}", symptoms.join(", ")), 2);
    }
    out.push(Line::new());
    for step in &book.steps {
        out.extend(step_lines(book, step));
    }
    out.push(Line::new());
    for end in &book.ends {
        let cause = end
            .cause
            .as_ref()
            .map_or(end.says.as_str(), |name| name.word.as_str());
        out.push(
            Line::new()
                .with(Tone::Accent, format!("  ⊣ {}  ", end.id.word))
                .with(Tone::Plain, cause),
        );
    }
    out
}

fn step_lines(book: &Book, step: &Step) -> Vec<Line> {
    let mark = if book.opens(step) { "?" } else { "·" };
    let by = match &step.how {
        How::Rule { rule, .. } => rule.word.clone(),
        How::Query { .. } => "a query".to_owned(),
        How::Compare { .. } => "a comparison".to_owned(),
        How::Probe { .. } => "a probe".to_owned(),
        How::Person => "a person".to_owned(),
        How::Book { id } => format!("book {}", id.word),
    };
    let mut out = vec![
        Line::new()
            .with(Tone::Accent, format!("  {mark} {}  ", step.id.word))
            .with(Tone::Strong, &step.ask)
            .with(Tone::Dim, format!("  ({by})")),
    ];
    let way = |name: &Option<Name>, otherwise: &str| {
        name.as_ref()
            .map_or_else(|| otherwise.to_owned(), |name| name.word.clone())
    };
    out.push(Line::new().with(
        Tone::Dim,
        format!(
            "      pass → {} · fail → {} · cannot tell → {}",
            way(&step.pass, "next"),
            way(&step.fail, "what it found"),
            way(&step.cannot_tell, "next")
        ),
    ));
    out
}
