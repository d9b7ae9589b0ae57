//! Owns the faults of trace context and of telemetry on its way out. What they spoil stands in `server`, `call` and
//! `telemetry`.

use super::kind::{Form, KindInfo, kind, param};

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
    .takes(&[param(
        "mode",
        Form::OneOf(&[
            "drop_extract",
            "drop_inject",
            "async_spawn",
            "malformed",
            "wrong_parent",
            "bus_metadata",
        ]),
        "drop_extract",
    )]),
    kind(
        "unfinished_span",
        "A share of the spans never ends, so it is never sent.",
    )
    .takes(&[param("share", Form::Share, "1")]),
    kind(
        "export_drop",
        "A share of the telemetry batches is thrown away.",
    )
    .takes(&[param("share", Form::Share, "1")]),
    kind("export_delay", "Telemetry is sent late.").takes(&[param("ms", Form::Number, "5000")]),
];
