//! Owns the faults of trace context and of telemetry on its way out. What they spoil stands in `server`, `call` and
//! `telemetry`.

use super::kind::{Form, KindInfo, any, kind, param};
use crate::propagation::misread;

pub(super) const KINDS: &[KindInfo] = &[
    kind(
        "clock_skew",
        "The instance's clock is off: its span and log times are shifted.",
    )
    .takes(&[param("offset_ms", Form::Integer, "-400")]),
    kind(
        "lost_context",
        "The trace breaks here: orphan roots, wrong parents or missing links.",
    )
    .takes(&[
        param(
            "mode",
            Form::OneOf(&[
                "drop_extract",
                "extract_late",
                "extract_shared",
                "drop_inject",
                "async_spawn",
                "malformed",
                "wrong_parent",
                "server_span",
                "empty_parent",
                "earlier_call",
                "calls_shared",
                "bus_metadata",
            ]),
            "drop_extract",
        ),
        // Of calls made: http or grpc alone. Of calls taken: spans whose name has this in it.
        any("transport", Form::OneOf(&["http", "grpc"])),
        any("route", Form::Text),
    ]),
    kind(
        "header_misread",
        "The trace headers of callers are read by a parser that is wrong in one way.",
    )
    .takes(&[param(
        "mode",
        Form::OneOf(misread::MODES),
        "upper_case_only",
    )]),
    kind(
        "spans_flat",
        "Spans are made without knowing the one they belong under.",
    )
    .takes(&[param(
        "mode",
        Form::OneOf(&["no_context", "no_current", "trace_id_alone"]),
        "no_context",
    )]),
    kind(
        "parents_shared",
        "All requests of the process share one variable that holds the current span.",
    ),
    kind(
        "span_skipped",
        "No server span is made for a route; what it does hangs under the caller.",
    )
    .takes(&[param("route", Form::Text, "/")]),
    kind(
        "span_sampled_out",
        "A share of the requests of a route is kept in traces, the rest of them nowhere.",
    )
    .takes(&[
        param("route", Form::Text, "/"),
        param("share", Form::Share, "0.01"),
    ]),
    kind(
        "unfinished_span",
        "A share of the spans never ends, so it is never sent.",
    )
    .takes(&[param("share", Form::Share, "1"), any("route", Form::Text)]),
    kind(
        "span_leak",
        "A share of the server spans never ends, and keeps what it holds in memory.",
    )
    .takes(&[
        param("share", Form::Share, "0.5"),
        param("kb", Form::Number, "128"),
    ]),
    kind(
        "span_times",
        "Server spans begin or end at another time than their work.",
    )
    .takes(&[param(
        "mode",
        Form::OneOf(&["starts_late", "ends_before_calls", "ends_before_work"]),
        "starts_late",
    )]),
    kind(
        "span_status_unset",
        "Failures leave the status of the span as it was.",
    ),
    kind(
        "export_queue",
        "The exporter's queue holds no more spans than this; what does not fit is lost.",
    )
    .takes(&[param("size", Form::Number, "20")]),
    kind(
        "export_drop",
        "A share of the telemetry batches is thrown away.",
    )
    .takes(&[param("share", Form::Share, "1")]),
    kind("export_delay", "Telemetry is sent late.").takes(&[param("ms", Form::Number, "5000")]),
];
