//! A ranking of suspects as lines: who, how much speaks against them, and why.

use analyzers::suspects::{Ranking, Reason, Suspect};

use crate::output::width::{fit, right};
use crate::output::{Line, Tone};

/// Reasons shown of a suspect; JSON has more.
const REASONS: usize = 3;
/// Suspects of a report.
const SHORT: usize = 5;

/// The whole ranking.
pub fn lines(ranking: &Ranking, width: usize) -> Vec<Line> {
    let mut out = Vec::new();
    if ranking.suspects.is_empty() {
        out.push(Line::plain("· nobody stands out against the baseline"));
    }
    for (rank, suspect) in (1..).zip(&ranking.suspects) {
        out.push(headline(rank, suspect));
        out.extend(
            suspect
                .reasons
                .iter()
                .take(REASONS)
                .map(|reason| told(reason, width)),
        );
    }
    for missing in &ranking.missing {
        out.push(
            Line::new()
                .with(Tone::Odd, "  ?  ")
                .with(Tone::Plain, missing),
        );
    }
    out
}

/// A few lines for a report.
pub fn short(ranking: &Ranking, width: usize) -> Vec<Line> {
    let mut out = vec![Line::new().with(Tone::Strong, "  suspects, against the baseline")];
    let mut any = false;
    for (rank, suspect) in (1..).zip(ranking.suspected().take(SHORT)) {
        any = true;
        out.push(headline(rank, suspect));
        out.extend(suspect.reasons.first().map(|reason| told(reason, width)));
    }
    if !any {
        out.push(Line::plain("     nobody stands out"));
    }
    out
}

fn headline(rank: usize, suspect: &Suspect) -> Line {
    Line::new()
        .with(Tone::Dim, format!("  {} ", right(&rank.to_string(), 2)))
        .with(Tone::Strong, &suspect.name)
        .with(Tone::Dim, format!("  {:.2}", suspect.score))
}

fn told(reason: &Reason, width: usize) -> Line {
    let mut text = reason.what.clone();
    if !reason.instances.is_empty() {
        text.push_str(&format!(" (instance {})", reason.instances.join(", ")));
    }
    if let Some(trace) = reason.traces.first() {
        text.push_str(&format!(", as in trace {trace}"));
    }
    let room = width.saturating_sub(7).max(40);
    Line::new().with(Tone::Plain, format!("       {}", fit(&text, room)))
}
