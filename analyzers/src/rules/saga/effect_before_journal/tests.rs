//! `saga/effect-before-journal`: late and lost records, a journal in order, the near miss, and no spans.

use super::{EffectBeforeJournal, LATE, LOST};
use crate::engine::Certainty;
use crate::rules::saga::kit::{OK, PAY, scene, tale};
use crate::testing::{Scene, log};

#[test]
fn intent_call_and_result_in_this_order_pass() {
    tale(1, 100.0)
        .well()
        .in_scene(scene())
        .passes(&EffectBeforeJournal);
}

#[test]
fn an_intent_after_the_call_was_written_late() {
    let late = |by: f64| {
        tale(1, 100.0)
            .tried(PAY, false, 1, 101.0, 0.2, OK, None, false)
            .intent(PAY, 101.0 + by)
            .result(PAY, 101.3)
            .in_scene(scene())
    };
    late(0.0005).passes(&EffectBeforeJournal);
    let finding = late(0.25).finding(&EffectBeforeJournal);
    assert_eq!(
        (finding.cause_id, finding.certainty),
        (LATE, Certainty::Sure)
    );
}

#[test]
fn a_result_that_never_came_was_lost() {
    let lost = tale(1, 100.0)
        .intent(PAY, 100.9)
        .tried(PAY, false, 1, 101.0, 0.2, OK, None, false);
    let silent = lost.read_again(103.0).in_scene(scene());
    let finding = silent.finding(&EffectBeforeJournal);
    assert_eq!(
        (finding.cause_id, finding.certainty),
        (LOST, Certainty::Likely)
    );
    assert_eq!(finding.alternatives[0].cause_id, LATE);
    let mut record = log(
        "order-management",
        "i",
        101.2,
        "ERROR",
        "the journal could not be written",
        &[("saga_id", "sg_001"), ("error.code", "STORE_FAILED")],
    );
    record.event_name = "exception".into();
    let finding = silent.log(record).finding(&EffectBeforeJournal);
    assert_eq!(
        (finding.cause_id, finding.certainty),
        (LOST, Certainty::Sure)
    );
}

#[test]
fn a_result_may_not_have_been_read_yet() {
    // The saga was read 0.9 s after the call ended, and 1.1 s.
    let near = tale(1, 100.0)
        .intent(PAY, 100.5)
        .tried(PAY, false, 1, 100.6, 0.2, OK, None, false);
    let read = |when| near.clone().read_again(when).in_scene(scene());
    read(101.7).passes(&EffectBeforeJournal);
    read(101.9).finding(&EffectBeforeJournal);
    let mut record = log(
        "order-management",
        "i",
        101.2,
        "ERROR",
        "saga interrupted by its store",
        &[("saga_id", "sg_001"), ("error.code", "STORE_FAILED")],
    );
    record.event_name = "exception".into();
    read(101.9).log(record).passes(&EffectBeforeJournal);
}

#[test]
fn without_spans_it_cannot_tell() {
    let mut scene: Scene = tale(1, 100.0).well().in_scene(scene());
    scene.signals.spans.clear();
    assert!(!scene.cannot_tell(&EffectBeforeJournal).is_empty());
}
