//! `casefile diagnose`: every rule over a window, and an exit code that says how it came out.

use analyzers::engine::{self, Finding, Report, Rule, Severity, Verdict};
use analyzers::evidence::Evidence;
use analyzers::rules;
use case::Window;
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::args::{CaseArgs, WindowArgs};
use crate::error::CliError;
use crate::exit;
use crate::output::{Console, Format};
use crate::reading::Reading;
use crate::render::report;

#[derive(Debug, Args)]
pub struct DiagnoseArgs {
    #[command(flatten)]
    case: CaseArgs,
    #[command(flatten)]
    window: WindowArgs,
    #[command(flatten)]
    verdict: VerdictArgs,
    /// Ask only these rules.
    #[arg(long, value_name = "RULE")]
    rule: Vec<String>,
    /// Say why this rule fires or does not: what it saw, its limit, how near it came.
    #[arg(long, value_name = "RULE", conflicts_with = "rule")]
    why: Option<String>,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
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
    /// The exit code of a report.
    ///
    /// What could not be read could have told of anything, so damage counts as something that could not be told.
    pub fn code(self, report: &Report, damaged: bool) -> u8 {
        let least = match self.fail_on {
            FailOn::Note => Severity::Note,
            FailOn::Warning => Severity::Warning,
            FailOn::Error => Severity::Error,
        };
        if report
            .findings()
            .iter()
            .any(|finding| finding.severity >= least)
        {
            exit::FINDING
        } else if self.strict && (damaged || report.with(Verdict::CannotTell).next().is_some()) {
            exit::CANNOT_TELL
        } else {
            exit::CLEAN
        }
    }
}

/// A report as one JSON object.
#[derive(Serialize)]
pub struct ReportObject<'a> {
    window: Window,
    findings: Vec<&'a Finding>,
    cannot_tell: Vec<Blind<'a>>,
    passed: Vec<&'a str>,
}

#[derive(Serialize)]
struct Blind<'a> {
    rule: &'a str,
    missing: &'a [String],
}

impl<'a> ReportObject<'a> {
    pub fn of(report: &'a Report) -> ReportObject<'a> {
        ReportObject {
            window: report.window,
            findings: report.findings(),
            cannot_tell: report
                .with(Verdict::CannotTell)
                .map(|answer| Blind {
                    rule: answer.rule,
                    missing: &answer.missing,
                })
                .collect(),
            passed: report
                .with(Verdict::Pass)
                .map(|answer| answer.rule)
                .collect(),
        }
    }
}

/// The rule of this name, or an error that suggests one.
pub fn rule(id: &str) -> Result<&'static dyn Rule, CliError> {
    rules::find(id).ok_or_else(|| {
        let error = CliError::new(format!("no rule {id:?}"));
        let ids: Vec<&str> = rules::ALL.iter().map(|rule| rule.about().id).collect();
        match case::nearest::nearest(id, ids.iter().copied()) {
            Some(near) => error.hint(format!("did you mean {near}?")),
            None => error.hint("`casefile explain` lists the rules"),
        }
    })
}

pub fn run(args: &DiagnoseArgs, console: &mut Console) -> Result<u8, CliError> {
    let chosen: Vec<&'static dyn Rule> = match (&args.why, args.rule.as_slice()) {
        (Some(id), _) => vec![rule(id)?],
        (None, []) => rules::ALL.to_vec(),
        (None, ids) => ids.iter().map(|id| rule(id)).collect::<Result<_, _>>()?,
    };
    let reading = Reading::open(&args.case, &args.window, console)?;
    let evidence = Evidence::gather(&reading.case, reading.window)?;
    let report = engine::diagnose(&evidence, &chosen);
    let width = console.drawing_width();
    match (&args.why, args.format) {
        (Some(_), Format::Json) => console.json(&report.answers)?,
        (Some(_), Format::Text) => {
            for (rule, answer) in chosen.iter().zip(&report.answers) {
                console.lines(&report::why(rule.about(), answer, width))?;
            }
        }
        (None, Format::Json) => console.json(&ReportObject::of(&report))?,
        (None, Format::Text) => console.lines(&report::lines(&report, width))?,
    }
    reading.tell_damage(console);
    Ok(args
        .verdict
        .code(&report, !reading.case.damage().is_empty()))
}
