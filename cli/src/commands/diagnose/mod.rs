//! `casefile diagnose`: every rule over a window, and an exit code that says how it came out.

mod choice;
pub mod focus;
mod known;

use analyzers::engine::{self, Finding, Report, Severity, Verdict};
use analyzers::evidence::Evidence;
use analyzers::suspects::Ranking;
use case::Window;
use clap::{Args, ValueEnum};

use super::suspects;
use crate::args::{CaseArgs, WindowArgs};
use crate::error::CliError;
use crate::exit;
use crate::models::ModelArgs;
use crate::output::{Console, Line};
use crate::reading::{Reading, threads};
use crate::render::report::{self, Shown, github, junit, markdown, object, sarif};
use crate::views;

pub use choice::rule;

#[derive(Debug, Args)]
pub struct DiagnoseArgs {
    #[command(flatten)]
    case: CaseArgs,
    #[command(flatten)]
    window: WindowArgs,
    #[command(flatten)]
    models: ModelArgs,
    #[command(flatten)]
    focus: focus::FocusArgs,
    #[command(flatten)]
    verdict: VerdictArgs,
    #[command(flatten)]
    rules: choice::RuleArgs,
    /// Say why this rule fires or does not: what it saw, its limit, how near it came.
    #[arg(long, value_name = "RULE", conflicts_with_all = ["only", "except", "trace", "order"])]
    why: Option<String>,
    #[command(flatten)]
    known: known::KnownArgs,
    /// Show what follows from a finding as well.
    #[arg(long)]
    all: bool,
    /// Print the JSON schema of `--format json` instead.
    #[arg(long, exclusive = true)]
    schema: bool,
    #[arg(long, value_enum, default_value = "text")]
    format: ReportFormat,
}

/// How a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ReportFormat {
    /// For people in a terminal.
    #[default]
    Text,
    /// One object, of the form that --schema prints.
    Json,
    /// For issues and post-mortems.
    Markdown,
    /// A test case for each rule.
    Junit,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// Workflow commands: annotations of a GitHub run.
    Github,
}

/// What the exit code depends on.
#[derive(Debug, Clone, Copy, Args)]
pub struct VerdictArgs {
    /// Exit with 1 if there is a finding at least this severe.
    #[arg(long, value_enum, value_name = "SEVERITY", default_value = "error")]
    fail_on: FailOn,
    /// Exit with 3 if something could not be told, and nothing was found.
    #[arg(long)]
    strict: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    Note,
    Warning,
    Error,
}

impl VerdictArgs {
    fn least(self) -> Severity {
        match self.fail_on {
            FailOn::Note => Severity::Note,
            FailOn::Warning => Severity::Warning,
            FailOn::Error => Severity::Error,
        }
    }

    /// The exit code of what is shown of a report.
    ///
    /// What could not be read could have told of anything, so damage counts as something that could not be told.
    pub fn code(self, shown: &Shown<'_>, damaged: bool) -> u8 {
        let least = self.least();
        let untold = shown.report.with(Verdict::CannotTell).next().is_some();
        if shown
            .findings
            .iter()
            .any(|finding| finding.severity >= least)
        {
            exit::FINDING
        } else if self.strict && (damaged || untold) {
            exit::CANNOT_TELL
        } else {
            exit::CLEAN
        }
    }
}

pub fn run(args: &DiagnoseArgs, console: &mut Console) -> Result<u8, CliError> {
    if args.schema {
        console.text(object::SCHEMA.trim_end())?;
        return Ok(exit::CLEAN);
    }
    let chosen = match &args.why {
        Some(id) => vec![rule(id)?],
        None => args.rules.chosen()?,
    };
    let mut known = args.known.read()?;
    let reading = Reading::open(&args.case, &args.window, console)?;
    let focus = args.focus.resolve(&reading)?;
    let models = args.models.of(&reading.path)?;
    let diagnosed = |window: Window| -> Result<Report, CliError> {
        let evidence = Evidence::gather_with(&reading.case, window, threads(), &models)?;
        Ok(engine::diagnose(&evidence, &chosen))
    };
    let mut ranking = None;
    if let Some(window) = args.known.baseline(reading.now)? {
        known.add_report(&diagnosed(window)?);
        ranking = against(&reading, window)?;
    }
    let report = diagnosed(reading.window)?;
    reading.tell_damage(console);
    let damaged = !reading.case.damage().is_empty();
    if args.why.is_some() {
        match args.format {
            ReportFormat::Text => {
                let width = console.drawing_width();
                for (rule, answer) in chosen.iter().zip(&report.answers) {
                    console.lines(&report::why(rule.about(), answer, width))?;
                }
            }
            ReportFormat::Json => console.json(&report.answers)?,
            _ => {
                return Err(CliError::new("--why is printed as text or json")
                    .hint("leave --format out, or say --format json"));
            }
        }
        return Ok(args.verdict.code(&Shown::whole(&report), damaged));
    }
    let meant: Vec<&Finding> = report
        .findings()
        .into_iter()
        .filter(|finding| focus.as_ref().is_none_or(|focus| focus.is_about(finding)))
        .collect();
    args.known.write(&meant)?;
    let (findings, left_out): (Vec<&Finding>, Vec<&Finding>) =
        meant.into_iter().partition(|finding| !known.has(finding));
    let shown = Shown {
        report: &report,
        findings,
        known: left_out.len(),
        all: args.all,
        suspects: ranking.as_ref(),
    };
    print(&shown, args.format, args.verdict, &reading.path, console)?;
    Ok(args.verdict.code(&shown, damaged))
}

/// Who differs most from the baseline; nothing where the two windows overlap or one of them is empty.
fn against(reading: &Reading, baseline: Window) -> Result<Option<Ranking>, CliError> {
    let baseline = views::known_part(&reading.case, baseline)?;
    let mut incident = views::known_part(&reading.case, reading.window)?;
    // A window that was left open on the left begins where the baseline ends.
    if baseline.overlaps(incident.from, incident.from) {
        incident.from = baseline.until;
    }
    let apart = incident.until <= baseline.from || incident.from >= baseline.until;
    if !apart || incident.from >= incident.until || baseline.from >= baseline.until {
        return Ok(None);
    }
    suspects::rank(&reading.case, baseline, incident, None).map(Some)
}

/// Prints a report in any of its forms.
fn print(
    shown: &Shown<'_>,
    format: ReportFormat,
    verdict: VerdictArgs,
    case: &std::path::Path,
    console: &mut Console,
) -> Result<(), CliError> {
    let lines = match format {
        ReportFormat::Text => {
            return console.lines(&report::lines(shown, console.drawing_width()));
        }
        ReportFormat::Json => return console.json(&object::ReportObject::of(shown)),
        ReportFormat::Sarif => {
            let name = case.file_name().unwrap_or(case.as_os_str());
            return console.json(&sarif::object(shown, &name.to_string_lossy()));
        }
        ReportFormat::Markdown => markdown::lines(shown),
        ReportFormat::Junit => junit::lines(shown, verdict.least()),
        ReportFormat::Github => github::lines(shown),
    };
    lines
        .iter()
        .try_for_each(|line| console.line(&Line::plain(line)))
}
