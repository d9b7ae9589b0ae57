//! How far the clocks of those who sent spans are apart, and times as they would read on one clock.
//!
//! A call's two sides bound the difference of their clocks: the server can't have begun before it was called, nor ended
//! after it was answered. Many calls together leave a narrow range. Raw times are never changed: what is corrected
//! stands beside them, with the offset and how uncertain it is.
//!
//! `pairs` finds the two sides of calls, `solve` turns their bounds into offsets. Every process is taken for a clock of
//! its own; those of one host agree where it has one clock.

mod pairs;
mod solve;
#[cfg(test)]
mod tests;

use case::Nanos;
use case::model::{Resource, Span};
use serde::Serialize;

pub use pairs::Observations;

/// A clock and how far it is from what most of the others say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Clock {
    /// The instance, else the host, else the service.
    pub name: String,
    pub service: String,
    pub host: String,
    /// Calls between it and others.
    pub calls: u64,
    /// In order of time; empty if no call says anything of it.
    pub stretches: Vec<Stretch>,
}

/// A time in which a clock kept its distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Stretch {
    /// On the common clock. The first stretch reaches back, the last one on, without end.
    pub since: Nanos,
    pub until: Nanos,
    /// How far the clock is ahead, in nanoseconds. 0 where the bounds allow it.
    pub offset: i64,
    /// The true offset is this near to it, in nanoseconds.
    pub uncertainty: u64,
    pub calls: u64,
    /// Of them, those that the offset explains.
    pub agreeing: u64,
}

impl Stretch {
    /// Whether the clock is certainly off.
    pub fn is_off(&self) -> bool {
        self.offset.unsigned_abs() > self.uncertainty
    }
}

/// Times of a span on the common clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Corrected {
    pub start: Nanos,
    pub end: Nanos,
    pub offset: i64,
    pub uncertainty: u64,
}

impl Clock {
    /// The stretch a raw time of this clock falls into.
    pub fn at(&self, raw: Nanos) -> Option<&Stretch> {
        let fits = |stretch: &&Stretch| {
            let common = shifted(raw, stretch.offset);
            stretch.since <= common && common < stretch.until
        };
        self.stretches
            .iter()
            .find(fits)
            .or_else(|| self.stretches.last())
    }

    /// The stretches in which it is certainly off.
    pub fn off(&self) -> impl Iterator<Item = &Stretch> {
        self.stretches.iter().filter(|stretch| stretch.is_off())
    }
}

/// All clocks, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Clocks {
    pub clocks: Vec<Clock>,
}

impl Clocks {
    /// The clocks behind the spans of a few traces.
    pub fn of<'a>(spans: impl IntoIterator<Item = &'a Span>) -> Clocks {
        let mut observations = Observations::default();
        spans.into_iter().for_each(|span| observations.take(span));
        observations.settle()
    }

    pub fn find(&self, name: &str) -> Option<&Clock> {
        let place = self
            .clocks
            .binary_search_by(|clock| clock.name.as_str().cmp(name));
        place.ok().map(|place| &self.clocks[place])
    }

    /// The clock a span was timed by.
    pub fn clock_of(&self, span: &Span) -> Option<&Clock> {
        self.find(name(&span.origin.resource))
    }

    /// A span's times on the common clock; `None` if nothing is known of its clock.
    pub fn corrected(&self, span: &Span) -> Option<Corrected> {
        let stretch = self.clock_of(span)?.at(span.start)?;
        Some(Corrected {
            start: shifted(span.start, stretch.offset),
            end: shifted(span.end, stretch.offset),
            offset: stretch.offset,
            uncertainty: stretch.uncertainty,
        })
    }

    /// The clocks that are certainly off at some time.
    pub fn off(&self) -> impl Iterator<Item = &Clock> {
        self.clocks
            .iter()
            .filter(|clock| clock.off().next().is_some())
    }
}

/// The name of the clock a resource's times are read from.
pub fn name(resource: &Resource) -> &str {
    let host = resource.attributes.text("host.name").unwrap_or("");
    [resource.instance(), host, resource.service()]
        .into_iter()
        .find(|name| !name.is_empty())
        .unwrap_or("")
}

/// A raw time read from a clock that is ahead by `offset`, on the common clock.
fn shifted(raw: Nanos, offset: i64) -> Nanos {
    let common = i128::from(raw.0) - i128::from(offset);
    Nanos(u64::try_from(common.max(0)).unwrap_or(u64::MAX))
}
