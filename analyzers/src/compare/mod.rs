//! Two sides of a comparison: how long and how often what was asked of services took and failed, with how sure that is.
//!
//! A side is gathered span by span, so it can be a window, a version or a whole case. No difference is called one before
//! its interval leaves zero out. What the bad requests have in common is in `attributes`, the canary's judge in
//! `canary`.

pub mod attributes;
pub mod canary;
pub mod certainty;

use std::collections::BTreeMap;

use case::model::{Span, SpanKind, StatusCode};
use serde::Serialize;

use certainty::Interval;

/// Durations kept of one operation; of more, counts go on and quantiles are of the first.
const MOST: usize = 1_000_000;

/// A service and an operation asked of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Operation {
    pub service: String,
    pub operation: String,
}

/// What one side did of one operation.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    pub durations: Vec<u64>,
    pub requests: u64,
    pub errors: u64,
}

impl Sample {
    fn add(&mut self, span: &Span) {
        self.requests += 1;
        self.errors += u64::from(span.status == StatusCode::Error);
        if self.durations.len() < MOST {
            self.durations.push(span.duration());
        }
    }

    fn merge(&mut self, other: &Sample) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.durations.extend(
            other
                .durations
                .iter()
                .take(MOST.saturating_sub(self.durations.len())),
        );
    }
}

/// One side: all requests that services were asked.
#[derive(Debug, Clone, Default)]
pub struct Side {
    pub operations: BTreeMap<Operation, Sample>,
}

/// Whether a span is a request that was asked of its service.
pub fn is_request(span: &Span) -> bool {
    matches!(span.kind, SpanKind::Server | SpanKind::Consumer)
}

impl Side {
    pub fn take(&mut self, span: &Span) {
        if is_request(span) {
            let operation = Operation {
                service: span.service().to_owned(),
                operation: span.name.clone(),
            };
            self.operations.entry(operation).or_default().add(span);
        }
    }

    /// Everything together.
    pub fn whole(&self) -> Sample {
        let mut whole = Sample::default();
        self.operations
            .values()
            .for_each(|sample| whole.merge(sample));
        whole
    }
}

/// Figures of one side of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figures {
    pub requests: u64,
    pub errors: u64,
    pub error_share: Interval,
    /// Nanoseconds.
    pub p50: Option<Interval>,
    pub p95: Option<Interval>,
}

impl Figures {
    pub fn of(sample: &Sample) -> Figures {
        let mut durations = sample.durations.clone();
        durations.sort_unstable();
        Figures {
            requests: sample.requests,
            errors: sample.errors,
            error_share: certainty::share(sample.errors, sample.requests),
            p50: certainty::quantile(&durations, 0.5),
            p95: certainty::quantile(&durations, 0.95),
        }
    }
}

/// Which way something went, if that can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    Better,
    Worse,
    /// The intervals overlap: as far as these samples tell, nothing.
    NotTold,
    /// Too few requests on a side.
    TooFew,
}

/// One operation on both sides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    #[serde(flatten)]
    pub operation: Operation,
    pub a: Option<Figures>,
    pub b: Option<Figures>,
    pub latency: Change,
    pub errors: Change,
}

/// Fewer requests say nothing of a 95th percentile.
pub const LEAST: u64 = 20;

/// Every operation of either side; what got worse first, by how much time or how many failures that is.
pub fn compare(a: &Side, b: &Side) -> Vec<Row> {
    let mut rows: Vec<Row> = a
        .operations
        .keys()
        .chain(
            b.operations
                .keys()
                .filter(|operation| !a.operations.contains_key(*operation)),
        )
        .map(|operation| {
            row(
                operation,
                a.operations.get(operation),
                b.operations.get(operation),
            )
        })
        .collect();
    let weight = |row: &Row| {
        let worse = [row.errors, row.latency]
            .iter()
            .filter(|change| **change == Change::Worse)
            .count();
        let better = [row.errors, row.latency]
            .iter()
            .filter(|change| **change == Change::Better)
            .count();
        (worse, better)
    };
    rows.sort_by(|x, y| {
        weight(y)
            .cmp(&weight(x))
            .then_with(|| {
                y.b.map_or(0, |b| b.requests)
                    .cmp(&x.b.map_or(0, |b| b.requests))
            })
            .then_with(|| x.operation.cmp(&y.operation))
    });
    rows
}

fn row(operation: &Operation, a: Option<&Sample>, b: Option<&Sample>) -> Row {
    let a = a.map(Figures::of);
    let b = b.map(Figures::of);
    let (latency, errors) = match (&a, &b) {
        (Some(a), Some(b)) if a.requests >= LEAST && b.requests >= LEAST => {
            let latency = match (a.p95, b.p95) {
                (Some(a), Some(b)) => change(a, b),
                _ => Change::TooFew,
            };
            (latency, change(a.error_share, b.error_share))
        }
        _ => (Change::TooFew, Change::TooFew),
    };
    Row {
        operation: operation.clone(),
        a,
        b,
        latency,
        errors,
    }
}

fn change(a: Interval, b: Interval) -> Change {
    if b.low > a.high {
        Change::Worse
    } else if b.high < a.low {
        Change::Better
    } else {
        Change::NotTold
    }
}

#[cfg(test)]
mod tests;
