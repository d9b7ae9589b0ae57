//! `casefile map`: services with their rates, errors and durations, and who calls whom.

use std::path::PathBuf;

use analyzers::map::{Node, ServiceMap};
use analyzers::objectives::{self, Objectives, Verdicts};
use case::Window;
use case::filter::SpanFilter;
use clap::Args;
use serde::Serialize;

use super::filtering::SpanFilterArgs;
use crate::args::{CaseArgs, WindowArgs};
use crate::error::CliError;
use crate::exit;
use crate::output::{Console, Format};
use crate::reading::Reading;
use crate::render;
use crate::views;

/// Stretches a window is cut into for charts.
const SLOTS: usize = 48;

#[derive(Debug, Args)]
pub struct MapArgs {
    #[command(flatten)]
    case: CaseArgs,
    #[command(flatten)]
    window: WindowArgs,
    /// Filters choose traces: those with such a span are mapped whole.
    #[command(flatten)]
    filter: SpanFilterArgs,
    /// Only this service: its operations, versions, callers and callees.
    #[arg(long, value_name = "SERVICE")]
    node: Option<String>,
    /// A better time to compare with.
    #[arg(long, value_name = "A..B")]
    baseline: Option<String>,
    /// Alert thresholds and objectives to hold the window against, as TOML [default: those of the bundled shop].
    #[arg(long, value_name = "FILE")]
    objectives: Option<PathBuf>,
    /// Print the thresholds and objectives that are used, to be copied and changed.
    #[arg(long, conflicts_with_all = ["node", "baseline", "objectives"])]
    show_objectives: bool,
    /// Print the JSON schema of such a file.
    #[arg(long, conflicts_with_all = ["node", "baseline", "objectives", "show_objectives"])]
    show_schema: bool,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Serialize)]
struct MapObject<'a> {
    #[serde(flatten)]
    map: &'a ServiceMap,
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline: Option<&'a ServiceMap>,
    alerts: &'a Verdicts,
}

#[derive(Serialize)]
struct NodeObject<'a> {
    window: Window,
    #[serde(flatten)]
    node: &'a Node,
    called_by: Vec<&'a analyzers::map::Edge>,
    calls: Vec<&'a analyzers::map::Edge>,
}

pub fn run(args: &MapArgs, console: &mut Console) -> Result<u8, CliError> {
    if args.show_objectives || args.show_schema {
        let text = if args.show_schema {
            objectives::SCHEMA
        } else {
            objectives::SHOP
        };
        console.bytes(text.as_bytes())?;
        return Ok(exit::CLEAN);
    }
    let filter = args.filter.filter()?;
    let bounds = bounds(args.objectives.as_deref())?;
    let reading = Reading::open(&args.case, &args.window, console)?;
    reading.check_services(&filter.services())?;
    let gather = views::map(&reading.case, reading.window, &filter)?;
    let series = gather.series(bounds.slot);
    let map = gather.settle(SLOTS);
    let baseline = match &args.baseline {
        Some(text) => Some(baseline(&reading, text, &filter)?),
        None => None,
    };
    let judged = objectives::judge(&bounds, &map, &series, baseline.as_ref());
    match (&args.node, args.format) {
        (Some(name), format) => {
            let node = node(&map, name)?;
            match format {
                Format::Json => console.json(&NodeObject {
                    window: map.window,
                    node,
                    called_by: map.into_node(&node.name).collect(),
                    calls: map.out_of(&node.name).collect(),
                })?,
                Format::Text => {
                    let width = console.list_width();
                    let lines = render::map::detail(&map, node, baseline.as_ref(), width);
                    console.lines(&lines)?;
                }
            }
        }
        (None, Format::Json) => console.json(&MapObject {
            map: &map,
            baseline: baseline.as_ref(),
            alerts: &judged,
        })?,
        (None, Format::Text) if map.spans == 0 => console.remark("no spans in the window"),
        (None, Format::Text) => {
            let width = console.list_width();
            // Objectives of a system that this is not would only be in the way, unless they were asked for.
            let fits = args.objectives.is_some() || !judged.objectives.is_empty();
            let lines = render::map::lines(&map, baseline.as_ref(), fits.then_some(&judged), width);
            console.lines(&lines)?;
        }
    }
    reading.tell_damage(console);
    Ok(exit::CLEAN)
}

/// The thresholds of a file, or those that ship.
fn bounds(file: Option<&std::path::Path>) -> Result<Objectives, CliError> {
    let (name, text) = match file {
        None => (
            "the bundled objectives".to_owned(),
            objectives::SHOP.to_owned(),
        ),
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .map_err(|error| CliError::io(format!("read {}", file.display()), &error))?;
            (file.display().to_string(), text)
        }
    };
    Objectives::parse(&text).map_err(|faults| {
        let all: Vec<String> = faults.iter().map(ToString::to_string).collect();
        CliError::new(format!("{name}: {}", all.join("; ")))
            .hint("`casefile map --show-objectives` prints a file that is right, --show-schema its schema")
    })
}

fn baseline(reading: &Reading, text: &str, filter: &SpanFilter) -> Result<ServiceMap, CliError> {
    let window = Window::parse(text, reading.now)?;
    let map = views::map(&reading.case, window, filter)?.settle(1);
    if map.spans == 0 {
        return Err(CliError::new(format!("no spans in the baseline {text}"))
            .hint("a baseline is a window of the same case, such as 60m..30m before its end"));
    }
    Ok(map)
}

fn node<'a>(map: &'a ServiceMap, name: &str) -> Result<&'a Node, CliError> {
    map.node(name).ok_or_else(|| {
        let error = CliError::new(format!("no service or store {name:?} in the window"));
        let names = map.nodes.iter().map(|node| node.name.as_str());
        match case::nearest::nearest(name, names) {
            Some(near) => error.hint(format!("did you mean {near}?")),
            None => error.hint("`casefile map` lists them"),
        }
    })
}
