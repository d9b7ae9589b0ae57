//! How sure a figure is: intervals that hold in nineteen of twenty samples of the same thing.

use serde::Serialize;

/// A figure and where the true one lies.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

/// Deviations of a normal distribution that leave out one in twenty.
const DEVIATIONS: f64 = 1.96;

/// A share by Wilson's score: sound for few samples, and for shares of nothing.
pub fn share(hits: u64, of: u64) -> Interval {
    if of == 0 {
        return Interval {
            value: 0.0,
            low: 0.0,
            high: 1.0,
        };
    }
    let (n, p, z) = (of as f64, hits as f64 / of as f64, DEVIATIONS);
    let middle = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let reach = z / (1.0 + z * z / n) * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    Interval {
        value: p,
        low: if hits == 0 {
            0.0
        } else {
            (middle - reach).max(0.0)
        },
        high: if hits == of {
            1.0
        } else {
            (middle + reach).min(1.0)
        },
    }
}

/// A quantile of sorted values by nearest rank, with the ranks between which the true one lies. Nothing of nothing.
pub fn quantile(sorted: &[u64], q: f64) -> Option<Interval> {
    let n = sorted.len() as f64;
    let at = |rank: f64| {
        let rank = (rank.ceil().max(1.0) as usize).min(sorted.len());
        sorted.get(rank.checked_sub(1)?).map(|value| *value as f64)
    };
    let reach = DEVIATIONS * (n * q * (1.0 - q)).sqrt();
    Some(Interval {
        value: at(n * q)?,
        low: at(n * q - reach)?,
        high: at(n * q + reach + 1.0)?,
    })
}
