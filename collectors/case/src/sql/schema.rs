//! The tables as SQL sees them: every column of the segments' files, what it holds, and what stands beside it.
//!
//! Columns that only serve others (the letters beside a map, the bits that say which numbers are there) are hidden:
//! `SELECT *` leaves them out, by name they can be asked for.

use crate::manifest::Content;

/// What a column holds, which decides how it is read and what SQL gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Unsigned 64 bits: an INTEGER, or a REAL where it does not fit one.
    U64,
    /// Signed 64 bits.
    I64,
    /// Unsigned 32 bits.
    U32,
    /// Signed 32 bits.
    I32,
    F64,
    /// Text with a dictionary.
    Text,
    /// Ids: text that hardly ever repeats and has no dictionary.
    Id,
    /// Attributes, as a JSON object; beside it the column of letters.
    Map {
        letters: &'static str,
    },
    /// A JSON array.
    List(Item),
    /// A JSON array of objects; beside it the column of letters.
    Maps {
        letters: &'static str,
    },
    /// A point's number as it was sent: INTEGER, REAL, or NULL for none.
    Number {
        int: &'static str,
        letter: &'static str,
    },
    /// A double that is NULL unless the bit is set in `Present`.
    Optional {
        bit: u8,
    },
    /// A log record's body: text, or JSON where it was a list or a map.
    Body {
        letter: &'static str,
    },
    /// One attribute out of a map, typed as it was sent.
    Attribute {
        map: &'static str,
        key: String,
    },
}

/// What a list holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Item {
    U64,
    I64,
    U32,
    F64,
    Text,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) hidden: bool,
}

impl Column {
    /// The declared type, which decides how SQLite compares the column with texts and numbers.
    pub(super) fn declared(&self) -> &'static str {
        match self.kind {
            Kind::U64 | Kind::I64 | Kind::U32 | Kind::I32 => "INTEGER",
            Kind::F64 | Kind::Optional { .. } => "REAL",
            Kind::Text
            | Kind::Id
            | Kind::Map { .. }
            | Kind::List(_)
            | Kind::Maps { .. }
            | Kind::Body { .. } => "TEXT",
            // No affinity: a number stays a number and a text a text. Ids of twenty digits must not be compared as doubles.
            Kind::Number { .. } | Kind::Attribute { .. } => "BLOB",
        }
    }

    /// What the column holds, for people.
    pub(super) fn shown(&self) -> &'static str {
        match self.kind {
            Kind::U64 | Kind::I64 | Kind::U32 | Kind::I32 => "integer",
            Kind::F64 | Kind::Optional { .. } => "real",
            Kind::Text | Kind::Id | Kind::Body { .. } => "text",
            Kind::Map { .. } => "json object",
            Kind::List(_) | Kind::Maps { .. } => "json array",
            Kind::Number { .. } => "number",
            Kind::Attribute { .. } => "any",
        }
    }

    pub(super) fn attribute(map: &'static str, key: &str) -> Column {
        Column {
            name: attribute_name(map, key),
            kind: Kind::Attribute {
                map,
                key: key.to_owned(),
            },
            hidden: true,
        }
    }
}

/// The name under which one attribute of a map is a column of its own.
pub(super) fn attribute_name(map: &str, key: &str) -> String {
    format!("{map}['{}']", key.replace('\'', "''"))
}

/// Short names of tables people ask for all the time.
pub(super) const ALIASES: [(&str, Content); 2] =
    [("spans", Content::Traces), ("logs", Content::Logs)];

/// Maps that `Map['key']` works on.
pub(super) const MAPS: [&str; 6] = [
    "SpanAttributes",
    "LogAttributes",
    "ResourceAttributes",
    "ScopeAttributes",
    "Attributes",
    "MetricMetadata",
];

struct List(Vec<Column>);

impl List {
    fn with(mut self, name: &str, kind: Kind) -> List {
        self.0.push(Column {
            name: name.to_owned(),
            kind,
            hidden: false,
        });
        self
    }

    fn hidden(mut self, name: &str, kind: Kind) -> List {
        self.0.push(Column {
            name: name.to_owned(),
            kind,
            hidden: true,
        });
        self
    }

    fn map(self, name: &'static str, letters: &'static str) -> List {
        self.with(name, Kind::Map { letters })
            .hidden(letters, Kind::Text)
    }

    fn maps(self, name: &'static str, letters: &'static str) -> List {
        self.with(name, Kind::Maps { letters })
            .hidden(letters, Kind::List(Item::Text))
    }

    fn origin(self) -> List {
        self.with("ServiceName", Kind::Text)
            .map("ResourceAttributes", "ResourceAttributeTypes")
            .with("ResourceDroppedAttributesCount", Kind::U32)
            .with("ResourceSchemaUrl", Kind::Text)
            .with("ScopeName", Kind::Text)
            .with("ScopeVersion", Kind::Text)
            .map("ScopeAttributes", "ScopeAttributeTypes")
            .with("ScopeDroppedAttributesCount", Kind::U32)
            .with("ScopeSchemaUrl", Kind::Text)
    }

    fn spans() -> List {
        List(Vec::new())
            .with("Timestamp", Kind::U64)
            .with("TraceId", Kind::Text)
            .with("SpanId", Kind::Id)
            .with("ParentSpanId", Kind::Id)
            .with("TraceState", Kind::Text)
            .with("SpanName", Kind::Text)
            .with("SpanKind", Kind::Text)
            .origin()
            .map("SpanAttributes", "SpanAttributeTypes")
            .with("Duration", Kind::U64)
            .with("StatusCode", Kind::Text)
            .with("StatusMessage", Kind::Text)
            .with("Events.Timestamp", Kind::List(Item::U64))
            .with("Events.Name", Kind::List(Item::Text))
            .maps("Events.Attributes", "Events.AttributeTypes")
            .with("Events.DroppedAttributesCount", Kind::List(Item::U32))
            .with("Links.TraceId", Kind::List(Item::Text))
            .with("Links.SpanId", Kind::List(Item::Text))
            .with("Links.TraceState", Kind::List(Item::Text))
            .maps("Links.Attributes", "Links.AttributeTypes")
            .with("Links.Flags", Kind::List(Item::U32))
            .with("Links.DroppedAttributesCount", Kind::List(Item::U32))
            .with("Flags", Kind::U32)
            .with("EndsBeforeStartBy", Kind::U64)
            .with("DroppedAttributesCount", Kind::U32)
            .with("DroppedEventsCount", Kind::U32)
            .with("DroppedLinksCount", Kind::U32)
    }

    fn logs() -> List {
        List(Vec::new())
            .with("Timestamp", Kind::U64)
            .with("TraceId", Kind::Text)
            .with("SpanId", Kind::Id)
            .with("TraceFlags", Kind::U32)
            .with("SeverityText", Kind::Text)
            .with("SeverityNumber", Kind::I32)
            .with("Body", Kind::Body { letter: "BodyType" })
            .origin()
            .map("LogAttributes", "LogAttributeTypes")
            .with("EventName", Kind::Text)
            .with("ObservedTimestamp", Kind::U64)
            .with("TimeUnixNano", Kind::U64)
            .hidden("BodyType", Kind::Text)
            .with("DroppedAttributesCount", Kind::U32)
    }

    fn points() -> List {
        List(Vec::new())
            .with("TimeUnix", Kind::U64)
            .with("MetricName", Kind::Text)
            .with("MetricDescription", Kind::Text)
            .with("MetricUnit", Kind::Text)
            .origin()
            .map("Attributes", "AttributeTypes")
            .map("MetricMetadata", "MetricMetadataTypes")
            .with("StartTimeUnix", Kind::U64)
            .with("Flags", Kind::U32)
            .maps(
                "Exemplars.FilteredAttributes",
                "Exemplars.FilteredAttributeTypes",
            )
            .with("Exemplars.TimeUnix", Kind::List(Item::U64))
            .with("Exemplars.Value", Kind::List(Item::F64))
            .hidden("Exemplars.ValueInt", Kind::List(Item::I64))
            .hidden("Exemplars.ValueType", Kind::List(Item::Text))
            .with("Exemplars.SpanId", Kind::List(Item::Text))
            .with("Exemplars.TraceId", Kind::List(Item::Text))
    }

    fn number(self) -> List {
        self.with(
            "Value",
            Kind::Number {
                int: "ValueInt",
                letter: "ValueType",
            },
        )
        .hidden("ValueInt", Kind::I64)
        .hidden("ValueType", Kind::Text)
    }

    fn distribution(self) -> List {
        self.with("AggregationTemporality", Kind::I32)
            .with("Count", Kind::U64)
            .with("Sum", Kind::Optional { bit: 0 })
            .with("Min", Kind::Optional { bit: 1 })
            .with("Max", Kind::Optional { bit: 2 })
            .hidden("Present", Kind::I32)
    }

    fn watched() -> List {
        List(Vec::new())
            .with("Timestamp", Kind::U64)
            .with("Subject", Kind::Text)
            .with("Kind", Kind::Text)
            .with("OrderId", Kind::Text)
            .with("Row", Kind::Text)
    }
}

/// The columns of a table, in the order of `SELECT *`.
pub(super) fn columns(content: Content) -> Vec<Column> {
    let counts = || Kind::List(Item::U64);
    let list = match content {
        Content::Traces => List::spans(),
        Content::Logs => List::logs(),
        Content::MetricsGauge => List::points().number(),
        Content::MetricsSum => List::points()
            .number()
            .with("AggregationTemporality", Kind::I32)
            .with("IsMonotonic", Kind::I32),
        Content::MetricsHistogram => List::points()
            .distribution()
            .with("ExplicitBounds", Kind::List(Item::F64))
            .with("BucketCounts", counts()),
        Content::MetricsExpHistogram => List::points()
            .distribution()
            .with("Scale", Kind::I32)
            .with("ZeroCount", Kind::U64)
            .with("ZeroThreshold", Kind::F64)
            .with("PositiveOffset", Kind::I32)
            .with("PositiveBucketCounts", counts())
            .with("NegativeOffset", Kind::I32)
            .with("NegativeBucketCounts", counts()),
        Content::MetricsSummary => List::points()
            .with("Count", Kind::U64)
            .with("Sum", Kind::F64)
            .with("ValueAtQuantiles.Quantile", Kind::List(Item::F64))
            .with("ValueAtQuantiles.Value", Kind::List(Item::F64)),
        _ => List::watched(),
    };
    list.0
}

/// Names of every column of every table that hold a dot, which SQL would otherwise take for a table and a column.
pub(super) fn dotted() -> Vec<String> {
    let mut names: Vec<String> = Content::TABLES
        .into_iter()
        .flat_map(columns)
        .map(|column| column.name)
        .filter(|name| name.contains('.'))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_beside_a_column_is_a_column_too() {
        for content in Content::TABLES {
            let columns = columns(content);
            let named = |name: &str| columns.iter().any(|column| column.name == name);
            for column in &columns {
                let beside: &[&str] = match &column.kind {
                    Kind::Map { letters } | Kind::Maps { letters } => &[letters],
                    Kind::Number { int, letter } => &[int, letter],
                    Kind::Optional { .. } => &["Present"],
                    Kind::Body { letter } => &[letter],
                    _ => &[],
                };
                assert!(beside.iter().all(|name| named(name)), "{}", column.name);
            }
            let mut names: Vec<_> = columns.iter().map(|column| &column.name).collect();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), columns.len(), "{content:?}");
        }
    }
}
