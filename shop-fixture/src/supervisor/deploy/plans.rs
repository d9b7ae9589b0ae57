//! Owns the plans of a canary: which share of the traffic it gets in each phase, and for how long.

use std::time::Duration;

/// One phase; the last one of a plan has no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Phase {
    pub(super) percent: u8,
    pub(super) lasts: Duration,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) name: &'static str,
    pub(super) phases: &'static [Phase],
    /// The error share above which the canary is given up whatever the others do; judged by the baseline where absent.
    pub(super) most_errors_per_mille: Option<u32>,
}

const fn phase(percent: u8, minutes: u64) -> Phase {
    Phase {
        percent,
        lasts: Duration::from_secs(minutes * 60),
    }
}

pub(super) const PLANS: &[Plan] = &[
    Plan {
        name: "capstone",
        phases: &[
            phase(5, 10),
            phase(10, 15),
            phase(25, 20),
            phase(50, 30),
            phase(75, 20),
            phase(100, 0),
        ],
        most_errors_per_mille: None,
    },
    Plan {
        name: "short",
        phases: &[phase(5, 2), phase(25, 2), phase(50, 2), phase(100, 0)],
        most_errors_per_mille: None,
    },
    Plan {
        name: "cloudscale",
        phases: &[phase(10, 5), phase(100, 0)],
        most_errors_per_mille: Some(10),
    },
];

impl Plan {
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        PLANS.iter().find(|plan| plan.name == name)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_plan_rises_to_everybody_and_the_long_one_takes_ninety_five_minutes() {
        for plan in PLANS {
            let percents: Vec<u8> = plan.phases.iter().map(|phase| phase.percent).collect();
            assert!(percents.is_sorted() && percents.last() == Some(&100));
        }
        let long: Duration = PLANS[0].phases.iter().map(|phase| phase.lasts).sum();
        assert_eq!(long, Duration::from_secs(95 * 60));
        assert_eq!(Plan::find("short").unwrap().phases.len(), 4);
        assert_eq!(Plan::find("long"), None);
    }
}
