//! `casefile orders`: what saga, payments, stock and shipping say of each order, and everything of one.

use std::collections::BTreeMap;

use analyzers::saga::{Order, Sagas, Story};
use clap::Args;
use serde_json::json;

use super::sagas::{find, newest, tell_left_out};
use crate::args::{CaseArgs, WindowArgs};
use crate::error::CliError;
use crate::exit;
use crate::models::ModelArgs;
use crate::output::{Console, Format, Line, Tone, count, sagas as objects, thousands};
use crate::reading::Reading;
use crate::render;
use crate::views;

#[derive(Debug, Args)]
pub struct OrdersArgs {
    /// One order: its id, or the beginning of it, or its saga's.
    #[arg(value_name = "ID")]
    id: Option<String>,
    #[command(flatten)]
    case: CaseArgs,
    #[command(flatten)]
    window: WindowArgs,
    #[command(flatten)]
    models: ModelArgs,
    /// Only orders in this state, as the ledger names it (SHIPPED, FAILED …).
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// The newest so many; 0 for all [default: 20 as text, all as JSON].
    #[arg(long, short = 'n', value_name = "COUNT")]
    limit: Option<usize>,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub fn run(args: &OrdersArgs, console: &mut Console) -> Result<u8, CliError> {
    let (id, case) = args.case.after_word(args.id.as_deref());
    let reading = Reading::open(&case, &args.window, console)?;
    let sagas = views::sagas(
        &reading.case,
        reading.window,
        id.is_some(),
        args.models.of(&reading.path)?,
    )?;
    let width = console.list_width();
    if let Some(id) = id {
        if let Some(orphan) = sagas.orphans.iter().find(|order| order.id == id) {
            orphaned(orphan, args.format, console)?;
            return Ok(exit::CLEAN);
        }
        let story = find(&sagas, &id)?;
        match args.format {
            Format::Json => console.json(&objects::whole(&sagas, story))?,
            Format::Text => {
                console.lines(&render::saga::story(&sagas, story, width))?;
                history(story, console)?;
            }
        }
        reading.tell_damage(console);
        return Ok(exit::CLEAN);
    }
    let statuses = statuses(&sagas);
    if let Some(status) = &args.status
        && !statuses.contains_key(status.as_str())
    {
        let error = CliError::new(format!("no order is {status:?} in the window"));
        let near = case::nearest::nearest(status, statuses.keys().copied());
        return Err(match near {
            Some(near) => error.hint(format!("did you mean {near}?")),
            None => error.hint("`casefile orders` says which states there are"),
        });
    }
    let mut shown: Vec<&Story> = sagas
        .stories
        .iter()
        .filter(|story| !story.order_id.is_empty() && story.last_sign() >= reading.window.from)
        .filter(|story| {
            args.status.as_ref().is_none_or(|status| {
                story
                    .current_order()
                    .is_some_and(|order| order.status == *status)
            })
        })
        .collect();
    let total = newest(&mut shown, args.limit, args.format);
    match args.format {
        Format::Json => {
            for story in &shown {
                let mut row = objects::brief(&sagas, story);
                row["ledgers"] = objects::ledgers(story);
                console.json(&row)?;
            }
            for orphan in &sagas.orphans {
                console.json(&orphan_object(orphan))?;
            }
        }
        Format::Text if total == 0 && sagas.orphans.is_empty() => {
            console.remark(if sagas.known.orders || sagas.known.journal {
                "no order is like that in the window"
            } else {
                "no ledger of orders was watched: collect with --registry URL of a system that has one"
            });
        }
        Format::Text => {
            let counts: Vec<String> = statuses
                .iter()
                .map(|(status, number)| format!("{} {status}", thousands(*number)))
                .collect();
            console.line(
                &Line::new()
                    .with(Tone::Strong, "orders")
                    .with(Tone::Dim, format!("  {}", counts.join(" · "))),
            )?;
            console.lines(&render::saga::orders(&sagas, shown.iter().copied(), width))?;
            tell_left_out(total - shown.len(), "order", console)?;
            tell_orphans(&sagas, console)?;
        }
    }
    reading.tell_damage(console);
    Ok(exit::CLEAN)
}

/// Orders without a saga: those that are young may only not have been read yet.
fn tell_orphans(sagas: &Sagas, console: &mut Console) -> Result<(), CliError> {
    let late = sagas.scaled(60.0);
    let (old, young): (Vec<&Order>, Vec<&Order>) = sagas
        .orphans
        .iter()
        .partition(|order| sagas.end.0.saturating_sub(order.created.0) > late);
    let mut say = |tone, mark: &str, orders: &[&Order], rest: &str| match orders.first() {
        None => Ok(()),
        Some(first) => {
            let number = count(orders.len() as u64, "order has", "orders have");
            let text = format!(
                "{mark} {number} no saga in the journal{rest}, such as {}",
                first.id
            );
            console.line(&Line::new().with(tone, text))
        }
    };
    say(Tone::Bad, "✗", &old, "")?;
    say(Tone::Dim, "?", &young, " that was read so far")
}

/// How many orders are in which state.
fn statuses(sagas: &Sagas) -> BTreeMap<&str, u64> {
    let mut counts = BTreeMap::new();
    for order in sagas.stories.iter().filter_map(Story::current_order) {
        *counts.entry(order.status.as_str()).or_default() += 1;
    }
    counts
}

fn history(story: &Story, console: &mut Console) -> Result<(), CliError> {
    let Some(order) = story
        .order
        .iter()
        .rev()
        .find(|order| !order.history.is_empty())
    else {
        return Ok(());
    };
    console.line(&Line::new().with(Tone::Dim, "history"))?;
    for (at, to, event, _) in &order.history {
        console.line(
            &Line::new()
                .with(Tone::Dim, format!("  {}  ", at.clock()))
                .with(Tone::Plain, format!("{to:<12}"))
                .with(Tone::Dim, event),
        )?;
    }
    Ok(())
}

fn orphan_object(order: &Order) -> serde_json::Value {
    json!({
        "order_id": order.id, "saga_id": null, "order_status": order.status,
        "failure_reason": order.reason, "total_cents": order.total, "created": order.created,
    })
}

fn orphaned(order: &Order, format: Format, console: &mut Console) -> Result<(), CliError> {
    if format == Format::Json {
        return console.json(&orphan_object(order));
    }
    console.line(
        &Line::new()
            .with(Tone::Strong, &order.id)
            .with(Tone::Plain, format!("  {}  ", order.status))
            .with(Tone::Bad, "✗ no journal knows its saga"),
    )
}
