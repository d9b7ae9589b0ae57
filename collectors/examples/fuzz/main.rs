//! Feeds mutated input to everything that decodes what strangers send.
//!
//! `cargo run --release -p collectors --example fuzz -- --target otlp-json --seconds 60`
//!
//! What this is not: guided by coverage, which needs a nightly compiler. What it does instead: it mutates with a
//! knowledge of text, numbers, lengths and nesting, starts from real requests, and keeps an input as a new starting
//! point when the decoder says something about it that it has not said before. A failing input is made smaller and
//! written to `target/fuzz/TARGET-SEED.bin`; put it into `examples/fuzz/corpus/TARGET/` and `cargo test` will never let
//! it fail again.
//!
//! To add a target: a file in `targets/` with a `Target`, and a line in `targets::all`.

mod harness;
mod targets;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use harness::{Bounds, Target, campaign, seeds};

const USAGE: &str = "usage: fuzz [--target NAME|all] [--seconds N] [--seed N] [--list]";

struct Settings {
    target: String,
    seconds: u64,
    seed: u64,
    list: bool,
}

fn main() -> ExitCode {
    let mut out = std::io::stdout().lock();
    match settings(std::env::args().skip(1)).and_then(|settings| run(&settings, &mut out)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(reason) => {
            // Nothing is left to tell when even this can't be written.
            let _ = writeln!(std::io::stderr(), "{reason}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn settings(mut arguments: impl Iterator<Item = String>) -> Result<Settings, String> {
    let mut settings = Settings {
        target: "all".to_owned(),
        seconds: 60,
        seed: 1,
        list: false,
    };
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .ok_or_else(|| format!("{argument} needs a value"))
        };
        let number = |text: String| {
            text.parse::<u64>()
                .map_err(|error| format!("{text}: {error}"))
        };
        match argument.as_str() {
            "--target" => settings.target = value()?,
            "--seconds" => settings.seconds = number(value()?)?,
            "--seed" => settings.seed = number(value()?)?,
            "--list" => settings.list = true,
            other => return Err(format!("unknown argument {other}")),
        }
    }
    Ok(settings)
}

/// `false` when an input failed.
fn run(settings: &Settings, out: &mut impl Write) -> Result<bool, String> {
    let all = targets::all();
    let chosen: Vec<&Target> = all
        .iter()
        .filter(|target| settings.target == "all" || settings.target == target.name)
        .collect();
    if chosen.is_empty() {
        return Err(format!("no target named {}", settings.target));
    }
    let mut say = |line: String| writeln!(out, "{line}").map_err(|error| error.to_string());
    let mut clean = true;
    for target in &chosen {
        if settings.list {
            say(format!("{:<20} {}", target.name, target.about))?;
            continue;
        }
        let seeds = seeds(target).map_err(|error| format!("{}: {error}", target.name))?;
        let bounds = Bounds {
            runs: u64::MAX,
            time: Duration::from_secs(settings.seconds) / chosen.len() as u32,
        };
        let report = campaign(target, &seeds, bounds, settings.seed);
        say(format!(
            "{}: {} inputs, {} kinds of answer, slowest {} ms",
            target.name,
            report.runs,
            report.answers,
            report.slowest.as_millis()
        ))?;
        if let Some(failure) = report.failure {
            clean = false;
            let folder = Path::new("target/fuzz");
            let path = folder.join(format!("{}-{}.bin", target.name, settings.seed));
            std::fs::create_dir_all(folder)
                .and_then(|()| std::fs::write(&path, &failure.input))
                .map_err(|error| {
                    format!(
                        "can't keep the failing input in {}: {error}",
                        path.display()
                    )
                })?;
            say(format!(
                "{} FAILED: {} (input in {})",
                target.name,
                failure.reason,
                path.display()
            ))?;
        }
    }
    Ok(clean)
}
