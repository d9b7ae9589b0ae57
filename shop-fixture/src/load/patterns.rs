//! Owns how the rate of journey steps changes over time.

use std::f64::consts::TAU;
use std::time::Duration;

use crate::error::ShopError;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pattern {
    /// Always the same rate.
    #[default]
    Steady,
    /// A sine between a quarter of the peak and the peak, once a day of the shop's time.
    Diurnal,
    /// Five times the rate for a minute, every ten minutes.
    Spike,
    /// From nothing to the rate in five minutes.
    Ramp,
}

impl Pattern {
    pub const TEXTS: &'static [&'static str] = &["steady", "diurnal", "spike", "ramp"];

    /// Steps a second after `elapsed`, for a target of `rate`.
    #[must_use]
    pub fn rate_at(self, rate: f64, elapsed: Duration, time_scale: f64) -> f64 {
        let scaled = elapsed.as_secs_f64() * time_scale;
        match self {
            Self::Steady => rate,
            Self::Diurnal => rate * (0.625 - 0.375 * (TAU * scaled / 86_400.0).cos()),
            // The spike itself lasts a minute of real time, however fast the shop's time runs.
            Self::Spike => {
                let period = 600.0 / time_scale;
                let within = elapsed.as_secs_f64() % period.max(120.0);
                if within < 60.0 { rate * 5.0 } else { rate }
            }
            Self::Ramp => rate * (scaled / 300.0).min(1.0),
        }
    }
}

impl std::str::FromStr for Pattern {
    type Err = ShopError;

    fn from_str(text: &str) -> Result<Self, ShopError> {
        match text {
            "steady" => Ok(Self::Steady),
            "diurnal" => Ok(Self::Diurnal),
            "spike" => Ok(Self::Spike),
            "ramp" => Ok(Self::Ramp),
            _ => Err(ShopError::Option {
                option: "pattern",
                value: text.to_owned(),
                allowed: Self::TEXTS.join(", "),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(pattern: Pattern, seconds: u64) -> f64 {
        pattern.rate_at(16.0, Duration::from_secs(seconds), 1.0)
    }

    #[test]
    fn patterns_follow_their_definition() {
        assert_eq!(at(Pattern::Steady, 5_000), 16.0);
        assert!(
            (at(Pattern::Diurnal, 0) - 4.0).abs() < 1e-9
                && (at(Pattern::Diurnal, 43_200) - 16.0).abs() < 1e-9
        );
        assert_eq!(
            (
                at(Pattern::Spike, 30),
                at(Pattern::Spike, 90),
                at(Pattern::Spike, 630)
            ),
            (80.0, 16.0, 80.0)
        );
        assert_eq!(
            (
                at(Pattern::Ramp, 0),
                at(Pattern::Ramp, 150),
                at(Pattern::Ramp, 600)
            ),
            (0.0, 8.0, 16.0)
        );
    }
}
