//! `saga/step-repeated-after-recovery`: each cause, a repetition that was answered from a record, no registry.

use super::{REALITY, StepRepeatedAfterRecovery, UNCHECKED, UNKEYED};
use crate::rules::saga::kit::{NEW, OK, PAY, RESERVE, Tale, restarted, scene, tale};
use crate::testing::Scene;

/// The process died with the payment's intent written, and recovery called it again.
fn again(key: Option<&str>, replayed: bool) -> Tale {
    tale(1, 100.0)
        .intent(PAY, 101.0)
        .recovered(107.0, 2.0, "continue")
        .by(NEW)
        .tried(PAY, false, 1, 107.5, 0.2, OK, key, replayed)
}

fn told(tale: Tale) -> Scene {
    restarted(tale.in_scene(scene()), 105.0, Some(1))
}

#[test]
fn the_same_key_answered_from_the_record_passes() {
    told(again(None, true).paid(101.2, "COMPLETED", 0)).passes(&StepRepeatedAfterRecovery);
}

#[test]
fn the_same_key_with_two_effects_is_a_callee_that_ignores_keys() {
    let tale = again(None, false);
    let key = tale.key(PAY, false);
    let once = tale.paid_under(&key, "1", 101.2, 101.2, "COMPLETED", 0);
    // One effect alone is how it should be.
    told(once.clone()).passes(&StepRepeatedAfterRecovery);
    let finding = told(once.paid_under(&key, "2", 107.6, 107.6, "COMPLETED", 0))
        .finding(&StepRepeatedAfterRecovery);
    assert_eq!(finding.cause_id, UNKEYED);
    assert_eq!(finding.subjects[0].service, "payment");
}

#[test]
fn another_key_for_what_had_happened_is_the_journal_against_reality() {
    let tale = again(Some("saga:sg_001:payment:ord_001:77"), false).paid(101.2, "COMPLETED", 0);
    let finding = told(tale).finding(&StepRepeatedAfterRecovery);
    assert_eq!(finding.cause_id, REALITY);
    assert_eq!(finding.subjects[0].service, "order-management");
}

#[test]
fn a_step_that_the_journal_knew_to_be_done_was_not_looked_up() {
    let tale = tale(1, 100.0)
        .done(PAY, 101.0)
        .recovered(107.0, 2.0, "continue")
        .by(NEW)
        .tried(PAY, false, 1, 107.5, 0.2, OK, Some("fresh"), false);
    assert_eq!(
        told(tale).finding(&StepRepeatedAfterRecovery).cause_id,
        UNCHECKED
    );
    let next = crate::rules::saga::kit::tale(1, 100.0)
        .done(PAY, 101.0)
        .recovered(107.0, 2.0, "continue")
        .by(NEW)
        .done(RESERVE, 108.0);
    told(next).passes(&StepRepeatedAfterRecovery);
}

#[test]
fn without_registry_events_it_cannot_tell() {
    let mut scene = again(None, true).in_scene(scene());
    scene.signals.registry_events.clear();
    assert!(!scene.cannot_tell(&StepRepeatedAfterRecovery).is_empty());
}
