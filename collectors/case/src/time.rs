//! Event time: nanoseconds since 1970 UTC, windows over them, and their texts.
//!
//! Nothing here reads a clock; whoever needs "now" hands it in.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Nanoseconds since the Unix epoch. Unsigned, as in OTLP: 0 means "not given".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nanos(pub u64);

impl Nanos {
    pub const MAX: Nanos = Nanos(u64::MAX);

    pub fn saturating_add(self, nanos: u64) -> Nanos {
        Nanos(self.0.saturating_add(nanos))
    }

    pub fn saturating_sub(self, nanos: u64) -> Nanos {
        Nanos(self.0.saturating_sub(nanos))
    }

    /// `hh:mm:ss.mmm` in UTC, for places where the date is clear.
    pub fn clock(self) -> String {
        let day = self.0 % 86_400_000_000_000;
        let (s, ms) = (day / 1_000_000_000, day / 1_000_000 % 1000);
        format!("{:02}:{:02}:{:02}.{ms:03}", s / 3600, s / 60 % 60, s % 60)
    }
}

impl fmt::Display for Nanos {
    /// RFC 3339 in UTC with nanoseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = i64::try_from(self.0 / 1_000_000_000).unwrap_or(i64::MAX);
        let rest = u32::try_from(self.0 % 1_000_000_000).unwrap_or(0);
        match chrono::DateTime::from_timestamp(seconds, rest) {
            Some(at) => write!(f, "{}", at.format("%Y-%m-%dT%H:%M:%S%.9fZ")),
            None => write!(f, "{}ns", self.0),
        }
    }
}

impl fmt::Debug for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is no time, duration or window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {what}")]
pub struct TimeError {
    text: String,
    what: &'static str,
}

fn bad(text: &str, what: &'static str) -> TimeError {
    TimeError {
        text: text.chars().take(64).collect(),
        what,
    }
}

/// A duration such as `250ms`, `1.5s`, `10m`, `2h`, `3d`, `1h30m`, in nanoseconds.
pub fn parse_duration(text: &str) -> Result<u64, TimeError> {
    const WHAT: &str = "duration (such as 250ms, 10m or 1h30m)";
    let mut rest = text;
    let mut total = 0f64;
    if rest.is_empty() {
        return Err(bad(text, WHAT));
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(|| bad(text, WHAT))?;
        let number: f64 = rest[..digits].parse().map_err(|_| bad(text, WHAT))?;
        rest = &rest[digits..];
        let unit = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let scale = match &rest[..unit] {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            "d" => 86_400e9,
            _ => return Err(bad(text, WHAT)),
        };
        total += number * scale;
        rest = &rest[unit..];
    }
    if total > u64::MAX as f64 {
        return Err(bad(text, WHAT));
    }
    Ok(total.round() as u64)
}

/// An RFC 3339 time, a plain number of nanoseconds, or a duration before `now`.
pub fn parse_time(text: &str, now: Nanos) -> Result<Nanos, TimeError> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().map(Nanos).map_err(|_| bad(text, "time"));
    }
    if let Ok(at) = chrono::DateTime::parse_from_rfc3339(text) {
        let nanos =
            i128::from(at.timestamp()) * 1_000_000_000 + i128::from(at.timestamp_subsec_nanos());
        return u64::try_from(nanos)
            .map(Nanos)
            .map_err(|_| bad(text, "time after 1970"));
    }
    parse_duration(text)
        .map(|ago| now.saturating_sub(ago))
        .map_err(|_| bad(text, "time (RFC 3339, or a duration such as 10m)"))
}

/// A duration as a person reads it: three figures at most.
pub fn human_duration(nanos: u64) -> String {
    let figures = |value: f64, unit: &str| {
        if value >= 100.0 {
            format!("{value:.0}{unit}")
        } else if value >= 10.0 {
            format!("{value:.1}{unit}")
        } else {
            format!("{value:.2}{unit}")
        }
    };
    let n = nanos as f64;
    match nanos {
        0..=999 => format!("{nanos}ns"),
        1_000..=999_499 => figures(n / 1e3, "µs"),
        999_500..=999_499_999 => figures(n / 1e6, "ms"),
        999_500_000..=119_999_999_999 => figures(n / 1e9, "s"),
        120_000_000_000..=7_199_999_999_999 => {
            format!(
                "{}m{:02}s",
                nanos / 60_000_000_000,
                nanos / 1_000_000_000 % 60
            )
        }
        _ => format!(
            "{}h{:02}m",
            nanos / 3_600_000_000_000,
            nanos / 60_000_000_000 % 60
        ),
    }
}

/// From `from` (included) to `until` (not included).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Window {
    pub from: Nanos,
    pub until: Nanos,
}

impl Window {
    pub const ALL: Window = Window {
        from: Nanos(0),
        until: Nanos::MAX,
    };

    pub fn contains(&self, at: Nanos) -> bool {
        self.from <= at && (at < self.until || self.until == Nanos::MAX)
    }

    /// Whether any moment between `first` and `last`, both included, lies in the window.
    pub fn overlaps(&self, first: Nanos, last: Nanos) -> bool {
        first
            < self
                .until
                .saturating_add(u64::from(self.until == Nanos::MAX))
            && last >= self.from
            || self.contains(first)
    }

    /// `A..B`, either side open.
    pub fn parse(text: &str, now: Nanos) -> Result<Window, TimeError> {
        let (from, until) = text
            .split_once("..")
            .ok_or_else(|| bad(text, "window (A..B)"))?;
        let side = |text: &str, open: Nanos| match text {
            "" => Ok(open),
            text => parse_time(text, now),
        };
        let window = Window {
            from: side(from, Nanos(0))?,
            until: side(until, Nanos::MAX)?,
        };
        if window.from > window.until {
            return Err(bad(text, "window: it ends before it begins"));
        }
        Ok(window)
    }
}
