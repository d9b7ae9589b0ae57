//! Owns the faults of events: publishing, delivery, order and loss. What they spoil stands in `messaging` and
//! `services::message_bus`.

use super::kind::{Form, KindInfo, any, kind, param};
use crate::catalog::BUS;

pub(super) const KINDS: &[KindInfo] = &[
    kind(
        "outbox_stall",
        "Events pile up in the outbox and are not sent.",
    ),
    kind(
        "bus_drop",
        "The bus takes events and delivers a share of them to nobody.",
    )
    .takes(&[any("type", Form::Text), param("share", Form::Share, "1")])
    .only_on(&[BUS]),
    kind(
        "bus_duplicate",
        "The bus delivers a share of the events twice.",
    )
    .takes(&[any("type", Form::Text), param("share", Form::Share, "1")])
    .only_on(&[BUS]),
    kind(
        "bus_reorder",
        "A share of the events steps aside, and what comes after them arrives first.",
    )
    .takes(&[
        any("type", Form::Text),
        param("share", Form::Share, "1"),
        param("ms", Form::Number, "2000"),
    ])
    .only_on(&[BUS]),
];
