//! Owns the faults of going forward and back in a saga: failures that lead nowhere, undos that do half of it, keys that
//! change. What they spoil stands in `saga`, `services` and `idempotency`.

use super::kind::{Form, KindInfo, any, kind, param, required};
use crate::catalog::{CHECKOUT, INVENTORY, ORDERS, PAYMENT, SHIPPING};

const ORCHESTRATORS: &[&str] = &[ORDERS, CHECKOUT];

pub(super) const KINDS: &[KindInfo] = &[
    kind(
        "refuse",
        "A share of the steps asked of this service is answered with an error.",
    )
    .takes(&[
        param("code", Form::Number, "409"),
        param("share", Form::Share, "1"),
    ])
    .only_on(&[PAYMENT, INVENTORY, SHIPPING]),
    kind(
        "undo_never_starts",
        "A step that fails for good leaves the saga where it is.",
    )
    .only_on(ORCHESTRATORS),
    kind(
        "undo_handler_missing",
        "One kind of step is left out when a saga is undone.",
    )
    .takes(&[required("step", Form::Text)])
    .only_on(ORCHESTRATORS),
    kind(
        "undo_bypassed",
        "A step without an answer ends the saga as failed, and nothing is undone.",
    )
    .only_on(ORCHESTRATORS),
    kind(
        "undo_forward_key",
        "Undoing a step is sent under the key of the step itself.",
    )
    .takes(&[any("step", Form::Text)])
    .only_on(ORCHESTRATORS),
    kind(
        "request_hash_ignored",
        "A known key is answered from its record, whatever the request.",
    ),
    kind(
        "retry_count_lost",
        "A failing step is sent again without end, and the count of attempts is not kept.",
    )
    .takes(&[any("step", Form::Text)])
    .only_on(ORCHESTRATORS),
    kind(
        "operation_unchecked",
        "A request that comes again under its key begins another saga.",
    )
    .only_on(&[ORDERS]),
    kind(
        "operation_races",
        "Whether a request came before is looked up some time before it is written down.",
    )
    .takes(&[param("ms", Form::Number, "100")])
    .only_on(&[ORDERS]),
    kind(
        "operation_renamed",
        "Every request gets an operation id of its own, whatever key it brings.",
    )
    .only_on(&[ORDERS]),
    kind(
        "journal_after_call",
        "The intent of a step is written only together with its result.",
    )
    .only_on(ORCHESTRATORS),
    kind(
        "journal_write_lost",
        "A share of what the journal should take is refused, and the saga goes on.",
    )
    .takes(&[param("share", Form::Share, "0.2")])
    .only_on(ORCHESTRATORS),
    kind(
        "cancel_untold",
        "An order that is undone is not told to anybody.",
    )
    .only_on(&[ORDERS]),
    kind(
        "release_part",
        "Releasing a reservation gives back one piece of each line.",
    )
    .only_on(&[INVENTORY]),
    kind(
        "release_races",
        "Releasing reads the stock, waits, and writes back what it had read.",
    )
    .takes(&[param("ms", Form::Number, "200")])
    .only_on(&[INVENTORY]),
    kind(
        "release_stops_short",
        "Releasing a reservation gives up after its first line and reports success.",
    )
    .only_on(&[INVENTORY]),
    kind(
        "reservation_taken",
        "Reserved goods are taken from the shelf at once; releasing them is refused.",
    )
    .only_on(&[INVENTORY]),
    kind(
        "reservation_purged",
        "Reservations are deleted soon after they were made; releasing one finds nothing.",
    )
    .takes(&[param("ms", Form::Number, "50")])
    .only_on(&[INVENTORY]),
    kind(
        "refund_part",
        "Refunds leave out a fixed part of what was taken.",
    )
    .takes(&[param("cents", Form::Number, "499")])
    .only_on(&[PAYMENT]),
    kind(
        "processor_refunds",
        "The processor behind payment fails refunds, or never answers them.",
    )
    .takes(&[param("mode", Form::OneOf(&["fails", "silent"]), "fails")])
    .only_on(&[PAYMENT]),
    kind(
        "capture_late",
        "A payment is taken long after it was asked for.",
    )
    .takes(&[param("ms", Form::Number, "15000")])
    .only_on(&[PAYMENT]),
];
