//! Owns the faults of logs and their correlation with traces. What they spoil stands in `telemetry`.

use super::kind::{Form, KindInfo, kind, param};

pub(super) const KINDS: &[KindInfo] = &[
    kind(
        "log_context_leak",
        "Logs carry the trace of another request.",
    ),
    kind(
        "log_ids",
        "Log lines of requests have their trace id elsewhere, in another form, or not at all.",
    )
    .takes(&[
        param(
            "mode",
            Form::OneOf(&[
                "in_text",
                "odd_form",
                "not_on_statement",
                "not_on_route",
                "not_in_task",
                "of_last_begun",
                "of_first_of_ten",
                "new_from_statement",
            ]),
            "in_text",
        ),
        // The statement's event name, or what the route has in it.
        param("of", Form::Text, "request.completed"),
    ]),
    kind(
        "log_elsewhere",
        "Log lines are written to the local file alone.",
    ),
    kind("log_shape", "Log records lack fields or have them damaged.").takes(&[param(
        "mode",
        Form::OneOf(&["no_static", "no_context", "escaped"]),
        "no_static",
    )]),
    kind(
        "log_field_rename",
        "A field of the logs has another name than everywhere else.",
    )
    .takes(&[
        param("from", Form::Text, "order_id"),
        param("to", Form::Text, "orderId"),
    ]),
];
