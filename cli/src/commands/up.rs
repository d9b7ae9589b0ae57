//! `casefile up`: the whole thing. The shop, load on it, collectors into a case, and the workbench on top; without a
//! terminal, or with `--headless`, the diagnosis at the end instead.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use analyzers::engine;
use analyzers::evidence::Evidence;
use analyzers::rules;
use case::{Case, Window};
use clap::Args;
use collectors::scrape::ScrapeOptions;
use collectors::watch::WatchOptions;
use shop_fixture::config::{Ports, Profile, ShopConfig};
use shop_fixture::load::LoadOptions;

use super::collect::duration;
use super::diagnose::VerdictArgs;
use super::open::settings;
use crate::collecting;
use crate::error::CliError;
use crate::exit;
use crate::output::{Console, Format};
use crate::paths;
use crate::reading::threads;
use crate::render::report::{self, Shown, object};
use crate::staging::{Staged, Staging};
use crate::tui;
use crate::tui::theme::Settings;
use crate::tui::work::Shop;

#[derive(Debug, Args)]
pub struct UpArgs {
    /// The case to collect into [default: a new one in the data folder].
    #[arg(value_name = "CASE")]
    path: Option<PathBuf>,
    /// The same, as an option.
    #[arg(long, value_name = "PATH", conflicts_with = "path")]
    case: Option<PathBuf>,
    /// No workbench: run, then print the diagnosis.
    #[arg(long)]
    headless: bool,
    /// Stop by itself after this time [default: when told to; 30s without a terminal].
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    run_for: Option<Duration>,
    /// How many instances of each service: tiny (one of each), default, full.
    #[arg(long, value_name = "PROFILE", default_value_t)]
    profile: Profile,
    /// The shop's own files [default: beside the case, in CASE.shop].
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Requests a second.
    #[arg(long, value_name = "NUMBER", default_value_t = 16.0)]
    rate: f64,
    /// Divide the shop's registry and retry intervals by this.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    time_scale: f64,
    /// Seeds every random choice.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    verdict: VerdictArgs,
    /// How the diagnosis is printed.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// How long a run without terminal and without `--for` takes.
const HEADLESS_RUN: Duration = Duration::from_secs(30);

pub fn run(args: &UpArgs, console: &mut Console) -> Result<u8, CliError> {
    let headless = args.headless || !std::io::stdout().is_terminal();
    let path = match args.path.as_ref().or(args.case.as_ref()) {
        Some(path) => path.clone(),
        None => paths::new_case("up", case::writer::wall_clock())?,
    };
    // What is wrong with them is said before a shop is started.
    let settings = settings(None, None)?;
    let runtime = collecting::runtime()?;
    let outcome = runtime.block_on(async {
        let running = tokio::select! {
            running = start(args, &path, console) => running?,
            asked = collecting::asked_to_stop() => {
                asked?;
                return Err(CliError::new("stopped before the shop was ready"));
            }
        };
        let waited = if headless {
            wait(args.run_for.unwrap_or(HEADLESS_RUN), &running).await
        } else {
            look(&path, args.run_for, &run_dir(args, &path), settings).await
        };
        console.remark("stopping the shop");
        let stopped = running.stop().await.map(drop);
        waited.and(stopped)
    });
    outcome?;
    if !headless {
        console.remark(&format!("the case stays at {}", path.display()));
        return Ok(exit::CLEAN);
    }
    let case = Case::open(&path)?;
    let evidence = Evidence::gather_on(&case, Window::ALL, threads())?;
    let report = engine::diagnose(&evidence, &rules::ALL);
    let shown = Shown::whole(&report);
    match args.format {
        Format::Text => console.lines(&report::lines(&shown, console.drawing_width()))?,
        Format::Json => console.json(&object::ReportObject::of(&shown))?,
    }
    Ok(args.verdict.code(&shown, !case.damage().is_empty()))
}

fn run_dir(args: &UpArgs, path: &std::path::Path) -> PathBuf {
    args.run_dir
        .clone()
        .unwrap_or_else(|| path.with_extension("shop"))
}

async fn start(
    args: &UpArgs,
    path: &std::path::Path,
    console: &Console,
) -> Result<Staged, CliError> {
    let run_dir = run_dir(args, path);
    let config = ShopConfig {
        profile: args.profile,
        ports: Ports::Auto,
        seed: args.seed,
        time_scale: args.time_scale,
        ..ShopConfig::new(
            std::path::absolute(&run_dir)
                .map_err(|error| CliError::io(format!("resolve {}", run_dir.display()), &error))?,
        )
    };
    let staged = Staged::start(
        Staging {
            case: path.to_owned(),
            config,
            load: LoadOptions {
                rate: args.rate,
                seed: args.seed,
                ..LoadOptions::new(String::new())
            },
            watch: WatchOptions::default(),
            scrape: ScrapeOptions::default(),
        },
        &|step| console.remark(step),
    )
    .await?;
    paths::remember_case(path);
    console.remark(&format!(
        "the shop is open at {}; its files are in {}",
        staged.gateway,
        run_dir.display()
    ));
    Ok(staged)
}

/// Lets it run for a while, or until somebody asks it to stop.
async fn wait(time: Duration, running: &Staged) -> Result<(), CliError> {
    tokio::select! {
        () = tokio::time::sleep(time) => Ok(()),
        () = running.shop.until_asked_to_stop() => Ok(()),
        asked = collecting::asked_to_stop() => asked,
    }
}

/// The workbench, on a thread of its own, while the collectors go on.
async fn look(
    path: &std::path::Path,
    run_for: Option<Duration>,
    run_dir: &std::path::Path,
    settings: Settings,
) -> Result<(), CliError> {
    let (path, run_dir) = (path.to_owned(), run_dir.to_owned());
    let look = move || {
        let options = tui::Options {
            settings,
            run_for,
            shop: Shop::in_folder(&run_dir),
            remember: false,
        };
        tui::run(&path, options)
    };
    tokio::task::spawn_blocking(look)
        .await
        .map_err(|error| CliError::new(format!("the workbench failed: {error}")))?
}
