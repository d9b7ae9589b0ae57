//! Findings: the list, one of them whole, and why its rule says so.

use analyzers::engine::{Finding, Report};
use analyzers::rules;

use super::body::Body;
use super::{clock, in_sight, reading, rule};
use crate::output::{Line, Tone, count, width};
use crate::render::{names, report};
use crate::tui::state::{FindingsView, Part, State};

/// Texts are broken here even on wider terminals.
const WIDEST: usize = 130;
/// Columns of the labels of an opened finding.
const LABEL: usize = 8;

/// The open findings for the overview: those not acknowledged, a line each.
pub(super) fn open(state: &State, columns: usize, most: usize) -> Vec<Line> {
    let Some(report) = &state.report else {
        return Vec::new();
    };
    report
        .findings()
        .into_iter()
        .filter(|finding| !state.is_acknowledged(finding))
        .take(most)
        .map(|finding| Line::plain("  ").joined(brief(finding)).fit(columns))
        .collect()
}

fn brief(finding: &Finding) -> Line {
    let (tone, mark) = (
        report::tone(finding.severity),
        report::mark(finding.severity),
    );
    Line::new()
        .with(tone, format!("{mark} "))
        .with(Tone::Dim, format!("{}  ", clock(finding.since)))
        .with(Tone::Plain, names::without_uuids(&finding.headline))
}

pub(super) fn body(state: &State, view: &FindingsView, columns: usize, room: usize) -> Body {
    let mut body = Body::default();
    body.line(rule(columns));
    let Some(report) = &state.report else {
        body.line(reading());
        return body;
    };
    if view.opened.is_some() || view.why {
        match view.finding(report) {
            Some(finding) if view.why => why(&mut body, report, finding, columns),
            Some(finding) => whole(&mut body, state, view, report, finding, columns, room),
            None => {}
        }
        return body;
    }
    list(&mut body, state, view, report, columns, room);
    body
}

fn list(
    body: &mut Body,
    state: &State,
    view: &FindingsView,
    report: &Report,
    columns: usize,
    room: usize,
) {
    let findings = report.findings();
    let shown = report::Shown::whole(report);
    let summary = report::summary(&shown);
    if findings.is_empty() {
        body.line(Line::plain("   nothing found"));
        body.line(summary);
        body.lines(untold(report, columns));
        return;
    }
    // Two lines each.
    let each = body.left(room, 2) / 2;
    let sight = in_sight(view.selected, findings.len(), each.max(1));
    for place in sight.clone() {
        let finding = findings[place];
        let known = state.is_acknowledged(finding);
        let mut line = Line::new().with(
            report::tone(finding.severity),
            format!("{} ", report::mark(finding.severity)),
        );
        if known {
            line.push(Tone::Dim, "✓ acknowledged  ");
        }
        line.push(
            if known { Tone::Dim } else { Tone::Strong },
            names::without_uuids(&finding.headline),
        );
        body.row(
            place,
            place == view.selected,
            line.fit(columns.saturating_sub(2)),
        );
        let folded = match finding.explains() {
            0 => String::new(),
            folded => format!(
                " · {} folded (u)",
                count(folded as u64, "consequence", "consequences")
            ),
        };
        let until = finding.until.map_or_else(|| "now".to_owned(), clock);
        let text = format!(
            "  {:<8}{}  {} · {} – {until} · {}{folded}",
            finding.severity.name(),
            finding.rule,
            finding.certainty.name(),
            clock(finding.since),
            count(
                finding.evidence.len() as u64,
                "piece of evidence",
                "pieces of evidence"
            ),
        );
        body.more(place, Line::new().with(Tone::Dim, text));
    }
    let hidden = findings.len() - sight.len();
    if hidden > 0 {
        body.line(Line::new().with(Tone::Dim, format!("  … {hidden} more")));
    }
    body.line(summary);
    if room > body.len() + 1 {
        body.lines(untold(report, columns));
    }
}

/// What could not be told, and why.
fn untold(report: &Report, columns: usize) -> Vec<Line> {
    report::untold(report)
        .into_iter()
        .map(|(reason, rules)| {
            Line::new()
                .with(Tone::Odd, "  ?  ")
                .with(Tone::Plain, &reason)
                .with(Tone::Dim, format!(": {}", report::listed(&rules, 3)))
                .fit(columns)
        })
        .collect()
}

fn why(body: &mut Body, report: &Report, finding: &Finding, columns: usize) {
    let answer = report
        .answers
        .iter()
        .find(|answer| answer.rule == finding.rule);
    if let (Some(rule), Some(answer)) = (rules::find(finding.rule), answer) {
        body.lines(report::why(rule.about(), answer, columns.saturating_sub(2)));
        body.line(Line::new());
        body.lines(report::explanation(rule.about(), columns.saturating_sub(2)));
    }
}

/// A finding with all that is known of it; the parts that can be opened are rows.
fn whole(
    body: &mut Body,
    state: &State,
    view: &FindingsView,
    report: &Report,
    finding: &Finding,
    columns: usize,
    room: usize,
) {
    let wide = columns.saturating_sub(2).min(WIDEST);
    let text_room = wide.saturating_sub(LABEL + 2).max(20);
    let mut lines: Vec<(Option<usize>, Line)> = Vec::new();
    let text = |label: &str, text: &str, tone: Tone, lines: &mut Vec<(Option<usize>, Line)>| {
        for (at, part) in report::broken(text, text_room).into_iter().enumerate() {
            let label = if at == 0 { label } else { "" };
            lines.push((
                None,
                Line::new()
                    .with(Tone::Dim, width::left(label, LABEL))
                    .with(tone, part),
            ));
        }
    };
    let mark = format!("{} ", report::mark(finding.severity));
    for (at, part) in report::broken(&finding.headline, wide.saturating_sub(4))
        .into_iter()
        .enumerate()
    {
        let before = if at == 0 { mark.as_str() } else { "  " };
        lines.push((
            None,
            Line::new()
                .with(report::tone(finding.severity), before)
                .with(Tone::Strong, part),
        ));
    }
    let until = finding.until.map_or_else(|| "now".to_owned(), clock);
    let known = if state.is_acknowledged(finding) {
        " · ✓ acknowledged"
    } else {
        ""
    };
    lines.push((
        None,
        Line::new().with(
            Tone::Dim,
            format!(
                "  {} · {} · {} · {} – {until}{known}",
                finding.severity.name(),
                finding.rule,
                finding.certainty.name(),
                clock(finding.since)
            ),
        ),
    ));
    let about: Vec<String> = finding
        .subjects
        .iter()
        .map(|subject| format!("{} ({})", report::subject_name(subject), subject.role))
        .collect();
    let about: Vec<&str> = about.iter().map(String::as_str).collect();
    if !about.is_empty() {
        text("about", &report::listed(&about, 6), Tone::Plain, &mut lines);
    }
    text("cause", &finding.cause, Tone::Plain, &mut lines);
    for other in &finding.alternatives {
        let or = format!(
            "{} (open without {})",
            report::cause_text(other.cause_id),
            other.missing
        );
        text("or", &or, Tone::Plain, &mut lines);
    }
    let parts = view.parts(report);
    let mut next = 0;
    for (at, seen) in finding.evidence.iter().enumerate() {
        let label = if at == 0 { "seen" } else { "" };
        let row = seen.reference.as_ref().map(|_| {
            next += 1;
            next - 1
        });
        for (at, part) in report::broken(&seen.what, text_room)
            .into_iter()
            .enumerate()
        {
            let label = if at == 0 { label } else { "" };
            let tone = if row.is_some() {
                Tone::Accent
            } else {
                Tone::Plain
            };
            let line = Line::new()
                .with(Tone::Dim, width::left(label, LABEL))
                .with(tone, part);
            lines.push((row.filter(|_| at == 0), line));
        }
    }
    let mut label = "in";
    for (row, part) in parts.iter().enumerate().skip(next) {
        if let Part::Trace(id) = part {
            let line = Line::new()
                .with(Tone::Dim, width::left(label, LABEL))
                .with(Tone::Plain, format!("trace {id}"));
            lines.push((Some(row), line));
            label = "";
        }
    }
    text("do", &finding.remedy, Tone::Plain, &mut lines);
    let follows = finding.consequences.len();
    if follows > 0 && !view.unfolded {
        let all = count(
            finding.explains() as u64,
            "finding follows",
            "findings follow",
        );
        text(
            "and",
            &format!("{all} from this one; u shows them"),
            Tone::Dim,
            &mut lines,
        );
    }
    let mut label = "and";
    for (row, part) in parts.iter().enumerate() {
        if let Part::Consequence(steps) = part
            && let Some(below) = steps.last().and_then(|at| finding.consequences.get(*at))
        {
            let more = match below.explains() {
                0 => String::new(),
                more => format!(" (+{more})"),
            };
            let line = Line::new()
                .with(Tone::Dim, width::left(label, LABEL))
                .joined(brief(below))
                .with(Tone::Dim, format!("  {}{more}", below.rule));
            lines.push((Some(row), line));
            label = "";
        }
    }
    // What is selected stays in sight.
    let at = lines
        .iter()
        .position(|(row, _)| *row == Some(view.part))
        .unwrap_or(0);
    let list = body.left(room, 0);
    let sight = in_sight(at + 2, lines.len(), list);
    for (row, line) in lines.drain(sight) {
        match row {
            Some(row) => body.row(row, row == view.part, line),
            None => body.line(Line::plain("  ").joined(line)),
        }
    }
}
