//! Owns the faults of health checks. What they spoil stands in `server::admin`.

use super::kind::{Form, KindInfo, kind, param};

pub(super) const KINDS: &[KindInfo] = &[
    kind(
        "health_lies",
        "Health answers 200 while every request fails.",
    ),
    kind("health_flap", "Readiness goes up and down.").takes(&[param(
        "period_ms",
        Form::Number,
        "20000",
    )]),
];
