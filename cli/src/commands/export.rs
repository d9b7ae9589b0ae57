//! `casefile export`: signals of a case into files that other tools read.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use case::{Case, Signal, TraceId};
use clap::{Args, ValueEnum};
use collectors::export::{self, ExportError, Format, Report, Selection};

use super::filtering::SpanFilterArgs;
use super::progress::ProgressLine;
use crate::args::{CaseArgs, WindowArgs};
use crate::error::CliError;
use crate::exit;
use crate::output::{self, Console};
use crate::reading::Reading;

#[derive(Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    case: CaseArgs,
    /// What to write.
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "otlp-json")]
    format: FileFormat,
    /// Where to: a file, or a folder for Parquet [default: standard output].
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write over a file that is there.
    #[arg(long)]
    force: bool,
    /// Only these signals [default: all the format holds; CSV holds one, by default traces].
    #[arg(long, value_enum, value_name = "SIGNAL", value_delimiter = ',')]
    signal: Vec<SignalName>,
    #[command(flatten)]
    window: WindowArgs,
    /// Flags and filters choose traces: those with a span that is meant go out whole, with their logs.
    #[command(flatten)]
    filter: SpanFilterArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FileFormat {
    /// One OTLP export object a line.
    OtlpJson,
    /// OTLP messages, each behind its length in four bytes.
    OtlpProtobuf,
    /// Jaeger JSON, as its API answers: traces alone.
    Jaeger,
    /// One signal as CSV.
    Csv,
    /// A folder of Parquet tables, as a sealed case has them.
    Parquet,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SignalName {
    Traces,
    Logs,
    Metrics,
}

impl FileFormat {
    /// The format of a stream; Parquet is none.
    fn of_stream(self) -> Option<Format> {
        match self {
            FileFormat::OtlpJson => Some(Format::OtlpJson),
            FileFormat::OtlpProtobuf => Some(Format::OtlpProtobuf),
            FileFormat::Jaeger => Some(Format::Jaeger),
            FileFormat::Csv => Some(Format::Csv),
            FileFormat::Parquet => None,
        }
    }
}

pub fn run(args: &ExportArgs, console: &mut Console) -> Result<u8, CliError> {
    let reading = Reading::open(&args.case, &args.window, console)?;
    let selection = selection(args, &reading)?;
    let report = match (&args.output, args.format.of_stream()) {
        (Some(path), None) => to_folder(path, args, &reading.case, &selection)?,
        (None, None) => {
            return Err(
                CliError::new("Parquet is a folder of tables, and none is named")
                    .hint("name one with --output FOLDER"),
            );
        }
        (Some(path), Some(format)) if path != Path::new("-") => {
            to_file(path, format, args, &reading.case, &selection)?
        }
        (_, Some(format)) => {
            if args.format == FileFormat::OtlpProtobuf && io::stdout().is_terminal() {
                return Err(CliError::new("protobuf is nothing for a terminal")
                    .hint("write it into a file with --output FILE, or into a pipe"));
            }
            match write(
                &mut io::stdout().lock(),
                format,
                args,
                &reading.case,
                &selection,
            ) {
                Ok(report) => report,
                // Whoever read it has seen enough.
                Err(ExportError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                    return Ok(exit::CLEAN);
                }
                Err(error) => return Err(told(error)),
            }
        }
    };
    reading.tell_damage(console);
    tell(&report, args, &reading, console)?;
    Ok(exit::CLEAN)
}

fn selection(args: &ExportArgs, reading: &Reading) -> Result<Selection, CliError> {
    let filter = args.filter.filter()?;
    reading.check_services(&filter.services())?;
    let mut selection = Selection::of(reading.window);
    if !args.signal.is_empty() {
        selection.signals = args
            .signal
            .iter()
            .map(|signal| match signal {
                SignalName::Traces => Signal::Traces,
                SignalName::Logs => Signal::Logs,
                SignalName::Metrics => Signal::Metrics,
            })
            .collect();
        selection.signals.sort();
        selection.signals.dedup();
    } else if args.format == FileFormat::Csv {
        selection.signals = vec![Signal::Traces];
    } else if args.format == FileFormat::Parquet {
        selection.signals = Signal::ALL.to_vec();
    } else if args.format == FileFormat::Jaeger {
        selection.signals = vec![Signal::Traces];
    }
    if !filter.is_empty() {
        let mut traces: HashSet<TraceId> = HashSet::new();
        reading.case.spans(reading.window, &mut |span| {
            if filter.matches(&span) {
                traces.insert(span.trace_id);
            }
            ControlFlow::Continue(())
        })?;
        if traces.is_empty() {
            return Err(
                CliError::new("no span in the window is what the filter means")
                    .hint("`casefile traces` with the same flags shows what there is"),
            );
        }
        selection.traces = Some(traces);
    }
    Ok(selection)
}

/// Writes beside the file and puts it in its place once it is whole: a failed export leaves nothing half done.
fn to_file(
    path: &Path,
    format: Format,
    args: &ExportArgs,
    case: &Case,
    selection: &Selection,
) -> Result<Report, CliError> {
    if path.exists() && !args.force {
        return Err(
            CliError::new(format!("{} is there already", path.display()))
                .hint("--force writes over it"),
        );
    }
    let name = path
        .file_name()
        .ok_or_else(|| CliError::new(format!("{} names no file", path.display())))?;
    let partial = path.with_file_name(format!(
        ".{}.{}.part",
        name.to_string_lossy(),
        std::process::id()
    ));
    let doing = |what: &str| format!("{what} {}", path.display());
    let file = File::create(&partial).map_err(|error| CliError::io(doing("write"), &error))?;
    let mut file = BufWriter::with_capacity(1 << 20, file);
    let written = write(&mut file, format, args, case, selection)
        .map_err(told)
        .and_then(|report| {
            file.flush()
                .and_then(|()| file.get_ref().sync_all())
                .and_then(|()| std::fs::rename(&partial, path))
                .map_err(|error| CliError::io(doing("write"), &error))?;
            Ok(report)
        });
    if written.is_err() {
        drop(std::fs::remove_file(&partial));
    }
    written
}

fn write(
    out: &mut dyn Write,
    format: Format,
    args: &ExportArgs,
    case: &Case,
    selection: &Selection,
) -> Result<Report, ExportError> {
    let mut line = ProgressLine::new();
    // A terminal shows what is written; a bar across it would spoil it.
    let show = args.output.is_some() || !io::stdout().is_terminal();
    export::export(case, selection, format, out, &mut |rows| {
        if show {
            line.show(rows, None, || {
                format!("{} rows written", output::thousands(rows))
            });
        }
    })
}

/// Tables go into a folder of their own.
fn to_folder(
    path: &Path,
    args: &ExportArgs,
    case: &Case,
    selection: &Selection,
) -> Result<Report, CliError> {
    let taken = std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
    if (taken || path.is_file()) && !args.force {
        return Err(
            CliError::new(format!("{} is there already and not empty", path.display()))
                .hint("--force writes over what has the same name"),
        );
    }
    let mut line = ProgressLine::new();
    let (report, _) = export::parquet::write(case, selection, path, &mut |rows| {
        line.show(rows, None, || {
            format!("{} rows written", output::thousands(rows))
        });
    })
    .map_err(told)?;
    Ok(report)
}

fn told(error: ExportError) -> CliError {
    let hint = error.hint();
    let told = CliError::new(error.to_string());
    match hint {
        Some(hint) => told.hint(hint),
        None => told,
    }
}

/// What went out, and what did not: on standard error, as the answer itself may be on standard output.
fn tell(
    report: &Report,
    args: &ExportArgs,
    reading: &Reading,
    console: &Console,
) -> Result<(), CliError> {
    let mut written = Vec::new();
    for (number, one, many) in [
        (report.spans, "span", "spans"),
        (report.logs, "log record", "log records"),
        (report.points, "metric point", "metric points"),
        (report.watched, "watched row", "watched rows"),
    ] {
        if number > 0 {
            written.push(output::count(number, one, many));
        }
    }
    if written.is_empty() {
        written.push("nothing".to_owned());
    }
    let to = args
        .output
        .as_ref()
        .map_or_else(String::new, |path| format!(" to {}", path.display()));
    console.remark(&format!(
        "wrote {}, {}{to}",
        written.join(" · "),
        output::bytes(report.bytes)
    ));
    for left_out in &report.left_out {
        console.notice(&format!("left out {left_out}"));
    }
    let info = reading.case.info()?;
    for signal in Signal::ALL {
        let otlp = matches!(signal, Signal::Traces | Signal::Logs | Signal::Metrics);
        let items = info.items.get(&signal).copied().unwrap_or(0);
        if !otlp && items > 0 && args.format != FileFormat::Parquet {
            console.remark(&format!(
                "left out {} of {}: only traces, logs and metrics travel in these formats",
                output::thousands(items),
                signal.name()
            ));
        }
    }
    Ok(())
}
