//! What log messages have in common: each is reduced to its pattern, patterns are counted over time, and set beside a
//! better time. Severities over time come from the same pass.

use std::collections::HashMap;

use case::model::{LogRecord, Value};
use case::{Nanos, Window};
use serde::Serialize;

/// Longer messages are told apart by their beginnings.
const LONGEST: usize = 200;
/// Patterns kept apart; what comes after is counted as one.
const MOST: usize = 2_000;
/// What stands for the part of a message that changes.
const HOLE: char = '*';

/// Severities as they are counted: trace and debug, info, warn, error, fatal.
pub const BANDS: usize = 5;

/// The band of an OTLP severity number; info where none was said.
pub fn band(severity: i32) -> usize {
    match severity {
        1..=8 => 0,
        13..=16 => 2,
        17..=20 => 3,
        21.. => 4,
        _ => 1,
    }
}

/// One pattern of messages.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pattern {
    /// The message with `*` for what changes.
    pub text: String,
    pub services: Vec<String>,
    /// The worst that was said so.
    pub severity: i32,
    pub count: u64,
    /// Records per stretch of the window.
    pub over_time: Vec<u32>,
    /// Records in the better time.
    pub before: u64,
    /// How many times more often than in the better time; `None` where there is none to compare with, or it was silent.
    pub ratio: Option<f64>,
    /// Said now, and never in the better time.
    pub new: bool,
}

/// What a window's logs say, in numbers.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Patterns {
    pub window: Window,
    pub baseline: Option<Window>,
    pub records: u64,
    /// Records per stretch of the window, by severity band.
    pub severities: Vec<[u32; BANDS]>,
    /// The worst first, then the most frequent.
    pub patterns: Vec<Pattern>,
    /// Records of patterns beyond those kept.
    pub beyond: u64,
}

/// The pattern of a message: words with a digit in them, and quoted parts, are what changes.
pub fn pattern(message: &str) -> String {
    let mut out = String::new();
    let mut word = String::new();
    let mut quoted = None;
    let push_hole = |out: &mut String| {
        if !out.ends_with(HOLE) {
            out.push(HOLE);
        }
    };
    let end_word = |word: &mut String, out: &mut String| {
        let changes = word.bytes().any(|b| b.is_ascii_digit());
        if changes {
            push_hole(out);
        } else {
            out.push_str(word);
        }
        word.clear();
    };
    for c in message.chars().take(LONGEST) {
        if let Some(open) = quoted {
            if c == open {
                quoted = None;
                out.push(c);
            }
            continue;
        }
        // Ids and times hold together over these.
        if c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '/' | '%') {
            word.push(c);
            continue;
        }
        end_word(&mut word, &mut out);
        if c == '"' {
            quoted = Some(c);
            out.push(c);
            push_hole(&mut out);
        } else {
            out.push(c);
        }
    }
    end_word(&mut word, &mut out);
    out
}

/// The text a record is known by.
pub fn message(log: &LogRecord) -> std::borrow::Cow<'_, str> {
    match &log.body {
        Value::Text(text) => std::borrow::Cow::Borrowed(text),
        Value::Empty => std::borrow::Cow::Borrowed(&log.event_name),
        other => std::borrow::Cow::Owned(other.to_string()),
    }
}

#[derive(Debug)]
struct Tally {
    services: Vec<String>,
    severity: i32,
    count: u64,
    over_time: Vec<u32>,
    before: u64,
}

/// Records on their way into patterns.
#[derive(Debug)]
pub struct Gather {
    window: Window,
    baseline: Option<Window>,
    severities: Vec<[u32; BANDS]>,
    tallies: HashMap<String, Tally>,
    records: u64,
    beyond: u64,
}

impl Gather {
    pub fn new(window: Window, baseline: Option<Window>, slots: usize) -> Gather {
        Gather {
            window,
            baseline,
            severities: vec![[0; BANDS]; slots.max(1)],
            tallies: HashMap::new(),
            records: 0,
            beyond: 0,
        }
    }

    fn slot(&self, at: Nanos) -> usize {
        let length = self
            .window
            .until
            .0
            .saturating_sub(self.window.from.0)
            .max(1);
        let since = at.0.saturating_sub(self.window.from.0);
        let slot = u128::from(since) * self.severities.len() as u128 / u128::from(length);
        usize::try_from(slot)
            .unwrap_or(usize::MAX)
            .min(self.severities.len() - 1)
    }

    /// Takes a record in; what lies outside the window and the better time is passed over.
    pub fn take(&mut self, log: &LogRecord) {
        let at = log.at();
        let now = self.window.contains(at);
        let before = self.baseline.is_some_and(|window| window.contains(at));
        if !now && !before {
            return;
        }
        let slot = self.slot(at);
        if now {
            self.records += 1;
            self.severities[slot][band(log.severity_number)] += 1;
        }
        let text = pattern(&message(log));
        if self.tallies.len() >= MOST && !self.tallies.contains_key(&text) {
            self.beyond += u64::from(now);
            return;
        }
        let slots = self.severities.len();
        let tally = self.tallies.entry(text).or_insert_with(|| Tally {
            services: Vec::new(),
            severity: 0,
            count: 0,
            over_time: vec![0; slots],
            before: 0,
        });
        tally.before += u64::from(before);
        if now {
            tally.count += 1;
            tally.over_time[slot] += 1;
            tally.severity = tally.severity.max(log.severity_number);
            let service = log.origin.resource.service();
            if tally.services.len() < 8 && !tally.services.iter().any(|known| known == service) {
                tally.services.push(service.to_owned());
            }
        }
    }

    pub fn settle(self) -> Patterns {
        let length = |window: Window| window.until.0.saturating_sub(window.from.0) as f64;
        let scale = self
            .baseline
            .map(|baseline| length(baseline).max(1.0) / length(self.window).max(1.0));
        let mut patterns: Vec<Pattern> = self
            .tallies
            .into_iter()
            .filter(|(_, tally)| tally.count > 0)
            .map(|(text, mut tally)| {
                tally.services.sort_unstable();
                Pattern {
                    ratio: scale
                        .filter(|_| tally.before > 0)
                        .map(|scale| tally.count as f64 * scale / tally.before as f64),
                    new: scale.is_some() && tally.before == 0,
                    text,
                    services: tally.services,
                    severity: tally.severity,
                    count: tally.count,
                    over_time: tally.over_time,
                    before: tally.before,
                }
            })
            .collect();
        patterns.sort_by(|a, b| {
            (band(b.severity), b.count)
                .cmp(&(band(a.severity), a.count))
                .then_with(|| a.text.cmp(&b.text))
        });
        Patterns {
            window: self.window,
            baseline: self.baseline,
            records: self.records,
            severities: self.severities,
            patterns,
            beyond: self.beyond,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_is_left_out() {
        for (message, expected) in [
            ("upstream failed", "upstream failed"),
            (
                "order ord_01J9 failed after 3 tries",
                "order * failed after * tries",
            ),
            ("name \"Zoë\" is taken", "name \"*\" is taken"),
            ("GET /api/v1/x took 12.5ms", "GET * took *"),
            ("", ""),
        ] {
            assert_eq!(pattern(message), expected);
        }
        assert!(pattern(&"x ".repeat(1_000_000)).len() <= LONGEST);
    }

    fn log(at: u64, severity: i32, text: &str) -> LogRecord {
        LogRecord {
            time: Nanos(at),
            severity_number: severity,
            body: Value::Text(text.into()),
            ..LogRecord::default()
        }
    }

    #[test]
    fn patterns_are_counted_and_set_beside_a_better_time() {
        let window = Window {
            from: Nanos(100),
            until: Nanos(200),
        };
        let before = Window {
            from: Nanos(0),
            until: Nanos(100),
        };
        let mut gather = Gather::new(window, Some(before), 10);
        for (at, severity, text) in [
            (10, 9, "try 1"),
            (110, 9, "try 2"),
            (120, 9, "try 3"),
            (199, 17, "lost"),
            (250, 17, "after the end"),
        ] {
            gather.take(&log(at, severity, text));
        }
        let found = gather.settle();
        assert_eq!(found.records, 3);
        let lost = &found.patterns[0];
        assert_eq!(
            (lost.text.as_str(), lost.new, lost.ratio),
            ("lost", true, None)
        );
        assert_eq!(lost.over_time[9], 1);
        let tries = &found.patterns[1];
        assert_eq!(
            (tries.text.as_str(), tries.count, tries.ratio),
            ("try *", 2, Some(2.0))
        );
        assert_eq!(found.severities[9], [0, 0, 0, 1, 0]);
        assert_eq!(found.patterns.len(), 2);
    }
}
