//! `saga/compensation-incomplete`: each cause, a clean end, what is not read yet, and no ledgers.

use super::{ASIDE, CompensationIncomplete, LATE, LOGIC};
use crate::rules::saga::kit::{PAY, RESERVE, Said, Tale, scene, tale};
use crate::testing::Scene;

fn undone(begin: f64) -> Tale {
    tale(1, begin)
        .done(PAY, begin + 1.0)
        .failed(RESERVE, begin + 2.0, Said("FAILED_PRECONDITION", true))
        .turned(begin + 2.1)
        .undone(PAY, begin + 3.0)
        .ended("failed", begin + 3.1)
        .told(begin + 1.0, "OrderCreated")
}

#[test]
fn a_full_refund_that_was_told_passes() {
    undone(100.0)
        .paid(103.0, "REFUNDED", 1000)
        .told(104.0, "OrderCancelled")
        .in_scene(scene())
        .passes(&CompensationIncomplete);
}

#[test]
fn a_part_that_is_kept_is_an_incomplete_undo() {
    let kept = |refunded| {
        undone(100.0)
            .paid(103.0, "REFUNDED", refunded)
            .told(104.0, "OrderCancelled")
            .in_scene(scene())
    };
    let finding = kept(999).finding(&CompensationIncomplete);
    assert_eq!(finding.cause_id, LOGIC);
    assert_eq!(finding.subjects[0].service, "payment");
    kept(1000).passes(&CompensationIncomplete);
}

#[test]
fn a_payment_younger_than_its_undo_came_late() {
    let scene = undone(100.0)
        .paid(120.0, "COMPLETED", 0)
        .told(104.0, "OrderCancelled")
        .in_scene(scene());
    assert_eq!(scene.finding(&CompensationIncomplete).cause_id, LATE);
}

#[test]
fn a_customer_who_was_never_told_of_the_end_is_a_side_effect() {
    let scene = undone(100.0)
        .paid(103.0, "REFUNDED", 1000)
        .in_scene(scene());
    assert_eq!(scene.finding(&CompensationIncomplete).cause_id, ASIDE);
    // Told too late is not untold.
    undone(100.0)
        .paid(103.0, "REFUNDED", 1000)
        .staged(103.5, "OrderCancelled")
        .in_scene(crate::rules::saga::kit::scene())
        .passes(&CompensationIncomplete);
}

#[test]
fn a_notice_has_a_minute() {
    // Ledgers were last read at 604.
    let near = undone(540.0).paid(543.0, "REFUNDED", 1000);
    near.in_scene(scene()).passes(&CompensationIncomplete);
    let over = undone(530.0).paid(533.0, "REFUNDED", 1000);
    over.in_scene(scene()).finding(&CompensationIncomplete);
}

#[test]
fn without_ledgers_it_cannot_tell() {
    let saga = tale(1, 100.0).done(PAY, 101.0).in_scene(Scene::new());
    assert!(!saga.cannot_tell(&CompensationIncomplete).is_empty());
}
