//! Counts, errors and exact quantiles of many groups at once, by nearest rank.
//!
//! Durations are laid out group by group and parted around the ranks that are asked for: no sorting, eight bytes a
//! duration. [`crate::quantile`] answers in fixed memory where a hundredth more or less does not matter.

use case::SpanTable;
use case::model::StatusCode;
use serde::Serialize;

/// What is told of a group. Durations are nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Stats {
    pub requests: u64,
    pub errors: u64,
    pub p50: u64,
    pub p95: u64,
    pub p99: u64,
    pub max: u64,
}

impl Stats {
    /// Share that failed, 0 to 1.
    pub fn error_share(&self) -> f64 {
        if self.requests == 0 {
            0.0
        } else {
            self.errors as f64 / self.requests as f64
        }
    }
}

/// The figures of `groups` groups over rows of (group, duration, failed). The rows are gone through twice.
pub fn by_group(groups: usize, rows: impl Iterator<Item = (u32, u64, bool)> + Clone) -> Vec<Stats> {
    let mut out = vec![Stats::default(); groups];
    for (group, _, failed) in rows.clone() {
        let stats = &mut out[group as usize];
        stats.requests += 1;
        stats.errors += u64::from(failed);
    }
    let mut next: Vec<usize> = Vec::with_capacity(groups);
    let mut total = 0;
    for stats in &out {
        next.push(total);
        total += stats.requests as usize;
    }
    let mut durations = vec![0u64; total];
    for (group, duration, _) in rows {
        let at = &mut next[group as usize];
        durations[*at] = duration;
        *at += 1;
    }
    let mut from = 0;
    for (stats, until) in out.iter_mut().zip(next) {
        quantiles(&mut durations[from..until], stats);
        from = until;
    }
    out
}

/// Every service of a table, by its number: all of its spans.
pub fn by_service(table: &SpanTable) -> Vec<Stats> {
    let error = StatusCode::Error.number();
    let rows = table
        .service
        .iter()
        .zip(&table.duration)
        .zip(&table.status)
        .map(|((service, duration), status)| (*service, *duration, *status == error));
    by_group(table.services.len(), rows)
}

/// The place of the value that `percent` in a hundred of `count` values do not exceed.
fn rank(count: usize, percent: usize) -> usize {
    (count * percent).div_ceil(100).max(1) - 1
}

fn quantiles(durations: &mut [u64], stats: &mut Stats) {
    if durations.is_empty() {
        return;
    }
    let [p50, p95, p99] = [50, 95, 99].map(|percent| rank(durations.len(), percent));
    // From the top down: what lies below one rank is all that the next has to look at.
    let (below, at, above) = durations.select_nth_unstable(p99);
    stats.p99 = *at;
    stats.max = above.iter().copied().fold(*at, u64::max);
    let (below, p95_at) = part(below, p95, stats.p99);
    stats.p95 = p95_at;
    stats.p50 = part(below, p50, stats.p95).1;
}

/// The value at a rank among those below one that is known, and those below it.
fn part(below: &mut [u64], rank: usize, known: u64) -> (&mut [u64], u64) {
    if rank >= below.len() {
        return (below, known);
    }
    let (below, at, _) = below.select_nth_unstable(rank);
    (below, *at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_sorted_values() {
        let mut random = 5u64;
        for count in [1usize, 2, 3, 19, 20, 21, 99, 100, 101, 1_000] {
            let values: Vec<u64> = (0..count)
                .map(|_| {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    random % 50
                })
                .collect();
            let rows = values.iter().map(|value| (1u32, *value, *value == 7));
            let stats = by_group(3, rows)[1];
            let mut sorted = values.clone();
            sorted.sort_unstable();
            let nearest = |share: f64| sorted[((count as f64 * share).ceil() as usize).max(1) - 1];
            assert_eq!(
                (stats.p50, stats.p95, stats.p99, stats.max),
                (nearest(0.5), nearest(0.95), nearest(0.99), nearest(1.0)),
                "{count}"
            );
            assert_eq!(stats.requests, count as u64);
            let sevens = values.iter().filter(|value| **value == 7).count();
            assert_eq!(stats.errors, sevens as u64);
        }
    }

    #[test]
    fn a_group_without_rows_is_all_zeros() {
        let rows = [(2u32, 9, true), (0, u64::MAX, false)];
        let stats = by_group(3, rows.into_iter());
        assert_eq!(stats[1], Stats::default());
        assert_eq!(
            (stats[0].max, stats[2].p50, stats[2].errors),
            (u64::MAX, 9, 1)
        );
        assert!((stats[2].error_share() - 1.0).abs() < 1e-9);
        assert!(stats[1].error_share().abs() < 1e-9);
    }
}
