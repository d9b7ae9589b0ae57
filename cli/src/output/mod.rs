//! Everything that leaves the program as text: one console, lines with meaning, tables, JSON.
//!
//! Text from telemetry is made harmless here and nowhere else. What lines say is decided elsewhere.

mod console;
pub mod json;
mod line;
pub mod rows;
pub mod sagas;
pub mod sanitise;
mod table;
pub mod width;

pub use console::{ColorChoice, Console};
pub use line::{Line, Piece, Tone};
pub use table::{Column, Table};

/// How an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: one object a line for lists, one object otherwise.
    Json,
}

/// `1284031` as `1,284,031`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number of bytes with three figures.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = number as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match (unit, value) {
        (0, _) => format!("{number} B"),
        (_, value) if value >= 100.0 => format!("{value:.0} {}", UNITS[unit]),
        (_, value) => format!("{value:.1} {}", UNITS[unit]),
    }
}

/// `1 span`, `2 spans`.
pub fn count(number: u64, one: &str, many: &str) -> String {
    format!(
        "{} {}",
        thousands(number),
        if number == 1 { one } else { many }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_284_031), "1,284,031");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(u64::MAX), "16777216 TiB");
        assert_eq!(count(1, "span", "spans"), "1 span");
        assert_eq!(count(0, "span", "spans"), "0 spans");
    }
}
