//! Owns the faults of health checks. What they spoil stands in `server::admin`.

use super::kind::{Form, KindInfo, any, kind, param, required};
use crate::catalog::REGISTRY;

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
    kind(
        "health_broken",
        "Readiness answers an error although every request is served.",
    )
    .takes(&[param("status", Form::Number, "500")]),
    kind("unwell", "Readiness answers 503 and every request fails."),
    kind(
        "health_random",
        "Readiness fails a share of the times, by chance.",
    )
    .takes(&[param("share", Form::Share, "0.4")]),
    kind("health_slow", "Readiness answers well and late.").takes(&[param(
        "ms",
        Form::Number,
        "150",
    )]),
    kind(
        "health_requires",
        "Readiness asks another service that requests can do without.",
    )
    .takes(&[required("service", Form::Text)]),
    kind(
        "health_pool",
        "The connections that readiness pings the database with are all in use; those of requests are not.",
    ),
    kind(
        "health_cpu_limit",
        "Readiness fails when the processor is busier than this, however well requests fare.",
    )
    .takes(&[param("pct", Form::Number, "50")]),
    kind(
        "health_trial_order",
        "Readiness makes a reservation to see whether that works.",
    ),
    kind(
        "health_heavy",
        "Readiness runs a query that takes this long.",
    )
    .takes(&[param("ms", Form::Number, "1500")]),
    kind(
        "workers_stuck",
        "Requests are taken and never worked on; health is told from elsewhere and is fine.",
    ),
    kind(
        "overload",
        "Requests fail while more than this many are under way.",
    )
    .takes(&[param("limit", Form::Number, "20")]),
    kind(
        "cpu_bursts",
        "Something else eats the processor's time of this process for a while of every period.",
    )
    .takes(&[
        param("on_s", Form::Number, "10"),
        param("every_s", Form::Number, "30"),
    ])
    .begins(|rt, params| {
        tokio::spawn(super::process::bursts(
            std::sync::Arc::clone(rt),
            params.clone(),
        ));
    }),
    kind(
        "probe_timeout",
        "The registry waits for the answer to a probe for this long only.",
    )
    .only_on(&[REGISTRY])
    .takes(&[param("ms", Form::Number, "100")]),
    kind(
        "probe_slow",
        "The registry probes rarely, and wants many failures before it believes them.",
    )
    .only_on(&[REGISTRY])
    .takes(&[
        param("failures", Form::Number, "10"),
        param("every_s", Form::Number, "30"),
    ]),
    kind(
        "probe_loss",
        "A share of the registry's probes of a service is lost on the way.",
    )
    .only_on(&[REGISTRY])
    .takes(&[any("to", Form::Text), param("share", Form::Share, "0.3")]),
];
