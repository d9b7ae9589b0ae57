//! The OTLP messages as one table: what both directions of the transcoder know of the protocol.
//!
//! Field numbers and types are those of OTLP 1.11. The fields that only profiles use are left out; they are skipped
//! like any field this table does not know.

/// A protobuf message and its fields, in the order canonical JSON lists them.
pub(super) struct Message {
    pub(super) name: &'static str,
    pub(super) fields: &'static [Field],
}

/// One field of a message.
pub(super) struct Field {
    pub(super) number: u32,
    /// The name canonical JSON uses.
    pub(super) camel: &'static str,
    /// The name in the `.proto` file, which some clients send.
    pub(super) snake: &'static str,
    pub(super) kind: Kind,
    pub(super) presence: Presence,
}

/// What a field holds, and so how it is written on both sides.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Text,
    /// Bytes that are hex in JSON: trace and span ids.
    HexId,
    /// Bytes that are base64 in JSON.
    Bytes,
    Bool,
    Double,
    Fixed32,
    Fixed64,
    SFixed64,
    Int64,
    UInt32,
    UInt64,
    SInt32,
    Enum(&'static [(&'static str, i32)]),
    Message(&'static Message),
}

/// When a field is there, and how often.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// A default value is the same as none.
    Implicit,
    /// A default value differs from none: `optional` fields and single messages.
    Explicit,
    /// One of the message's alternatives (no OTLP message has two such groups): explicit, and the last one wins.
    OneOf,
    /// Any number; numbers are packed.
    Repeated,
}

impl Message {
    /// The field a JSON key names, in either spelling.
    pub(super) fn by_name(&self, name: &str) -> Option<&'static Field>
    where
        Self: 'static,
    {
        self.fields
            .iter()
            .find(|field| field.camel == name || field.snake == name)
    }

    pub(super) fn index_of(&self, number: u32) -> Option<usize> {
        self.fields.iter().position(|field| field.number == number)
    }
}

const fn field(
    number: u32,
    camel: &'static str,
    snake: &'static str,
    kind: Kind,
    presence: Presence,
) -> Field {
    Field {
        number,
        camel,
        snake,
        kind,
        presence,
    }
}

use Kind::{
    Bool, Bytes, Double, Enum, Fixed32, Fixed64, HexId, Int64, Message as Nested, SFixed64, SInt32,
    Text, UInt32, UInt64,
};
use Presence::{Explicit, Implicit, OneOf, Repeated};

pub(super) static TRACES: Message = Message {
    name: "ExportTraceServiceRequest",
    fields: &[field(1, "resourceSpans", "resource_spans", Nested(&RESOURCE_SPANS), Repeated)],
};

pub(super) static LOGS: Message = Message {
    name: "ExportLogsServiceRequest",
    fields: &[field(1, "resourceLogs", "resource_logs", Nested(&RESOURCE_LOGS), Repeated)],
};

pub(super) static METRICS: Message = Message {
    name: "ExportMetricsServiceRequest",
    fields: &[field(1, "resourceMetrics", "resource_metrics", Nested(&RESOURCE_METRICS), Repeated)],
};

static RESOURCE_SPANS: Message = Message {
    name: "ResourceSpans",
    fields: &[
        field(1, "resource", "resource", Nested(&RESOURCE), Explicit),
        field(2, "scopeSpans", "scope_spans", Nested(&SCOPE_SPANS), Repeated),
        field(3, "schemaUrl", "schema_url", Text, Implicit),
    ],
};

static RESOURCE_LOGS: Message = Message {
    name: "ResourceLogs",
    fields: &[
        field(1, "resource", "resource", Nested(&RESOURCE), Explicit),
        field(2, "scopeLogs", "scope_logs", Nested(&SCOPE_LOGS), Repeated),
        field(3, "schemaUrl", "schema_url", Text, Implicit),
    ],
};

static RESOURCE_METRICS: Message = Message {
    name: "ResourceMetrics",
    fields: &[
        field(1, "resource", "resource", Nested(&RESOURCE), Explicit),
        field(2, "scopeMetrics", "scope_metrics", Nested(&SCOPE_METRICS), Repeated),
        field(3, "schemaUrl", "schema_url", Text, Implicit),
    ],
};

static RESOURCE: Message = Message {
    name: "Resource",
    fields: &[
        field(1, "attributes", "attributes", Nested(&KEY_VALUE), Repeated),
        field(2, "droppedAttributesCount", "dropped_attributes_count", UInt32, Implicit),
        field(3, "entityRefs", "entity_refs", Nested(&ENTITY_REF), Repeated),
    ],
};

static ENTITY_REF: Message = Message {
    name: "EntityRef",
    fields: &[
        field(1, "schemaUrl", "schema_url", Text, Implicit),
        field(2, "type", "type", Text, Implicit),
        field(3, "idKeys", "id_keys", Text, Repeated),
        field(4, "descriptionKeys", "description_keys", Text, Repeated),
    ],
};

static SCOPE: Message = Message {
    name: "InstrumentationScope",
    fields: &[
        field(1, "name", "name", Text, Implicit),
        field(2, "version", "version", Text, Implicit),
        field(3, "attributes", "attributes", Nested(&KEY_VALUE), Repeated),
        field(4, "droppedAttributesCount", "dropped_attributes_count", UInt32, Implicit),
    ],
};

static KEY_VALUE: Message = Message {
    name: "KeyValue",
    fields: &[
        field(1, "key", "key", Text, Implicit),
        field(2, "value", "value", Nested(&ANY_VALUE), Explicit),
    ],
};

pub(super) static ANY_VALUE: Message = Message {
    name: "AnyValue",
    fields: &[
        field(1, "stringValue", "string_value", Text, OneOf),
        field(2, "boolValue", "bool_value", Bool, OneOf),
        field(3, "intValue", "int_value", Int64, OneOf),
        field(4, "doubleValue", "double_value", Double, OneOf),
        field(5, "arrayValue", "array_value", Nested(&ARRAY_VALUE), OneOf),
        field(6, "kvlistValue", "kvlist_value", Nested(&KEY_VALUE_LIST), OneOf),
        field(7, "bytesValue", "bytes_value", Bytes, OneOf),
    ],
};

static ARRAY_VALUE: Message = Message {
    name: "ArrayValue",
    fields: &[field(1, "values", "values", Nested(&ANY_VALUE), Repeated)],
};

static KEY_VALUE_LIST: Message = Message {
    name: "KeyValueList",
    fields: &[field(1, "values", "values", Nested(&KEY_VALUE), Repeated)],
};

static SCOPE_SPANS: Message = Message {
    name: "ScopeSpans",
    fields: &[
        field(1, "scope", "scope", Nested(&SCOPE), Explicit),
        field(2, "spans", "spans", Nested(&SPAN), Repeated),
        field(3, "schemaUrl", "schema_url", Text, Implicit),
    ],
};

static SPAN: Message = Message {
    name: "Span",
    fields: &[
        field(1, "traceId", "trace_id", HexId, Implicit),
        field(2, "spanId", "span_id", HexId, Implicit),
        field(3, "traceState", "trace_state", Text, Implicit),
        field(4, "parentSpanId", "parent_span_id", HexId, Implicit),
        field(5, "name", "name", Text, Implicit),
        field(6, "kind", "kind", Enum(SPAN_KINDS), Implicit),
        field(7, "startTimeUnixNano", "start_time_unix_nano", Fixed64, Implicit),
        field(8, "endTimeUnixNano", "end_time_unix_nano", Fixed64, Implicit),
        field(9, "attributes", "attributes", Nested(&KEY_VALUE), Repeated),
        field(10, "droppedAttributesCount", "dropped_attributes_count", UInt32, Implicit),
        field(11, "events", "events", Nested(&EVENT), Repeated),
        field(12, "droppedEventsCount", "dropped_events_count", UInt32, Implicit),
        field(13, "links", "links", Nested(&LINK), Repeated),
        field(14, "droppedLinksCount", "dropped_links_count", UInt32, Implicit),
        field(15, "status", "status", Nested(&STATUS), Explicit),
        field(16, "flags", "flags", Fixed32, Implicit),
    ],
};

static EVENT: Message = Message {
    name: "Event",
    fields: &[
        field(1, "timeUnixNano", "time_unix_nano", Fixed64, Implicit),
        field(2, "name", "name", Text, Implicit),
        field(3, "attributes", "attributes", Nested(&KEY_VALUE), Repeated),
        field(4, "droppedAttributesCount", "dropped_attributes_count", UInt32, Implicit),
    ],
};

static LINK: Message = Message {
    name: "Link",
    fields: &[
        field(1, "traceId", "trace_id", HexId, Implicit),
        field(2, "spanId", "span_id", HexId, Implicit),
        field(3, "traceState", "trace_state", Text, Implicit),
        field(4, "attributes", "attributes", Nested(&KEY_VALUE), Repeated),
        field(5, "droppedAttributesCount", "dropped_attributes_count", UInt32, Implicit),
        field(6, "flags", "flags", Fixed32, Implicit),
    ],
};

static STATUS: Message = Message {
    name: "Status",
    fields: &[
        field(2, "message", "message", Text, Implicit),
        field(3, "code", "code", Enum(STATUS_CODES), Implicit),
    ],
};

static SPAN_KINDS: &[(&str, i32)] = &[
    ("SPAN_KIND_UNSPECIFIED", 0),
    ("SPAN_KIND_INTERNAL", 1),
    ("SPAN_KIND_SERVER", 2),
    ("SPAN_KIND_CLIENT", 3),
    ("SPAN_KIND_PRODUCER", 4),
    ("SPAN_KIND_CONSUMER", 5),
];

static STATUS_CODES: &[(&str, i32)] = &[
    ("STATUS_CODE_UNSET", 0),
    ("STATUS_CODE_OK", 1),
    ("STATUS_CODE_ERROR", 2),
];

static SCOPE_LOGS: Message = Message {
    name: "ScopeLogs",
    fields: &[
        field(1, "scope", "scope", Nested(&SCOPE), Explicit),
        field(2, "logRecords", "log_records", Nested(&LOG_RECORD), Repeated),
        field(3, "schemaUrl", "schema_url", Text, Implicit),
    ],
};

static LOG_RECORD: Message = Message {
    name: "LogRecord",
    fields: &[
        field(1, "timeUnixNano", "time_unix_nano", Fixed64, Implicit),
        field(11, "observedTimeUnixNano", "observed_time_unix_nano", Fixed64, Implicit),
        field(2, "severityNumber", "severity_number", Enum(SEVERITIES), Implicit),
        field(3, "severityText", "severity_text", Text, Implicit),
        field(5, "body", "body", Nested(&ANY_VALUE), Explicit),
        field(6, "attributes", "attributes", Nested(&KEY_VALUE), Repeated),
        field(7, "droppedAttributesCount", "dropped_attributes_count", UInt32, Implicit),
        field(8, "flags", "flags", Fixed32, Implicit),
        field(9, "traceId", "trace_id", HexId, Implicit),
        field(10, "spanId", "span_id", HexId, Implicit),
        field(12, "eventName", "event_name", Text, Implicit),
    ],
};

static SEVERITIES: &[(&str, i32)] = &[
    ("SEVERITY_NUMBER_UNSPECIFIED", 0),
    ("SEVERITY_NUMBER_TRACE", 1),
    ("SEVERITY_NUMBER_TRACE2", 2),
    ("SEVERITY_NUMBER_TRACE3", 3),
    ("SEVERITY_NUMBER_TRACE4", 4),
    ("SEVERITY_NUMBER_DEBUG", 5),
    ("SEVERITY_NUMBER_DEBUG2", 6),
    ("SEVERITY_NUMBER_DEBUG3", 7),
    ("SEVERITY_NUMBER_DEBUG4", 8),
    ("SEVERITY_NUMBER_INFO", 9),
    ("SEVERITY_NUMBER_INFO2", 10),
    ("SEVERITY_NUMBER_INFO3", 11),
    ("SEVERITY_NUMBER_INFO4", 12),
    ("SEVERITY_NUMBER_WARN", 13),
    ("SEVERITY_NUMBER_WARN2", 14),
    ("SEVERITY_NUMBER_WARN3", 15),
    ("SEVERITY_NUMBER_WARN4", 16),
    ("SEVERITY_NUMBER_ERROR", 17),
    ("SEVERITY_NUMBER_ERROR2", 18),
    ("SEVERITY_NUMBER_ERROR3", 19),
    ("SEVERITY_NUMBER_ERROR4", 20),
    ("SEVERITY_NUMBER_FATAL", 21),
    ("SEVERITY_NUMBER_FATAL2", 22),
    ("SEVERITY_NUMBER_FATAL3", 23),
    ("SEVERITY_NUMBER_FATAL4", 24),
];

static SCOPE_METRICS: Message = Message {
    name: "ScopeMetrics",
    fields: &[
        field(1, "scope", "scope", Nested(&SCOPE), Explicit),
        field(2, "metrics", "metrics", Nested(&METRIC), Repeated),
        field(3, "schemaUrl", "schema_url", Text, Implicit),
    ],
};

static METRIC: Message = Message {
    name: "Metric",
    fields: &[
        field(1, "name", "name", Text, Implicit),
        field(2, "description", "description", Text, Implicit),
        field(3, "unit", "unit", Text, Implicit),
        field(5, "gauge", "gauge", Nested(&GAUGE), OneOf),
        field(7, "sum", "sum", Nested(&SUM), OneOf),
        field(9, "histogram", "histogram", Nested(&HISTOGRAM), OneOf),
        field(10, "exponentialHistogram", "exponential_histogram", Nested(&EXPONENTIAL_HISTOGRAM), OneOf),
        field(11, "summary", "summary", Nested(&SUMMARY), OneOf),
        field(12, "metadata", "metadata", Nested(&KEY_VALUE), Repeated),
    ],
};

static GAUGE: Message = Message {
    name: "Gauge",
    fields: &[field(1, "dataPoints", "data_points", Nested(&NUMBER_POINT), Repeated)],
};

static SUM: Message = Message {
    name: "Sum",
    fields: &[
        field(1, "dataPoints", "data_points", Nested(&NUMBER_POINT), Repeated),
        field(2, "aggregationTemporality", "aggregation_temporality", Enum(TEMPORALITIES), Implicit),
        field(3, "isMonotonic", "is_monotonic", Bool, Implicit),
    ],
};

static HISTOGRAM: Message = Message {
    name: "Histogram",
    fields: &[
        field(1, "dataPoints", "data_points", Nested(&HISTOGRAM_POINT), Repeated),
        field(2, "aggregationTemporality", "aggregation_temporality", Enum(TEMPORALITIES), Implicit),
    ],
};

static EXPONENTIAL_HISTOGRAM: Message = Message {
    name: "ExponentialHistogram",
    fields: &[
        field(1, "dataPoints", "data_points", Nested(&EXPONENTIAL_POINT), Repeated),
        field(2, "aggregationTemporality", "aggregation_temporality", Enum(TEMPORALITIES), Implicit),
    ],
};

static SUMMARY: Message = Message {
    name: "Summary",
    fields: &[field(1, "dataPoints", "data_points", Nested(&SUMMARY_POINT), Repeated)],
};

static TEMPORALITIES: &[(&str, i32)] = &[
    ("AGGREGATION_TEMPORALITY_UNSPECIFIED", 0),
    ("AGGREGATION_TEMPORALITY_DELTA", 1),
    ("AGGREGATION_TEMPORALITY_CUMULATIVE", 2),
];

static NUMBER_POINT: Message = Message {
    name: "NumberDataPoint",
    fields: &[
        field(7, "attributes", "attributes", Nested(&KEY_VALUE), Repeated),
        field(2, "startTimeUnixNano", "start_time_unix_nano", Fixed64, Implicit),
        field(3, "timeUnixNano", "time_unix_nano", Fixed64, Implicit),
        field(4, "asDouble", "as_double", Double, OneOf),
        field(6, "asInt", "as_int", SFixed64, OneOf),
        field(5, "exemplars", "exemplars", Nested(&EXEMPLAR), Repeated),
        field(8, "flags", "flags", UInt32, Implicit),
    ],
};

static HISTOGRAM_POINT: Message = Message {
    name: "HistogramDataPoint",
    fields: &[
        field(9, "attributes", "attributes", Nested(&KEY_VALUE), Repeated),
        field(2, "startTimeUnixNano", "start_time_unix_nano", Fixed64, Implicit),
        field(3, "timeUnixNano", "time_unix_nano", Fixed64, Implicit),
        field(4, "count", "count", Fixed64, Implicit),
        field(5, "sum", "sum", Double, Explicit),
        field(6, "bucketCounts", "bucket_counts", Fixed64, Repeated),
        field(7, "explicitBounds", "explicit_bounds", Double, Repeated),
        field(8, "exemplars", "exemplars", Nested(&EXEMPLAR), Repeated),
        field(10, "flags", "flags", UInt32, Implicit),
        field(11, "min", "min", Double, Explicit),
        field(12, "max", "max", Double, Explicit),
    ],
};

static EXPONENTIAL_POINT: Message = Message {
    name: "ExponentialHistogramDataPoint",
    fields: &[
        field(1, "attributes", "attributes", Nested(&KEY_VALUE), Repeated),
        field(2, "startTimeUnixNano", "start_time_unix_nano", Fixed64, Implicit),
        field(3, "timeUnixNano", "time_unix_nano", Fixed64, Implicit),
        field(4, "count", "count", Fixed64, Implicit),
        field(5, "sum", "sum", Double, Explicit),
        field(6, "scale", "scale", SInt32, Implicit),
        field(7, "zeroCount", "zero_count", Fixed64, Implicit),
        field(8, "positive", "positive", Nested(&BUCKETS), Explicit),
        field(9, "negative", "negative", Nested(&BUCKETS), Explicit),
        field(10, "flags", "flags", UInt32, Implicit),
        field(11, "exemplars", "exemplars", Nested(&EXEMPLAR), Repeated),
        field(12, "min", "min", Double, Explicit),
        field(13, "max", "max", Double, Explicit),
        field(14, "zeroThreshold", "zero_threshold", Double, Implicit),
    ],
};

static BUCKETS: Message = Message {
    name: "Buckets",
    fields: &[
        field(1, "offset", "offset", SInt32, Implicit),
        field(2, "bucketCounts", "bucket_counts", UInt64, Repeated),
    ],
};

static SUMMARY_POINT: Message = Message {
    name: "SummaryDataPoint",
    fields: &[
        field(7, "attributes", "attributes", Nested(&KEY_VALUE), Repeated),
        field(2, "startTimeUnixNano", "start_time_unix_nano", Fixed64, Implicit),
        field(3, "timeUnixNano", "time_unix_nano", Fixed64, Implicit),
        field(4, "count", "count", Fixed64, Implicit),
        field(5, "sum", "sum", Double, Implicit),
        field(6, "quantileValues", "quantile_values", Nested(&QUANTILE), Repeated),
        field(8, "flags", "flags", UInt32, Implicit),
    ],
};

static QUANTILE: Message = Message {
    name: "ValueAtQuantile",
    fields: &[
        field(1, "quantile", "quantile", Double, Implicit),
        field(2, "value", "value", Double, Implicit),
    ],
};

static EXEMPLAR: Message = Message {
    name: "Exemplar",
    fields: &[
        field(7, "filteredAttributes", "filtered_attributes", Nested(&KEY_VALUE), Repeated),
        field(2, "timeUnixNano", "time_unix_nano", Fixed64, Implicit),
        field(3, "asDouble", "as_double", Double, OneOf),
        field(6, "asInt", "as_int", SFixed64, OneOf),
        field(4, "spanId", "span_id", HexId, Implicit),
        field(5, "traceId", "trace_id", HexId, Implicit),
    ],
};
