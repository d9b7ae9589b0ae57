//! `casefile info`: what a case holds.

use analyzers::correlate::Correlation;
use case::Window;
use case::reader::CaseState;
use case::time::human_duration;
use clap::Args;
use serde::Serialize;

use crate::args::{CaseArgs, WindowArgs};
use crate::error::CliError;
use crate::exit;
use crate::output::{Console, Format, Line, Tone, bytes, count, thousands};
use crate::reading::Reading;
use crate::views;

#[derive(Debug, Args)]
pub struct InfoArgs {
    #[command(flatten)]
    case: CaseArgs,
    /// Count which signals belong together (logs with spans, journals with traces …), and why the others do not.
    #[arg(long)]
    correlation: bool,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Serialize)]
struct InfoObject {
    #[serde(flatten)]
    info: case::CaseInfo,
    window: Option<case::Window>,
    damage: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation: Option<Correlation>,
}

pub fn run(args: &InfoArgs, console: &mut Console) -> Result<u8, CliError> {
    let reading = Reading::open(&args.case, &WindowArgs::default(), console)?;
    let info = reading.case.info()?;
    let window = reading.case.window()?;
    let correlation = match args.correlation {
        true => Some(views::correlation(&reading.case, Window::ALL)?),
        false => None,
    };
    if args.format == Format::Json {
        console.json(&InfoObject {
            info,
            window,
            correlation,
            damage: reading.case.damage(),
        })?;
        return Ok(exit::CLEAN);
    }
    let state = match info.state {
        CaseState::Live => "live: a writer holds it",
        CaseState::Idle => "idle: nobody writes it",
        CaseState::Sealed => "sealed: read-only",
    };
    console.line(
        &Line::new()
            .with(Tone::Strong, info.path.display().to_string())
            .with(Tone::Dim, format!("  {state}")),
    )?;
    let mut row = |label: &str, text: String| {
        console.line(
            &Line::new()
                .with(Tone::Dim, format!("  {label:<22}"))
                .with(Tone::Plain, text),
        )
    };
    row("created", info.created.to_string())?;
    match window {
        Some(window) => {
            row("first signal", window.from.to_string())?;
            row("last signal", window.until.saturating_sub(1).to_string())?;
            row(
                "spans the time of",
                human_duration(window.until.0 - window.from.0),
            )?;
        }
        None => row("signals", "none".to_owned())?,
    }
    for (signal, items) in &info.items {
        row(&signal.name().replace('_', " "), thousands(*items))?;
    }
    row(
        "segments",
        format!(
            "{} in {}",
            bytes(info.segment_bytes),
            count(info.segments as u64, "segment", "segments")
        ),
    )?;
    row("logs not yet segments", bytes(info.log_bytes))?;
    if info.folded_requests > 0 {
        row(
            "sent again, folded",
            format!(
                "{} with {}",
                count(info.folded_requests, "request", "requests"),
                count(info.folded_items, "item", "items")
            ),
        )?;
    }
    if info.dropped_segments > 0 {
        let items: u64 = info.dropped_items.values().sum();
        row(
            "dropped by retention",
            format!(
                "{} with {}",
                count(info.dropped_segments, "segment", "segments"),
                count(items, "item", "items")
            ),
        )?;
    }
    if info.pinned > 0 {
        row("pinned", count(info.pinned as u64, "trace", "traces"))?;
    }
    if let Some(seal) = info.seal {
        row("seal", seal)?;
    }
    if let Some(correlation) = &correlation {
        tell_correlation(correlation, console)?;
    }
    reading.tell_damage(console);
    Ok(exit::CLEAN)
}

/// What was brought together and how, and what was not and why.
fn tell_correlation(correlation: &Correlation, console: &mut Console) -> Result<(), CliError> {
    for (what, tally) in [
        ("logs", &correlation.logs),
        ("metrics", &correlation.metrics),
        ("exemplars", &correlation.exemplars),
        ("journal", &correlation.journal),
        ("ledger", &correlation.ledger),
        ("registry events", &correlation.registry),
        ("probes", &correlation.probes),
    ] {
        if tally.total == 0 {
            continue;
        }
        console.line(&Line::new().with(Tone::Strong, format!("  {what}")))?;
        let with = tally.with.iter().map(|row| (Tone::Plain, "with ", row));
        let without = tally.without.iter().map(|row| (Tone::Odd, "", row));
        for (tone, before, (text, number)) in with.chain(without) {
            console.line(
                &Line::new()
                    .with(Tone::Plain, format!("    {:>12}  ", thousands(*number)))
                    .with(tone, format!("{before}{text}")),
            )?;
        }
    }
    Ok(())
}
