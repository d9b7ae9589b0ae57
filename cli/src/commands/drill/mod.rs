//! `casefile drill …`: the shop's incidents; whether diagnosis finds them; whether a person does.

mod kept;
mod lesson;
mod lint;
mod list;
mod plan;
mod proof;
pub mod session;
mod shop_of;
mod stage;
mod table;
mod trial;
mod verify;

use clap::Subcommand;

use crate::error::CliError;
use crate::output::Console;

#[derive(Debug, Subcommand)]
pub enum DrillCommand {
    /// List the incidents.
    List(list::ListArgs),
    /// Start the shop blind, with something wrong in it that you are to find.
    Start(session::start::StartArgs),
    /// How far the drill under way is.
    Status(session::talk::PlainArgs),
    /// Get a hint: there are three, each gives more away.
    Hint(session::talk::PlainArgs),
    /// Cite a piece of evidence: a trace, a saga, an order, an instance, a registry event, a metric.
    Evidence(session::talk::EvidenceArgs),
    /// Say who is to blame, and what it is.
    Answer(session::talk::AnswerArgs),
    /// End the drill: how good it was, and what it was.
    Score(session::talk::PlainArgs),
    /// End the drill without a score.
    Stop(session::talk::PlainArgs),
    /// The last drill again, with the shortest path of evidence; or all drills so far.
    Review(session::review::ReviewArgs),
    /// Learn the workbench in five short lessons.
    Lesson(lesson::LessonArgs),
    /// Stage a drill and keep its secret; `start` calls this.
    #[command(hide = true)]
    Host(session::host::HostArgs),
    /// Check incident files, each error with its line and column.
    Lint(lint::LintArgs),
    /// Give the shop incident after incident, blind, and check what diagnosis makes of each.
    Verify(verify::VerifyArgs),
    /// Run one planned shop; `verify` calls this.
    #[command(hide = true)]
    Stage(stage::StageArgs),
}

pub fn run(command: DrillCommand, console: &mut Console) -> Result<u8, CliError> {
    match command {
        DrillCommand::List(args) => list::run(&args, console),
        DrillCommand::Start(args) => session::start::run(&args, console),
        DrillCommand::Status(args) => session::talk::status(&args, console),
        DrillCommand::Hint(args) => session::talk::hint(&args, console),
        DrillCommand::Evidence(args) => session::talk::evidence(&args, console),
        DrillCommand::Answer(args) => session::talk::answer(&args, console),
        DrillCommand::Score(args) => session::talk::score(&args, console),
        DrillCommand::Stop(args) => session::talk::stop(&args, console),
        DrillCommand::Review(args) => session::review::run(&args, console),
        DrillCommand::Lesson(args) => lesson::run(&args, console),
        DrillCommand::Host(args) => session::host::run(&args),
        DrillCommand::Lint(args) => lint::run(&args, console),
        DrillCommand::Verify(args) => verify::run(&args, console),
        DrillCommand::Stage(args) => stage::run(&args),
    }
}

impl From<playbooks::place::Misplaced> for CliError {
    fn from(error: playbooks::place::Misplaced) -> CliError {
        let hint = error.hint.clone();
        let error = CliError::new(error.to_string());
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}
