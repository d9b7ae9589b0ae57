//! Owns when a failed call is tried again in the foreground: by class, kind of failure, mode and budget.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::call::{CallError, Certainty};
use crate::rng::Rng;

/// What a call may repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Changes nothing.
    Read,
    /// Changes state under an idempotency key.
    WriteKeyed,
    /// Never repeated here; a saga step is, by its engine.
    None,
}

const BASE: Duration = Duration::from_millis(200);
const CAP: Duration = Duration::from_secs(2);

/// The pause before attempt number `next` (1 is the first repetition), or `None` if the failure is final.
#[must_use]
pub fn pause(class: Class, error: &CallError, next: u32, rng: &mut Rng) -> Option<Duration> {
    if class == Class::None
        || error.api.reason == "CIRCUIT_OPEN"
        || error.api.reason == "NO_HEALTHY_INSTANCES"
    {
        return None;
    }
    match error.certainty {
        // Timeouts and broken connections.
        Certainty::Unknown | Certainty::NotSent => {
            if next > 3 {
                return None;
            }
            let doubled = BASE.saturating_mul(1 << (next - 1)).min(CAP);
            Some(doubled.mul_f64(rng.between(0.5, 1.0)))
        }
        Certainty::Definite if error.is_server_failure() => {
            if next > 2 {
                return None;
            }
            Some(BASE * next + Duration::from_millis(rng.between(0.0, 50.0) as u64))
        }
        Certainty::Definite => None,
    }
}

/// A fifth of the requests of the window, and at least ten retries.
#[derive(Debug)]
pub struct Budget {
    window: Duration,
    requests: VecDeque<Instant>,
    retries: VecDeque<Instant>,
}

/// More requests than this in a window are not told apart.
const MAX_COUNTED: usize = 10_000;

impl Budget {
    #[must_use]
    pub fn new(window: Duration) -> Self {
        Self {
            window,
            requests: VecDeque::new(),
            retries: VecDeque::new(),
        }
    }

    pub fn request(&mut self, now: Instant) {
        self.forget(now);
        if self.requests.len() < MAX_COUNTED {
            self.requests.push_back(now);
        }
    }

    pub fn retry(&mut self, now: Instant) -> bool {
        self.forget(now);
        let allowed = (self.requests.len() / 5).max(10);
        if self.retries.len() >= allowed {
            return false;
        }
        self.retries.push_back(now);
        true
    }

    fn forget(&mut self, now: Instant) {
        for times in [&mut self.requests, &mut self.retries] {
            while times
                .front()
                .is_some_and(|at| now.saturating_duration_since(*at) > self.window)
            {
                times.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::error::ApiError;
    use tonic::Code;

    fn error(certainty: Certainty, code: Code) -> CallError {
        CallError {
            certainty,
            api: ApiError::new(code, "X", "x"),
            transport: None,
        }
    }

    #[test]
    fn lost_calls_are_tried_three_times_more_with_rising_pauses() {
        let mut rng = Rng::new(1);
        let lost = error(Certainty::Unknown, Code::DeadlineExceeded);
        for (next, most) in [(1, 200), (2, 400), (3, 800)] {
            let pause = pause(Class::Read, &lost, next, &mut rng).unwrap();
            assert!(
                pause <= Duration::from_millis(most) && pause >= Duration::from_millis(most / 2),
                "{next} {pause:?}"
            );
        }
        assert_eq!(pause(Class::Read, &lost, 4, &mut rng), None);
    }

    #[test]
    fn server_errors_twice_and_refusals_never() {
        let mut rng = Rng::new(1);
        let failed = error(Certainty::Definite, Code::Internal);
        assert!(pause(Class::WriteKeyed, &failed, 2, &mut rng).is_some());
        assert_eq!(pause(Class::WriteKeyed, &failed, 3, &mut rng), None);
        assert_eq!(pause(Class::None, &failed, 1, &mut rng), None);
        assert_eq!(
            pause(
                Class::Read,
                &error(Certainty::Definite, Code::NotFound),
                1,
                &mut rng
            ),
            None
        );
    }

    #[test]
    fn the_budget_is_a_fifth_but_at_least_ten() {
        let (mut budget, now) = (Budget::new(Duration::from_secs(10)), Instant::now());
        assert_eq!((0..20).filter(|_| budget.retry(now)).count(), 10);
        let later = now + Duration::from_secs(11);
        for _ in 0..100 {
            budget.request(later);
        }
        assert_eq!((0..50).filter(|_| budget.retry(later)).count(), 20);
    }
}
