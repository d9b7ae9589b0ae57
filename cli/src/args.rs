//! Arguments that several commands share. Those of a single command stand with it.

use std::path::PathBuf;

use case::{Nanos, Window};
use clap::Args;

use crate::error::CliError;
use crate::output::Console;
use crate::paths;

/// Which case is meant: a path given either way, else CASEFILE_CASE, else the case last collected or imported.
#[derive(Debug, Clone, Args)]
pub struct CaseArgs {
    /// The case [default: $CASEFILE_CASE, else the one last collected or imported].
    #[arg(value_name = "CASE")]
    path: Option<PathBuf>,
    /// The same, as an option.
    #[arg(long = "case", value_name = "PATH", conflicts_with = "path")]
    case: Option<PathBuf>,
}

impl CaseArgs {
    /// The case an option names, else the usual one.
    pub fn at(case: Option<PathBuf>) -> CaseArgs {
        CaseArgs { path: None, case }
    }

    /// For commands that take a word before the case: a lone word that is a case is the case. Returns the word, if one
    /// is left, and where the case is.
    pub fn after_word(&self, word: Option<&str>) -> (Option<String>, CaseArgs) {
        let lone = self.path.is_none() && self.case.is_none();
        match word {
            Some(word) if lone && case::manifest::path(std::path::Path::new(word)).exists() => (
                None,
                CaseArgs {
                    path: Some(PathBuf::from(word)),
                    case: None,
                },
            ),
            word => (word.map(str::to_owned), self.clone()),
        }
    }

    /// The path that was given, if one was.
    pub fn named(&self) -> Option<PathBuf> {
        self.path.clone().or_else(|| self.case.clone())
    }

    /// The path of the case; says on standard error which one was taken when none was named.
    pub fn resolve(&self, console: &Console) -> Result<PathBuf, CliError> {
        if let Some(path) = self.path.as_ref().or(self.case.as_ref()) {
            return Ok(path.clone());
        }
        if let Some(path) = std::env::var_os("CASEFILE_CASE").filter(|path| !path.is_empty()) {
            return Ok(PathBuf::from(path));
        }
        let path = paths::last_case().ok_or_else(|| {
            CliError::new("no case is named, and none has been collected or imported yet")
                .hint("name one with --case PATH; `casefile collect` makes one")
        })?;
        console.remark(&format!("case {}", path.display()));
        Ok(path)
    }
}

/// The part of the case's time that is looked at.
#[derive(Debug, Clone, Default, Args)]
pub struct WindowArgs {
    /// From this time on: RFC 3339, or a duration before the end of the case (10m).
    #[arg(long, value_name = "TIME", conflicts_with = "window")]
    since: Option<String>,
    /// Up to this time: RFC 3339, or a duration before the end of the case.
    #[arg(long, value_name = "TIME", conflicts_with = "window")]
    until: Option<String>,
    /// Both at once; either side may be left out.
    #[arg(long, value_name = "A..B")]
    window: Option<String>,
}

impl WindowArgs {
    /// The window, with durations counted back from `now`.
    pub fn resolve(&self, now: Nanos) -> Result<Window, CliError> {
        if let Some(window) = &self.window {
            return Ok(Window::parse(window, now)?);
        }
        let side = |text: &Option<String>, open: Nanos| match text {
            Some(text) => case::time::parse_time(text, now),
            None => Ok(open),
        };
        let window = Window {
            from: side(&self.since, Window::ALL.from)?,
            until: side(&self.until, Window::ALL.until)?,
        };
        if window.from > window.until {
            return Err(CliError::new(format!(
                "the window ends ({}) before it begins ({})",
                window.until, window.from
            )));
        }
        Ok(window)
    }
}
