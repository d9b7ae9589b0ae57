//! The logs file: records as columns, in the order of their times.

use std::path::Path;

use super::Written;
use super::attributes::{AttributeLists, AttributeTables};
use super::intern::Interner;
use super::origins::{Origins, RESOURCE_SCHEMA};
use super::parquet::{TableFile, Texts, Values};
use super::spans::span_ids;
use crate::CaseError;
use crate::ids::{SpanId, TraceId, hex_into};
use crate::time::Nanos;
use crate::wire::logs::LogView;
use crate::wire::{AnyView, KeyValueView, OriginView};

/// Records gathered for one file.
#[derive(Default)]
pub(super) struct LogTable {
    origins: Origins,
    rows: Vec<Row>,
    texts: Interner,
    /// Bodies as lists of one, so that they are typed like attributes.
    bodies: AttributeTables,
    attributes: AttributeLists,
    attribute_tables: AttributeTables,
}

struct Row {
    origin: u32,
    time: u64,
    observed: u64,
    trace_id: TraceId,
    span_id: SpanId,
    flags: u32,
    severity_text: u32,
    severity_number: i32,
    body: u32,
    body_type: u32,
    event_name: u32,
    dropped: u32,
}

const SCHEMA: &str = "message logs {
    required int64 Timestamp (TIMESTAMP(NANOS,true));
    required binary TraceId (STRING);
    required binary SpanId (STRING);
    required int32 TraceFlags (INTEGER(32,false));
    required binary SeverityText (STRING);
    required int32 SeverityNumber;
    required binary Body (STRING);
    {resource}
    required group LogAttributes (MAP) { repeated group key_value { required binary key (STRING); required binary value (STRING); } }
    required binary LogAttributeTypes (STRING);
    required binary EventName (STRING);
    required int64 ObservedTimestamp (TIMESTAMP(NANOS,true));
    required int64 TimeUnixNano (INTEGER(64,false));
    required binary BodyType (STRING);
    required int32 DroppedAttributesCount (INTEGER(32,false));
}";

impl LogTable {
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn next_request(&mut self) {
        self.origins.next_request();
    }

    pub(super) fn push(
        &mut self,
        origin: &OriginView<'_>,
        record: &LogView<'_>,
        pairs: &[KeyValueView<'_>],
    ) {
        let mut list = AttributeLists::default();
        let body = KeyValueView {
            key: "",
            value: record.body,
        };
        // An absent body and an empty one read the same: OTLP has one word for both.
        let body = if matches!(record.body, AnyView::Empty) {
            &[][..]
        } else {
            &[body]
        };
        list.push(body, &mut self.bodies);
        let (body, body_type) = list.first().unwrap_or_else(|| {
            (
                self.bodies.values.intern(b""),
                self.bodies.types.intern(b"e"),
            )
        });
        self.rows.push(Row {
            origin: self.origins.of(origin),
            time: record.time,
            observed: record.observed,
            trace_id: record.trace_id,
            span_id: record.span_id,
            flags: record.flags,
            severity_text: self.texts.intern(record.severity_text.as_bytes()),
            severity_number: record.severity_number,
            body,
            body_type,
            event_name: self.texts.intern(record.event_name.as_bytes()),
            dropped: record.dropped_attributes,
        });
        self.attributes.push(pairs, &mut self.attribute_tables);
    }

    pub(super) fn window(&self) -> (Nanos, Nanos) {
        let first = self.rows.iter().map(Row::at).min().unwrap_or(0);
        let last = self.rows.iter().map(Row::at).max().unwrap_or(0);
        (Nanos(first), Nanos(last))
    }

    pub(super) fn write(&self, path: &Path) -> Result<Written, CaseError> {
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        order.sort_by_key(|row| self.rows[*row].at());
        let rows = || order.iter().map(|row| &self.rows[*row]);
        let mut file = TableFile::create(
            path,
            &SCHEMA.replace("{resource}", RESOURCE_SCHEMA),
            order.len(),
        )?;
        let texts = |table, numbers| Values::Texts(Texts { table, numbers });
        file.plain(&Values::I64(
            rows().map(|row| row.at().cast_signed()).collect(),
        ))?;
        let mut ids = Interner::default();
        let numbers = rows()
            .map(|row| {
                let mut hex = [0; 32];
                hex_into(&row.trace_id.0, &mut hex);
                ids.intern(if row.trace_id.is_some() { &hex } else { b"" })
            })
            .collect();
        file.plain(&texts(&ids, numbers))?;
        file.plain(&span_ids(rows().map(|row| row.span_id)))?;
        file.plain(&Values::I32(
            rows().map(|row| row.flags.cast_signed()).collect(),
        ))?;
        file.plain(&texts(
            &self.texts,
            rows().map(|row| row.severity_text).collect(),
        ))?;
        file.plain(&Values::I32(
            rows().map(|row| row.severity_number).collect(),
        ))?;
        file.plain(&texts(
            &self.bodies.values,
            rows().map(|row| row.body).collect(),
        ))?;
        self.origins
            .write(rows().map(|row| row.origin), &mut file)?;
        self.attributes
            .write(order.iter().copied(), &self.attribute_tables, &mut file)?;
        file.plain(&texts(
            &self.texts,
            rows().map(|row| row.event_name).collect(),
        ))?;
        file.plain(&Values::I64(
            rows().map(|row| row.observed.cast_signed()).collect(),
        ))?;
        file.plain(&Values::I64(
            rows().map(|row| row.time.cast_signed()).collect(),
        ))?;
        file.plain(&texts(
            &self.bodies.types,
            rows().map(|row| row.body_type).collect(),
        ))?;
        file.plain(&Values::I32(
            rows().map(|row| row.dropped.cast_signed()).collect(),
        ))?;
        file.finish()
    }
}

impl Row {
    fn at(&self) -> u64 {
        if self.time != 0 {
            self.time
        } else {
            self.observed
        }
    }
}
