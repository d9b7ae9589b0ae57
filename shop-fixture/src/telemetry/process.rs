//! Owns the metrics of the process itself, read from `/proc/self`: time, memory, threads, descriptors, uptime. Where a
//! file of `/proc` is missing, its metrics are missing too.

use std::sync::OnceLock;
use std::time::Instant;

use super::metrics::Metrics;

/// Ticks of the kernel's accounting per second; fixed in its interface to programs.
const TICKS_PER_SECOND: f64 = 100.0;
const PAGE: f64 = 4_096.0;

/// Called once when the process begins, so that its uptime is known.
pub(super) fn started() -> Instant {
    static STARTED: OnceLock<Instant> = OnceLock::new();
    *STARTED.get_or_init(Instant::now)
}

/// Writes the present values into the metrics.
pub(super) fn expose(metrics: &Metrics) {
    metrics.set("process.uptime", &[], started().elapsed().as_secs_f64());
    if let Some(stat) = std::fs::read_to_string("/proc/self/stat")
        .ok()
        .as_deref()
        .and_then(parse)
    {
        metrics.set("process.cpu.time", &[("cpu.mode", "user")], stat.user);
        metrics.set("process.cpu.time", &[("cpu.mode", "system")], stat.system);
        metrics.set("process.thread.count", &[], stat.threads);
        metrics.set("process.memory.virtual", &[], stat.virtual_bytes);
        metrics.set("process.memory.usage", &[], stat.resident_bytes);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        // One of them is the folder being read.
        let count = open.count().saturating_sub(1);
        metrics.set("process.unix.file_descriptor.count", &[], count as f64);
    }
}

#[derive(Debug, PartialEq)]
struct Stat {
    user: f64,
    system: f64,
    threads: f64,
    virtual_bytes: f64,
    resident_bytes: f64,
}

/// The numbers of `/proc/self/stat`, counted from behind the name, which may hold anything.
fn parse(text: &str) -> Option<Stat> {
    let rest = &text[text.rfind(')')? + 1..];
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // The first of these is the third field of the manual.
    let number = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
    Some(Stat {
        user: number(14)? / TICKS_PER_SECOND,
        system: number(15)? / TICKS_PER_SECOND,
        threads: number(20)?,
        virtual_bytes: number(23)?,
        resident_bytes: number(24)? * PAGE,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_counted_from_behind_a_name_with_brackets() {
        let text = "7 (a (b) c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 12345 8192000 500 18446744073709551615";
        assert_eq!(
            parse(text),
            Some(Stat {
                user: 2.5,
                system: 0.5,
                threads: 3.0,
                virtual_bytes: 8_192_000.0,
                resident_bytes: 2_048_000.0,
            })
        );
        assert_eq!(parse("7 (x"), None);
    }
}
