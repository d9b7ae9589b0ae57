//! The bundled shop with load on it and collectors around it, started and stopped together. `up` shows it to a person,
//! `drill` breaks it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use case::WriterOptions;
use collectors::otlp::receiver::ReceiverOptions;
use collectors::scrape::ScrapeOptions;
use collectors::watch::WatchOptions;
use shop_fixture::config::ShopConfig;
use shop_fixture::load::{self, LoadOptions, LoadReport};
use shop_fixture::supervisor::{self, Shop, UpOptions};

use crate::collecting::{Collecting, Plan};
use crate::error::CliError;

/// What to stage.
pub struct Staging {
    pub case: PathBuf,
    /// Its telemetry goes to the collectors, whatever is said here.
    pub config: ShopConfig,
    /// Where the load goes and what it sends its own spans to is filled in.
    pub load: LoadOptions,
    /// How often to look; whom to look at is filled in.
    pub watch: WatchOptions,
    pub scrape: ScrapeOptions,
}

/// The shop, its load and the collectors while they run.
pub struct Staged {
    pub shop: Shop,
    pub gateway: String,
    collecting: Collecting,
    load: tokio::task::JoinHandle<Result<LoadReport, shop_fixture::ShopError>>,
    stop_load: tokio::sync::watch::Sender<bool>,
}

impl Staged {
    /// Starts collectors, shop and load, in this order. `tell` is told of each step.
    pub async fn start(staging: Staging, tell: &dyn Fn(&str)) -> Result<Staged, CliError> {
        let any_port = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let mut collecting = Collecting::start(Plan {
            case: staging.case,
            writer: WriterOptions::default(),
            receiver: ReceiverOptions {
                grpc: any_port,
                http: any_port,
                ..ReceiverOptions::default()
            },
            watch: None,
            scrape: None,
        })
        .await?;
        tell(&format!(
            "collecting into {}",
            collecting.ready.case.display()
        ));
        let endpoint = collecting
            .ready
            .otlp_grpc
            .as_ref()
            .map(|at| format!("http://{at}"));
        let config = ShopConfig {
            otlp_endpoint: endpoint.clone(),
            ..staging.config
        };
        let (run_id, time_scale) = (config.run_id.clone(), config.time_scale);
        tell("starting the shop");
        let shop = supervisor::up(UpOptions {
            config,
            command: crate::commands::shop::serve_command()?,
            keep_data: false,
        })
        .await?;
        let ports = shop.ports();
        collecting.watch(
            Some(WatchOptions {
                registry: ports.registry.clone(),
                debug: Some(ports.supervisor.clone()),
                ..staging.watch
            }),
            Some(staging.scrape),
        )?;
        let gateway = ports
            .gateway
            .ok_or_else(|| CliError::new("the shop has no gateway to send load through"))?;
        let (stop_load, stopping) = tokio::sync::watch::channel(false);
        let load = tokio::spawn(load::run(
            LoadOptions {
                gateway: gateway.clone(),
                otlp_endpoint: endpoint,
                run_id,
                time_scale,
                ..staging.load
            },
            stopping,
        ));
        Ok(Staged {
            shop,
            gateway,
            collecting,
            load,
            stop_load,
        })
    }

    /// Ends load, shop and collectors, in this order: what the shop says as it leaves is still collected.
    pub async fn stop(self) -> Result<LoadReport, CliError> {
        self.stop_load.send_replace(true);
        let load = match self.load.await {
            Ok(Ok(report)) => Ok(report),
            Ok(Err(error)) => Err(CliError::from(error)),
            Err(error) => Err(CliError::new(format!("the load failed: {error}"))),
        };
        self.shop.stop().await;
        self.collecting.stop().await.and(load)
    }
}
