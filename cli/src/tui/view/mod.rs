//! The state as lines: a head, a body for each screen, a bar of keys. Nothing is worked out here.

mod body;
mod books;
mod compare;
mod findings;
mod lists;
mod logs;
mod overview;
mod sheets;
mod strip;
mod trace;
mod traces;

use case::Nanos;
use case::time::human_duration;

pub use body::{Body, Strip};

use super::keymap::Keymap;
use super::state::{Kind, Screen, State};
use crate::output::{Line, Tone, thousands, width};
use crate::render::{names, report};

/// The whole screen.
pub struct Drawn {
    /// `height` lines of at most `columns` columns.
    pub lines: Vec<Line>,
    /// Which row of the screen's list a line shows.
    pub hits: Vec<Option<usize>>,
    /// The line of the selected row.
    pub selected: Option<usize>,
    /// Where time is drawn.
    pub strip: Option<Strip>,
    /// Keys in the bar at the bottom: the columns of each.
    pub keys: Vec<(std::ops::Range<usize>, super::keys::Key)>,
    /// Where the line being typed goes on.
    pub cursor: Option<(usize, usize)>,
}

/// Draws the state on `height` lines of `columns` columns.
pub fn draw(state: &State, keymap: &Keymap, columns: usize, height: usize) -> Drawn {
    let mut lines = vec![head(state, columns)];
    lines.extend(verdict(state, columns));
    let (footer, keys, cursor) = footer(state, keymap, columns);
    let top = lines.len();
    let room = height.saturating_sub(top + footer.len());
    let mut body = match state.help {
        Some(scroll) => help(state, keymap, scroll, room),
        None => match state.screen() {
            Screen::Overview { selected } => overview::body(state, *selected, columns, room),
            Screen::Traces(view) => traces::body(state, view, columns, room),
            Screen::Trace(view) => trace::body(state, view, columns, room),
            Screen::Logs(view) => logs::body(state, view, columns, room),
            Screen::Sheet(view) => sheets::body(state, view, columns, room),
            Screen::Findings(view) => findings::body(state, view, columns, room),
            Screen::Compare(view) => compare::body(view, columns, room),
            Screen::Faults(view) => lists::faults(view, columns, room),
            Screen::Playbooks(view) => books::body(state, view, columns, room),
            Screen::Notes { selected } => lists::notes(state, *selected, columns, room),
        },
    };
    body.resize(room);
    let strip = body.strip.take().map(|strip| strip.lower(top));
    let selected = body.selected.map(|line| line + top);
    let mut hits: Vec<Option<usize>> = vec![None; top];
    hits.append(&mut body.hits);
    lines.append(&mut body.lines);
    let bottom = lines.len();
    lines.extend(footer);
    lines.truncate(height);
    hits.resize(lines.len(), None);
    Drawn {
        lines: lines.into_iter().map(|line| line.fit(columns)).collect(),
        hits,
        selected: selected.filter(|line| *line < height),
        strip,
        keys,
        cursor: cursor.map(|column| (column, bottom.min(height.saturating_sub(1)))),
    }
}

/// The part of `rows` that is in sight when `selected` has to be, within `room` lines.
fn in_sight(selected: usize, rows: usize, room: usize) -> std::ops::Range<usize> {
    let selected = selected.min(rows.saturating_sub(1));
    let from = if selected < room {
        0
    } else {
        selected + 1 - room
    };
    from..rows.min(from + room)
}

fn rule(columns: usize) -> Line {
    Line::new().with(Tone::Dim, "─".repeat(columns))
}

/// A rule with a word in it.
fn ruled(title: &str, columns: usize) -> Line {
    let title = format!("── {title} ");
    let rest = columns.saturating_sub(width::columns(&title));
    Line::new().with(Tone::Dim, title + &"─".repeat(rest))
}

fn reading() -> Line {
    Line::new().with(Tone::Dim, "   reading …")
}

fn clock(at: Nanos) -> String {
    at.clock()[..8].to_owned()
}

/// A line with something at its right end, if there is room for both.
fn with_right(line: Line, right: Line, columns: usize) -> Line {
    let (a, b) = (line.columns(), right.columns());
    if a + b + 2 > columns {
        return line.fit(columns);
    }
    line.with(Tone::Plain, " ".repeat(columns - a - b))
        .joined(right)
}

fn head(state: &State, columns: usize) -> Line {
    let mut line = Line::new().with(Tone::Strong, " casefile  ").with(
        Tone::Accent,
        width::fit(&crate::output::sanitise::clean(&state.name), 40),
    );
    let moment = &state.moment;
    match moment.at {
        Some(at) if moment.playing => {
            line.push(
                Tone::Odd,
                format!(" ⏵ replay {} ×{}", clock(at), moment.speed),
            );
        }
        Some(at) => line.push(Tone::Odd, format!(" ⏸ as of {}", clock(at))),
        None if state.head.live => line.push(Tone::Accent, " ● live"),
        None if state.head.sealed => line.push(Tone::Dim, " sealed"),
        None => {}
    }
    match state.overview.as_ref().map(|overview| overview.window) {
        Some(window) if state.head.window.is_some() => {
            let length = human_duration(window.until.0.saturating_sub(window.from.0));
            let tone = if moment.range.is_some() {
                Tone::Odd
            } else {
                Tone::Plain
            };
            line.push(
                tone,
                format!(
                    "  {} → {} ({length})",
                    clock(window.from),
                    clock(window.until)
                ),
            );
            let part = if state.partial { ", newest part" } else { "" };
            line.push(
                Tone::Dim,
                format!(
                    "  {} spans  {} logs{part}",
                    thousands(state.head.spans),
                    thousands(state.head.logs)
                ),
            );
        }
        Some(_) => line.push(Tone::Odd, "  no signals yet"),
        None => line.push(Tone::Dim, "  reading …"),
    }
    let right = match &state.busy {
        Some(busy) => {
            let rows = match busy.rows {
                0 => String::new(),
                rows => format!(" {} rows", thousands(rows)),
            };
            Line::new().with(Tone::Odd, format!("{}{rows} … ctrl-x gives up ", busy.what))
        }
        None => Line::new(),
    };
    with_right(line, right, columns)
}

fn verdict(state: &State, columns: usize) -> Vec<Line> {
    let Some(report) = &state.report else {
        let text = if state.diagnosing {
            " diagnosing …"
        } else {
            ""
        };
        return vec![Line::new().with(Tone::Dim, text), Line::new()];
    };
    let findings = report.findings();
    let Some(worst) = findings.first() else {
        return vec![
            Line::plain(" ").joined(report::verdict_line(report)),
            Line::new(),
        ];
    };
    let more = match findings.len() - 1 {
        0 => String::new(),
        more => format!(" · {more} more"),
    };
    let folded = match worst.explains() {
        0 => String::new(),
        folded => format!(
            " · {} folded",
            crate::output::count(folded as u64, "consequence", "consequences")
        ),
    };
    let about = format!(
        "({} · {}{folded}{more} · f opens)",
        worst.rule,
        worst.certainty.name()
    );
    // The sentence takes a second line where it needs one; what stands there otherwise gives way.
    let parts = report::broken(
        &names::without_uuids(&worst.headline),
        columns.saturating_sub(4).max(8),
    );
    let mut parts = parts.into_iter();
    let first = Line::plain(" ")
        .with(
            report::tone(worst.severity),
            format!("{} ", report::mark(worst.severity)),
        )
        .with(Tone::Strong, parts.next().unwrap_or_default());
    let rest: Vec<String> = parts.collect();
    let second = Line::plain("   ").with(Tone::Strong, rest.join(" "));
    let about = Line::new().with(Tone::Dim, width::fit(&about, columns.saturating_sub(4)));
    let second = if second.columns() + about.columns() + 3 > columns && !rest.is_empty() {
        second
    } else {
        with_right(second, about.with(Tone::Plain, " "), columns)
    };
    vec![first, second.fit(columns)]
}

type Footer = (
    Vec<Line>,
    Vec<(std::ops::Range<usize>, super::keys::Key)>,
    Option<usize>,
);

fn footer(state: &State, keymap: &Keymap, columns: usize) -> Footer {
    if let Some(prompt) = &state.prompt {
        let label = match prompt.kind {
            Kind::Filter => " filter: ",
            Kind::Search => " search: ",
            Kind::Command => " :",
        };
        let before: String = prompt.text.chars().take(prompt.cursor).collect();
        let room = columns.saturating_sub(width::columns(label) + 2);
        // A long line is seen from its end.
        let mut shown = before.as_str();
        while width::columns(&crate::output::sanitise::clean(shown)) > room {
            let mut chars = shown.chars();
            chars.next();
            shown = chars.as_str();
        }
        let rest: String = prompt.text.chars().skip(prompt.cursor).collect();
        let line = Line::new()
            .with(Tone::Accent, label)
            .with(Tone::Plain, shown);
        let cursor = line.columns();
        let mut out = Vec::new();
        if !prompt.offered.is_empty() {
            let mut offers = Line::plain(" ");
            for offer in &prompt.offered {
                let chosen = prompt.text.ends_with(offer.as_str());
                offers.push(
                    if chosen { Tone::Accent } else { Tone::Dim },
                    format!("{offer}  "),
                );
            }
            out.push(offers);
        }
        out.push(line.with(Tone::Plain, rest));
        return (out, Vec::new(), Some(cursor));
    }
    if let Some(message) = &state.message {
        return (
            vec![Line::new().with(Tone::Odd, format!(" {message}"))],
            Vec::new(),
            None,
        );
    }
    // Whole hints only: those that lead on from anywhere first, then as many of the others as there is room for.
    let bar = keymap.bar(state.place());
    let length = |(key, word): &(super::keys::Key, &str)| {
        width::columns(&key.name()) + 3 + width::columns(word)
    };
    let first = ["help", "quit", "command", "findings"]
        .iter()
        .filter_map(|wanted| bar.iter().position(|(_, word)| word == wanted));
    let mut left = columns.saturating_sub(1);
    let mut shown = vec![false; bar.len()];
    for place in first.chain(0..bar.len()) {
        let length = length(&bar[place]);
        if !shown[place] && length <= left {
            shown[place] = true;
            left -= length;
        }
    }
    let mut line = Line::plain(" ");
    let mut keys = Vec::new();
    for ((key, word), _) in bar.into_iter().zip(shown).filter(|(_, shown)| *shown) {
        let from = line.columns();
        line.push(Tone::Accent, key.name());
        line.push(Tone::Dim, format!(" {word}  "));
        keys.push((from..line.columns().saturating_sub(2), key));
    }
    (vec![line], keys, None)
}

fn help(state: &State, keymap: &Keymap, scroll: usize, room: usize) -> Body {
    let place = state.place();
    let (special, common) = keymap.help(place);
    let mut lines = Vec::new();
    let mut section = |title: String, bindings: Vec<&super::keymap::Binding>| {
        lines.push(Line::new().with(Tone::Strong, format!("   {title}")));
        for binding in bindings {
            lines.push(
                Line::new()
                    .with(
                        Tone::Accent,
                        format!("   {}", width::left(&binding.shown(), 14)),
                    )
                    .with(Tone::Plain, binding.help)
                    .with(Tone::Dim, format!("  :{}", binding.name)),
            );
        }
        lines.push(Line::new());
    };
    section(format!("keys of this view: {}", place.name()), special);
    section("keys everywhere".to_owned(), common);
    lines.push(Line::new().with(Tone::Strong, "   commands"));
    for (name, takes, what) in super::state::COMMANDS {
        lines.push(
            Line::new()
                .with(
                    Tone::Accent,
                    format!("   {}", width::left(&format!(":{name} {takes}"), 22)),
                )
                .with(Tone::Plain, what),
        );
    }
    lines.push(Line::new());
    lines.push(Line::new().with(Tone::Strong, "   a filter"));
    for example in [
        "service:payment status:error duration>500ms",
        "attr.http.route:/api/* -kind:client",
        "name~\"Place.*\" OR \"connection refused\"",
    ] {
        lines.push(Line::plain(format!("   {example}")));
    }
    let from = scroll.min(lines.len().saturating_sub(room));
    let mut body = Body::default();
    let hidden = lines.len().saturating_sub(from + room);
    for line in lines.into_iter().skip(from).take(room) {
        body.line(line);
    }
    if hidden > 0
        && let Some(last) = body.lines.last_mut()
    {
        *last = Line::new().with(
            Tone::Dim,
            format!("   … {} more, j goes on, any other key closes", hidden + 1),
        );
    }
    body
}

#[cfg(test)]
mod tests;
