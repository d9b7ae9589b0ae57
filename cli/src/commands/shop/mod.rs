//! `casefile shop …`: the bundled shop's command line. Here is only what maps arguments to the shop's library.

mod deploy;
mod fault;
mod flags;
mod load;
mod serve;
mod up;

pub use up::serve_command;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::error::CliError;
use crate::exit;
use crate::output::Console;
use crate::paths;

#[derive(Debug, Subcommand)]
pub enum ShopCommand {
    /// Start the shop: one process per instance, until it is told to stop.
    Up(Box<up::UpArgs>),
    /// Stop the shop of a run directory.
    Down(RunDirArgs),
    /// Send checkouts through the gateway.
    Load(load::LoadArgs),
    /// Break something, mend it, or list what can be broken.
    #[command(subcommand)]
    Fault(fault::FaultCommand),
    /// Bring another release of a service out, and migrate schemas.
    #[command(subcommand)]
    Deploy(deploy::DeployCommand),
    /// List the feature flags, show one, or set one.
    Flags(flags::FlagsArgs),
    /// Run one instance; the supervisor calls this.
    #[command(hide = true)]
    Serve(serve::ServeArgs),
}

/// Where the shop keeps its run.
#[derive(Debug, Clone, Args)]
pub struct RunDirArgs {
    /// The run directory [default: shop/run under the user's state folder].
    #[arg(long, value_name = "DIR", env = "CASEFILE_SHOP_RUN_DIR")]
    run_dir: Option<PathBuf>,
}

impl RunDirArgs {
    pub fn resolve(&self) -> Result<PathBuf, CliError> {
        match &self.run_dir {
            Some(path) => std::path::absolute(path)
                .map_err(|error| CliError::io(format!("resolve {}", path.display()), &error)),
            None => Ok(paths::state()?.join("shop").join("run")),
        }
    }
}

pub fn run(command: ShopCommand, console: &mut Console) -> Result<u8, CliError> {
    match command {
        ShopCommand::Up(args) => up::run(&args, console),
        ShopCommand::Down(args) => {
            let run_dir = args.resolve()?;
            block_on(shop_fixture::supervisor::down(&run_dir))?;
            console.remark("the shop has stopped");
            Ok(exit::CLEAN)
        }
        ShopCommand::Load(args) => load::run(&args, console),
        ShopCommand::Fault(command) => fault::run(&command, console),
        ShopCommand::Deploy(command) => deploy::run(&command, console),
        ShopCommand::Flags(args) => flags::run(&args, console),
        ShopCommand::Serve(args) => serve::run(&args),
    }
}

impl From<shop_fixture::ShopError> for CliError {
    fn from(error: shop_fixture::ShopError) -> CliError {
        CliError::new(error.to_string())
    }
}

/// Runs one of the shop's futures to its end.
fn block_on<T>(
    future: impl Future<Output = Result<T, shop_fixture::ShopError>>,
) -> Result<T, CliError> {
    Ok(runtime()?.block_on(future)?)
}

fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::io("start the async runtime", &error))
}

/// A duration such as 250ms, 30s or 10m.
fn duration(text: &str) -> Result<std::time::Duration, String> {
    case::time::parse_duration(text)
        .map(std::time::Duration::from_nanos)
        .map_err(|error| error.to_string())
}
