//! `casefile replay`: sends the signals of a case again, with their gaps, to anything that takes OTLP.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use collectors::replay::{self, Options, ReplayError, Report, Speed, Target};
use serde_json::json;

use super::collect::duration;
use super::progress::ProgressLine;
use crate::args::{CaseArgs, WindowArgs};
use crate::error::CliError;
use crate::exit;
use crate::output::{self, Console, Format, Line, Tone};
use crate::reading::Reading;

#[derive(Debug, Args)]
pub struct ReplayArgs {
    #[command(flatten)]
    case: CaseArgs,
    /// Where to: http://host:port of an OTLP receiver.
    #[arg(long, value_name = "URL")]
    to: String,
    /// Send over gRPC instead of HTTP.
    #[arg(long)]
    grpc: bool,
    /// How fast: 1 keeps the gaps as they were, 10 is ten times as fast, max does not wait.
    #[arg(long, value_name = "N|max", default_value = "1")]
    speed: Speed,
    /// Move all times, by one constant, so that the first event happens now.
    #[arg(long)]
    shift_to_now: bool,
    /// Send everything this many times, one pass after the other in event time.
    #[arg(long = "loop", value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    passes: u64,
    /// Give new trace and span ids, the same wherever an id is named; the same seed gives the same ids.
    #[arg(long, value_name = "SEED", num_args = 0..=1, default_missing_value = "1")]
    renew_ids: Option<u64>,
    /// A header to send along (NAME=VALUE), such as authorization; may be given more than once.
    #[arg(long, value_name = "NAME=VALUE", value_parser = header)]
    header: Vec<(String, String)>,
    /// How long a request is tried again before it counts as failed.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    patience: Duration,
    #[command(flatten)]
    window: WindowArgs,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

fn header(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .ok_or_else(|| format!("{text:?} is no NAME=VALUE"))
}

pub fn run(args: &ReplayArgs, console: &mut Console) -> Result<u8, CliError> {
    let reading = Reading::open(&args.case, &args.window, console)?;
    let options = Options {
        window: reading.window,
        speed: args.speed,
        first_at: args.shift_to_now.then(case::writer::wall_clock),
        passes: args.passes,
        renew: args.renew_ids,
    };
    let target = Target {
        to: args.to.clone(),
        grpc: args.grpc,
        headers: args.header.clone(),
        patience: args.patience,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| CliError::io("start the runtime", &error))?;
    let report = runtime.block_on(sent(&reading, &options, &target))?;
    reading.tell_damage(console);
    match args.format {
        Format::Json => console.json(&json!({ "to": args.to, "report": report }))?,
        Format::Text => {
            for line in lines(&report, args) {
                console.line(&line)?;
            }
        }
    }
    if report.failed_items > 0 {
        return Err(CliError::new(format!(
            "{} of {} requests were never taken by {}",
            output::thousands(report.failed_requests),
            output::thousands(report.requests),
            args.to
        ))
        .hint("the reasons stand above; --patience sets how long a request is tried again"));
    }
    Ok(exit::CLEAN)
}

async fn sent(reading: &Reading, options: &Options, target: &Target) -> Result<Report, CliError> {
    let stop = Arc::new(AtomicBool::new(false));
    let asked = stop.clone();
    // The first interrupt ends the replay with its report; by then the handler is gone and a second one kills.
    let listener = tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            asked.store(true, Ordering::Relaxed);
        }
    });
    let mut line = ProgressLine::new();
    let outcome = replay::replay(&reading.case, options, target, &mut |progress| {
        line.show(progress.done, Some(progress.rows), || {
            let pass = match progress.passes {
                1 => String::new(),
                passes => format!(" · pass {} of {passes}", progress.pass + 1),
            };
            format!(
                "{} · {} of {} rows{pass}",
                progress.at,
                output::thousands(progress.done),
                output::thousands(progress.rows)
            )
        });
        !stop.load(Ordering::Relaxed)
    })
    .await;
    listener.abort();
    outcome.map_err(told)
}

fn told(error: ReplayError) -> CliError {
    let hint = error.hint();
    let told = CliError::new(error.to_string());
    match hint {
        Some(hint) => told.hint(hint),
        None => told,
    }
}

fn lines(report: &Report, args: &ReplayArgs) -> Vec<Line> {
    let mut lines = vec![Line::plain(format!(
        "sent {} · {} · {} in {} ({}) to {} in {}",
        output::count(report.spans, "span", "spans"),
        output::count(report.logs, "log record", "log records"),
        output::count(report.points, "metric point", "metric points"),
        output::count(report.requests, "request", "requests"),
        output::bytes(report.bytes),
        args.to,
        case::time::human_duration(report.took_nano),
    ))];
    let mut row = |tone: Tone, text: String| {
        lines.push(Line::new().with(Tone::Plain, "  ").with(tone, text));
    };
    if args.passes > 1 || report.passes != args.passes {
        row(
            Tone::Plain,
            format!(
                "{} of {} whole",
                report.passes,
                output::count(args.passes, "pass", "passes")
            ),
        );
    }
    if report.most_behind_nano > 0 {
        row(
            Tone::Dim,
            format!(
                "at most {} behind the clock",
                case::time::human_duration(report.most_behind_nano)
            ),
        );
    }
    if report.retries > 0 {
        row(
            Tone::Plain,
            format!(
                "{} sent again",
                output::count(report.retries, "request was", "requests were")
            ),
        );
    }
    if report.rejected > 0 {
        row(
            Tone::Odd,
            format!(
                "{} rejected by the receiver",
                output::count(report.rejected, "item was", "items were")
            ),
        );
    }
    if report.gave_up {
        row(
            Tone::Bad,
            "given up: none of the first requests was taken".to_owned(),
        );
    }
    if report.failed_items > 0 {
        row(
            Tone::Bad,
            format!(
                "{} never taken",
                output::count(report.failed_items, "item was", "items were")
            ),
        );
    }
    for reason in &report.reasons {
        row(Tone::Plain, reason.clone());
    }
    lines
}
