//! Numbers as the two formats write them: values, and times to the nanosecond.

use super::PageTime;

/// A sample's value. Rust reads what both formats allow (decimal, `inf`, `infinity`, `nan` in any case, signs) and
/// none of what they forbid (hexadecimal, digit separators).
pub(super) fn value(text: &str) -> Result<f64, String> {
    text.parse()
        .map_err(|_| format!("{:?} is no number", super::cursor::shown(text)))
}

/// A classic timestamp: whole milliseconds.
pub(super) fn milliseconds(text: &str) -> Result<PageTime, String> {
    text.parse::<i64>()
        .map(|ms| PageTime::from(ms) * 1_000_000)
        .map_err(|_| {
            format!(
                "{:?} is no timestamp in whole milliseconds",
                super::cursor::shown(text)
            )
        })
}

/// An OpenMetrics timestamp: seconds, with a fraction or an exponent. Digits beyond nanoseconds are cut off.
pub(super) fn seconds(text: &str) -> Result<PageTime, String> {
    let bad = || {
        format!(
            "{:?} is no timestamp in seconds",
            super::cursor::shown(text)
        )
    };
    let (negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if all_digits(whole) && all_digits(fraction) && !(whole.is_empty() && fraction.is_empty()) {
        let whole = whole.trim_start_matches('0');
        if whole.len() > 24 {
            return Err(bad());
        }
        let mut nanos: PageTime = 0;
        for digit in whole.bytes() {
            nanos = nanos * 10 + PageTime::from(digit - b'0');
        }
        let mut fraction = fraction.bytes();
        for _ in 0..9 {
            nanos = nanos * 10 + PageTime::from(fraction.next().unwrap_or(b'0') - b'0');
        }
        return Ok(if negative { -nanos } else { nanos });
    }
    let seconds: f64 = text.parse().map_err(|_| bad())?;
    if !seconds.is_finite() || seconds.abs() > 1e24 {
        return Err(bad());
    }
    Ok((seconds * 1e9).round() as PageTime)
}
