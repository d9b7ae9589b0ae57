//! A clock over event time: play, pause, step, seek, speed. It never looks at a real clock; whoever drives it says how
//! much time has passed. Replays, the workbench and a diagnosis "as of then" run on it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use case::{Nanos, Window};

/// How fast event time runs against real time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speed {
    /// Thousandths: 1000 is as it was, 500 half as fast.
    Thousandths(u64),
    /// Without waiting.
    Max,
}

impl Speed {
    pub const ORIGINAL: Speed = Speed::Thousandths(1_000);
    /// A million times; whoever wants more means [`Speed::Max`].
    const FASTEST: u64 = 1_000_000_000;

    /// Twice as fast, for a key that is pressed.
    #[must_use]
    pub fn faster(self) -> Speed {
        match self {
            Speed::Thousandths(n) => Speed::Thousandths(n.saturating_mul(2).min(Speed::FASTEST)),
            Speed::Max => Speed::Max,
        }
    }

    /// Half as fast.
    #[must_use]
    pub fn slower(self) -> Speed {
        match self {
            Speed::Thousandths(n) => Speed::Thousandths((n / 2).max(1)),
            Speed::Max => Speed::Max,
        }
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Speed::Max => f.write_str("max"),
            Speed::Thousandths(n) if n % 1_000 == 0 => write!(f, "×{}", n / 1_000),
            Speed::Thousandths(n) => {
                let fraction = format!("{:03}", n % 1_000);
                write!(f, "×{}.{}", n / 1_000, fraction.trim_end_matches('0'))
            }
        }
    }
}

/// Why a text is no speed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no speed: a number from 0.001 to 1000000, or max")]
pub struct SpeedError(String);

impl FromStr for Speed {
    type Err = SpeedError;

    /// `2`, `0.5`, `10x`, `×10` or `max`.
    fn from_str(text: &str) -> Result<Speed, SpeedError> {
        let bad = || SpeedError(text.chars().take(32).collect());
        if text.eq_ignore_ascii_case("max") {
            return Ok(Speed::Max);
        }
        let number = text.trim_start_matches('×').trim_end_matches('x');
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 3 {
            return Err(bad());
        }
        let thousandths = format!("{whole}{fraction:0<3}")
            .parse::<u64>()
            .map_err(|_| bad())?;
        if (1..=Speed::FASTEST).contains(&thousandths) {
            Ok(Speed::Thousandths(thousandths))
        } else {
            Err(bad())
        }
    }
}

/// Where in a window of event time we are, and whether that moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventClock {
    window: Window,
    at: Nanos,
    playing: bool,
    speed: Speed,
    /// Thousandths of a nanosecond that have passed beyond `at`, so that many small steps are as far as a big one.
    rest: u64,
}

impl EventClock {
    /// Paused at the start of `window`.
    pub fn new(window: Window, speed: Speed) -> EventClock {
        EventClock {
            window,
            at: window.from,
            playing: false,
            speed,
            rest: 0,
        }
    }

    pub fn at(&self) -> Nanos {
        self.at
    }

    pub fn window(&self) -> Window {
        self.window
    }

    pub fn speed(&self) -> Speed {
        self.speed
    }

    pub fn is_playing(&self) -> bool {
        self.playing
    }

    pub fn is_at_end(&self) -> bool {
        self.at >= self.window.until
    }

    /// Runs on; from the start again if it stood at the end.
    pub fn play(&mut self) {
        if self.is_at_end() {
            self.seek(self.window.from);
        }
        self.playing = true;
    }

    pub fn pause(&mut self) {
        self.playing = false;
    }

    pub fn toggle(&mut self) {
        if self.playing {
            self.pause()
        } else {
            self.play()
        }
    }

    pub fn set_speed(&mut self, speed: Speed) {
        self.speed = speed;
    }

    /// Goes to a moment, or to the nearest one the window has.
    pub fn seek(&mut self, at: Nanos) {
        self.at = at.clamp(self.window.from, self.window.until);
        self.rest = 0;
    }

    /// Goes a step forward or back, whether playing or not.
    pub fn step(&mut self, nanos: i64) {
        let step = nanos.unsigned_abs();
        self.seek(if nanos < 0 {
            self.at.saturating_sub(step)
        } else {
            self.at.saturating_add(step)
        });
    }

    /// The window has grown, as that of a live case does.
    pub fn extend(&mut self, until: Nanos) {
        self.window.until = self.window.until.max(until);
    }

    /// Lets real time pass; the event time it is then. Stops at the end of the window.
    pub fn advance(&mut self, elapsed: Duration) -> Nanos {
        if !self.playing {
            return self.at;
        }
        match self.speed {
            Speed::Max => self.at = self.window.until,
            Speed::Thousandths(thousandths) => {
                let passed = elapsed.as_nanos() * u128::from(thousandths) + u128::from(self.rest);
                self.rest = u64::try_from(passed % 1_000).unwrap_or(0);
                let nanos = u64::try_from(passed / 1_000).unwrap_or(u64::MAX);
                self.at = self.at.saturating_add(nanos).min(self.window.until);
            }
        }
        if self.is_at_end() {
            self.playing = false;
            self.rest = 0;
        }
        self.at
    }

    /// How much real time it takes to come to `event`: nothing for what is past, `None` while paused.
    pub fn until(&self, event: Nanos) -> Option<Duration> {
        if event <= self.at {
            return Some(Duration::ZERO);
        }
        match self.speed {
            _ if !self.playing => None,
            Speed::Max => Some(Duration::ZERO),
            Speed::Thousandths(thousandths) => {
                let ahead = u128::from(event.0 - self.at.0) * 1_000 - u128::from(self.rest);
                let nanos = ahead.div_ceil(u128::from(thousandths));
                Some(Duration::from_nanos(
                    u64::try_from(nanos).unwrap_or(u64::MAX),
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn clock(speed: &str) -> EventClock {
        let window = Window {
            from: Nanos(1_000),
            until: Nanos(1_000_000),
        };
        EventClock::new(window, speed.parse().unwrap())
    }

    #[test]
    fn it_stands_until_played_and_stops_at_the_end() {
        let mut clock = clock("1");
        assert_eq!(clock.advance(Duration::from_secs(1)), Nanos(1_000));
        assert_eq!(clock.until(Nanos(2_000)), None);
        clock.play();
        assert_eq!(clock.advance(Duration::from_nanos(500)), Nanos(1_500));
        clock.pause();
        assert_eq!(clock.advance(Duration::from_nanos(500)), Nanos(1_500));
        clock.toggle();
        assert_eq!(clock.advance(Duration::from_secs(1)), Nanos(1_000_000));
        assert!(clock.is_at_end() && !clock.is_playing());
        clock.play();
        assert_eq!(
            clock.at(),
            Nanos(1_000),
            "played at the end it begins again"
        );
    }

    #[test]
    fn many_small_steps_are_as_far_as_one_big_one() {
        for speed in ["0.001", "0.333", "1", "2.5", "7"] {
            let (mut small, mut big) = (clock(speed), clock(speed));
            small.play();
            big.play();
            for _ in 0..1_000 {
                small.advance(Duration::from_nanos(7));
            }
            big.advance(Duration::from_nanos(7_000));
            assert_eq!(small, big, "at {speed}");
        }
    }

    #[test]
    fn waiting_as_long_as_it_says_is_enough_and_not_too_much() {
        for speed in ["0.001", "0.333", "1", "3", "999.999"] {
            for ahead in [1u64, 2, 999, 12_345] {
                let mut clock = clock(speed);
                clock.play();
                clock.advance(Duration::from_nanos(3));
                let event = clock.at().saturating_add(ahead);
                let wait = clock.until(event).unwrap();
                let mut early = clock.clone();
                early.advance(wait.saturating_sub(Duration::from_nanos(1)));
                assert!(
                    early.at() < event || wait.is_zero(),
                    "at {speed}, {ahead} ahead"
                );
                assert!(clock.advance(wait) >= event, "at {speed}, {ahead} ahead");
            }
        }
    }

    #[test]
    fn seek_and_step_stay_in_the_window() {
        let mut clock = clock("max");
        clock.seek(Nanos(500_000));
        clock.step(-1);
        assert_eq!(clock.at(), Nanos(499_999));
        clock.step(i64::MIN);
        assert_eq!(clock.at(), Nanos(1_000));
        clock.seek(Nanos::MAX);
        assert_eq!(clock.at(), Nanos(1_000_000));
        clock.extend(Nanos(2_000_000));
        clock.play();
        assert_eq!(
            clock.advance(Duration::ZERO),
            Nanos(2_000_000),
            "max does not wait"
        );
    }

    #[test]
    fn speeds_are_read_and_shown() {
        for (text, shown) in [
            ("1", "×1"),
            ("0.5", "×0.5"),
            ("10x", "×10"),
            ("×2.25", "×2.25"),
            ("MAX", "max"),
        ] {
            assert_eq!(text.parse::<Speed>().unwrap().to_string(), shown);
        }
        for text in ["", "0", "-1", "fast", "1.2345", "1000001", ".5"] {
            assert!(text.parse::<Speed>().is_err(), "{text}");
        }
        assert_eq!(Speed::ORIGINAL.faster().slower(), Speed::ORIGINAL);
    }
}
