//! What is usual between a parent and its children: after which event each kind of child begins, how many there are, and
//! how long the parent goes on after the last.
//!
//! The order of calls is learnt: for each kind of child the event that leaves its start the least open.

use super::density::Density;
use super::{Child, Parent};

/// Kinds of children one kind of parent may have; more are taken as one.
pub(super) const MOST_KINDS: usize = 16;
/// Children told apart when counting; as many or more are one.
const MOST_COUNT: usize = 8;
/// Gaps less than this many say little.
const LEAST: usize = 8;

/// An event a child may begin after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    ParentStart,
    /// The first child of a kind that comes earlier.
    StartOf(usize),
    EndOf(usize),
    /// Whatever ended last before the child began, else the parent's start.
    LatestEnd,
    /// The child of the same kind before it.
    PreviousStart,
    PreviousEnd,
}

#[derive(Debug, Clone)]
struct Slot {
    after: After,
    density: Density,
    /// For when the event did not happen.
    fallback: Density,
}

/// One kind of child under one kind of parent.
#[derive(Debug, Clone)]
struct Usual {
    first: Option<Slot>,
    again: Option<Slot>,
    /// Log share of parents with so many.
    counts: [f32; MOST_COUNT + 1],
}

/// One kind of parent.
#[derive(Debug, Clone)]
struct Family {
    /// Kinds in the order in which they usually begin.
    order: Vec<usize>,
    usual: Vec<Usual>,
    /// From the end of the last child to the parent's.
    tail: Density,
    /// How the gaps of one parent hang together: the inverse of their correlations less one, and the log of the
    /// determinant; over the first child of each kind in `order` and the tail.
    joint: Option<Joint>,
}

#[derive(Debug, Clone)]
struct Joint {
    minus: Vec<f32>,
    width: usize,
    half_log_determinant: f32,
}

#[derive(Debug, Clone)]
pub(super) struct Model {
    families: Vec<Family>,
}

/// A parent with its children, kind by kind, each kind by start.
pub(super) type Kids = Vec<Vec<u32>>;

pub(super) struct Example<'a> {
    pub(super) parent: &'a Parent,
    pub(super) kids: &'a Kids,
}

impl Model {
    /// Learns from parents with their children; `kinds` counts kinds of children, `families` kinds of parents.
    pub(super) fn learn(
        examples: &[Example<'_>],
        children: &[Child],
        kinds: usize,
        families: usize,
    ) -> Model {
        let families = (0..families)
            .map(|family| {
                let own: Vec<&Example<'_>> = examples
                    .iter()
                    .filter(|example| example.parent.kind as usize == family)
                    .collect();
                Family::learn(&own, children, kinds)
            })
            .collect();
        Model { families }
    }

    /// The log likelihood of a parent having these children.
    pub(super) fn score(&self, parent: &Parent, kids: &Kids, children: &[Child]) -> f32 {
        self.families[parent.kind as usize].score(parent, kids, children)
    }
}

fn gap(from: u64, until: u64) -> i64 {
    (until as i64).wrapping_sub(from as i64)
}

impl Family {
    fn learn(examples: &[&Example<'_>], children: &[Child], kinds: usize) -> Family {
        let mut begins: Vec<(i64, usize)> = (0..kinds)
            .map(|kind| {
                let mut starts: Vec<i64> = examples
                    .iter()
                    .filter_map(|example| {
                        let first = *example.kids[kind].first()?;
                        Some(gap(example.parent.start, children[first as usize].start))
                    })
                    .collect();
                starts.sort_unstable();
                (
                    starts.get(starts.len() / 2).copied().unwrap_or(i64::MAX),
                    kind,
                )
            })
            .collect();
        begins.sort_unstable();
        let order: Vec<usize> = begins.into_iter().map(|(_, kind)| kind).collect();
        let usual: Vec<Usual> = (0..kinds)
            .map(|kind| Usual::learn(examples, children, kind, &order))
            .collect();
        let tails: Vec<i64> = examples
            .iter()
            .filter_map(|example| Some(gap(last_end(example.kids, children)?, example.parent.end)))
            .collect();
        let mut family = Family {
            order,
            usual,
            tail: Density::learn(&tails),
            joint: None,
        };
        family.joint = family.learn_joint(examples, children);
        family
    }

    fn score(&self, parent: &Parent, kids: &Kids, children: &[Child]) -> f32 {
        let mut scores = [f32::NAN; MOST_KINDS + 1];
        let total = self.walk(parent, kids, children, &mut scores);
        match &self.joint {
            Some(joint) => total + joint.log(&scores),
            None => total,
        }
    }

    /// The score of each gap on its own; fills in the normal scores of first children and of the tail.
    fn walk(
        &self,
        parent: &Parent,
        kids: &Kids,
        children: &[Child],
        scores: &mut [f32; MOST_KINDS + 1],
    ) -> f32 {
        let mut total = 0.0;
        let mut any = false;
        for (place, &kind) in self.order.iter().enumerate() {
            let own = &kids[kind];
            let usual = &self.usual[kind];
            total += usual.counts[own.len().min(MOST_COUNT)];
            for (nth, child) in own.iter().enumerate() {
                any = true;
                let slot = if nth == 0 { &usual.first } else { &usual.again };
                let start = children[*child as usize].start;
                let Some(slot) = slot else {
                    total += UNKNOWN;
                    continue;
                };
                let (log, score) = match event(slot.after, parent, kids, children, kind, nth) {
                    Some(at) => slot.density.both(gap(at, start)),
                    None => (slot.fallback.log(gap(parent.start, start)), f32::NAN),
                };
                total += log;
                if nth == 0 {
                    scores[place] = score;
                }
            }
        }
        if any && let Some(last) = last_end(kids, children) {
            let (log, score) = self.tail.both(gap(last, parent.end));
            total += log;
            scores[self.order.len()] = score;
        }
        total
    }

    fn learn_joint(&self, examples: &[&Example<'_>], children: &[Child]) -> Option<Joint> {
        let width = self.order.len() + 1;
        let mut sums = vec![0f64; width * width];
        let mut whole = 0.0;
        for example in examples {
            let mut scores = [f32::NAN; MOST_KINDS + 1];
            self.walk(example.parent, example.kids, children, &mut scores);
            if scores[..width].iter().any(|score| score.is_nan()) {
                continue;
            }
            whole += 1.0;
            for a in 0..width {
                for b in 0..width {
                    sums[a * width + b] += f64::from(scores[a]) * f64::from(scores[b]);
                }
            }
        }
        if width < 2 || whole < 50.0 {
            return None;
        }
        let size: Vec<f64> = (0..width)
            .map(|at| (sums[at * width + at] / whole).sqrt().max(1e-6))
            .collect();
        let mut correlations = vec![0f64; width * width];
        for a in 0..width {
            for b in 0..width {
                let shrunk = sums[a * width + b] / whole / (size[a] * size[b]) * 0.97;
                correlations[a * width + b] = if a == b { 1.0 } else { shrunk };
            }
        }
        let (inverse, determinant) = inverted(&correlations, width)?;
        let minus = (0..width * width)
            .map(|at| (inverse[at] - f64::from(u8::from(at / width == at % width))) as f32)
            .collect();
        Some(Joint {
            minus,
            width,
            half_log_determinant: (0.5 * determinant.ln()) as f32,
        })
    }
}

/// A child of a kind nothing is known of.
const UNKNOWN: f32 = -40.0;

impl Joint {
    fn log(&self, scores: &[f32; MOST_KINDS + 1]) -> f32 {
        let mut sum = 0.0;
        for a in 0..self.width {
            if scores[a].is_nan() {
                return 0.0;
            }
            let row = &self.minus[a * self.width..(a + 1) * self.width];
            let inner: f32 = row
                .iter()
                .zip(&scores[..self.width])
                .map(|(m, z)| m * z)
                .sum();
            sum += scores[a] * inner;
        }
        if sum.is_nan() {
            0.0
        } else {
            -self.half_log_determinant - 0.5 * sum
        }
    }
}

/// Inverse and determinant, if both are sound.
fn inverted(matrix: &[f64], width: usize) -> Option<(Vec<f64>, f64)> {
    let mut left = matrix.to_vec();
    let mut right = vec![0f64; width * width];
    for at in 0..width {
        right[at * width + at] = 1.0;
    }
    let mut determinant = 1.0;
    for at in 0..width {
        let pivot = left[at * width + at];
        if pivot.abs() < 1e-6 {
            return None;
        }
        determinant *= pivot;
        for column in 0..width {
            left[at * width + column] /= pivot;
            right[at * width + column] /= pivot;
        }
        for row in (0..width).filter(|row| *row != at) {
            let factor = left[row * width + at];
            for column in 0..width {
                left[row * width + column] -= factor * left[at * width + column];
                right[row * width + column] -= factor * right[at * width + column];
            }
        }
    }
    (determinant > 0.0).then_some((right, determinant))
}

impl Usual {
    fn learn(examples: &[&Example<'_>], children: &[Child], kind: usize, order: &[usize]) -> Usual {
        let mut tally = [0.5f64; MOST_COUNT + 1];
        for example in examples {
            tally[example.kids[kind].len().min(MOST_COUNT)] += 1.0;
        }
        let whole: f64 = tally.iter().sum();
        let mut counts = [0f32; MOST_COUNT + 1];
        for (count, seen) in counts.iter_mut().zip(tally) {
            *count = (seen / whole).ln() as f32;
        }
        let mut firsts = vec![After::ParentStart, After::LatestEnd];
        for earlier in order.iter().take_while(|other| **other != kind) {
            firsts.extend([After::StartOf(*earlier), After::EndOf(*earlier)]);
        }
        let again = [
            After::ParentStart,
            After::LatestEnd,
            After::PreviousStart,
            After::PreviousEnd,
        ];
        Usual {
            first: slot(examples, children, kind, 0..1, &firsts),
            again: slot(examples, children, kind, 1..usize::MAX, &again),
            counts,
        }
    }
}

/// The event that leaves the starts least open, with what is usual after it.
fn slot(
    examples: &[&Example<'_>],
    children: &[Child],
    kind: usize,
    which: std::ops::Range<usize>,
    events: &[After],
) -> Option<Slot> {
    let mut starts: Vec<(&Example<'_>, usize, u64)> = Vec::new();
    for example in examples {
        for (nth, child) in example.kids[kind].iter().enumerate() {
            if which.contains(&nth) {
                starts.push((example, nth, children[*child as usize].start));
            }
        }
    }
    if starts.is_empty() {
        return None;
    }
    let fallback: Vec<i64> = starts
        .iter()
        .map(|(example, _, start)| gap(example.parent.start, *start))
        .collect();
    let fallback = Density::learn(&fallback);
    let mut best: Option<Slot> = None;
    for &after in events {
        let gaps: Vec<i64> = starts
            .iter()
            .filter_map(|(example, nth, start)| {
                let at = event(after, example.parent, example.kids, children, kind, *nth)?;
                Some(gap(at, *start))
            })
            .collect();
        // An event that hardly ever happens explains nothing.
        if after != After::ParentStart && (gaps.len() < LEAST || gaps.len() * 10 < starts.len() * 9)
        {
            continue;
        }
        let density = Density::learn(&gaps);
        if best
            .as_ref()
            .is_none_or(|slot| density.entropy < slot.density.entropy - 0.02)
        {
            best = Some(Slot {
                after,
                density,
                fallback: fallback.clone(),
            });
        }
    }
    best
}

fn event(
    after: After,
    parent: &Parent,
    kids: &Kids,
    children: &[Child],
    kind: usize,
    nth: usize,
) -> Option<u64> {
    let child =
        |kind: usize, nth: usize| kids[kind].get(nth).map(|child| &children[*child as usize]);
    match after {
        After::ParentStart => Some(parent.start),
        After::StartOf(other) => child(other, 0).map(|child| child.start),
        After::EndOf(other) => child(other, 0).map(|child| child.end),
        After::PreviousStart => child(kind, nth.checked_sub(1)?).map(|child| child.start),
        After::PreviousEnd => child(kind, nth.checked_sub(1)?).map(|child| child.end),
        After::LatestEnd => {
            let start = child(kind, nth)?.start;
            let ends = kids
                .iter()
                .flatten()
                .map(|child| children[*child as usize].end);
            Some(
                ends.filter(|end| *end <= start)
                    .max()
                    .unwrap_or(parent.start)
                    .max(parent.start),
            )
        }
    }
}

fn last_end(kids: &Kids, children: &[Child]) -> Option<u64> {
    kids.iter()
        .flatten()
        .map(|child| children[*child as usize].end)
        .max()
}
