//! A walk through a book, as lines for a terminal and as Markdown.

use playbooks::walk::{Ending, Kind, Run, Said, Taken};

use super::report::broken;
use super::report::markdown::{code, text};
use crate::output::{Line, Tone, width};

const WIDEST: usize = 130;
/// Where texts under a question begin.
const INDENT: usize = 7;

fn mark(said: Said) -> (&'static str, Tone) {
    match said {
        Said::Pass => ("✓", Tone::Plain),
        Said::Fail => ("✗", Tone::Bad),
        Said::CannotTell => ("?", Tone::Odd),
    }
}

/// The whole walk.
pub fn lines(run: &Run, width: usize) -> Vec<Line> {
    let mut out = vec![
        Line::new()
            .with(Tone::Strong, &run.book)
            .with(Tone::Plain, format!("  {}", run.title)),
        Line::new().with(Tone::Dim, format!("  {}", given(run))),
        Line::new(),
    ];
    for (number, taken) in (1..).zip(&run.steps) {
        out.extend(step_lines(taken, number, width));
    }
    out.extend(ending_lines(run, width));
    out
}

fn given(run: &Run) -> String {
    let mut parts = vec![format!("{} to {}", run.window.from, run.window.until)];
    let mut add = |name: &str, value: &Option<String>| {
        parts.extend(value.as_ref().map(|value| format!("{name} {value}")));
    };
    add("service", &run.given.service);
    add("trace", &run.given.trace);
    add("order", &run.given.order);
    if let Some(baseline) = run.given.baseline {
        parts.push(format!("against {} to {}", baseline.from, baseline.until));
    }
    parts.join(" · ")
}

/// A question, its answer and the evidence.
pub fn step_lines(taken: &Taken, number: usize, width: usize) -> Vec<Line> {
    let mut out = Vec::new();
    one(taken, &number.to_string(), 0, width.min(WIDEST), &mut out);
    out
}

fn one(taken: &Taken, number: &str, depth: usize, width: usize, out: &mut Vec<Line>) {
    let margin = " ".repeat(depth * 4);
    let (sign, tone) = mark(taken.said);
    out.push(
        Line::plain(format!("{margin}{number:>3} "))
            .with(tone, format!("{sign} "))
            .with(Tone::Strong, &taken.ask)
            .with(Tone::Dim, format!("  ({})", taken.by)),
    );
    let text = |label: &str, text: &str, tone: Tone| -> Vec<Line> {
        let label_width = width::columns(label);
        let room = width
            .saturating_sub(margin.len() + INDENT + label_width)
            .max(20);
        broken(text, room)
            .into_iter()
            .enumerate()
            .map(|(i, part)| {
                let label = if i == 0 {
                    label.to_owned()
                } else {
                    " ".repeat(label_width)
                };
                Line::plain(format!("{margin}{}", " ".repeat(INDENT)))
                    .with(Tone::Dim, label)
                    .with(tone, part)
            })
            .collect()
    };
    if taken.said != Said::Pass && !taken.expect.is_empty() {
        out.extend(text("expected  ", &taken.expect, Tone::Dim));
    }
    let tone = if taken.said == Said::Pass {
        Tone::Dim
    } else {
        Tone::Plain
    };
    out.extend(text("", &taken.words, tone));
    for kept in &taken.evidence {
        out.extend(text("seen  ", &kept.what, Tone::Plain));
        if let Some(command) = &kept.command {
            // Never broken: it is there to be copied.
            out.push(
                Line::plain(format!("{margin}{}", " ".repeat(INDENT + 6)))
                    .with(Tone::Accent, command),
            );
        }
    }
    if let Some(note) = &taken.note {
        out.push(
            Line::plain(format!("{margin}{}", " ".repeat(INDENT)))
                .with(Tone::Accent, format!("note  {note}")),
        );
    }
    if taken.pinned {
        out.push(
            Line::plain(format!("{margin}{}", " ".repeat(INDENT))).with(Tone::Accent, "pinned"),
        );
    }
    // Of a book that was included, what passed is not worth the lines.
    let asked = taken.inner.len();
    for (place, inner) in (1..).zip(&taken.inner) {
        if inner.said != Said::Pass || asked <= 3 {
            one(inner, &format!("{number}.{place}"), depth + 1, width, out);
        }
    }
}

/// What the walk came to.
pub fn ending_lines(run: &Run, width: usize) -> Vec<Line> {
    let Some(closing) = &run.came_to else {
        return vec![Line::new(), Line::new().with(Tone::Odd, "not over yet")];
    };
    let width = width.min(WIDEST);
    let mut out = vec![Line::new()];
    let tone = match closing.kind {
        Kind::Cause | Kind::Known => Tone::Bad,
        Kind::Between | Kind::CannotTell => Tone::Odd,
        Kind::Clear => Tone::Plain,
    };
    out.push(Line::new().with(tone, format!("= {}", came_to(run))));
    let mut text = |label: &str, text: &str| {
        for (i, part) in broken(text, width.saturating_sub(12).max(20))
            .into_iter()
            .enumerate()
        {
            let label = if i == 0 { label } else { "" };
            out.push(
                Line::new()
                    .with(Tone::Dim, format!("  {label:<9} "))
                    .with(Tone::Plain, part),
            );
        }
    };
    if let Some(ending) = &closing.ending {
        for (label, words) in facts(ending) {
            text(label, &words);
        }
    }
    for other in &closing.also {
        text("also", &format!("{}{}", other.says, cause_of(other)));
    }
    for open in &closing.unanswered {
        text("open", &format!("{} {}", open.ask, open.why));
    }
    out
}

fn cause_of(ending: &Ending) -> String {
    ending
        .cause
        .as_ref()
        .map_or_else(String::new, |cause| format!(" ({cause})"))
}

fn facts(ending: &Ending) -> Vec<(&'static str, String)> {
    let mut out = Vec::new();
    if let Some(cause) = &ending.cause {
        let how = if ending.sure { "sure" } else { "likely" };
        let words = if ending.because.is_empty() {
            &ending.says
        } else {
            &ending.because
        };
        out.push(("cause", format!("{words} ({cause}, {how})")));
    }
    let who = if ending.instance.is_empty() {
        &ending.service
    } else {
        &ending.instance
    };
    if !who.is_empty() {
        out.push(("about", who.clone()));
    }
    for other in &ending.open {
        out.push((
            "or",
            format!("{}; {} would tell", other.cause, other.missing),
        ));
    }
    if let Some((rule, headline)) = &ending.follows {
        out.push(("follows", format!("from {rule}: {headline}")));
    }
    for (label, words) in [("fix", &ending.fix), ("verify", &ending.verify)] {
        if !words.is_empty() {
            out.push((label, words.clone()));
        }
    }
    out
}

/// The outcome in a sentence.
pub fn came_to(run: &Run) -> String {
    let Some(closing) = &run.came_to else {
        return "not over yet".to_owned();
    };
    match (closing.kind, &closing.ending) {
        (Kind::Clear, _) => "everything asked is as expected".to_owned(),
        (Kind::CannotTell, _) | (_, None) => {
            "nothing was found, and something could not be told".to_owned()
        }
        (Kind::Between, Some(ending)) => {
            let mut causes: Vec<&str> = ending.cause.iter().map(String::as_str).collect();
            causes.extend(ending.open.iter().map(|other| other.cause.as_str()));
            format!(
                "{}; cannot tell between {}",
                ending.says,
                causes.join(" and ")
            )
        }
        (_, Some(ending)) => ending.says.clone(),
    }
}

/// The walk as Markdown.
pub fn markdown(run: &Run) -> Vec<String> {
    let mut out = vec![
        format!("# {}", text(&run.title)),
        String::new(),
        format!("Book {}; {}.", code(&run.book), text(&given(run))),
        String::new(),
        format!("**{}**", text(&came_to(run))),
        String::new(),
    ];
    if let Some(ending) = run
        .came_to
        .as_ref()
        .and_then(|closing| closing.ending.as_ref())
    {
        for (label, words) in facts(ending) {
            out.push(format!("- {label}: {}", text(&words)));
        }
        out.push(String::new());
    }
    out.push("## Steps".to_owned());
    out.push(String::new());
    for (number, taken) in (1..).zip(&run.steps) {
        markdown_step(taken, &format!("{number}."), 0, &mut out);
    }
    out
}

fn markdown_step(taken: &Taken, mark: &str, depth: usize, out: &mut Vec<String>) {
    let margin = "   ".repeat(depth);
    out.push(format!(
        "{margin}{mark} {} *{}*: {}",
        text(&taken.ask),
        taken.said.name(),
        text(&taken.words)
    ));
    for kept in &taken.evidence {
        out.push(match &kept.command {
            Some(command) => format!("{margin}   - {}: {}", text(&kept.what), code(command)),
            None => format!("{margin}   - {}", text(&kept.what)),
        });
    }
    if let Some(note) = &taken.note {
        out.push(format!("{margin}   - note: {}", text(note)));
    }
    for inner in &taken.inner {
        markdown_step(inner, "-", depth + 1, out);
    }
}
