//! `saga/failed-without-compensation`: each cause, a healthy turn, the near miss, and no journal.

use super::{BYPASS, FailedWithoutCompensation, HANDLER, TRIGGER};
use crate::engine::Certainty;
use crate::rules::saga::kit::{PAY, RESERVE, SHIP, Said, scene, tale};
use crate::testing::Scene;

const REFUSED: Said = Said("FAILED_PRECONDITION", true);
const SILENT: Said = Said("DEADLINE_EXCEEDED", false);

fn undone(number: u64, begin: f64, said: Said) -> crate::rules::saga::kit::Tale {
    tale(number, begin)
        .done(PAY, begin + 1.0)
        .failed(RESERVE, begin + 2.0, said)
        .turned(begin + 2.1)
        .undone(PAY, begin + 3.0)
        .ended("failed", begin + 3.1)
}

#[test]
fn a_failed_saga_that_was_undone_passes() {
    undone(1, 100.0, REFUSED)
        .in_scene(scene())
        .passes(&FailedWithoutCompensation);
}

#[test]
fn a_saga_that_stays_where_it_failed_was_never_triggered() {
    let left = tale(1, 100.0)
        .done(PAY, 101.0)
        .failed(RESERVE, 102.0, REFUSED);
    let finding = left.in_scene(scene()).finding(&FailedWithoutCompensation);
    assert_eq!(
        (finding.cause_id, finding.certainty),
        (TRIGGER, Certainty::Sure)
    );
    assert_eq!(finding.subjects[0].service, "order-management");
}

#[test]
fn it_has_a_moment_to_turn_back() {
    // The journal was read to 603.6; a failure 19 s of the system's time before that is a near miss.
    let near = tale(1, 580.0)
        .done(PAY, 581.0)
        .failed(RESERVE, 590.0, REFUSED);
    near.in_scene(scene()).passes(&FailedWithoutCompensation);
    let over = tale(1, 570.0)
        .done(PAY, 571.0)
        .failed(RESERVE, 583.0, REFUSED);
    over.in_scene(scene()).finding(&FailedWithoutCompensation);
}

#[test]
fn a_step_that_is_left_out_has_no_undo() {
    let partly = tale(1, 100.0)
        .done(PAY, 101.0)
        .done(RESERVE, 102.0)
        .failed(SHIP, 103.0, REFUSED)
        .turned(103.1)
        .undone(PAY, 104.0)
        .ended("failed", 104.1);
    let finding = partly.in_scene(scene()).finding(&FailedWithoutCompensation);
    assert_eq!(
        (finding.cause_id, finding.certainty),
        (HANDLER, Certainty::Sure)
    );
    assert!(finding.evidence[0].what.contains(RESERVE));
}

#[test]
fn one_class_of_error_that_goes_straight_to_the_end_bypasses() {
    let bypassed = tale(1, 100.0)
        .done(PAY, 101.0)
        .failed(RESERVE, 102.0, SILENT)
        .ended("failed", 102.1);
    let both = undone(2, 150.0, REFUSED).in_scene(bypassed.clone().in_scene(scene()));
    let finding = both.finding(&FailedWithoutCompensation);
    assert_eq!(
        (finding.cause_id, finding.certainty),
        (BYPASS, Certainty::Sure)
    );
    // Without the other class it may be all of them.
    let finding = bypassed
        .in_scene(scene())
        .finding(&FailedWithoutCompensation);
    assert_eq!(finding.certainty, Certainty::Likely);
    assert_eq!(finding.alternatives[0].cause_id, TRIGGER);
}

#[test]
fn without_a_journal_it_cannot_tell() {
    assert!(
        !Scene::new()
            .cannot_tell(&FailedWithoutCompensation)
            .is_empty()
    );
}
