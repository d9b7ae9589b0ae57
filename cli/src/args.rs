//! The command line: every command, and the arguments that several commands share.
//!
//! Arguments of a single command stand with that command.

use std::path::PathBuf;

use case::{Nanos, Window};
use clap::{Args, Parser, Subcommand};

use crate::commands;
use crate::error::CliError;
use crate::output::{ColorChoice, Console};
use crate::paths;

/// Observability and incident debugging in the terminal: collect signals into a case, ask it what is wrong and why.
#[derive(Debug, Parser)]
#[command(
    name = "casefile",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    max_term_width = 110
)]
pub struct Cli {
    /// When to colour the output; auto: on a terminal, unless NO_COLOR is set.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// The whole thing: shop, load, collectors and the workbench.
    Up(Box<commands::up::UpArgs>),
    /// Open the workbench on a live or sealed case.
    Open(commands::open::OpenArgs),
    /// Receive OTLP, scrape and watch into a case.
    Collect(Box<commands::collect::CollectArgs>),
    /// List traces (text) or the spans that are meant (JSON).
    Traces(commands::traces::TracesArgs),
    /// Show one trace as a waterfall.
    Trace(commands::trace::TraceArgs),
    /// List log records.
    Logs(commands::logs::LogsArgs),
    /// List metric series (text) or points (JSON).
    Metrics(commands::metrics::MetricsArgs),
    /// Ask a case in SQL.
    Query(commands::query::QueryArgs),
    /// Say what is wrong and why: every rule over a window.
    Diagnose(commands::diagnose::DiagnoseArgs),
    /// Explain what a rule means, or list the rules.
    Explain(commands::explain::ExplainArgs),
    /// Say what a case holds.
    Info(commands::info::InfoArgs),
    /// Bring files of other tools into a case.
    Import(commands::import::ImportArgs),
    /// Write signals of a case into files that other tools read.
    Export(Box<commands::export::ExportArgs>),
    /// Send the signals of a case again, with the gaps they had.
    Replay(commands::replay::ReplayArgs),
    /// Check every byte of a case against its hashes.
    Verify(commands::verify::VerifyArgs),
    /// Close a case for good: everything into segments, hashed, read-only.
    Seal(commands::seal::SealArgs),
    /// Run, load and break the bundled shop.
    #[command(subcommand)]
    Shop(commands::shop::ShopCommand),
    /// Measure what Casefile promises about speed.
    #[command(subcommand)]
    Bench(commands::bench::BenchCommand),
    /// Print shell completions.
    Completions(commands::completions::CompletionsArgs),
    /// Print or write the man pages.
    Man(commands::man::ManArgs),
}

/// Which case is meant: a path given either way, else CASEFILE_CASE, else the case last collected or imported.
#[derive(Debug, Clone, Args)]
pub struct CaseArgs {
    /// The case [default: $CASEFILE_CASE, else the one last collected or imported].
    #[arg(value_name = "CASE")]
    path: Option<PathBuf>,
    /// The same, as an option.
    #[arg(long = "case", value_name = "PATH", conflicts_with = "path")]
    case: Option<PathBuf>,
}

impl CaseArgs {
    /// The path of the case; says on standard error which one was taken when none was named.
    pub fn resolve(&self, console: &Console) -> Result<PathBuf, CliError> {
        if let Some(path) = self.path.as_ref().or(self.case.as_ref()) {
            return Ok(path.clone());
        }
        if let Some(path) = std::env::var_os("CASEFILE_CASE").filter(|path| !path.is_empty()) {
            return Ok(PathBuf::from(path));
        }
        let path = paths::last_case().ok_or_else(|| {
            CliError::new("no case is named, and none has been collected or imported yet")
                .hint("name one with --case PATH; `casefile collect` makes one")
        })?;
        console.remark(&format!("case {}", path.display()));
        Ok(path)
    }
}

/// The part of the case's time that is looked at.
#[derive(Debug, Clone, Default, Args)]
pub struct WindowArgs {
    /// From this time on: RFC 3339, or a duration before the end of the case (10m).
    #[arg(long, value_name = "TIME", conflicts_with = "window")]
    since: Option<String>,
    /// Up to this time: RFC 3339, or a duration before the end of the case.
    #[arg(long, value_name = "TIME", conflicts_with = "window")]
    until: Option<String>,
    /// Both at once; either side may be left out.
    #[arg(long, value_name = "A..B")]
    window: Option<String>,
}

impl WindowArgs {
    /// The window, with durations counted back from `now`.
    pub fn resolve(&self, now: Nanos) -> Result<Window, CliError> {
        if let Some(window) = &self.window {
            return Ok(Window::parse(window, now)?);
        }
        let side = |text: &Option<String>, open: Nanos| match text {
            Some(text) => case::time::parse_time(text, now),
            None => Ok(open),
        };
        let window = Window {
            from: side(&self.since, Window::ALL.from)?,
            until: side(&self.until, Window::ALL.until)?,
        };
        if window.from > window.until {
            return Err(CliError::new(format!(
                "the window ends ({}) before it begins ({})",
                window.until, window.from
            )));
        }
        Ok(window)
    }
}
