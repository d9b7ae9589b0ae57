//! The registry beside reality as lines: an instance each, with its states over time.

use analyzers::roster::{Instance, Roster, Standing, State};
use case::signal::RegistryEvent;
use case::time::human_duration;
use case::{Nanos, Window};

use super::names;
use crate::output::{Column, Line, Table, Tone, count};

/// Columns of the strip of states.
const STRIP: usize = 30;

/// One line that says what there is.
pub fn title(roster: &Roster) -> Line {
    let known = roster.instances.iter().filter(|i| i.known).count() as u64;
    let mut line = Line::new().with(Tone::Strong, "registry");
    line.push(
        Tone::Dim,
        format!(
            "  {} · {} · {}",
            count(roster.names as u64, "name", "names"),
            count(known, "instance", "instances"),
            count(roster.events as u64, "event", "events"),
        ),
    );
    match roster.last_snapshot {
        Some(at) => line.push(
            Tone::Dim,
            format!(" · last snapshot {} before the end", age(at, roster.window)),
        ),
        None => line.push(Tone::Odd, " · no snapshots"),
    }
    line
}

fn age(at: Nanos, window: Window) -> String {
    human_duration(window.until.0.saturating_sub(at.0))
}

/// The character a state is drawn with, darker the further from healthy.
pub fn mark(state: State) -> char {
    match state {
        State::Healthy => '█',
        State::Starting => '▁',
        State::Degraded => '▆',
        State::Suspect => '▒',
        State::Unhealthy => '▓',
        State::Draining => '░',
        State::Removed | State::Unregistered => '·',
        State::Other => '?',
    }
}

pub fn legend() -> Line {
    let states = [
        State::Healthy,
        State::Degraded,
        State::Suspect,
        State::Unhealthy,
        State::Draining,
        State::Removed,
    ];
    let texts: Vec<String> = states
        .iter()
        .map(|state| format!("{} {}", mark(*state), state.name()))
        .collect();
    Line::new().with(Tone::Dim, texts.join("   "))
}

/// States over the window in `columns` cells; a cell shows the worst it holds.
pub fn strip(instance: &Instance, window: Window, columns: usize) -> Line {
    let length = window.until.0.saturating_sub(window.from.0).max(1);
    let mut cells: Vec<Option<State>> = vec![None; columns];
    for stretch in &instance.states {
        let place = |at: Nanos| {
            let since = u128::from(at.0.saturating_sub(window.from.0));
            (since * columns as u128 / u128::from(length)) as usize
        };
        let first = place(stretch.since).min(columns.saturating_sub(1));
        let last = place(stretch.until).clamp(first + 1, columns.max(first + 1));
        for cell in cells.iter_mut().take(last).skip(first) {
            *cell = (*cell).max(Some(stretch.state));
        }
    }
    let mut line = Line::new();
    for cell in cells {
        let (tone, mark) = match cell {
            Some(state @ (State::Healthy | State::Starting)) => (Tone::Plain, mark(state)),
            Some(state @ (State::Draining | State::Unhealthy)) => (Tone::Bad, mark(state)),
            Some(State::Removed) | None => (Tone::Dim, '·'),
            Some(state) => (Tone::Odd, mark(state)),
        };
        line.push(tone, mark.to_string());
    }
    line
}

fn registry_says(instance: &Instance) -> Line {
    let tone = match instance.state {
        State::Healthy | State::Starting => Tone::Plain,
        State::Degraded | State::Suspect | State::Other => Tone::Odd,
        _ => Tone::Bad,
    };
    let mut text = instance.state.name().to_owned();
    if instance.known && instance.state != State::Healthy {
        text.push_str(&format!(" {}", &instance.since.clock()[..8]));
    }
    Line::new().with(tone, text)
}

fn dot() -> Line {
    Line::new().with(Tone::Dim, "·")
}

/// What is odd about an instance, in words.
pub fn said(instance: &Instance, window: Window) -> Line {
    let mut line = Line::new();
    let tone = if instance.standing.is_odd() {
        Tone::Bad
    } else {
        Tone::Dim
    };
    line.push(tone, instance.standing.text());
    if instance.standing == Standing::CachedThoughGone {
        let holders: Vec<String> = instance
            .cached_by
            .iter()
            .map(|holder| match holder.age_ms {
                Some(age) => format!(
                    "{} ({})",
                    names::instance(&holder.caller),
                    human_duration(age.saturating_mul(1_000_000))
                ),
                None => names::instance(&holder.caller).to_owned(),
            })
            .collect();
        line.push(Tone::Plain, format!(" by {}", holders.join(", ")));
    } else if instance.standing == Standing::RegisteredButSilent
        && let Some(at) = instance.last_span
    {
        line.push(Tone::Plain, format!(" for {}", age(at, window)));
    }
    line
}

/// The instances as a table.
pub fn table<'a>(
    roster: &Roster,
    instances: impl Iterator<Item = &'a Instance>,
    width: usize,
) -> Vec<Line> {
    let mut table = Table::new(vec![
        Column::left("instance").shrinks_to(16),
        Column::left("registry").shrinks_to(10),
        Column::right("heartbeat"),
        Column::right("last span"),
        Column::left("probe").shrinks_to(6),
        Column::left("states over time"),
        Column::left("").shrinks_to(12),
    ]);
    let window = roster.window;
    for instance in instances {
        let name = if instance.id.is_empty() {
            names::service(&instance.service)
        } else {
            names::instance(&instance.id)
        };
        let probe = instance.probe.as_ref().map_or_else(dot, |probe| {
            let tone = if probe.ok { Tone::Plain } else { Tone::Bad };
            Line::new().with(tone, &probe.found)
        });
        let ago = |at: Option<Nanos>| at.map_or_else(dot, |at| Line::plain(age(at, window)));
        let heartbeat = match instance.heartbeat_age {
            Some(age) if !instance.state.is_gone() => Line::plain(human_duration(age)),
            _ => ago(instance.heartbeat),
        };
        table.row(vec![
            Line::plain(name),
            registry_says(instance),
            heartbeat,
            ago(instance.last_span),
            probe,
            strip(instance, window, STRIP),
            said(instance, window),
        ]);
    }
    table.lines(width)
}

pub fn lines(roster: &Roster, shown: &[&Instance], width: usize) -> Vec<Line> {
    let mut out = vec![title(roster)];
    if roster.registries.is_empty() {
        out.push(Line::new().with(
            Tone::Odd,
            "? no registry was watched: what follows is what spans say (collect with --registry URL)",
        ));
    }
    out.extend(table(roster, shown.iter().copied(), width));
    out.push(legend().fit(width));
    if roster.only_callers > 0 {
        let callers = count(roster.only_callers as u64, "sender", "senders");
        out.push(Line::new().with(
            Tone::Dim,
            format!("{callers} of spans only call, and are in no registry"),
        ));
    }
    out
}

/// One instance with everything known of it.
pub fn detail(instance: &Instance, roster: &Roster, events: &[RegistryEvent]) -> Vec<Line> {
    let window = roster.window;
    let mut out = vec![
        Line::new()
            .with(Tone::Strong, &instance.id)
            .with(Tone::Plain, "  ")
            .joined(registry_says(instance))
            .with(Tone::Plain, "  ")
            .joined(said(instance, window)),
        Line::plain("  ").joined(strip(instance, window, STRIP * 2)),
    ];
    let mut row = |label: &str, text: String| {
        if !text.is_empty() {
            out.push(
                Line::new()
                    .with(Tone::Dim, format!("  {label:<12}"))
                    .with(Tone::Plain, text),
            );
        }
    };
    row("service", instance.service.clone());
    row("address", instance.address.clone());
    row("version", instance.version.clone());
    row("reason", instance.reason.clone());
    let at = |at: Option<Nanos>| {
        at.map_or_else(String::new, |at| format!("{at}  ({} ago)", age(at, window)))
    };
    row("heartbeat", at(instance.heartbeat));
    row("last span", at(instance.last_span));
    row("last served", at(instance.last_served));
    if let Some(probe) = &instance.probe {
        row(
            "probe",
            format!(
                "{}: {}  ({} ago)",
                probe.check,
                probe.found,
                age(probe.at, window)
            ),
        );
    }
    for holder in &instance.cached_by {
        let age = holder.age_ms.map_or_else(String::new, |age| {
            format!("  {} old", human_duration(age.saturating_mul(1_000_000)))
        });
        row("cached by", format!("{}{age}", holder.caller));
    }
    if !events.is_empty() {
        out.push(Line::new().with(Tone::Dim, "  events"));
        out.extend(events.iter().map(event_line));
    }
    out
}

/// One event of a registry's log.
pub fn event_line(event: &RegistryEvent) -> Line {
    let mut line = Line::new()
        .with(
            Tone::Dim,
            format!("  {}  {:>6}  ", event.at.clock(), event.seq),
        )
        .with(Tone::Plain, format!("{:<16}", event.kind))
        .with(Tone::Plain, names::instance(&event.id));
    line.push(Tone::Dim, format!("  {}", event.address));
    if let Some(reason) = &event.reason {
        line.push(Tone::Plain, format!("  {reason}"));
    }
    line
}
