//! `saga/unfinished-after-restart`: each cause, sagas that went on, the near miss, and no registry.

use super::{ABSENT, MISSES, UNSAVED, UnfinishedAfterRestart};
use crate::rules::saga::kit::{NEW, PAY, RESERVE, SHIP, restarted, scene, tale};
use crate::testing::Scene;

fn left(begin: f64) -> Scene {
    tale(1, begin).done(PAY, begin + 1.0).in_scene(scene())
}

#[test]
fn a_saga_that_was_recovered_passes() {
    let went_on = tale(1, 100.0)
        .done(PAY, 101.0)
        .recovered(107.0, 2.0, "continue")
        .by(NEW)
        .done(RESERVE, 108.0)
        .done(SHIP, 109.0)
        .ended("completed", 109.1);
    restarted(went_on.in_scene(scene()), 105.0, Some(1)).passes(&UnfinishedAfterRestart);
    // And without a restart nothing is unfinished after one.
    left(100.0).passes(&UnfinishedAfterRestart);
}

#[test]
fn no_scan_since_the_restart_means_that_there_is_none() {
    assert_eq!(
        restarted(left(100.0), 105.0, None)
            .finding(&UnfinishedAfterRestart)
            .cause_id,
        ABSENT
    );
}

#[test]
fn a_scan_that_found_fewer_than_were_open_missed_them() {
    let finding = restarted(left(100.0), 105.0, Some(0)).finding(&UnfinishedAfterRestart);
    assert_eq!(finding.cause_id, MISSES);
    // One that found them all and left them is another matter.
    restarted(left(100.0), 105.0, Some(1)).passes(&UnfinishedAfterRestart);
}

#[test]
fn an_effect_that_the_journal_has_no_intent_of_was_not_saved() {
    let ahead = tale(1, 100.0).paid(101.0, "COMPLETED", 0).in_scene(scene());
    assert_eq!(
        restarted(ahead, 105.0, Some(0))
            .finding(&UnfinishedAfterRestart)
            .cause_id,
        UNSAVED
    );
}

#[test]
fn an_order_without_a_saga_was_not_saved_at_all() {
    let order = crate::testing::ledger(
        103.0,
        "orders",
        "ord_x",
        Some("ord_x"),
        serde_json::json!({
            "saga_id": "sg_x", "status": "PAID", "version": 2,
            "created_at": crate::testing::at(102.0).to_string(), "updated_at": crate::testing::at(102.5).to_string(),
        }),
    );
    let scene = restarted(scene().ledger(order.clone()), 105.0, Some(0));
    let finding = scene.finding(&UnfinishedAfterRestart);
    assert_eq!(finding.cause_id, UNSAVED);
    // Such an order that has ended needs nobody.
    let mut ended = order;
    ended.fields["status"] = "SHIPPED".into();
    restarted(
        crate::rules::saga::kit::scene().ledger(ended),
        105.0,
        Some(0),
    )
    .passes(&UnfinishedAfterRestart);
}

#[test]
fn recovery_has_its_time() {
    // Patience is 66 s, the evidence ends at 603.6.
    restarted(left(538.0), 541.0, None).passes(&UnfinishedAfterRestart);
    restarted(left(530.0), 534.0, None).finding(&UnfinishedAfterRestart);
}

#[test]
fn without_registry_events_it_cannot_tell() {
    let mut scene = left(100.0);
    scene.signals.registry_events.clear();
    assert_eq!(
        scene.cannot_tell(&UnfinishedAfterRestart),
        ["no registry events in the window"]
    );
}
