//! Owns log records and their JSON lines, on stdout and in the run's log folder.

use std::borrow::Cow;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value, json};

use super::{Attributes, Identity};
use crate::clock::rfc3339;
use crate::error::ShopError;
use crate::propagation::TraceContext;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

impl Level {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

#[derive(Debug, Clone)]
pub struct LogRecord {
    pub time: u64,
    pub level: Level,
    pub event: &'static str,
    pub message: Cow<'static, str>,
    pub trace: Option<TraceContext>,
    /// `error.code` and `error.details` become the object `error` in the JSON line.
    pub attributes: Attributes,
    /// Without level and service, as a fault has it.
    pub bare: bool,
    /// A field that a fault gives another name.
    pub rename: Option<Arc<(String, String)>>,
}

impl LogRecord {
    /// The name under which a field is written.
    pub(super) fn field<'a>(&'a self, key: &'a str) -> &'a str {
        match &self.rename {
            Some(rename) if rename.0 == key => &rename.1,
            _ => key,
        }
    }
}

pub(super) struct LogFile {
    file: Option<Mutex<File>>,
}

impl LogFile {
    pub(super) fn open(path: Option<&Path>) -> Result<Self, ShopError> {
        let Some(path) = path else {
            return Ok(Self { file: None });
        };
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(|source| ShopError::file("open", path, source))?;
        Ok(Self {
            file: Some(Mutex::new(file)),
        })
    }

    /// Goes on in a new file of the name, wherever the old one has gone.
    pub(super) fn reopen(&self, path: &Path) -> Result<(), ShopError> {
        if let (Some(known), Some(fresh)) = (&self.file, Self::open(Some(path))?.file) {
            let fresh = fresh.into_inner().unwrap_or_else(PoisonError::into_inner);
            *known.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
        Ok(())
    }

    pub(super) fn write(&self, identity: &Identity, record: &LogRecord) {
        let Some(file) = &self.file else { return };
        let mut line = record.to_json(identity).to_string();
        line.push('\n');
        // A log line that cannot be written must not fail the request that it tells of.
        let _ = file
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write_all(line.as_bytes());
        let _ = std::io::stdout().write_all(line.as_bytes());
    }
}

impl LogRecord {
    pub(super) fn to_json(&self, identity: &Identity) -> Value {
        let mut line = Map::new();
        line.insert("timestamp".into(), rfc3339(self.time).into());
        if !self.bare {
            line.insert("level".into(), self.level.as_str().into());
            line.insert("service".into(), identity.service.as_str().into());
        }
        line.insert("instance".into(), identity.instance_id.as_str().into());
        line.insert("version".into(), identity.version.as_str().into());
        if let Some(trace) = &self.trace {
            line.insert("trace_id".into(), trace.trace_hex().into());
            line.insert("span_id".into(), trace.span_hex().into());
        }
        line.insert("message".into(), self.message.as_ref().into());
        line.insert("event".into(), self.event.into());
        let mut error = Map::new();
        for (key, value) in self.attributes.iter() {
            match key.strip_prefix("error.") {
                Some(part) => error.insert(part.to_owned(), value.to_json()),
                None => line.insert(self.field(key).to_owned(), value.to_json()),
            };
        }
        if !error.is_empty() {
            line.insert("error".into(), json!(error));
        }
        Value::Object(line)
    }
}
