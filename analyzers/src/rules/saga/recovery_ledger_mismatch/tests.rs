//! `saga/recovery-ledger-mismatch`: each cause, a recovery that fits, the near miss, and no ledgers.

use super::{DOWNTIME, INCOMPLETE, RACE, RecoveryLedgerMismatch};
use crate::rules::saga::kit::{
    NEW, OK, PAY, RESERVE, SHIP, Said, Tale, restarted, scene, stock, tale,
};
use crate::testing::Scene;

#[test]
fn a_saga_that_was_found_and_left_shows_an_incomplete_recovery() {
    let left = |begin: f64| {
        restarted(
            tale(1, begin).done(PAY, begin + 1.0).in_scene(scene()),
            begin + 5.0,
            Some(1),
        )
    };
    assert_eq!(
        left(100.0).finding(&RecoveryLedgerMismatch).cause_id,
        INCOMPLETE
    );
    // It has its time: 66 s before 603.6.
    left(536.0).passes(&RecoveryLedgerMismatch);
}

fn went_on(closed: Option<f64>) -> Scene {
    let tale = tale(1, 100.0)
        .done(PAY, 101.0)
        .recovered(107.0, 3.0, "continue")
        .by(NEW)
        .done(RESERVE, 108.0)
        .done(SHIP, 109.0)
        .ended("completed", 109.1)
        .ordered(109.0, "SHIPPED", 5)
        .history(108.0, "CONFIRMED", "stock reserved")
        .history(109.0, "SHIPPED", "shipped");
    let tale = match closed {
        Some(when) => tale.history(when, "CANCELLED", "customer cancelled"),
        None => tale,
    };
    restarted(tale.in_scene(scene()), 105.0, Some(1))
}

#[test]
fn an_order_that_was_closed_in_the_downtime_and_carried_on() {
    went_on(None).passes(&RecoveryLedgerMismatch);
    assert_eq!(
        went_on(Some(104.0))
            .finding(&RecoveryLedgerMismatch)
            .cause_id,
        DOWNTIME
    );
    // Closed before the crash, or long after the recovery: no downtime.
    went_on(Some(100.5)).passes(&RecoveryLedgerMismatch);
    went_on(Some(200.0)).passes(&RecoveryLedgerMismatch);
}

fn met(number: u64, begin: f64) -> Tale {
    tale(number, begin).goods(&[("prd-1", 1)])
}

#[test]
fn a_recovered_and_a_new_saga_on_the_same_goods_raced() {
    let recovered = met(1, 100.0)
        .done(PAY, 101.0)
        .done(RESERVE, 102.0)
        .recovered(107.0, 3.0, "continue")
        .by(NEW)
        .failed(SHIP, 108.0, Said("409", true))
        .turned(108.1)
        .undone(RESERVE, 109.0)
        .undone(PAY, 109.5)
        .ended("failed", 109.6)
        .reserved("prd-1", 1, 109.0, "RELEASED");
    let new = met(2, 107.5)
        .by(NEW)
        .tried(RESERVE, false, 1, 108.5, 0.2, OK, None, false)
        .reserved("prd-1", 1, 108.6, "HELD");
    let scene = new.in_scene(restarted(recovered.in_scene(scene()), 105.0, Some(1)));
    // Three changes after version 1, one held.
    stock(scene.clone(), 610.0, "prd-1", 1, 4).passes(&RecoveryLedgerMismatch);
    let finding = stock(scene, 610.0, "prd-1", 0, 3).finding(&RecoveryLedgerMismatch);
    assert_eq!(finding.cause_id, RACE);
}

#[test]
fn without_ledgers_it_cannot_tell() {
    let saga = tale(1, 100.0).done(PAY, 101.0).in_scene(Scene::new());
    assert!(!saga.cannot_tell(&RecoveryLedgerMismatch).is_empty());
}
