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
        "duplicate_id",
        "copy_from",
        Reach::Instance,
        "Registers under the id of another instance: two processes, one entry, and one of them idle.",
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
    kind(
        "crash_at",
        "point (before_step, after_intent, after_reply, during_compensation, before_finish), step",
        Reach::Instance,
        "The orchestrator dies at a known place of its journal.",
    ),
    kind(
        "lost_reply",
        "rpc, share",
        Reach::Instance,
        "The effect happens and the answer never arrives: the caller sees a timeout.",
    ),
    kind(
        "partition",
        "to",
        Reach::Instance,
        "Calls from this service to another one run into their timeout.",
    ),
    kind(
        "lost_context",
        "mode (drop_extract, drop_inject, async_spawn, malformed, wrong_parent, bus_metadata)",
        Reach::Instance,
        "The trace breaks here: orphan roots, wrong parents or missing links.",
    ),
    kind(
        "unfinished_span",
        "share",
        Reach::Instance,
        "A share of the spans never ends, so it is never sent.",
    ),
    kind(
        "export_drop",
        "share",
        Reach::Instance,
        "A share of the telemetry batches is thrown away.",
    ),
    kind(
        "export_delay",
        "ms",
        Reach::Instance,
        "Telemetry is sent late.",
    ),
    kind(
        "log_context_leak",
        "",
        Reach::Instance,
        "Logs carry the trace of another request.",
    ),
    kind(
        "log_field_rename",
        "from, to",
        Reach::Instance,
        "A field of the logs has another name than everywhere else.",
    ),
    kind(
        "health_lies",
        "",
        Reach::Instance,
        "Health answers 200 while every request fails.",
    ),
    kind(
        "health_flap",
        "period_ms",
        Reach::Instance,
        "Readiness goes up and down.",
    ),
    kind(
        "compensation_fail",
        "step",
        Reach::Instance,
        "Undoing a step fails again and again.",
    ),
    kind(
        "compensation_skip",
        "step",
        Reach::Instance,
        "Undoing a step is noted as done although nobody was called.",
    ),
    kind(
        "retry_forever",
        "step",
        Reach::Instance,
        "A failing step is sent again without end, and nothing is undone.",
    ),
    kind(
        "idempotency_off",
        "",
        Reach::Instance,
        "Keys are not looked at: a repeated request has a second effect.",
    ),
    kind(
        "journal_loss",
        "last_n",
        Reach::Instance,
        "Saga rows vanish: orders remain that no journal knows.",
    ),
    kind(
        "outbox_stall",
        "",
        Reach::Instance,
        "Events pile up in the outbox and are not sent.",
    ),
    kind(
        "bus_drop",
        "type, share",
        Reach::Instance,
        "The bus takes events and delivers a share of them to nobody.",
    ),
    kind(
        "bus_duplicate",
        "type, share",
        Reach::Instance,
        "The bus delivers a share of the events twice.",
    ),
    kind(
        "replica_lag",
        "ms",
        Reach::Instance,
        "Browsing sees the stock of a while ago.",
    ),
    kind(
        "stream_stall",
        "",
        Reach::Instance,
        "An open stream stays open and says nothing more.",
    ),
    kind(
        "db_lock",
        "ms",
        Reach::Instance,
        "Another writer holds the store's lock again and again.",
    ),
    kind(
        "disk_full",
        "",
        Reach::Instance,
        "The store refuses to grow: writes fail, reads work.",
    ),
    kind(
        "registry_down",
        "",
        Reach::Instance,
        "The registry takes calls and answers none.",
    ),
    kind(
        "heartbeat_misconfigured",
        "",
        Reach::Instance,
        "Heartbeats come as rarely as the registry's patience lasts: the instance comes and goes.",
    ),
    kind(
        "cpu_starve",
        "pct",
        Reach::Instance,
        "Something else eats the processor's time of this process.",
    ),
    kind(
        "memory_leak",
        "mb_per_min",
        Reach::Instance,
        "The process grows steadily.",
    ),
];

impl KindInfo {
    #[must_use]
    pub fn find(name: &str) -> Option<&'static KindInfo> {
        KINDS.iter().find(|kind| kind.name == name)
    }
}
