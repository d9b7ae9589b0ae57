//! Owns the instance's clock: wall time with the offset that a skewed clock has, the run's time scale, and RFC 3339 text.
//! Timeouts and delays measure with tokio's monotonic clock, which no offset touches.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[derive(Debug)]
pub struct Clock {
    offset_nano: AtomicI64,
    time_scale: f64,
}

impl Clock {
    #[must_use]
    pub fn new(time_scale: f64) -> Self {
        Self {
            offset_nano: AtomicI64::new(0),
            time_scale,
        }
    }

    /// Nanoseconds since 1970 by this instance's clock.
    #[must_use]
    pub fn now(&self) -> u64 {
        let real = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |age| age.as_nanos() as i64);
        real.saturating_add(self.offset_nano.load(Ordering::Relaxed))
            .max(0) as u64
    }

    pub fn set_offset(&self, offset: i64) {
        self.offset_nano.store(offset, Ordering::Relaxed);
    }

    /// An interval shortened by the time scale.
    #[must_use]
    pub fn scaled(&self, interval: Duration) -> Duration {
        interval.div_f64(self.time_scale)
    }

    #[must_use]
    pub fn scaled_secs(&self, seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds / self.time_scale)
    }

    #[must_use]
    pub fn now_text(&self) -> String {
        rfc3339(self.now())
    }
}

/// A UTC time with nanoseconds, as every timestamp of the shop is written.
#[must_use]
pub fn rfc3339(nanos: u64) -> String {
    let seconds = nanos / 1_000_000_000;
    let (days, second_of_day) = ((seconds / 86_400) as i64, seconds % 86_400);
    let (year, month, day) = civil_from_days(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:09}Z",
        second_of_day / 3_600,
        second_of_day / 60 % 60,
        second_of_day % 60,
        nanos % 1_000_000_000
    )
}

/// Reads back what `rfc3339` writes; any other form is refused.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    if bytes.len() != 30 || bytes[10] != b'T' || bytes[19] != b'.' || bytes[29] != b'Z' {
        return None;
    }
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)? as i64, number(5, 7)?, number(8, 10)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // The inverse of `civil_from_days`, again with years that begin in March.
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let era = shifted_year.div_euclid(400);
    let year_of_era = shifted_year.rem_euclid(400);
    let march_month = (month as i64 + 9) % 12;
    let day_of_year = (153 * march_month + 2) / 5 + day as i64 - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = u64::try_from(era * 146_097 + day_of_era - 719_468).ok()?;
    let seconds = days * 86_400 + number(11, 13)? * 3_600 + number(14, 16)? * 60 + number(17, 19)?;
    Some(seconds * 1_000_000_000 + number(20, 29)?)
}

/// The year and month of a time, for calendar-month quotas.
#[must_use]
pub fn year_month(nanos: u64) -> (i64, u32) {
    let (year, month, _) = civil_from_days((nanos / 86_400_000_000_000) as i64);
    (year, month)
}

/// Proleptic Gregorian date of a day number, counted from 1970-01-01. Years are taken to begin in March, so that the
/// leap day is the last of its year and months have a closed form.
fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * march_month + 2) / 5 + 1) as u32;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    } as u32;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(
            rfc3339(951_827_696_123_456_789),
            "2000-02-29T12:34:56.123456789Z"
        );
        assert_eq!(
            rfc3339(1_798_761_599_999_999_999),
            "2026-12-31T23:59:59.999999999Z"
        );
        for nanos in [0, 951_827_696_123_456_789, 1_798_761_599_999_999_999] {
            assert_eq!(parse_rfc3339(&rfc3339(nanos)), Some(nanos));
        }
        assert_eq!(parse_rfc3339("2026-12-31"), None);
        assert_eq!(year_month(1_798_761_600_000_000_000), (2027, 1));
    }

    #[test]
    fn an_offset_moves_the_clock() {
        let clock = Clock::new(20.0);
        let before = clock.now();
        clock.set_offset(3_600_000_000_000);
        assert!(clock.now() >= before + 3_600_000_000_000);
        assert_eq!(
            clock.scaled(Duration::from_secs(20)),
            Duration::from_secs(1)
        );
    }
}
