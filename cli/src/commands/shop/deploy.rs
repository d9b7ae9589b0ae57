//! `casefile shop deploy`: bringing another release of a service out, watching it, sending it back; and the steps of a
//! schema's migration.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;
use shop_fixture::deploy::{self, DeployRequest, MigrateRequest, MigrationPhase, Strategy};

use super::{RunDirArgs, block_on};
use crate::error::CliError;
use crate::exit;
use crate::output::{Console, Format};

#[derive(Debug, Subcommand)]
pub enum DeployCommand {
    /// Bring a release out, as a canary or by switching colours.
    Start(StartArgs),
    /// Show the deployments of the run, or one of them with its history.
    Status(StatusArgs),
    /// Send a deployment back.
    Rollback(IdArgs),
    /// Make a deployment that has all the traffic permanent.
    Finish(IdArgs),
    /// Take a step of a service's schema migration.
    Migrate(MigrateArgs),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Way {
    Canary,
    BlueGreen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Phase {
    /// New columns, which nobody has to fill.
    Expand,
    /// Copy the old columns into them.
    Backfill,
    /// Take the old columns away.
    Contract,
}

#[derive(Debug, Args)]
#[command(disable_version_flag = true)]
pub struct StartArgs {
    /// The service, such as payment.
    service: String,
    /// The version of the release.
    version: String,
    #[arg(long, value_enum, default_value = "canary")]
    strategy: Way,
    /// How a canary grows: capstone, short or cloudscale [default: capstone].
    #[arg(long)]
    plan: Option<String>,
    /// What the release does to every request, as a behaviour string.
    #[arg(long, default_value = "")]
    behavior: String,
    /// The level of the schema that the release needs: 1 the old columns, 2 both, 3 the new ones.
    #[arg(long, default_value_t = 1)]
    schema_level: u32,
    #[command(flatten)]
    run_dir: RunDirArgs,
}

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The deployment's id, as `start` printed it.
    id: Option<String>,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    #[command(flatten)]
    run_dir: RunDirArgs,
}

#[derive(Debug, Args)]
pub struct IdArgs {
    /// The deployment's id, as `start` printed it.
    id: String,
    #[command(flatten)]
    run_dir: RunDirArgs,
}

#[derive(Debug, Args)]
pub struct MigrateArgs {
    /// The service, such as payment.
    service: String,
    #[arg(value_enum)]
    phase: Phase,
    #[command(flatten)]
    run_dir: RunDirArgs,
}

pub(super) fn run(command: &DeployCommand, console: &mut Console) -> Result<u8, CliError> {
    match command {
        DeployCommand::Start(args) => {
            let run_dir = args.run_dir.resolve()?;
            console.json(&block_on(deploy::start(&run_dir, &request(args)))?)?;
        }
        DeployCommand::Status(args) => status(args, console)?,
        DeployCommand::Rollback(args) => {
            let run_dir = args.run_dir.resolve()?;
            console.json(&block_on(deploy::roll_back(&run_dir, &args.id))?)?;
        }
        DeployCommand::Finish(args) => {
            let run_dir = args.run_dir.resolve()?;
            console.json(&block_on(deploy::finish(&run_dir, &args.id))?)?;
        }
        DeployCommand::Migrate(args) => {
            let run_dir = args.run_dir.resolve()?;
            let asked = MigrateRequest {
                service: args.service.clone(),
                phase: match args.phase {
                    Phase::Expand => MigrationPhase::Expand,
                    Phase::Backfill => MigrationPhase::Backfill,
                    Phase::Contract => MigrationPhase::Contract,
                },
            };
            console.json(&block_on(deploy::migrate(&run_dir, &asked))?)?;
        }
    }
    Ok(exit::CLEAN)
}

fn request(args: &StartArgs) -> DeployRequest {
    DeployRequest {
        service: args.service.clone(),
        version: args.version.clone(),
        strategy: match args.strategy {
            Way::Canary => Strategy::Canary,
            Way::BlueGreen => Strategy::BlueGreen,
        },
        plan: args.plan.clone(),
        behavior: args.behavior.clone(),
        schema_level: args.schema_level,
        proto_level: 1,
    }
}

fn status(args: &StatusArgs, console: &mut Console) -> Result<(), CliError> {
    let run_dir = args.run_dir.resolve()?;
    let shown = block_on(deploy::show(&run_dir, args.id.as_deref()))?;
    let rows = match &shown {
        Value::Array(rows) => rows.clone(),
        one => vec![one.clone()],
    };
    for row in &rows {
        match args.format {
            Format::Json => console.json(row)?,
            Format::Text => {
                console.text(&line(row))?;
                if args.id.is_some() {
                    for entry in row["history"].as_array().into_iter().flatten() {
                        console.text(&step(entry))?;
                    }
                }
            }
        }
    }
    if rows.is_empty() {
        console.remark("nothing was deployed in this run");
    }
    Ok(())
}

fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap_or_default()
}

fn percent(row: &Value) -> u64 {
    row["canary_percent"].as_u64().unwrap_or(0)
}

fn line(row: &Value) -> String {
    format!(
        "{}  {} {} ({})  {}, {}, {}% canary",
        text(row, "deployment_id"),
        text(row, "service"),
        text(row, "version"),
        text(row, "strategy"),
        text(row, "state"),
        text(row, "phase"),
        percent(row),
    )
}

fn step(entry: &Value) -> String {
    format!(
        "  {}  {:<12} {:<10} {:>3}%  {}",
        text(entry, "at"),
        text(entry, "state"),
        text(entry, "phase"),
        percent(entry),
        text(entry, "why"),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_deployment_is_told_in_a_line_and_its_history_below() {
        let row = json!({
            "deployment_id": "dep_1", "service": "payment", "version": "1.1.0", "strategy": "canary",
            "state": "rolled_back", "phase": "rollback", "canary_percent": 0,
        });
        assert_eq!(
            line(&row),
            "dep_1  payment 1.1.0 (canary)  rolled_back, rollback, 0% canary"
        );
        let entry = json!({ "at": "t", "state": "running", "phase": "phase 1", "canary_percent": 5, "why": "advances" });
        assert_eq!(step(&entry), "  t  running      phase 1      5%  advances");
    }
}
