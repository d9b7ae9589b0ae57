//! Everything that brings signals into one case, started and stopped together: receivers, watchers, scraper, writer.
//! `collect` and `up` differ only in what they ask of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use case::signal::RegistryEvent;
use case::writer::{CaseWriter, WriterOptions};
use case::{Case, Window};
use collectors::fetch::Endpoint;
use collectors::otlp::receiver::{Receiver, ReceiverError, ReceiverOptions};
use collectors::scrape::{ScrapeOptions, Scraper};
use collectors::watch::{WatchOptions, Watcher};
use serde::Serialize;

use crate::error::CliError;

/// How long a stopping receiver waits for requests it has begun to read.
const DRAIN: Duration = Duration::from_secs(10);

/// What to collect, and where to.
pub struct Plan {
    pub case: PathBuf,
    pub writer: WriterOptions,
    pub receiver: ReceiverOptions,
    /// A registry or debug API to watch.
    pub watch: Option<WatchOptions>,
    pub scrape: Option<ScrapeOptions>,
}

/// Collectors at work.
pub struct Collecting {
    writer: CaseWriter,
    receiver: Option<Receiver>,
    watcher: Option<Watcher>,
    scraper: Option<Scraper>,
    pub ready: Ready,
}

/// What is told once everything listens: the ready line, and the ready file as JSON.
#[derive(Debug, Clone, Serialize)]
pub struct Ready {
    pub pid: u32,
    pub case: PathBuf,
    pub otlp_grpc: Option<String>,
    pub otlp_http: Option<String>,
    pub registry: Option<String>,
    pub scrape: Vec<String>,
}

impl Ready {
    /// The line on standard error.
    pub fn line(&self) -> String {
        let mut parts = vec![format!("ready, collecting into {}", self.case.display())];
        parts.extend(self.otlp_grpc.iter().map(|at| format!("OTLP/gRPC on {at}")));
        parts.extend(self.otlp_http.iter().map(|at| format!("OTLP/HTTP on {at}")));
        parts.extend(self.registry.iter().map(|at| format!("watching {at}")));
        parts.extend(self.scrape.iter().map(|at| format!("scraping {at}")));
        parts.join(" · ")
    }

    /// Writes the ready file in one step, so that whoever waits for it never reads half of it.
    pub fn write(&self, path: &Path) -> Result<(), CliError> {
        let failed = |error: std::io::Error| {
            CliError::io(format!("write the ready file {}", path.display()), &error)
        };
        let text = crate::output::json::line(self)?;
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        std::fs::write(&beside, text + "\n").map_err(failed)?;
        std::fs::rename(&beside, path).map_err(failed)
    }
}

impl Collecting {
    /// Starts all of it on the current runtime. What was started before something failed is stopped by dropping it.
    pub async fn start(plan: Plan) -> Result<Collecting, CliError> {
        let writer = CaseWriter::open(&plan.case, plan.writer)?;
        let receiver = if plan.receiver.grpc.is_some() || plan.receiver.http.is_some() {
            Some(Receiver::start(plan.receiver, Arc::new(writer.clone())).map_err(refused)?)
        } else {
            None
        };
        let address = |at: Option<std::net::SocketAddr>| at.map(|at| at.to_string());
        let mut collecting = Collecting {
            ready: Ready {
                pid: std::process::id(),
                case: std::path::absolute(&plan.case).unwrap_or(plan.case),
                otlp_grpc: address(receiver.as_ref().and_then(Receiver::grpc_addr)),
                otlp_http: address(receiver.as_ref().and_then(Receiver::http_addr)),
                registry: None,
                scrape: Vec::new(),
            },
            writer,
            receiver,
            watcher: None,
            scraper: None,
        };
        collecting.watch(plan.watch, plan.scrape)?;
        Ok(collecting)
    }

    /// Starts watching and scraping; `up` does so once the shop has said where its registry is.
    pub fn watch(
        &mut self,
        watch: Option<WatchOptions>,
        scrape: Option<ScrapeOptions>,
    ) -> Result<(), CliError> {
        let sink = Arc::new(self.writer.clone());
        if let Some(mut options) = watch {
            self.ready.registry = options.registry.clone();
            if let (Some(registry), None) = (&options.registry, &options.resume_after) {
                options.resume_after = last_event(&self.ready.case, registry)?;
            }
            let watcher = Watcher::start(options, sink.clone()).map_err(|error| {
                CliError::new(error.to_string()).hint("URLs look like http://127.0.0.1:8081")
            })?;
            self.watcher = Some(watcher);
        }
        if let Some(mut options) = scrape {
            self.ready.scrape = options
                .targets
                .iter()
                .map(|target| target.endpoint.to_string())
                .collect();
            options.registry = self.watcher.as_ref().map(Watcher::registry);
            self.scraper = Some(Scraper::start(options, sink));
        }
        Ok(())
    }

    /// Stops taking in, waits until all that was taken is durable, and closes the case.
    pub async fn stop(self) -> Result<(), CliError> {
        if let Some(scraper) = self.scraper {
            scraper.stop().await;
        }
        if let Some(watcher) = self.watcher {
            watcher.stop().await;
        }
        if let Some(receiver) = self.receiver {
            receiver.stop(DRAIN).await;
        }
        let writer = self.writer;
        tokio::task::spawn_blocking(move || writer.close())
            .await
            .map_err(|error| CliError::new(format!("closing the case failed: {error}")))??;
        Ok(())
    }
}

/// The last event of this registry's log that the case has: whoever collects into it again goes on behind it.
fn last_event(case: &Path, registry: &str) -> Result<Option<RegistryEvent>, CliError> {
    let Ok(endpoint) = registry.parse::<Endpoint>() else {
        // The watcher says what is wrong with it.
        return Ok(None);
    };
    let registry = endpoint.to_string();
    let registry = registry.trim_end_matches('/');
    let told = |event: &RegistryEvent| {
        event.registry == registry && !matches!(event.kind.as_str(), "gap" | "restarted")
    };
    let events = Case::open(case)?.registry_events(Window::ALL)?;
    Ok(events.into_iter().rfind(told))
}

fn refused(error: ReceiverError) -> CliError {
    let hint = error.hint();
    let error = CliError::new(error.to_string());
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// A runtime for a command that serves or waits.
pub fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .clamp(1, 4);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(|error| CliError::io("start the runtime", &error))
}

/// Waits for ctrl-c or a request to terminate.
pub async fn asked_to_stop() -> Result<(), CliError> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error: std::io::Error| CliError::io("listen for signals", &error);
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result.map_err(failed),
        _ = terminate.recv() => Ok(()),
        _ = hangup.recv() => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use case::Signal;

    use super::*;

    #[test]
    fn a_registrys_log_is_taken_up_where_the_case_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.case");
        let writer = CaseWriter::open(&path, WriterOptions::default()).unwrap();
        assert_eq!(last_event(&path, "http://127.0.0.1:8081").unwrap(), None);
        let row = |at: u64, registry: &str, seq: u64, kind: &str| {
            format!(
                r#"{{"at":{at},"registry":"{registry}","seq":{seq},"kind":"{kind}","id":"p-1","name":"payment","address":"127.0.0.1:9"}}"#
            )
        };
        let rows = [
            row(10, "http://127.0.0.1:8081", 1, "registered"),
            row(30, "http://127.0.0.1:8081", 2, "deregistered"),
            row(40, "http://127.0.0.1:8081", 3, "gap"),
            row(50, "http://127.0.0.1:9999", 7, "registered"),
        ];
        writer
            .append(Signal::RegistryEvents, Bytes::from(rows.join("\n")))
            .unwrap();
        let last = last_event(&path, "http://127.0.0.1:8081/")
            .unwrap()
            .unwrap();
        assert_eq!((last.seq, last.kind.as_str()), (2, "deregistered"));
        assert_eq!(last_event(&path, "http://127.0.0.1:1").unwrap(), None);
        writer.close().unwrap();
    }
}
