//! Every fuzz target over its seeds, its committed corpus and a bounded number of mutations, the same each time.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../examples/fuzz/harness/mod.rs"]
mod harness;
#[path = "../examples/fuzz/targets/mod.rs"]
mod targets;

use std::time::Duration;

use harness::mutate::Mutator;
use harness::{Bounds, Target, campaign, seeds};

const MUTATIONS: u64 = 20_000;

#[test]
fn no_target_fails_on_its_corpus_or_near_it() {
    for target in targets::all() {
        let seeds = seeds(&target).unwrap();
        let bounds = Bounds {
            runs: seeds.len() as u64 + MUTATIONS,
            time: Duration::MAX,
        };
        let report = campaign(&target, &seeds, bounds, 42);
        if let Some(failure) = report.failure {
            panic!(
                "{} ({}): {} on {:?}",
                target.name,
                target.about,
                failure.reason,
                failure.input.escape_ascii().to_string()
            );
        }
        assert_eq!(report.runs, seeds.len() as u64 + MUTATIONS);
        assert!(
            report.answers > 5,
            "{} answers all alike: {} kinds",
            target.name,
            report.answers
        );
        assert!(
            report.slowest < Duration::from_secs(10),
            "{}: {:?}",
            target.name,
            report.slowest
        );
    }
}

#[test]
fn a_failing_input_is_found_and_made_small() {
    let fragile = Target {
        name: "fragile",
        about: "panics on a certain byte",
        seeds: || Ok(vec![b"a fine beginning".to_vec()]),
        words: &[b"!"],
        run: |input| {
            assert!(!input.contains(&b'!'), "no shouting");
            Ok(input.len().to_string())
        },
    };
    let seeds = (fragile.seeds)().unwrap();
    let bounds = Bounds {
        runs: 100_000,
        time: Duration::MAX,
    };
    let failure = campaign(&fragile, &seeds, bounds, 7)
        .failure
        .expect("a panic to be found");
    assert_eq!(failure.input, b"!");
    assert!(failure.reason.contains("no shouting"), "{}", failure.reason);
}

#[test]
fn the_same_seed_makes_the_same_inputs() {
    let inputs = [b"{\"a\":[1,2,3]}".to_vec(), b"another".to_vec()];
    let run = |seed| {
        let mut mutator = Mutator::new(seed, &[b"word"]);
        (0..200)
            .map(|_| mutator.mutated(&inputs))
            .collect::<Vec<_>>()
    };
    assert!(run(3) == run(3));
    assert!(run(3) != run(4));
}
