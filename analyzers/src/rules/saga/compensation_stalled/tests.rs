//! `saga/compensation-stalled`: each cause told apart by the callee's metrics and calls, the near miss, no journal.

use super::{CROWDED, CompensationStalled, LOCK, OUTSIDE};
use crate::engine::Certainty;
use crate::rules::saga::kit::{PAY, RESERVE, SHIP, Said, scene, tale};
use crate::testing::{Scene, gauge, span};

const SILENT: Said = Said("DEADLINE_EXCEEDED", true);

fn waiting(tries: u64) -> Scene {
    tale(1, 100.0)
        .done(PAY, 101.0)
        .done(RESERVE, 102.0)
        .failed(SHIP, 103.0, Said("409", true))
        .turned(103.1)
        .undo_failed(RESERVE, 104.0, tries, 2.0, SILENT, "TIMEOUT", true)
        .in_scene(scene())
}

fn metric(scene: Scene, name: &str, value: f64) -> Scene {
    scene.metric(gauge("inventory", "callee", 106.0, name, value, &[]))
}

#[test]
fn a_lock_that_is_waited_for_blocks() {
    let finding = metric(
        metric(waiting(6), "shop_db_lock_waits", 4.0),
        "shop_pool_waiting",
        0.0,
    )
    .finding(&CompensationStalled);
    assert_eq!(
        (finding.cause_id, finding.certainty),
        (LOCK, Certainty::Sure)
    );
    assert_eq!(finding.subjects[0].service, "inventory");
}

#[test]
fn requests_that_wait_for_a_pool_are_crowded_out() {
    let finding = metric(waiting(6), "shop_pool_waiting", 9.0).finding(&CompensationStalled);
    assert_eq!(finding.cause_id, CROWDED);
}

#[test]
fn probes_that_wait_for_each_other_are_no_crowd() {
    let point = gauge(
        "inventory",
        "callee",
        106.0,
        "shop_pool_waiting",
        9.0,
        &[("pool", "admin")],
    );
    let finding = waiting(6).metric(point).finding(&CompensationStalled);
    assert_ne!(finding.cause_id, CROWDED);
    assert_eq!(finding.certainty, Certainty::Likely);
}

#[test]
fn a_call_outside_that_ends_at_its_timeout_is_outside() {
    let scene = waiting(6);
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
    let mut below = span("inventory", "callee", "POST /outside", 105.0)
        .client()
        .ids(1, 99_999, 0)
        .lasting(1.9)
        .text("peer.service", "warehouse")
        .error("timeout");
    below.0.parent_span_id = served;
    let finding = scene.span(below).finding(&CompensationStalled);
    assert_eq!(
        (finding.cause_id, finding.certainty),
        (OUTSIDE, Certainty::Sure)
    );
}

#[test]
fn without_metrics_and_spans_of_it_the_others_are_named() {
    let finding = waiting(6).finding(&CompensationStalled);
    assert_eq!(finding.certainty, Certainty::Likely);
    assert!(!finding.alternatives.is_empty());
}

#[test]
fn three_tries_of_two_seconds_are_not_long() {
    metric(waiting(3), "shop_db_lock_waits", 4.0).passes(&CompensationStalled);
}

#[test]
fn without_a_journal_it_cannot_tell() {
    assert!(!Scene::new().cannot_tell(&CompensationStalled).is_empty());
}
