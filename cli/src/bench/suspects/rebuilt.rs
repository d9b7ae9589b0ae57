//! Repair measured: parent references are taken away and looked for again. A trace counts only if every link is right.

use std::collections::BTreeSet;

use analyzers::repair::{self, Problem};

use super::super::process;
use super::Figures;
use super::traceweaver::{Place, Set};

/// A link is taken for certain from here on.
const CERTAIN: f64 = 0.99;
const SEEDS: u64 = 3;
const DRAWS: u64 = 5;
/// How far a child may end after its parent where nothing else is known.
const LATE: u64 = 2_000_000;

#[derive(Default)]
struct Tally {
    links: usize,
    certain: usize,
    certain_right: usize,
    wrong: BTreeSet<u32>,
    asked: BTreeSet<u32>,
    spans: usize,
    seconds: f64,
}

impl Tally {
    fn solve(&mut self, place: &Place, problem: &Problem) {
        let begun = process::own_cpu_seconds();
        let links = repair::solve(problem);
        self.seconds += process::own_cpu_seconds() - begun;
        self.spans += problem.parents.len() + problem.children.len();
        let mut found = vec![None; problem.children.len()];
        for link in &links {
            let right = place.truth[link.child as usize].0 == link.parent;
            found[link.child as usize] = Some(link.parent);
            self.links += 1;
            if link.confidence >= CERTAIN {
                self.certain += 1;
                self.certain_right += usize::from(right);
            }
        }
        for ((child, found), (parent, trace)) in
            problem.children.iter().zip(found).zip(&place.truth)
        {
            if child.known.is_none() {
                self.asked.insert(*trace);
                if found != Some(*parent) {
                    self.wrong.insert(*trace);
                }
            }
        }
    }

    fn right(&self) -> f64 {
        1.0 - self.wrong.len() as f64 / self.asked.len().max(1) as f64
    }

    fn certain_right(&self) -> f64 {
        self.certain_right as f64 / self.certain.max(1) as f64
    }
}

/// Places whose callers make several kinds of calls one of which sets off others are told apart in the figures.
const FANNED: &str = "compose-review-service";

/// All figures of a folder of traces.
pub(super) fn traces(set: &Set, figures: &mut Figures) {
    let places = set.places();
    let (mut least, mut sum, mut with_fanned, mut certain, mut cover) =
        (1.0f64, 0.0, 0.0, 0.0, 0.0);
    let mut spent = Tally::default();
    for seed in 0..SEEDS {
        let mut tally = Tally::default();
        let mut fanned = Tally::default();
        for place in places.iter().filter(|place| !place.hop) {
            let problem = Problem {
                seed: seed * 77 + 1,
                late: LATE,
                ..place.problem.clone()
            };
            let into = if place.service == FANNED {
                &mut fanned
            } else {
                &mut tally
            };
            into.solve(place, &problem);
        }
        least = least.min(tally.right());
        sum += tally.right();
        certain += tally.certain_right();
        cover += tally.certain as f64 / tally.links.max(1) as f64;
        fanned.wrong.extend(&tally.wrong);
        fanned.asked.extend(&tally.asked);
        with_fanned += fanned.right();
        spent.seconds += tally.seconds;
        spent.spans += tally.spans;
    }
    let mean = |sum: f64| sum / SEEDS as f64;
    figures.add("traces", set.traces as f64, None);
    figures.add(
        format!("whole traces right, everything lost, mean of {SEEDS} seeds"),
        mean(sum),
        Some("hotel 100 ≥ 0.982, media 100 ≥ 0.905; TraceWeaver 0.975 / –, vPath 0.736 / 0.439"),
    );
    figures.add("the worst of them", least, None);
    if places
        .iter()
        .any(|place| !place.hop && place.service == FANNED)
    {
        figures.add(format!("with {FANNED}"), mean(with_fanned), None);
    }
    figures.add(
        "links of confidence .99 and above that are right",
        mean(certain),
        Some("≥ 0.995"),
    );
    figures.add("their share of all links", mean(cover), Some("≥ 0.95"));
    let each = spent.seconds * 1e6 / spent.spans.max(1) as f64;
    figures.add("microseconds of processor time a span", each, Some("≤ 50"));
    for (share, name) in [(100, "10 %"), (500, "50 %")] {
        for place in &places {
            let mut tally = Tally::default();
            let (mut right, mut asked) = (0usize, 0usize);
            for draw in 0..DRAWS {
                let problem = partly(place, share, draw);
                tally.asked.clear();
                tally.wrong.clear();
                tally.solve(place, &problem);
                asked += tally.asked.len();
                right += tally.asked.len() - tally.wrong.len();
            }
            let what = if place.hop { "hops to" } else { "calls of" };
            figures.add(
                format!(
                    "{what} {} lose {name} of their links: traces right",
                    place.service
                ),
                right as f64 / asked.max(1) as f64,
                Some(if share == 100 {
                    "≥ 0.99 hotel, ≥ 0.98 media"
                } else {
                    "≥ 0.97 hotel, ≥ 0.95 media"
                }),
            );
        }
    }
}

/// The links of so many of 1000 traces lost, the others known.
fn partly(place: &Place, share: u64, draw: u64) -> Problem {
    let lost = |trace: u32| {
        let mut hash = (u64::from(trace) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ (draw + 1).wrapping_mul(0xd6e8_feb8_6659_fd93);
        hash ^= hash >> 29;
        hash = hash.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (hash >> 32) % 1000 < share
    };
    let mut problem = Problem {
        seed: draw + 5,
        ..place.problem.clone()
    };
    let (mut early, mut late) = (0, 0);
    for (child, (parent, trace)) in problem.children.iter_mut().zip(&place.truth) {
        if !lost(*trace) {
            child.known = Some(*parent);
            let of = &problem.parents[*parent as usize];
            early = early.max(of.start.saturating_sub(child.start));
            late = late.max(child.end.saturating_sub(of.end));
        }
    }
    problem.early = early + early / 4;
    problem.late = (late + late / 4).max(LATE);
    problem
}
