//! Active probes of a walk: only with --probe, only at addresses the registry names, and put down as signals.

use std::time::Duration;

use case::signal::{ProbeResult, RegistryInstance};
use case::writer::{CaseWriter, WriterOptions};
use case::{Signal, Window};
use clap::Args;
use collectors::fetch::Reach;
use playbooks::book::Check;
use playbooks::walk::{Asked, Outside, Spoken};

use crate::collecting;
use crate::commands::collect::duration;
use crate::error::CliError;
use crate::output::{Console, count};
use crate::reading::Reading;

/// A look at more instances than this is a scan.
const MOST: usize = 50;

#[derive(Debug, Clone, Args)]
pub(super) struct LookArgs {
    /// Let the book look at instances itself: only at addresses the registry names, only on this machine.
    #[arg(long)]
    probe: bool,
    /// Also at addresses on other machines.
    #[arg(long, requires = "probe")]
    probe_anywhere: bool,
    /// How long a look may take.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "2s", requires = "probe")]
    probe_timeout: Duration,
}

/// Looks at what the registry listed last.
pub(super) struct Looker {
    listed: Vec<RegistryInstance>,
    reach: Reach,
    timeout: Duration,
    runtime: tokio::runtime::Runtime,
    found: Vec<ProbeResult>,
    sealed: bool,
    case: std::path::PathBuf,
}

impl LookArgs {
    pub(super) fn looker(&self, reading: &Reading) -> Result<Option<Looker>, CliError> {
        if !self.probe {
            return Ok(None);
        }
        let listed = reading
            .case
            .registry_snapshots(Window::ALL)?
            .into_iter()
            .max_by_key(|snapshot| snapshot.at)
            .map(|snapshot| snapshot.instances)
            .unwrap_or_default();
        Ok(Some(Looker {
            listed: listed
                .into_iter()
                .filter(|instance| instance.status != "removed")
                .collect(),
            reach: if self.probe_anywhere {
                Reach::Anywhere
            } else {
                Reach::Loopback
            },
            timeout: self.probe_timeout,
            runtime: collecting::runtime()?,
            found: Vec::new(),
            sealed: reading.case.manifest().sealed.is_some(),
            case: reading.path.clone(),
        }))
    }
}

impl Outside for Looker {
    fn probe(&mut self, asked: &Asked<'_>, check: Check) -> Result<Vec<ProbeResult>, String> {
        let meant: Vec<RegistryInstance> = self
            .listed
            .iter()
            .filter(|instance| asked.service.is_none_or(|service| instance.name == service))
            .take(MOST)
            .cloned()
            .collect();
        let found =
            self.runtime
                .block_on(collectors::watch::look(&meant, self.reach, self.timeout));
        self.found.extend(found.iter().cloned());
        let wanted = match check {
            Check::Connect => "connect",
            Check::Live => "live",
            Check::Ready => "ready",
        };
        Ok(found
            .into_iter()
            .filter(|result| result.check == wanted)
            .collect())
    }

    fn person(&mut self, _: &Asked<'_>) -> Option<Spoken> {
        None
    }
}

impl Looker {
    /// Puts what was seen into the case, where the case still takes anything.
    pub(super) fn record(self, console: &Console) -> Result<(), CliError> {
        if self.found.is_empty() {
            return Ok(());
        }
        let number = count(self.found.len() as u64, "probe result", "probe results");
        if self.sealed {
            console.remark(&format!(
                "{number} stand in the walk alone: the case is sealed"
            ));
            return Ok(());
        }
        let writer = match CaseWriter::open(&self.case, WriterOptions::default()) {
            Ok(writer) => writer,
            Err(error) => {
                console.remark(&format!("{number} stand in the walk alone: {error}"));
                return Ok(());
            }
        };
        let mut lines = String::new();
        for result in &self.found {
            lines.push_str(&crate::output::json::line(result)?);
            lines.push('\n');
        }
        let appended = writer.append(Signal::Probes, lines.into());
        writer.close()?;
        appended.map_err(|error| CliError::new(format!("can't record the probes: {error}")))?;
        console.remark(&format!("{number} recorded in the case"));
        Ok(())
    }
}
