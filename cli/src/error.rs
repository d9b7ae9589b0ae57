//! The one error of the command line: what failed, what to do about it, which code to leave with.

use std::fmt;

use crate::exit;

/// Why a command stopped. Shown as `error: MESSAGE`, with `hint: HINT` under it.
#[derive(Debug)]
pub struct CliError {
    message: String,
    hint: Option<String>,
    code: u8,
}

impl CliError {
    pub fn new(message: impl Into<String>) -> CliError {
        CliError {
            message: message.into(),
            hint: None,
            code: exit::ERROR,
        }
    }

    /// What the reader can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> CliError {
        self.hint = Some(hint.into());
        self
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    pub fn code(&self) -> u8 {
        self.code
    }

    /// An error of the operating system, with what was being done to what.
    pub fn io(doing: impl fmt::Display, source: &std::io::Error) -> CliError {
        CliError::new(format!("can't {doing}: {source}"))
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CliError {}

impl From<case::CaseError> for CliError {
    fn from(error: case::CaseError) -> CliError {
        let hint = error.hint();
        let error = CliError::new(error.to_string());
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

impl From<case::filter::FilterError> for CliError {
    fn from(error: case::filter::FilterError) -> CliError {
        let hint = error.hint.clone();
        let error = CliError::new(error.to_string());
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

impl From<case::time::TimeError> for CliError {
    fn from(error: case::time::TimeError) -> CliError {
        CliError::new(error.to_string())
    }
}

impl From<Box<dyn std::error::Error>> for CliError {
    fn from(error: Box<dyn std::error::Error>) -> CliError {
        CliError::new(error.to_string())
    }
}
