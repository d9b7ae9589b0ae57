//! `casefile import`: files of other tools into a case of their own, or, when told, into one that is there.

use std::path::{Path, PathBuf};

use case::{CaseWriter, Receipt, WriterOptions};
use clap::{Args, ValueEnum};
use collectors::import::{self, Compression, Failure, Input, Mapping, Report};
use serde_json::json;

use super::progress::ProgressLine;
use crate::error::CliError;
use crate::exit;
use crate::output::{self, Console, Format, Line, Tone};
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
    /// End at the first bad record.
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
        Some(path) => Some(CaseWriter::open(path, WriterOptions::default())?),
        None => None,
    };
    let mut outcome = Ok(exit::CLEAN);
    let mut items = 0;
    for input in inputs {
        let name = input.name().to_owned();
        match import_one(input, &options, writer.as_ref()) {
            Ok(report) => {
                items += report.items();
                show(&name, &report, args, console)?;
                if report.items() == 0 && report.bad.total > 0 {
                    outcome = Err(CliError::new(format!("nothing in {name} could be read")));
                }
            }
            Err(failure) => {
                if let Some(report) = &failure.report {
                    items += report.items();
                    show(&name, report, args, console)?;
                }
                outcome = Err(told(&name, &failure));
                break;
            }
        }
    }
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

fn import_one(
    input: Input,
    options: &import::Options,
    writer: Option<&CaseWriter>,
) -> Result<Report, Failure> {
    let mut line = ProgressLine::new();
    let name = input.name().to_owned();
    let mut sink = |signal, payload| match writer {
        Some(writer) => writer.append(signal, payload),
        None => Ok(Receipt::default()),
    };
    import::import(input, options, &mut sink, &mut |progress| {
        line.show(progress.read, progress.total, || {
            let bad = match progress.bad {
                0 => String::new(),
                bad => format!(" · {} bad", output::thousands(bad)),
            };
            format!("{name} · {} items{bad}", output::thousands(progress.items))
        });
    })
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

fn show(
    name: &str,
    report: &Report,
    args: &ImportArgs,
    console: &mut Console,
) -> Result<(), CliError> {
    match args.format {
        Format::Json => console.json(&json!({
            "file": name,
            "dry_run": args.dry_run,
            "report": report,
        })),
        Format::Text => {
            for line in lines(name, report, args.dry_run) {
                console.line(&line)?;
            }
            Ok(())
        }
    }
}

fn lines(name: &str, report: &Report, dry_run: bool) -> Vec<Line> {
    let mut lines = Vec::new();
    let packed = match report.compression {
        Compression::None => "",
        Compression::Gzip => ", gzip",
        Compression::Zstd => ", zstd",
    };
    lines.push(Line::plain(format!("{name}: {}{packed}", report.format)));
    let mut row = |label: &str, tone: Tone, text: String| {
        lines.push(
            Line::new()
                .with(Tone::Dim, format!("  {label:<9}"))
                .with(tone, text),
        );
    };
    let mapped: Vec<String> = report
        .mapping
        .iter()
        .map(|one| match (one.role.as_str(), one.records) {
            ("mapping", _) => one.from.clone(),
            (role, 0) => format!("{role} ← {}", one.from),
            (role, n) => format!("{role} ← {} ({})", one.from, output::thousands(n)),
        })
        .collect();
    if !mapped.is_empty() {
        row("mapping", Tone::Plain, mapped.join(" · "));
    }
    let mut kept = Vec::new();
    for (number, one, many) in [
        (report.spans, "span", "spans"),
        (report.logs, "log record", "log records"),
        (report.points, "metric point", "metric points"),
    ] {
        if number > 0 {
            kept.push(output::count(number, one, many));
        }
    }
    if report.metrics > 0 {
        let metrics = output::count(report.metrics, "metric", "metrics");
        if let Some(points) = kept.last_mut() {
            points.push_str(&format!(" of {metrics}"));
        }
    }
    if kept.is_empty() {
        kept.push("nothing".to_owned());
    }
    let verb = if dry_run {
        "would be imported from"
    } else {
        "from"
    };
    row(
        "items",
        Tone::Plain,
        format!(
            "{} {verb} {}",
            kept.join(" · "),
            output::count(report.records, "record", "records")
        ),
    );
    if let (Some(first), Some(last)) = (report.first, report.last) {
        let length = case::time::human_duration(last.0.saturating_sub(first.0));
        row(
            "window",
            Tone::Plain,
            format!("{first} → {last} ({length})"),
        );
    }
    const SERVICES: usize = 8;
    let mut services: Vec<(&String, &u64)> = report.services.iter().collect();
    services.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), name.as_str()));
    if !services.is_empty() {
        let mut shown: Vec<String> = services
            .iter()
            .take(SERVICES)
            .map(|(name, count)| {
                let name = if name.is_empty() { "(none)" } else { name };
                format!("{name} {}", output::thousands(**count))
            })
            .collect();
        if services.len() > SERVICES {
            shown.push(format!("… {} more", services.len() - SERVICES));
        }
        row("services", Tone::Plain, shown.join(" · "));
    }
    if report.refused > 0 {
        row(
            "refused",
            Tone::Odd,
            format!(
                "{} by the case: {}",
                output::thousands(report.refused),
                report.refusal.as_deref().unwrap_or("no reason given")
            ),
        );
    }
    if report.duplicates > 0 {
        row(
            "folded",
            Tone::Plain,
            format!(
                "{} were in the case already, byte for byte",
                output::thousands(report.duplicates)
            ),
        );
    }
    for (note, count) in &report.notes {
        row(
            "note",
            Tone::Plain,
            format!("{note} ({})", output::thousands(*count)),
        );
    }
    if report.bad.total > 0 {
        row(
            "bad",
            Tone::Odd,
            format!(
                "{} could not be read",
                output::count(report.bad.total, "record", "records")
            ),
        );
        for bad in &report.bad.shown {
            row("", Tone::Plain, bad.to_string());
        }
        let more = report.bad.total - report.bad.shown.len() as u64;
        if more > 0 {
            row(
                "",
                Tone::Dim,
                format!("… and {} more", output::thousands(more)),
            );
        }
    }
    if dry_run {
        for preview in &report.preview {
            row("", Tone::Dim, preview.clone());
        }
    }
    lines
}
