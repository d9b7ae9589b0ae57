//! Owns the faults of looking up and reaching other services. What they spoil stands in `discovery` and `call`.

use super::kind::{Form, KindInfo, any, kind, param, required};

pub(super) const KINDS: &[KindInfo] = &[
    kind(
        "cache_pin",
        "The lookup cache of this caller is frozen: it goes on using addresses that are gone.",
    ),
    kind(
        "partition",
        "Calls from this service to another one run into their timeout.",
    )
    .takes(&[required("to", Form::Text)]),
    kind(
        "lost_reply",
        "The effect happens and the answer never arrives: the caller sees a timeout.",
    )
    .takes(&[any("rpc", Form::Text), param("share", Form::Share, "1")]),
    kind(
        "stream_stall",
        "An open stream stays open and says nothing more.",
    ),
];
