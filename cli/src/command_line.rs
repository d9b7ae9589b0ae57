//! The command line: every command there is, and which code runs it.

use clap::{CommandFactory, Parser, Subcommand};

use crate::commands;
use crate::error::CliError;
use crate::output::{ColorChoice, Console};

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
    /// Show services with rates, errors and durations, and who calls whom.
    Map(Box<commands::map::MapArgs>),
    /// Show what the registry says of every instance beside what spans, probes and caches say.
    Registry(commands::registry::RegistryArgs),
    /// Show how many sagas are in which state, or one saga beside its ledgers.
    Sagas(commands::sagas::SagasArgs),
    /// Show what saga, payments, stock and shipping say of each order.
    Orders(commands::orders::OrdersArgs),
    /// The declared models that sagas are held against.
    #[command(subcommand)]
    Models(commands::models::ModelsCommand),
    /// Ask a case in SQL.
    Query(commands::query::QueryArgs),
    /// Say what is wrong and why: every rule over a window.
    Diagnose(commands::diagnose::DiagnoseArgs),
    /// Rank who is to blame for an incident, against a better time.
    Suspects(commands::suspects::SuspectsArgs),
    /// Compare two windows, versions or cases; or judge a canary.
    Compare(Box<commands::compare::CompareArgs>),
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
    /// Keep a trace when retention drops what surrounds it.
    Pin(commands::pin::PinArgs),
    /// Close a case for good: everything into segments, hashed, read-only.
    Seal(commands::seal::SealArgs),
    /// Run, load and break the bundled shop.
    #[command(subcommand)]
    Shop(commands::shop::ShopCommand),
    /// Troubleshooting books: questions that evidence answers, one after the other, down to a cause.
    #[command(subcommand)]
    Playbook(commands::playbook::PlaybookCommand),
    /// The shop's incidents: whether diagnosis finds them.
    #[command(subcommand)]
    Drill(commands::drill::DrillCommand),
    /// Measure what Casefile promises about speed.
    #[command(subcommand)]
    Bench(commands::bench::BenchCommand),
    /// Print shell completions.
    Completions(commands::completions::CompletionsArgs),
    /// Print or write the man pages.
    Man(commands::man::ManArgs),
}

/// Runs a command; the number is the exit code of [`crate::exit`].
pub fn run(command: Command, console: &mut Console) -> Result<u8, CliError> {
    match command {
        Command::Up(args) => commands::up::run(&args, console),
        Command::Open(args) => commands::open::run(&args, console),
        Command::Collect(args) => commands::collect::run(&args, console),
        Command::Traces(args) => commands::traces::run(&args, console),
        Command::Trace(args) => commands::trace::run(&args, console),
        Command::Logs(args) => commands::logs::run(&args, console),
        Command::Metrics(args) => commands::metrics::run(&args, console),
        Command::Map(args) => commands::map::run(&args, console),
        Command::Registry(args) => commands::registry::run(&args, console),
        Command::Sagas(args) => commands::sagas::run(&args, console),
        Command::Orders(args) => commands::orders::run(&args, console),
        Command::Models(command) => commands::models::run(&command, console),
        Command::Query(args) => commands::query::run(&args, console),
        Command::Diagnose(args) => commands::diagnose::run(&args, console),
        Command::Suspects(args) => commands::suspects::run(&args, console),
        Command::Compare(args) => commands::compare::run(&args, console),
        Command::Explain(args) => commands::explain::run(&args, console),
        Command::Info(args) => commands::info::run(&args, console),
        Command::Import(args) => commands::import::run(&args, console),
        Command::Export(args) => commands::export::run(&args, console),
        Command::Replay(args) => commands::replay::run(&args, console),
        Command::Verify(args) => commands::verify::run(&args, console),
        Command::Pin(args) => commands::pin::run(&args, console),
        Command::Seal(args) => commands::seal::run(&args, console),
        Command::Shop(command) => commands::shop::run(command, console),
        Command::Playbook(command) => commands::playbook::run(command, console),
        Command::Drill(command) => commands::drill::run(command, console),
        Command::Bench(command) => commands::bench::run(&command, console),
        Command::Completions(args) => commands::completions::run(&args, Cli::command(), console),
        Command::Man(args) => commands::man::run(&args, Cli::command(), console),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_command_contradicts_itself() {
        Cli::command().debug_assert();
    }
}
