//! Owns the gateway's rate limits: token buckets per client key, and monthly quotas. A pure machine over the times it is
//! told; the gateway keeps its counts.

use std::collections::HashMap;
use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    Anonymous,
    Free,
    Professional,
    Enterprise,
}

impl Tier {
    /// The tier of a key; one that nobody knows is as good as none.
    #[must_use]
    pub fn of(key: Option<&str>) -> Self {
        match key {
            Some("test-key" | "free-tier-key") => Self::Free,
            Some("pro-tier-key") => Self::Professional,
            Some("enterprise-tier-key") => Self::Enterprise,
            _ => Self::Anonymous,
        }
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Free => "free",
            Self::Professional => "professional",
            Self::Enterprise => "enterprise",
        }
    }

    #[must_use]
    pub fn per_minute(self) -> u32 {
        match self {
            Self::Anonymous => 10,
            Self::Free => 100,
            Self::Professional => 1_000,
            Self::Enterprise => 10_000,
        }
    }

    fn burst(self) -> f64 {
        f64::from(self.per_minute()) * 2.0
    }

    /// Requests a calendar month; `None` is unlimited.
    #[must_use]
    pub fn quota(self) -> Option<u64> {
        match self {
            Self::Anonymous => Some(1_000),
            Self::Free => Some(10_000),
            Self::Professional => Some(1_000_000),
            Self::Enterprise => None,
        }
    }
}

/// What a client is told with every answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub tier: Tier,
    pub limit: u32,
    pub remaining: u32,
    /// Seconds until the bucket holds a minute's allowance again.
    pub reset_s: u64,
    /// Seconds until one request would pass, if this one did not.
    pub retry_after_s: Option<u64>,
}

struct Bucket {
    tokens: f64,
    filled: Instant,
}

const IDLE: Duration = Duration::from_secs(3_600);
/// Clients told apart at once; beyond this the longest idle ones are forgotten first.
const MAX_BUCKETS: usize = 50_000;

#[derive(Default)]
pub struct Buckets {
    buckets: HashMap<String, Bucket>,
}

impl Buckets {
    /// Takes one token of the client's bucket, if there is one.
    pub fn take(&mut self, now: Instant, client: &str, tier: Tier) -> Standing {
        if self.buckets.len() >= MAX_BUCKETS && !self.buckets.contains_key(client) {
            self.sweep(now);
            if self.buckets.len() >= MAX_BUCKETS {
                self.buckets.clear();
            }
        }
        let per_second = f64::from(tier.per_minute()) / 60.0;
        // A new bucket holds a minute's allowance, not the whole burst.
        let bucket = self
            .buckets
            .entry(client.to_owned())
            .or_insert_with(|| Bucket {
                tokens: f64::from(tier.per_minute()),
                filled: now,
            });
        let gained = now.saturating_duration_since(bucket.filled).as_secs_f64() * per_second;
        bucket.tokens = (bucket.tokens + gained).min(tier.burst());
        bucket.filled = now;
        let passes = bucket.tokens >= 1.0;
        if passes {
            bucket.tokens -= 1.0;
        }
        let missing = (f64::from(tier.per_minute()) - bucket.tokens).max(0.0);
        Standing {
            tier,
            limit: tier.per_minute(),
            remaining: bucket.tokens as u32,
            reset_s: (missing / per_second).ceil() as u64,
            retry_after_s: (!passes)
                .then(|| ((1.0 - bucket.tokens) / per_second).ceil().max(1.0) as u64),
        }
    }

    /// Drops buckets that nobody used for an hour.
    pub fn sweep(&mut self, now: Instant) {
        self.buckets
            .retain(|_, bucket| now.saturating_duration_since(bucket.filled) < IDLE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_key_gets_a_hundred_and_a_little_more_in_two_seconds() {
        let (mut buckets, start) = (Buckets::default(), Instant::now());
        let passed = (0..150)
            .filter(|n| {
                let now = start + Duration::from_millis(n * 2_000 / 150);
                buckets.take(now, "k", Tier::Free).retry_after_s.is_none()
            })
            .count();
        assert!((100..=104).contains(&passed), "{passed}");
    }

    #[test]
    fn an_idle_bucket_fills_to_its_burst_and_no_further() {
        let (mut buckets, start) = (Buckets::default(), Instant::now());
        buckets.take(start, "k", Tier::Free);
        let later = start + Duration::from_secs(3_000);
        assert_eq!(buckets.take(later, "k", Tier::Free).remaining, 199);
        buckets.sweep(later + IDLE);
        assert!(buckets.buckets.is_empty());
    }

    #[test]
    fn a_refusal_says_when_to_come_back() {
        let (mut buckets, start) = (Buckets::default(), Instant::now());
        for _ in 0..10 {
            buckets.take(start, "a", Tier::Anonymous);
        }
        let refused = buckets.take(start, "a", Tier::Anonymous);
        assert_eq!(
            (refused.retry_after_s, refused.remaining, refused.reset_s),
            (Some(6), 0, 60)
        );
        assert!(
            buckets
                .take(start, "b", Tier::Anonymous)
                .retry_after_s
                .is_none()
        );
    }
}
