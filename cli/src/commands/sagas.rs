//! `casefile sagas`: how many sagas are in which state, and one saga as a timeline beside its ledgers.

use analyzers::saga::{Sagas, Status, Story};
use clap::{Args, ValueEnum};

use crate::args::{CaseArgs, WindowArgs};
use crate::error::CliError;
use crate::exit;
use crate::models::ModelArgs;
use crate::output::{Console, Format, Line, Tone, count, sagas as objects};
use crate::reading::Reading;
use crate::render;
use crate::views;

#[derive(Debug, Args)]
pub struct SagasArgs {
    /// One saga: its id, or the beginning of it, or its order's.
    #[arg(value_name = "ID")]
    id: Option<String>,
    #[command(flatten)]
    case: CaseArgs,
    #[command(flatten)]
    window: WindowArgs,
    #[command(flatten)]
    models: ModelArgs,
    /// Only sagas of this model.
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Only sagas in this state.
    #[arg(long, value_enum, value_name = "STATUS")]
    status: Option<StatusArg>,
    /// Only sagas that have stood still for longer than anything they wait for takes.
    #[arg(long)]
    stuck: bool,
    /// The newest so many; 0 for all [default: 20 as text, all as JSON].
    #[arg(long, short = 'n', value_name = "COUNT")]
    limit: Option<usize>,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StatusArg {
    Initiated,
    Running,
    Compensating,
    Completed,
    Failed,
}

impl StatusArg {
    fn status(self) -> Status {
        match self {
            StatusArg::Initiated => Status::Initiated,
            StatusArg::Running => Status::Running,
            StatusArg::Compensating => Status::Compensating,
            StatusArg::Completed => Status::Completed,
            StatusArg::Failed => Status::Failed,
        }
    }
}

/// Sagas shown as text unless asked otherwise.
const SHOWN: usize = 20;

pub fn run(args: &SagasArgs, console: &mut Console) -> Result<u8, CliError> {
    let (id, case) = args.case.after_word(args.id.as_deref());
    let reading = Reading::open(&case, &args.window, console)?;
    // A single saga is shown with the spans of its attempts.
    let sagas = views::sagas(
        &reading.case,
        reading.window,
        id.is_some(),
        args.models.of(&reading.path)?,
    )?;
    let width = console.list_width();
    if let Some(id) = id {
        let story = find(&sagas, &id)?;
        match args.format {
            Format::Json => console.json(&objects::whole(&sagas, story))?,
            Format::Text => console.lines(&render::saga::story(&sagas, story, width))?,
        }
        reading.tell_damage(console);
        return Ok(exit::CLEAN);
    }
    if let Some(model) = &args.model
        && !sagas.stories.iter().any(|story| story.model == *model)
    {
        return Err(unknown_model(&sagas, model));
    }
    let mut shown: Vec<&Story> = sagas
        .stories
        .iter()
        .filter(|story| story.last_sign() >= reading.window.from)
        .filter(|story| {
            args.model
                .as_ref()
                .is_none_or(|model| story.model == *model)
        })
        .filter(|story| {
            args.status
                .is_none_or(|status| story.status() == status.status())
        })
        .filter(|story| !args.stuck || render::saga::is_stuck(&sagas, story))
        .collect();
    let total = newest(&mut shown, args.limit, args.format);
    match args.format {
        Format::Json => {
            for story in &shown {
                console.json(&objects::brief(&sagas, story))?;
            }
        }
        Format::Text if total == 0 => console.remark(if sagas.known.journal {
            "no saga is like that in the window"
        } else {
            "no journal was watched: collect with --registry URL of a system that has one"
        }),
        Format::Text => {
            console.lines(&render::saga::machines(&sagas, width))?;
            console.line(&Line::new())?;
            console.lines(&render::saga::table(&sagas, shown.iter().copied(), width))?;
            tell_left_out(total - shown.len(), "saga", console)?;
        }
    }
    reading.tell_damage(console);
    Ok(exit::CLEAN)
}

/// Puts the newest first and leaves as many as are to be shown. Answers how many there were.
pub(super) fn newest(shown: &mut Vec<&Story>, limit: Option<usize>, format: Format) -> usize {
    shown.sort_by(|a, b| (b.created, &b.id).cmp(&(a.created, &a.id)));
    let total = shown.len();
    match (limit, format) {
        (None, Format::Text) => shown.truncate(SHOWN),
        (None | Some(0), _) => {}
        (Some(limit), _) => shown.truncate(limit),
    }
    total
}

/// Says how many rows of a list are not shown.
pub(super) fn tell_left_out(
    left_out: usize,
    what: &str,
    console: &mut Console,
) -> Result<(), CliError> {
    if left_out == 0 {
        return Ok(());
    }
    let more = count(
        left_out as u64,
        &format!("earlier {what}"),
        &format!("earlier {what}s"),
    );
    console.line(&Line::new().with(Tone::Dim, format!("{more} not shown (--limit 0 shows all)")))
}

fn unknown_model(sagas: &Sagas, model: &str) -> CliError {
    let error = CliError::new(format!("no saga of a model {model:?} in the window"));
    let names = sagas.stories.iter().map(|story| story.model.as_str());
    match case::nearest::nearest(model, names) {
        Some(near) => error.hint(format!("did you mean {near}?")),
        None => error.hint("`casefile sagas` lists the models"),
    }
}

/// The saga of this id or order, or the one whose id begins so.
pub(super) fn find<'a>(sagas: &'a Sagas, id: &str) -> Result<&'a Story, CliError> {
    let is = |story: &&Story| story.id == id || story.order_id == id;
    if let Some(story) = sagas.stories.iter().find(is) {
        return Ok(story);
    }
    let begins = |story: &&Story| story.id.starts_with(id) || story.order_id.starts_with(id);
    let mut found = sagas.stories.iter().filter(begins);
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (Some(a), Some(b)) => Err(CliError::new(format!("several begin with {id:?}"))
            .hint(format!("such as {} and {}", a.id, b.id))),
        (None, _) => Err(
            CliError::new(format!("no saga or order {id:?} in the window"))
                .hint("`casefile sagas` and `casefile orders` list them"),
        ),
    }
}
