//! `casefile collect`: receives, scrapes and watches into a case until it is told to stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use case::writer::{SealMode, WriterOptions};
use clap::{Args, ValueEnum};
use collectors::fetch::Reach;
use collectors::otlp::receiver::{Limits, ReceiverOptions, TlsFiles};
use collectors::scrape::{ScrapeOptions, Target};
use collectors::watch::WatchOptions;

use crate::collecting::{self, Collecting, Plan};
use crate::error::CliError;
use crate::exit;
use crate::output::Console;
use crate::paths;

#[derive(Debug, Args)]
pub struct CollectArgs {
    /// The case to collect into; made if there is none [default: a new one in the data folder].
    #[arg(value_name = "CASE")]
    path: Option<PathBuf>,
    /// The same, as an option.
    #[arg(long, value_name = "PATH", conflicts_with = "path")]
    case: Option<PathBuf>,
    /// Address for OTLP over gRPC; port 0 picks one, `off` listens nowhere.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4317", value_parser = address)]
    otlp_grpc: Listen,
    /// Address for OTLP over HTTP; port 0 picks one, `off` listens nowhere.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4318", value_parser = address)]
    otlp_http: Listen,
    /// Watch the service registry at this URL, and scrape what it lists.
    #[arg(long, value_name = "URL")]
    registry: Option<String>,
    /// Watch sagas and ledgers at this debug API.
    #[arg(long, value_name = "URL")]
    debug_api: Option<String>,
    /// Scrape this Prometheus or OpenMetrics page; may be given as service=URL, and more than once.
    #[arg(long, value_name = "URL", num_args = 1..)]
    scrape: Vec<Target>,
    /// Time between two scrapes of a page.
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = duration)]
    scrape_interval: Duration,
    /// Let a registry send the watcher and the scraper beyond this machine.
    #[arg(long)]
    registry_anywhere: bool,
    /// When what was received becomes segments: in the background, or not before `casefile seal`.
    #[arg(long, value_enum, default_value = "auto")]
    seal: Seal,
    /// Write the addresses as JSON into this file once everything listens.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Stop by itself after this time.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    run_for: Option<Duration>,
    /// Ask every sender for the bearer token in this file [default: $CASEFILE_TOKEN, if set].
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Serve TLS with this certificate chain (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The key of the certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Listen beyond this machine although token or TLS is missing.
    #[arg(long)]
    insecure: bool,
    /// Largest request as it is sent.
    #[arg(long, value_name = "BYTES", default_value = "64MiB", value_parser = size)]
    max_request: usize,
    /// Largest request once it is decompressed.
    #[arg(long, value_name = "BYTES", default_value = "64MiB", value_parser = size)]
    max_decoded: usize,
    /// Bytes of all requests in flight, before senders are told to come back.
    #[arg(long, value_name = "BYTES", default_value = "128MiB", value_parser = size)]
    max_in_flight: usize,
    /// Connections at once.
    #[arg(long, value_name = "COUNT", default_value_t = Limits::default().connections)]
    max_connections: usize,
    /// Drop the oldest segments when the case grows beyond this size.
    #[arg(long, value_name = "BYTES", value_parser = size)]
    retain: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Seal {
    Auto,
    Manual,
}

/// Where to listen, if anywhere.
#[derive(Debug, Clone, Copy)]
struct Listen(Option<SocketAddr>);

fn address(text: &str) -> Result<Listen, String> {
    if text == "off" {
        return Ok(Listen(None));
    }
    text.parse()
        .map(|address| Listen(Some(address)))
        .map_err(|_| "an address is an IP address and a port, such as 127.0.0.1:4317".to_owned())
}

/// A duration argument.
pub fn duration(text: &str) -> Result<Duration, String> {
    case::time::parse_duration(text)
        .map(Duration::from_nanos)
        .map_err(|error| error.to_string())
}

/// A number of bytes: plain, or with KiB, MiB, GiB, TiB (KB, MB, GB and TB count in thousands).
pub fn size(text: &str) -> Result<usize, String> {
    const UNITS: [(&str, u64); 10] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("B", 1),
        ("", 1),
    ];
    let unreadable = || format!("{text:?} is no size such as 64MiB or 10GB");
    let unit_at = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().map_err(|_| unreadable())?;
    let scale = UNITS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()))
        .map(|(_, scale)| *scale)
        .ok_or_else(unreadable)?;
    number
        .checked_mul(scale)
        .and_then(|bytes| usize::try_from(bytes).ok())
        .ok_or_else(|| format!("{text:?} is more than this machine can count"))
}

impl CollectArgs {
    fn token(&self) -> Result<Option<String>, CliError> {
        if let Some(path) = &self.token_file {
            let text = std::fs::read_to_string(path).map_err(|error| {
                CliError::io(format!("read the token in {}", path.display()), &error)
            })?;
            return Ok(Some(text.trim().to_owned()));
        }
        Ok(std::env::var("CASEFILE_TOKEN")
            .ok()
            .filter(|token| !token.is_empty()))
    }

    fn plan(&self) -> Result<Plan, CliError> {
        let case = match self.path.as_ref().or(self.case.as_ref()) {
            Some(path) => path.clone(),
            None => paths::new_case("collect", case::writer::wall_clock())?,
        };
        let reach = if self.registry_anywhere {
            Reach::Anywhere
        } else {
            Reach::Loopback
        };
        let watch = (self.registry.is_some() || self.debug_api.is_some()).then(|| WatchOptions {
            registry: self.registry.clone(),
            debug: self.debug_api.clone(),
            reach,
            ..WatchOptions::default()
        });
        let scrape = (!self.scrape.is_empty() || self.registry.is_some()).then(|| ScrapeOptions {
            targets: self.scrape.clone(),
            interval: self.scrape_interval,
            timeout: ScrapeOptions::default().timeout.min(self.scrape_interval),
            registry_reach: reach,
            ..ScrapeOptions::default()
        });
        let receiver = ReceiverOptions {
            grpc: self.otlp_grpc.0,
            http: self.otlp_http.0,
            limits: Limits {
                request_bytes: self.max_request,
                decoded_bytes: self.max_decoded,
                in_flight_bytes: self.max_in_flight,
                connections: self.max_connections,
            },
            token: self.token()?,
            tls: self
                .tls_cert
                .clone()
                .zip(self.tls_key.clone())
                .map(|(certificates, key)| TlsFiles { certificates, key }),
            insecure: self.insecure,
            ..ReceiverOptions::default()
        };
        if receiver.grpc.is_none() && receiver.http.is_none() && watch.is_none() && scrape.is_none()
        {
            return Err(CliError::new("nothing to collect: both OTLP listeners are off, and there is no registry, debug API or page")
                .hint("leave --otlp-grpc or --otlp-http on, or give --registry, --debug-api or --scrape"));
        }
        Ok(Plan {
            case,
            writer: WriterOptions {
                seal: match self.seal {
                    Seal::Auto => SealMode::Auto,
                    Seal::Manual => SealMode::Manual,
                },
                retain_bytes: self.retain.map(|bytes| bytes as u64),
                ..WriterOptions::default()
            },
            receiver,
            watch,
            scrape,
        })
    }
}

pub fn run(args: &CollectArgs, console: &mut Console) -> Result<u8, CliError> {
    let plan = args.plan()?;
    let runtime = collecting::runtime()?;
    runtime.block_on(async {
        let collecting = Collecting::start(plan).await?;
        paths::remember_case(&collecting.ready.case);
        if let Some(path) = &args.ready_file {
            collecting.ready.write(path)?;
        }
        console.notice(&collecting.ready.line());
        let asked = async {
            match args.run_for {
                None => collecting::asked_to_stop().await,
                Some(time) => tokio::select! {
                    asked = collecting::asked_to_stop() => asked,
                    () = tokio::time::sleep(time) => Ok(()),
                },
            }
        };
        asked.await?;
        console.remark("stopping: what was received is being written out");
        let case = collecting.ready.case.clone();
        collecting.stop().await?;
        console.remark(&format!("closed {}", case.display()));
        Ok(exit::CLEAN)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("10 gb"), Ok(10_000_000_000));
        assert_eq!(size("123"), Ok(123));
        for bad in ["", "MiB", "1.5GiB", "5 parsecs", "-1", "99999999999TiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses() {
        assert!(address("off").is_ok_and(|listen| listen.0.is_none()));
        assert!(address("[::1]:0").is_ok_and(|listen| listen.0.is_some()));
        assert!(address("localhost:4317").is_err());
    }
}
