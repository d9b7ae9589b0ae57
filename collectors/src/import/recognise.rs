//! Which format some bytes are in, told from what they hold, never from the name of a file.

use std::fmt;

use serde::Serialize;

use super::csv::mapping::Mapping;
use super::cut::{ValueEnd, skip_space};
use super::logs::fields::Role;
use super::logs::logfmt;
use super::report::clip;
use super::source::{GZIP, ZSTD};

/// What can be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    OtlpJson,
    OtlpProtobuf,
    OtlpProtobufStream,
    Jaeger,
    Zipkin,
    JsonLogs,
    LogfmtLogs,
    Csv,
}

impl Format {
    pub const ALL: [Format; 8] = [
        Format::OtlpJson,
        Format::OtlpProtobuf,
        Format::OtlpProtobufStream,
        Format::Jaeger,
        Format::Zipkin,
        Format::JsonLogs,
        Format::LogfmtLogs,
        Format::Csv,
    ];

    /// The name it is asked for by.
    pub fn name(self) -> &'static str {
        match self {
            Format::OtlpJson => "otlp-json",
            Format::OtlpProtobuf => "otlp-protobuf",
            Format::OtlpProtobufStream => "otlp-protobuf-stream",
            Format::Jaeger => "jaeger",
            Format::Zipkin => "zipkin",
            Format::JsonLogs => "json-logs",
            Format::LogfmtLogs => "logfmt-logs",
            Format::Csv => "csv",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::OtlpJson => "OTLP JSON",
            Format::OtlpProtobuf => "OTLP protobuf",
            Format::OtlpProtobufStream => "OTLP protobuf, length-prefixed",
            Format::Jaeger => "Jaeger JSON",
            Format::Zipkin => "Zipkin v2 JSON",
            Format::JsonLogs => "logs, JSON lines",
            Format::LogfmtLogs => "logs, logfmt",
            Format::Csv => "CSV",
        })
    }
}

/// Why bytes are no format we read, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unrecognised {
    pub(super) reason: String,
    pub(super) hint: &'static str,
}

const KNOWN: &str = "OTLP JSON or protobuf, Jaeger JSON, Zipkin v2 JSON, logs as JSON lines or logfmt, and CSV with a mapping can be imported";
const UNPACK: &str = "unpack it first; only gzip and zstd are unpacked here";

fn refuse(reason: impl Into<String>, hint: &'static str) -> Unrecognised {
    Unrecognised {
        reason: reason.into(),
        hint,
    }
}

/// The format of an input that begins with `head` (all of it if `whole`).
pub(super) fn recognise(head: &[u8], whole: bool) -> Result<Format, Unrecognised> {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let start = skip_space(text, 0);
    if start == text.len() {
        return Err(refuse(
            if head.is_empty() {
                "it is empty"
            } else {
                "it holds nothing but white space"
            },
            KNOWN,
        ));
    }
    if let Some(refusal) = archive(head) {
        return Err(refusal);
    }
    if is_binary(head, whole) {
        return binary(head);
    }
    match text[start] {
        b'{' => of_keys(&Keys::of(&text[start..])),
        b'[' => array(&text[start..]),
        _ => lines(text),
    }
}

fn archive(head: &[u8]) -> Option<Unrecognised> {
    let what = if head.starts_with(b"\xfd7zXZ\0") {
        "it is an xz archive"
    } else if head.starts_with(b"BZh") {
        "it is a bzip2 archive"
    } else if head.starts_with(b"PK\x03\x04") {
        "it is a zip archive"
    } else if head.get(257..262) == Some(b"ustar") {
        "it is a tar archive"
    } else if head.starts_with(GZIP) || head.starts_with(ZSTD) {
        "it is packed twice"
    } else if head.starts_with(b"PAR1") {
        return Some(refuse("it is a Parquet file", KNOWN));
    } else {
        return None;
    };
    Some(refuse(what, UNPACK))
}

/// Control characters that no text has, or bytes that are no UTF-8.
fn is_binary(head: &[u8], whole: bool) -> bool {
    let look = &head[..head.len().min(16 << 10)];
    let complete = whole && look.len() == head.len();
    if look
        .iter()
        .any(|b| *b < b' ' && !matches!(b, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b))
    {
        return true;
    }
    match std::str::from_utf8(look) {
        Ok(_) => false,
        // A character cut by the end of the look is no fault.
        Err(error) => complete || error.error_len().is_some(),
    }
}

fn binary(head: &[u8]) -> Result<Format, Unrecognised> {
    // Field 1, length-delimited: the resources of an export request.
    if head[0] == 0x0a {
        return Ok(Format::OtlpProtobuf);
    }
    if let [a, b, c, d, first, ..] = head {
        let length = u32::from_be_bytes([*a, *b, *c, *d]);
        let payload = &head[4..];
        let known =
            matches!(first, 0x0a | b'{') || payload.starts_with(GZIP) || payload.starts_with(ZSTD);
        if length > 0 && length < 1 << 30 && known {
            return Ok(Format::OtlpProtobufStream);
        }
    }
    Err(refuse("it is binary, but no OTLP protobuf", KNOWN))
}

/// The keys of the first object, as far as the head shows them, and those one step inside.
#[derive(Debug, Default)]
struct Keys {
    names: Vec<String>,
    /// Keys of the first object within the value of `data` or `result`.
    inner: Vec<String>,
    /// Whether `data` is an array.
    data_is_array: bool,
}

impl Keys {
    fn of(object: &[u8]) -> Keys {
        let mut keys = Keys::default();
        keys.names = names(object, |name, value| match (name, value.first()) {
            ("data", Some(b'[')) => {
                keys.data_is_array = true;
                keys.inner = names(&value[skip_space(value, 1)..], |_, _| {});
            }
            ("result", Some(b'{')) => keys.inner = names(value, |_, _| {}),
            _ => {}
        });
        keys
    }

    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|n| n == name)
    }

    fn has_inner(&self, name: &str) -> bool {
        self.inner.iter().any(|n| n == name)
    }
}

/// Key names of an object that may be cut short, showing each its value (to the end of what is there).
fn names(object: &[u8], mut each: impl FnMut(&str, &[u8])) -> Vec<String> {
    const ENOUGH: usize = 256;
    let mut names = Vec::new();
    if object.first() != Some(&b'{') {
        return names;
    }
    let mut at = skip_space(object, 1);
    while object.get(at) == Some(&b'"') && names.len() < ENOUGH {
        let Some(n) = ValueEnd::default().feed(&object[at..]) else {
            break;
        };
        let name = String::from_utf8_lossy(&object[at + 1..at + n - 1]).into_owned();
        at = skip_space(object, at + n);
        if object.get(at) != Some(&b':') {
            break;
        }
        at = skip_space(object, at + 1);
        each(&name, &object[at..]);
        names.push(name);
        let Some(n) = ValueEnd::default().feed(&object[at..]) else {
            break;
        };
        at = skip_space(object, at + n);
        if object.get(at) != Some(&b',') {
            break;
        }
        at = skip_space(object, at + 1);
    }
    names
}

/// How much of the head is looked at for lines.
pub(super) const LOOK_BYTES: usize = 256 << 10;

pub(super) const OTLP_KEYS: [&str; 6] = [
    "resourceSpans",
    "resource_spans",
    "resourceLogs",
    "resource_logs",
    "resourceMetrics",
    "resource_metrics",
];

fn of_keys(keys: &Keys) -> Result<Format, Unrecognised> {
    if OTLP_KEYS
        .iter()
        .any(|key| keys.has(key) || keys.has_inner(key))
    {
        return Ok(Format::OtlpJson);
    }
    let is_trace =
        |has: &dyn Fn(&str) -> bool| has("traceID") && (has("spans") || has("processes"));
    if is_trace(&|name| keys.has(name))
        || keys.data_is_array
            && (keys.inner.is_empty()
                || ["traceID", "spans", "processes"]
                    .iter()
                    .any(|name| keys.has_inner(name)))
    {
        return Ok(Format::Jaeger);
    }
    let role = |role: Role| keys.names.iter().any(|name| Role::of(name) == Some(role));
    if keys.has("traceId") && keys.has("id") && !role(Role::Level) && !role(Role::Message) {
        return Ok(Format::Zipkin);
    }
    if keys.has("batches") {
        return Err(refuse(
            "it looks like an answer of Grafana Tempo, which is not read yet",
            "ask Tempo for OTLP (Accept: application/protobuf on /api/v2/traces), or export the trace as Jaeger JSON",
        ));
    }
    if role(Role::Time) || role(Role::Message) || role(Role::Level) {
        return Ok(Format::JsonLogs);
    }
    if keys.names.is_empty() {
        return Err(refuse("it is a JSON object without keys", KNOWN));
    }
    let shown: Vec<String> = keys.names.iter().take(8).map(|name| clip(name)).collect();
    Err(refuse(
        format!(
            "it is JSON, but nothing known begins with the keys {}",
            shown.join(", ")
        ),
        KNOWN,
    ))
}

fn array(text: &[u8]) -> Result<Format, Unrecognised> {
    let mut inside = skip_space(text, 1);
    // Zipkin's /traces answers an array of arrays.
    if text.get(inside) == Some(&b'[') {
        inside = skip_space(text, inside + 1);
    }
    match text.get(inside) {
        Some(b'{') => of_keys(&Keys::of(&text[inside..])),
        Some(b']') => Err(refuse("it is an empty JSON array", KNOWN)),
        _ => Err(refuse("it is a JSON array, but not of objects", KNOWN)),
    }
}

fn lines(text: &[u8]) -> Result<Format, Unrecognised> {
    const LOOK: usize = 20;
    // Header rows of a few hundred columns fit; more is no help.
    let text = &text[..text.len().min(LOOK_BYTES)];
    let shown = String::from_utf8_lossy(text);
    let lines: Vec<&str> = shown
        .lines()
        .filter(|line| !line.trim().is_empty())
        .take(LOOK)
        .collect();
    let first = lines.first().copied().unwrap_or("");
    if Mapping::built_in_for(&lines).is_some() {
        return Ok(Format::Csv);
    }
    let like_logfmt = lines.iter().filter(|line| logfmt::looks_like(line)).count();
    // A minority of lines may be damaged, or be the lines of a stack trace.
    if like_logfmt > 0 && like_logfmt * 3 >= lines.len() {
        return Ok(Format::LogfmtLogs);
    }
    // JSON lines whose first one is damaged.
    if let Some(object) = lines.iter().find(|line| line.starts_with('{')) {
        return of_keys(&Keys::of(object.as_bytes()));
    }
    if first.matches(',').count() >= 2 && !first.contains('=') {
        return Err(refuse(
            format!(
                "it looks like CSV with the header {}, which no built-in mapping knows",
                clip(first)
            ),
            "say what the columns mean in a mapping file: --mapping FILE.toml (the built-in ones are examples)",
        ));
    }
    Err(refuse(
        format!(
            "it is plain text: its lines carry no fields to take time and level from (the first is {})",
            clip(first)
        ),
        "write logs as JSON lines or logfmt (time=… level=… msg=…), or turn them into CSV and import with --mapping",
    ))
}
