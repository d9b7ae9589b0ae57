//! `saga/duplicate-instance`: each cause told from the others, repeats that are refused, the near miss, no journal.

use super::{DuplicateInstance, FRESH, RACE, SAME};
use crate::rules::saga::kit::{scene, tale};
use crate::testing::Scene;

#[test]
fn one_saga_for_each_operation_passes() {
    let scene = tale(1, 100.0)
        .operation("op-1")
        .user("u")
        .well()
        .in_scene(scene());
    tale(2, 102.0)
        .operation("op-2")
        .user("u")
        .well()
        .in_scene(scene)
        .passes(&DuplicateInstance);
}

#[test]
fn a_repeat_seconds_later_was_not_recognised() {
    let scene = tale(1, 100.0)
        .operation("op-1")
        .user("u")
        .well()
        .in_scene(scene());
    let scene = tale(2, 102.0)
        .operation("op-1")
        .user("u")
        .well()
        .in_scene(scene);
    let finding = scene.finding(&DuplicateInstance);
    assert_eq!(finding.cause_id, SAME);
    // A near pair beside it is the same cause.
    let scene = tale(3, 110.0)
        .operation("op-3")
        .user("v")
        .well()
        .in_scene(scene);
    let scene = tale(4, 110.01)
        .operation("op-3")
        .user("v")
        .well()
        .in_scene(scene);
    assert_eq!(scene.finding(&DuplicateInstance).cause_id, SAME);
}

#[test]
fn only_near_pairs_are_a_race() {
    let scene = tale(1, 100.0)
        .operation("op-1")
        .user("u")
        .well()
        .in_scene(scene());
    let scene = tale(2, 100.004)
        .operation("op-1")
        .user("u")
        .well()
        .in_scene(scene);
    assert_eq!(scene.finding(&DuplicateInstance).cause_id, RACE);
}

#[test]
fn a_repeat_under_another_id_was_given_a_fresh_one() {
    let pair = |gap: f64, resent: bool| {
        let scene = tale(1, 100.0)
            .operation("op-1")
            .user("u")
            .well()
            .in_scene(scene());
        let second = tale(2, 100.0 + gap).operation("op-2").user("u").well();
        let second = if resent { second.resent() } else { second };
        second.in_scene(scene)
    };
    assert_eq!(pair(2.0, true).finding(&DuplicateInstance).cause_id, FRESH);
    // The same customer may buy the same again, and a minute later it is no repeat.
    pair(2.0, false).passes(&DuplicateInstance);
    pair(61.0, true).passes(&DuplicateInstance);
}

#[test]
fn the_clients_own_key_tells_a_repeat_from_another_purchase() {
    let pair = |first: &str, second: &str| {
        let scene = tale(1, 100.0)
            .operation("op-1")
            .user("u")
            .asked_under(first)
            .well()
            .in_scene(scene());
        tale(2, 102.0)
            .operation("op-2")
            .user("u")
            .asked_under(second)
            .well()
            .resent()
            .in_scene(scene)
    };
    assert_eq!(pair("k", "k").finding(&DuplicateInstance).cause_id, FRESH);
    pair("k", "l").passes(&DuplicateInstance);
}

#[test]
fn a_race_on_a_slow_machine_stays_one() {
    let mut all = scene();
    for (number, gap) in [(1, 0.1), (3, 0.4), (5, 1.2)] {
        let begin = 100.0 + number as f64 * 10.0;
        let name = format!("op-{number}");
        all = tale(number, begin)
            .operation(&name)
            .user(&name)
            .well()
            .in_scene(all);
        all = tale(number + 1, begin + gap)
            .operation(&name)
            .user(&name)
            .well()
            .in_scene(all);
    }
    assert_eq!(all.finding(&DuplicateInstance).cause_id, RACE);
}

#[test]
fn without_a_journal_it_cannot_tell() {
    assert!(!Scene::new().cannot_tell(&DuplicateInstance).is_empty());
}
