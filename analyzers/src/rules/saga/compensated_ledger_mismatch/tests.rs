//! `saga/compensated-ledger-mismatch`: each cause, books that fit, the margin of what is in motion, and no ledgers.

use super::{CompensatedLedgerMismatch, INCOMPLETE, RACE, SWALLOWED};
use crate::engine::Certainty;
use crate::rules::saga::kit::{OK, PAY, RESERVE, SHIP, Said, Tale, scene, stock, tale};
use crate::testing::Scene;

fn released(number: u64, begin: f64, status: &str, replayed: bool) -> Tale {
    tale(number, begin)
        .goods(&[("prd-1", 3)])
        .done(PAY, begin + 1.0)
        .done(RESERVE, begin + 2.0)
        .failed(SHIP, begin + 3.0, Said("409", true))
        .turned(begin + 3.1)
        .undone_as(RESERVE, begin + 4.0, OK, replayed)
        .undone(PAY, begin + 5.0)
        .ended("failed", begin + 5.1)
        .reserved("prd-1", 3, begin + 4.0, status)
        .paid(begin + 5.0, "REFUNDED", 1000)
}

fn three(status: &str) -> Scene {
    (1..=3).fold(scene(), |scene, number| {
        released(number, number as f64 * 50.0, status, false).in_scene(scene)
    })
}

#[test]
fn books_that_fit_pass() {
    // Three reservations made and released: six changes after version 1.
    stock(three("RELEASED"), 610.0, "prd-1", 0, 7).passes(&CompensatedLedgerMismatch);
}

#[test]
fn the_same_residue_each_time_is_an_undo_that_does_not_invert() {
    let finding =
        stock(three("RELEASED"), 610.0, "prd-1", 6, 7).finding(&CompensatedLedgerMismatch);
    assert_eq!(
        (finding.cause_id, finding.certainty),
        (INCOMPLETE, Certainty::Sure)
    );
    assert_eq!(finding.subjects[0].service, "inventory");
}

#[test]
fn a_change_that_is_not_counted_was_overwritten() {
    let finding =
        stock(three("RELEASED"), 610.0, "prd-1", 3, 5).finding(&CompensatedLedgerMismatch);
    assert_eq!(finding.cause_id, RACE);
}

#[test]
fn an_undo_that_was_answered_from_the_record_leaves_the_reservation() {
    let scene = released(1, 100.0, "HELD", true).in_scene(scene());
    let finding = scene.finding(&CompensatedLedgerMismatch);
    assert_eq!(
        (finding.cause_id, finding.certainty),
        (SWALLOWED, Certainty::Sure)
    );
}

#[test]
fn without_the_callees_spans_the_residue_may_be_its_own() {
    let tale = tale(1, 100.0)
        .done(PAY, 101.0)
        .done(RESERVE, 102.0)
        .failed(SHIP, 103.0, Said("409", true))
        .turned(103.1)
        .undone_as(RESERVE, 104.0, Said("OK", false), false)
        .undone(PAY, 105.0)
        .ended("failed", 105.1)
        .reserved("prd-1", 3, 102.0, "HELD");
    let finding = tale.in_scene(scene()).finding(&CompensatedLedgerMismatch);
    assert_eq!(finding.certainty, Certainty::Likely);
    assert_eq!(finding.alternatives[0].cause_id, INCOMPLETE);
}

#[test]
fn what_is_in_motion_while_the_books_are_read_is_no_difference() {
    // A reservation of 3 was made half a second before the stock was read; whether it is in the figure nobody knows.
    let moving = tale(4, 609.0)
        .goods(&[("prd-1", 3)])
        .done(PAY, 609.3)
        .done(RESERVE, 609.6);
    let scene = moving
        .reserved("prd-1", 3, 609.6, "HELD")
        .in_scene(three("RELEASED"));
    stock(scene.clone(), 610.0, "prd-1", 6, 9).passes(&CompensatedLedgerMismatch);
    stock(scene, 610.0, "prd-1", 7, 9).finding(&CompensatedLedgerMismatch);
}

#[test]
fn without_ledgers_it_cannot_tell() {
    let saga = tale(1, 100.0).done(PAY, 101.0).in_scene(Scene::new());
    assert!(!saga.cannot_tell(&CompensatedLedgerMismatch).is_empty());
}
