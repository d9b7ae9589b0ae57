//! What the columns of a CSV file mean, as a TOML file says it. Those in `mappings/` are built in and are found by the
//! header they name; any other is given by path.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::split::Record;
use crate::import::logs::stamp::Unit;
use crate::import::report::clip;

/// A mapping file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    pub name: String,
    /// What it is for, in a sentence.
    #[serde(default)]
    pub about: String,
    pub(super) layout: Layout,
    /// The header by which a file is known, or the first cells of its header rows.
    #[serde(default)]
    pub(super) header: Vec<String>,
    #[serde(default)]
    pub(super) fields: BTreeMap<FieldName, FieldSpec>,
    /// Resource attributes by name.
    #[serde(default)]
    pub(super) resource: BTreeMap<String, FieldSpec>,
    /// Attributes of the span, record or point by name.
    #[serde(default)]
    pub(super) attributes: BTreeMap<String, FieldSpec>,
    /// Columns of a `wide` file that are no metrics.
    #[serde(default)]
    pub(super) ignore: Vec<String>,
    /// What the header rows of a `matrix` file say: `service`, `metric`, or the name of an attribute.
    #[serde(default)]
    pub(super) header_rows: Vec<String>,
    /// The metric that an `edges` file becomes.
    #[serde(default)]
    pub(super) metric: String,
    /// Units by metric name.
    #[serde(default)]
    pub(super) units: BTreeMap<String, String>,
}

/// How a file is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Layout {
    /// A span a row.
    Spans,
    /// A log record a row.
    Logs,
    /// A metric point a row.
    Points,
    /// A row a moment, a column a metric.
    Wide,
    /// A row a moment, columns described by several header rows.
    Matrix,
    /// A square of names: who calls whom.
    Edges,
}

/// The fields of a span, log record or point that a column can fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FieldName {
    Time,
    Observed,
    Start,
    End,
    Duration,
    TraceId,
    SpanId,
    ParentSpanId,
    TraceState,
    Flags,
    Name,
    Kind,
    Service,
    Status,
    StatusMessage,
    ScopeName,
    ScopeVersion,
    ResourceJson,
    AttributesJson,
    EventsJson,
    LinksJson,
    Level,
    SeverityNumber,
    Message,
    MessageJson,
    EventName,
    Metric,
    Description,
    Unit,
    Value,
    PointKind,
    DataJson,
    ExemplarsJson,
}

/// Where a field's text comes from and what is done to it.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "FieldText")]
pub(super) struct FieldSpec {
    pub(super) column: String,
    /// Texts that mean nothing is there.
    pub(super) none: Vec<String>,
    /// The unit of a time or duration in numbers; told from its size where not given.
    pub(super) unit: Option<UnitName>,
    /// How many parts at the end are left out …
    pub(super) drop_last: usize,
    /// … and what parts them.
    pub(super) separator: String,
    /// The text is a JSON object, and this field of it is meant.
    pub(super) json_field: Option<String>,
    /// The first word of the text that names a level is meant.
    pub(super) level_word: bool,
    /// White space around it doesn't count.
    pub(super) trim: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum UnitName {
    S,
    Ms,
    Us,
    Ns,
}

impl UnitName {
    pub(super) fn unit(self) -> Unit {
        match self {
            UnitName::S => Unit::Seconds,
            UnitName::Ms => Unit::Millis,
            UnitName::Us => Unit::Micros,
            UnitName::Ns => Unit::Nanos,
        }
    }
}

/// A column's name alone, or a table.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected the name of a column, or a table with `column` and known settings"
)]
enum FieldText {
    Column(String),
    Table(FieldTable),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldTable {
    column: String,
    #[serde(default)]
    none: Vec<String>,
    unit: Option<UnitName>,
    #[serde(default)]
    drop_last: usize,
    #[serde(default = "dash")]
    separator: String,
    json_field: Option<String>,
    #[serde(default)]
    level_word: bool,
    #[serde(default)]
    trim: bool,
}

fn dash() -> String {
    "-".to_owned()
}

impl From<FieldText> for FieldSpec {
    fn from(text: FieldText) -> FieldSpec {
        match text {
            FieldText::Column(column) => FieldSpec {
                column,
                none: Vec::new(),
                unit: None,
                drop_last: 0,
                separator: dash(),
                json_field: None,
                level_word: false,
                trim: false,
            },
            FieldText::Table(table) => FieldSpec {
                column: table.column,
                none: table.none,
                unit: table.unit,
                drop_last: table.drop_last,
                separator: table.separator,
                json_field: table.json_field,
                level_word: table.level_word,
                trim: table.trim,
            },
        }
    }
}

/// A mapping that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    #[error("mapping {name}: {reason}")]
    Unreadable { name: String, reason: String },
    #[error("mapping {mapping} wants a column {column:?}; the header has {header}")]
    MissingColumn {
        mapping: String,
        column: String,
        header: String,
    },
    #[error("mapping {mapping}: {reason}")]
    Incomplete { mapping: String, reason: String },
}

const BUILT_IN: [(&str, &str); 9] = [
    (
        "nezha-traces",
        include_str!("../../../mappings/nezha-traces.toml"),
    ),
    (
        "nezha-logs",
        include_str!("../../../mappings/nezha-logs.toml"),
    ),
    (
        "nezha-metrics",
        include_str!("../../../mappings/nezha-metrics.toml"),
    ),
    (
        "nezha-front",
        include_str!("../../../mappings/nezha-front.toml"),
    ),
    (
        "petshop-metrics",
        include_str!("../../../mappings/petshop-metrics.toml"),
    ),
    (
        "petshop-graph",
        include_str!("../../../mappings/petshop-graph.toml"),
    ),
    (
        "casefile-spans",
        include_str!("../../../mappings/casefile-spans.toml"),
    ),
    (
        "casefile-logs",
        include_str!("../../../mappings/casefile-logs.toml"),
    ),
    (
        "casefile-metrics",
        include_str!("../../../mappings/casefile-metrics.toml"),
    ),
];

impl Mapping {
    /// Reads a mapping file's text.
    pub fn parse(name: &str, text: &str) -> Result<Mapping, MappingError> {
        let mapping: Mapping = toml::from_str(text).map_err(|error| MappingError::Unreadable {
            name: name.to_owned(),
            reason: error.to_string().trim().to_owned(),
        })?;
        mapping.check()?;
        Ok(mapping)
    }

    /// The names of the built-in mappings.
    pub fn built_in_names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    /// A built-in mapping by name.
    pub fn built_in(name: &str) -> Option<Mapping> {
        let (name, text) = BUILT_IN.iter().find(|(known, _)| *known == name)?;
        // A test reads every one of them, so none is unreadable.
        Mapping::parse(name, text).ok()
    }

    /// The built-in mapping whose header a file's first lines show.
    pub(in crate::import) fn built_in_for(lines: &[&str]) -> Option<Mapping> {
        Mapping::built_in_names()
            .filter_map(Mapping::built_in)
            .find(|mapping| mapping.fits(lines))
    }

    fn fits(&self, lines: &[&str]) -> bool {
        let cells = |line: &str| {
            let mut record = Record::default();
            record.split(line.as_bytes());
            record.texts()
        };
        let Some(first) = lines.first().map(|line| cells(line)) else {
            return false;
        };
        match self.layout {
            Layout::Matrix => {
                self.header.len() <= lines.len()
                    && self
                        .header
                        .iter()
                        .zip(lines)
                        .all(|(expected, line)| cells(line).first() == Some(expected))
            }
            Layout::Edges => {
                let row = lines.get(1).map(|line| cells(line));
                first.len() >= 3
                    && first[0].is_empty()
                    && row
                        .is_some_and(|row| row.len() == first.len() && first[1..].contains(&row[0]))
            }
            _ => first == self.header,
        }
    }

    fn check(&self) -> Result<(), MappingError> {
        let missing = |reason: String| {
            Err(MappingError::Incomplete {
                mapping: self.name.clone(),
                reason,
            })
        };
        let needed: &[FieldName] = match self.layout {
            Layout::Spans => &[FieldName::TraceId, FieldName::SpanId, FieldName::Start],
            Layout::Logs | Layout::Wide => &[FieldName::Time],
            Layout::Points => &[FieldName::Time, FieldName::Metric],
            Layout::Matrix | Layout::Edges => &[],
        };
        for field in needed {
            if !self.fields.contains_key(field) {
                return missing(format!("[fields] says nothing of {field:?}"));
            }
        }
        match self.layout {
            Layout::Matrix if !self.header_rows.iter().any(|row| row == "metric") => {
                missing("header_rows names no row `metric`".to_owned())
            }
            Layout::Edges if self.metric.is_empty() => {
                missing("`metric` names no metric for the edges".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// The place of a column in a header.
    pub(super) fn place(&self, spec: &FieldSpec, header: &[String]) -> Result<usize, MappingError> {
        header
            .iter()
            .position(|name| *name == spec.column)
            .ok_or_else(|| MappingError::MissingColumn {
                mapping: self.name.clone(),
                column: spec.column.clone(),
                header: header
                    .iter()
                    .take(24)
                    .map(|name| clip(name))
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn every_built_in_mapping_can_be_read_and_bears_its_name() {
        for (name, text) in BUILT_IN {
            let mapping = Mapping::parse(name, text).unwrap();
            assert_eq!(mapping.name, name);
            assert!(!mapping.about.is_empty(), "{name}");
        }
    }

    #[test]
    fn no_built_in_mapping_hides_another() {
        for (name, _) in BUILT_IN {
            let mapping = Mapping::built_in(name).unwrap();
            if matches!(mapping.layout, Layout::Matrix | Layout::Edges) {
                continue;
            }
            let header = mapping.header.join(",");
            assert_eq!(Mapping::built_in_for(&[&header]).unwrap().name, name);
        }
    }

    #[test]
    fn mistakes_in_a_mapping_are_named() {
        let unknown =
            Mapping::parse("m", "name = \"m\"\nlayout = \"spans\"\ncolour = 1\n").unwrap_err();
        assert!(unknown.to_string().contains("colour"), "{unknown}");
        let incomplete = Mapping::parse("m", "name = \"m\"\nlayout = \"spans\"\n").unwrap_err();
        assert!(incomplete.to_string().contains("TraceId"), "{incomplete}");
        let field = Mapping::parse(
            "m",
            "name = \"m\"\nlayout = \"logs\"\n[fields]\ntime = { column = \"a\", what = 1 }\n",
        );
        assert!(field.unwrap_err().to_string().contains("name of a column"));
    }
}
