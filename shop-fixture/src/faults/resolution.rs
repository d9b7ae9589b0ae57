//! Owns the faults of looking up and reaching other services. What they spoil stands in `discovery` and `call`.

use super::kind::{Form, KindInfo, any, kind, param, required};

pub(super) const KINDS: &[KindInfo] = &[
    kind(
        "cache_pin",
        "The lookup cache of this caller is frozen: it goes on using addresses that are gone.",
    ),
    kind(
        "partition",
        "Calls from this service to another one run into their timeout, all the time or for a while of every period.",
    )
    .takes(&[
        required("to", Form::Text),
        any("on_s", Form::Number),
        any("every_s", Form::Number),
        // Where there are several registry nodes: one of them alone is cut off.
        any("node", Form::Number),
        any("only", Form::OneOf(&["undo"])),
    ]),
    kind(
        "registry_dns",
        "The registry's host name does not resolve for a share of the lookups.",
    )
    .takes(&[param("share", Form::Share, "0.2")]),
    kind(
        "pick_first",
        "This caller always takes the first instance that a lookup lists.",
    )
    .takes(&[any("service", Form::Text)]),
    kind(
        "lookup_filter",
        "This caller narrows its lookups by a metadata key and value.",
    )
    .takes(&[
        any("service", Form::Text),
        param("key", Form::Text, "version"),
        param("value", Form::Text, "1.0.0"),
    ]),
    kind(
        "lookup_hasty",
        "This caller gives up at once when a lookup lists nobody, or after a few tries within milliseconds.",
    )
    .takes(&[
        any("service", Form::Text),
        param("retries", Form::Number, "0"),
        param("pause_ms", Form::Number, "15"),
    ]),
    kind(
        "ignore_health",
        "This caller asks for every row, whatever its status, and uses them all.",
    )
    .takes(&[any("service", Form::Text)]),
    kind(
        "port_blocked",
        "A filter before the service port drops what comes, or cuts it off; the other ports go on.",
    )
    .takes(&[param("mode", Form::OneOf(&["drop", "reject"]), "drop")]),
    kind(
        "registry_first_only",
        "This process knows the first registry node alone and never turns to another.",
    ),
    kind(
        "lost_reply",
        "The effect happens and the answer never arrives: the caller sees a timeout.",
    )
    .takes(&[any("rpc", Form::Text), param("share", Form::Share, "1")]),
    kind(
        "pool_exhaustion",
        "Every connection to a service is held by somebody else: calls wait, although health passes.",
    )
    .takes(&[any("pool", Form::Text)]),
    kind(
        "stream_stall",
        "An open stream stays open and says nothing more.",
    ),
];
