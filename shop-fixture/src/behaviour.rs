//! Owns the behaviour string: its grammar, and what it says for one service. Leaves carrying it to `propagation` and
//! acting on it to `server`.

use std::fmt;
use std::time::Duration;

use crate::catalog::ServiceSpec;
use crate::rng::Rng;

/// Longer strings are refused before they are parsed.
pub const MAX_LENGTH: usize = 4_096;

/// A parsed behaviour string.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Behaviour {
    global: Effects,
    scoped: Vec<(&'static str, Effects)>,
}

/// What a behaviour does to one service.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Effects {
    pub latency: Option<Delay>,
    pub error: Option<Injection>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Delay {
    Fixed(Duration),
    Range(Duration, Duration),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Injection {
    pub code: u16,
    pub probability: f64,
}

/// Where a behaviour string breaks its grammar. Positions count characters from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} at character {position}")]
pub struct BehaviourError {
    pub position: usize,
    pub message: String,
}

impl Behaviour {
    pub fn parse(text: &str) -> Result<Self, BehaviourError> {
        if text.len() > MAX_LENGTH {
            return Err(fail(
                MAX_LENGTH,
                format!("a behaviour longer than {MAX_LENGTH} bytes"),
            ));
        }
        let mut behaviour = Self::default();
        if text.is_empty() {
            return Ok(behaviour);
        }
        let mut scope: Option<&'static str> = None;
        let mut at = 0;
        for item in text.split(',') {
            behaviour.take_item(text, item, at, &mut scope)?;
            at += item.len() + 1;
        }
        Ok(behaviour)
    }

    fn take_item(
        &mut self,
        text: &str,
        item: &str,
        at: usize,
        scope: &mut Option<&'static str>,
    ) -> Result<(), BehaviourError> {
        let Some(equals) = item.find('=') else {
            return Err(fail_in(text, at, format!("'{}' has no '='", shown(item))));
        };
        let (left, value) = (&item[..equals], &item[equals + 1..]);
        let (key, key_at) = match left.find(':') {
            None => (left, at),
            Some(colon) => {
                let name = &left[..colon];
                let Some(spec) = ServiceSpec::find(name) else {
                    return Err(fail_in(
                        text,
                        at,
                        format!("no service is called '{}'", shown(name)),
                    ));
                };
                // Naming the service whose scope is open continues it; coming back to one starts it afresh.
                if *scope != Some(spec.name) {
                    self.scoped.retain(|(known, _)| *known != spec.name);
                    self.scoped.push((spec.name, Effects::default()));
                    *scope = Some(spec.name);
                }
                (&left[colon + 1..], at + colon + 1)
            }
        };
        let value_at = at + equals + 1;
        let effects = match *scope {
            Some(_) => match self.scoped.last_mut() {
                Some((_, effects)) => effects,
                None => &mut self.global,
            },
            None => &mut self.global,
        };
        match key {
            "latency" => effects.latency = Some(parse_delay(text, value, value_at)?),
            "error" => effects.error = Some(parse_injection(text, value, value_at)?),
            _ => {
                return Err(fail_in(
                    text,
                    key_at,
                    format!("'{}' is neither 'latency' nor 'error'", shown(key)),
                ));
            }
        }
        Ok(())
    }

    /// What holds for a service: its own items if it has any, else the global ones; never both.
    #[must_use]
    pub fn for_service(&self, service: &str) -> Effects {
        self.scoped
            .iter()
            .find(|(name, _)| *name == service)
            .map_or(self.global, |(_, effects)| *effects)
    }
}

impl Delay {
    pub fn draw(self, rng: &mut Rng) -> Duration {
        match self {
            Self::Fixed(delay) => delay,
            Self::Range(low, high) => {
                Duration::from_secs_f64(rng.between(low.as_secs_f64(), high.as_secs_f64()))
            }
        }
    }
}

/// The form that answers list under `behaviors_applied`.
impl fmt::Display for Delay {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(delay) => write!(out, "latency:fixed:{}", short(*delay)),
            Self::Range(low, high) => write!(out, "latency:range:{}-{}", short(*low), short(*high)),
        }
    }
}

impl fmt::Display for Injection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "error:{}:{:.2}", self.code, self.probability)
    }
}

fn short(delay: Duration) -> String {
    let millis = delay.as_secs_f64() * 1_000.0;
    if millis >= 1_000.0 {
        format!("{}s", millis / 1_000.0)
    } else {
        format!("{millis}ms")
    }
}

fn parse_delay(text: &str, value: &str, at: usize) -> Result<Delay, BehaviourError> {
    let Some(dash) = value.find('-') else {
        let (number, unit) = split_unit(value);
        let unit = unit_of(text, unit, at + number.len())?
            .ok_or_else(|| fail_in(text, at + value.len(), "a duration without 'ms' or 's'"))?;
        return Ok(Delay::Fixed(duration(text, number, unit, at)?));
    };
    let (low_text, high_text) = (&value[..dash], &value[dash + 1..]);
    let high_at = at + dash + 1;
    let (high_number, high_unit) = split_unit(high_text);
    let unit = unit_of(text, high_unit, high_at + high_number.len())?.ok_or_else(|| {
        fail_in(
            text,
            at + value.len(),
            "the upper end of a range without 'ms' or 's'",
        )
    })?;
    let high = duration(text, high_number, unit, high_at)?;
    let (low_number, low_unit) = split_unit(low_text);
    let low_unit = unit_of(text, low_unit, at + low_number.len())?.unwrap_or(unit);
    let low = duration(text, low_number, low_unit, at)?;
    if low > high {
        return Err(fail_in(
            text,
            at,
            "a range whose lower end is above its upper end",
        ));
    }
    Ok(Delay::Range(low, high))
}

#[derive(Clone, Copy)]
enum Unit {
    Millis,
    Seconds,
}

/// The number's part and the unit's part of a duration.
fn split_unit(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    text.split_at(end)
}

fn unit_of(text: &str, unit: &str, at: usize) -> Result<Option<Unit>, BehaviourError> {
    match unit {
        "" => Ok(None),
        "ms" => Ok(Some(Unit::Millis)),
        "s" => Ok(Some(Unit::Seconds)),
        _ => Err(fail_in(
            text,
            at,
            format!("'{}' is neither 'ms' nor 's'", shown(unit)),
        )),
    }
}

fn duration(text: &str, number: &str, unit: Unit, at: usize) -> Result<Duration, BehaviourError> {
    let value = decimal(number)
        .ok_or_else(|| fail_in(text, at, format!("'{}' is not a number", shown(number))))?;
    let seconds = match unit {
        Unit::Millis => value / 1_000.0,
        Unit::Seconds => value,
    };
    if seconds > 3_600.0 {
        return Err(fail_in(text, at, "a delay of more than an hour"));
    }
    Ok(Duration::from_nanos((seconds * 1e9).round() as u64))
}

/// `digits [ "." digits ]` and nothing else: no sign, no exponent, no bare point.
fn decimal(text: &str) -> Option<f64> {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let well_formed = match text.split_once('.') {
        None => digits(text),
        Some((whole, fraction)) => digits(whole) && digits(fraction),
    };
    if well_formed { text.parse().ok() } else { None }
}

fn parse_injection(text: &str, value: &str, at: usize) -> Result<Injection, BehaviourError> {
    if let Some((code, probability)) = value.split_once(':') {
        return Ok(Injection {
            code: error_code(text, code, at)?,
            probability: share(text, probability, at + code.len() + 1)?,
        });
    }
    let number = decimal(value)
        .ok_or_else(|| fail_in(text, at, format!("'{}' is not a number", shown(value))))?;
    if number <= 1.0 {
        return Ok(Injection {
            code: 500,
            probability: number,
        });
    }
    Ok(Injection {
        code: error_code(text, value, at)?,
        probability: 1.0,
    })
}

fn error_code(text: &str, code: &str, at: usize) -> Result<u16, BehaviourError> {
    let whole = code.bytes().all(|byte| byte.is_ascii_digit());
    match code.parse::<u16>() {
        Ok(code) if whole && (400..=599).contains(&code) => Ok(code),
        _ => Err(fail_in(
            text,
            at,
            format!(
                "'{}' is neither a probability nor a code from 400 to 599",
                shown(code)
            ),
        )),
    }
}

fn share(text: &str, probability: &str, at: usize) -> Result<f64, BehaviourError> {
    match decimal(probability) {
        Some(value) if value <= 1.0 => Ok(value),
        _ => Err(fail_in(
            text,
            at,
            format!("'{}' is not a probability from 0 to 1", shown(probability)),
        )),
    }
}

fn shown(text: &str) -> String {
    text.chars()
        .take(32)
        .flat_map(char::escape_default)
        .collect()
}

fn fail_in(text: &str, byte: usize, message: impl Into<String>) -> BehaviourError {
    fail(
        text.get(..byte)
            .map_or(byte, |before| before.chars().count()),
        message,
    )
}

fn fail(characters_before: usize, message: impl Into<String>) -> BehaviourError {
    BehaviourError {
        position: characters_before + 1,
        message: message.into(),
    }
}

#[cfg(test)]
mod tests;
