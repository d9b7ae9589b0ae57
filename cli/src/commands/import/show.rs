//! What an import says of each file: what it was, what became of it, what could not be read.

use collectors::import::{Compression, Report};
use serde_json::json;

use super::ImportArgs;
use crate::error::CliError;
use crate::output::{self, Console, Format, Line, Tone};

pub(super) fn show(
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
