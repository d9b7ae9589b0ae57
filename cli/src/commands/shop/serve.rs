//! `casefile shop serve`: one instance, as the supervisor starts it.

use std::path::PathBuf;

use clap::Args;
use shop_fixture::ServeOptions;

use crate::error::CliError;
use crate::exit;

#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The service to be.
    service: String,
    #[arg(long, default_value_t = 0)]
    instance: u16,
    #[arg(long)]
    run_dir: PathBuf,
    #[arg(long, default_value_t = 0)]
    http_port: u16,
    #[arg(long, default_value_t = 0)]
    grpc_port: u16,
    #[arg(long, default_value_t = 0)]
    admin_port: u16,
    /// Stop when standard input ends.
    #[arg(long)]
    watch_parent: bool,
}

pub(super) fn run(args: &ServeArgs) -> Result<u8, CliError> {
    shop_fixture::serve(ServeOptions {
        service: args.service.clone(),
        instance: args.instance,
        run_dir: args.run_dir.clone(),
        http_port: args.http_port,
        grpc_port: args.grpc_port,
        admin_port: args.admin_port,
        watch_parent: args.watch_parent,
    })?;
    Ok(exit::CLEAN)
}
