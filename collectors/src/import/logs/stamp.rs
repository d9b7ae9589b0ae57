//! Times as log writers write them: epoch numbers of any unit, ISO 8601 in its dialects.

use case::Nanos;

use crate::import::report::clip;

/// A time, and whether its zone had to be taken for UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::import) struct Stamp {
    pub(in crate::import) at: Nanos,
    pub(in crate::import) zone_assumed: bool,
}

/// Reads a time.
pub(in crate::import) fn parse(text: &str) -> Result<Stamp, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("the time is empty".to_owned());
    }
    let number = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let parsed = if number {
        epoch(text, None).map(|at| Stamp {
            at,
            zone_assumed: false,
        })
    } else {
        iso(text).or_else(|| other(text))
    };
    parsed.ok_or_else(|| format!("{} is no time that is known here", clip(text)))
}

/// Nanoseconds in one unit of an epoch number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::import) enum Unit {
    Seconds = 9,
    Millis = 6,
    Micros = 3,
    Nanos = 0,
}

/// A decimal epoch number, read exactly; its unit, where not given, is told from its size.
pub(in crate::import) fn epoch(text: &str, unit: Option<Unit>) -> Option<Nanos> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty()
        || !whole
            .bytes()
            .chain(fraction.bytes())
            .all(|b| b.is_ascii_digit())
    {
        return None;
    }
    let value: u64 = whole.parse().ok()?;
    // Any moment between 1973 and 2500 has one reading.
    let unit = unit.unwrap_or(match value {
        0..100_000_000_000 => Unit::Seconds,
        100_000_000_000..100_000_000_000_000 => Unit::Millis,
        100_000_000_000_000..100_000_000_000_000_000 => Unit::Micros,
        _ => Unit::Nanos,
    });
    let places = unit as u32;
    let mut nanos = value.checked_mul(10u64.pow(places))?;
    let mut scale = 10u64.pow(places);
    for digit in fraction.bytes() {
        scale /= 10;
        nanos = nanos.checked_add(u64::from(digit - b'0') * scale)?;
    }
    Some(Nanos(nanos))
}

/// `2024-01-02T03:04:05.678Z` with a space for the T, a comma for the point, offsets with or without a colon, `UTC`,
/// or no zone; Go's `m=+…` behind it is passed over.
fn iso(text: &str) -> Option<Stamp> {
    let bytes = text.as_bytes();
    let digits = |range: std::ops::Range<usize>| -> Option<u32> {
        let part = bytes.get(range)?;
        part.iter().all(u8::is_ascii_digit).then_some(())?;
        std::str::from_utf8(part).ok()?.parse().ok()
    };
    let is = |at: usize, allowed: &[u8]| bytes.get(at).is_some_and(|b| allowed.contains(b));
    if !(is(4, b"-/") && is(7, b"-/") && is(10, b"Tt ") && is(13, b":") && is(16, b":")) {
        return None;
    }
    let date = chrono::NaiveDate::from_ymd_opt(
        i32::try_from(digits(0..4)?).ok()?,
        digits(5..7)?,
        digits(8..10)?,
    )?;
    // A leap second counts as the second after, as Unix time does.
    let (hour, minute, second) = (digits(11..13)?, digits(14..16)?, digits(17..19)?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut at = 19;
    let mut nanos = 0u64;
    if is(at, b".,") {
        at += 1;
        let mut scale = 100_000_000u64;
        let start = at;
        while let Some(digit) = bytes.get(at).filter(|b| b.is_ascii_digit()) {
            nanos += u64::from(digit - b'0') * scale;
            scale /= 10;
            at += 1;
        }
        if at == start {
            return None;
        }
    }
    let rest = text.get(at..)?.trim_start();
    let (offset, zone_assumed) = zone(rest)?;
    let days = i64::from(chrono::Datelike::num_days_from_ce(&date)) - 719_163;
    let seconds = days * 86_400 + i64::from(hour * 3600 + minute * 60 + second) - offset;
    let at = u64::try_from(seconds)
        .ok()?
        .checked_mul(1_000_000_000)?
        .checked_add(nanos)?;
    Some(Stamp {
        at: Nanos(at),
        zone_assumed,
    })
}

/// Seconds east of UTC, and whether nothing was said.
fn zone(rest: &str) -> Option<(i64, bool)> {
    let word = rest.split_ascii_whitespace().next().unwrap_or("");
    match word {
        "" => return Some((0, true)),
        "Z" | "z" | "UTC" | "GMT" => return Some((0, false)),
        _ => {}
    }
    let sign = match word.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits: String = word[1..].chars().filter(|c| *c != ':').collect();
    if !digits.bytes().all(|b| b.is_ascii_digit()) || !matches!(digits.len(), 2 | 4) {
        return None;
    }
    let hours: i64 = digits[..2].parse().ok()?;
    let minutes: i64 = if digits.len() == 4 {
        digits[2..].parse().ok()?
    } else {
        0
    };
    (hours < 24 && minutes < 60).then_some((sign * (hours * 3600 + minutes * 60), false))
}

/// `Tue, 02 Jan 2024 03:04:05 +0000` and `02/Jan/2024:03:04:05 +0000`.
fn other(text: &str) -> Option<Stamp> {
    let parsed = chrono::DateTime::parse_from_rfc2822(text)
        .or_else(|_| chrono::DateTime::parse_from_str(text, "%d/%b/%Y:%H:%M:%S %z"))
        .ok()?;
    let at = u64::try_from(parsed.timestamp())
        .ok()?
        .checked_mul(1_000_000_000)?;
    Some(Stamp {
        at: Nanos(at),
        zone_assumed: false,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn at(text: &str) -> u64 {
        parse(text).unwrap().at.0
    }

    #[test]
    fn iso_dialects_mean_the_same_moment() {
        let expected = 1_704_164_645_678_000_000;
        for text in [
            "2024-01-02T03:04:05.678Z",
            "2024-01-02 03:04:05,678",
            "2024/01/02 03:04:05.678 +0000 UTC m=+0.1",
            "2024-01-02T04:04:05.678+01:00",
            "2024-01-01T22:04:05.678-0500",
            "2024-01-02t03:04:05.678000000 GMT",
        ] {
            assert_eq!(at(text), expected, "{text}");
        }
        assert!(parse("2024-01-02 03:04:05").unwrap().zone_assumed);
        assert!(!parse("2024-01-02 03:04:05Z").unwrap().zone_assumed);
    }

    #[test]
    fn epoch_numbers_are_read_exactly_in_their_unit() {
        assert_eq!(at("1704164645"), 1_704_164_645_000_000_000);
        assert_eq!(at("1704164645678"), 1_704_164_645_678_000_000);
        assert_eq!(at("1704164645678901"), 1_704_164_645_678_901_000);
        assert_eq!(at("1704164645678901234"), 1_704_164_645_678_901_234);
        assert_eq!(at("1704164645.123456789"), 1_704_164_645_123_456_789);
        assert_eq!(at("1692608400.0"), 1_692_608_400_000_000_000);
    }

    #[test]
    fn other_writers() {
        assert_eq!(
            at("Tue, 02 Jan 2024 03:04:05 +0000"),
            1_704_164_645_000_000_000
        );
        assert_eq!(at("02/Jan/2024:03:04:05 +0000"), 1_704_164_645_000_000_000);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "yesterday",
            "2024-13-02T03:04:05Z",
            "2024-01-02T25:04:05Z",
            "99999999999999999999",
            "1.2.3",
            "1969-01-01T00:00:00Z",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
