//! The shop without the rest of the house, for its own process tests: `shop serve …` and `shop up RUN_DIR`. People use
//! `casefile shop`, which has all the switches.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use shop_fixture::config::{Ports, Profile, ShopConfig};
use shop_fixture::supervisor::{ServeCommand, UpOptions, up};
use shop_fixture::{ServeOptions, ShopError, serve};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // There is nowhere else to say it.
            let _ = writeln!(std::io::stderr(), "shop: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), ShopError> {
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let subject = words.next().unwrap_or_default();
    let rest: Vec<String> = words.collect();
    let option = |name: &str| {
        rest.iter()
            .position(|word| word == name)
            .and_then(|at| rest.get(at + 1))
            .cloned()
    };
    let number = |name: &str| {
        option(name)
            .and_then(|text| text.parse::<u16>().ok())
            .unwrap_or(0)
    };
    match command.as_str() {
        "serve" => serve(ServeOptions {
            service: subject,
            instance: number("--instance"),
            run_dir: PathBuf::from(option("--run-dir").unwrap_or_default()),
            http_port: number("--http-port"),
            grpc_port: number("--grpc-port"),
            admin_port: number("--admin-port"),
            watch_parent: rest.iter().any(|word| word == "--watch-parent"),
        }),
        "up" => run_up(PathBuf::from(subject)),
        other => Err(ShopError::Internal(format!(
            "'{other}' is neither serve nor up"
        ))),
    }
}

/// A tiny shop without telemetry, until it is asked to stop.
fn run_up(run_dir: PathBuf) -> Result<(), ShopError> {
    let internal = |error: std::io::Error| ShopError::Internal(error.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(internal)?;
    let program = std::env::current_exe().map_err(internal)?;
    let config = ShopConfig {
        profile: Profile::Tiny,
        ports: Ports::Auto,
        otlp_endpoint: None,
        ..ShopConfig::new(run_dir)
    };
    runtime.block_on(async {
        let command = ServeCommand {
            program,
            prefix: vec!["serve".to_owned()],
        };
        let shop = up(UpOptions {
            config,
            command,
            keep_data: false,
        })
        .await?;
        shop.until_asked_to_stop().await;
        shop.stop().await;
        Ok(())
    })
}
