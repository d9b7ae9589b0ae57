//! Owns the circuit breaker of one downstream: a pure state machine over the times it is told.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Closed,
    HalfOpen,
    Open,
}

impl State {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half-open",
            Self::Open => "open",
        }
    }

    #[must_use]
    pub fn as_number(self) -> f64 {
        match self {
            Self::Closed => 0.0,
            Self::HalfOpen => 1.0,
            Self::Open => 2.0,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BreakerSettings {
    pub minimum_requests: usize,
    pub consecutive_failures: u32,
    pub window: Duration,
    pub open_time: Duration,
    pub trial_requests: u32,
    pub successes_to_close: u32,
}

impl BreakerSettings {
    /// Registry lookups are given more patience than business calls.
    #[must_use]
    pub fn for_upstream(upstream: &str) -> Self {
        let business = Self {
            minimum_requests: 20,
            consecutive_failures: 5,
            window: Duration::from_secs(60),
            open_time: Duration::from_secs(60),
            trial_requests: 10,
            successes_to_close: 3,
        };
        if upstream == crate::catalog::REGISTRY {
            return Self {
                minimum_requests: 10,
                consecutive_failures: 10,
                open_time: Duration::from_secs(30),
                ..business
            };
        }
        business
    }

    #[must_use]
    pub fn scaled(self, scale: impl Fn(Duration) -> Duration) -> Self {
        Self {
            window: scale(self.window),
            open_time: scale(self.open_time),
            ..self
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Pass,
    /// Refused; calls are tried again after this time.
    Refuse(Duration),
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub total: u64,
    pub failed: u64,
    pub consecutive_failures: u32,
    pub last_failure: Option<Instant>,
}

#[derive(Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    state: State,
    opened_at: Option<Instant>,
    /// When each request of the window ended; only their number matters.
    recent: VecDeque<Instant>,
    counts: Counts,
    trials: u32,
    trial_successes: u32,
}

impl Breaker {
    #[must_use]
    pub fn new(settings: BreakerSettings) -> Self {
        Self {
            settings,
            state: State::Closed,
            opened_at: None,
            recent: VecDeque::new(),
            counts: Counts::default(),
            trials: 0,
            trial_successes: 0,
        }
    }

    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    pub fn admit(&mut self, now: Instant) -> Decision {
        if self.state == State::Open {
            let open_for = self
                .opened_at
                .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
            if open_for < self.settings.open_time {
                return Decision::Refuse(self.settings.open_time - open_for);
            }
            self.state = State::HalfOpen;
            self.opened_at = Some(now);
            self.trials = 0;
            self.trial_successes = 0;
        }
        if self.state == State::HalfOpen {
            if self.trials >= self.settings.trial_requests {
                // Trials whose end nobody recorded must not keep the breaker half-open for ever.
                let waited = self
                    .opened_at
                    .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
                if waited < self.settings.open_time {
                    return Decision::Refuse(self.settings.open_time - waited);
                }
                self.opened_at = Some(now);
                self.trials = 0;
            }
            self.trials += 1;
        }
        Decision::Pass
    }

    pub fn record(&mut self, now: Instant, failed: bool) {
        self.counts.total += 1;
        self.recent.push_back(now);
        while self
            .recent
            .front()
            .is_some_and(|at| now.saturating_duration_since(*at) > self.settings.window)
        {
            self.recent.pop_front();
        }
        // Only "enough of them" is ever asked, so no more need be kept.
        while self.recent.len() > self.settings.minimum_requests {
            self.recent.pop_front();
        }
        if failed {
            self.counts.failed += 1;
            self.counts.consecutive_failures += 1;
            self.counts.last_failure = Some(now);
        } else {
            self.counts.consecutive_failures = 0;
        }
        match (self.state, failed) {
            (State::Closed, true) => {
                if self.recent.len() >= self.settings.minimum_requests
                    && self.counts.consecutive_failures >= self.settings.consecutive_failures
                {
                    self.open(now);
                }
            }
            (State::HalfOpen, true) => self.open(now),
            (State::HalfOpen, false) => {
                self.trial_successes += 1;
                if self.trial_successes >= self.settings.successes_to_close {
                    self.state = State::Closed;
                    self.opened_at = None;
                    self.recent.clear();
                }
            }
            (State::Closed, false) | (State::Open, _) => {}
        }
    }

    fn open(&mut self, now: Instant) {
        self.state = State::Open;
        self.opened_at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> Breaker {
        Breaker::new(BreakerSettings::for_upstream("payment"))
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn it_opens_after_five_failures_once_twenty_were_seen() {
        let (mut breaker, start) = (breaker(), Instant::now());
        for n in 0..19 {
            breaker.record(after(start, n / 2), true);
        }
        assert_eq!(breaker.state(), State::Closed);
        breaker.record(after(start, 10), true);
        assert_eq!(breaker.state(), State::Open);
        assert_eq!(
            breaker.admit(after(start, 30)),
            Decision::Refuse(Duration::from_secs(40))
        );
    }

    #[test]
    fn a_success_between_failures_keeps_it_closed() {
        let (mut breaker, start) = (breaker(), Instant::now());
        for n in 0..100 {
            breaker.record(start, n % 5 != 4);
        }
        assert_eq!(breaker.state(), State::Closed);
    }

    #[test]
    fn requests_older_than_the_window_do_not_count_towards_the_minimum() {
        let (mut breaker, start) = (breaker(), Instant::now());
        for n in 0..19 {
            breaker.record(after(start, n), true);
        }
        breaker.record(after(start, 70), true);
        assert_eq!(breaker.state(), State::Closed);
    }

    fn opened(start: Instant) -> Breaker {
        let mut breaker = breaker();
        for _ in 0..20 {
            breaker.record(start, true);
        }
        breaker
    }

    #[test]
    fn half_open_admits_ten_and_closes_on_the_third_success() {
        let start = Instant::now();
        let mut breaker = opened(start);
        let later = after(start, 60);
        for _ in 0..10 {
            assert_eq!(breaker.admit(later), Decision::Pass);
        }
        assert!(matches!(breaker.admit(later), Decision::Refuse(_)));
        breaker.record(later, false);
        breaker.record(later, false);
        assert_eq!(breaker.state(), State::HalfOpen);
        breaker.record(later, false);
        assert_eq!(breaker.state(), State::Closed);
        breaker.record(later, true);
        assert_eq!(breaker.state(), State::Closed);
    }

    #[test]
    fn any_failure_in_half_open_opens_again_for_the_full_time() {
        let start = Instant::now();
        let mut breaker = opened(start);
        let later = after(start, 61);
        assert_eq!(breaker.admit(later), Decision::Pass);
        breaker.record(later, true);
        assert_eq!(
            breaker.admit(later),
            Decision::Refuse(Duration::from_secs(60))
        );
    }

    #[test]
    fn trials_that_never_end_do_not_block_for_ever() {
        let start = Instant::now();
        let mut breaker = opened(start);
        for _ in 0..10 {
            assert_eq!(breaker.admit(after(start, 60)), Decision::Pass);
        }
        assert_eq!(breaker.admit(after(start, 121)), Decision::Pass);
    }
}
