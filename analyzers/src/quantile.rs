//! Quantiles of durations in fixed memory: counts in buckets that grow by two hundredths, so an answer is within one
//! percent of a value that was really seen.

/// Buckets each double of a value is divided into.
const PER_DOUBLE: f64 = 35.0;

/// Durations, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Durations {
    counts: Vec<u32>,
    zeros: u64,
    total: u64,
    least: u64,
    most: u64,
}

impl Durations {
    pub fn add(&mut self, nanos: u64) {
        self.least = if self.total == 0 {
            nanos
        } else {
            self.least.min(nanos)
        };
        self.most = self.most.max(nanos);
        self.total += 1;
        if nanos == 0 {
            self.zeros += 1;
            return;
        }
        let bucket = bucket(nanos);
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] = self.counts[bucket].saturating_add(1);
    }

    pub fn count(&self) -> u64 {
        self.total
    }

    /// The value that `share` (0 to 1) of all values do not exceed; `None` without values.
    pub fn quantile(&self, share: f64) -> Option<u64> {
        if self.total == 0 {
            return None;
        }
        let rank = ((self.total as f64 * share.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut passed = self.zeros;
        if rank <= passed {
            return Some(0);
        }
        for (bucket, count) in self.counts.iter().enumerate() {
            passed += u64::from(*count);
            if rank <= passed {
                // No value was beyond those seen, so the ends are exact.
                return Some(middle(bucket).clamp(self.least, self.most));
            }
        }
        Some(self.most)
    }
}

fn bucket(nanos: u64) -> usize {
    ((nanos as f64).log2() * PER_DOUBLE).round() as usize
}

fn middle(bucket: usize) -> u64 {
    (bucket as f64 / PER_DOUBLE).exp2().round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_hundredth() {
        let mut durations = Durations::default();
        for i in 1..=10_000u64 {
            durations.add(i * 1_000);
        }
        for (share, exact) in [
            (0.5, 5_000_000.0),
            (0.95, 9_500_000.0),
            (0.99, 9_900_000.0),
            (1.0, 1e7),
        ] {
            let got = durations.quantile(share).map_or(0.0, |n| n as f64);
            assert!((got / exact - 1.0).abs() <= 0.0101, "{share}: {got}");
        }
    }

    #[test]
    fn extremes() {
        let mut durations = Durations::default();
        assert_eq!(durations.quantile(0.5), None);
        durations.add(0);
        assert_eq!(durations.quantile(0.99), Some(0));
        durations.add(u64::MAX);
        assert!(durations.quantile(1.0).is_some_and(|n| n > u64::MAX / 2));
        assert_eq!(durations.count(), 2);
        let mut same = Durations::default();
        same.add(200_000_000);
        same.add(200_000_000);
        assert_eq!(same.quantile(0.5), Some(200_000_000));
    }
}
