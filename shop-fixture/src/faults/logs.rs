//! Owns the faults of logs and their correlation with traces. What they spoil stands in `telemetry`.

use super::kind::{Form, KindInfo, kind, param};

pub(super) const KINDS: &[KindInfo] = &[
    kind(
        "log_context_leak",
        "Logs carry the trace of another request.",
    ),
    kind(
        "log_field_rename",
        "A field of the logs has another name than everywhere else.",
    )
    .takes(&[
        param("from", Form::Text, "order_id"),
        param("to", Form::Text, "orderId"),
    ]),
];
