//! Owns the decision about a release from what was counted of it and of the one it is to replace. Pure.

use std::collections::BTreeMap;

/// A canary with fewer requests in its phase is watched for longer.
pub(super) const ENOUGH: f64 = 50.0;
/// Fewer say nothing, good or bad.
const SOME: f64 = 10.0;
/// The least error share that a baseline counts with: five times nothing would forbid a single error.
const LEAST_ERRORS: f64 = 0.001;
/// Differences below this are the host's, seconds.
const HOST: f64 = 0.05;

/// What was counted over some time.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Counted {
    pub(super) requests: f64,
    pub(super) errors: f64,
    /// Cumulative counts by the upper bound in microseconds.
    pub(super) buckets: BTreeMap<u64, f64>,
    /// What the business counts: orders or payments, and those that went well.
    pub(super) deals: f64,
    pub(super) good_deals: f64,
    pub(super) calls: f64,
    pub(super) failed_calls: f64,
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

impl Counted {
    /// What came in since an earlier count; a process that began anew counts from nothing.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let less = |now: f64, before: f64| if now < before { now } else { now - before };
        Self {
            requests: less(self.requests, earlier.requests),
            errors: less(self.errors, earlier.errors),
            buckets: self
                .buckets
                .iter()
                .map(|(bound, count)| {
                    let before = earlier.buckets.get(bound).copied().unwrap_or(0.0);
                    (*bound, less(*count, before))
                })
                .collect(),
            deals: less(self.deals, earlier.deals),
            good_deals: less(self.good_deals, earlier.good_deals),
            calls: less(self.calls, earlier.calls),
            failed_calls: less(self.failed_calls, earlier.failed_calls),
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        for (bound, count) in &other.buckets {
            *self.buckets.entry(*bound).or_default() += count;
        }
        self.deals += other.deals;
        self.good_deals += other.good_deals;
        self.calls += other.calls;
        self.failed_calls += other.failed_calls;
    }

    pub(super) fn error_share(&self) -> f64 {
        share(self.errors, self.requests)
    }

    /// Seconds below which 95 of 100 requests stayed, between the bounds as if spread evenly.
    pub(super) fn p95(&self) -> f64 {
        let all = self.buckets.values().copied().fold(0.0, f64::max);
        if all <= 0.0 {
            return 0.0;
        }
        let wanted = all * 0.95;
        let (mut low, mut below) = (0.0, 0.0);
        for (bound, count) in &self.buckets {
            if *bound == u64::MAX {
                break;
            }
            let high = *bound as f64 / 1e6;
            if *count >= wanted && *count > below {
                return low + (high - low) * (wanted - below) / (count - below);
            }
            (low, below) = (high, *count);
        }
        low
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// All that is asked of the phase is there.
    Fine,
    /// Too few requests to say.
    TooFew,
    /// Not bad enough to give up, not good enough to go on.
    NotYet(String),
    /// To nothing at once.
    GiveUp(String),
    /// Back phase by phase.
    StepBack(String),
}

/// Judges a canary in its phase, counted from 1.
pub(super) fn canary(
    baseline: &Counted,
    canary: &Counted,
    phase: usize,
    most_errors: Option<f64>,
) -> Verdict {
    if canary.requests < SOME {
        return Verdict::TooFew;
    }
    let (errors, usual) = (canary.error_share(), baseline.error_share());
    if let Some(most) = most_errors
        && errors > most
    {
        return Verdict::GiveUp(format!(
            "error share {errors:.4}, at most {most:.4} allowed"
        ));
    }
    if errors > 5.0 * usual.max(LEAST_ERRORS) {
        return Verdict::GiveUp(format!(
            "error share {errors:.4}, {usual:.4} without the canary"
        ));
    }
    // The first phases forgive more: they see few customers.
    let worse = match phase {
        1 => 0.10,
        2 => 0.05,
        _ => 0.03,
    };
    let (deals, good) = (canary.deals, share(canary.good_deals, canary.deals));
    let usually_good = share(baseline.good_deals, baseline.deals);
    if deals >= SOME && baseline.deals >= SOME && good < usually_good - worse {
        return Verdict::GiveUp(format!(
            "{good:.4} of its deals went well, {usually_good:.4} without the canary"
        ));
    }
    let (slow, usually) = (canary.p95(), baseline.p95());
    // Of a few requests the slowest one is the p95.
    if canary.requests >= ENOUGH && slow > usually * 1.5 + HOST {
        return Verdict::StepBack(format!(
            "p95 {slow:.3} s, {usually:.3} s without the canary"
        ));
    }
    let below = share(canary.failed_calls, canary.calls);
    let usually_below = share(baseline.failed_calls, baseline.calls);
    if canary.calls >= SOME && below > usually_below + 0.2 {
        return Verdict::StepBack(format!(
            "{below:.4} of its own calls fail, {usually_below:.4} without the canary"
        ));
    }
    if canary.requests < ENOUGH {
        return Verdict::TooFew;
    }
    if phase == 1 && errors >= 0.001_f64.max(usual) && errors > 0.0 {
        return Verdict::NotYet(format!("error share {errors:.4}"));
    }
    if slow > usually * 1.1 + HOST {
        return Verdict::NotYet(format!(
            "p95 {slow:.3} s, {usually:.3} s without the canary"
        ));
    }
    Verdict::Fine
}

/// Judges the colour that all traffic went to, against the other one before the switch; why it has to go back, if it has.
pub(super) fn switched(
    before: &Counted,
    before_s: f64,
    after: &Counted,
    after_s: f64,
) -> Option<String> {
    if after.requests < SOME || before.requests < SOME {
        return None;
    }
    let (errors, usual) = (after.error_share(), before.error_share());
    if errors > usual * 1.2 + LEAST_ERRORS * 5.0 {
        return Some(format!(
            "error share {errors:.4}, {usual:.4} before the switch"
        ));
    }
    let (slow, usually) = (after.p95(), before.p95());
    if slow > usually * 1.2 + HOST {
        return Some(format!("p95 {slow:.3} s, {usually:.3} s before the switch"));
    }
    let (rate, usual_rate) = (after.requests / after_s, before.requests / before_s);
    // Traffic ebbs by itself: less of it is the release's doing only where requests fail or hang as well.
    if rate < usual_rate * 0.8 && errors > usual {
        return Some(format!(
            "{rate:.1} requests a second, {usual_rate:.1} before the switch"
        ));
    }
    let good = share(after.good_deals, after.deals);
    let usually_good = share(before.good_deals, before.deals);
    if after.deals >= SOME && before.deals >= SOME && good < usually_good * 0.95 {
        return Some(format!(
            "{good:.4} of its deals went well, {usually_good:.4} before the switch"
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(requests: f64, errors: f64, slow: f64) -> Counted {
        Counted {
            requests,
            errors,
            buckets: [
                (100_000, requests - slow),
                (250_000, requests),
                (u64::MAX, requests),
            ]
            .into(),
            ..Counted::default()
        }
    }

    #[test]
    fn a_canary_like_the_others_goes_on_and_a_small_one_waits() {
        let usual = counted(1_000.0, 0.0, 0.0);
        assert_eq!(
            canary(&usual, &counted(60.0, 0.0, 0.0), 1, None),
            Verdict::Fine
        );
        assert_eq!(
            canary(&usual, &counted(30.0, 0.0, 0.0), 1, None),
            Verdict::TooFew
        );
        assert_eq!(
            canary(&usual, &counted(3.0, 3.0, 0.0), 1, None),
            Verdict::TooFew
        );
    }

    #[test]
    fn errors_give_up_at_once_and_slowness_goes_back_step_by_step() {
        let usual = counted(1_000.0, 1.0, 0.0);
        let failing = canary(&usual, &counted(60.0, 6.0, 0.0), 2, None);
        assert!(matches!(failing, Verdict::GiveUp(_)), "{failing:?}");
        let slow = canary(&usual, &counted(60.0, 0.0, 60.0), 2, None);
        assert!(matches!(slow, Verdict::StepBack(_)), "{slow:?}");
        let few = canary(&usual, &counted(1_000.0, 4.0, 0.0), 1, Some(0.01));
        assert!(matches!(few, Verdict::NotYet(_)), "{few:?}");
        let many = canary(
            &counted(1_000.0, 400.0, 0.0),
            &counted(100.0, 20.0, 0.0),
            1,
            Some(0.01),
        );
        assert!(matches!(many, Verdict::GiveUp(_)), "{many:?}");
    }

    #[test]
    fn business_and_downstream_count_too() {
        let with = |good: f64, failed: f64| Counted {
            deals: 100.0,
            good_deals: good,
            calls: 100.0,
            failed_calls: failed,
            ..counted(100.0, 0.0, 0.0)
        };
        let usual = with(99.0, 0.0);
        assert_eq!(canary(&usual, &with(95.0, 10.0), 1, None), Verdict::Fine);
        assert!(matches!(
            canary(&usual, &with(95.0, 0.0), 3, None),
            Verdict::GiveUp(_)
        ));
        assert!(matches!(
            canary(&usual, &with(99.0, 30.0), 3, None),
            Verdict::StepBack(_)
        ));
    }

    #[test]
    fn counts_start_over_with_the_process_and_p95_lies_between_bounds() {
        let later = counted(10.0, 1.0, 0.0).since(&counted(100.0, 0.0, 0.0));
        assert_eq!((later.requests, later.errors), (10.0, 1.0));
        let p95 = counted(100.0, 0.0, 10.0).p95();
        assert!((0.17..0.18).contains(&p95), "{p95}");
        assert!(counted(0.0, 0.0, 0.0).p95().abs() < 1e-9);
    }

    #[test]
    fn a_switch_that_makes_things_worse_goes_back() {
        let before = counted(1_000.0, 0.0, 0.0);
        assert_eq!(
            switched(&before, 10.0, &counted(100.0, 0.0, 0.0), 10.0),
            None
        );
        assert!(switched(&before, 10.0, &counted(100.0, 5.0, 0.0), 10.0).is_some());
        assert!(switched(&before, 10.0, &counted(100.0, 0.0, 50.0), 10.0).is_some());
    }
}
