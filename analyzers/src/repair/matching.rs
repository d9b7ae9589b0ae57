//! A first guess: children in the order they begin, each to the parent that contains it, has room for it and ends first.

use std::collections::{HashMap, VecDeque};

use super::Problem;

/// Parents considered for one child; the others of so many at once end later.
const MOST_CANDIDATES: usize = 48;
/// Seats looked at to find room for one child.
const MOST_STEPS: usize = 500;

/// Which parents each child without a known one can have had, those that end first in front.
pub(super) fn candidates(problem: &Problem, full: &[bool]) -> Vec<Vec<u32>> {
    let mut by_start: Vec<u32> = (0..problem.parents.len() as u32)
        .filter(|parent| !full[*parent as usize])
        .collect();
    by_start.sort_unstable_by_key(|parent| (problem.parents[*parent as usize].start, *parent));
    let mut order: Vec<u32> = (0..problem.children.len() as u32)
        .filter(|child| problem.children[*child as usize].known.is_none())
        .collect();
    order.sort_unstable_by_key(|child| (problem.children[*child as usize].start, *child));
    let mut out = vec![Vec::new(); problem.children.len()];
    let mut open: Vec<u32> = Vec::new();
    let mut next = 0;
    for child in order {
        let at = &problem.children[child as usize];
        while let Some(parent) = by_start.get(next)
            && problem.parents[*parent as usize].start <= at.start.saturating_add(problem.early)
        {
            open.push(*parent);
            next += 1;
        }
        // What ended before this child began has ended for all that follow.
        open.retain(|parent| {
            problem.parents[*parent as usize]
                .end
                .saturating_add(problem.late)
                >= at.start
        });
        let mut fitting: Vec<u32> = open
            .iter()
            .copied()
            .filter(|parent| {
                let parent = &problem.parents[*parent as usize];
                parent.end.saturating_add(problem.late) >= at.end
                    && at.trace.is_none_or(|trace| trace == parent.trace)
            })
            .collect();
        fitting.sort_unstable_by_key(|parent| (problem.parents[*parent as usize].end, *parent));
        fitting.truncate(MOST_CANDIDATES);
        out[child as usize] = fitting;
    }
    out
}

/// The first guess. `usual` says how many children of a kind a parent of a kind has room for.
pub(super) fn first_guess(
    problem: &Problem,
    candidates: &[Vec<u32>],
    room: impl Fn(u32, u32) -> usize,
    kinds: usize,
) -> Vec<Option<u32>> {
    let mut taken = vec![0u32; problem.parents.len() * kinds];
    let mut out: Vec<Option<u32>> = problem.children.iter().map(|child| child.known).collect();
    for (child, parent) in problem.children.iter().zip(&out) {
        if let Some(parent) = parent {
            taken[*parent as usize * kinds + child.kind as usize] += 1;
        }
    }
    let mut order: Vec<u32> = (0..problem.children.len() as u32)
        .filter(|child| !candidates[*child as usize].is_empty())
        .collect();
    order.sort_unstable_by_key(|child| (problem.children[*child as usize].start, *child));
    let index = |parent: u32, kind: u32| parent as usize * kinds + kind as usize;
    for child in order {
        let kind = problem.children[child as usize].kind;
        let has_room = |parent: u32, taken: &[u32]| {
            (taken[index(parent, kind)] as usize)
                < room(problem.parents[parent as usize].kind, kind)
        };
        let fitting = &candidates[child as usize];
        let contains = |parent: &&u32| {
            problem.parents[**parent as usize].end >= problem.children[child as usize].end
        };
        let free = |parent: &&u32| has_room(**parent, &taken);
        let chosen = fitting
            .iter()
            .filter(contains)
            .find(free)
            .or_else(|| fitting.iter().find(free))
            .copied();
        if let Some(parent) = chosen {
            taken[index(parent, kind)] += 1;
            out[child as usize] = Some(parent);
            continue;
        }
        // All full: somebody moves on, who makes room for somebody else, until somebody finds a free place.
        let moves = way_to_room(child, problem, candidates, &out, |parent| {
            has_room(parent, &taken)
        });
        for (moved, parent) in moves {
            if let Some(before) = out[moved as usize] {
                taken[index(before, kind)] -= 1;
            }
            taken[index(parent, kind)] += 1;
            out[moved as usize] = Some(parent);
        }
        if out[child as usize].is_none() {
            let least = fitting
                .iter()
                .min_by_key(|parent| taken[index(**parent, kind)]);
            if let Some(parent) = least {
                taken[index(*parent, kind)] += 1;
                out[child as usize] = Some(*parent);
            }
        }
    }
    out
}

/// The shortest chain of moves that places a child without crowding anybody; empty if there is none near.
fn way_to_room(
    child: u32,
    problem: &Problem,
    candidates: &[Vec<u32>],
    now: &[Option<u32>],
    has_room: impl Fn(u32) -> bool,
) -> Vec<(u32, u32)> {
    let kind = problem.children[child as usize].kind;
    // Who sits where, as far as they may move: those near the child by number of steps.
    let mut held: HashMap<u32, Vec<u32>> = HashMap::new();
    for (other, parent) in now.iter().enumerate() {
        let of = &problem.children[other];
        if let Some(parent) = parent
            && of.kind == kind
            && of.known.is_none()
        {
            held.entry(*parent).or_default().push(other as u32);
        }
    }
    let mut from: HashMap<u32, (u32, Option<u32>)> = HashMap::new();
    let mut waiting: VecDeque<(u32, Option<u32>)> = VecDeque::from([(child, None)]);
    let mut steps = 0;
    while let Some((mover, seat)) = waiting.pop_front() {
        for &parent in &candidates[mover as usize] {
            if from.contains_key(&parent) || Some(parent) == seat {
                continue;
            }
            from.insert(parent, (mover, seat));
            steps += 1;
            if has_room(parent) {
                let mut moves = Vec::new();
                let mut at = Some(parent);
                while let Some(seat) = at {
                    let Some((mover, before)) = from.get(&seat).copied() else {
                        break;
                    };
                    moves.push((mover, seat));
                    at = before;
                }
                return moves;
            }
            if steps > MOST_STEPS {
                return Vec::new();
            }
            waiting.extend(
                held.get(&parent)
                    .into_iter()
                    .flatten()
                    .map(|next| (*next, Some(parent))),
            );
        }
    }
    Vec::new()
}
