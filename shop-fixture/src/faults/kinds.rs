//! Owns the table of fault kinds: name, what it takes, and what it does in a sentence.

/// Who carries a fault out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The supervisor, on the process.
    Process,
    /// The instance itself.
    Instance,
}

#[derive(Debug)]
pub struct KindInfo {
    pub name: &'static str,
    pub params: &'static str,
    pub sentence: &'static str,
    pub reach: Reach,
}

const fn kind(
    name: &'static str,
    params: &'static str,
    reach: Reach,
    sentence: &'static str,
) -> KindInfo {
    KindInfo {
        name,
        params,
        sentence,
        reach,
    }
}

/// Every kind that can be switched on.
pub const KINDS: &[KindInfo] = &[
    kind(
        "kill9",
        "",
        Reach::Process,
        "Kills the process with SIGKILL: no farewell, no flush.",
    ),
    kind(
        "crash",
        "",
        Reach::Instance,
        "The process aborts on its own.",
    ),
    kind(
        "hang",
        "",
        Reach::Instance,
        "Requests, probes and heartbeats are taken and never answered.",
    ),
    kind(
        "heartbeat_stop",
        "",
        Reach::Instance,
        "Serves on but sends no heartbeats: ages to suspect, then expires.",
    ),
    kind(
        "heartbeat_delay",
        "delay_ms",
        Reach::Instance,
        "Every heartbeat is sent late by this much.",
    ),
    kind(
        "wrong_address",
        "host, port",
        Reach::Instance,
        "Registers under an address where nobody listens: calls to it are refused.",
    ),
    kind(
        "wrong_name",
        "name",
        Reach::Instance,
        "Registers under another name: lookups of the right one miss it.",
    ),
    kind(
        "bad_health_path",
        "",
        Reach::Instance,
        "Registers a health path that does not exist.",
    ),
    kind(
        "missing_metadata",
        "",
        Reach::Instance,
        "Registers without version and track: filters find nothing.",
    ),
    kind(
        "no_deregister",
        "",
        Reach::Instance,
        "Does not deregister when it stops: a stale entry stays behind.",
    ),
    kind(
        "cache_pin",
        "",
        Reach::Instance,
        "The lookup cache of this caller is frozen: it goes on using addresses that are gone.",
    ),
    kind(
        "clock_skew",
        "offset_ms",
        Reach::Instance,
        "The instance's clock is off: its span and log times are shifted.",
    ),
];

impl KindInfo {
    #[must_use]
    pub fn find(name: &str) -> Option<&'static KindInfo> {
        KINDS.iter().find(|kind| kind.name == name)
    }
}
