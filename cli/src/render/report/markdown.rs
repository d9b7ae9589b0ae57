//! A report as Markdown, for issues, pull requests and post-mortems.

use analyzers::engine::{Finding, Severity, Verdict};

use super::{Shown, subject_name, untold};
use crate::output::sanitise::clean;

pub fn lines(shown: &Shown<'_>) -> Vec<String> {
    let mut out = vec!["# Diagnosis".to_owned(), String::new()];
    let window = shown.report.window;
    out.push(format!("Window {} to {}.", window.from, window.until));
    out.push(String::new());
    out.push(match shown.findings.first() {
        Some(worst) => format!("**{}**", text(&worst.headline)),
        None => "**Nothing found.**".to_owned(),
    });
    for finding in &shown.findings {
        out.push(String::new());
        out.extend(finding_lines(finding));
    }
    let reasons = untold(shown.report);
    if !reasons.is_empty() {
        out.push(String::new());
        out.push("## Cannot tell".to_owned());
        out.push(String::new());
        for (reason, rules) in reasons {
            let rules: Vec<String> = rules.iter().map(|rule| code(rule)).collect();
            out.push(format!("- {}: {}", text(&reason), rules.join(", ")));
        }
    }
    out.push(String::new());
    out.push(format!(
        "{} errors, {} warnings, {} notes; {} known already; {} cannot tell; {} rules passed.",
        shown.count(Severity::Error),
        shown.count(Severity::Warning),
        shown.count(Severity::Note),
        shown.known,
        shown.report.with(Verdict::CannotTell).count(),
        shown.report.with(Verdict::Pass).count(),
    ));
    out
}

fn finding_lines(finding: &Finding) -> Vec<String> {
    let mut out = vec![
        format!("## {}: {}", finding.severity.name(), code(finding.rule)),
        String::new(),
        text(&finding.headline),
        String::new(),
    ];
    let about: Vec<String> = finding
        .subjects
        .iter()
        .map(|subject| format!("{} ({})", code(&subject_name(subject)), text(subject.role)))
        .collect();
    if !about.is_empty() {
        out.push(format!("- About: {}", about.join(", ")));
    }
    out.push(format!(
        "- When: {} to {}",
        finding.since,
        finding
            .until
            .map_or_else(|| "the end".to_owned(), |until| until.to_string())
    ));
    out.push(format!(
        "- Cause ({}): {} {}",
        finding.certainty.name(),
        text(&finding.cause),
        code(finding.cause_id)
    ));
    for other in &finding.alternatives {
        out.push(format!(
            "- Or: {} {}, open without {}",
            text(super::cause_text(other.cause_id)),
            code(other.cause_id),
            text(&other.missing)
        ));
    }
    out.push("- Seen:".to_owned());
    for seen in &finding.evidence {
        out.push(match seen.command() {
            Some(command) => format!("  - {}: {}", text(&seen.what), code(&command)),
            None => format!("  - {}", text(&seen.what)),
        });
    }
    out.push(format!("- Do: {}", text(&finding.remedy)));
    if let Some(prove) = super::prove::book_of(finding) {
        out.push(format!("- Prove: {}", code(&prove.command())));
    }
    if !finding.consequences.is_empty() {
        out.push("- Follows from it:".to_owned());
        for follows in &finding.consequences {
            out.push(format!(
                "  - {} ({})",
                text(&follows.headline),
                code(follows.rule)
            ));
        }
    }
    out
}

/// Text in which nothing means anything to Markdown.
pub fn text(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    for c in clean(raw).chars() {
        if matches!(
            c,
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '|' | '~' | '!' | '&' | '@'
        ) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Text between backticks, more of them than stand in it.
pub fn code(raw: &str) -> String {
    let raw = clean(raw);
    let longest = raw
        .split(|c| c != '`')
        .map(str::len)
        .max()
        .unwrap_or_default();
    let fence = "`".repeat(longest + 1);
    if longest > 0 {
        format!("{fence} {raw} {fence}")
    } else {
        format!("{fence}{raw}{fence}")
    }
}
