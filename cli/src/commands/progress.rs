//! A line on standard error that is written over while long work goes on; nothing where that is no terminal.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::output::width;

/// How often it is drawn anew.
const EVERY: Duration = Duration::from_millis(100);
const BAR: usize = 24;

pub struct ProgressLine {
    shown: bool,
    on_terminal: bool,
    drawn: Option<Instant>,
}

impl Default for ProgressLine {
    fn default() -> ProgressLine {
        ProgressLine::new()
    }
}

impl ProgressLine {
    pub fn new() -> ProgressLine {
        ProgressLine {
            shown: false,
            on_terminal: io::stderr().is_terminal(),
            drawn: None,
        }
    }

    /// Draws a bar, where the whole is known, and a text; not more often than an eye can follow.
    pub fn show(&mut self, done: u64, whole: Option<u64>, text: impl FnOnce() -> String) {
        if !self.on_terminal || self.drawn.is_some_and(|at| at.elapsed() < EVERY) {
            return;
        }
        self.drawn = Some(Instant::now());
        self.shown = true;
        let columns =
            crossterm::terminal::size().map_or(80, |(columns, _)| usize::from(columns).max(20));
        let line = width::fit(&format!("{} {}", bar(done, whole), text()), columns - 1);
        // Progress that can't be shown is no reason to stop.
        drop(write!(io::stderr(), "\r\x1b[2K{line}"));
        drop(io::stderr().flush());
    }

    /// Takes the line away.
    pub fn clear(&mut self) {
        if self.shown {
            drop(write!(io::stderr(), "\r\x1b[2K"));
            drop(io::stderr().flush());
            self.shown = false;
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.clear();
    }
}

fn bar(done: u64, whole: Option<u64>) -> String {
    let Some(whole) = whole.filter(|whole| *whole > 0) else {
        return String::new();
    };
    let share = |parts: u64| u128::from(done.min(whole)) * u128::from(parts) / u128::from(whole);
    let filled = usize::try_from(share(BAR as u64)).unwrap_or(BAR);
    format!(
        "{}{} {:>3}%",
        "━".repeat(filled),
        "─".repeat(BAR - filled),
        share(100)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills_and_never_overflows() {
        assert_eq!(bar(5, None), "");
        assert!(bar(0, Some(10)).ends_with("  0%"));
        assert_eq!(bar(5, Some(10)).matches('━').count(), BAR / 2);
        assert!(bar(99, Some(10)).ends_with("100%"));
        assert!(bar(u64::MAX, Some(u64::MAX)).ends_with("100%"));
    }
}
