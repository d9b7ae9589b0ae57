//! `casefile shop fault`: breaking a running shop, and mending it.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use shop_fixture::fault;
use shop_fixture::faults::{FaultRequest, Target, kinds};

use super::{RunDirArgs, block_on, duration};
use crate::error::CliError;
use crate::exit;
use crate::output::{Console, Format};

#[derive(Debug, Subcommand)]
pub enum FaultCommand {
    /// List every kind of fault in a sentence.
    List(ListArgs),
    /// Switch a fault on.
    Start(StartArgs),
    /// List the faults that are on.
    Active(ActiveArgs),
    /// Switch one fault off, or all of them.
    Stop(StopArgs),
}

#[derive(Debug, Args)]
pub struct ListArgs {
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, Args)]
pub struct StartArgs {
    /// The kind, as `shop fault list` names it.
    kind: String,
    /// The service, or one instance of it: payment or payment:1.
    target: String,
    /// A parameter of the kind; may be given more than once.
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parameter)]
    params: Vec<(String, Value)>,
    /// How long it stays on [default: five minutes of the shop's time].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    ttl: Option<Duration>,
    /// Switch it on this much later.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    after: Option<Duration>,
    /// Start the instance again with the fault on, so that it is there before the first thing the process does.
    #[arg(long)]
    from_start: bool,
    #[command(flatten)]
    run_dir: RunDirArgs,
}

#[derive(Debug, Args)]
pub struct ActiveArgs {
    #[command(flatten)]
    run_dir: RunDirArgs,
}

#[derive(Debug, Args)]
pub struct StopArgs {
    /// The fault's id, as `start` printed it; without it, all end.
    id: Option<String>,
    #[command(flatten)]
    run_dir: RunDirArgs,
}

pub(super) fn run(command: &FaultCommand, console: &mut Console) -> Result<u8, CliError> {
    match command {
        FaultCommand::List(args) => list(args, console)?,
        FaultCommand::Start(args) => {
            let request = request(args)?;
            let run_dir = args.run_dir.resolve()?;
            console.json(&block_on(fault::start(&run_dir, &request))?)?;
        }
        FaultCommand::Active(args) => {
            let run_dir = args.run_dir.resolve()?;
            console.json(&block_on(fault::active(&run_dir))?)?;
        }
        FaultCommand::Stop(args) => {
            let run_dir = args.run_dir.resolve()?;
            console.json(&block_on(fault::stop(&run_dir, args.id.as_deref()))?)?;
        }
    }
    Ok(exit::CLEAN)
}

fn list(args: &ListArgs, console: &mut Console) -> Result<(), CliError> {
    match args.format {
        Format::Json => {
            for kind in kinds() {
                let line = json!({
                    "kind": kind.name, "params": kind.params_text(), "only_on": kind.services, "what": kind.sentence,
                });
                console.json(&line)?;
            }
        }
        Format::Text => {
            for kind in kinds() {
                console.text(&format!("{:<24} {}", kind.name, kind.sentence))?;
                if !kind.params.is_empty() {
                    console.text(&format!("{:<24} --param {}", "", kind.params_text()))?;
                }
                if !kind.services.is_empty() {
                    console.text(&format!("{:<24} only on {}", "", kind.services.join(", ")))?;
                }
            }
        }
    }
    Ok(())
}

fn request(args: &StartArgs) -> Result<FaultRequest, CliError> {
    let (service, instance) = match args.target.split_once(':') {
        None => (args.target.clone(), None),
        Some((service, instance)) => {
            let number = instance.parse().map_err(|_| {
                CliError::new(format!("'{instance}' is no instance number"))
                    .hint("name one instance as service:number, such as payment:1")
            })?;
            (service.to_owned(), Some(number))
        }
    };
    let params: Map<String, Value> = args.params.iter().cloned().collect();
    Ok(FaultRequest {
        target: Target { service, instance },
        params: Value::Object(params),
        ttl_s: args.ttl.map(|ttl| ttl.as_secs_f64()),
        after_s: args.after.map(|after| after.as_secs_f64()),
        from_start: args.from_start,
        ..FaultRequest::new(&args.kind, "")
    })
}

/// `name=value`, the value a number or truth where it reads as one.
fn parameter(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("'{text}' is not of the form name=value"))?;
    let value = match serde_json::from_str(value) {
        Ok(value @ (Value::Number(_) | Value::Bool(_))) => value,
        _ => Value::String(value.to_owned()),
    };
    Ok((name.to_owned(), value))
}
