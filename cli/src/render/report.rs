//! A diagnosis as lines.

use analyzers::engine::{About, Answer, Finding, Report, Severity, Verdict};
use case::Nanos;

use crate::output::{Line, Tone, count, width};

/// Where the texts of a finding begin.
const LABEL: usize = 18;
/// Texts are broken here even on wider terminals: longer lines are hard to read.
const WIDEST: usize = 130;

fn tone(severity: Severity) -> Tone {
    match severity {
        Severity::Error => Tone::Bad,
        Severity::Warning => Tone::Odd,
        Severity::Note => Tone::Plain,
    }
}

fn mark(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "✗",
        Severity::Warning => "!",
        Severity::Note => "·",
    }
}

/// The worst finding in a sentence, or that there is none.
pub fn verdict_line(report: &Report) -> Line {
    match report.findings().first() {
        Some(worst) => Line::new()
            .with(tone(worst.severity), format!("{} ", mark(worst.severity)))
            .with(Tone::Strong, &worst.headline),
        None => {
            let blind = report.with(Verdict::CannotTell).count();
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
pub fn lines(report: &Report, width: usize) -> Vec<Line> {
    let width = width.min(WIDEST);
    let mut out = vec![verdict_line(report), Line::new()];
    for finding in report.findings() {
        out.extend(finding_lines(finding, report, width));
        out.push(Line::new());
    }
    for answer in report.with(Verdict::CannotTell) {
        let mut line = Line::new().with(Tone::Odd, "  ?  ");
        line.push(Tone::Plain, format!("{}  ", answer.rule));
        line.push(Tone::Dim, answer.missing.join("; "));
        out.push(line);
    }
    out.push(summary(report));
    out
}

fn finding_lines(finding: &Finding, report: &Report, width: usize) -> Vec<Line> {
    let clock = |at: Nanos| at.clock()[..8].to_owned();
    let until = finding
        .until
        .map_or_else(|| clock(report.window.until), clock);
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
    for subject in &finding.subjects {
        let name = if subject.instance.is_empty() {
            &subject.service
        } else {
            &subject.instance
        };
        let first = if subject == &finding.subjects[0] {
            "about"
        } else {
            ""
        };
        out.extend(labelled(
            first,
            &format!("{name} ({})", subject.role),
            None,
            width,
        ));
    }
    out.extend(labelled("cause", &finding.cause, None, width));
    for (i, seen) in finding.evidence.iter().enumerate() {
        out.extend(labelled(
            if i == 0 { "seen" } else { "" },
            &seen.what,
            seen.command().as_deref(),
            width,
        ));
    }
    out.extend(labelled("do", &finding.remedy, None, width));
    out
}

/// A text under its label, broken at words, and the command that shows it on a line of its own.
fn labelled(label: &str, text: &str, command: Option<&str>, width: usize) -> Vec<Line> {
    let mut out = Vec::new();
    let room = width.saturating_sub(LABEL).max(20);
    for (i, part) in broken(text, room).into_iter().enumerate() {
        let label = if i == 0 { label } else { "" };
        out.push(
            Line::new()
                .with(Tone::Dim, format!("          {label:<8}"))
                .with(Tone::Plain, part),
        );
    }
    // A command is never broken: it is there to be copied.
    out.extend(command.map(|command| {
        Line::new()
            .with(Tone::Plain, " ".repeat(LABEL + 2))
            .with(Tone::Accent, command)
    }));
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

fn summary(report: &Report) -> Line {
    let number = |severity| report.count(severity) as u64;
    let errors = number(Severity::Error);
    let warnings = number(Severity::Warning);
    let mut line = Line::new().with(Tone::Plain, "  ");
    line.push(
        if errors > 0 { Tone::Bad } else { Tone::Dim },
        count(errors, "error", "errors"),
    );
    line.push(
        if warnings > 0 { Tone::Odd } else { Tone::Dim },
        format!(" · {}", count(warnings, "warning", "warnings")),
    );
    let notes = number(Severity::Note);
    let blind = report.with(Verdict::CannotTell).count() as u64;
    let passed = report.with(Verdict::Pass).count() as u64;
    line.push(
        Tone::Dim,
        format!(
            " · {} · {blind} cannot tell · {} passed",
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

#[cfg(test)]
mod tests {
    use analyzers::engine::{Certainty, Judgement, Seen, Subject};
    use analyzers::reference::Reference;
    use case::Window;

    use super::*;

    fn report(findings: Vec<Finding>) -> Report {
        let answer = |rule, verdict, judgement| Answer {
            rule,
            verdict,
            missing: if verdict == Verdict::CannotTell {
                vec!["no spans in the window".to_owned()]
            } else {
                Vec::new()
            },
            judgement,
        };
        Report {
            window: Window {
                from: Nanos(0),
                until: Nanos(3_600_000_000_000),
            },
            answers: vec![
                answer("a/blind", Verdict::CannotTell, Judgement::default()),
                answer("a/fine", Verdict::Pass, Judgement::default()),
                answer(
                    "registry/cached-after-removal",
                    Verdict::Fail,
                    Judgement {
                        findings,
                        ..Judgement::default()
                    },
                ),
            ],
        }
    }

    #[test]
    fn a_report_reads_from_the_verdict_down() {
        let finding = Finding {
            rule: "registry/cached-after-removal",
            severity: Severity::Error,
            certainty: Certainty::Sure,
            headline: "payment left and is still called.".into(),
            subjects: vec![Subject {
                service: "payment".into(),
                instance: "payment-2\x1b[2J".into(),
                role: "departed",
            }],
            since: Nanos(60_000_000_000),
            until: None,
            cause_id: "resolution/stale-cache#ttl-too-long",
            alternatives: Vec::new(),
            traces: Vec::new(),
            consequences: Vec::new(),
            cause: "the cache outlives the registry's time limit and nobody drops the address"
                .into(),
            evidence: vec![
                Seen::note("registry event 7"),
                Seen::at(
                    "4 calls failed since",
                    Reference::Order {
                        order_id: "o 1".into(),
                    },
                ),
            ],
            remedy: "expire sooner".into(),
        };
        let text: Vec<String> = lines(&report(vec![finding]), 60)
            .iter()
            .map(|l| l.text().trim_end().to_owned())
            .collect();
        assert_eq!(
            text,
            [
                "✗ payment left and is still called.",
                "",
                "  error   registry/cached-after-removal  sure  00:01:00 – 01:00:00",
                "          about   payment-2\\x1b[2J (departed)",
                "          cause   the cache outlives the registry's time",
                "                  limit and nobody drops the address",
                "          seen    registry event 7",
                "                  4 calls failed since",
                "                    casefile orders 'o 1'",
                "          do      expire sooner",
                "",
                "  ?  a/blind  no spans in the window",
                "  1 error · 0 warnings · 0 notes · 1 cannot tell · 1 rule passed",
            ]
        );
    }

    #[test]
    fn no_finding_is_not_called_clean_while_something_could_not_be_told() {
        let mut report = report(Vec::new());
        assert_eq!(
            verdict_line(&report).text(),
            "? nothing found, yet 1 question could not be told"
        );
        report.answers.remove(0);
        assert_eq!(verdict_line(&report).text(), "· nothing found");
    }
}
