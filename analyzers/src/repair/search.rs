//! The search: children change places between parents while that makes the whole more likely, and now and then when it
//! does not. The model is learnt again in between. How often a link came up at the end is its confidence.

use std::collections::HashMap;

use super::matching;
use super::model::{Example, Kids, MOST_KINDS, Model};
use super::{Child, Link, Problem};

/// Turns of learning, each after so many tries a contested child.
const TURNS: usize = 4;
const TRIES: usize = 24;
/// States of one turn that are learnt from together.
const STATES: usize = 4;
/// Tries a child between two looks at where everything lies, and how many looks.
const BETWEEN: usize = 3;
const LOOKS: usize = 60;
/// Tries a child while it cools down to the most likely place.
const COOLING: usize = 30;

/// Numbers without pattern, the same for the same seed.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        ((u128::from(self.next()) * limit as u128) >> 64) as usize
    }

    /// The log of an even draw between 0 and 1.
    fn log_share(&mut self) -> f32 {
        let share = ((self.next() >> 40) as f32 + 0.5) / (1u64 << 24) as f32;
        share.ln()
    }
}

struct Search<'a> {
    problem: &'a Problem,
    children: Vec<Child>,
    candidates: Vec<Vec<u32>>,
    parent_of: Vec<Option<u32>>,
    kids: Vec<Kids>,
    scores: Vec<f32>,
    /// Children that could lie elsewhere.
    open: Vec<u32>,
    kinds: usize,
    chance: Chance,
    spare: (Kids, Kids),
}

pub(super) fn solve(problem: &Problem) -> Vec<Link> {
    let asked = problem.children.iter().any(|child| child.known.is_none());
    if problem.parents.is_empty() || !asked {
        return Vec::new();
    }
    let kinds = problem
        .children
        .iter()
        .map(|child| child.kind as usize + 1)
        .max()
        .unwrap_or(0)
        .min(MOST_KINDS);
    let families = problem
        .parents
        .iter()
        .map(|parent| parent.kind as usize + 1)
        .max()
        .unwrap_or(0);
    let children: Vec<Child> = problem
        .children
        .iter()
        .map(|child| Child {
            kind: child.kind.min(kinds as u32 - 1),
            ..*child
        })
        .collect();
    let problem = &Problem {
        children: children.clone(),
        ..problem.clone()
    };
    let Known { full, room, whole } = known(problem, kinds, families);
    let candidates = matching::candidates(problem, &full);
    let parent_of = matching::first_guess(
        problem,
        &candidates,
        |family, kind| room[family as usize * kinds + kind as usize],
        kinds,
    );
    let mut search = Search {
        problem,
        candidates,
        kids: vec![vec![Vec::new(); kinds]; problem.parents.len()],
        scores: vec![0.0; problem.parents.len()],
        open: Vec::new(),
        kinds,
        chance: Chance(problem.seed | 1),
        spare: (vec![Vec::new(); kinds], vec![Vec::new(); kinds]),
        children,
        parent_of,
    };
    search.settle_kids();
    search.open = (0..search.children.len() as u32)
        .filter(|child| {
            search.candidates[*child as usize].len() > 1
                && search.parent_of[*child as usize].is_some()
        })
        .collect();
    search.run(families, &whole)
}

/// What the known links tell.
struct Known {
    /// Parents that can have no further child.
    full: Vec<bool>,
    /// How many children of each kind a parent of each kind usually has.
    room: Vec<usize>,
    /// Parents whose children are all known: what is learnt from without guessing.
    whole: Vec<bool>,
}

fn known(problem: &Problem, kinds: usize, families: usize) -> Known {
    let parents = problem.parents.len();
    let mut counts = vec![0u32; parents * kinds];
    for child in &problem.children {
        if let Some(parent) = child.known {
            counts[parent as usize * kinds + child.kind as usize] += 1;
        }
    }
    let of = |parent: usize| &counts[parent * kinds..(parent + 1) * kinds];
    let with_children: Vec<bool> = (0..parents)
        .map(|parent| of(parent).iter().any(|count| *count > 0))
        .collect();
    let mut lost = vec![0usize; kinds];
    for child in problem
        .children
        .iter()
        .filter(|child| child.known.is_none())
    {
        lost[child.kind as usize] += 1;
    }
    // The usual number of a family and kind, among parents that have children at all.
    let mut room = vec![1usize; families * kinds];
    let mut usual = vec![0u32; families * kinds];
    for family in 0..families {
        let own: Vec<usize> = (0..parents)
            .filter(|parent| {
                problem.parents[*parent].kind as usize == family && with_children[*parent]
            })
            .collect();
        for kind in 0..kinds {
            let mut seen: Vec<u32> = own
                .iter()
                .map(|parent| counts[parent * kinds + kind])
                .collect();
            seen.sort_unstable();
            let at = |share: usize| {
                seen.get(seen.len().saturating_sub(1) * share / 100)
                    .copied()
                    .unwrap_or(0)
            };
            usual[family * kinds + kind] = at(50);
            let most = if own.len() >= 10 {
                at(95) as usize
            } else {
                lost[kind].div_ceil(parents)
            };
            room[family * kinds + kind] = most.max(usize::from(own.len() < 10));
        }
    }
    let full: Vec<bool> = (0..parents)
        .map(|parent| {
            let family = problem.parents[parent].kind as usize * kinds;
            with_children[parent]
                && (0..kinds)
                    .filter(|kind| lost[*kind] > 0)
                    .all(|kind| of(parent)[kind] >= usual[family + kind].max(1))
        })
        .collect();
    Known {
        whole: full.clone(),
        full,
        room,
    }
}

impl Search<'_> {
    fn settle_kids(&mut self) {
        for kids in &mut self.kids {
            kids.iter_mut().for_each(Vec::clear);
        }
        for (child, parent) in self.parent_of.iter().enumerate() {
            if let Some(parent) = parent {
                self.kids[*parent as usize][self.children[child].kind as usize].push(child as u32);
            }
        }
        for kids in &mut self.kids {
            for list in kids {
                list.sort_unstable_by_key(|child| (self.children[*child as usize].start, *child));
            }
        }
    }

    fn run(&mut self, families: usize, whole: &[bool]) -> Vec<Link> {
        let known = whole.iter().filter(|whole| **whole).count();
        // With enough whole traces nothing need be guessed to learn.
        let from_known = known >= 30;
        let mut model = self.learn(
            std::slice::from_ref(&self.kids),
            families,
            whole,
            from_known,
        );
        for turn in 0..TURNS {
            self.rescore(&model);
            let heat = if turn + 1 < TURNS { 1.5 } else { 1.0 };
            self.tries(&model, TRIES, heat);
            let mut states = vec![self.kids.clone()];
            for _ in 1..STATES {
                self.tries(&model, BETWEEN, 1.0);
                states.push(self.kids.clone());
            }
            model = self.learn(&states, families, whole, from_known);
        }
        self.rescore(&model);
        let shares = self.looks(&model);
        for step in 0..COOLING {
            let heat = (1.0 - step as f32 / COOLING as f32).powi(2);
            self.tries(&model, 1, heat.max(0.02));
        }
        self.links(&shares)
    }

    /// Learns from several states, so that what one of them got wrong does not teach itself.
    fn learn(
        &self,
        states: &[Vec<Kids>],
        families: usize,
        whole: &[bool],
        from_known: bool,
    ) -> Model {
        // What is known is the same in all of them.
        let states = if from_known { &states[..1] } else { states };
        let examples: Vec<Example<'_>> = states
            .iter()
            .flat_map(|kids| self.problem.parents.iter().zip(kids).enumerate())
            .filter(|(number, _)| !from_known || whole[*number])
            .map(|(_, (parent, kids))| Example { parent, kids })
            .collect();
        Model::learn(&examples, &self.children, self.kinds, families)
    }

    fn rescore(&mut self, model: &Model) {
        for parent in 0..self.kids.len() {
            self.scores[parent] = model.score(
                &self.problem.parents[parent],
                &self.kids[parent],
                &self.children,
            );
        }
    }

    fn tries(&mut self, model: &Model, each: usize, heat: f32) {
        for _ in 0..each * self.open.len() {
            self.attempt(model, heat);
        }
    }

    /// Tries to let one child, with or without some of its siblings, change places with another parent's.
    fn attempt(&mut self, model: &Model, heat: f32) {
        let child = self.open[self.chance.below(self.open.len())];
        let candidates = &self.candidates[child as usize];
        let Some(from) = self.parent_of[child as usize] else {
            return;
        };
        let into = candidates[self.chance.below(candidates.len())];
        if into == from {
            return;
        }
        let bits = self.chance.next();
        let own = self.children[child as usize].kind as usize;
        // A third of the time one kind alone, else any kinds with it.
        let others = if bits.is_multiple_of(3) {
            0
        } else {
            (bits >> 8) as u32
        };
        let one_way = (bits >> 40).is_multiple_of(8);
        let (mut left, mut right) = std::mem::take(&mut self.spare);
        let mut fits = true;
        for kind in 0..self.kinds {
            left[kind].clear();
            right[kind].clear();
            let (mine, theirs) = (
                &self.kids[from as usize][kind],
                &self.kids[into as usize][kind],
            );
            if kind == own && (mine.len() > 1 || theirs.len() > 1 || one_way) {
                // Of several of a kind only this one goes, for one of the others or for none.
                let back = theirs
                    .get(((bits >> 48) as usize) % theirs.len().max(1))
                    .copied()
                    .filter(|_| !one_way);
                left[kind].extend(mine.iter().copied().filter(|kid| *kid != child).chain(back));
                right[kind].extend(
                    theirs
                        .iter()
                        .copied()
                        .filter(|kid| Some(*kid) != back)
                        .chain([child]),
                );
                fits &= back.is_none_or(|back| self.may_go(back, from));
                for list in [&mut left[kind], &mut right[kind]] {
                    list.sort_unstable_by_key(|kid| (self.children[*kid as usize].start, *kid));
                }
            } else if kind == own || others >> kind & 1 == 1 {
                fits &= mine.iter().all(|kid| self.may_go(*kid, into))
                    && theirs.iter().all(|kid| self.may_go(*kid, from));
                left[kind].extend_from_slice(theirs);
                right[kind].extend_from_slice(mine);
            } else {
                left[kind].extend_from_slice(mine);
                right[kind].extend_from_slice(theirs);
            }
            if !fits {
                break;
            }
        }
        if fits {
            let parent = |number: u32| &self.problem.parents[number as usize];
            let a = model.score(parent(from), &left, &self.children);
            let b = model.score(parent(into), &right, &self.children);
            let gain = a + b - self.scores[from as usize] - self.scores[into as usize];
            if gain >= 0.0 || gain > heat * self.chance.log_share() {
                for (number, kids) in [(from, &left), (into, &right)] {
                    for kid in kids.iter().flatten() {
                        self.parent_of[*kid as usize] = Some(number);
                    }
                }
                std::mem::swap(&mut self.kids[from as usize], &mut left);
                std::mem::swap(&mut self.kids[into as usize], &mut right);
                self.scores[from as usize] = a;
                self.scores[into as usize] = b;
            }
        }
        self.spare = (left, right);
    }

    fn may_go(&self, child: u32, parent: u32) -> bool {
        self.children[child as usize].known.is_none()
            && self.candidates[child as usize].contains(&parent)
    }

    /// How often each child lay with each parent.
    fn looks(&mut self, model: &Model) -> HashMap<(u32, u32), u32> {
        let mut seen = HashMap::new();
        for _ in 0..LOOKS {
            self.tries(model, BETWEEN, 1.0);
            for child in &self.open {
                if let Some(parent) = self.parent_of[*child as usize] {
                    *seen.entry((*child, parent)).or_default() += 1;
                }
            }
        }
        seen
    }

    fn links(&self, shares: &HashMap<(u32, u32), u32>) -> Vec<Link> {
        let of = |child: u32, parent: u32| {
            if self.candidates[child as usize].len() < 2 {
                return 1.0;
            }
            f64::from(shares.get(&(child, parent)).copied().unwrap_or(0)) / LOOKS as f64
        };
        (0..self.children.len() as u32)
            .filter(|child| self.children[*child as usize].known.is_none())
            .filter_map(|child| {
                let parent = self.parent_of[child as usize]?;
                Some(Link {
                    child,
                    parent,
                    confidence: of(child, parent),
                })
            })
            .collect()
    }
}
