//! How much a difference counts: its effect, from 0 to 1, times how sure one can be that it is no chance.
//!
//! One scale for all kinds of evidence, without a constant that knows a data set.

/// Twice the log of the likelihood ratio: two shares that differ against one share for both.
pub fn two_shares(hits_a: f64, of_a: f64, hits_b: f64, of_b: f64) -> f64 {
    if of_a <= 0.0 || of_b <= 0.0 {
        return 0.0;
    }
    let pooled = (hits_a + hits_b) / (of_a + of_b);
    let fit = |hits: f64, of: f64, share: f64| {
        let part = |n: f64, p: f64| if n > 0.0 { n * p.max(1e-12).ln() } else { 0.0 };
        part(hits, share) + part(of - hits, 1.0 - share)
    };
    let apart = fit(hits_a, of_a, hits_a / of_a) + fit(hits_b, of_b, hits_b / of_b);
    let one = fit(hits_a, of_a, pooled) + fit(hits_b, of_b, pooled);
    (2.0 * (apart - one)).max(0.0)
}

/// From 0 to 1, for a likelihood ratio and a number of samples in the incident.
pub fn confidence(ratio: f64, samples: f64) -> f64 {
    (1.0 - (-ratio / 4.0).exp()) * samples / (samples + 0.5)
}

/// Evidence of several kinds for one suspect.
pub fn joined(strengths: impl Iterator<Item = f64>) -> f64 {
    1.0 - strengths.fold(1.0, |rest, strength| {
        rest * (1.0 - strength.clamp(0.0, 1.0))
    })
}

/// The median of numbers, which are sorted for it; nothing of nothing.
pub fn median(values: &mut [f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// The value below which the share lies, by nearest rank.
pub fn quantile(values: &mut [f64], share: f64) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    values.sort_unstable_by(f64::total_cmp);
    let rank = (share * values.len() as f64).ceil() as usize;
    values
        .get(rank.saturating_sub(1).min(values.len() - 1))
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_samples_and_larger_differences_weigh_more() {
        assert!(two_shares(10.0, 10.0, 10.0, 10.0) < 1e-9);
        assert!(two_shares(10.0, 10.0, 0.0, 10.0) > two_shares(3.0, 3.0, 0.0, 3.0));
        assert!(two_shares(0.0, 0.0, 1.0, 1.0) == 0.0);
        assert!(confidence(20.0, 10.0) > 0.9 && confidence(0.0, 10.0) == 0.0);
        assert!((joined([0.5, 0.5].into_iter()) - 0.75).abs() < 1e-9);
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(quantile(&mut [], 0.5), None);
    }
}
