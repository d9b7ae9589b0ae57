//! `casefile registry`: what a registry says of every instance, beside what spans, probes and the caches of others say.

use analyzers::roster::{Instance, Roster};
use case::signal::RegistryEvent;
use case::{Nanos, Window};
use clap::Args;
use serde::Serialize;

use crate::args::{CaseArgs, WindowArgs};
use crate::error::CliError;
use crate::exit;
use crate::output::{Console, Format};
use crate::reading::Reading;
use crate::render;
use crate::views;

#[derive(Debug, Args)]
pub struct RegistryArgs {
    #[command(flatten)]
    case: CaseArgs,
    #[command(flatten)]
    window: WindowArgs,
    /// Only instances of this service; given more than once, any of them.
    #[arg(long, short = 's', value_name = "NAME")]
    service: Vec<String>,
    /// Everything about one instance: its id, the beginning of it, or its address.
    #[arg(long, value_name = "ID", conflicts_with_all = ["service", "event", "events"])]
    instance: Option<String>,
    /// One event of the registry's log, by its number, with those around it.
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["service", "events"])]
    event: Option<u64>,
    /// List the registry's events instead of instances.
    #[arg(long)]
    events: bool,
    /// Only instances at which the two sides contradict each other.
    #[arg(long, conflicts_with = "events")]
    odd: bool,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Events shown before and after one that is asked for.
const AROUND: usize = 3;

#[derive(Serialize)]
struct InstanceObject<'a> {
    #[serde(flatten)]
    instance: &'a Instance,
    events: &'a [RegistryEvent],
}

#[derive(Serialize)]
struct RosterObject<'a> {
    window: Window,
    registries: &'a [String],
    last_snapshot: Option<Nanos>,
    events: usize,
    only_callers: usize,
    instances: Vec<&'a Instance>,
}

pub fn run(args: &RegistryArgs, console: &mut Console) -> Result<u8, CliError> {
    let reading = Reading::open(&args.case, &args.window, console)?;
    if args.events || args.event.is_some() {
        events(args, &reading, console)?;
        reading.tell_damage(console);
        return Ok(exit::CLEAN);
    }
    let roster = views::roster(&reading.case, reading.window)?;
    let width = console.list_width();
    if let Some(id) = &args.instance {
        let instance = find(&roster, id)?;
        let events: Vec<RegistryEvent> = all_events(&reading)?
            .into_iter()
            .filter(|event| event.id == instance.id)
            .collect();
        match args.format {
            Format::Json => console.json(&InstanceObject {
                instance,
                events: &events,
            })?,
            Format::Text => console.lines(&render::roster::detail(instance, &roster, &events))?,
        }
        reading.tell_damage(console);
        return Ok(exit::CLEAN);
    }
    for name in &args.service {
        known_service(&roster, name)?;
    }
    let shown: Vec<&Instance> = roster
        .instances
        .iter()
        .filter(|instance| args.service.is_empty() || args.service.contains(&instance.service))
        .filter(|instance| !args.odd || instance.standing.is_odd())
        .collect();
    match args.format {
        Format::Json => console.json(&RosterObject {
            window: roster.window,
            registries: &roster.registries,
            last_snapshot: roster.last_snapshot,
            events: roster.events,
            only_callers: roster.only_callers,
            instances: shown,
        })?,
        Format::Text if shown.is_empty() => console.remark(if args.odd {
            "registry and reality agree"
        } else {
            "no instance is known in the window"
        }),
        Format::Text => console.lines(&render::roster::lines(&roster, &shown, width))?,
    }
    reading.tell_damage(console);
    Ok(exit::CLEAN)
}

/// Events up to the end of the window, in order, each once.
fn all_events(reading: &Reading) -> Result<Vec<RegistryEvent>, CliError> {
    let mut events = reading.case.registry_events(Window {
        from: Nanos(0),
        until: reading.window.until,
    })?;
    events.sort_by(|a, b| (a.at, &a.registry, a.seq).cmp(&(b.at, &b.registry, b.seq)));
    events.dedup();
    Ok(events)
}

fn events(args: &RegistryArgs, reading: &Reading, console: &mut Console) -> Result<(), CliError> {
    let mut events = all_events(reading)?;
    match args.event {
        Some(seq) => {
            let place = events.iter().position(|event| event.seq == seq);
            let place = place.ok_or_else(|| {
                CliError::new(format!(
                    "no registry event {seq} in {}",
                    reading.path.display()
                ))
                .hint("`casefile registry --events` lists them")
            })?;
            if args.format == Format::Json {
                return console.json(&events[place]);
            }
            let until = (place + AROUND + 1).min(events.len());
            events = events[place.saturating_sub(AROUND)..until].to_vec();
        }
        None => events.retain(|event| {
            reading.window.contains(event.at)
                && (args.service.is_empty() || args.service.contains(&event.name))
        }),
    }
    if events.is_empty() {
        console.remark("no registry events in the window");
    }
    for event in &events {
        match args.format {
            Format::Json => console.json(event)?,
            Format::Text => {
                let mut line = render::roster::event_line(event);
                if Some(event.seq) == args.event {
                    line.push(crate::output::Tone::Accent, "  ←");
                }
                console.line(&line)?;
            }
        }
    }
    Ok(())
}

fn known_service(roster: &Roster, name: &str) -> Result<(), CliError> {
    let names = || roster.instances.iter().map(|i| i.service.as_str());
    if names().any(|known| known == name) {
        return Ok(());
    }
    let error = CliError::new(format!("no instance of a service {name:?} is known"));
    Err(match case::nearest::nearest(name, names()) {
        Some(near) => error.hint(format!("did you mean {near}?")),
        None => error.hint("`casefile registry` lists all instances"),
    })
}

/// The instance of this id or address, or the one whose id begins so.
fn find<'a>(roster: &'a Roster, id: &str) -> Result<&'a Instance, CliError> {
    let exact = roster
        .instances
        .iter()
        .find(|instance| instance.id == id || instance.address == id);
    if let Some(instance) = exact {
        return Ok(instance);
    }
    let mut begin = roster
        .instances
        .iter()
        .filter(|instance| instance.id.starts_with(id));
    match (begin.next(), begin.next()) {
        (Some(one), None) => Ok(one),
        (Some(a), Some(b)) => Err(
            CliError::new(format!("several instances begin with {id:?}"))
                .hint(format!("such as {} and {}", a.id, b.id)),
        ),
        (None, _) => {
            let error = CliError::new(format!("no instance {id:?} is known"));
            let ids = roster.instances.iter().map(|i| i.id.as_str());
            Err(match case::nearest::nearest(id, ids) {
                Some(near) => error.hint(format!("did you mean {near}?")),
                None => error.hint("`casefile registry` lists them"),
            })
        }
    }
}
