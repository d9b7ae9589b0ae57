//! The judge of a canary: whether a new version may have more traffic, by the phases and limits of the shop's roll-outs.
//!
//! It says what it saw and what the limit was. Too few requests are no verdict: the phase goes on.

use serde::Serialize;

use super::Figures;

/// Requests a phase needs before it is judged.
pub const LEAST: u64 = 50;

/// A roll-out plan: shares of the traffic, phase by phase, in per cent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    pub name: &'static str,
    pub percents: &'static [u8],
    /// Error share at which it is given up, in parts of ten thousand, whatever the baseline has.
    pub abort_at: Option<u32>,
}

pub const PLANS: [Plan; 3] = [
    Plan {
        name: "capstone",
        percents: &[5, 10, 25, 50, 75, 100],
        abort_at: None,
    },
    Plan {
        name: "short",
        percents: &[5, 25, 50, 100],
        abort_at: None,
    },
    Plan {
        name: "cloudscale",
        percents: &[10, 100],
        abort_at: Some(100),
    },
];

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// On to the next phase.
    Advance,
    /// Wait for more requests.
    Extend,
    /// Back to the phase before; from the first, to none.
    StepBack,
    /// All traffic to the old version, step by step.
    Drain,
    /// All traffic to the old version at once.
    RollBack,
}

/// One limit with what was seen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    pub what: &'static str,
    pub seen: f64,
    pub limit: f64,
    pub holds: bool,
    /// Whether the whole interval lies on that side.
    pub sure: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    pub plan: &'static str,
    /// From 1.
    pub phase: usize,
    pub percent: u8,
    pub action: Action,
    /// Share the canary should have from now on.
    pub next_percent: u8,
    pub checks: Vec<Check>,
    pub why: String,
}

/// Judges a phase (from 1) of a plan.
pub fn judge(plan: &Plan, phase: usize, canary: &Figures, against: &Figures) -> Verdict {
    let phase = phase.clamp(1, plan.percents.len());
    let percent = plan.percents[phase - 1];
    let mut verdict = Verdict {
        plan: plan.name,
        phase,
        percent,
        action: Action::Extend,
        next_percent: percent,
        checks: Vec::new(),
        why: String::new(),
    };
    if canary.requests < LEAST || against.requests < LEAST {
        verdict.why = format!(
            "{} requests of the canary and {} of the other version, {LEAST} of each are needed",
            canary.requests, against.requests
        );
        return verdict;
    }
    let share = canary.error_share;
    let usual = against.error_share;
    let mut check = |what: &'static str, seen: super::Interval, limit: f64| -> bool {
        let holds = seen.value <= limit;
        let sure = if holds {
            seen.high <= limit
        } else {
            seen.low > limit
        };
        verdict.checks.push(Check {
            what,
            seen: seen.value,
            limit,
            holds,
            sure,
        });
        holds
    };
    // A baseline without failures allows none beyond what a first phase allows anyway.
    let five_times = check(
        "error share, against five times the other's",
        share,
        (5.0 * usual.value).max(0.001),
    );
    let under_limit = plan.abort_at.is_none_or(|parts| {
        check(
            "error share, the plan's limit",
            share,
            f64::from(parts) / 10_000.0,
        )
    });
    let p95 = canary
        .p95
        .zip(against.p95)
        .map(|(canary, against)| super::Interval {
            value: canary.value / against.value.max(1.0),
            low: canary.low / against.high.max(1.0),
            high: canary.high / against.low.max(1.0),
        });
    let not_half_more = p95.is_none_or(|ratio| check("p95 over the other's", ratio, 1.5));
    let first_share = phase > 1 || check("error share in the first phase", share, 0.001);
    let thresholds = p95.is_none_or(|ratio| check("p95 over the other's, to go on", ratio, 1.1));
    let before = if phase >= 2 {
        plan.percents[phase - 2]
    } else {
        0
    };
    let (action, next, why) = if !five_times || !under_limit {
        (Action::RollBack, 0, "too many failures: straight to none")
    } else if !not_half_more {
        (
            Action::Drain,
            before,
            "p95 is up by more than half: step by step to none",
        )
    } else if !first_share || !thresholds {
        (Action::StepBack, before, "a limit for going on is passed")
    } else {
        let next = plan.percents.get(phase).copied().unwrap_or(100);
        (Action::Advance, next, "every limit holds")
    };
    verdict.action = action;
    verdict.next_percent = next;
    verdict.why = why.to_owned();
    verdict
}
