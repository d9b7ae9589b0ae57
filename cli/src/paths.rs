//! Where things lie: XDG folders, the case a command means, the window it looks at.

use std::path::{Path, PathBuf};

use crate::error::CliError;

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// An XDG base folder: the variable if it holds an absolute path (as the XDG rules ask), else its default under HOME.
fn base(name: &str, default: &str) -> Result<PathBuf, CliError> {
    if let Some(path) = variable(name).filter(|path| path.is_absolute()) {
        return Ok(path.join("casefile"));
    }
    variable("HOME")
        .map(|home| home.join(default).join("casefile"))
        .ok_or_else(|| {
            CliError::new(format!(
                "neither {name} nor HOME is set, so there is no folder to keep things in"
            ))
            .hint("set HOME, or give a path with --case")
        })
}

/// Folder of the cases that were not given a path.
pub fn cases() -> Result<PathBuf, CliError> {
    Ok(base("XDG_DATA_HOME", ".local/share")?.join("cases"))
}

/// Folder of what people write for this program: books of their own.
pub fn config() -> Result<PathBuf, CliError> {
    base("XDG_CONFIG_HOME", ".config")
}

/// Folder of what outlives a run without being data: the last case, the shop's run folder.
pub fn state() -> Result<PathBuf, CliError> {
    base("XDG_STATE_HOME", ".local/state")
}

/// The workbench's own file: keys and looks.
pub fn settings() -> Result<PathBuf, CliError> {
    Ok(config()?.join("tui.toml"))
}

/// A new case's path under [`cases`], named after `what` and the time.
pub fn new_case(what: &str, now: case::Nanos) -> Result<PathBuf, CliError> {
    let stamp: String = now
        .to_string()
        .chars()
        .take(19)
        .map(|c| if c == ':' { '-' } else { c })
        .collect();
    Ok(cases()?.join(format!("{what}-{stamp}.case")))
}

const LAST_CASE: &str = "last-case";

/// Remembers `case` as the one meant when none is named. Not being able to is no reason to stop.
pub fn remember_case(case: &Path) {
    let Ok(folder) = state() else { return };
    let Ok(path) = std::path::absolute(case) else {
        return;
    };
    if std::fs::create_dir_all(&folder).is_ok() {
        drop(std::fs::write(
            folder.join(LAST_CASE),
            path.as_os_str().as_encoded_bytes(),
        ));
    }
}

/// The case last written by `collect`, `import` or `up`.
pub fn last_case() -> Option<PathBuf> {
    let bytes = std::fs::read(state().ok()?.join(LAST_CASE)).ok()?;
    let path = PathBuf::from(String::from_utf8(bytes).ok()?);
    path.is_dir().then_some(path)
}
