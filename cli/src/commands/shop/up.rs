//! `casefile shop up`: starts the shop, says where everything is, and stays until told to stop.

use std::fmt::Write;

use clap::Args;
use shop_fixture::config::{
    BusTrace, DEFAULT_OTLP_ENDPOINT, Latency, Noise, Ports, Profile, Publish, RateLimit,
    RegistryAuth, RegistryProbe, Resilience, Restart, ShopConfig,
};
use shop_fixture::supervisor::{ServeCommand, Shop, UpOptions, up};

use super::{RunDirArgs, runtime};
use crate::error::CliError;
use crate::exit;
use crate::output::{Console, Format};

#[derive(Debug, Args)]
pub struct UpArgs {
    #[command(flatten)]
    run_dir: RunDirArgs,
    /// How many instances: tiny (one of each), default, full.
    #[arg(long, value_name = "PROFILE", default_value_t)]
    profile: Profile,
    /// on: breakers reject and callers retry; observe: breakers only count; off: neither.
    #[arg(long, value_name = "MODE", default_value_t)]
    resilience: Resilience,
    /// How events leave a service: outbox, direct, strict [default: outbox; direct when --resilience is not on].
    #[arg(long, value_name = "MODE")]
    publish: Option<Publish>,
    /// shopflow: sleep each service's base latency; none.
    #[arg(long, value_name = "KIND", default_value_t)]
    latency: Latency,
    /// Background errors: none, ta.
    #[arg(long, value_name = "KIND", default_value_t)]
    noise: Noise,
    /// The saga that a checkout runs.
    #[arg(long, value_name = "MODEL", default_value = "shopflow")]
    saga_model: String,
    /// fixed: the documented ports; auto: free ones, listed in ports.json.
    #[arg(long, value_name = "KIND", default_value_t)]
    ports: Ports,
    /// Which clients are rate-limited: keys, all, off.
    #[arg(long, value_name = "WHOM", default_value_t)]
    rate_limit: RateLimit,
    /// Whether a delivered event links to its producer's trace or continues it: link, child.
    #[arg(long, value_name = "HOW", default_value_t)]
    bus_trace: BusTrace,
    /// Whether an instance that ended abnormally is started again: on-failure, never.
    #[arg(long, value_name = "WHEN", default_value_t)]
    restart: Restart,
    /// What the registry does beside listening to heartbeats: off, confirm (ask before expiry), active (probe always).
    #[arg(long, value_name = "HOW", default_value_t)]
    registry_probe: RegistryProbe,
    /// Divide registry and retry intervals by this.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    time_scale: f64,
    /// Seeds every random choice.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,
    /// Let no telemetry, header or answer give an injected fault away.
    #[arg(long)]
    blind: bool,
    /// Let baggage of the shop's own come in from outside.
    #[arg(long)]
    trust_baggage: bool,
    /// Refuse GET /api/v1/checkout, which demonstrations use.
    #[arg(long)]
    no_demo_get: bool,
    /// How many registry nodes run, each with the whole table.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    registry_nodes: u16,
    /// Whether the registry takes changes from callers without a token: open, required.
    #[arg(long, value_name = "WHO", default_value_t)]
    registry_auth: RegistryAuth,
    /// Go on with the stores of the last run.
    #[arg(long)]
    keep_data: bool,
    /// Where telemetry goes (OTLP over gRPC); `none` keeps it in the log files.
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT", default_value = DEFAULT_OTLP_ENDPOINT)]
    otlp_endpoint: String,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

impl UpArgs {
    fn config(&self) -> Result<ShopConfig, CliError> {
        let publish = self
            .publish
            .unwrap_or(if self.resilience == Resilience::On {
                Publish::Outbox
            } else {
                Publish::Direct
            });
        Ok(ShopConfig {
            profile: self.profile,
            resilience: self.resilience,
            publish,
            latency: self.latency,
            noise: self.noise,
            ports: self.ports,
            rate_limit: self.rate_limit,
            bus_trace: self.bus_trace,
            restart: self.restart,
            registry_probe: self.registry_probe,
            saga_model: self.saga_model.clone(),
            blind: self.blind,
            trust_baggage: self.trust_baggage,
            demo_get: !self.no_demo_get,
            registry_nodes: self.registry_nodes,
            registry_auth: self.registry_auth,
            seed: self.seed,
            time_scale: self.time_scale,
            otlp_endpoint: (self.otlp_endpoint != "none").then(|| self.otlp_endpoint.clone()),
            ..ShopConfig::new(self.run_dir.resolve()?)
        })
    }
}

pub(super) fn run(args: &UpArgs, console: &mut Console) -> Result<u8, CliError> {
    let config = args.config()?;
    let command = serve_command()?;
    let runtime = runtime()?;
    console.remark("starting the shop");
    runtime.block_on(async {
        // Asked for before the start, so that an impatient Ctrl-C still ends in order.
        let mut terminate =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
                .map_err(|error| CliError::io("listen for signals", &error))?;
        let starting = up(UpOptions {
            config,
            command,
            keep_data: args.keep_data,
        });
        let shop = tokio::select! {
            shop = starting => shop?,
            _ = tokio::signal::ctrl_c() => return Ok(exit::CLEAN),
            _ = terminate.recv() => return Ok(exit::CLEAN),
        };
        match args.format {
            Format::Text => console.text(&summary(&shop))?,
            Format::Json => console.json(&shop.summary())?,
        }
        console.flush()?;
        tokio::select! {
            () = shop.until_asked_to_stop() => {}
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        console.remark("stopping the shop");
        shop.stop().await;
        Ok(exit::CLEAN)
    })
}

/// How instances are spawned: this very binary again.
pub fn serve_command() -> Result<ServeCommand, CliError> {
    let program = std::env::current_exe()
        .map_err(|error| CliError::io("find the running executable", &error))?;
    Ok(ServeCommand {
        program,
        prefix: vec!["shop".to_owned(), "serve".to_owned()],
    })
}

/// What runs, where, and how to break it.
fn summary(shop: &Shop) -> String {
    let ports = shop.ports();
    let mut text = String::new();
    let listed = ports.instances.len();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "the shop is open: {listed} instances");
    for (what, url) in [
        ("gateway", ports.gateway.as_deref()),
        ("registry", ports.registry.as_deref()),
        ("supervisor", Some(ports.supervisor.as_str())),
    ] {
        let _ = writeln!(text, "  {what:<11} {}", url.unwrap_or("-"));
    }
    let _ = writeln!(
        text,
        "  {:<11} {}",
        "run folder",
        shop.config().run_dir.display()
    );
    let gateway = ports.gateway.as_deref().unwrap_or_default();
    let _ = writeln!(
        text,
        "\nbuy something   curl -X POST {gateway}/api/v1/checkout"
    );
    let _ = writeln!(
        text,
        "slow it down    curl -X POST '{gateway}/api/v1/checkout?behavior=payment:latency=1s'"
    );
    let _ = writeln!(text, "steady load     casefile shop load");
    let _ = write!(text, "break it        casefile shop fault list");
    text
}
