//! Owns the faults of recovery after a crash. Most are to be there from the process's start, which is when recovery runs.
//! What they spoil stands in `saga::recovery` and `saga::journal`.

use super::kind::{Form, KindInfo, kind, param};
use crate::catalog::{CHECKOUT, ORDERS};

const ORCHESTRATORS: &[&str] = &[ORDERS, CHECKOUT];

pub(super) const KINDS: &[KindInfo] = &[
    kind("recovery_off", "Nobody looks for abandoned sagas.").only_on(ORCHESTRATORS),
    kind(
        "recovery_narrow",
        "The search for abandoned sagas selects those alone that have done nothing yet.",
    )
    .only_on(ORCHESTRATORS),
    kind(
        "recovery_stops_early",
        "The first abandoned saga is recovered, and then nobody looks any more.",
    )
    .only_on(ORCHESTRATORS),
    kind(
        "recovery_from_start",
        "A recovered saga runs all its steps again, under new keys.",
    )
    .only_on(ORCHESTRATORS),
    kind(
        "recovery_new_keys",
        "A recovered saga goes on under new keys.",
    )
    .only_on(ORCHESTRATORS),
    kind(
        "recovery_misreads",
        "One state is taken for its opposite when recovery decides.",
    )
    .takes(&[param("state", Form::Text, "payment_processed")])
    .only_on(ORCHESTRATORS),
    kind(
        "recovery_by_chance",
        "Sagas with a step in progress are carried on and undone in turn.",
    )
    .only_on(ORCHESTRATORS),
    kind(
        "recovery_blind",
        "Recovery does not read again what its orders have become.",
    )
    .only_on(&[ORDERS]),
    kind(
        "closed_meanwhile",
        "Orders of abandoned sagas are cancelled by a customer before anybody recovers them.",
    )
    .only_on(&[ORDERS]),
    kind(
        "journal_buffered",
        "The journal is kept in memory and written every few seconds.",
    )
    .takes(&[param("ms", Form::Number, "5000")])
    .only_on(ORCHESTRATORS),
    kind(
        "journal_fields_missing",
        "The journal is written without times and without what is completed.",
    )
    .only_on(ORCHESTRATORS),
];
