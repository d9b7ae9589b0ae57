//! `casefile import`: files of other tools into a case of their own, or, when told, into one that is there.

mod show;
mod side_by_side;

use std::path::{Path, PathBuf};

use case::{CaseWriter, Promise, WriterOptions};
use clap::{Args, ValueEnum};
use collectors::import::{self, Failure, Input, Mapping};
use serde_json::json;

use self::show::show;
use crate::error::CliError;
use crate::exit;
use crate::output::{Console, Format};
use crate::paths;

#[derive(Debug, Args)]
pub struct ImportArgs {
    /// What to import; `-` is standard input. What each holds is told from its content.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The case to make [default: FILE's name in the data folder].
    #[arg(long, value_name = "PATH")]
    case: Option<PathBuf>,
    /// Add to a case that is there: the one of --case, else the one last collected or imported.
    #[arg(long)]
    join: bool,
    /// Say what would be imported, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// End at the first bad record; what was read before it stays in the case, and the exit code says so.
    #[arg(long)]
    strict: bool,
    /// Read the files as this, whatever they look like.
    #[arg(long, value_enum, value_name = "FORMAT")]
    input: Option<InputFormat>,
    /// What the columns of a CSV file mean: a mapping file (TOML), or the name of a built-in one.
    #[arg(long, value_name = "MAPPING", conflicts_with = "input")]
    mapping: Option<String>,
    /// The time of records that give none (RFC 3339, or nanoseconds since 1970).
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// The service of log records that name none.
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum InputFormat {
    OtlpJson,
    OtlpProtobuf,
    OtlpProtobufStream,
    Jaeger,
    Zipkin,
    JsonLogs,
    LogfmtLogs,
    Csv,
}

/// Small enough to be sealed while a short import still reads.
const FIRST_SEGMENT: u64 = 8 << 20;

impl InputFormat {
    fn format(self) -> import::Format {
        match self {
            InputFormat::OtlpJson => import::Format::OtlpJson,
            InputFormat::OtlpProtobuf => import::Format::OtlpProtobuf,
            InputFormat::OtlpProtobufStream => import::Format::OtlpProtobufStream,
            InputFormat::Jaeger => import::Format::Jaeger,
            InputFormat::Zipkin => import::Format::Zipkin,
            InputFormat::JsonLogs => import::Format::JsonLogs,
            InputFormat::LogfmtLogs => import::Format::LogfmtLogs,
            InputFormat::Csv => import::Format::Csv,
        }
    }
}

pub fn run(args: &ImportArgs, console: &mut Console) -> Result<u8, CliError> {
    let options = options(args)?;
    // Every file is opened before the first is imported: a misspelt name costs nothing then.
    let inputs = args
        .files
        .iter()
        .map(|file| open(file))
        .collect::<Result<Vec<Input>, CliError>>()?;
    let target = if args.dry_run {
        None
    } else {
        Some(target(args, console)?)
    };
    let fresh = target.as_deref().is_some_and(|path| !path.exists());
    let writer = match &target {
        // Whoever loses power during an import begins again.
        Some(path) => Some(CaseWriter::open(
            path,
            WriterOptions {
                promise: Promise::Written,
                first_segment_bytes: Some(FIRST_SEGMENT),
                ..WriterOptions::default()
            },
        )?),
        None => None,
    };
    let mut outcome = Ok(exit::CLEAN);
    let mut items = 0;
    side_by_side::import_all(inputs, &options, writer.as_ref(), &mut |name, done| {
        let report = match &done {
            Ok(report) => Some(report),
            Err(failure) => failure.report.as_deref(),
        };
        if let Some(report) = report {
            items += report.items();
            show(name, report, args, console)?;
            if done.is_ok() && report.items() == 0 && report.bad.total > 0 {
                outcome = Err(CliError::new(format!("nothing in {name} could be read")));
            }
        }
        if let Err(failure) = &done {
            outcome = Err(told(name, failure));
        }
        Ok(())
    })?;
    if let Some(writer) = writer {
        writer.close()?;
    }
    if let Some(path) = target {
        if items == 0 && fresh {
            // An empty case that nobody asked for would only be in the way.
            drop(std::fs::remove_dir_all(&path));
        } else {
            paths::remember_case(&path);
            match args.format {
                Format::Text => console.text(&format!("in {}", path.display()))?,
                Format::Json => console.json(&json!({ "case": path, "items": items }))?,
            }
        }
    }
    outcome
}

fn options(args: &ImportArgs) -> Result<import::Options, CliError> {
    let at = match &args.at {
        Some(text) => Some(case::time::parse_time(text, case::writer::wall_clock())?),
        None => None,
    };
    Ok(import::Options {
        strict: args.strict,
        format: args.input.map(InputFormat::format),
        mapping: args.mapping.as_deref().map(mapping).transpose()?,
        at,
        service: args.service.clone(),
    })
}

fn mapping(name: &str) -> Result<Mapping, CliError> {
    if let Some(mapping) = Mapping::built_in(name) {
        return Ok(mapping);
    }
    let path = Path::new(name);
    let text = std::fs::read_to_string(path).map_err(|error| {
        let known: Vec<&str> = Mapping::built_in_names().collect();
        CliError::io(format!("read the mapping {name}"), &error)
            .hint(format!("give a TOML file, or one of {}", known.join(", ")))
    })?;
    Mapping::parse(name, &text).map_err(|error| CliError::new(error.to_string()))
}

fn open(file: &Path) -> Result<Input, CliError> {
    if file == Path::new("-") {
        return Ok(Input::once("standard input", Box::new(std::io::stdin())));
    }
    Input::file(file).map_err(|error| CliError::io(format!("read {}", file.display()), &error))
}

/// The case to write: that of `--case`, the last one with `--join`, else a new one named after the file.
fn target(args: &ImportArgs, console: &Console) -> Result<PathBuf, CliError> {
    match (&args.case, args.join) {
        (Some(path), true) if !path.is_dir() => Err(CliError::new(format!(
            "no case to join at {}",
            path.display()
        ))
        .hint("without --join it is made")),
        (Some(path), false) if path.exists() => Err(CliError::new(format!(
            "{} is there already",
            path.display()
        ))
        .hint("--join adds to it; another --case makes a new one")),
        (Some(path), _) => Ok(path.clone()),
        (None, true) => {
            let path = paths::last_case().ok_or_else(|| {
                CliError::new("no case to join: none has been collected or imported yet")
                    .hint("name one with --case PATH")
            })?;
            console.remark(&format!("case {}", path.display()));
            Ok(path)
        }
        (None, false) => {
            let stem = args.files.first().and_then(|file| file.file_name());
            let stem = stem.map_or_else(|| "import".into(), |name| name.to_string_lossy());
            let stem = match stem.split('.').next() {
                Some("" | "-") | None => "import",
                Some(stem) => stem,
            };
            let folder = paths::cases()?;
            let free = (1u32..)
                .map(|n| match n {
                    1 => folder.join(format!("{stem}.case")),
                    n => folder.join(format!("{stem}-{n}.case")),
                })
                .find(|path| !path.exists());
            free.ok_or_else(|| {
                CliError::new(format!(
                    "no name is free for {stem} in {}",
                    folder.display()
                ))
            })
        }
    }
}

fn told(name: &str, failure: &Failure) -> CliError {
    let text = failure.to_string();
    let error = CliError::new(if text.contains(name) {
        text
    } else {
        format!("{name}: {text}")
    });
    match failure.error.hint() {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
