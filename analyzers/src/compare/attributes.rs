//! What bad requests have in common: every attribute value is tried, and ranked by how much more often it comes with bad
//! requests than with good ones.
//!
//! With thousands of values tried some stand out by chance, so the limit rises with their number.

use std::collections::{BTreeMap, BTreeSet};

use case::TraceId;
use case::model::{Attributes, Span};
use serde::Serialize;

use super::certainty::{self, Interval};
use crate::names::cut;
use crate::suspects::weight::two_shares;

/// Values told apart; keys with more of them than this are ids, and say nothing in common.
const MOST_VALUES: usize = 2_000;
const MOST_KEYS: usize = 5_000;
const LONGEST: usize = 200;
/// Values told.
const TOLD: usize = 10;

/// A value that comes with bad requests more often than with good ones.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Common {
    pub key: String,
    pub value: String,
    pub bad: u64,
    pub good: u64,
    /// Share of the traces with the value that are bad, and of those without.
    pub with: Interval,
    pub without: Interval,
    /// The likelihood ratio's logarithm, twice.
    pub ratio: f64,
}

/// What stands out, and how much was tried.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Verdict {
    pub common: Vec<Common>,
    pub bad: u64,
    pub good: u64,
    pub values_tried: usize,
}

/// Which values each trace has.
#[derive(Debug, Default)]
pub struct Gather {
    values: BTreeMap<String, BTreeMap<String, BTreeSet<u32>>>,
    numbers: BTreeMap<TraceId, u32>,
    full: BTreeSet<String>,
}

impl Gather {
    pub fn take(&mut self, span: &Span) {
        let next = self.numbers.len() as u32;
        let trace = *self.numbers.entry(span.trace_id).or_insert(next);
        self.take_all("", &span.attributes, trace);
        self.take_all("resource.", &span.origin.resource.attributes, trace);
    }

    fn take_all(&mut self, prefix: &str, attributes: &Attributes, trace: u32) {
        for (key, value) in attributes.iter() {
            let key = format!("{prefix}{}", cut(key, LONGEST));
            if self.full.contains(&key)
                || self.values.len() >= MOST_KEYS && !self.values.contains_key(&key)
            {
                continue;
            }
            let value = value.to_string();
            let values = self.values.entry(key.clone()).or_default();
            values
                .entry(cut(&value, LONGEST).to_owned())
                .or_default()
                .insert(trace);
            if values.len() > MOST_VALUES {
                self.values.remove(&key);
                self.full.insert(key);
            }
        }
    }

    /// What the bad traces have that the others have less often.
    pub fn judge(&self, bad: &BTreeSet<TraceId>) -> Verdict {
        let bad: BTreeSet<u32> = bad
            .iter()
            .filter_map(|trace| self.numbers.get(trace).copied())
            .collect();
        let all = self.numbers.len() as u64;
        let bad_all = bad.len() as u64;
        let tried: usize = self.values.values().map(BTreeMap::len).sum();
        // One false find in twenty comparisons, over all values together.
        let limit = 2.0 * (20.0 * tried.max(1) as f64).ln();
        let mut common: Vec<Common> = Vec::new();
        for (key, values) in &self.values {
            for (value, traces) in values {
                let with = traces.len() as u64;
                let hits = traces.iter().filter(|trace| bad.contains(trace)).count() as u64;
                let (rest, rest_hits) = (all - with, bad_all - hits);
                if rest == 0 || hits * rest <= rest_hits * with {
                    continue;
                }
                let ratio = two_shares(hits as f64, with as f64, rest_hits as f64, rest as f64);
                if ratio > limit {
                    common.push(Common {
                        key: key.clone(),
                        value: value.clone(),
                        bad: hits,
                        good: with - hits,
                        with: certainty::share(hits, with),
                        without: certainty::share(rest_hits, rest),
                        ratio,
                    });
                }
            }
        }
        common.sort_by(|a, b| {
            b.ratio
                .total_cmp(&a.ratio)
                .then_with(|| (&a.key, &a.value).cmp(&(&b.key, &b.value)))
        });
        common.truncate(TOLD);
        Verdict {
            common,
            bad: bad_all,
            good: all - bad_all,
            values_tried: tried,
        }
    }
}
