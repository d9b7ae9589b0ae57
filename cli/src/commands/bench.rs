//! `casefile bench`: the figures Casefile promises, measured here and now beside a reference.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::bench::client::Encoding;
use crate::bench::{Figure, analyze, ingest, load, query, reference, suspects, workbench};
use crate::error::CliError;
use crate::exit;
use crate::output::{Console, Format};

#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Spans a second of one core takes in: a receiver process under load, beside tonic and prost that drop everything.
    Ingest(IngestArgs),
    /// Loading a sealed case to what rebuilding traces needs, beside the parquet crate's own readers.
    Load(CaseSize),
    /// One trace by id from a case nobody has read yet, beside reading every span.
    Query(QueryArgs),
    /// Shaping every trace, and exact quantiles by service, over rows that are in memory.
    Analyze(CaseSize),
    /// Frames of the workbench while 20,000 spans a second arrive, a trace of 40,000 spans, and the first screen of a
    /// sealed case.
    Workbench(CaseSize),
    /// Root causes and lost parents in labelled sets of other systems, beside what was published on them.
    Suspects(SuspectsArgs),
    /// The receiver that the others are measured against.
    #[command(hide = true)]
    Reference {
        #[arg(long, value_name = "FILE")]
        ready_file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub struct IngestArgs {
    /// How many spans to send.
    #[arg(long, default_value_t = 2_000_000)]
    spans: u64,
    /// How requests travel.
    #[arg(long, value_enum, default_value = "none")]
    encoding: Encoding,
    /// Seal in the background, and count processor time until the last segment is closed.
    #[arg(long)]
    sealed: bool,
    /// Leave the reference out.
    #[arg(long)]
    no_reference: bool,
    /// Connections to open.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    connections: u16,
    /// Requests under way at a time, over all connections.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    in_flight: u16,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub struct CaseSize {
    /// Spans in the case.
    #[arg(long, default_value_t = 1_000_000)]
    spans: u64,
    /// Times it is loaded; the median counts.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub struct QueryArgs {
    /// Spans in the case.
    #[arg(long, default_value_t = 10_000_000)]
    spans: u64,
    /// Traces to look up.
    #[arg(long, default_value_t = 15)]
    lookups: usize,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub struct SuspectsArgs {
    /// The folder under which the sets lie.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, Args)]
pub struct Place {
    /// Work in this folder and leave what was made there (a case of the right size is used again) [default: a temporary
    /// folder].
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub fn run(command: &BenchCommand, console: &mut Console) -> Result<u8, CliError> {
    match command {
        BenchCommand::Reference { ready_file } => reference::serve(ready_file)?,
        BenchCommand::Suspects(args) => ranked(args, console)?,
        BenchCommand::Ingest(args) => {
            let plan = ingest::Plan {
                spans: args.spans,
                encoding: args.encoding,
                sealed: args.sealed,
                reference: !args.no_reference,
                connections: usize::from(args.connections),
                in_flight: usize::from(args.in_flight),
            };
            within(&args.place, |folder| {
                let case = folder.join("bench.case");
                if case.exists() {
                    return Err(CliError::new(format!("{} is there already", case.display()))
                        .hint("ingest measures into a fresh case: remove it, or choose another folder"));
                }
                print(&ingest::run(&plan, folder)?, &args.place, console)
            })?;
        }
        BenchCommand::Load(args) => within(&args.place, |folder| {
            let case = folder.join(format!("{}.case", args.spans));
            load::prepare(&case, args.spans)?;
            print(&load::run(&case, args.rounds)?, &args.place, console)
        })?,
        BenchCommand::Analyze(args) => within(&args.place, |folder| {
            let case = folder.join(format!("{}.case", args.spans));
            load::prepare(&case, args.spans)?;
            print(&analyze::run(&case, args.rounds)?, &args.place, console)
        })?,
        BenchCommand::Workbench(args) => within(&args.place, |folder| {
            let case = folder.join(format!("{}.case", args.spans));
            load::prepare(&case, args.spans)?;
            print(
                &workbench::run(&case, folder, args.rounds)?,
                &args.place,
                console,
            )
        })?,
        BenchCommand::Query(args) => within(&args.place, |folder| {
            let case = folder.join(format!("{}.case", args.spans));
            load::prepare(&case, args.spans)?;
            print(&query::run(&case, args.lookups)?, &args.place, console)
        })?,
    }
    Ok(exit::CLEAN)
}

/// Runs every labelled set and prints its figures and rankings.
fn ranked(args: &SuspectsArgs, console: &mut Console) -> Result<(), CliError> {
    let told = |folder: &Path| console.remark(&format!("measuring {}", folder.display()));
    let outcomes = suspects::run(&args.data, told).map_err(|error| {
        CliError::new(error.to_string())
            .hint("a set is a folder with cases.json, with graph.csv and noissue, or NAME_loadN")
    })?;
    if args.format == Format::Json {
        return console.json(&outcomes);
    }
    for outcome in &outcomes {
        console.text(&format!("{}: {}", outcome.folder, outcome.protocol))?;
        for figure in &outcome.figures.0 {
            let beside = figure
                .beside
                .map_or(String::new(), |beside| format!("  ({beside})"));
            console.text(&format!("  {:>9.3}  {}{beside}", figure.value, figure.name))?;
        }
        for case in &outcome.cases {
            let rank = case.rank.map_or("–".to_owned(), |rank| rank.to_string());
            let listed: Vec<String> = case
                .suspects
                .iter()
                .map(|suspect| format!("{} {:.2}", suspect.name, suspect.score))
                .collect();
            console.text(&format!(
                "  {:<18} {:<14} {rank:>3}  {}: {}",
                case.case,
                case.kind,
                case.culprit,
                listed.join(", ")
            ))?;
        }
        console.text("")?;
    }
    Ok(())
}

/// Runs in the folder that was named, or in one that goes afterwards.
fn within(place: &Place, work: impl FnOnce(&Path) -> Result<(), CliError>) -> Result<(), CliError> {
    if let Some(folder) = &place.folder {
        std::fs::create_dir_all(folder)
            .map_err(|error| CliError::io(format!("create {}", folder.display()), &error))?;
        return work(folder);
    }
    let folder = std::env::temp_dir().join(format!("casefile-bench-{}", std::process::id()));
    std::fs::create_dir(&folder)
        .map_err(|error| CliError::io(format!("create {}", folder.display()), &error))?;
    let outcome = work(&folder);
    let _ = std::fs::remove_dir_all(&folder);
    outcome
}

fn print(figures: &[Figure], place: &Place, console: &mut Console) -> Result<(), CliError> {
    if place.format == Format::Json {
        return console.json(&figures);
    }
    let widest = figures
        .iter()
        .map(|figure| figure.name.chars().count())
        .max()
        .unwrap_or(0);
    for figure in figures {
        let value = match figure.value {
            value if value >= 1000.0 => format!("{value:.0}"),
            value if value >= 10.0 => format!("{value:.1}"),
            value => format!("{value:.2}"),
        };
        let bar = figure
            .bar
            .as_ref()
            .map_or(String::new(), |bar| format!("  ({bar})"));
        console.text(&format!(
            "{:<widest$}  {value:>10} {}{bar}",
            figure.name, figure.unit
        ))?;
    }
    Ok(())
}
