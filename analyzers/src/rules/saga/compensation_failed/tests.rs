//! `saga/compensation-failed`: each cause, a retry that helped, what belongs to other rules, and no journal.

use super::{CompensationFailed, MISSING, MOVED, OUTSIDE};
use crate::engine::Certainty;
use crate::rules::saga::kit::{PAY, RESERVE, SHIP, Said, Tale, scene, tale};
use crate::testing::{Scene, span};

fn given_up(step: &str, said: Said, error: &str, over: bool) -> Tale {
    tale(1, 100.0)
        .done(PAY, 101.0)
        .done(RESERVE, 102.0)
        .failed(SHIP, 103.0, Said("409", true))
        .turned(103.1)
        .undo_failed(step, 104.0, 8, 0.1, said, error, over)
}

#[test]
fn a_conflict_is_an_entity_that_moved_on() {
    let tale = given_up(
        RESERVE,
        Said("FAILED_PRECONDITION", true),
        "INVALID_RESERVATION_STATE",
        true,
    )
    .reserved("laptop-123", 1, 102.5, "COMMITTED");
    let finding = tale.in_scene(scene()).finding(&CompensationFailed);
    assert_eq!(
        (finding.cause_id, finding.certainty),
        (MOVED, Certainty::Sure)
    );
    assert!(
        finding
            .evidence
            .iter()
            .any(|seen| seen.what.contains("COMMITTED"))
    );
}

#[test]
fn not_found_is_a_thing_that_is_gone() {
    let tale = given_up(
        RESERVE,
        Said("NOT_FOUND", true),
        "RESERVATION_NOT_FOUND",
        true,
    );
    assert_eq!(
        tale.in_scene(scene()).finding(&CompensationFailed).cause_id,
        MISSING
    );
}

#[test]
fn a_failure_below_the_callee_is_outside() {
    let tale = given_up(PAY, Said("UNAVAILABLE", true), "PROCESSOR_FAILED", true).paid(
        101.0,
        "COMPLETED",
        0,
    );
    let scene = tale.in_scene(scene());
    // The callee's span of the last undo has a failed call to something outside below it.
    let served = scene
        .signals
        .spans
        .iter()
        .rfind(|span| {
            span.kind == case::model::SpanKind::Server
                && span.trace_id == crate::testing::trace_id(1)
        })
        .map(|span| span.span_id)
        .expect("a server span");
    let mut below = span("payment", "callee", "POST /refunds", 105.0)
        .client()
        .ids(1, 99_999, 0)
        .text("peer.service", "processor")
        .error("503");
    below.0.parent_span_id = served;
    // Without it the callee failed by itself, which may pass.
    scene.clone().passes(&CompensationFailed);
    let finding = scene.span(below).finding(&CompensationFailed);
    assert_eq!(
        (finding.cause_id, finding.certainty),
        (OUTSIDE, Certainty::Sure)
    );
    assert!(
        finding
            .evidence
            .iter()
            .any(|seen| seen.what.contains("outside"))
    );
}

#[test]
fn an_undo_that_is_still_tried_is_a_near_miss() {
    given_up(
        RESERVE,
        Said("FAILED_PRECONDITION", true),
        "INVALID_RESERVATION_STATE",
        false,
    )
    .in_scene(scene())
    .passes(&CompensationFailed);
}

#[test]
fn nobody_answering_is_another_matter() {
    given_up(RESERVE, Said("DEADLINE_EXCEEDED", false), "TIMEOUT", true)
        .in_scene(scene())
        .passes(&CompensationFailed);
}

#[test]
fn without_a_journal_it_cannot_tell() {
    assert!(!Scene::new().cannot_tell(&CompensationFailed).is_empty());
}
