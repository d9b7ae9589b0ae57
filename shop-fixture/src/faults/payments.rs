//! Owns the faults of the payment processor. What they spoil stands in `services::processor`.

use super::kind::{Form, KindInfo, any, kind, param};
use crate::catalog::PAYMENT;

pub(super) const KINDS: &[KindInfo] = &[kind(
    "processor_down",
    "The payment processor answers 503, nothing at all or no to everything, or its address is not configured.",
)
.takes(&[
    param(
        "mode",
        Form::OneOf(&["unavailable", "silent", "refusing", "unconfigured"]),
        "unavailable",
    ),
    any(
        "operation",
        Form::OneOf(&["charge", "authorize", "capture", "void", "refund"]),
    ),
    param("share", Form::Share, "1"),
])
.only_on(&[PAYMENT])];
