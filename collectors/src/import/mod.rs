//! Files in: recognises what a file holds and turns it into the OTLP requests a case keeps.
//!
//! Owns the formats and what becomes of their bad records. Holds one record, or one trace, at a time and never the
//! file. Leaves storage to the sink it is given, and rendering of the report to the caller.

mod any;
mod batch;
pub mod csv;
mod cut;
mod ids;
mod jaeger;
mod logs;
mod otlp;
mod recognise;
mod report;
mod source;
mod stream;
#[cfg(test)]
mod tests;
mod zipkin;

use std::io;

use ::case::model::{Attributes, Value};
use ::case::{AppendError, Nanos};

pub use batch::Sink;
pub use csv::mapping::{Mapping, MappingError};
pub use recognise::Format;
pub use report::{BadRecord, BadRecords, Mapped, PREVIEW_ROWS, Place, Report, SHOWN_BAD_RECORDS};
pub use source::{Compression, Input};

use batch::Batch;
use stream::Text;

/// How to import.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// End at the first bad record.
    pub strict: bool,
    /// The format, where it is not to be recognised.
    pub format: Option<Format>,
    /// What the columns of a CSV file mean, where no built-in mapping is to be looked for.
    pub mapping: Option<Mapping>,
    /// The time of records that give none.
    pub at: Option<Nanos>,
    /// The service of log records that name none.
    pub service: Option<String>,
}

/// How far an import has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read of the input, packed as they lie there.
    pub read: u64,
    pub total: Option<u64>,
    pub items: u64,
    pub bad: u64,
}

/// Why nothing, or no more, was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("can't read {name}: {source}")]
    Read { name: String, source: io::Error },
    #[error("can't tell what {name} holds: {reason}")]
    Unrecognised {
        name: String,
        reason: String,
        hint: &'static str,
    },
    #[error("{0}")]
    Strict(BadRecord),
    #[error("{0}")]
    Mapping(#[from] MappingError),
    #[error("{0}")]
    Append(AppendError),
}

impl ImportError {
    /// What to do about it, where there is something to do.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            ImportError::Unrecognised { hint, .. } => Some(hint),
            ImportError::Strict(_) => {
                Some("without --strict bad records are counted and shown, and the rest is imported")
            }
            ImportError::Mapping(_) => Some("the built-in mappings are examples of every setting"),
            ImportError::Append(AppendError::Storage { .. }) => {
                Some("make room on the disk and import again: what is already there is folded")
            }
            _ => None,
        }
    }
}

/// An import that ended early, with what it had done by then.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Failure {
    #[source]
    pub error: ImportError,
    /// `None` if nothing had been read yet.
    pub report: Option<Box<Report>>,
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Failure {
        Failure {
            error,
            report: None,
        }
    }
}

/// Imports everything `input` holds into `sink`.
pub fn import<'a>(
    mut input: Input,
    options: &Options,
    sink: &'a mut Sink<'a>,
    progress: &'a mut dyn FnMut(Progress),
) -> Result<Report, Failure> {
    let read_error = |name: &str| {
        let name = name.to_owned();
        move |source| ImportError::Read { name, source }
    };
    let opened = input.open().map_err(read_error(input.name()))?;
    let format = match (options.format, &options.mapping) {
        (Some(format), _) => format,
        (None, Some(_)) => Format::Csv,
        (None, None) => recognise::recognise(&opened.head, opened.whole).map_err(|refusal| {
            ImportError::Unrecognised {
                name: input.name().to_owned(),
                reason: refusal.reason,
                hint: refusal.hint,
            }
        })?,
    };
    let report = Report::new(format, opened.compression);
    let mut batch = Batch::new(
        sink,
        progress,
        opened.taken.clone(),
        input.total(),
        options.strict,
        report,
    );
    let head = opened.head;
    let reader = opened.reader;
    let done = match format {
        Format::OtlpJson => otlp::json::import(&mut Text::new(reader), &head, &mut batch),
        Format::OtlpProtobuf => otlp::protobuf::import_one(reader, &mut batch),
        Format::OtlpProtobufStream => otlp::protobuf::import_stream(reader, &mut batch),
        Format::Jaeger => jaeger::import(&mut Text::new(reader), &mut batch),
        Format::Zipkin => zipkin::import(reader, &mut input, &mut batch),
        Format::JsonLogs => logs::import_json(&mut Text::new(reader), options, &mut batch),
        Format::LogfmtLogs => logs::import_logfmt(&mut Text::new(reader), options, &mut batch),
        Format::Csv => csv::import(&mut Text::new(reader), &head, options, &mut batch),
    };
    let done = match done {
        // A file that ends early (a cut archive) has lost nothing of what stood before.
        Err(Stop::Read { place, source }) => {
            batch.bad(place, format!("can't read on from here: {source}"))
        }
        Err(Stop::Import(error)) => Err(error),
        Ok(()) => Ok(()),
    };
    // What was read before a bad record ended a strict import is kept, as it would be had the file ended there.
    let done = match done {
        Err(ImportError::Append(error)) => Err(ImportError::Append(error)),
        done => batch.finish().and(done),
    };
    match done {
        Ok(()) => Ok(batch.report),
        Err(error) => Err(Failure {
            error,
            report: Some(Box::new(batch.report)),
        }),
    }
}

/// Why a format's reader stopped before the end.
enum Stop {
    /// The input can't be read further than this.
    Read {
        place: Place,
        source: io::Error,
    },
    Import(ImportError),
}

impl From<ImportError> for Stop {
    fn from(error: ImportError) -> Stop {
        Stop::Import(error)
    }
}

/// Names the line an I/O error happened on.
trait AtLine<T> {
    fn at_line(self, line: u64) -> Result<T, Stop>;
}

impl<T> AtLine<T> for io::Result<T> {
    fn at_line(self, line: u64) -> Result<T, Stop> {
        self.map_err(|source| Stop::Read {
            place: Place::Line(line),
            source,
        })
    }
}

/// What serde says, without a position that means nothing outside of the piece it was given.
fn json_reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// A JSON value as an attribute. serde_json has bounded its depth.
fn json_value(value: serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match value {
        Json::Null => Value::Empty,
        Json::Bool(value) => Value::Bool(value),
        Json::Number(number) => match number.as_i64() {
            Some(value) => Value::Int(value),
            None => Value::Double(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::Text(text),
        Json::Array(values) => Value::Array(values.into_iter().map(json_value).collect()),
        Json::Object(pairs) => Value::Map(Attributes(
            pairs
                .into_iter()
                .map(|(key, value)| (key, json_value(value)))
                .collect(),
        )),
    }
}
