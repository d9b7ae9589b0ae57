//! Owns the faults of deployments: a release that does worse than the one before, and a schema that loses a column which
//! old releases still need. Both are carried out by the supervisor, through `supervisor::deploy`.

use super::kind::{Form, KindInfo, Reach, kind, param};
use crate::catalog::PAYMENT;

pub(super) const KINDS: &[KindInfo] = &[
    kind(
        "bad_release",
        "A canary of the service is brought out that does to every request what its behaviour string says.",
    )
    .takes(&[
        param("version", Form::Text, "1.1.0"),
        param("behavior", Form::Text, "error=0.2"),
        param(
            "plan",
            Form::OneOf(&["capstone", "short", "cloudscale"]),
            "short",
        ),
    ])
    .reach(Reach::Process),
    kind(
        "early_contract",
        "The schema's migration goes to its end at once: releases that still write the old column fail.",
    )
    .reach(Reach::Process)
    .only_on(&[PAYMENT]),
];
