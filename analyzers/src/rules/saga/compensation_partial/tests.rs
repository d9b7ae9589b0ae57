//! `saga/compensation-partial`: each cause, a saga still at it, and no journal.

use super::{CALLS, CompensationPartial, PARTS, STOPPED};
use crate::rules::saga::kit::{PAY, RESERVE, SHIP, Said, Tale, restarted, scene, tale};
use crate::testing::Scene;

fn turned(begin: f64) -> Tale {
    tale(1, begin)
        .goods(&[("a", 1), ("b", 1), ("c", 1)])
        .done(PAY, begin + 1.0)
        .done(RESERVE, begin + 2.0)
        .failed(SHIP, begin + 3.0, Said("409", true))
        .turned(begin + 3.1)
}

#[test]
fn an_undo_that_ended_with_its_process_stopped_partway() {
    let half = turned(100.0).undone(RESERVE, 104.0);
    let finding = restarted(half.in_scene(scene()), 105.0, None).finding(&CompensationPartial);
    assert_eq!(finding.cause_id, STOPPED);
    assert!(finding.evidence[0].what.contains(PAY));
}

#[test]
fn it_may_still_be_at_it() {
    // Patience is the slowest step, a second, and a minute: 66 s before the end at 603.6.
    let near = turned(536.0).undone(RESERVE, 540.0);
    restarted(near.in_scene(scene()), 541.0, None).passes(&CompensationPartial);
    let over = turned(530.0).undone(RESERVE, 534.0);
    restarted(over.in_scene(scene()), 535.0, None).finding(&CompensationPartial);
}

#[test]
fn an_undo_that_nobody_answers_beside_one_that_is_done() {
    let tale = turned(100.0)
        .undo_failed(
            RESERVE,
            104.0,
            8,
            0.1,
            Said("DEADLINE_EXCEEDED", false),
            "TIMEOUT",
            true,
        )
        .undone(PAY, 110.0)
        .ended("failed", 110.1);
    let finding = tale.in_scene(scene()).finding(&CompensationPartial);
    assert_eq!(finding.cause_id, CALLS);
    assert_eq!(finding.subjects[0].service, "inventory");
}

#[test]
fn lines_of_one_reservation_that_differ_are_undone_in_part() {
    let lines = |last: &str| {
        turned(100.0)
            .undone(RESERVE, 104.0)
            .undone(PAY, 105.0)
            .ended("failed", 105.1)
            .reserved("a", 1, 104.0, "RELEASED")
            .reserved("b", 1, 102.0, last)
            .in_scene(scene())
    };
    assert_eq!(lines("HELD").finding(&CompensationPartial).cause_id, PARTS);
    lines("RELEASED").passes(&CompensationPartial);
}

#[test]
fn without_a_journal_it_cannot_tell() {
    assert!(!Scene::new().cannot_tell(&CompensationPartial).is_empty());
}
