//! Findings that are known already: from a file, or because they were there in a baseline window. They are counted and
//! not shown, and do not make the command fail.

use std::collections::BTreeSet;
use std::path::PathBuf;

use analyzers::engine::{Finding, Report};
use case::{Nanos, Window};
use clap::Args;

use crate::error::CliError;
use crate::render::report::forms::fingerprint;

#[derive(Debug, Clone, Args)]
pub(super) struct KnownArgs {
    /// Leave out what is found in this window of the case as well, and rank who differs most from it.
    #[arg(long, value_name = "A..B")]
    baseline: Option<String>,
    /// Leave out findings that this file names: a line each, as --write-known writes them; # before a remark.
    #[arg(long, value_name = "FILE")]
    known: Option<PathBuf>,
    /// Write what is found to this file, to be given to --known from now on.
    #[arg(long, value_name = "FILE")]
    write_known: Option<PathBuf>,
}

/// What identifies the findings that are known.
#[derive(Debug, Default)]
pub(super) struct Known {
    fingerprints: BTreeSet<String>,
}

impl KnownArgs {
    /// What the file names.
    pub(super) fn read(&self) -> Result<Known, CliError> {
        let Some(path) = &self.known else {
            return Ok(Known::default());
        };
        let text = std::fs::read_to_string(path)
            .map_err(|error| CliError::io(format!("read {}", path.display()), &error))?;
        let mut known = Known::default();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [rule, cause, services] = fields.as_slice() else {
                return Err(CliError::new(format!(
                    "{}:{number}: a known finding is a rule, a cause and services",
                    path.display()
                ))
                .hint("`casefile diagnose --write-known FILE` writes such a file"));
            };
            super::rule(rule).map_err(|error| {
                let placed = CliError::new(format!("{}:{number}: {error}", path.display()));
                match error.hint_text() {
                    Some(hint) => placed.hint(hint),
                    None => placed,
                }
            })?;
            known
                .fingerprints
                .insert(format!("{rule} {cause} {services}"));
        }
        Ok(known)
    }

    pub(super) fn baseline(&self, now: Nanos) -> Result<Option<Window>, CliError> {
        match &self.baseline {
            Some(text) => Ok(Some(Window::parse(text, now)?)),
            None => Ok(None),
        }
    }

    pub(super) fn write(&self, findings: &[&Finding]) -> Result<(), CliError> {
        let Some(path) = &self.write_known else {
            return Ok(());
        };
        let lines: BTreeSet<String> = findings
            .iter()
            .map(|finding| fingerprint(finding))
            .collect();
        let mut text = String::from("# findings that are known: rule, cause, services\n");
        for line in lines {
            text.push_str(&crate::output::sanitise::clean(&line));
            text.push('\n');
        }
        std::fs::write(path, text)
            .map_err(|error| CliError::io(format!("write {}", path.display()), &error))
    }
}

impl Known {
    pub(super) fn add_report(&mut self, report: &Report) {
        self.fingerprints
            .extend(report.findings().into_iter().map(fingerprint));
    }

    pub(super) fn has(&self, finding: &Finding) -> bool {
        let print = fingerprint(finding);
        self.fingerprints.contains(&print)
            || self
                .fingerprints
                .contains(&*crate::output::sanitise::clean(&print))
    }
}
