//! `saga/retry-unbounded`: each cause, retries within the limit, the near miss, and no spans.

use super::{CLASS, COUNT, EXHAUSTED, RetryUnbounded};
use crate::engine::Certainty;
use crate::rules::saga::kit::{PAY, RESERVE, Said, scene, tale};
use crate::testing::Scene;

const FINAL: Said = Said("FAILED_PRECONDITION", true);
const PASSING: Said = Said("UNAVAILABLE", true);

#[test]
fn four_attempts_and_one_under_way_are_within_the_limit() {
    tale(1, 100.0)
        .repeated(PAY, 101.0, 5, PASSING, true)
        .in_scene(scene())
        .passes(&RetryUnbounded);
}

#[test]
fn a_limit_that_is_passed_with_a_true_count_was_ignored() {
    let finding = tale(1, 100.0)
        .repeated(PAY, 101.0, 6, PASSING, true)
        .in_scene(scene())
        .finding(&RetryUnbounded);
    assert_eq!(
        (finding.cause_id, finding.certainty),
        (EXHAUSTED, Certainty::Sure)
    );
}

#[test]
fn attempts_that_the_journal_does_not_count_are_lost() {
    let finding = tale(1, 100.0)
        .repeated(PAY, 101.0, 9, PASSING, false)
        .in_scene(scene())
        .finding(&RetryUnbounded);
    assert_eq!(finding.cause_id, COUNT);
}

#[test]
fn a_final_answer_is_repeated_three_times_at_most() {
    let repeated = |times| {
        tale(1, 100.0)
            .done(PAY, 101.0)
            .repeated(RESERVE, 102.0, times, FINAL, true)
            .in_scene(scene())
    };
    repeated(3).passes(&RetryUnbounded);
    let finding = repeated(4).finding(&RetryUnbounded);
    assert_eq!(finding.cause_id, CLASS);
    assert_eq!(finding.subjects[0].service, "order-management");
}

#[test]
fn without_spans_it_cannot_tell() {
    let mut scene: Scene = tale(1, 100.0)
        .repeated(PAY, 101.0, 9, PASSING, true)
        .in_scene(scene());
    scene.signals.spans.clear();
    assert_eq!(
        scene.cannot_tell(&RetryUnbounded),
        ["no spans of saga steps in the window"]
    );
}
