//! A diagnosis for people in a terminal; the other forms stand beside this one, a file each.

pub mod forms;
pub mod github;
pub mod junit;
pub mod markdown;
pub mod object;
pub mod prove;
pub mod sarif;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use analyzers::engine::{About, Answer, Finding, Report, Severity, Subject, Verdict};
use analyzers::rules;
use analyzers::suspects::Ranking;
use case::Nanos;

use crate::output::{Line, Tone, count, width};

/// Where the texts of a finding begin.
const LABEL: usize = 17;
/// Texts are broken here even on wider terminals: longer lines are hard to read.
const WIDEST: usize = 130;

/// A report with what of it is to be shown.
pub struct Shown<'a> {
    pub report: &'a Report,
    /// Findings that stand on their own and are not known already, worst first.
    pub findings: Vec<&'a Finding>,
    /// Findings left out because they are known.
    pub known: usize,
    /// Show what follows from a finding as well.
    pub all: bool,
    /// Who differs most from the baseline, where one was given.
    pub suspects: Option<&'a Ranking>,
}

impl<'a> Shown<'a> {
    /// All of a report.
    pub fn whole(report: &'a Report) -> Shown<'a> {
        Shown {
            report,
            findings: report.findings(),
            known: 0,
            all: false,
            suspects: None,
        }
    }

    pub fn count(&self, severity: Severity) -> u64 {
        let of = |finding: &&&Finding| finding.severity == severity;
        self.findings.iter().filter(of).count() as u64
    }
}

pub fn tone(severity: Severity) -> Tone {
    match severity {
        Severity::Error => Tone::Bad,
        Severity::Warning => Tone::Odd,
        Severity::Note => Tone::Plain,
    }
}

pub fn mark(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "✗",
        Severity::Warning => "!",
        Severity::Note => "·",
    }
}

/// An instance's id without what is random in it and tells nobody anything: `payment-vm-34693-64fa0bac-34e5-…` as
/// `payment-vm-34693-64fa…`.
fn short_instance(id: &str) -> String {
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| b.is_ascii_hexdigit())
    };
    let parts: Vec<&str> = id.rsplitn(6, '-').collect();
    match parts.as_slice() {
        [e, d, c, b, a, rest] if hex(e, 12) && hex(d, 4) && hex(c, 4) && hex(b, 4) && hex(a, 8) => {
            format!("{rest}-{}…", &a[..4])
        }
        _ => id.to_owned(),
    }
}

pub fn subject_name(subject: &Subject) -> String {
    if subject.instance.is_empty() {
        super::names::service(&subject.service).to_owned()
    } else {
        short_instance(&subject.instance)
    }
}

/// What a cause means, by its address; the address itself if no rule names it.
pub fn cause_text(id: &'static str) -> &'static str {
    rules::ALL
        .iter()
        .flat_map(|rule| rule.about().causes)
        .find(|cause| cause.id == id)
        .map_or(id, |cause| cause.what)
}

/// The worst finding in a sentence, or that there is none.
pub fn verdict_line(report: &Report) -> Line {
    opening(&Shown::whole(report))
}

fn opening(shown: &Shown<'_>) -> Line {
    match shown.findings.first() {
        Some(worst) => Line::new()
            .with(tone(worst.severity), format!("{} ", mark(worst.severity)))
            .with(Tone::Strong, &worst.headline),
        None => {
            let blind = shown.report.with(Verdict::CannotTell).count();
            if blind > 0 {
                let untold = count(blind as u64, "question", "questions");
                Line::new().with(
                    Tone::Odd,
                    format!("? nothing found, yet {untold} could not be told"),
                )
            } else {
                Line::new().with(Tone::Plain, "· nothing found")
            }
        }
    }
}

/// The whole report.
pub fn lines(shown: &Shown<'_>, width: usize) -> Vec<Line> {
    let width = width.min(WIDEST);
    let mut out = vec![opening(shown), Line::new()];
    for finding in &shown.findings {
        out.extend(finding_lines(finding, shown, width));
        out.push(Line::new());
    }
    for (reason, rules) in untold(shown.report) {
        let mut line = Line::new().with(Tone::Odd, "  ?  ");
        line.push(Tone::Plain, &reason);
        line.push(Tone::Dim, format!(": {}", listed(&rules, 3)));
        out.push(line);
    }
    if let Some(ranking) = shown.suspects {
        out.extend(super::suspects::short(ranking, width));
    }
    out.push(summary(shown));
    out
}

/// What could not be told, by what is missing for it.
pub fn untold(report: &Report) -> BTreeMap<String, Vec<&'static str>> {
    let mut reasons: BTreeMap<String, Vec<&'static str>> = BTreeMap::new();
    for answer in report.with(Verdict::CannotTell) {
        let reason = answer.missing.join("; ");
        reasons.entry(reason).or_default().push(answer.rule);
    }
    reasons
}

/// The first few of them, and how many there are beyond.
pub fn listed(names: &[&str], most: usize) -> String {
    let shown = names[..names.len().min(most)].join(", ");
    match names.len().saturating_sub(most) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn finding_lines(finding: &Finding, shown: &Shown<'_>, width: usize) -> Vec<Line> {
    let clock = |at: Nanos| at.clock()[..8].to_owned();
    let until = finding
        .until
        .map_or_else(|| clock(shown.report.window.until), clock);
    let mut head = Line::new().with(
        tone(finding.severity),
        format!("  {:<8}", finding.severity.name()),
    );
    head.push(Tone::Strong, finding.rule);
    head.push(
        Tone::Dim,
        format!(
            "  {}  {} – {until}",
            finding.certainty.name(),
            clock(finding.since)
        ),
    );
    let mut out = vec![head];
    let about: Vec<String> = finding
        .subjects
        .iter()
        .map(|subject| format!("{} ({})", subject_name(subject), subject.role))
        .collect();
    let about: Vec<&str> = about.iter().map(String::as_str).collect();
    if !about.is_empty() {
        out.extend(labelled("about", &listed(&about, 6), None, width));
    }
    out.extend(labelled("cause", &finding.cause, None, width));
    for (i, other) in finding.alternatives.iter().enumerate() {
        let text = format!(
            "{} (open without {})",
            cause_text(other.cause_id),
            other.missing
        );
        out.extend(labelled(if i == 0 { "or" } else { "" }, &text, None, width));
    }
    for (i, seen) in finding.evidence.iter().enumerate() {
        let label = if i == 0 { "seen" } else { "" };
        out.extend(labelled(
            label,
            &seen.what,
            seen.command().as_deref(),
            width,
        ));
    }
    out.extend(labelled("do", &finding.remedy, None, width));
    if let Some(prove) = prove::book_of(finding) {
        out.push(
            Line::new()
                .with(Tone::Dim, format!("         {:<8}", "prove"))
                .with(Tone::Accent, prove.command()),
        );
    }
    out.extend(consequences(finding, shown.all, width));
    out
}

fn consequences(finding: &Finding, all: bool, width: usize) -> Vec<Line> {
    let number = finding.explains();
    if number == 0 {
        return Vec::new();
    }
    if !all {
        let (findings, follow) = if number == 1 {
            ("1 finding", "follows")
        } else {
            (&*format!("{number} findings"), "follow")
        };
        let text = format!("{findings} {follow} from this one (--all shows them)");
        return labelled("and", &text, None, width);
    }
    let mut out = Vec::new();
    // Depth first, as they are folded.
    let mut waiting: Vec<(&Finding, usize)> =
        finding.consequences.iter().rev().map(|f| (f, 0)).collect();
    while let Some((finding, depth)) = waiting.pop() {
        let label = if out.is_empty() { "and" } else { "" };
        let text = format!(
            "{}{} {} ({})",
            "↳ ".repeat(depth),
            mark(finding.severity),
            finding.headline,
            finding.rule
        );
        out.extend(labelled(label, &text, None, width));
        waiting.extend(finding.consequences.iter().rev().map(|f| (f, depth + 1)));
    }
    out
}

/// A text under its label, broken at words. The command that shows it stands beside it where there is room, else on a
/// line of its own; it is never broken, being there to be copied.
fn labelled(label: &str, text: &str, command: Option<&str>, width: usize) -> Vec<Line> {
    let room = width.saturating_sub(LABEL).max(20);
    let mut parts = broken(text, room);
    let beside = match (&command, parts.as_slice()) {
        (Some(command), [only]) => width::columns(only) + 2 + width::columns(command) <= room,
        _ => false,
    };
    if parts.is_empty() {
        parts.push(String::new());
    }
    let mut out = Vec::new();
    for (i, part) in parts.into_iter().enumerate() {
        let label = if i == 0 { label } else { "" };
        let mut line = Line::new().with(Tone::Dim, format!("         {label:<8}"));
        line.push(Tone::Plain, &part);
        if let (true, Some(command)) = (beside, command) {
            let gap = room - width::columns(&part) - width::columns(command);
            line.push(Tone::Plain, " ".repeat(gap));
            line.push(Tone::Accent, command);
        }
        out.push(line);
    }
    if !beside {
        out.extend(command.map(|command| {
            Line::new()
                .with(Tone::Plain, " ".repeat(LABEL + 2))
                .with(Tone::Accent, command)
        }));
    }
    out
}

/// `text` in lines of at most `room` columns, broken between words.
pub fn broken(text: &str, room: usize) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match out.last_mut() {
            Some(last) if width::columns(last) + 1 + width::columns(word) <= room => {
                last.push(' ');
                last.push_str(word);
            }
            _ => out.push(word.to_owned()),
        }
    }
    out
}

pub fn summary(shown: &Shown<'_>) -> Line {
    let errors = shown.count(Severity::Error);
    let warnings = shown.count(Severity::Warning);
    let mut line = Line::new().with(Tone::Plain, "  ");
    line.push(
        if errors > 0 { Tone::Bad } else { Tone::Dim },
        count(errors, "error", "errors"),
    );
    line.push(
        if warnings > 0 { Tone::Odd } else { Tone::Dim },
        format!(" · {}", count(warnings, "warning", "warnings")),
    );
    let notes = shown.count(Severity::Note);
    let blind = shown.report.with(Verdict::CannotTell).count() as u64;
    let passed = shown.report.with(Verdict::Pass).count() as u64;
    let known = match shown.known {
        0 => String::new(),
        known => format!(" · {known} known already"),
    };
    line.push(
        Tone::Dim,
        format!(
            " · {}{known} · {blind} cannot tell · {} passed",
            count(notes, "note", "notes"),
            count(passed, "rule", "rules"),
        ),
    );
    line
}

/// Why a rule fired, or did not.
pub fn why(about: &About, answer: &Answer, width: usize) -> Vec<Line> {
    let width = width.min(WIDEST);
    let (word, tone) = match answer.verdict {
        Verdict::Fail => ("fails", Tone::Bad),
        Verdict::Pass => ("passes", Tone::Plain),
        Verdict::CannotTell => ("cannot tell", Tone::Odd),
    };
    let mut out = vec![
        Line::new()
            .with(Tone::Strong, about.id)
            .with(tone, format!("  {word}")),
    ];
    let mut section = |label: &str, texts: &[String]| {
        for (i, text) in texts.iter().enumerate() {
            out.extend(labelled(if i == 0 { label } else { "" }, text, None, width));
        }
    };
    section("missing", &answer.missing);
    section("saw", &answer.judgement.seen);
    section("limit", &[about.threshold.to_owned()]);
    section(
        "reached",
        &answer
            .judgement
            .distance
            .iter()
            .cloned()
            .collect::<Vec<_>>(),
    );
    let findings: Vec<String> = answer
        .judgement
        .findings
        .iter()
        .map(|finding| finding.headline.clone())
        .collect();
    section("found", &findings);
    out
}

/// What a rule means.
pub fn explanation(about: &About, width: usize) -> Vec<Line> {
    let width = width.min(WIDEST);
    let mut out = vec![
        Line::new()
            .with(Tone::Strong, about.id)
            .with(tone(about.severity), format!("  {}", about.severity.name())),
        Line::plain(format!("  {}", about.title)),
        Line::new(),
    ];
    out.extend(labelled("means", about.meaning, None, width));
    let needs: Vec<&str> = about.needs.iter().map(|need| need.name).collect();
    out.extend(labelled("needs", &needs.join("; "), None, width));
    out.extend(labelled("fires", about.threshold, None, width));
    for (i, cause) in about.causes.iter().enumerate() {
        out.extend(labelled(
            if i == 0 { "causes" } else { "" },
            &format!("{} ({}): {}", cause.what, cause.id, cause.sign),
            None,
            width,
        ));
    }
    out.extend(labelled("do", about.remedy, None, width));
    out
}
