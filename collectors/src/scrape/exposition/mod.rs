//! Metrics pages as text: the Prometheus exposition format and OpenMetrics 1.0, read into families of samples.
//!
//! Two parsers, because the two differ in more than they share: the classic one is lenient as its users are, the other
//! holds pages to the standard. Both are bounded in line length, labels and samples, name the line they stop at, and
//! read untrusted input: no recursion, nothing quadratic, no panic. What the samples mean in OTLP is the converter's.

mod classic;
mod cursor;
mod number;
mod openmetrics;

use std::fmt;

/// How much one page may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub line_bytes: usize,
    pub labels: usize,
    pub samples: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            line_bytes: 64 << 10,
            labels: 128,
            samples: 500_000,
        }
    }
}

/// Which of the two formats a page is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4 or 1.0.0.
    Classic,
    OpenMetrics,
}

impl Format {
    /// What to ask a target for. Names beyond the old character set are welcome.
    pub const ACCEPT: &'static str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
        application/openmetrics-text;version=0.0.1;q=0.5,\
        text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";

    /// The format a `Content-Type` announces, or why the page can't be read.
    pub fn of(content_type: &str) -> Result<Format, String> {
        let mut parts = content_type.split(';').map(str::trim);
        let media = parts.next().unwrap_or("").to_ascii_lowercase();
        let version = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim()
                .eq_ignore_ascii_case("version")
                .then(|| value.trim().trim_matches('"').to_owned())
        });
        match (media.as_str(), version.as_deref()) {
            ("application/openmetrics-text", None | Some("0.0.1" | "1.0.0")) => {
                Ok(Format::OpenMetrics)
            }
            ("application/openmetrics-text", Some(version)) => Err(format!(
                "OpenMetrics version {version} isn't known; 1.0.0 and 0.0.1 are"
            )),
            // Many small exporters name no type, or any.
            ("" | "text/plain" | "application/octet-stream", _) => Ok(Format::Classic),
            (other, _) => Err(format!("the answer is {other}, not a metrics page")),
        }
    }
}

/// What a family measures, by either format's name for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Unknown,
    Counter,
    Gauge,
    Histogram,
    GaugeHistogram,
    Summary,
    Info,
    StateSet,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Unknown => "unknown",
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::GaugeHistogram => "gaugehistogram",
            Kind::Summary => "summary",
            Kind::Info => "info",
            Kind::StateSet => "stateset",
        }
    }
}

/// Name and value pairs in the page's order, names unique.
pub type Labels = Vec<(String, String)>;

/// Nanoseconds since 1970, wide enough for whatever a page may claim.
pub type PageTime = i128;

#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar {
    pub labels: Labels,
    pub value: f64,
    pub at: Option<PageTime>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// What the sample's name has beyond its family's: `_total`, `_bucket` and so on, or nothing.
    pub suffix: &'static str,
    pub labels: Labels,
    pub value: f64,
    pub at: Option<PageTime>,
    pub exemplar: Option<Exemplar>,
    pub line: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    pub name: String,
    pub kind: Kind,
    pub help: String,
    pub unit: String,
    pub samples: Vec<Sample>,
}

/// A page that could be read, with what was wrong but not fatal.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Page {
    pub families: Vec<Family>,
    pub remarks: Remarks,
}

impl Page {
    pub fn samples(&self) -> usize {
        self.families
            .iter()
            .map(|family| family.samples.len())
            .sum()
    }
}

/// Things left out, each with its line: the first few in words, all of them counted.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Remarks {
    pub first: Vec<String>,
    pub count: usize,
}

impl Remarks {
    const SPELT_OUT: usize = 10;

    pub fn add(&mut self, line: usize, what: impl fmt::Display) {
        if self.first.len() < Self::SPELT_OUT {
            self.first.push(format!("line {line}: {what}"));
        }
        self.count += 1;
    }
}

/// Why a page was refused, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ParseError {
    pub line: usize,
    pub reason: String,
}

/// Reads a whole page. One bad line refuses all of it: half a page would show as metrics that fell to nothing.
pub fn parse(format: Format, page: &[u8], limits: &Limits) -> Result<Page, ParseError> {
    match format {
        Format::Classic => classic::parse(page, limits),
        Format::OpenMetrics => openmetrics::parse(page, limits),
    }
}

/// The lines of a page with their numbers, each checked for length and UTF-8.
struct Lines<'a> {
    rest: Option<&'a [u8]>,
    number: usize,
    limit: usize,
}

impl<'a> Lines<'a> {
    fn new(page: &'a [u8], limits: &Limits) -> Lines<'a> {
        Lines {
            rest: (!page.is_empty()).then_some(page),
            number: 0,
            limit: limits.line_bytes,
        }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Result<(usize, &'a str), ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest?;
        self.number += 1;
        let line = match memchr::memchr(b'\n', rest) {
            Some(end) => {
                let after = &rest[end + 1..];
                self.rest = (!after.is_empty()).then_some(after);
                &rest[..end]
            }
            None => {
                self.rest = None;
                rest
            }
        };
        let fail = |reason: String| {
            Some(Err(ParseError {
                line: self.number,
                reason,
            }))
        };
        if line.len() > self.limit {
            return fail(format!("longer than {} bytes", self.limit));
        }
        match std::str::from_utf8(line) {
            Ok(line) => Some(Ok((self.number, line))),
            Err(error) => fail(format!("not UTF-8 at byte {}", error.valid_up_to() + 1)),
        }
    }
}

/// A key for a set of labels, whatever their order; no two different sets share one.
pub(super) fn label_key<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut pairs: Vec<(&str, &str)> = labels.collect();
    pairs.sort_unstable();
    let mut key = String::with_capacity(
        pairs
            .iter()
            .map(|(name, value)| name.len() + value.len() + 8)
            .sum(),
    );
    for (name, value) in pairs {
        // Lengths first, so that no choice of names and values can imitate another.
        key.push_str(&format!("{}:{name}{}:{value}", name.len(), value.len()));
    }
    key
}

#[cfg(test)]
mod tests;
