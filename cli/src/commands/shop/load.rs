//! `casefile shop load`: traffic through the gateway.

use std::time::Duration;

use clap::Args;
use shop_fixture::config::PortsFile;
use shop_fixture::config::ShopConfig;
use shop_fixture::load::{self, HeaderForm, Hey, Journey, LoadOptions, LoadReport, Mix, Pattern};
use tokio::sync::watch;

use super::{RunDirArgs, duration, runtime};
use crate::error::CliError;
use crate::exit;
use crate::output::{Console, Format};

#[derive(Debug, Args)]
pub struct LoadArgs {
    #[command(flatten)]
    run_dir: RunDirArgs,
    /// Journey steps a second.
    #[arg(long, value_name = "NUMBER", default_value_t = 16.0)]
    rate: f64,
    /// Stop after this time [default: when interrupted].
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    how_long: Option<Duration>,
    /// What customers do: checkout (one request each), shoppers, admin.
    #[arg(long, value_name = "MIX", default_value = "checkout")]
    mix: Mix,
    /// One kind of journey alone: browse, search, cart, checkout, track, account, review, admin, ride.
    #[arg(long, value_name = "JOURNEY", conflicts_with = "mix")]
    journey: Option<Journey>,
    /// How the rate changes: steady, diurnal, spike, ramp.
    #[arg(long, value_name = "PATTERN", default_value = "steady")]
    pattern: Pattern,
    /// Send so many journeys in all, whatever rate and pattern say.
    #[arg(short = 'n', long, value_name = "NUMBER", conflicts_with_all = ["rate", "pattern"])]
    total: Option<u64>,
    /// From so many workers, each of which waits for its answers.
    #[arg(
        short = 'c',
        long,
        value_name = "NUMBER",
        requires = "total",
        default_value_t = 50
    )]
    workers: u32,
    /// Each worker begins no more than so many a second [default: as many as it can].
    #[arg(short = 'q', long, value_name = "NUMBER", requires = "total")]
    per_worker: Option<f64>,
    /// A behaviour string that every request carries, such as payment:error=503:0.5.
    #[arg(long, value_name = "STRING")]
    behavior: Option<String>,
    /// Have a second client make a third of the requests, with trace headers of another form: upper-case, short-trace-id,
    /// version-ff, version-01, flags-01, tracestate, long-tracestate, many-members.
    #[arg(long, value_name = "FORM")]
    other_client: Option<HeaderForm>,
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn run(args: &LoadArgs, console: &mut Console) -> Result<u8, CliError> {
    let run_dir = args.run_dir.resolve()?;
    let nothing_runs = |error: shop_fixture::ShopError| {
        CliError::new(format!("no shop runs in {}: {error}", run_dir.display()))
            .hint("start one with `casefile shop up`")
    };
    let ports = PortsFile::load(&run_dir).map_err(nothing_runs)?;
    let config = ShopConfig::load(&run_dir).map_err(nothing_runs)?;
    let options = LoadOptions {
        gateway: ports
            .gateway
            .ok_or_else(|| CliError::new("the shop's gateway is not up yet"))?,
        otlp_endpoint: config.otlp_endpoint,
        rate: args.rate,
        duration: args.how_long,
        seed: args.seed,
        behaviour: args.behavior.clone(),
        other_client: args.other_client,
        run_id: config.run_id,
        mix: args.journey.map_or(args.mix, Mix::Only),
        pattern: args.pattern,
        hey: args.total.map(|total| Hey {
            total,
            workers: args.workers,
            per_worker: args.per_worker,
        }),
        time_scale: config.time_scale,
    };
    let (stop, stopping) = watch::channel(false);
    let report = runtime()?.block_on(async {
        tokio::spawn(async move {
            // Without a signal handler there is nothing to wait for, and the load ends by its own time.
            if tokio::signal::ctrl_c().await.is_ok() {
                stop.send_replace(true);
            } else {
                std::future::pending::<()>().await;
            }
        });
        load::run(options, stopping).await
    })?;
    match args.format {
        Format::Text => console.text(&text(&report))?,
        Format::Json => console.json(&report)?,
    }
    Ok(exit::CLEAN)
}

fn text(report: &LoadReport) -> String {
    let by_status: Vec<String> = report
        .by_status
        .iter()
        .map(|(status, count)| match status {
            0 => format!("{count} without answer"),
            status => format!("{count} × {status}"),
        })
        .collect();
    let mut text = format!(
        "{} sent: {} · p50 {:.0} ms, p95 {:.0} ms, p99 {:.0} ms",
        report.sent,
        by_status.join(", "),
        report.p50_ms,
        report.p95_ms,
        report.p99_ms
    );
    if report.skipped > 0 {
        text.push_str(&format!(
            " · {} left out, too many were in flight",
            report.skipped
        ));
    }
    text
}
