//! Comparison over sides made by hand.

use std::collections::BTreeSet;

use case::model::{Attributes, Span, SpanKind, StatusCode, Value};
use case::{Nanos, TraceId};

use super::attributes::Gather;
use super::canary::{self, Action, PLANS};
use super::*;

const MS: u64 = 1_000_000;

fn request(number: u64, millis: u64, failed: bool, flag: &str) -> Span {
    let mut attributes = Attributes::default();
    attributes.push("flag", Value::Text(flag.to_owned()));
    attributes.push("id", Value::Int(number as i64));
    Span {
        trace_id: TraceId(u128::from(number + 1).to_be_bytes()),
        name: "POST /pay".to_owned(),
        kind: SpanKind::Server,
        start: Nanos(number * 1000 * MS),
        end: Nanos((number * 1000 + millis) * MS),
        status: if failed {
            StatusCode::Error
        } else {
            StatusCode::Ok
        },
        attributes,
        ..Span::default()
    }
}

fn side(count: u64, millis: impl Fn(u64) -> u64, failed: impl Fn(u64) -> bool) -> Side {
    let mut side = Side::default();
    for number in 0..count {
        side.take(&request(number, millis(number), failed(number), "off"));
    }
    side
}

#[test]
fn a_difference_is_claimed_only_when_the_intervals_part() {
    let usual = side(200, |n| 10 + n % 10, |_| false);
    let slow = side(200, |n| 30 + n % 10, |n| n % 4 == 0);
    let row = &compare(&usual, &slow)[0];
    assert_eq!((row.latency, row.errors), (Change::Worse, Change::Worse));
    let row = &compare(&slow, &usual)[0];
    assert_eq!((row.latency, row.errors), (Change::Better, Change::Better));
    let row = &compare(&usual, &side(200, |n| 10 + (n + 3) % 10, |n| n == 0))[0];
    assert_eq!(
        (row.latency, row.errors),
        (Change::NotTold, Change::NotTold)
    );
    let row = &compare(&usual, &side(5, |_| 900, |_| true))[0];
    assert_eq!((row.latency, row.errors), (Change::TooFew, Change::TooFew));
}

#[test]
fn intervals_hold_the_figure_and_narrow_with_more_samples() {
    let few = certainty::share(1, 10);
    let many = certainty::share(100, 1000);
    for interval in [few, many] {
        assert!(interval.low < interval.value && interval.value < interval.high);
    }
    assert!(many.high - many.low < few.high - few.low);
    assert_eq!(certainty::share(0, 0).high, 1.0);
    assert_eq!(certainty::quantile(&[], 0.95), None);
    let p95 = certainty::quantile(&(0..1000).collect::<Vec<_>>(), 0.95).unwrap();
    assert!(p95.low < 949.0 && p95.value == 949.0 && p95.high > 950.0 && p95.high < 999.0);
}

#[test]
fn what_bad_requests_have_in_common_comes_first_and_chance_finds_stay_out() {
    let mut gather = Gather::default();
    let mut bad = BTreeSet::new();
    for number in 0..400u64 {
        let on = number % 5 == 0;
        let span = request(number, 10, on, if on { "on" } else { "off" });
        if on {
            bad.insert(span.trace_id);
        }
        gather.take(&span);
    }
    let verdict = gather.judge(&bad);
    assert_eq!((verdict.bad, verdict.good), (80, 320));
    assert_eq!(verdict.common.len(), 1, "{:?}", verdict.common);
    assert_eq!(
        (
            verdict.common[0].key.as_str(),
            verdict.common[0].value.as_str()
        ),
        ("flag", "on")
    );
    let by_chance: BTreeSet<TraceId> = bad
        .iter()
        .copied()
        .enumerate()
        .filter(|(n, _)| n % 7 == 0)
        .map(|(_, id)| id)
        .collect();
    let even: BTreeSet<TraceId> = (0..400u64)
        .step_by(9)
        .map(|n| request(n, 1, true, "").trace_id)
        .collect();
    assert!(gather.judge(&even).common.is_empty());
    assert!(!gather.judge(&by_chance).common.is_empty());
}

#[test]
fn the_canary_is_judged_by_phase_and_never_on_too_little() {
    let figures = |count: u64, millis: u64, failures: u64| {
        Figures::of(&side(count, move |n| millis + n % 3, move |n| n < failures).whole())
    };
    let old = figures(1000, 100, 2);
    let judged = |phase: usize, canary: &Figures| canary::judge(&PLANS[0], phase, canary, &old);
    assert_eq!(judged(1, &figures(49, 100, 0)).action, Action::Extend);
    let good = judged(1, &figures(400, 100, 0));
    assert_eq!((good.action, good.next_percent), (Action::Advance, 10));
    let failing = judged(3, &figures(400, 100, 40));
    assert_eq!(
        (failing.action, failing.next_percent),
        (Action::RollBack, 0)
    );
    let slow = judged(3, &figures(400, 200, 0));
    assert_eq!((slow.action, slow.next_percent), (Action::Drain, 10));
    let slower = judged(2, &figures(400, 120, 0));
    assert_eq!((slower.action, slower.next_percent), (Action::StepBack, 5));
    let first = judged(1, &figures(400, 100, 1));
    assert_eq!((first.action, first.next_percent), (Action::StepBack, 0));
    assert_eq!(judged(6, &figures(400, 100, 0)).next_percent, 100);
    let capped = canary::judge(&PLANS[2], 1, &figures(400, 100, 5), &figures(1000, 100, 8));
    assert_eq!(capped.action, Action::RollBack);
}
