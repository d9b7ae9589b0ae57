//! `saga/recovery-decision-wrong`: each cause, decisions of the matrix, the age between fresh and stale, no spans.

use super::{MISREAD, MISSING, RecoveryDecisionWrong, UNCLEAR};
use crate::engine::Certainty;
use crate::rules::saga::kit::{NEW, OK, PAY, RESERVE, restarted, scene, tale};
use crate::testing::{Scene, snapshot};

fn shop(when: f64) -> Scene {
    let up = snapshot(
        when,
        &[
            ("payment", "p", "127.0.0.1:1", "healthy"),
            ("inventory", "i", "127.0.0.1:2", "healthy"),
            ("shipping", "s", "127.0.0.1:3", "healthy"),
        ],
    );
    scene().snapshot(up)
}

fn paid(number: u64, action: &'static str) -> crate::rules::saga::kit::Tale {
    tale(number, 100.0)
        .done(PAY, 101.0)
        .recovered(107.0, 2.0, action)
}

#[test]
fn what_was_paid_goes_on() {
    restarted(paid(1, "continue").in_scene(shop(106.0)), 105.0, Some(1))
        .passes(&RecoveryDecisionWrong);
}

#[test]
fn what_was_paid_and_undone_was_misread() {
    let finding = restarted(paid(1, "compensate").in_scene(shop(106.0)), 105.0, Some(1))
        .finding(&RecoveryDecisionWrong);
    assert_eq!(
        (finding.cause_id, finding.certainty),
        (MISREAD, Certainty::Sure)
    );
    // With the next service gone, undoing is right.
    let gone = snapshot(106.0, &[("payment", "p", "127.0.0.1:1", "healthy")]);
    restarted(
        paid(1, "compensate").in_scene(scene().snapshot(gone)),
        105.0,
        Some(1),
    )
    .passes(&RecoveryDecisionWrong);
}

#[test]
fn equal_rows_decided_differently_are_left_to_chance() {
    let open = |number, action| {
        tale(number, 100.0)
            .intent(PAY, 100.5)
            .recovered(107.0, 2.0, action)
    };
    let one = open(1, "compensate").in_scene(shop(106.0));
    let finding = restarted(one.clone(), 105.0, Some(1)).finding(&RecoveryDecisionWrong);
    assert_eq!(
        (finding.cause_id, finding.certainty),
        (MISREAD, Certainty::Likely)
    );
    let both = open(2, "continue").in_scene(one);
    let finding = restarted(both, 105.0, Some(2)).finding(&RecoveryDecisionWrong);
    assert_eq!(finding.cause_id, UNCLEAR);
}

#[test]
fn a_row_without_its_fields_lacks_information() {
    let bare = tale(1, 100.0)
        .intent(PAY, 100.5)
        .bare()
        .recovered(107.0, 0.1, "compensate");
    let mut scene = restarted(bare.in_scene(shop(106.0)), 105.0, Some(1));
    for row in scene
        .signals
        .journal
        .iter_mut()
        .filter(|row| row.saga_id == "sg_001" && row.kind == "saga")
    {
        row.seen_at = crate::testing::at(104.0);
    }
    assert_eq!(scene.finding(&RecoveryDecisionWrong).cause_id, MISSING);
}

#[test]
fn around_five_minutes_either_is_right() {
    let aged = |age: f64, action| {
        let tale = tale(1, 100.0).recovered(100.0 + age, 2.0, action);
        restarted(tale.in_scene(shop(99.0)), 90.0 + age, Some(1))
    };
    aged(295.0, "compensate").passes(&RecoveryDecisionWrong);
    aged(200.0, "compensate").finding(&RecoveryDecisionWrong);
    aged(330.0, "compensate").passes(&RecoveryDecisionWrong);
    aged(330.0, "continue").finding(&RecoveryDecisionWrong);
}

#[test]
fn without_spans_it_cannot_tell() {
    let tale = paid(1, "compensate")
        .by(NEW)
        .tried(RESERVE, false, 1, 108.0, 0.1, OK, None, false);
    let mut scene = restarted(tale.in_scene(shop(106.0)), 105.0, Some(1));
    scene.signals.spans.clear();
    assert!(!scene.cannot_tell(&RecoveryDecisionWrong).is_empty());
}
